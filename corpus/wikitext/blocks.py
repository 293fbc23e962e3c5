"""Lines of flat wikitext to blocks: headings, paragraphs, lists, tables, code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from corpus.wikitext.cleanup import tidy
from corpus.wikitext.inline import render_inline
from corpus.wikitext.lists import ListLines
from corpus.wikitext.page import MARKER, Page
from corpus.wikitext.tables import parse_table, render_table

_LIST = re.compile(r"[*#:;]+")
_ALONE = re.compile(r"\x7f(\d+)\x7f[ \t]*([.,;:]?)")
_BLOCK_TAG = re.compile(
    r"</?(?:div|p|center|blockquote|section|ul|ol|dl|h[1-6]|hr|figure|tbody|thead|tfoot|caption)\b"
    r"[^<>]*>",
    re.IGNORECASE,
)
_ROW = re.compile(r"<(/?)(table|tr|td|th|caption)\b([^<>]*)>", re.IGNORECASE)
_ITEM = re.compile(r"<(/?)(ul|ol|li|dl|dt|dd)\b[^<>]*>", re.IGNORECASE)
_HTML_HEADING = re.compile(r"<h([1-6])\b[^<>]*>([^<>\n]*)</h\1\s*>", re.IGNORECASE)


@dataclass
class Block:
    """A piece of the page: a heading has a level, anything else level 0."""

    text: str
    level: int = 0


def html_to_wikitext(text: str) -> str:
    """Rewrites HTML tables, lists and headings in wikitext's own marks, one construct a line."""
    lowered = text.lower()
    if "<h" in lowered:
        text = _HTML_HEADING.sub(lambda m: f"\n{'=' * int(m[1])} {m[2]} {'=' * int(m[1])}\n", text)
    if "<t" in lowered:
        text = _ROW.sub(_row, text)
    if "<li" in lowered or "<d" in lowered:
        text = _html_lists(text)
    return text


def _row(match: re.Match[str]) -> str:
    closing, name, attributes = match.group(1), match.group(2).lower(), match.group(3)
    if name == "table":
        return "\n|}\n" if closing else f"\n{{|{attributes}\n"
    if closing:
        return ""
    mark = {"tr": "|-", "td": "|", "th": "!", "caption": "|+"}[name]
    return f"\n{mark}{attributes}" + ("\n" if name == "tr" else "|")


def _html_lists(text: str) -> str:
    marks: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        closing, name = match.group(1), match.group(2).lower()
        if name in ("ul", "ol", "dl"):
            if closing:
                if marks:
                    marks.pop()
                return "\n" if marks else "\n\n"
            if len(marks) < 6:
                marks.append({"ul": "*", "ol": "#", "dl": ":"}[name])
            return "\n"
        if closing:
            return ""
        prefix = "".join(marks) or "*"
        return "\n" + (prefix[:-1] + ";" if name == "dt" else prefix) + " "

    return _ITEM.sub(replaced, text)


