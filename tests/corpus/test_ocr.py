"""The OCR stage with each of its backends, on PDFs and page images made here."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption

from core.errors import EngineError, RecipeError
from core.recipe.ocr import Nougat, NougatCommand, Ocr
from core.rejects import Reason
from core.schema import DOCUMENT
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.formats.mmd import read_mmd_text
from corpus.nougat.program import split_pages
from corpus.ocr import OcrStage, read_one
from corpus.ocr_backends import Request, TextLayer, image_files
from corpus.reading import Unreadable
from tests.corpus.pdf import block, make_pdf, pdf_without_pages

PutShard = Callable[[str, pa.Table], Unit]

BODY = "Stars form in cold clouds of gas and dust that fall in."
NEXT = "Disks around them make planets of all sizes in ten million years."


def _pdf(name: str, **meta: Any) -> Document:
    return Document(f"book:{name}", "book", meta={"file": name, **meta})


def _file_set(root: Path) -> list[Document]:
    """One PDF for every way to end, between documents that have their text."""
    make_pdf(root / "good.pdf", block(72, 740, BODY), block(72, 740, NEXT))
    make_pdf(root / "locked.pdf", block(72, 740, BODY), encrypt=StandardEncryption("u", "o"))
    make_pdf(root / "blank.pdf", [])
    make_pdf(root / "long.pdf", *[block(72, 740, BODY)] * 4)
    large = make_pdf(root / "large.pdf", block(72, 740, BODY))
    large.write_bytes(large.read_bytes() + b" " * 4000)
    (root / "broken.pdf").write_bytes(b"%PDF-1.4")
    (root / "empty.pdf").write_bytes(pdf_without_pages())
    (root / "scans").mkdir()
    Image.new("RGB", (60, 80), "white").save(root / "scans" / "p1.png")
    names = ["good", "locked", "blank", "long", "large", "broken", "empty", "gone"]
    return [
        Document("note:1", "note", text="A note."),
        *(_pdf(f"{n}.pdf") for n in names),
        _pdf("scans"),
        Document("book:none", "book", meta={}),
    ]


def test_pdfs_are_read_and_other_documents_pass(context: StageContext, put_shard: PutShard) -> None:
    documents = _file_set(context.root)
    stage = OcrStage(Ocr(max_pages=3, max_file_bytes=4000), "corpus.ingest")
    result = stage.process(put_shard("corpus.ingest", documents_table(documents)), context)

    assert result.kept.schema == DOCUMENT
    note, good = result.kept.to_pylist()
    assert (note["text"], note["pages"]) == ("A note.", None)
    assert good["text"] == f"{BODY}\n\n{NEXT}"
    assert [(p["page"], p["method"]) for p in good["pages"]] == [(1, "textlayer"), (2, "textlayer")]
    assert all(p["quality"] > 0.5 for p in good["pages"])
    assert [good["text"][p["start_char"] : p["end_char"]] for p in good["pages"]] == [BODY, NEXT]
    assert [(r.doc_id, r.reason) for r in result.rejected] == [
        ("book:locked.pdf", Reason.PDF_ENCRYPTED),
        ("book:blank.pdf", Reason.PDF_NO_TEXT),
        ("book:long.pdf", Reason.PDF_TOO_LARGE),
        ("book:large.pdf", Reason.PDF_TOO_LARGE),
        ("book:broken.pdf", Reason.PDF_CORRUPT),
        ("book:empty.pdf", Reason.PDF_CORRUPT),
        ("book:gone.pdf", Reason.UNREADABLE_FILE),
        ("book:scans", Reason.PDF_NO_TEXT),
        ("book:none", Reason.MALFORMED_RECORD),
    ]
    assert "backend nougat" in result.rejected[-2].detail
    assert all(r.detail.startswith(f"{r.doc_id[5:]}: ") for r in result.rejected[:-1])
    assert result.rows_in == len(documents)
    assert result.metrics == {"pdf_pages": 2, "pages_textlayer": 2}


def test_a_shard_may_lose_all_its_documents(context: StageContext, put_shard: PutShard) -> None:
    stage = OcrStage(Ocr(), "corpus.ingest")
    lost = stage.process(put_shard("corpus.ingest", documents_table([_pdf("gone.pdf")])), context)
    assert (lost.kept.schema, lost.kept.num_rows, len(lost.rejected)) == (DOCUMENT, 0, 1)
    none = stage.process(put_shard("corpus.ingest", documents_table([])), context)
    assert (none.kept.num_rows, none.rejected, none.metrics) == (0, [], {"pdf_pages": 0})


def test_a_file_name_that_is_not_utf8_is_found_again(
    context: StageContext, put_shard: PutShard
) -> None:
    name = os.fsdecode(b"caf\xe9.pdf")
    make_pdf(context.root / "x.pdf", block(72, 740, BODY)).rename(context.root / name)
    unit = put_shard("corpus.ingest", documents_table([_pdf(name)]))
    kept = OcrStage(Ocr(), "corpus.ingest").process(unit, context).kept
    assert kept["text"].to_pylist() == [BODY]


def test_chapters_are_page_ranges(context: StageContext, put_shard: PutShard) -> None:
    texts = (
        BODY,
        NEXT,
        "Dust cools as it grows.",
        "Ice forms far from the star.",
        "Comets bring water to them.",
    )
    make_pdf(context.root / "book.pdf", *(block(72, 740, text) for text in texts))
    documents = [
        _pdf("book.pdf", first_page=2, last_page=3),
        _pdf("book.pdf", first_page=4),
        _pdf("book.pdf", first_page=5, last_page=99),
        _pdf("book.pdf", first_page=6, last_page=7),
    ]
    unit = put_shard("corpus.ingest", documents_table(documents))
    result = OcrStage(Ocr(), "corpus.ingest").process(unit, context)
    spans = [[page["page"] for page in row["pages"]] for row in result.kept.to_pylist()]
    assert spans == [[2, 3], [4, 5], [5]]
    assert result.kept["text"][0].as_py().startswith(NEXT)
    (reject,) = result.rejected
    assert (reject.reason, "the file has 5" in reject.detail) == (Reason.MISSING_PART, True)


def test_a_pdf_that_hangs_the_reader_is_a_reject(tmp_path: Path) -> None:
    make_pdf(tmp_path / "slow.pdf", block(72, 740, BODY))
    (outcome,) = TextLayer(Ocr(timeout_seconds=0.001)).read([Request(tmp_path / "slow.pdf")])
    assert isinstance(outcome, Unreadable)
    assert outcome.reason is Reason.PDF_TIMEOUT


def test_page_images_are_sorted_as_people_count(tmp_path: Path) -> None:
    for name in ("p10.png", "p2.PNG", "p1.jpg", ".p0.png", "notes.txt", "p²3.tif"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "p5.png").mkdir()
    names = [path.name for path in image_files(tmp_path)]
    assert names == ["p1.jpg", "p2.PNG", "p10.png", "p²3.tif"]
    (tmp_path / "p5.png").rename(tmp_path / "folder")
    with pytest.raises(Unreadable, match="no page images"):
        image_files(tmp_path / "folder")


def test_one_file_is_read_for_the_command_line(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", block(72, 740, BODY), block(72, 740, "Second page."))
    text, spans = read_one(path, Ocr(), last_page=1)
    assert (text, [s["page"] for s in spans]) == (BODY, [1])
    with pytest.raises(Unreadable):
        read_one(tmp_path / "gone.pdf", Ocr())


def test_settings_that_change_nothing_are_not_in_the_config() -> None:
    plain = OcrStage(Ocr(), "corpus.ingest").config()
    assert plain == OcrStage(Ocr(nougat=Nougat(dpi=120)), "corpus.ingest").config()
    assert set(plain) == {
        "backend",
        "max_pages",
        "max_file_bytes",
        "min_chars_per_page",
        "timeout_seconds",
    }

    def config(**changed: Any) -> dict[str, Any]:
        nougat = Nougat(model="m", **changed)
        return OcrStage(Ocr(backend="nougat", nougat=nougat), "corpus.ingest").config()

    assert config(workers=3, gpus=0.5, render_processes=4) == config()
    assert config(batch_pages=2) != config()
    assert config(dpi=120) != config()


def test_nougat_without_a_model_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match="needs a model") as caught:
        OcrStage(Ocr(backend="nougat"), "corpus.ingest")
    assert caught.value.where == "corpus.ocr.nougat.model"
    assert "facebook/nougat-base" in caught.value.remedy
    assert "CC-BY-NC" in caught.value.remedy


def test_the_card_names_the_licence_of_the_weights() -> None:
    nougat = OcrStage(Ocr(backend="nougat", nougat=Nougat(model="m", workers=2)), "corpus.ingest")
    assert "CC-BY-NC" in nougat.description
    assert (nougat.actors, nougat.resources.gpus_if_any) == (2, 1.0)
    plain = OcrStage(Ocr(), "corpus.ingest")
    assert "CC-BY-NC" not in plain.description
    assert (plain.actors, plain.resources.gpus_if_any) == (None, 0.0)


PROGRAM = """#!{python}
# Takes the options of nougat-ocr 0.1.17 and behaves like it.
import argparse, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--out", "-o", type=pathlib.Path)
parser.add_argument("--checkpoint", "-c", type=pathlib.Path)
parser.add_argument("--pages", "-p")
parser.add_argument("pdf", nargs="+", type=pathlib.Path)
args = parser.parse_args()
(pdf,) = args.pdf
assert pdf.suffix == ".pdf" and pdf.read_bytes()[:4] == b"%PDF"
assert "PYTHONPATH" not in os.environ
text = "# Title\\n\\nFirst page.\\n\\n[MISSING_PAGE_FAIL:2]\\n\\nThird \\\\(x^2\\\\) page."
what = (args.checkpoint or pathlib.Path("none")).name
if what == "hangs":
    if os.fork() == 0:
        pathlib.Path(args.checkpoint.parent / "child").write_text(str(os.getpid()))
    time.sleep(3000)
