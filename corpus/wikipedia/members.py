"""From visited categories to articles: members, what they are, and where redirects lead.

Every member page has one outcome: selected, or a reject. A redirect stands for its target, which is
selected once, with the shortest depth of the pages that lead to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.rejects import Reason, Reject
from corpus.wikipedia.categories import Ints, LinkSchema, Tables, Tree, match_sorted
from corpus.wikipedia.files import Tick
from corpus.wikipedia.sql import read_table
from corpus.wikipedia.titles import shown_title

log = logging.getLogger(__name__)

_COMPACT_PAIRS = 4_000_000
_MAX_HOPS = 3

Target = tuple[int, bytes]
"""Namespace and title, as tables hold it, that a redirect leads to."""

FindTargets = Callable[[Ints], dict[int, Target]]
"""Given the page ids of redirects, returns where each leads, as far as it can be told."""


@dataclass(frozen=True)
class Selected:
    """An article that the search found.

    Args:
        page_id: its page.
        title: with spaces.
        depth: of the category it was found through.
        category: that category, the shallowest, then first by title.
    """

    page_id: int
    title: str
    depth: int
    category: str


@dataclass(frozen=True)
class _PageInfo:
    namespace: int
    title: bytes
    redirect: bool


@dataclass(frozen=True)
class _Leads:
    """Where redirects lead in the end: an article, or the reason why not."""

    articles: dict[int, tuple[int, bytes]]
    faults: dict[int, tuple[Reason, str]]


def find_members(tables: Tables, tree: Tree, tick: Tick | None = None) -> tuple[Ints, Ints]:
    """Returns the pages in the visited categories and the best category of each.

    Returns:
        Page ids, ascending, and for each the lowest position in ``tree.titles``.
    """
    links = LinkSchema(tables)
    by_title = {title: rank for rank, title in enumerate(tree.titles)}
    pages, ranks, pending = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for batch in links.batches(tick):
        found = np.full(batch.rows, -1, np.int64)
        if links.by_target:
            found = match_sorted((tree.targets, tree.ranks), batch.integers("cl_target_id"))
        if links.by_title:
            named = [by_title.get(t, -1) if t else -1 for t in batch.texts("cl_to")]
            found = np.maximum(found, np.array(named, np.int64))
        hits = np.flatnonzero(found >= 0)
        if not len(hits):
            continue
        is_page = np.zeros(batch.rows, bool)
        is_page[links.rows(batch, b"page")] = True
        hits = hits[is_page[hits]]
        pages.append(batch.integers("cl_from")[hits])
        ranks.append(found[hits])
        pending += len(hits)
        if pending > _COMPACT_PAIRS:
            best = _best(np.concatenate(pages), np.concatenate(ranks))
            pages, ranks, pending = [best[0]], [best[1]], 0
    return _best(np.concatenate(pages), np.concatenate(ranks))


def _best(pages: Ints, ranks: Ints) -> tuple[Ints, Ints]:
    order = np.lexsort((ranks, pages))
    pages, ranks = pages[order], ranks[order]
    first = np.ones(len(pages), bool)
    first[1:] = pages[1:] != pages[:-1]
    return pages[first], ranks[first]


def select(
    tables: Tables,
    tree: Tree,
    members: tuple[Ints, Ints],
    find_targets: FindTargets,
    language: str,
    tick: Tick | None = None,
) -> tuple[list[Selected], list[Reject]]:
    """Returns the articles among the members, by page id, and a reject for every other member."""
    infos = _read_pages(tables.page, members[0], tick)
    redirects = [page for page, info in infos.items() if info.redirect and info.namespace == 0]
    leads = _follow(tables.page, sorted(redirects), find_targets, tick)
    best: dict[int, tuple[int, int, bytes]] = {}
    rejects = []
    claims: list[tuple[int, int, int]] = []
    for page, rank in zip(members[0].tolist(), members[1].tolist(), strict=True):
        info = infos.get(page)
        fault = _fault(info, leads.faults.get(page))
        if info is None or fault is not None:
            rejects.append(_reject(language, page, fault, info))
        elif page in leads.articles:
            claims.append((page, *leads.articles[page][:1], rank))
        else:
            best[page] = (rank, page, info.title)
    for page, target, rank in sorted(claims, key=lambda claim: (claim[2], claim[0])):
        title = leads.articles[page][1]
        if target in best:
            fault = (Reason.REDIRECT, f"to {shown_title(title)}, which is selected")
            rejects.append(_reject(language, page, fault, infos[page]))
            rank = min(rank, best[target][0])
        best[target] = (rank, target, title)
    selected = [
        Selected(page, shown_title(title), tree.depths[rank], shown_title(tree.titles[rank]))
        for page, (rank, _, title) in sorted(best.items())
    ]
    return selected, sorted(rejects, key=lambda reject: int(reject.doc_id.rpartition(":")[2]))


def _fault(
    info: _PageInfo | None, unresolved: tuple[Reason, str] | None
) -> tuple[Reason, str] | None:
    if info is None:
        return Reason.MISSING_PAGE, "the table 'page' has no such page"
    if info.namespace != 0:
        return Reason.NOT_AN_ARTICLE, f"namespace {info.namespace}"
    return unresolved


def _reject(
    language: str, page: int, fault: tuple[Reason, str] | None, info: _PageInfo | None
) -> Reject:
    reason, detail = fault or (Reason.MISSING_PAGE, "")
    title = None if info is None else shown_title(info.title)
    return Reject(f"wikipedia:{language}:{page}", reason, detail, title)


def _read_pages(page: Path, wanted: Ints, tick: Tick | None) -> dict[int, _PageInfo]:
    """Returns what ``page`` says of the wanted ids (ascending)."""
    infos: dict[int, _PageInfo] = {}
    if not len(wanted):
        return infos
    names = ["page_id", "page_namespace", "page_title", "page_is_redirect"]
    for batch in read_table(page, "page", names, tick):
        ids = batch.integers("page_id")
        at = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
        rows = np.flatnonzero(wanted[at] == ids)
        if len(rows):
            columns = (
                ids[rows].tolist(),
                batch.integers("page_namespace")[rows].tolist(),
                batch.texts("page_title", rows.tolist()),
                batch.integers("page_is_redirect")[rows].tolist(),
            )
            for number, namespace, title, redirect in zip(*columns, strict=True):
                infos[number] = _PageInfo(namespace, title or b"", redirect == 1)
    return infos


def _read_titles(
    page: Path, titles: set[bytes], tick: Tick | None
) -> dict[bytes, tuple[int, bool]]:
    """Returns page id and whether it is a redirect for titles of namespace 0."""
    found: dict[bytes, tuple[int, bool]] = {}
    names = ["page_id", "page_namespace", "page_title", "page_is_redirect"]
    for batch in read_table(page, "page", names, tick):
        column = batch.texts("page_title")
        rows = [row for row, title in enumerate(column) if title in titles]
        if rows:
            ids, namespaces = batch.integers("page_id"), batch.integers("page_namespace")
            redirects = batch.integers("page_is_redirect")
            for row in rows:
                title = column[row]
                if namespaces[row] == 0 and title is not None:
                    found[title] = int(ids[row]), bool(redirects[row] == 1)
    return found


def _follow(
    page: Path, redirects: list[int], find_targets: FindTargets, tick: Tick | None
) -> _Leads:
    """Follows redirects to articles, through redirects to redirects as well."""
    leads = _Leads({}, {})
    # Which redirects wait for the page that now stands for them.
    waiting = {number: [number] for number in redirects}
    for _ in range(_MAX_HOPS):
        if not waiting:
            break
        targets = find_targets(np.array(sorted(waiting), np.int64))
        titles = {title for namespace, title in targets.values() if namespace == 0}
        pages = _read_titles(page, titles, tick) if titles else {}
        further: dict[int, list[int]] = {}
        for number, origins in sorted(waiting.items()):
            target = targets.get(number)
            fault = _dead_end(target, pages)
            for origin in origins:
                if fault is not None or target is None:
                    leads.faults[origin] = fault or (Reason.REDIRECT, "")
                elif pages[target[1]][1]:
                    further.setdefault(pages[target[1]][0], []).append(origin)
                else:
                    leads.articles[origin] = pages[target[1]][0], target[1]
        waiting = further
    for origins in waiting.values():
        for origin in origins:
            detail = f"unresolved: more than {_MAX_HOPS} redirects in a row"
            leads.faults[origin] = Reason.REDIRECT, detail
    return leads


def _dead_end(
    target: Target | None, pages: dict[bytes, tuple[int, bool]]
) -> tuple[Reason, str] | None:
    if target is None:
        return Reason.REDIRECT, "unresolved: its target is not known"
    if target[0] != 0:
        return Reason.NOT_AN_ARTICLE, f"redirect to namespace {target[0]}: {shown_title(target[1])}"
    if target[1] not in pages:
        return Reason.REDIRECT, f"unresolved: no page {shown_title(target[1])}"
    return None


def table_targets(redirect: Path, tick: Tick | None = None) -> FindTargets:
    """Returns a finder of redirect targets in the table ``redirect``."""

    def find(pages: npt.NDArray[np.int64]) -> dict[int, Target]:
        found: dict[int, Target] = {}
        names = ["rd_from", "rd_namespace", "rd_title"]
        for batch in read_table(redirect, "redirect", names, tick):
            ids = batch.integers("rd_from")
            rows = np.flatnonzero(np.isin(ids, pages, kind="sort"))
            columns: tuple[Iterable[int], Iterable[int], Iterable[bytes | None]] = (
                ids[rows].tolist(),
                batch.integers("rd_namespace")[rows].tolist(),
                batch.texts("rd_title", rows.tolist()),
            )
            for number, namespace, title in zip(*columns, strict=True):
                found[number] = namespace, title or b""
        return found

    return find
