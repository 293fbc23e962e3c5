"""Lists made by templates, columns, glossaries."""

from __future__ import annotations

import re

from corpus.wikitext.page import REGISTRY, Call, template
from corpus.wikitext.wordlists import names


@template("plainlist", "flatlist", "plain list", "flat list", "startplainlist", "startflatlist",
          "columns-list", "column-list", "div col content", "collapsible", "columnslist", "cmn",
          "multicol content", "col list", "col-list", "columns-start content", "small list",
          "compact list", "smaller list", "tree list content", "sidebar list",
          "columns-begin content", "multi-column numbered list2", "content",
          "static list")  # fmt: skip
def _wrapped(call: Call) -> str:
    text = call.first(1, "content", "list", 2)
    if call.name in ("columns-list", "column-list") and call.get(2) and "*" not in text:
        # An older order of arguments: the width first.
        text = call.get(2) if "*" in call.get(2) else text
    return f"\n{text}\n" if text else ""


@template("hlist", "hlist2", "horizontal list", "cslist", "comma separated entries", "csv",
          "cse", "comma separated values", "dotted list", "pipelist", "enum", "and list",
          "hlist-comma", "comma list", "slash separated")  # fmt: skip
def _horizontal(call: Call) -> str:
    items = [item for item in call.positional() if item]
    items = [_inline_items(item) for item in items]
    if call.name == "enum" and len(items) > 1:
        return ", ".join(items[:-1]) + " and " + items[-1]
    return ", ".join(items)


def _inline_items(text: str) -> str:
    if not re.match(r"\s*\*", text):
        return text
    return ", ".join(line.lstrip("* ").strip() for line in text.split("\n") if line.strip("* "))


def _items(call: Call) -> list[str]:
    return [item for item in call.positional() if item]


@template("ubl", "unbulleted list", "ubt", "unbulleted", "bulleted list", "blist",
          "bulletedlist", "ublist", "vunblist", "vertical list", "unordered list", "ul",
          "bullet list", "blst", "multi-column list", "indented plainlist", "collapsed list",
          "collapsible list2", "unbulleted indent list", "tree list items", "ublplus",
          "detailed list")  # fmt: skip
def _bulleted(call: Call) -> str:
    items = _items(call)
    if not items:
        return ""
    if len(items) == 1:
        return items[0]
    return "\n" + "\n".join(f"* {_one_line(item)}" for item in items) + "\n"


@template("ordered list", "numbered list", "ol list", "olist", "oll")
def _numbered(call: Call) -> str:
    items = _items(call)
    return "\n" + "\n".join(f"# {_one_line(item)}" for item in items) + "\n" if items else ""


def _one_line(text: str) -> str:
    # Lists inside an item go one level deeper; other line ends are spaces.
    lines = text.split("\n")
    out = lines[0]
    for line in lines[1:]:
        out += f"\n*{line}" if line.startswith(("*", "#")) else f" {line}"
    return out


@template("term", "glossary term", "gterm", "termlink", "gli")
def _term(call: Call) -> str:
    text = call.first("content", 2, 1, "term")
    return text if call.name in ("termlink", "gli") else f"\n; {text}\n"


@template("defn", "ghat", "gbq", "definition glossary", "glossdef")
def _definition(call: Call) -> str:
    text = call.first("defn", "content", 1).replace("\n\n", " ").replace("\n", " ")
    return f"\n: {text}\n" if text else ""


def _nothing(call: Call) -> str:
    return ""


_MARKS = """
    glossary, glossary end, div col, div col end, divcol, div end, col div, col begin,
    col-begin, colbegin, col-break, col break, col-end, col end, colend, col-2, col-3, col-4,
    col-5, col-1-of-2, col-2-of-2, col-float, col-float-break, col-float-end, multicol,
    multicol-break, multicol-end, columns-start, column, columns-end, top, bottom, mid, collapse
    top, collapsetop, hidden begin, plainlist end, flatlist end, endplainlist, endflatlist, end
    plainlist, end flatlist, tree list, tree list end, tree list/end, tree list/branching, tree
    list/final branch, tree list/root, startplainlist end, small begin, small end, center begin,
    center end, table alignment, scrolling table, scrolling table/top, scrolling table/end,
    scrolling table end, poem end, quote start, quote end, quotation start, quotation end, block
    indent start, stb, ste, start tab, end tab, flex columns, flex columns end, hidden end,
    collapse end, cot, cob, begin, blockindent end, div, div flex row, div flex row end, start
    date sorted, overflow begin, overflow end, scroll, aligned table end, sort-under end,
    floating, overflow, div col start, div col begin, multi-column, cols end, cols, numbered
    list start, colorcell
"""
for _name in names(_MARKS):
    REGISTRY.setdefault(_name, _nothing)


@template("columns", "multi-column content", "col table", "cols2")
def _columns(call: Call) -> str:
    columns = [call.get(f"col{number}") for number in range(1, 10)]
    return "\n" + "\n".join(column for column in columns if column) + "\n"


@template("aligned table", "aligned")
def _aligned(call: Call) -> str:
    width = call.get("cols")
    columns = min(int(width), 50) if re.fullmatch(r"\d{1,2}", width) and int(width) else 2
    cells = call.positional()
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    body = "".join("\n|-" + "".join(f"\n| {cell}" for cell in row) for row in rows)
    return f"\n{{|{body}\n|}}\n" if rows else ""
