"""Formulas of HTML: the TeX that they carry, in whatever way they carry it."""

from __future__ import annotations

import re

from lxml import etree

from corpus.formats.html_tree import MATH, Element, drop, local, replace


def tex_element(tex: str, display: bool) -> Element:
    """Returns the element that pandoc reads as a formula."""
    script = etree.Element("script", type="math/tex" + ("; mode=display" if display else ""))
    script.text = re.sub(r"\s+", " ", tex).strip().replace("</", "< /")
    return script


def plain_math(root: Element) -> None:
    """Replaces formulas that carry their TeX by that TeX; leaves other MathML to pandoc."""
    for element in list(root.iter(etree.Element)):
        name = local(element)
        classes = (element.get("class") or "").split()
        if name == "table" and ("ltx_eqn_table" in classes or "ltx_equation" in classes):
            _equation_table(element)
        elif "MathJax_Preview" in classes or "MathJax" in classes or "MathJax_Display" in classes:
            if element.getparent() is not None and _has_script(element):
                drop(element)
        elif "katex" in classes or "mwe-math-element" in classes or name == "mjx-container":
            display = element.get("display") == "true" or any(
                "display" in (e.get("class") or "")
                for e in (element.getparent(), element)
                if e is not None
            )
            _only_math(element, display)
    for math in [e for e in root.iter(etree.Element) if local(e) == "math"]:
        tex = _tex_of(math)
        if tex is not None:
            replace(math, tex_element(tex, math.get("display") == "block"))
        elif isinstance(math.tag, str) and not math.tag.startswith("{"):
            math.set("xmlns", MATH)


def _has_script(element: Element) -> bool:
    parent = element.getparent()
    return parent is not None and any(
        local(e) == "script" and "math/" in e.get("type", "") for e in parent.iter(etree.Element)
    )


def _only_math(element: Element, display: bool) -> None:
    math = next((e for e in element.iter(etree.Element) if local(e) == "math"), None)
    if math is None:
        return
    tex = _tex_of(math)
    if tex is not None:
        replace(element, tex_element(tex, display))
    else:
        if display:
            math.set("display", "block")
        math.tail = None
        replace(element, math)


def _tex_of(math: Element) -> str | None:
    for note in math.iter(etree.Element):
        if local(note) == "annotation" and "tex" in (note.get("encoding") or "").lower():
            return _without_style("".join(str(t) for t in note.itertext()))
    return _without_style(math.get("alttext") or "") or None


def _without_style(tex: str) -> str:
    tex = (
        tex.strip().removeprefix("{").removesuffix("}")
        if tex.startswith("{\\displaystyle")
        else tex
    )
    return re.sub(r"^\s*\\(?:display|text)style\s*", "", tex).replace("%\n", "").strip()


def _equation_table(table: Element) -> None:
    box = etree.Element("div")
    for row in table.iter("tr"):
        parts = [_tex_of(m) or "" for m in row.iter(etree.Element) if local(m) == "math"]
        tex = " ".join(p for p in parts if p)
        if tex:
            paragraph = etree.SubElement(box, "p")
            paragraph.append(tex_element(tex, display=True))
    replace(table, box)
