"""The benchmark files of a recipe: their index, which several stages share, and the report.

``corpus.contamination_report`` writes the report; scores read it to tell items that the documents
held from those that they did not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.benchmark_text import BenchmarkItem, read_benchmark
from core.contamination import ContaminationIndex
from core.errors import InputError, RecipeError
from core.overlap import Rules
from core.recipe.decontaminate import Decontaminate
from core.storage.inputs import locate

REPORT_NAME = "report.json"

_SHOWN_CHARS = 200
_LISTED_DOCUMENTS = 20


def benchmark_files(section: Decontaminate, evaluated: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Returns name to path of all benchmarks: those evaluated, then the section's own.

    Raises:
        RecipeError: two files share a name.
    """
    files = dict(evaluated)
    for benchmark in section.benchmarks:
        if files.setdefault(benchmark.name, benchmark.path) != benchmark.path:
            raise RecipeError(
                f"two benchmarks are named '{benchmark.name}'",
                where="key corpus.decontaminate.benchmarks",
                remedy="rename one; those of eval.mcq.benchmarks need not be listed here",
            )
    return files


def read_items(root: Path, files: dict[str, str]) -> list[BenchmarkItem]:
    """Returns the items of all benchmarks; paths start from ``root``."""
    paths = [(name, locate(root, path)) for name, path in files.items()]
    return [item for name, path in paths for item in read_benchmark(name, path)]


def load_index(root: Path, files: dict[str, str], rules: Rules) -> ContaminationIndex:
    """Returns the index of all benchmarks, which a worker builds once for its many shards."""
    paths = [(name, locate(root, path)) for name, path in files.items()]
    # A changed file has another time.
    stamped = tuple((n, p, p.stat().st_mtime_ns if p.exists() else 0) for n, p in paths)
    return _index(stamped, rules)


@lru_cache(maxsize=1)
def _index(files: tuple[tuple[str, Path, int], ...], rules: Rules) -> ContaminationIndex:
    items = [item for name, path, _ in files for item in read_benchmark(name, path)]
    return ContaminationIndex(items, rules)


def contamination_report(
    items: Sequence[BenchmarkItem], overlaps: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Returns the report: of each benchmark its items, those found, and in which documents.

    ``found`` lists ``item_id``, ``words`` (most in one passage), ``part``, and ``documents`` (how
    many; ``doc_ids`` names the first of them).
    """
    by_item: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for overlap in overlaps:
        by_item[overlap["benchmark"], overlap["item_id"]].append(overlap)
    benchmarks: dict[str, Any] = {}
    for item in items:
        entry = benchmarks.setdefault(
            item.benchmark, {"items": 0, "items_found": 0, "documents": 0, "found": []}
        )
        entry["items"] += 1
        hits = by_item.pop((item.benchmark, item.item_id), [])
        if not hits:
            continue
        longest = max(hits, key=lambda hit: hit["words"])
        doc_ids = sorted({hit["doc_id"] for hit in hits})
        entry["items_found"] += 1
        entry["found"].append(
            {
                "item_id": item.item_id,
                "words": longest["words"],
                "part": longest["part"],
                "documents": len(doc_ids),
                "doc_ids": doc_ids[:_LISTED_DOCUMENTS],
                "text": longest["text"][:_SHOWN_CHARS],
            }
        )
    for name, entry in benchmarks.items():
        entry["documents"] = len({o["doc_id"] for o in overlaps if o["benchmark"] == name})
    return {"benchmarks": benchmarks}


def read_found(folder: Path) -> dict[str, set[str]]:
    """Returns benchmark to the ids of its items that the report lists as found.

    Args:
        folder: of the stage that wrote the report.

    Raises:
        InputError: there is no report, or it is not what the stage writes.
    """
    path = folder / REPORT_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: {str(found["item_id"]) for found in entry["found"]}
            for name, entry in content["benchmarks"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"cannot read which questions the corpus held: {error}",
            where=str(path),
            remedy="run: astromill corpus contamination-report RECIPE",
        ) from error
