"""Tables of HTML without spans, nesting or blocks: what a pipe table can hold."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from corpus.formats.html_tree import Element, is_block, local, replace, unwrap, words


def _rows(table: Element) -> Iterator[Element]:
    for row in table.iter("tr"):
        owner = next((a for a in row.iterancestors("table")), None)
        if owner is table:
            yield row


_MAX_SPAN = 100


def plain_table(table: Element) -> None:
    """Makes a table of one-line cells without spans; one column or a nested table: paragraphs."""
    grid: list[list[Element | None]] = []
    pending: dict[int, int] = {}
    heads = 0
    for row in _rows(table):
        cells: list[Element | None] = []
        for cell in [c for c in row if local(c) in ("td", "th")]:
            while pending.get(len(cells), 0) > 0:
                pending[len(cells)] -= 1
                cells.append(None)
            across, down = _span(cell, "colspan"), _span(cell, "rowspan")
            for offset in range(across):
                if down > 1:
                    pending[len(cells)] = down - 1
                cells.append(cell if offset == 0 else None)
        if any(c is not None and (words(c) or len(c)) for c in cells):
            all_heads = all(c is None or local(c) == "th" for c in cells)
            in_head = next(row.iterancestors("thead"), None) is not None
            heads += len(grid) == heads and (all_heads or in_head)
            grid.append(cells)
    width = max((len(r) for r in grid), default=0)
    nested = any(True for _ in table.iterancestors("table"))
    caption = next((e for e in table if local(e) == "caption"), None)
    box = etree.Element("div")
    if caption is not None and words(caption):
        caption.tag = "p"
        box.append(caption)
    if nested or width <= 1 or width > _MAX_SPAN:
        for cell in [c for row in grid for c in row if c is not None]:
            cell.tag = "span" if nested else "div"
            cell.tail = " "
            box.append(cell)
        box.tag = "span" if nested else "div"
    elif grid:
        # A first row of one cell over all columns is the table's title.
        while len(grid) > 1 and sum(c is not None for c in grid[0]) == 1 and len(grid[0]) == width:
            title = grid.pop(0)[0]
            heads = max(0, heads - 1)
            if title is not None:
                title.tag = "p"
                box.append(title)
        box.append(_build_table(grid, width, heads or 1))
    replace(table, box)


def _span(cell: Element, name: str) -> int:
    value = (cell.get(name) or "1").strip()
    return min(max(int(value), 1), _MAX_SPAN) if value.isdecimal() and len(value) < 5 else 1


def _build_table(grid: list[list[Element | None]], width: int, heads: int) -> Element:
    table = etree.Element("table")
    for number, cells in enumerate(grid):
        row = etree.SubElement(table, "tr")
        for cell in [*cells, *[None] * (width - len(cells))]:
            new = etree.SubElement(row, "th" if number == 0 and heads else "td")
            if cell is not None:
                _flatten_into(cell, new)
    return table


def _flatten_into(cell: Element, new: Element) -> None:
    for element in list(cell.iter(etree.Element)):
        if element is not cell and (is_block(element) or local(element) in ("li", "br")):
            element.tail = " " + (element.tail or "")
            unwrap(element)
    new.text = " ".join((cell.text or "").split(" ")) if cell.text else None
    for child in list(cell):
        new.append(child)