if what == "fails":
    sys.exit("CUDA out of memory")
if what == "skips":
    sys.exit(0)
args.out.mkdir(parents=True)
note = f"\\n\\nRead with {{what}}, pages {{args.pages}}."
(args.out / pdf.with_suffix(".mmd").name).write_text(text + note)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "nougat"
    path.parent.mkdir()
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


def _by_program(checkpoint: str | None = None, timeout: float = 30, **changed: Any) -> Ocr:
    command = NougatCommand(command="bin/nougat", checkpoint=checkpoint, timeout_seconds=timeout)
    return Ocr(backend="nougat-ocr", nougat_ocr=command, **changed)


def _run_program(
    context: StageContext, put_shard: PutShard, ocr: Ocr, *documents: Document
) -> tuple[list[dict[str, Any]], list[tuple[Reason, str]]]:
    texts = (BODY, NEXT, "Dust cools as it grows in them.", "Ice forms far from the star.")
    make_pdf(context.root / "-odd name;.pdf", *(block(72, 740, text) for text in texts))
    unit = put_shard("corpus.ingest", documents_table(list(documents)))
    result = OcrStage(ocr, "corpus.ingest").process(unit, context)
    return result.kept.to_pylist(), [(r.reason, r.detail) for r in result.rejected]


@pytest.mark.usefixtures("program")
def test_the_original_program_is_run_and_its_output_read(
    context: StageContext, put_shard: PutShard
) -> None:
    rows, rejects = _run_program(
        context,
        put_shard,
        _by_program("model"),
        _pdf("-odd name;.pdf"),
        _pdf("-odd name;.pdf", first_page=2, last_page=4),
    )
    assert rejects == []
    whole, part = rows
    assert whole["text"].startswith("# Title\n\nFirst page.")
    assert "MISSING_PAGE" not in whole["text"]
    assert "Read with model, pages None." in whole["text"]
    assert "Read with model, pages 2-4." in part["text"]
    # The page it gave up comes from the text layer; what follows it is one run of pages.
    assert [(p["page"], p["method"]) for p in whole["pages"]] == [
        (1, "nougat_ocr"),
        (2, "textlayer"),
        (3, "nougat_ocr"),
    ]
    assert NEXT in whole["text"]
    assert "Third $x^2$ page." in whole["text"]
    assert [(p["page"], p["method"]) for p in part["pages"]] == [
        (2, "nougat_ocr"),
        (3, "textlayer"),
        (4, "nougat_ocr"),
    ]


