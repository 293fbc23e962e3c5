"""Tables: wikitext rows and cells to a Markdown table, or to lines where no grid comes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from corpus.wikitext.extension import attributes_of

# Boxes beside the text, and navigation.
_DROPPED_CLASS = re.compile(
    r"\b(?:infobox|navbox\w*|sidebar|vertical-navbox|metadata|ambox|mbox\w*|succession-box|noprint|"
    r"toc|tocright|plainlinks|wikimedia|biota|vcard|geography|nomobile|mw-stack)\b",
    re.IGNORECASE,
)
_LAYOUT_CLASS = re.compile(r"\b(?:multicol|gallery|col-begin)\b", re.IGNORECASE)
# A template that left nothing puts an attribute's bar next to the separator: "a=1|" + "||".
_SEPARATOR = re.compile(r"\|\|(?!\|)")
_HEADER_SEPARATOR = re.compile(r"\|\|(?!\|)|!!")
_BARE_ATTRIBUTES = re.compile(
    r"(?:\s*(?:colspan|rowspan|style|bgcolor|align|valign|class|scope|width|height|id|nowrap|"
    r"data-sort-value)\s*=\s*(?:\"[^\"]*\"|[^\s\"]+)(?=\s|$))+",
    re.IGNORECASE,
)
_MAX_SPAN = 200
_MAX_CELLS = 100_000
_WIDEST_COLUMNS = 60
_LONG_CELL_CHARS = 1_500


@dataclass
class Cell:
    """A cell as written: ``lines`` are wikitext, nested tables included."""

    lines: list[str]
    header: bool
    columns: int = 1
    rows: int = 1
    text: str = ""


@dataclass
class Table:
    """A table as written."""

    attributes: str
    caption: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)


def parse_table(lines: list[str], start: int, end: int) -> Table:
    """Reads the lines of one table.

    Args:
        lines: lines of wikitext with links and templates resolved.
        start: index of the line that opens with ``{|``.
        end: index after the line that opens with ``|}``, or after the last line.

    Returns:
        The table; nested tables stay lines of the cell that holds them.
    """
    table = Table(lines[start].lstrip(" :*#")[2:])
    row: list[Cell] = []
    target: list[str] = []
    depth = 0
    for line in lines[start + 1 : end]:
        text = line.strip()
        if depth or text.startswith("{|"):
            depth += text.startswith("{|") - text.startswith("|}")
            target.append(line)
        elif text.startswith("|}"):
            break
        elif text.startswith("|-"):
            if row:
                table.rows.append(row)
            row, target = [], []
        elif text.startswith("|+"):
            target = table.caption
            target.append(_without_attributes(text[2:])[1])
        elif text.startswith(("|", "!")):
            row.extend(_cells(text))
            target = row[-1].lines
        else:
            target.append(line)
    if row:
        table.rows.append(row)
    return table


def _cells(line: str) -> list[Cell]:
    header = line[0] == "!"
    separator = _HEADER_SEPARATOR if header else _SEPARATOR
    cells = []
    for source in separator.split(line[1:]):
        attributes, text = _without_attributes(source)
        cell = Cell([text], header)
        if attributes:
            found = attributes_of(attributes)
            cell.columns = _span(found.get("colspan", ""))
            cell.rows = _span(found.get("rowspan", ""))
            if found.get("scope") in ("col", "colgroup") and not text.strip():
                cell.header = header
        cells.append(cell)
    return cells


def _without_attributes(source: str) -> tuple[str, str]:
    before, bar, after = source.partition("|")
    if not bar and (bare := _BARE_ATTRIBUTES.match(source)):
        # The bar came from a cell template, such as {{yes}}, that gives its text alone here.
        return bare.group(), source[bare.end() :]
    return (before, after) if bar else ("", source)


def _span(text: str) -> int:
    digits = re.match(r"\s*(\d{1,4})", text)
    return max(1, min(int(digits.group(1)), _MAX_SPAN)) if digits else 1


def render_table(
    table: Table, cell_text: Callable[[list[str]], str], blocks: Callable[[list[str]], list[str]]
) -> list[str]:
    """Returns a table as Markdown blocks.

    Args:
        table: as read.
        cell_text: renders a cell's lines on one line.
        blocks: renders a cell's lines as blocks, for layout tables.
    """
    if _DROPPED_CLASS.search(attributes_of(table.attributes).get("class", "")):
        return []
    caption = cell_text(table.caption) if table.caption else ""
    if len(table.rows) > 1 and len(table.rows[0]) == 1 and table.rows[0][0].columns > 1:
        # A first row of one wide cell is the table's title.
        title = cell_text(table.rows.pop(0)[0].lines)
        caption = f"{caption}\n\n{title}" if caption and title else caption or title
    if _is_layout(table):
        parts = [caption] if caption else []
        for row in table.rows:
            for cell in row:
                parts.extend(blocks(cell.lines))
        return parts
    grid, headers = _grid(table, cell_text)
    if not grid:
        return []
    return ([caption] if caption else []) + _markdown(grid, headers)


def _is_layout(table: Table) -> bool:
    attributes = attributes_of(table.attributes)
    if attributes.get("role") == "presentation" or _LAYOUT_CLASS.search(
        attributes.get("class", "")
    ):
        return True
    cells = [cell for row in table.rows for cell in row]
    if any(cell.header for cell in cells) or "wikitable" in attributes.get("class", ""):
        return False
    if len(cells) <= 2 or all(len(row) == 1 for row in table.rows):
        return True
    # Columns of text or lists, side by side for looks.
    longest = max(sum(len(line) for line in cell.lines) for cell in cells)
    listed = sum(sum(line.lstrip().startswith(("*", "#")) for line in c.lines) > 2 for c in cells)
    return longest > _LONG_CELL_CHARS or listed * 2 >= len(cells)


def _grid(
    table: Table, cell_text: Callable[[list[str]], str]
) -> tuple[list[list[str]], list[list[bool]]]:
    """Lays cells out with their spans; a spanned cell's text is repeated on every row."""
    grid: list[list[str]] = []
    headers: list[list[bool]] = []
    # Column -> rows still covered, text, header.
    covered: dict[int, tuple[int, str, bool]] = {}
    count = 0
    for row in table.rows:
        texts: list[str] = []
        flags: list[bool] = []

        def cover(texts: list[str] = texts, flags: list[bool] = flags) -> None:
            while (above := covered.get(len(texts))) is not None:
                left, text, flag = above
                if left > 1:
                    covered[len(texts)] = (left - 1, text, flag)
                else:
                    del covered[len(texts)]
                texts.append(text)
                flags.append(flag)

        for cell in row:
            cover()
            text = cell.text = cell_text(cell.lines)
            for number in range(cell.columns):
                # In a header a wide cell names each column below it; in the body it is one value.
                shown = text if not number or (cell.header and len(row) > 1) else ""
                if cell.rows > 1:
                    covered[len(texts)] = (cell.rows - 1, shown, cell.header)
                texts.append(shown)
                flags.append(cell.header)
        tells = _tells(row, texts, flags)
        cover()
        # Cells from above beyond the last own one, over a hole.
        for column in sorted(column for column in covered if column > len(texts)):
            texts.extend([""] * (column - len(texts)))
            flags.extend([False] * (column - len(flags)))
            cover()
        count += len(texts)
        if count > _MAX_CELLS:
            break
        if tells:
            grid.append(texts)
            headers.append(flags)
    return _without_empty(grid, headers)


