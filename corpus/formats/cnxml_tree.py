"""One CNXML module as XHTML: its MathML untouched, everything else in the few tags of HTML."""

from __future__ import annotations

from lxml import etree

from corpus.formats.html_tree import Element, local, words
from corpus.formats.name_set import name_set

_MATH = "{http://www.w3.org/1998/Math/MathML}math"
_INLINE = {
    "emphasis": "em", "term": "strong", "sup": "sup", "sub": "sub", "quote": "q", "cite": "em",
    "cite-title": "em", "code": "code", "foreign": "em", "preformat": "code",
}  # fmt: skip
_EFFECTS = {"bold": "strong", "italics": "em", "italic": "em", "underline": "em"}
_NUMBERED = ("figure", "table", "example", "equation", "exercise")
_BLOCKS = name_set(
    """para section list figure subfigure table equation note exercise problem solution
    commentary definition glossary example media rule proof statement injected-exercise
    newpage"""
)


class Converter:
    """Turns the elements of one module into XHTML."""

    def __init__(self, root: Element) -> None:
        self._kinds = {e.get("id"): local(e) for e in root.iter(etree.Element) if e.get("id")}
        self._problems = 0

    def block(self, source: Element, target: Element, level: int) -> None:
        """Writes an element's blocks into ``target``; sections start at heading ``level``."""
        for child in source:
            if local(child) == "title":
                self._heading(child, target, level)
            else:
                self.one(child, target, level)

    def _heading(self, title: Element, target: Element, level: int) -> None:
        if words(title):
            heading = etree.SubElement(target, f"h{min(level, 6)}")
            self.inline(title, heading)

    def _section(self, source: Element, target: Element, level: int) -> None:
        title = next((e for e in source if local(e) == "title"), None)
        if title is not None:
            self._heading(title, target, level)
        for child in source:
            if child is not title:
                self.one(child, target, level + 1)

    def one(self, child: Element, target: Element, level: int) -> None:
        """Writes one element, whatever it is, into ``target``."""
        handler = getattr(self, f"_{local(child)}", None) if local(child) in _BLOCKS else None
        if handler is not None:
            handler(child, target, level)
            return
        if child.tag == _MATH or local(child) in _INLINE or local(child) == "link":
            self._inline_child(child, etree.SubElement(target, "p"))
        elif local(child) not in ("metadata", "label", "newline", "title"):
            self.block(child, target, level)

    def _para(self, source: Element, target: Element, level: int) -> None:
        paragraph = etree.SubElement(target, "p")
        title = next((e for e in source if local(e) == "title"), None)
        if title is not None and words(title):
            bold = etree.SubElement(paragraph, "strong")
            bold.text = words(title).rstrip(".:") + "."
            bold.tail = " " + (title.tail or "")
        blocks = self.inline(source, paragraph, skip_title=True)
        for element in blocks:
            self.one(element, target, level)

    def _list(self, source: Element, target: Element, level: int) -> None:
        title = next((e for e in source if local(e) == "title"), None)
        if title is not None and words(title):
            etree.SubElement(etree.SubElement(target, "p"), "strong").text = words(title)
        kind = "ol" if source.get("list-type") == "enumerated" else "ul"
        made = etree.SubElement(target, kind)
        for item in source:
            if local(item) == "item":
                entry = etree.SubElement(made, "li")
                for block in self.inline(item, entry):
                    self.one(block, entry, level)

    def _figure(self, source: Element, target: Element, level: int) -> None:
        parts = []
        for child in source:
            if local(child) in ("title", "caption") and words(child):
                parts.append(child)
            elif local(child) == "subfigure":
                self._figure(child, target, level)
        if parts:
            paragraph = etree.SubElement(target, "p")
            self._labelled(paragraph, "Figure:", parts)

    _subfigure = _figure

    def _labelled(self, paragraph: Element, label: str, parts: list[Element]) -> None:
        paragraph.text = label + " "
        for part in parts:
            span = etree.SubElement(paragraph, "strong" if local(part) == "title" else "span")
            self.inline(part, span)
            span.tail = " "

    def _media(self, source: Element, target: Element, level: int) -> None:
        # Text that stands for a picture describes something the reader cannot see.
        return

    def _equation(self, source: Element, target: Element, level: int) -> None:
        math = [e for e in source if e.tag == _MATH]
        for element in math:
            element.set("display", "block")
        paragraph = etree.SubElement(target, "p")
        self.inline(source, paragraph)

    def _rule(self, source: Element, target: Element, level: int) -> None:
        # A box in the text: a heading would claim the paragraphs after it.
        for child in source:
            if local(child) == "title" and words(child):
                bold = etree.SubElement(etree.SubElement(target, "p"), "strong")
                self.inline(child, bold)
            else:
                self.one(child, target, level)

    _statement = _proof = _rule
    _example = _rule
    _note = _rule

    def _glossary(self, source: Element, target: Element, level: int) -> None:
        etree.SubElement(target, f"h{min(level, 6)}").text = "Glossary"
        for child in source:
            self.one(child, target, level + 1)

    def _definition(self, source: Element, target: Element, level: int) -> None:
        paragraph = etree.SubElement(target, "p")
        terms = [e for e in source if local(e) == "term"]
        for number, term in enumerate(terms):
            bold = etree.SubElement(paragraph, "strong")
            self.inline(term, bold)
            bold.tail = ", " if number + 1 < len(terms) else ": "
        for meaning in (e for e in source if local(e) == "meaning"):
            span = etree.SubElement(paragraph, "span")
            blocks = self.inline(meaning, span)
            span.tail = " "
            for block in blocks:
                self.one(block, target, level)

    def _exercise(self, source: Element, target: Element, level: int) -> None:
        for child in source:
            self.one(child, target, level)

    def _problem(self, source: Element, target: Element, level: int) -> None:
        self._problems += 1
        self._led(source, target, level, f"Exercise {self._problems}.")

    def _solution(self, source: Element, target: Element, level: int) -> None:
        self._led(source, target, level, "Solution.")

    def _commentary(self, source: Element, target: Element, level: int) -> None:
        self._led(source, target, level, "Comment.")

    def _led(self, source: Element, target: Element, level: int, lead: str) -> None:
        box = etree.SubElement(target, "div")
        for child in source:
            self.one(child, box, level)
        first = next((e for e in box), None)
        if first is None:
            return
        if local(first) != "p":
            first = etree.Element("p")
            box.insert(0, first)
        bold = etree.Element("strong")
        bold.text = lead
        bold.tail = " " + (first.text or "")
        first.text = None
        first.insert(0, bold)

    def _table(self, source: Element, target: Element, level: int) -> None:
        parts = [e for e in source if local(e) in ("title", "caption") and words(e)]
        if parts:
            self._labelled(etree.SubElement(target, "p"), "Table:", parts)
        for group in (e for e in source if local(e) == "tgroup"):
            columns = {
                e.get("colname"): i for i, e in enumerate(x for x in group if local(x) == "colspec")
            }
            made = etree.SubElement(target, "table")
            for row in (e for e in group.iter(etree.Element) if local(e) == "row"):
                parent = row.getparent()
                head = parent is not None and local(parent) == "thead"
                line = etree.SubElement(made, "tr")
                for entry in (e for e in row if local(e) in ("entry", "entrytbl")):
                    self._entry(entry, line, "th" if head else "td", columns)

    def _entry(
        self, entry: Element, line: Element, tag: str, columns: dict[str | None, int]
    ) -> None:
        cell = etree.SubElement(line, tag)
        first, last = columns.get(entry.get("namest")), columns.get(entry.get("nameend"))
        if first is not None and last is not None and last > first:
            cell.set("colspan", str(last - first + 1))
        rows = entry.get("morerows") or ""
        if rows.isdecimal() and len(rows) < 4:
            cell.set("rowspan", str(int(rows) + 1))
        for block in self.inline(entry, cell):
            self.one(block, cell, 6)

    def inline(self, source: Element, target: Element, skip_title: bool = False) -> list[Element]:
        """Copies running text; returns the blocks that stood inside, in order."""
        _append_text(target, source.text)
        blocks: list[Element] = []
        for child in source:
            name = local(child)
            if name in _BLOCKS:
                if name == "media":
                    pass
                elif name == "para":
                    _append_text(target, " ")
                    blocks += self.inline(child, target)
                else:
                    blocks.append(child)
            elif not (name == "title" and skip_title) and name != "label":
                blocks += self._inline_child(child, target)
            if not (name == "title" and skip_title):
                _append_text(target, child.tail)
        return blocks

    def _inline_child(self, child: Element, target: Element) -> list[Element]:
        name = local(child)
        if child.tag == _MATH:
            target.append(_copy_math(child))
            return []
        if name == "newline":
            etree.SubElement(target, "br")
            return []
        if name == "footnote":
            _append_text(target, f" ({words(child)})")
            return []
        if name == "link":
            return self._link(child, target)
        if name == "space":
            _append_text(target, " ")
            return []
        tag = _INLINE.get(name, "span")
        if name == "emphasis":
            tag = _EFFECTS.get(child.get("effect", "bold"), "em")
        if name == "term" and "no-emphasis" in (child.get("class") or ""):
            tag = "span"
        return self.inline(child, etree.SubElement(target, tag))

    def _link(self, child: Element, target: Element) -> list[Element]:
        if words(child):
            return self.inline(child, etree.SubElement(target, "span"))
        kind = self._kinds.get(child.get("target-id"), "")
        if child.get("url"):
            _append_text(target, child.get("url"))
        elif kind in _NUMBERED or kind == "section":
            # Numbers are given when the book is built; the source has none.
            _append_text(target, f"the {kind}")
        else:
            _append_text(target, "the figure" if child.get("target-id") else "another section")
        return []


def _copy_math(math: Element) -> Element:
    copy = etree.fromstring(etree.tostring(math, with_tail=False))
    for element in copy.iter(etree.Element):
        element.tag = local(element)
    etree.cleanup_namespaces(copy)
    return copy


def _append_text(target: Element, text: str | None) -> None:
    if not text:
        return
    if len(target):
        target[-1].tail = (target[-1].tail or "") + text
    else:
        target.text = (target.text or "") + text
