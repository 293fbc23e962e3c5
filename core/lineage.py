"""What a stage's output was made from, by the manifests: from a sequence back to a document's row.

::

    corpus.tokens --reads--> corpus.filter --reads--> corpus.normalize --> ... --> corpus.catalog
         |                        |
      spans: doc_id, token     the row with that doc_id: text, pages, source, licence, file

Nothing is searched that the answer does not need: one row group of one sequence shard, and of the
documents their ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError, UsageError
from core.manifest import Manifest
from core.stage import STAGE_PREFIXES

RUN_AGAIN = "run the recipe again, so that all its stages fit together: astromill run RECIPE"

_BATCH_ROWS = 16
"""Documents in memory at once while one is fetched; a book is a few MB."""


@dataclass(frozen=True)
class Link:
    """A finished stage on disk."""

    folder: Path
    manifest: Manifest

    @property
    def stage(self) -> str:
        """Its name."""
        return self.manifest.stage

    @property
    def shards(self) -> list[Path]:
        """Its data shards, in order."""
        return [self.folder / file.name for file in self.manifest.shards]

    def columns(self) -> list[str]:
        """Returns the columns of its rows; none where it makes no shards."""
        return list(_open(self.shards[0]).schema_arrow.names) if self.shards else []


@dataclass(frozen=True)
class Chain:
    """A stage with all it was made from.

    Args:
        links: by name, in the order they were made; the last is the stage itself.
        lost: inputs that cannot be followed, and why: deleted, or made anew since.
    """

    links: dict[str, Link]
    lost: dict[str, str] = field(default_factory=dict)

    @property
    def end(self) -> Link:
        """The stage itself."""
        return list(self.links.values())[-1]

    def rows_behind(self, link: Link) -> list[Link]:
        """Returns the stages whose rows a stage's rows come from, nearest first.

        Stages without rows - a model, a threshold - end the way: what a model was trained on is
        not what the model read.
        """
        found: list[Link] = []
        waiting = [link]
        while waiting:
            for name in waiting.pop(0).manifest.inputs:
                before = self.links.get(name)
                if before is not None and before.shards and before not in found:
                    found.append(before)
                    waiting.append(before)
        return found

    def nearest(self, link: Link, columns: Collection[str]) -> list[Link]:
        """Returns the nearest stages behind ``link`` whose rows have the columns.

        Going back from the link, each way ends at the first such stage.
        """
        found: list[Link] = []
        waiting = [link]
        seen = {link.stage}
        while waiting:
            for name in waiting.pop(0).manifest.inputs:
                before = self.links.get(name)
                if before is None or not before.shards or name in seen:
                    continue
                seen.add(name)
                (found if set(columns) <= set(before.columns()) else waiting).append(before)
        return found

    def require(self, link: Link, columns: Collection[str], what: str) -> list[Link]:
        """Is :meth:`nearest`, but finds one.

        Raises:
            InputError: there is none, for example since it has been deleted or made anew.
        """
        found = self.nearest(link, columns)
        if not found:
            lost = "; ".join(f"{name} {why}" for name, why in self.lost.items())
            raise InputError(
                f"the {what} that {link.stage} was made from cannot be followed"
                + (f": {lost}" if lost else ""),
                where=str(link.folder),
                remedy=RUN_AGAIN,
            )
        return found


def open_stage(path: Path, default: str | None = None) -> Link:
    """Returns the stage in a folder.

    Args:
        path: a stage's folder, or a run's where ``default`` is given.
        default: the stage that is meant when the folder is a run's.

    Raises:
        InputError: there is no finished stage.
    """
    folder = path.absolute()
    manifest = Manifest.load(folder)
    if manifest is None and default:
        folder = folder.joinpath(*default.split("."))
        manifest = Manifest.load(folder)
    if manifest is None:
        raise InputError(
            "this folder holds no finished stage",
            where=str(folder),
            remedy="name a stage's folder, such as runs/demo/corpus/tokens; if it is one, run it "
            "first: its manifest is missing or unreadable",
        )
    return Link(folder, manifest)


def run_folder(link: Link) -> Path | None:
    """Returns the run that a stage's folder lies in, or None for a folder taken out of its run."""
    parts = tuple(link.stage.split("."))
    return (
        link.folder.parents[len(parts) - 1] if link.folder.parts[-len(parts) :] == parts else None
    )


def run_tokenizer(link: Link) -> str:
    """Returns the folder of the tokenizer that a stage's sequences were made with.

    Raises:
        InputError: it is not in the stage's run.
    """
    name = str(link.manifest.config.get("tokenizer", ""))
    run = run_folder(link)
    if run is not None and name.startswith(STAGE_PREFIXES):
        return str(run.joinpath(*name.split(".")) / "model")
    raise InputError(
        f"the tokenizer of {link.stage} is not in this run: {name or 'it names none'}",
        where=str(link.folder),
        remedy="say where it is: --tokenizer FOLDER",
    )