class BlockReader:
    """Reads the lines of a page, or of a layout cell, into blocks."""

    def __init__(self, page: Page, lines: list[str], depth: int = 0) -> None:
        self._page = page
        self._lines = lines
        self._depth = depth
        self.blocks: list[Block] = []
        self._paragraph: list[str] = []
        self._list = ListLines()

    def read(self) -> list[Block]:
        """Returns all blocks in order."""
        number, lines = 0, self._lines
        while number < len(lines):
            line = lines[number].strip()
            if line.startswith("{|") or (line[:1] in ":*#" and line.lstrip(":*# ")[:2] == "{|"):
                number = self._table(number)
                continue
            number += 1
            if not line and self._list.awaits_definition and self._definition_follows(number):
                continue
            self._line(line)
        self._flush()
        return self.blocks

    def _definition_follows(self, number: int) -> bool:
        following = (line.strip() for line in self._lines[number : number + 4])
        return next((line[0] for line in following if line), "") == ":"

    def _line(self, line: str) -> None:
        if not line:
            self._flush()
        elif line[0] == "=" and (level := _heading_level(line)):
            self._flush()
            self._add(self._inline(line[level:].rstrip()[:-level]), level)
        elif line[0] in "*#:;":
            self._list_line(line)
        elif line[0] == "\x7f" and (match := _ALONE.fullmatch(line)) and self._final(match):
            pass
        elif line.startswith("----"):
            self._flush()
            self._line(line.lstrip("-").strip())
        elif line[0] == "|" or (line[0] == "!" and "!!" in line):
            # A row outside any table: half of a construct whose other half is not here.
            self._flush()
        else:
            self._text(line)

    def _text(self, line: str) -> None:
        if self._list:
            self._flush()
        if "<" in line and _BLOCK_TAG.search(line):
            for number, part in enumerate(_BLOCK_TAG.split(line)):
                if number:
                    self._flush()
                if part.strip():
                    self._paragraph.append(part.strip())
            return
        self._paragraph.append(line)

    def _final(self, match: re.Match[str]) -> bool:
        """Takes a line that is one formula or one piece of code."""
        number, stop = int(match.group(1)), match.group(2)
        if number >= len(self._page.finals):
            return False
        final = self._page.finals[number]
        if final.kind == "block":
            self._flush()
            self._add(final.text)
        elif final.kind == "display":
            self._flush()
            self._add(f"$${final.text}{stop}$$")
        else:
            return False
        return True

    def _list_line(self, line: str) -> None:
        match = _LIST.match(line)
        prefix = match.group() if match else ""
        rest = line[len(prefix) :].strip()
        if self._paragraph:
            self._flush()
        formula = _ALONE.fullmatch(rest)
        if formula and int(formula.group(1)) < len(self._page.finals):
            final = self._page.finals[int(formula.group(1))]
            if final.kind in ("math", "display") and not prefix.strip(":"):
                self._flush()
                self._add(f"$${final.text}{formula.group(2)}$$")
                return
        if prefix.endswith(";") and ":" in rest:
            term, _, definition = _term(rest)
            self._list.add(prefix, self._inline(term))
            if definition.strip():
                self._list.add(prefix[:-1] + ":", self._inline(definition))
            return
        self._list.add(prefix, self._inline(rest))

    def _table(self, start: int) -> int:
        lines, depth, end = self._lines, 0, start
        while end < len(lines):
            line = lines[end].strip()
            depth += line.startswith("{|") or end == start
            depth -= line.startswith("|}")
            end += 1
            if depth <= 0:
                break
        else:
            end = self._unclosed_end(start)
        self._flush()
        # Tables in tables in tables: beyond reason, their lines are not worth the stack.
        if self._depth < 5:
            table = parse_table(lines, start, end)
            for text in render_table(table, self._cell, self._cell_blocks):
                self._add(text)
        rest = lines[end - 1].strip()[2:].strip() if lines[end - 1].strip().startswith("|}") else ""
        if rest:
            self._line(rest)
        return end

    def _unclosed_end(self, start: int) -> int:
        """Where a table that never closes ends: at the next heading, else with the page."""
        for number in range(start + 1, len(self._lines)):
            if _heading_level(self._lines[number].strip()):
                return number
        return len(self._lines)

    def _cell(self, lines: list[str]) -> str:
        texts = [_one_line(block.text) for block in self._nested(lines)]
        return _parted([text for text in texts if text])

    def _cell_blocks(self, lines: list[str]) -> list[str]:
        return [block.text for block in self._nested(lines)]

    def _nested(self, lines: list[str]) -> list[Block]:
        if len(lines) == 1 and lines[0].strip()[:1] not in set("*#:;={\x7f|!-"):
            text = "\n".join(self._inline(part) for part in _BR.split(lines[0]))
            return [Block(text)] if text.strip() else []
        return BlockReader(self._page, lines, self._depth + 1).read()

    def _inline(self, text: str, line_break: str = " ") -> str:
        if "<" in text:
            text = _BLOCK_TAG.sub(" ", text)
        text = tidy(render_inline(text, self._page, line_break))
        return self._page.settle(text) if "\x7f" in text else text

    def _flush(self) -> None:
        if self._paragraph:
            text = " ".join(self._paragraph)
            self._paragraph = []
            if "<" in text and "<br" in text.lower():
                text = "\n".join(part for line in _BR.split(text) if (part := self._inline(line)))
            else:
                text = self._inline(text)
            self._add(text)
        if self._list:
            self._add(self._list.markdown())
            self._list = ListLines()

    def _add(self, text: str, level: int = 0) -> None:
        if text.strip():
            self.blocks.append(Block(text, level))


_ITEM_MARK = re.compile(r"^(?:- |\d+\. |: )")
_BR = re.compile(r"<br\b[^<>]*>|</br\s*>", re.IGNORECASE)


def _one_line(text: str) -> str:
    """A block of a cell on one line: items of a list and broken lines are set apart."""
    if "\n" not in text:
        return _ITEM_MARK.sub("", text)
    return _parted([_ITEM_MARK.sub("", line.strip()) for line in text.split("\n") if line.strip()])


def _parted(lines: list[str]) -> str:
    out = lines[0] if lines else ""
    for line in lines[1:]:
        together = out[-1:] in ",;:-–—/(" or line[:1] in "(["
        out += f" {line}" if together else f"; {line}"
    return out


def _heading_level(line: str) -> int:
    line = MARKER.sub("", line).strip() if line.endswith("\x7f") else line
    if len(line) < 3 or line[0] != "=" or line[-1] != "=":
        return 0
    left = len(line) - len(line.lstrip("="))
    right = len(line) - len(line.rstrip("="))
    if left == len(line):
        return 0
    return min(left, right, 6)


def _term(text: str) -> tuple[str, str, str]:
    """Splits ``term : definition``; a colon inside an address or a time does not split."""
    match = re.search(r" : |:(?= )|(?<= ):", text)
    if not match:
        return text, "", ""
    return text[: match.start()], ":", text[match.end() :]
