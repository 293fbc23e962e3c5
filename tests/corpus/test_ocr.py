from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from reportlab.lib.pdfencrypt import StandardEncryption

from core.recipe.corpus import Ocr
from core.rejects import Reason
from core.schema import DOCUMENT
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.ocr import OcrStage, read_documents
from tests.corpus.pdf import block, make_pdf

PutShard = Callable[[str, pa.Table], Unit]

BODY = "Stars form in cold clouds of gas and dust that fall in."


def _pdf(name: str) -> Document:
    return Document(f"book:{name}", "book", meta={"file": name})


def test_pdfs_are_read_and_other_documents_pass(context: StageContext, put_shard: PutShard) -> None:
    root = context.root
    make_pdf(root / "good.pdf", block(72, 740, BODY), block(72, 740, BODY))
    make_pdf(root / "locked.pdf", block(72, 740, BODY), encrypt=StandardEncryption("u", "o"))
    make_pdf(root / "blank.pdf", [])
    make_pdf(root / "long.pdf", *[block(72, 740, BODY)] * 4)
    (root / "broken.pdf").write_bytes(b"%PDF-1.4")
    names = ["good", "locked", "blank", "long", "broken", "gone"]
    documents = [Document("note:1", "note", text="A note."), *(_pdf(f"{n}.pdf") for n in names)]
    stage = OcrStage(Ocr(max_pages=3), "corpus.ingest")
    result = stage.process(put_shard("corpus.ingest", documents_table(documents)), context)

    assert result.kept.schema == DOCUMENT
    note, good = result.kept.to_pylist()
    assert (note["text"], note["pages"]) == ("A note.", None)
    assert good["text"] == f"{BODY}\n\n{BODY}"
    assert [p["page"] for p in good["pages"]] == [1, 2]
    assert [(r.doc_id, r.reason) for r in result.rejected] == [
        ("book:locked.pdf", Reason.PDF_ENCRYPTED),
        ("book:blank.pdf", Reason.PDF_NO_TEXT),
        ("book:long.pdf", Reason.PDF_TOO_LARGE),
        ("book:broken.pdf", Reason.PDF_CORRUPT),
        ("book:gone.pdf", Reason.UNREADABLE_FILE),
    ]
    assert all(r.detail.startswith(f"{r.doc_id[5:]}: ") for r in result.rejected)
    assert (result.rows_in, result.metrics) == (7, {"pdf_pages": 2})
    assert stage.config() == {"backend": "textlayer", "max_pages": 3, "min_chars_per_page": 20}


def test_a_shard_may_lose_all_its_documents(tmp_path: Path) -> None:
    kept, rejects, pages = read_documents(documents_table([_pdf("gone.pdf")]), tmp_path, Ocr())
    assert (kept.schema, kept.num_rows, len(rejects), pages) == (DOCUMENT, 0, 1, 0)
    kept, rejects, pages = read_documents(documents_table([]), tmp_path, Ocr())
    assert (kept.num_rows, rejects, pages) == (0, [], 0)


def test_a_file_name_that_is_not_utf8_is_found_again(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.pdf")
    make_pdf(tmp_path / "x.pdf", block(72, 740, BODY)).rename(tmp_path / name)
    kept, _, _ = read_documents(documents_table([_pdf(name)]), tmp_path, Ocr())
    assert kept["text"].to_pylist() == [BODY]