def _tells(row: list[Cell], texts: list[str], flags: list[bool]) -> bool:
    """Whether a row says more than what it is about: pictures leave rows with a name alone."""
    if len(texts) < 2:
        return not row or row[0].rows == 1
    if all(flags):
        return True
    return any(
        cell.text and ((not cell.header and cell.rows == 1) or cell.columns > 1) for cell in row
    )


def _without_empty(
    grid: list[list[str]], headers: list[list[bool]]
) -> tuple[list[list[str]], list[list[bool]]]:
    width = max((len(row) for row in grid), default=0)
    used = [False] * width
    for row, flags in zip(grid, headers, strict=True):
        # A column whose cells are empty below its name held pictures.
        named = all(flags)
        for column, text in enumerate(row):
            used[column] = used[column] or bool(text and not named)
    if not any(used):
        # Nothing but headers: then they are what the table says.
        used = [any(len(row) > column and row[column] for row in grid) for column in range(width)]
    columns = [column for column in range(width) if used[column]]
    texts, kept = [], []
    for row, flags in zip(grid, headers, strict=True):
        cells = [row[column] if column < len(row) else "" for column in columns]
        if any(cells):
            texts.append(cells)
            kept.append([column < len(flags) and flags[column] for column in columns])
    return texts, kept


def _markdown(grid: list[list[str]], headers: list[list[bool]]) -> list[str]:
    width = len(grid[0])
    if width == 1:
        return ["\n".join(f"- {row[0]}" for row in grid)] if len(grid) > 1 else [grid[0][0]]
    if width > _WIDEST_COLUMNS:
        return ["\n".join("; ".join(text for text in row if text) for row in grid)]
    top = 0
    while top < len(grid) - 1 and top < 4 and all(headers[top]):
        top += 1
    head = _header(grid[:top]) if top else grid[0]
    body = grid[top:] if top else grid[1:]
    if not top and not any(headers[0]) and all(any(flags[:1]) for flags in headers[1:]):
        top = 0
    lines = [_line(head), "|" + " --- |" * width]
    lines.extend(_line(row) for row in body)
    return ["\n".join(lines)]


def _header(rows: list[list[str]]) -> list[str]:
    names = []
    for column in range(len(rows[0])):
        parts: list[str] = []
        for row in rows:
            if row[column] and row[column] not in parts:
                parts.append(row[column])
        names.append(" ".join(parts))
    return names


def _line(cells: list[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(escaped) + " |"
