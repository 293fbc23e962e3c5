"""The decoding loop on a real (tiny) Nougat, against transformers' own generation."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import VisionEncoderDecoderModel
from transformers.models.nougat.tokenization_nougat import NougatTokenizer

from core.errors import EngineError
from corpus.nougat.images import PagePixels
from corpus.nougat.model import Attempt, Ending, NougatModel, load_model
from corpus.pdf_worker import PdfLimits, PdfWorker
from tests.corpus.nougat_tiny import (
    CLEAN,
    LOOP,
    LOOPING,
    POSITIONS,
    READ,
    STEADY,
    WAVERING,
    write_page_pdf,
)

pytestmark = pytest.mark.usefixtures("one_thread")

MISSING = "[MISSING_PAGE_POST]"


@pytest.fixture(scope="module")
def model(tiny_nougat: Path) -> NougatModel:
    return load_model(str(tiny_nougat), 4096)


@pytest.fixture(scope="module")
def pages(model: NougatModel, tmp_path_factory: pytest.TempPathFactory) -> list[PagePixels]:
    """The clean pages, then the looping and the wavering one."""
    texts = [*CLEAN, LOOPING, WAVERING]
    pdf = write_page_pdf(tmp_path_factory.mktemp("pages") / "pages.pdf", *texts)
    worker = PdfWorker(PdfLimits(100, 10_000_000), 60)
    prepared = [model.prepare(worker.render(pdf, n + 1, 96)) for n in range(len(texts))]
    worker.close()
    return [page for page in prepared if page is not None]


def _greedy(model: NougatModel, pages: list[PagePixels]) -> list[Attempt]:
    return model.read(pages, 0.0, [0] * len(pages))


def test_clean_pages_are_read_to_the_letter(model: NougatModel, pages: list[PagePixels]) -> None:
    attempts = _greedy(model, pages[: len(CLEAN)])
    assert [a.text for a in attempts] == list(READ)
    assert {a.ending for a in attempts} == {Ending.FINISHED}
    assert all(0.9 < a.quality <= 1 for a in attempts)


def test_tokens_and_probabilities_are_those_of_generate(
    model: NougatModel, pages: list[PagePixels], tiny_nougat: Path
) -> None:
    make: Any = VisionEncoderDecoderModel
    reference = make.from_pretrained(tiny_nougat).eval()
    tokenizer: Any = NougatTokenizer.from_pretrained(tiny_nougat)
    for attempt, page in zip(_greedy(model, pages[: len(CLEAN)]), pages, strict=False):
        output = reference.generate(
            torch.from_numpy(page.values)[None],
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = output.sequences[0, 1:]
        probabilities = torch.cat(output.logits).softmax(-1).gather(1, tokens[:, None])
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        assert attempt.text == text.replace("\\(", "$").replace("\\)", "$")
        assert attempt.tokens == len(tokens)
        # Tokens that are never written (<s>, <pad>, <unk>) have no share in ours.
        assert attempt.quality == pytest.approx(float(probabilities.mean()), abs=1e-3)


def test_rows_of_a_batch_do_not_touch_each_other(
    model: NougatModel, pages: list[PagePixels]
) -> None:
    together = _greedy(model, pages)
    for page, attempt in zip(pages, together, strict=True):
        (alone,) = _greedy(model, [page])
        assert (alone.text, alone.tokens, alone.ending) == (
            attempt.text,
            attempt.tokens,
            attempt.ending,
        )
        assert alone.quality == pytest.approx(attempt.quality, abs=1e-4)


def test_a_loop_is_cut_after_its_first_copy(model: NougatModel, pages: list[PagePixels]) -> None:
    (attempt,) = _greedy(model, [pages[len(CLEAN)]])
    assert attempt.ending is Ending.LOOPED
    assert attempt.text == LOOPING + LOOP


def test_a_page_that_does_not_end_is_truncated(tiny_nougat: Path, pages: list[PagePixels]) -> None:
    short = load_model(str(tiny_nougat), 10)
    clean, loop = short.read([pages[0], pages[len(CLEAN)]], 0.0, [0, 0])
    assert (clean.ending, clean.tokens) == (Ending.TRUNCATED, 10)
    assert READ[0].startswith(clean.text)
    assert (loop.ending, loop.tokens) == (Ending.TRUNCATED, 10)
    # The decoder's own positions are a limit too.
    assert load_model(str(tiny_nougat), 10**6)._limit == POSITIONS - 1


def test_sampling_depends_on_the_seed_alone(model: NougatModel, pages: list[PagePixels]) -> None:
    page, other = pages[-1], pages[0]
    alone = [model.read([page], 1.0, [seed])[0] for seed in range(12)]
    among = [model.read([other, page, other], 1.0, [7, seed, 8])[1] for seed in range(12)]
    assert [a.text for a in alone] == [a.text for a in among]
    # It loops two times in three: both ends are seen, and the good one is right.
    assert {Ending.FINISHED, Ending.LOOPED} <= {a.ending for a in alone}
    assert STEADY in {a.text for a in alone if a.ending is Ending.FINISHED}


def test_draws_follow_the_probabilities(model: NougatModel) -> None:
    import numpy as np

    logits = torch.randn(1, 400, generator=torch.Generator().manual_seed(0)) * 3
    draws = [np.random.Generator(np.random.Philox(n)) for n in range(20_000)]
    tokens, _ = model._choose(logits.repeat(20_000, 1), 2.0, draws)
    expected = logits[0].clone()
    expected[model._never] = -torch.inf
    expected = (expected / 2.0).softmax(0)
    counts = torch.bincount(torch.tensor(tokens), minlength=400) / 20_000
    assert float((counts - expected).abs().sum()) < 0.15
    assert float(counts[model._never].sum()) == 0


@pytest.mark.parametrize(
    ("raw", "text", "ending"),
    [
        (
            "# Heading\n\nBody text that says something.",
            "# Heading\n\nBody text that says something.",
            Ending.FINISHED,
        ),
        (MISSING, "", Ending.MISSING),
        (f"Before.\n\n{MISSING}\n\nAfter.", "Before.\n\nAfter.", Ending.FINISHED),
        ("", "", Ending.FINISHED),
    ],
)
def test_missing_text_is_no_text(
    model: NougatModel, raw: str, text: str, ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model._tokenizer, "decode", lambda *args, **kwargs: raw)
    from corpus.nougat.loops import TokenLoops
    from corpus.nougat.model import _Row

    attempt = model._attempt(
        _Row(TokenLoops(1), tokens=[9], probabilities=[1.0], ending=Ending.FINISHED)
    )
    assert (attempt.text, attempt.ending) == (text, ending)


@pytest.mark.parametrize(
    "raw",
    [
        "[FOOTNOTE:x] word __ " * 700,
        "\\begin{tabular}{ll}" + " " * 15_000,
        "```" * 2500,
        "## References\n* [1] A. B. " * 600,
        "http://a.b/" * 1400,
        "a" * 7000,
    ],
)
def test_clean_up_takes_bounded_time(model: NougatModel, raw: str) -> None:
    started = time.process_time()
    model._cleaned(raw)
    # The slowest is Nougat's search for repetitions, quadratic in a text that is one.
    assert time.process_time() - started < 20


def test_pickled_weights_are_refused(tiny_nougat: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_nougat, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        load_model(str(folder), 100)
    assert "safetensors" in caught.value.remedy


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_an_incomplete_model_is_an_error(tiny_nougat: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_nougat, folder)
    (folder / name).write_text("{")
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_model(str(folder), 100)


def test_a_missing_tokenizer_is_an_error(tiny_nougat: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(tiny_nougat, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EngineError, match="tokenizer"):
        load_model(str(folder), 100)
