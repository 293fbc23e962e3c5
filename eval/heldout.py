"""Held-out text under each model: the negative log-likelihood of every document.

Perplexity, exp(sum of nll / sum of tokens), and bits per byte follow from these rows. Held-out
loss is the first thing that continued pretraining changes: AstroMLab 3 (section III) watches it
during training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from core.front_matter import split_front_matter
from core.hashing import sha256_value
from core.llm import Engine, ScoreRequest
from core.recipe.eval import HeldoutSet
from core.rejects import Reason, Reject
from core.schema import HELDOUT_SCORE
from core.sources import SourceIndex, find_files
from core.stage import ShardResult, ShardStage, StageContext, Unit
from core.storage.inputs import name_of
from eval.models import HeldEngine, model_digest, model_files, model_stages

ENDINGS = (".md", ".markdown", ".txt")


@dataclass(frozen=True)
class HeldoutDocument:
    """A document and its text without front matter."""

    doc_id: str
    text: str


def load_documents(paths: Sequence[Path], root: Path) -> tuple[list[HeldoutDocument], list[Reject]]:
    """Reads text files.

    Args:
        paths: one document each.
        root: ids are paths relative to it where possible.

    Returns:
        The documents in the order given, and rejects of files that are unreadable, not UTF-8 or
        empty.
    """
    documents: list[HeldoutDocument] = []
    rejects: list[Reject] = []
    for path in paths:
        doc_id = name_of(root, path)
        try:
            raw = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            rejects.append(Reject(doc_id, Reason.UNREADABLE_FILE, error.strerror or str(error)))
            continue
        except UnicodeDecodeError as error:
            rejects.append(Reject(doc_id, Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8"))
            continue
        _, body = split_front_matter(raw.replace("\r\n", "\n"))
        text = body.strip()
        if text:
            documents.append(HeldoutDocument(doc_id, text))
        else:
            rejects.append(Reject(doc_id, Reason.EMPTY_TEXT, "no text beside front matter"))
    return documents, rejects


def score_documents(
    documents: Sequence[HeldoutDocument], engine: Engine, model: str, set_name: str
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Scores every token of every document.

    Returns:
        Rows of schema :data:`core.schema.HELDOUT_SCORE`, and rejects of documents that the model
        could not score.
    """
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    scores = engine.score([ScoreRequest(document.text) for document in documents])
    for document, score in zip(documents, scores, strict=True):
        if score.error is not None or not score.logprobs or not math.isfinite(score.total):
            detail = score.error or "the model gives no finite likelihood"
            rejects.append(Reject(document.doc_id, Reason.NOT_SCORED, detail, document.text))
            continue
        rows.append(
            {
                "doc_id": document.doc_id,
                "set": set_name,
                "model": model,
                "tokens": len(score.logprobs),
                "bytes": len(document.text.encode("utf-8")),
                "negative_log_likelihood": -score.total,
            }
        )
    return rows, rejects


class HeldoutStage(ShardStage):
    """Scores every held-out set with every model; a unit of work is one of each."""

    name = "eval.heldout"
    description: ClassVar[str] = "Likelihood of held-out text"
    schema = HELDOUT_SCORE
    row_unit = "document"
    actors = 1
    reconcile: ClassVar[str] = "every document is counted once per model"

    def __init__(self, sets: Sequence[HeldoutSet], models: dict[str, str]) -> None:
        """Takes the recipe's parts.

        Args:
            sets: held-out sets.
            models: name in the tables to train or merge stage, or model folder.
        """
        self._sets = {s.name: s for s in sets}
        self._models = models
        self._held = HeldEngine()
        self.inputs = model_stages(models)

    def config(self) -> dict[str, Any]:
        """Returns the sets' paths (groups only matter to the scores) and the models."""
        return {
            "sets": [s.model_dump(mode="json", exclude={"group"}) for s in self._sets.values()],
            "models": [list(pair) for pair in self._models.items()],
        }

    def _files(self, heldout: HeldoutSet, ctx: StageContext) -> list[Path]:
        return find_files(ctx.root, heldout.paths, ENDINGS, f"eval.heldout: {heldout.name}")

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the held-out files and those of models that are folders."""
        files = [file for s in self._sets.values() for file in self._files(s, ctx)]
        return files + model_files(self._models, ctx)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per model and set, model by model."""
        units: list[Unit] = []
        for model, reference in self._models.items():
            weights = model_digest(model, reference, ctx, sources)
            for heldout in self._sets.values():
                texts = sources.digest(self._files(heldout, ctx))
                payload = {"model": model, "reference": reference, "set": heldout.name}
                digest = sha256_value([payload, texts, weights])
                units.append(Unit(len(units), payload, digest))
        return units

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Scores one set with one model."""
        heldout = self._sets[unit.payload["set"]]
        files = self._files(heldout, ctx)
        documents, rejects = load_documents(files, ctx.root)
        engine = self._held.open(ctx.model_path(unit.payload["reference"]))
        rows, unscored = score_documents(documents, engine, unit.payload["model"], heldout.name)
        return ShardResult(
            kept=pa.Table.from_pylist(rows, schema=HELDOUT_SCORE),
            rejected=rejects + unscored,
            rows_in=len(files),
            metrics={"tokens": sum(row["tokens"] for row in rows)},
        )