@pytest.mark.parametrize(
    ("marks", "pages", "shared"),
    [
        ("a b", [(11, "a b")], 4),
        ("[MISSING_PAGE_FAIL:1] b", [(11, None), (12, "b")], 3),
        ("a [MISSING_PAGE_FAIL:1] b", [(11, "a\n\nb")], 4),
        ("a [MISSING_PAGE_EMPTY:3] b", [(11, "a"), (13, None), (14, "b")], 2),
        ("a [MISSING_PAGE_FAIL:4]\n[MISSING_PAGE_FAIL:5]", [(11, "a"), (14, None), (15, None)], 2),
        ("a [MISSING_PAGE_POST] b", [(11, "a\n\nb")], 4),
        ("a [MISSING_PAGE_FAIL:9] b [MISSING_PAGE_FAIL:0]", [(11, "a\n\nb")], 4),
        (
            "[MISSING_PAGE_FAIL:3] a [MISSING_PAGE_FAIL:2] b",
            [(11, ""), (13, None), (14, "a\n\nb")],
            2,
        ),
        ("a [MISSING_PAGE_FAIL:5] b", [(11, "a"), (15, "b")], 3),
    ],
)
def test_given_up_pages_split_the_programs_output(
    marks: str, pages: list[tuple[int, str | None]], shared: int
) -> None:
    read, more = split_pages(read_mmd_text(marks), range(11, 16))
    assert [(p.number, None if p.method == "none" else p.text) for p in read] == pages
    assert (more, len(read) + more) == (shared, 5)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("checkpoint", "says"),
    [("fails", "code 1: CUDA out of memory"), ("skips", "code 0: it said nothing")],
)
def test_a_program_that_gives_nothing_is_a_reject(
    context: StageContext, put_shard: PutShard, checkpoint: str, says: str
) -> None:
    rows, rejects = _run_program(
        context, put_shard, _by_program(checkpoint), _pdf("-odd name;.pdf"), _pdf("gone.pdf")
    )
    assert rows == []
    assert [reason for reason, _ in rejects] == [Reason.OCR_FAILED, Reason.UNREADABLE_FILE]
    assert says in rejects[0][1]


def test_a_program_that_hangs_is_ended_with_its_children(
    context: StageContext, put_shard: PutShard, program: Path
) -> None:
    ocr = _by_program("bin/hangs", timeout=1.0)
    _, rejects = _run_program(context, put_shard, ocr, _pdf("-odd name;.pdf"))
    assert [reason for reason, _ in rejects] == [Reason.PDF_TIMEOUT]
    child = int((program.parent / "child").read_text())
    deadline = time.monotonic() + 240
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_missing_program_is_named(context: StageContext, put_shard: PutShard) -> None:
    ocr = Ocr(backend="nougat-ocr", nougat_ocr=NougatCommand(command="no-such-nougat"))
    with pytest.raises(EngineError, match="no program 'no-such-nougat'") as caught:
        _run_program(context, put_shard, ocr)
    assert "requirements/nougat-ocr.txt" in caught.value.remedy
