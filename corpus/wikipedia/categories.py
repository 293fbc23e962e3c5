"""Breadth-first search through Wikipedia's categories (AstroMLab 3, section II.1: depth 2).

``page`` says which page a category's id is; ``categorylinks`` says which page is in which category,
naming the category by title (``cl_to``, until 2025) or by ``linktarget`` (``cl_target_id``, since).
Depth 0 is the root categories themselves, depth N is N steps from a category to its subcategories.

Tables are streamed and what stays in memory grows with the number of categories, not of links.
For the English Wikipedia (60 million pages, 200 million category links) that is the id and title of
2.5 million categories (130 MB, twice while they are joined), the ids of as many link targets
(40 MB), and the 8 million links between categories (130 MB while they are sorted): a peak of 0.6 GB
for the whole process, measured with a made-up wiki of that many categories. Links from articles
(1.6 GB as integers) are read in a second pass, after the search, and only those into categories
that it visited are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import InputError
from corpus.wikipedia.files import Tick
from corpus.wikipedia.sql import Batch, read_table, table_columns
from corpus.wikipedia.titles import StopList, near_titles, shown_title, table_title

CATEGORY_NAMESPACE = 14
_LOOKUP_TITLES = 500_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """The SQL dumps of one wiki; ``linktarget`` where ``categorylinks`` needs it."""

    page: Path
    categorylinks: Path
    linktarget: Path | None = None


@dataclass(frozen=True)
class Tree:
    """What the search visited.

    Args:
        titles: of the visited categories as tables hold them, ordered by depth, then title.
        depths: of each.
        hidden: titles of categories not entered because they are hidden.
        stopped: titles of categories not entered because the recipe stops there.
        targets: ``cl_target_id`` that name a visited category, ascending; empty in the old schema.
        ranks: for each target, the position in ``titles``.
    """

    titles: list[bytes]
    depths: list[int]
    hidden: list[str]
    stopped: list[str]
    targets: Ints
    ranks: Ints


@dataclass
class _Nodes:
    """All categories: those with a page, by page id, then named ones without a page."""

    ids: Ints
    titles: pa.Array

    def positions(self, titles: Sequence[bytes | None]) -> Ints:
        """Returns the node of each title, -1 where there is none."""
        # Hashes the asked titles, not all: they are far fewer, and so is the memory.
        asked = pa.array(titles, pa.large_binary()).dictionary_encode()
        hits = pc.fill_null(pc.index_in(self.titles, value_set=asked.dictionary), -1)
        hits = hits.to_numpy(zero_copy_only=False)
        nodes = np.flatnonzero(hits >= 0)
        node_of = np.full(len(asked.dictionary) + 1, -1, np.int64)
        # Of two pages with one title, which no sound table has, the first.
        node_of[hits[nodes][::-1]] = nodes[::-1]
        indices = pc.fill_null(asked.indices, -1).to_numpy(zero_copy_only=False)
        return np.asarray(node_of[indices], np.int64)

    def of_pages(self, page_ids: Ints) -> Ints:
        """Returns the node of each category page, -1 where the page is none."""
        if not len(self.ids):
            return np.full(len(page_ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self.ids, page_ids), len(self.ids) - 1)
        return np.where(self.ids[at] == page_ids, at, -1)


@dataclass
class _Lookup:
    """Gathers titles until looking them up pays: each lookup goes through all categories."""

    nodes: _Nodes
    _titles: list[bytes | None] = field(default_factory=list)
    _keys: list[Ints] = field(default_factory=list)
    _found: list[tuple[Ints, Ints]] = field(default_factory=list)

    def add(self, keys: Ints, titles: list[bytes | None]) -> None:
        """Adds titles, each with a number that comes back with its node."""
        self._titles += titles
        self._keys.append(keys)
        if len(self._titles) >= _LOOKUP_TITLES:
            self._flush()

    def _flush(self) -> None:
        positions = self.nodes.positions(self._titles)
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.int64)
        known = positions >= 0
        self._found.append((keys[known], positions[known].astype(np.int32)))
        self._titles, self._keys = [], []

    def result(self) -> tuple[Ints, Ints]:
        """Returns (keys, nodes) of the titles that are categories."""
        self._flush()
        keys, nodes = zip(*self._found, strict=True)
        self._found = []
        return np.concatenate(keys), np.concatenate(nodes)


def search(
    tables: Tables,
    roots: Sequence[str],
    depth: int,
    *,
    stop: Sequence[str] = (),
    hidden_category: str = "Hidden_categories",
    tick: Tick | None = None,
) -> Tree:
    """Visits the categories below the roots.

    A root is entered even where it is hidden or a stop pattern means it: it was named.

    Args:
        tables: the SQL dumps.
        roots: names, with or without ``Category:``.
        depth: steps down.
        stop: names or patterns of categories not to enter.
        hidden_category: its members are not entered.
        tick: told of progress in bytes on disk.

    Raises:
        InputError: a table is damaged, missing or not what it should be, or a root does not exist.
    """
    links = LinkSchema(tables)
    nodes = _read_nodes(tables.page, [*map(table_title, roots), table_title(hidden_category)], tick)
    targets, target_nodes = links.read_targets(nodes, tick)
    root_nodes = _root_nodes(nodes, roots)
    strays = root_nodes[root_nodes >= len(nodes.ids)]
    if links.by_target:
        _require(nodes, strays[~np.isin(strays, target_nodes)], tables)
    edges, used = _read_edges(links, nodes, (targets, target_nodes), strays, tick)
    _require(nodes, strays[~np.isin(strays, used)], tables)
    (hidden,) = nodes.positions([table_title(hidden_category).encode()])
    order, depths, passed = _walk(nodes, edges, root_nodes, depth, int(hidden), StopList(stop))
    visited = nodes.titles.take(pa.array(order)).to_pylist()
    # Rank by depth, then by title: the same whatever order the tables are in.
    ranking = sorted(range(len(order)), key=lambda n: (depths[n], visited[n]))
    rank_of = np.full(len(nodes.titles), -1, np.int64)
    rank_of[np.array(order, np.int64)[ranking]] = np.arange(len(order))
    ranks = rank_of[target_nodes]
    return Tree(
        titles=[visited[n] for n in ranking],
        depths=[depths[n] for n in ranking],
        hidden=passed[0],
        stopped=passed[1],
        targets=targets[ranks >= 0],
        ranks=ranks[ranks >= 0],
    )


def _read_nodes(page: Path, named: list[str], tick: Tick | None) -> _Nodes:
    ids, titles = [np.empty(0, np.int64)], [pa.array([], pa.large_binary())]
    for batch in read_table(page, "page", ["page_id", "page_namespace", "page_title"], tick):
        rows = np.flatnonzero(batch.integers("page_namespace") == CATEGORY_NAMESPACE)
        if len(rows):
            ids.append(batch.integers("page_id")[rows])
            titles.append(pa.array(batch.texts("page_title", rows.tolist()), pa.large_binary()))
    nodes = _Nodes(np.concatenate(ids), pa.concat_arrays(titles))
    if (np.diff(nodes.ids) < 0).any():
        order = np.argsort(nodes.ids, kind="stable")
        nodes = _Nodes(nodes.ids[order], nodes.titles.take(pa.array(order)))
    names = list(dict.fromkeys(name.encode() for name in named))
    without = [n for n, at in zip(names, nodes.positions(names), strict=True) if at < 0]
    if without:
        nodes.titles = pa.concat_arrays([nodes.titles, pa.array(without, pa.large_binary())])
    return nodes


def _root_nodes(nodes: _Nodes, roots: Sequence[str]) -> Ints:
    found = nodes.positions([table_title(root).encode() for root in roots])
    for number, (root, at) in enumerate(zip(roots, found, strict=True)):
        # The wiki's own word for "Category:" may stand in front.
        if at >= len(nodes.ids) and ":" in root:
            (bare,) = nodes.positions([table_title(root.partition(":")[2]).encode()])
            found[number] = bare if bare >= 0 else at
    return np.unique(found)


def _require(nodes: _Nodes, absent: Ints, tables: Tables) -> None:
    if not len(absent):
        return
    name = nodes.titles[int(absent[0])].as_py().decode("utf-8", "replace")
    near = near_titles(name, nodes.titles.slice(0, len(nodes.ids)))
    meant = f"; did you mean {', '.join(repr(n) for n in near)}?" if near else ""
    raise InputError(
        f"there is no category '{shown_title(name)}'{meant}",
        where=str(tables.page),
        remedy="correct the source's 'roots'; names are those of this wiki's language",
    )


class LinkSchema:
    """How this dump's ``categorylinks`` names a category, and which links it has."""

    def __init__(self, tables: Tables) -> None:
        """Reads the table's head.

        Raises:
            InputError: categories are named in ``linktarget``, which was not given.
        """
        columns = table_columns(tables.categorylinks, "categorylinks")
        self.by_target = "cl_target_id" in columns and tables.linktarget is not None
        # Both for some months of 2025, each null or empty where the other is filled.
        self.by_title = "cl_to" in columns
        self._tables = tables
        if not self.by_target and not self.by_title:
            raise self.unnamed()
        self._typed = "cl_type" in columns
        self._columns = ["cl_from"] + ["cl_type"] * self._typed
        self._columns += ["cl_to"] * self.by_title + ["cl_target_id"] * self.by_target

    def unnamed(self) -> InputError:
        """Returns the error of a table that does not say which categories it means."""
        return InputError(
            "this categorylinks table names categories by cl_target_id, in another table",
            where=str(self._tables.categorylinks),
            remedy="download ...-linktarget.sql.gz of the same date and name it as the source's "
            "'linktarget'",
        )

    def read_targets(self, nodes: _Nodes, tick: Tick | None) -> tuple[Ints, Ints]:
        """Returns the link targets that are categories, ascending, and the node of each."""
        lookup = _Lookup(nodes)
        if self.by_target and self._tables.linktarget is not None:
            names = ["lt_id", "lt_namespace", "lt_title"]
            for batch in read_table(self._tables.linktarget, "linktarget", names, tick):
                rows = np.flatnonzero(batch.integers("lt_namespace") == CATEGORY_NAMESPACE)
                titles = batch.texts("lt_title", rows.tolist())
                lookup.add(batch.integers("lt_id")[rows], titles)
        keys, found = lookup.result()
        order = np.argsort(keys, kind="stable")
        return keys[order], found[order]

    def batches(self, tick: Tick | None) -> Iterator[Batch]:
        """Streams the links."""
        yield from read_table(self._tables.categorylinks, "categorylinks", self._columns, tick)

    def rows(self, batch: Batch, kind: bytes, nodes: _Nodes | None = None) -> list[int]:
        """Returns the rows of a kind of member: ``page``, ``subcat`` or ``file``.

        A table from before 2011 has no kinds: with ``nodes`` members that are categories are taken
        for ``subcat``, without it every row is returned.
        """
        if self._typed:
            return [row for row, value in enumerate(batch.texts("cl_type")) if value == kind]
        if nodes is None:
            return list(range(batch.rows))
        return list(np.flatnonzero(nodes.of_pages(batch.integers("cl_from")) >= 0))


