"""Category titles: as users write them, as tables hold them, and which ones a pattern means."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

_NEAR = 5
_CLOSE_LENGTH = 3


def table_title(name: str) -> str:
    """Returns a category's name as tables hold it: underscores, first letter upper, no prefix."""
    title = "_".join(name.replace("_", " ").split())
    if title[:9].lower() == "category:":
        title = title[9:].lstrip("_")
    return upper_first(title)


def upper_first(title: str) -> str:
    """Returns a title as MediaWiki starts it: one letter stays one letter."""
    first = title[:1].upper()
    return first + title[1:] if len(first) == 1 else title


def shown_title(title: bytes | str) -> str:
    """Returns a table's title for people and XML: spaces, valid text."""
    text = title if isinstance(title, str) else title.decode("utf-8", "replace")
    return text.replace("_", " ")


class StopList:
    """Categories not to enter, by name or pattern."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compiles the patterns.

        Args:
            patterns: names or shell patterns (``*``, ``?``, ``[...]``); spaces and underscores are
                the same, the first letter's case does not count.
        """
        parts = [fnmatch.translate(table_title(pattern)) for pattern in patterns]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def __contains__(self, title: str) -> bool:
        return self._pattern is not None and bool(self._pattern.match(table_title(title)))


def near_titles(name: str, titles: pa.Array) -> list[str]:
    """Returns up to five titles that a mistyped name may mean, the nearest first.

    Args:
        name: as :func:`table_title` gives it.
        titles: of all categories, binary.
    """
    if not name:
        return []
    wanted = name.encode()
    lengths = pc.binary_length(titles)
    close = pc.and_(
        pc.less_equal(pc.abs(pc.subtract(lengths, len(wanted))), _CLOSE_LENGTH),
        pc.equal(pc.binary_slice(titles, 0, 1), wanted[:1]),
    )
    longer = pc.starts_with(titles, pattern=wanted)
    near = _decoded(titles.filter(close))
    found = difflib.get_close_matches(name, near, n=_NEAR, cutoff=0.75)
    found += sorted(_decoded(titles.filter(longer)), key=len)
    return [shown_title(title) for title in dict.fromkeys(found)][:_NEAR]


def _decoded(titles: Iterable[pa.Scalar]) -> list[str]:
    return [title.as_py().decode("utf-8", "replace") for title in titles]
