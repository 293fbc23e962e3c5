"""OCR: documents that name a PDF or page images get their text and page spans; others pass through.

AstroMLab 3, section II.1, reads its PDFs with Nougat. Three ways to read them, by the recipe:

* ``textlayer`` - the text that a PDF carries (:mod:`corpus.pdf`), a hundred pages a second;
* ``nougat`` - transformers' port of Nougat on Ray actors (:mod:`corpus.nougat`);
* ``nougat-ocr`` - the original package as a program of its own environment.

Every page keeps how it was read and how well; a document whose pages cannot be read is a reject.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import RecipeError
from core.recipe.ocr import Ocr
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.stage import Resources, ShardResult, ShardStage, StageContext, Unit
from core.storage.inputs import locate
from corpus.documents import with_text
from corpus.ocr_backends import Backend, Outcome, Request, TextLayer
from corpus.pdf.joining import join_pages
from corpus.reading import Unreadable

WEIGHTS_NOTE = "Nougat's weights are CC-BY-NC 4.0: they may not be used commercially."
"""Meta's terms for ``facebook/nougat-base`` and ``-small``; a model of one's own has its own."""

_DESCRIPTIONS = {
    "textlayer": "Documents with text; PDFs read through their text layer, page by page.",
    "nougat": f"Documents with text; PDF pages and page images read by Nougat. {WEIGHTS_NOTE}",
    "nougat-ocr": f"Documents with text; PDFs read by the program nougat-ocr. {WEIGHTS_NOTE}",
}


def open_backend(ocr: Ocr, root: Path, model: str | None = None, seed: int = 0) -> Backend:
    """Returns the backend that the recipe names.

    Args:
        ocr: the recipe section.
        root: folder that relative paths start from.
        model: where Nougat's files are; None: ``ocr.nougat.model`` as written.
        seed: of pages that are read again by sampling.

    Raises:
        RecipeError: Nougat is asked for, but no model is named.
        EngineError: the model or the program cannot be started.
    """
    require_model(ocr)
    if ocr.backend == "textlayer":
        return TextLayer(ocr)
    # Only who asks for Nougat needs torch.
    if ocr.backend == "nougat":
        from corpus.nougat.backend import NougatBackend

        return NougatBackend(ocr, model or str(ocr.nougat.model), seed)
    from corpus.nougat.program import NougatProgram

    return NougatProgram(ocr, root)


def require_model(ocr: Ocr) -> None:
    """Checks that backend ``nougat`` has a model.

    Raises:
        RecipeError: it has none.
    """
    if ocr.backend == "nougat" and not ocr.nougat.model:
        raise RecipeError(
            "the backend 'nougat' needs a model",
            where="corpus.ocr.nougat.model",
            remedy="name a folder, or facebook/nougat-base (its weights are CC-BY-NC: not for "
            "commercial use)",
        )


def read_one(
    path: Path,
    ocr: Ocr,
    *,
    first_page: int | None = None,
    last_page: int | None = None,
    seed: int = 0,
) -> tuple[str, list[dict[str, Any]]]:
    """Reads one PDF, image file or folder of page images.

    Args:
        path: what to read.
        ocr: the recipe section; relative paths in it start from the working directory.
        first_page: from 1; None: the first one.
        last_page: included; None: the last one.
        seed: of pages that are read again by sampling.

    Returns:
        The Markdown and its page spans (:data:`core.schema.PAGE`).

    Raises:
        Unreadable: it gives no document; carries the reason.
        RecipeError: Nougat is asked for, but no model is named.
        EngineError: the model or the program cannot be started.
    """
    backend = open_backend(ocr, Path.cwd(), seed=seed)
    try:
        (outcome,) = backend.read([Request(path, first_page, last_page)])
    finally:
        backend.close()
    return _joined(outcome)


def read_documents(
    table: pa.Table, root: Path, backend: Backend
) -> tuple[pa.Table, list[Reject], dict[str, int]]:
    """Fills in the text of a shard's documents.

    Args:
        table: documents; those without text name a ``file`` in ``meta``, and may name its
            ``first_page`` and ``last_page``.
        root: folder that the names start from.
        backend: how to read them.

    Returns:
        Documents with text, rejects, and counts: ``pdf_pages``, ``pages_<method>``, ``retries``.
    """
    rows = table.select(["doc_id", "text", "pages", "meta"]).to_pylist()
    requests = {n: _request(row, root) for n, row in enumerate(rows) if row["text"] is None}
    wanted = {n: r for n, r in requests.items() if isinstance(r, Request)}
    outcomes = dict(zip(wanted, backend.read(list(wanted.values())), strict=True))
    keep, texts, pages = [], [], []
    rejects: list[Reject] = []
    counts: Counter[str] = Counter({"pdf_pages": 0})
    for number, row in enumerate(rows):
        text, spans = row["text"], row["pages"]
        if text is None:
            request = requests[number]
            outcome = request if isinstance(request, Unreadable) else outcomes[number]
            try:
                text, spans = _joined(outcome)
            except Unreadable as error:
                detail = f"{_file_name(row)}: {error.detail}"
                rejects.append(Reject(row["doc_id"], error.reason, detail, error.text))
                continue
            counts.update(_counts(outcome))
        keep.append(number)
        texts.append(text.encode("utf-8", "replace").decode("utf-8"))
        pages.append(spans)
    return with_text(table, keep, texts, pages), rejects, dict(sorted(counts.items()))


def _file_name(row: dict[str, Any]) -> str:
    meta = json.loads(row["meta"] or "{}")
    return str(meta.get("file", "no file"))


def _request(row: dict[str, Any], root: Path) -> Request | Unreadable:
    meta = json.loads(row["meta"] or "{}")
    if not meta.get("file"):
        return Unreadable(Reason.MALFORMED_RECORD, "neither a text nor the name of a file")
    return Request(locate(root, meta["file"]), meta.get("first_page"), meta.get("last_page"))


def _joined(outcome: Outcome) -> tuple[str, list[dict[str, Any]]]:
    if isinstance(outcome, Unreadable):
        raise outcome
    text, spans = join_pages(outcome.pages)
    if not text.strip():
        raise Unreadable(Reason.EMPTY_TEXT, f"no text on {len(outcome.pages)} pages")
    return text, spans


def _counts(outcome: Outcome) -> Counter[str]:
    assert not isinstance(outcome, Unreadable), "it was joined"
    counts = Counter(f"pages_{page.method}" for page in outcome.pages)
    counts["pdf_pages"] = len(outcome.pages) + outcome.shared
    if outcome.retries:
        counts["retries"] = outcome.retries
    return counts


class OcrStage(ShardStage):
    """PDFs and page images to Markdown."""

    name = "corpus.ocr"
    schema = DOCUMENT
    code_version = 2

    def __init__(self, ocr: Ocr, documents: str) -> None:
        require_model(ocr)
        self.inputs = self.aligned = (documents,)
        # The card says how the pages were read, which is the recipe's choice.
        self.description = _DESCRIPTIONS[ocr.backend]  # type: ignore[misc]
        self._ocr = ocr
        self._backend: Backend | None = None
        if ocr.backend == "nougat":
            self.actors = ocr.nougat.workers
        if ocr.backend != "textlayer":
            self.resources = Resources(gpus_if_any=ocr.nougat.gpus)

    def config(self) -> dict[str, Any]:
        """Returns what of the section ``corpus.ocr`` its output depends on."""
        config = self._ocr.model_dump(mode="json", exclude={"nougat", "nougat_ocr"})
        if self._ocr.backend != "textlayer":
            config["max_failed_share"] = self._ocr.nougat.max_failed_share
        if self._ocr.backend == "nougat":
            without = {"workers", "gpus", "render_processes"}
            config["nougat"] = self._ocr.nougat.model_dump(mode="json", exclude=without)
        if self._ocr.backend == "nougat-ocr":
            config["nougat_ocr"] = self._ocr.nougat_ocr.model_dump(mode="json")
        return config

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of a Nougat model of the user's own."""
        if self._ocr.backend != "nougat":
            return []
        files = ctx.model_files(self._ocr.nougat.model)
        # How pages are scaled is part of an image model.
        preprocessor = [f.with_name("preprocessor_config.json") for f in files[:1]]
        return [*files, *(f for f in preprocessor if f.is_file())]

    def setup(self, ctx: StageContext) -> None:
        """Loads the model."""
        model = ctx.model_path(self._ocr.nougat.model or "")
        self._backend = open_backend(self._ocr, ctx.root, model, ctx.seed)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads the PDFs of one shard."""
        (table,) = self.read(unit, ctx)
        if self._backend is None:
            # A plain task, which has no setup of its own.
            self.setup(ctx)
        assert self._backend is not None, "set up"
        kept, rejects, metrics = read_documents(table, ctx.root, self._backend)
        return ShardResult(kept, rejects, rows_in=table.num_rows, metrics=dict(metrics))