def _read_edges(
    links: LinkSchema,
    nodes: _Nodes,
    targets: tuple[Ints, Ints],
    strays: Ints,
    tick: Tick | None,
) -> tuple[tuple[Ints, Ints], Ints]:
    """Returns the (parent, child) links between categories, and the strays that have members."""
    lookup = _Lookup(nodes)
    parents, children = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    used: set[int] = set()
    subcategories, named = 0, links.by_target
    stray_titles = {nodes.titles[int(at)].as_py(): int(at) for at in strays}
    for batch in links.batches(tick):
        rows = links.rows(batch, b"subcat", nodes)
        members = nodes.of_pages(batch.integers("cl_from")[rows])
        ids = batch.integers("cl_target_id") if links.by_target else None
        if ids is not None:
            found = match_sorted(targets, ids[rows])
            known = (found >= 0) & (members >= 0)
            parents.append(found[known].astype(np.int32))
            children.append(members[known].astype(np.int32))
            if len(strays):
                used.update(np.intersect1d(match_sorted(targets, ids), strays).tolist())
        if links.by_title:
            titles = batch.texts("cl_to", rows)
            named = named or any(titles)
            subcategories += len(titles)
            lookup.add(*_open_titles(members, titles, None if ids is None else ids[rows]))
            if stray_titles:
                used.update(stray_titles[t] for t in {*batch.texts("cl_to")} & {*stray_titles})
    if subcategories and not named:
        # Of the months in which cl_to was there but no longer filled.
        raise links.unnamed()
    found_children, found_parents = lookup.result()
    parents.append(found_parents.astype(np.int32))
    children.append(found_children.astype(np.int32))
    return (np.concatenate(parents), np.concatenate(children)), np.array(sorted(used), np.int64)