def follow(link: Link) -> Chain:
    """Returns a stage with all it was made from, as far as it is still on disk.

    An input that was made anew since with other content is not followed: what stands there now is
    not what the stage read.
    """
    run = run_folder(link)
    links: dict[str, Link] = {}
    lost: dict[str, str] = {}

    def visit(one: Link) -> None:
        for name, digest in one.manifest.input_digests.items():
            if name in links or name in lost:
                continue
            folder = run.joinpath(*name.split(".")) if run else None
            manifest = Manifest.load(folder) if folder else None
            if folder is None or manifest is None:
                lost[name] = "is not there"
            elif manifest.digest != digest:
                lost[name] = f"was made anew after {one.stage} read it"
            else:
                visit(Link(folder, manifest))
        links[one.stage] = one

    visit(link)
    return Chain(links, lost)


@dataclass(frozen=True)
class Sequence:
    """One packed sequence, and where it is kept.

    Args:
        number: counted from 0 over all shards.
        shard: its shard's name.
        row: within the shard.
        values: its row of :func:`core.schema.token_sequence`.
    """

    number: int
    shard: str
    row: int
    values: dict[str, Any]

    def span(self, token: int) -> dict[str, Any] | None:
        """Returns the span that a token lies in; None for padding."""
        for span in self.values["spans"]:
            if span["start"] <= token < span["start"] + span["length"]:
                return dict(span)
        return None


def read_sequence(link: Link, number: int) -> Sequence:
    """Returns one sequence, reading one row group.

    Raises:
        UsageError: there is no such sequence.
        InputError: the stage does not make sequences, or a shard cannot be read.
    """
    require_sequences(link)
    total = sum(file.rows or 0 for file in link.manifest.shards)
    row = number
    for file in link.manifest.shards:
        rows = file.rows or 0
        if 0 <= row < rows:
            values = _read_row(link.folder / file.name, row)
            return Sequence(number, file.name, row, values)
        row -= rows
    raise UsageError(
        f"there is no sequence {number} in {link.stage}",
        where=str(link.folder),
        remedy=f"it has {total:,}; they are counted from 0",
    )


def require_sequences(link: Link) -> None:
    """Checks that a stage makes token sequences.

    Raises:
        InputError: it does not.
    """
    if "spans" not in link.columns():
        raise InputError(
            f"{link.stage} holds no token sequences",
            where=str(link.folder),
            remedy="name a folder such as runs/demo/corpus/tokens or runs/demo/synth/sft_tokens",
        )


def find_row(
    link: Link, column: str, value: str, first: str | None = None
) -> dict[str, Any] | None:
    """Returns the row whose ``column`` is ``value``, or None.

    Args:
        link: where to look.
        column: of ids; each is there once.
        value: the id.
        first: name of the shard to look in first. Most stages keep a document in the shard of the
            same number, so the others need not be opened.

    Raises:
        InputError: a shard cannot be read.
    """
    shards = sorted(link.shards, key=lambda path: path.name != first)
    for path in shards:
        try:
            rows = (
                pl.scan_parquet(path, row_index_name="row", glob=False)
                .filter(pl.col(column) == value)
                .select("row")
                .head(1)
                .collect()
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(path, error) from error
        if rows.height:
            return _read_row(path, int(rows.item()))
    return None


def sequences_with(link: Link, ids: Collection[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number of the sequence, span) for every span of the documents, in order.

    Reads the column ``spans`` alone, a shard at a time.

    Raises:
        InputError: the stage does not make sequences, or a shard cannot be read.
    """
    require_sequences(link)
    before = 0
    for file in link.manifest.shards:
        path = link.folder / file.name
        try:
            hits = (
                pl.scan_parquet(path, row_index_name="row", glob=False)
                .select("row", "spans")
                .explode("spans")
                .unnest("spans")
                .filter(pl.col("doc_id").is_in(list(ids)))
                .collect()
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(path, error) from error
        for hit in hits.iter_rows(named=True):
            row = hit.pop("row")
            yield before + row, hit
        before += file.rows or 0


def _read_row(path: Path, row: int) -> dict[str, Any]:
    """Returns one row; of its row group no more is decoded than comes before it."""
    file = _open(path)
    try:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], use_threads=False):
                    if row < batch.num_rows:
                        return dict(batch.slice(row, 1).to_pylist()[0])
                    row -= batch.num_rows
            row -= rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    raise _unreadable(path, ValueError("it has fewer rows than the manifest says"))


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot read this Parquet shard: {f'{error} '.splitlines()[0].strip()}",
        where=str(path),
        remedy="it is missing, truncated or corrupt: run the recipe again, which makes it anew",
    )
