"""OCR: documents that name a PDF get its text and page spans; the others pass through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.recipe.corpus import Ocr
from core.rejects import Reject
from core.schema import DOCUMENT
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import with_text
from corpus.textlayer import UnreadablePdf, read_pdf


def read_documents(table: pa.Table, root: Path, ocr: Ocr) -> tuple[pa.Table, list[Reject], int]:
    """Fills in the text of a shard's documents.

    Args:
        table: documents; those without text name their PDF as ``file`` in ``meta``.
        root: folder that the names start from.
        ocr: the recipe section.

    Returns:
        Documents with text, rejects, and how many pages were read.
    """
    keep, texts, pages = [], [], []
    rejects: list[Reject] = []
    page_count = 0
    for number, row in enumerate(table.select(["doc_id", "text", "pages", "meta"]).to_pylist()):
        text, spans = row["text"], row["pages"]
        if text is None:
            name = json.loads(row["meta"])["file"]
            try:
                text, spans = read_pdf(root / name, ocr.max_pages, ocr.min_chars_per_page)
            except UnreadablePdf as error:
                rejects.append(Reject(row["doc_id"], error.reason, f"{name}: {error.detail}"))
                continue
            page_count += len(spans)
        keep.append(number)
        texts.append(text.encode("utf-8", "replace").decode("utf-8"))
        pages.append(spans)
    return with_text(table, keep, texts, pages), rejects, page_count


class OcrStage(ShardStage):
    """PDFs to Markdown."""

    name = "corpus.ocr"
    description = "Documents with text; PDFs read through their text layer, page by page."
    schema = DOCUMENT

    def __init__(self, ocr: Ocr, documents: str) -> None:
        self.inputs = self.aligned = (documents,)
        self._ocr = ocr

    def config(self) -> dict[str, Any]:
        """Returns the section ``corpus.ocr``."""
        return self._ocr.model_dump(mode="json")

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads the PDFs of one shard."""
        (table,) = self.read(unit, ctx)
        kept, rejects, pages = read_documents(table, ctx.root, self._ocr)
        return ShardResult(kept, rejects, rows_in=table.num_rows, metrics={"pdf_pages": pages})
