from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from core.errors import InputError, UsageError
from core.lineage import Link, follow, open_stage
from core.schema import DOCUMENT
from core.shards import read_shard, shard_paths
from core.tokenizer import load_tokenizer
from corpus.documents import Document, documents_table
from ray_jobs.trace import ConversationPlace, DocumentPlace, pages_at, trace_token
from ray_jobs.trace_commands import add_trace_commands, marked
from tests.made_run import NOTICE, PAGES, PAPER, documents, make_run, page_spans, put_stage

Trace = Callable[..., Result]

TEXTS = {row["doc_id"]: row["text"] for table in documents() for row in table.to_pylist()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A run that tests only read."""
    run = tmp_path_factory.mktemp("made") / "run"
    make_run(run, tiny_folder)
    return run


@pytest.fixture
def trace() -> Trace:
    """Runs ``astromill trace`` in this process."""
    app = typer.Typer()
    add_trace_commands(app)

    def call(folder: Path, *arguments: str) -> Result:
        return CliRunner().invoke(app, [str(folder), *arguments], env={"COLUMNS": "200"})

    return call


def sequences(link: Link) -> list[dict[str, Any]]:
    return [row for path in link.shards for row in read_shard(path).to_pylist()]


def test_every_token_of_every_sequence_is_the_text_at_its_place(
    made: Path, tiny_folder: Path
) -> None:
    link = open_stage(made, "corpus.tokens")
    tokenizer = load_tokenizer(str(tiny_folder))
    specials = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    seen: dict[str, int] = dict.fromkeys(TEXTS, 0)
    for number, row in enumerate(sequences(link)):
        for token in range(sum(span["length"] for span in row["spans"])):
            found = trace_token(link, number, token)
            place = found.place
            assert isinstance(place, DocumentPlace)
            assert place.text == TEXTS[place.doc_id]
            assert found.token_id == row["input_ids"][token]
            assert found.trained == bool(row["loss_mask"][token])
            said = place.text[place.start_char : place.end_char]
            if found.token_id in specials:
                assert said == ""
            elif "�" not in found.token_text:
                assert said == found.token_text
            # Tokens come in order and leave no character out; of one in several tokens, each
            # names it whole.
            assert place.start_char <= seen[place.doc_id] <= max(place.end_char, place.start_char)
            seen[place.doc_id] = max(seen[place.doc_id], place.end_char)
    assert seen == {name: len(text) for name, text in TEXTS.items()}


def test_a_token_names_its_page_source_licence_and_file(made: Path) -> None:
    link = open_stage(made, "corpus.tokens")
    found = [trace_token(link, 0, token) for token in range(40, 64)]
    pages = {tuple(page["page"] for page in t.place.pages) for t in found if is_document(t.place)}
    assert (2,) in pages
    for one in found:
        place = one.place
        assert isinstance(place, DocumentPlace)
        assert (place.doc_id, place.source, place.file) == ("arxiv:1", "arxiv", "pdf/1.pdf")
        assert (place.created, place.sha256) == ("2009-03-16", "ab12")
        assert place.url == "https://arxiv.org/abs/1"
        for page in place.pages:
            text = PAPER[page["start_char"] : page["end_char"]]
            assert text == PAGES[page["page"] - 1]
            assert page["method"] == ("nougat" if page["page"] == 2 else "textlayer")
    assert found[0].made_from == ["corpus.normalize", "corpus.ocr", "corpus.catalog"]


def is_document(place: object) -> bool:
    return isinstance(place, DocumentPlace)


def test_pages_of_a_stretch() -> None:
    spans = page_spans()
    first, second = spans[0]["end_char"], spans[1]["end_char"]
    assert [p["page"] for p in pages_at(spans, 0, 1)] == [1]
    assert [p["page"] for p in pages_at(spans, first - 1, first + 3)] == [1, 2]
    assert [p["page"] for p in pages_at(spans, first, first + 2)] == [1], "between two pages"
    assert [p["page"] for p in pages_at(spans, second + 2, second + 2)] == [3], "an empty stretch"
    assert [p["page"] for p in pages_at(spans, len(PAPER), len(PAPER))] == [3], "the end"
    assert pages_at(None, 0, 1) == []


def test_tokens_of_a_conversation_lead_to_its_turn_and_document(made: Path) -> None:
    link = open_stage(made / "synth/sft_tokens")
    (row,) = sequences(link)
    said: dict[str | None, str] = {}
    trained = ""
    for token in range(row["spans"][0]["length"]):
        found = trace_token(link, 0, token)
        place = found.place
        assert isinstance(place, ConversationPlace)
        piece = place.text[place.start_char : place.end_char]
        said[place.role] = said.get(place.role, "") + piece
        trained += piece if found.trained else ""
    assert said["user"] == "What has rings?"
    assert said["assistant"] == "Saturn has."
    assert trained == "Saturn has.<|eot_id|>"
    assert place.conv_id == "qa:1"
    assert place.written is not None
    assert place.written.model == "a-model"
    assert place.written.scores == {
        "correctness": 5,
        "stand_alone": 5,
        "pertinence": 4,
        "overall": 5,
    }
    (document,) = place.documents
    assert document.doc_id == "arxiv:1"
    assert document.text[document.start_char : document.end_char] == "Saturn has rings of water ice"
    assert [page["page"] for page in document.pages] == [1]
    assert found.made_from[:3] == ["synth.conversations", "synth.judge", "synth.qa"]


@pytest.mark.parametrize(
    ("sequence", "token", "said"),
    [
        (99, 0, "there is no sequence 99"),
        (-1, 0, "there is no sequence -1"),
        (0, 64, "there is no token 64"),
        (0, -1, "there is no token -1"),
    ],
)
def test_no_such_place(made: Path, sequence: int, token: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trace_token(open_stage(made, "corpus.tokens"), sequence, token)


def test_padding_comes_from_nowhere(made: Path) -> None:
    link = open_stage(made, "corpus.tokens")
    rows = sequences(link)
    last = len(rows) - 1
    filled = sum(span["length"] for span in rows[last]["spans"])
    assert filled < len(rows[last]["input_ids"]), "the run has padding"
    with pytest.raises(UsageError, match=f"token {filled} is padding"):
        trace_token(link, last, filled)


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_documents_made_anew_are_not_taken_for_the_old_ones(own: Path) -> None:
    put_stage(own, "corpus.normalize", documents()[:1], inputs=["corpus.ocr"])
    link = open_stage(own, "corpus.tokens")
    assert follow(link).lost == {"corpus.normalize": "was made anew after corpus.tokens read it"}
    with pytest.raises(InputError, match=r"made anew after corpus.tokens read it"):
        trace_token(link, 0, 0)


def test_documents_that_are_gone(own: Path) -> None:
    shutil.rmtree(own / "corpus/normalize")
    with pytest.raises(InputError, match=r"corpus.normalize is not there"):
        trace_token(open_stage(own, "corpus.tokens"), 0, 0)


def test_another_tokenizer_is_noticed(own: Path, tmp_path: Path) -> None:
    from core.tiny import train_tokenizer

    train_tokenizer(["other words altogether"] * 3, 300).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="arxiv:1 gives other tokens"):
        trace_token(open_stage(own, "corpus.tokens"), 0, 3, str(tmp_path / "other"))


def test_a_stage_taken_out_of_its_run(made: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(made / "corpus/tokens", tmp_path / "alone"))
    with pytest.raises(InputError, match=r"--tokenizer|not in this run"):
        trace_token(open_stage(alone), 0, 0)


def test_a_stage_without_sequences(made: Path) -> None:
    with pytest.raises(InputError, match=r"corpus.normalize holds no token sequences"):
        trace_token(open_stage(made / "corpus/normalize"), 0, 0)


def test_a_row_group_is_enough(own: Path) -> None:
    """The rest of the shard may be unreadable: only one of its row groups is looked at."""
    link = open_stage(own, "corpus.tokens")
    path = max(link.shards, key=lambda p: pq.ParquetFile(p).metadata.num_row_groups)
    before = sum(f.rows or 0 for f in link.manifest.shards if f.name < path.name)
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups > 1
    expected = trace_token(link, before, 1)
    content = bytearray(path.read_bytes())
    column = metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    assert trace_token(link, before, 1) == expected
    rows = metadata.row_group(0).num_rows
    with pytest.raises(InputError, match="cannot read this Parquet shard"):
        trace_token(link, before + rows, 1)


def test_the_command_shows_document_page_file_and_text(made: Path, trace: Trace) -> None:
    result = trace(made, "--sequence", "0", "--token", "5", "--context", "12")
    assert result.exit_code == 0, result.output
    for part in (
        "of sequence 0 in corpus.tokens (part-00000.parquet, row 0)",
        "arxiv:1 - Rings and α Centauri",
        "http://arxiv.org/licenses/nonexclusive-distrib/1.0/, 2009-03-16",
        "pdf/1.pdf (sha256 ab12)",
        "1, read by textlayer, quality 1",
        "corpus.tokens <- corpus.normalize <- corpus.ocr <- corpus.catalog",
        "⟦",
    ):
        assert part in result.output


def test_the_command_speaks_json(made: Path, trace: Trace) -> None:
    where = ("--stage", "synth.sft_tokens", "--sequence", "0", "--token", "9", "--json")
    result = trace(made, *where, "--context", "3")
    found = json.loads(result.output)
    assert found["place"]["conv_id"] == "qa:1"
    (document,) = found["place"]["documents"]
    assert document["text"] == "Saturn has rings of water ice"
    assert (document["before"], document["after"]) == ("s\n\n", ", a")


def test_wikipedias_notice_is_shown(made: Path, trace: Trace) -> None:
    link = open_stage(made, "corpus.tokens")
    number = next(
        n
        for n, row in enumerate(sequences(link))
        if row["spans"][0]["doc_id"].startswith("wikipedia")
    )
    assert NOTICE in trace(made, "--sequence", str(number), "--token", "0").output


def test_the_sequences_of_a_document(made: Path, trace: Trace) -> None:
    result = trace(made, "--document", "arxiv:1", "--json")
    spans = [json.loads(line) for line in result.output.splitlines()]
    assert [span["sequence"] for span in spans] == list(range(len(spans)))
    assert [span["doc_start_token"] for span in spans] == [n * 64 for n in range(len(spans))]
    assert "sequence 0, tokens 0 to 63: tokens 0 to 63 of arxiv:1" in (
        trace(made, "--document", "arxiv:1").output
    )


def test_the_conversations_of_a_document(made: Path, trace: Trace) -> None:
    result = trace(made / "synth/sft_tokens", "--document", "arxiv:1")
    assert result.output.startswith("sequence 0, tokens 0 to ")
    assert result.output.endswith("of qa:1\n")


def test_a_document_that_is_in_no_sequence(made: Path, trace: Trace) -> None:
    error = trace(made, "--document", "arxiv:2").exception
    assert isinstance(error, UsageError)
    assert "rejects/" in error.remedy


@pytest.mark.parametrize(
    "arguments",
    [[], ["--sequence", "0"], ["--token", "0"], ["--document", "a", "--token", "0"]],
)
def test_wrong_use(made: Path, trace: Trace, arguments: list[str]) -> None:
    assert isinstance(trace(made, *arguments).exception, UsageError)


def test_the_mark_is_around_the_stretch_alone() -> None:
    assert marked("0123456789", 4, 6, 2).plain == "…23⟦45⟧67…"
    assert marked("0123456789", 0, 0, 2).plain == "⟦⟧01…"
    assert marked("0123456789", 8, 10, 9).plain == "01234567⟦89⟧"


def test_a_second_source_of_documents(own: Path, tiny_folder: Path) -> None:
    """Replayed text is packed along with the corpus: each id leads to the stage that has it."""
    from corpus.tokens import pack_documents

    general = documents_table([Document("web:1", "fineweb", None, "General text of the web.")])
    assert general.schema == DOCUMENT
    put_stage(own, "corpus.replay", [general])
    packed, _ = pack_documents(general, load_tokenizer(str(tiny_folder)), 64)
    old = [read_shard(path) for path in shard_paths(own / "corpus/tokens")]
    config = {"tokenizer": "train.base", "sequence_length": 64}
    inputs = ["corpus.normalize", "corpus.replay", "train.base"]
    put_stage(own, "corpus.tokens", [*old, packed.table], config=config, inputs=inputs)
    link = open_stage(own, "corpus.tokens")
    last = sum(table.num_rows for table in old)
    found = trace_token(link, last, 2)
    assert found.place.stage == "corpus.replay"
    assert trace_token(link, 0, 2).place.stage == "corpus.normalize"


def test_a_token_of_an_answer_leads_to_scores_verdict_and_prompts(made: Path, trace: Trace) -> None:
    """From a trained token to its pair, its judge, what both models were sent, the passage."""
    link = open_stage(made, "synth.sft_tokens")
    mask = sequences(link)[0]["loss_mask"]
    token = str(mask.index(1))
    shown = trace(made / "synth/sft_tokens", "--sequence", "0", "--token", token).stdout
    for text in (
        "qa:1 of synth.judge",
        "written by   a-model",
        "correctness 5, stand_alone 5, pertinence 4, overall 5, by a-judge",
        "verdict      5, 5, 4, 5]",
        "[user] Write pairs about Saturn's rings.",
        "Question: What has rings?",
        "arxiv:1 - Rings and α Centauri",
    ):
        assert text in shown, text
    data = json.loads(
        trace(made / "synth/sft_tokens", "--sequence", "0", "--token", token, "--json").stdout
    )
    assert data["place"]["written"]["verdict_prompt"].endswith("Score: [")
    assert data["place"]["documents"][0]["doc_id"] == "arxiv:1"


def test_without_the_request_logs_the_rest_is_still_told(
    tmp_path: Path, tiny_folder: Path, trace: Trace
) -> None:
    make_run(tmp_path / "run", tiny_folder)
    shutil.rmtree(tmp_path / "run/cache")
    shown = trace(tmp_path / "run/synth/sft_tokens", "--sequence", "0", "--token", "60").stdout
    assert "written by   a-model" in shown
    assert "prompt" not in shown
