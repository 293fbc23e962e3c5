"""The model that training starts from: the user's folder, or a tiny Llama made on the spot.

A tiny model lets the whole pipeline run in minutes with nothing to download: its byte-level BPE
tokenizer is learned from the recipe's own documents and its weights are random.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.model_folder import model_files, require_model
from core.recipe.train import Base, TinyModel
from core.shards import stream_batches
from core.stage import JobResult, JobStage, StageContext

_BATCH_ROWS = 64
"""Documents in memory at once; a book is a few MB."""


class BaseModelStage(JobStage):
    """Makes ``model/``: config, weights, tokenizer."""

    name = "train.base"
    description = "the base model: the given one, or a tiny one made here"
    row_unit = "document"
    reconcile = "documents are read to learn the tokenizer; none is changed"

    def __init__(self, section: Base, documents_stage: str) -> None:
        """Describes the base model.

        Args:
            section: a model folder, or the shape of a tiny model.
            documents_stage: stage whose documents a tiny model's tokenizer is learned from.
        """
        self._section = section
        self._documents_stage = documents_stage
        self.inputs = (documents_stage,) if section.tiny else ()

    def config(self) -> dict[str, Any]:
        """Returns the shape of a tiny model; a folder is known by its content."""
        return {"tiny": self._section.tiny.model_dump() if self._section.tiny else None}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of the given model."""
        if self._section.path is None:
            return []
        return model_files(self._folder(ctx, self._section.path))

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Fills ``out/model``.

        Raises:
            InputError: the given folder is not a model, or there is no text to learn from.
        """
        if self._section.tiny is not None:
            return self._make_tiny(self._section.tiny, ctx, out / "model")
        assert self._section.path is not None
        folder = self._folder(ctx, self._section.path)
        link_files(model_files(folder), out / "model")
        return JobResult()

    def _folder(self, ctx: StageContext, path: str) -> Path:
        folder = ctx.path(path)
        require_model(folder, "train.base.path")
        return folder

    def _make_tiny(self, section: TinyModel, ctx: StageContext, folder: Path) -> JobResult:
        from core.tiny import make_tiny_llama, save_model, train_tokenizer

        texts = Texts(ctx.folder(self._documents_stage))
        tokenizer = train_tokenizer(texts, section.vocab_size)
        if texts.documents == 0:
            raise InputError(
                "there is no text to learn a tokenizer from",
                where=self._documents_stage,
                remedy="look at the rejects of the stages before",
            )
        model = make_tiny_llama(section, tokenizer, ctx.seed)
        save_model(model, tokenizer, folder)
        return JobResult(
            rows_in=texts.documents,
            rows_out=texts.documents,
            metrics={
                "vocabulary": len(tokenizer),
                "parameters": sum(p.numel() for p in model.parameters()),
            },
        )


class Texts:
    """The texts of a dataset, streamed and counted. Documents without text are passed over."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet.

        Args:
            folder: dataset of documents.
        """
        self._folder = folder
        self.documents = 0

    def __iter__(self) -> Iterator[str]:
        """Yields the texts in shard order, a few documents in memory at a time."""
        self.documents = 0
        for batch in stream_batches(self._folder, ["text"], _BATCH_ROWS):
            for text in batch.column("text"):
                if text.is_valid:
                    self.documents += 1
                    yield text.as_py()


def link_files(files: list[Path], folder: Path) -> None:
    """Links files into a new folder: weights of tens of GB are not copied.

    Args:
        files: absolute paths.
        folder: made here.
    """
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
