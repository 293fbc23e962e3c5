"""Loss on held-out text while a run trains.

The papers watch the training loss; on text of the field that is not trained on, the loss shows
what is learned, on general text what is forgotten. The texts are tokenized and packed once, by
the driver, like the corpus: begin of text, tokens, end of text. A document that fits a sequence
stays whole. Every token with something before it counts: the loss is the mean over the tokens of
all documents of a set and their ends, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InputError
from core.front_matter import split_front_matter
from core.packing import TokenRun, pack, row_group_rows
from core.recipe.eval import HeldoutSet
from core.recipe.evaluate import Evaluate
from core.shards import shard_name, write_shard
from core.sources import find_files
from core.tokenizer import load_tokenizer, pad_token_id

if TYPE_CHECKING:
    from train.data import MicroBatch
    from train.engine import TrainEngine

ENDINGS = (".md", ".markdown", ".txt")

_MICRO_BATCHES_AT_ONCE = 8
"""Of one worker: enough to fill a pipeline, few enough to say often that it is alive."""

_LARGEST_EXPONENT = 700.0
"""Of e in a float; such a perplexity means nothing anyway."""


def evaluation_files(section: Evaluate, root: Path, run: str) -> dict[str, list[Path]]:
    """Returns the files of each set.

    Args:
        section: of the recipe.
        root: folder that relative paths start from.
        run: name of the training stage, for errors.

    Raises:
        InputError: a path names nothing.
    """
    return {
        found.name: find_files(root, found.paths, ENDINGS, f"{run}.evaluate.sets: {found.name}")
        for found in section.sets
    }


def pack_sets(
    section: Evaluate, files: Mapping[str, list[Path]], model: Path, length: int, out: Path
) -> dict[str, str]:
    """Writes a dataset of token sequences for each set.

    Args:
        section: of the recipe.
        files: of each set.
        model: folder of the tokenizer.
        length: tokens of a sequence.
        out: folder that holds the datasets, one folder each.

    Returns:
        The folder of each set.

    Raises:
        InputError: a file cannot be read, or a set has no text.
    """
    folders = {}
    for found in section.sets:
        runs = _token_runs(found, files[found.name], model, section.max_tokens)
        pad = pad_token_id(load_tokenizer(str(model)))
        table = pack(runs, length, pad, "best_fit").table
        folder = out / found.name
        write_shard(folder / shard_name(0), table, row_group_rows(length))
        folders[found.name] = str(folder)
    return folders


def _token_runs(
    found: HeldoutSet, files: list[Path], model: Path, max_tokens: int
) -> list[TokenRun]:
    """Returns the documents of a set as tokens; the last one is cut at the limit."""
    tokenizer = load_tokenizer(str(model))
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    runs: list[TokenRun] = []
    left = max_tokens
    for path, text in _texts(files):
        # As the corpus: special-token text inside of a document is plain text.
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        whole = np.array([*begin, *ids, tokenizer.eos_token_id], dtype=np.int32)
        runs.append(TokenRun(path.name, whole[:left]))
        left -= len(runs[-1].ids)
        if left <= 0:
            break
    if not runs:
        raise InputError(
            f"the held-out set '{found.name}' has no text",
            where=", ".join(found.paths),
            remedy="name files with text beside their front matter",
        )
    return runs


def _texts(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in files:
        try:
            raw = path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read held-out text: {error}",
                where=str(path),
                remedy="give text in UTF-8, or take the file out of evaluate.sets",
            ) from error
        text = split_front_matter(raw.replace("\r\n", "\n"))[1].strip()
        if text:
            yield path, text


class Evaluator:
    """Measures a model on the held-out sets. All workers make the same calls."""

    def __init__(
        self,
        folders: Mapping[str, str],
        engine: TrainEngine,
        micro_batch: int,
        alive: Callable[[], None],
    ) -> None:
        """Reads the datasets' footers.

        Args:
            folders: dataset of each set.
            engine: whose model is measured.
            micro_batch: sequences of a forward pass.
            alive: called after every few passes.
        """
        from train.data import SequenceDataset

        self._engine, self._micro_batch, self._alive = engine, micro_batch, alive
        self._sets = {name: SequenceDataset(Path(folder)) for name, folder in folders.items()}

    def losses(self) -> dict[str, float]:
        """Returns the loss of each set, in nats per token; the same on all workers."""
        found = {}
        for name in self._sets:
            summed, tokens = 0.0, 0
            for micro_batches in self._shares(name):
                part, count = self._engine.evaluate(micro_batches)
                summed, tokens = summed + part, tokens + count
                self._alive()
            found[name] = summed / max(tokens, 1)
        return found

    def _shares(self, name: str) -> Iterator[list[MicroBatch]]:
        """Yields this worker's micro batches; all workers get the same number of them.

        Sequences without loss fill the last ones up.
        """
        from train.order import PADDING

        dataset, size = self._sets[name], self._engine.data_size
        share = self._micro_batch * _MICRO_BATCHES_AT_ONCE
        # A small set on many workers: no more passes than it takes.
        needed = -(-len(dataset) // (size * self._micro_batch)) * self._micro_batch
        share = min(share, needed)
        for start in range(0, len(dataset), share * size):
            first = start + self._engine.data_rank * share
            indices = np.arange(first, first + share, dtype=np.int64)
            indices[indices >= len(dataset)] = PADDING
            yield dataset.read(indices).split(self._micro_batch)


def evaluation_line(step: int, epoch: float, losses: Mapping[str, float]) -> dict[str, Any]:
    """Returns what is written of an evaluation.

    Args:
        step: optimizer steps done.
        epoch: passes over the corpus done.
        losses: of each set, nats per token.
    """
    return {
        "step": step,
        "epoch": round(epoch, 6),
        "evaluation": dict(losses),
        "perplexity": {
            name: math.exp(min(loss, _LARGEST_EXPONENT)) for name, loss in losses.items()
        },
    }