def _open_titles(
    members: Ints, titles: list[bytes | None], ids: Ints | None
) -> tuple[Ints, list[bytes | None]]:
    """Returns the links that only their title names, of those from a category."""
    left = members >= 0 if ids is None else (members >= 0) & (ids < 0)
    rows = np.flatnonzero(left)
    return members[rows], [titles[row] for row in rows]


def match_sorted(pairs: tuple[Ints, Ints], asked: Ints) -> Ints:
    """Returns the value of each asked key, -1 where there is none.

    Args:
        pairs: keys, ascending, and their values.
        asked: keys to look up.
    """
    keys, values = pairs
    if not len(keys):
        return np.full(len(asked), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], -1)


def _walk(
    nodes: _Nodes, edges: tuple[Ints, Ints], roots: Ints, depth: int, hidden: int, stop: StopList
) -> tuple[list[int], list[int], tuple[list[str], list[str]]]:
    """Returns visited nodes, their depths, and the hidden and stopped titles met on the way."""
    order = np.argsort(edges[0], kind="stable")
    parents, children = edges[0][order], edges[1][order]

    def below(node: int) -> Ints:
        low, high = np.searchsorted(parents, [node, node + 1])
        return children[low:high]

    is_hidden = set(below(hidden).tolist())
    seen, frontier = set(roots.tolist()), roots.tolist()
    visited, depths = list(frontier), [0] * len(frontier)
    passed: tuple[list[str], list[str]] = ([], [])
    for level in range(1, depth + 1):
        entered = []
        for node in frontier:
            for child in below(node).tolist():
                if child in seen:
                    continue
                seen.add(child)
                title = nodes.titles[child].as_py().decode("utf-8", "replace")
                if child in is_hidden:
                    passed[0].append(shown_title(title))
                elif title in stop:
                    passed[1].append(shown_title(title))
                else:
                    entered.append(child)
        visited += entered
        depths += [level] * len(entered)
        frontier = entered
    return visited, depths, (sorted(passed[0]), sorted(passed[1]))
