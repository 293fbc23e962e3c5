"""Documents through the OCR stage with a tiny Nougat: alone, and on Ray with its worker killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from core.atomic import write_json
from core.recipe.ocr import Nougat, Ocr
from core.rejects import Reason, Reject
from core.runner.commit import Receipt, process_unit
from core.runner.shards import run_units
from core.shards import shard_name, write_shard
from core.stage import ShardResult, StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.nougat.backend import HARD_FAULTS
from corpus.ocr import OcrStage, read_one
from corpus.pdf_worker import PdfLimits, PdfWorker
from corpus.reading import Unreadable
from tests.corpus.nougat_tiny import (
    CLEAN,
    LOOP,
    LOOPING,
    READ,
    STEADY,
    WAVERING,
    lines_of,
    write_page_pdf,
)
from tests.corpus.pdf import pdf_without_pages

pytestmark = pytest.mark.usefixtures("one_thread")

PutShard = Callable[[str, pa.Table], Unit]

UNITS = 2
LIMIT_SECONDS = 300.0


def _ocr(model: Path, **changed: Any) -> Ocr:
    settings: dict[str, Any] = {
        "model": str(model),
        "batch_pages": 4,
        "render_processes": 2,
        "retry_temperatures": [0.2, 0.2],
        "max_failed_share": 0.5,
    }
    outer = {k: changed.pop(k) for k in ("timeout_seconds", "min_chars_per_page") if k in changed}
    return Ocr(backend="nougat", nougat=Nougat(**{**settings, **changed}), **outer)


def _document(name: str, **meta: Any) -> Document:
    return Document(f"book:{name}", "book", meta={"file": name, **meta})


@pytest.fixture
def read(
    tiny_nougat: Path, context: StageContext, put_shard: PutShard
) -> Callable[..., tuple[list[dict[str, Any]], list[Reject], dict[str, int | float]]]:
    """Reads documents with the stage, in this process."""

    def _read(*documents: Document, **changed: Any) -> Any:
        unit = put_shard("corpus.ingest", documents_table(list(documents)))
        stage = OcrStage(_ocr(tiny_nougat, **changed), "corpus.ingest")
        stage.setup(context)
        result = stage.process(unit, context)
        assert result.rows_in == result.kept.num_rows + len(result.rejected)
        return result.kept.to_pylist(), result.rejected, result.metrics

    return _read


def _pages(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(p["method"], row["text"][p["start_char"] : p["end_char"]]) for p in row["pages"]]


def test_clean_pages_come_back_to_the_letter(read: Any, context: StageContext) -> None:
    write_page_pdf(context.root / "a.pdf", *CLEAN[:4])
    write_page_pdf(context.root / "b.pdf", *CLEAN[4:])
    note = Document("note:1", "note", text="A note.")
    rows, rejects, metrics = read(_document("a.pdf"), note, _document("b.pdf"))
    assert rejects == []
    assert [_pages(row) for row in (rows[0], rows[2])] == [
        [("nougat", text) for text in READ[:4]],
        [("nougat", text) for text in READ[4:]],
    ]
    assert rows[0]["text"] == "\n\n".join(READ[:4])
    assert all(0.9 < p["quality"] <= 1 for p in rows[0]["pages"])
    assert (rows[1]["text"], rows[1]["pages"]) == ("A note.", None)
    assert metrics == {"pdf_pages": 6, "pages_nougat": 6}


def test_a_page_that_loops_is_cut_read_again_and_falls_back(
    read: Any, context: StageContext
) -> None:
    write_page_pdf(context.root / "a.pdf", CLEAN[0], LOOPING, CLEAN[1])
    (row,), rejects, metrics = read(_document("a.pdf"), min_chars_per_page=5)
    assert rejects == []
    assert _pages(row) == [("nougat", CLEAN[0]), ("textlayer", LOOPING), ("nougat", CLEAN[1])]
    assert metrics == {"pdf_pages": 3, "pages_nougat": 2, "pages_textlayer": 1, "retries": 2}

    # Without the text layer the page is a gap.
    (row,), _, _ = read(_document("a.pdf"), fallback="none")
    assert _pages(row) == [("nougat", CLEAN[0]), ("none", ""), ("nougat", CLEAN[1])]
    assert [p["quality"] is None for p in row["pages"]] == [False, True, False]

    # And with too many gaps the document is a reject that shows what was read before the loop.
    rows, (reject,), _ = read(_document("a.pdf"), fallback="none", max_failed_share=0.3)
    assert (rows, reject.reason) == ([], Reason.OCR_FAILED)
    assert reject.detail == "a.pdf: 1 of 3 pages could not be read: page 2 looped"
    assert reject.text == LOOPING + LOOP


def test_sampling_saves_a_page(read: Any, context: StageContext) -> None:
    # Wavering loops two times in three: with enough tries one reading ends.
    write_page_pdf(context.root / "a.pdf", WAVERING)
    (row,), _, metrics = read(
        _document("a.pdf"), retry_temperatures=[1.0] * 12, min_chars_per_page=10**6
    )
    ((method, text),) = _pages(row)
    assert text == STEADY
    assert (method == "nougat_retry") == (metrics.get("retries", 0) > 0)


def test_every_file_ends_in_a_document_or_a_reject(read: Any, context: StageContext) -> None:
    root = context.root
    write_page_pdf(root / "good.pdf", CLEAN[0])
    write_page_pdf(root / "blank.pdf", "")
    (root / "broken.pdf").write_bytes(b"%PDF-1.4")
    (root / "empty.pdf").write_bytes(pdf_without_pages())
    canvas = Canvas(str(root / "huge.pdf"), pagesize=(14_400, 14_400))
    for number, line in enumerate(lines_of(CLEAN[0])):
        canvas.setFont("Helvetica", 200)
        canvas.drawString(1000, 10_000 - 240 * number, line)
    canvas.showPage()
    canvas.setPageSize((10, 3000))
    canvas.drawString(0, 1500, CLEAN[1])
    canvas.save()
    names = ["good", "blank", "broken", "empty", "huge", "gone"]
    rows, rejects, _ = read(*(_document(f"{n}.pdf") for n in names))
    assert [row["doc_id"] for row in rows] == ["book:good.pdf", "book:huge.pdf"]
    # Pages of such sizes are nothing the model knows; they are read, in bounded memory.
    assert [p["page"] for p in rows[1]["pages"]] == [1, 2]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("book:blank.pdf", Reason.EMPTY_TEXT),
        ("book:broken.pdf", Reason.PDF_CORRUPT),
        ("book:empty.pdf", Reason.PDF_CORRUPT),
        ("book:gone.pdf", Reason.UNREADABLE_FILE),
    ]


def test_folders_of_page_images_are_read(read: Any, context: StageContext) -> None:
    pdf = write_page_pdf(context.root / "a.pdf", *CLEAN)
    folder = context.root / "scans"
    folder.mkdir()
    worker = PdfWorker(PdfLimits(100, 10**7), 60)
    pages = [Image.fromarray(worker.render(pdf, n + 1, 96)) for n in range(len(CLEAN))]
    worker.close()
    for number, page in enumerate(pages[:3]):
        page.save(folder / f"p{number + 8}.png")
    pages[3].save(folder / "p11.tif", save_all=True, append_images=pages[4:])
    (folder / "p12.png").write_text("no image")
    rows, rejects, _ = read(_document("scans"), _document("scans", first_page=2, last_page=3))
    assert rejects == []
    assert _pages(rows[0]) == [*(("nougat", text) for text in READ), ("none", "")]
    assert _pages(rows[1]) == [("nougat", text) for text in READ[1:3]]


def test_a_pdf_whose_pages_hang_is_given_up(
    read: Any, context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def hang(self: PdfWorker, path: Path, page: int, dpi: int) -> Any:
        rendered.append(page)
        raise Unreadable(Reason.PDF_TIMEOUT, "not read within 1 seconds")

    monkeypatch.setattr(PdfWorker, "render", hang)
    words = re.findall(r"[A-Za-z]+", " ".join(CLEAN))
    texts = [" ".join(random.Random(n).sample(words, 12)) for n in range(40)]
    write_page_pdf(context.root / "a.pdf", *texts)
    rows, (reject,), _ = read(_document("a.pdf"), fallback="none")
    assert (rows, reject.reason) == ([], Reason.PDF_TIMEOUT)
    # Those already under way, and no more.
    assert HARD_FAULTS <= len(rendered) <= HARD_FAULTS + 4 + 2
    # Its text layer can still be read.
    (row,), _, _ = read(_document("a.pdf"))
    assert {p["method"] for p in row["pages"]} == {"textlayer"}


def test_one_file_is_read_for_the_command_line(tiny_nougat: Path, tmp_path: Path) -> None:
    path = write_page_pdf(tmp_path / "a.pdf", *CLEAN)
    text, spans = read_one(path, _ocr(tiny_nougat), first_page=2, last_page=3)
    assert text == "\n\n".join(READ[1:3])
    assert [(s["page"], s["method"]) for s in spans] == [(2, "nougat"), (3, "nougat")]


def test_the_models_files_are_in_the_fingerprint(tiny_nougat: Path, context: StageContext) -> None:
    stage = OcrStage(_ocr(tiny_nougat), "corpus.ingest")
    names = {path.name for path in stage.source_files(context)}
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= names
    assert OcrStage(Ocr(), "corpus.ingest").source_files(context) == []


def _shards(root: Path, folder: Path, count: int) -> list[Unit]:
    """Two PDFs per shard, with the pages in another order in each."""
    units = []
    for index in range(count):
        documents = []
        for number in range(2):
            texts = [*CLEAN[number + index :], LOOPING, *CLEAN[: number + index], WAVERING]
            name = f"{index}-{number}.pdf"
            write_page_pdf(root / name, *texts)
            documents.append(_document(name))
        write_shard(folder / shard_name(index), documents_table(documents))
        units.append(Unit(index, {"shard": shard_name(index)}, str(index)))
    return units


class HeldOcrStage(OcrStage):
    """The first worker that has read a unit waits with it, to be killed.

    Args:
        ocr: the recipe's section.
        note: file with that worker's process id. ``<note>.<worker>`` has the ids of the reading
            processes of each worker.
    """

    def __init__(self, ocr: Ocr, note: Path) -> None:
        super().__init__(ocr, "corpus.ingest")
        self._note = note

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        result = super().process(unit, ctx)
        worker = os.getpid()
        children = [pid for pid, parent in _readers().items() if parent == worker]
        write_json(self._note.with_suffix(f".{worker}"), children)
        try:
            self._note.with_suffix(".claim").touch(exist_ok=False)
        except FileExistsError:
            return result
        write_json(self._note, worker)
        time.sleep(LIMIT_SECONDS)
        raise AssertionError("nobody killed this worker")


def _make(root: Path, run: str, stage: OcrStage, workers: int) -> tuple[dict[str, bytes], Any]:
    """Reads two shards: here, or with workers on Ray."""
    ctx = StageContext(run_dir=root / run, root=root, seed=1)
    units = _shards(root, ctx.folder("corpus.ingest"), UNITS)
    receipts: list[Receipt] = []
    if workers:
        assert run_units(stage, ctx, units, workers, receipts.append) == []
    else:
        stage.setup(ctx)
        receipts += [process_unit(stage, ctx, unit) for unit in units]
    assert sorted(r.index for r in receipts) == [*range(UNITS)]
    folder = ctx.folder("corpus.ocr")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}
    return files, receipts


def _readers() -> dict[int, int]:
    """All reading processes of the machine, those of other tests too: child to parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if b"corpus.pdf_child" in (entry / "cmdline").read_bytes():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found[int(entry.name)] = parent
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.usefixtures("ray_session")
def test_bytes_are_the_same_whatever_the_workers_and_whoever_is_killed(
    tiny_nougat: Path, tmp_path: Path
) -> None:
    plain, _ = _make(tmp_path, "plain", OcrStage(_ocr(tiny_nougat), "corpus.ingest"), 0)
    assert set(plain) == {shard_name(n) for n in range(UNITS)}
    note = tmp_path / "worker"

    def kill_first() -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not note.exists():
            assert time.monotonic() < deadline, "no worker has read a unit"
            time.sleep(0.02)
        os.kill(int(note.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill_first, daemon=True)
    killer.start()
    ocr = _ocr(tiny_nougat, workers=2, render_processes=1)
    disturbed, receipts = _make(tmp_path, "disturbed", HeldOcrStage(ocr, note), 2)
    killer.join()
    assert disturbed == plain
    assert sum(r.metrics["pdf_pages"] for r in receipts) == UNITS * 2 * (len(CLEAN) + 2)
    of_worker = {p.suffix: json.loads(p.read_text()) for p in tmp_path.glob("worker.[0-9]*")}
    assert of_worker[f".{json.loads(note.read_text())}"], "the killed worker had none"
    children = {child for children in of_worker.values() for child in children}
    deadline = time.monotonic() + LIMIT_SECONDS
    while left := children & set(_readers()):
        assert time.monotonic() < deadline, f"reading processes outlived their workers: {left}"
        time.sleep(0.05)
