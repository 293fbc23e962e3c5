"""Extension tags: formulas, code, poems; references, pictures and diagrams leave nothing."""

from __future__ import annotations

import re

from corpus.wikitext.cleanup import decode_entities
from corpus.wikitext.page import Page
from corpus.wikitext.scan import ExtensionTag, scan

_SPACES = re.compile(r"\s+")
_BACKTICKS = re.compile(r"`{3,}")
_ATTRIBUTE = re.compile(r"(?<![\w-])([\w-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")


def attributes_of(text: str) -> dict[str, str]:
    """Returns HTML attributes by lower-case name."""
    found = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text):
        found[name.lower()] = double or single or bare
    return found


def render_tag(tag: ExtensionTag, page: Page) -> str:
    """Returns the wikitext, or the marker of final text, that a tag stands for."""
    name, inner = tag.name, tag.inner or ""
    if name == "math":
        return _math(inner, attributes_of(tag.attributes), page)
    if name in ("chem", "ce"):
        return page.keep(f"\\ce{{{tex(inner)}}}", "math") if inner.strip() else ""
    if name == "nowiki":
        # An empty one keeps what stands around it apart: ''Titanic''<nowiki/>'s.
        return page.keep(decode_entities(inner))
    if name in ("pre", "syntaxhighlight", "source"):
        return _code(name, inner, attributes_of(tag.attributes), page)
    if name == "poem":
        lines = page.expand(scan(inner), page).strip().split("\n")
        return "\n\n" + "<br>\n".join(line.strip(" :") for line in lines) + "\n\n"
    if name == "section" and tag.inner:
        return page.expand(scan(tag.inner), page)
    return ""


def tex(source: str) -> str:
    """Returns TeX on one line, entities resolved."""
    return _SPACES.sub(" ", decode_entities(source)).strip()


def _math(inner: str, attributes: dict[str, str], page: Page) -> str:
    formula = tex(inner)
    if not formula:
        return ""
    if "chem" in attributes:
        formula = f"\\ce{{{formula}}}"
    kind = "display" if attributes.get("display") == "block" else "math"
    return page.keep(formula, kind)


def _code(name: str, inner: str, attributes: dict[str, str], page: Page) -> str:
    if name == "pre":
        inner = re.sub(r"</?nowiki\s*/?>", "", inner, flags=re.IGNORECASE)
        inner = decode_entities(inner)
    short = "inline" in attributes or ("\n" not in inner and name != "pre")
    if short:
        return page.keep(f"`{inner.strip()}`") if inner.strip() else ""
    language = attributes.get("lang", "")
    longest = max((len(run) for run in _BACKTICKS.findall(inner)), default=0)
    fence = "`" * max(3, longest + 1)
    body = inner.strip("\n").rstrip()
    return "\n" + page.keep(f"{fence}{language}\n{body}\n{fence}", "block") + "\n" if body else ""
