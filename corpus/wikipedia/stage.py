"""The articles that a search by category selects, for every Wikipedia source with roots."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.atomic import write_json
from core.recipe.sources import WikipediaSource
from core.rejects import Reject
from core.shards import write_shard
from core.stage import JobResult, JobStage, StageContext
from core.storage.inputs import locate
from corpus.wikipedia.categories import Ints, Tables, Tree, search
from corpus.wikipedia.dump import Fault, Place, parse_page, read_header, read_pages
from corpus.wikipedia.files import Tick
from corpus.wikipedia.members import (
    FindTargets,
    Selected,
    Target,
    find_members,
    select,
    table_targets,
)
from corpus.wikipedia.streams import dump_files, find_streams, index_file
from corpus.wikipedia.titles import upper_first

PAGES = pa.schema(
    [
        pa.field("page_id", pa.int64(), nullable=False),
        ("title", pa.string()),
        ("depth", pa.int32()),
        ("category", pa.string()),
    ]
)
"""A selected article, and the category it was found through."""

_PROGRESS = Path("logs") / "progress.json"
_SECONDS_BETWEEN_NOTES = 1.0


def pages_name(source: WikipediaSource) -> str:
    """Returns the file that lists a source's articles, in the stage's folder."""
    return f"{source.name}.parquet"


class WikiPagesStage(JobStage):
    """Breadth-first search through categories, as AstroMLab 3 took its Wikipedia articles."""

    name = "corpus.wiki_pages"
    description = "Articles below the root categories of each Wikipedia source."
    row_unit = "page"
    reconcile = "Counts pages found in categories; a redirect stands for its target."

    def __init__(self, sources: Sequence[WikipediaSource]) -> None:
        """Takes those of the recipe's Wikipedia sources that have roots."""
        self._sources = [source for source in sources if source.roots]

    def config(self) -> dict[str, Any]:
        """Returns what the search depends on."""
        keys = {
            "name", "language", "dump", "roots", "depth", "stop_categories", "hidden_category",
            "page", "categorylinks", "linktarget", "redirect",
        }  # fmt: skip
        return {"sources": [source.model_dump(include=keys) for source in self._sources]}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the tables, and the dump and its index where redirects are read from it."""
        files: list[Path] = []
        for source in self._sources:
            named = (source.page, source.categorylinks, source.linktarget, source.redirect)
            files += [ctx.path(path) for path in named if path is not None]
            if source.redirect is None:
                dumps = dump_files(source, ctx.root)
                files += [*dumps, *(index for d in dumps if (index := index_file(d)))]
        return list(dict.fromkeys(files))

    def progress(self, out: Path) -> tuple[int, int, str] | None:
        """Returns megabytes read, megabytes to read as far as it is known, and the step."""
        try:
            state = json.loads((out / _PROGRESS).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return int(state["done"]), int(state["total"]), str(state["note"])

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes ``<source>.parquet`` and ``<source>.tree.json`` for each source.

        Raises:
            InputError: a table is missing or damaged, or a root category does not exist.
        """
        result = JobResult()
        passes = _Progress(out / _PROGRESS, sum(map(_bytes_to_read, self._tables(ctx))))
        for source, tables in zip(self._sources, self._tables(ctx), strict=True):
            tree = search(
                tables,
                source.roots,
                source.depth,
                stop=source.stop_categories,
                hidden_category=source.hidden_category,
                tick=passes.step(f"{source.name}: categories"),
            )
            members = find_members(tables, tree, passes.step(f"{source.name}: members"))
            tick = passes.step(f"{source.name}: pages")
            finder = _finder(source, ctx, tick)
            selected, rejects = select(tables, tree, members, finder, source.language, tick)
            _write(out, source, tree, selected)
            result.rows_in += len(members[0])
            result.rows_out += len(selected)
            result.rejected += rejects
            result.metrics[source.name] = _metrics(tree, members[0], selected, rejects)
        return result

    def _tables(self, ctx: StageContext) -> list[Tables]:
        return [
            Tables(
                page=ctx.path(source.page or ""),
                categorylinks=ctx.path(source.categorylinks or ""),
                linktarget=ctx.path(source.linktarget) if source.linktarget else None,
            )
            for source in self._sources
        ]


def _bytes_to_read(tables: Tables) -> int:
    # page: categories, members, redirect targets; categorylinks: edges, members.
    sizes = [(tables.page, 3), (tables.categorylinks, 2), (tables.linktarget, 1)]
    return sum(passes * path.stat().st_size for path, passes in sizes if path and path.is_file())


class _Progress:
    """Notes how far the passes are, where :meth:`WikiPagesStage.progress` looks."""

    def __init__(self, path: Path, total_bytes: int) -> None:
        self._path, self._total, self._done = path, total_bytes, 0
        self._next = 0.0

    def step(self, note: str) -> Tick:
        """Returns a tick that counts under a new heading."""

        def tick(more_bytes: int) -> None:
            self._done += more_bytes
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + _SECONDS_BETWEEN_NOTES
                done = min(self._done, self._total)
                state = {"done": done >> 20, "total": max(1, self._total >> 20), "note": note}
                write_json(self._path, state)

        return tick


def _finder(source: WikipediaSource, ctx: StageContext, tick: Tick) -> FindTargets:
    if source.redirect is not None:
        return table_targets(ctx.path(source.redirect), tick)
    return lambda pages: dump_targets(source, ctx.root, pages)


def dump_targets(source: WikipediaSource, root: Path, pages: Ints) -> dict[int, Target]:
    """Returns where redirects lead, read from their pages in the dump."""
    found: dict[int, Target] = {}
    for record in find_streams(source, root, pages):
        if record.unit == "absent":
            continue
        path, wanted = locate(root, record.file), set(record.page_ids or ())
        header = read_header(path)
        for raw in read_pages(path, Place(record.unit, record.start, record.end)):
            if isinstance(raw, Fault) or raw.page_id not in wanted:
                continue
            page = parse_page(raw, header)
            if isinstance(page, Fault) or not page.redirect_to:
                continue
            namespace = header.namespace_of(page.redirect_to)
            title = page.redirect_to if namespace == 0 else page.redirect_to.partition(":")[2]
            name = "_".join(title.replace("_", " ").split())
            found[raw.page_id] = namespace, upper_first(name).encode()
    return found


def _write(out: Path, source: WikipediaSource, tree: Tree, selected: list[Selected]) -> None:
    table = pa.Table.from_pylist([asdict(article) for article in selected], schema=PAGES)
    write_shard(out / pages_name(source), table)
    levels = [
        [
            title.decode("utf-8", "replace").replace("_", " ")
            for title, depth in zip(tree.titles, tree.depths, strict=True)
            if depth == level
        ]
        for level in range(max(tree.depths, default=-1) + 1)
    ]
    found = {"visited_by_depth": levels, "hidden": tree.hidden, "stopped": tree.stopped}
    write_json(out / f"{source.name}.tree.json", found)


def _metrics(
    tree: Tree, members: Ints, selected: list[Selected], rejects: list[Reject]
) -> dict[str, Any]:
    return {
        "categories_by_depth": _counts(tree.depths),
        "categories_hidden": len(tree.hidden),
        "categories_stopped": len(tree.stopped),
        "pages_found": len(members),
        "articles": len(selected),
        "articles_by_depth": _counts([article.depth for article in selected]),
        "rejected_by_reason": _counts([reject.reason.value for reject in rejects]),
    }


def _counts(values: Sequence[int] | Sequence[str]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}
