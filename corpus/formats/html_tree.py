"""HTML and XML trees: parsed without entities or network, cleaned, and written as Markdown."""

from __future__ import annotations

import html.entities
import re

from lxml import etree
from lxml import html as lxml_html

from core.rejects import Reason
from corpus.formats.name_set import name_set
from corpus.reading import Unreadable

Element = etree._Element

_DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(\[)?[^>]{0,2000}>?", re.IGNORECASE)
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_XML_ENTITIES = frozenset(["amp", "lt", "gt", "quot", "apos"])
_MAX_CHARS = 60_000_000
MATH = "http://www.w3.org/1998/Math/MathML"


def parse_xml(text: str, name: str) -> Element:
    """Returns the root of an XML document.

    Named entities of HTML are replaced; a document that declares its own is refused, which rules
    out expansion bombs and external entities.

    Raises:
        Unreadable: it is not well-formed, too large or too deep, or declares entities.
    """
    text = re.sub(r"\A\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff"))
    head = text[:100_000]
    if "<!ENTITY" in head or "<!ENTITY" in text:
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: declares entities")
    doctype = _DOCTYPE.search(head)
    if doctype is not None:
        if doctype[1]:
            raise Unreadable(Reason.BAD_MARKUP, f"{name}: declares its own document type")
        text = text[: doctype.start()] + text[doctype.end() :]
    if len(text) > _MAX_CHARS:
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: {len(text)} characters")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(_known_entities(text).encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: {error}") from error
    return root


def _known_entities(text: str) -> str:
    def char(match: re.Match[str]) -> str:
        if match[1] in _XML_ENTITIES:
            return match[0]
        return html.entities.html5.get(match[1] + ";", f"&amp;{match[1]};")

    return _ENTITY.sub(char, text)


def parse_html(text: str, name: str) -> Element:
    """Returns the root of an HTML document, however bad; XHTML as what it says.

    Raises:
        Unreadable: nothing can be read.
    """
    if len(text) > _MAX_CHARS:
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: {len(text)} characters")
    text = re.sub(r"\A\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff")).replace("\0", "")
    parser = lxml_html.HTMLParser(
        encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = lxml_html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, AssertionError) as error:
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: {error}") from error
    return root


def parse_xhtml(text: str, name: str) -> Element:
    """Returns the root of an XHTML document without namespaces, read as HTML if it is not XML.

    Raises:
        Unreadable: nothing can be read, or it declares entities.
    """
    try:
        root = parse_xml(text, name)
    except Unreadable as error:
        if "declares" in error.detail:
            raise
        return parse_html(text, name)
    if local(root) != "html":
        return parse_html(text, name)
    for element in root.iter(etree.Element):
        element.tag = local(element)
    return root


def local(element: Element) -> str:
    """Returns an element's name without its namespace, lower case for HTML's sake."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def words(element: Element) -> str:
    """Returns an element's text on one line."""
    return " ".join("".join(str(t) for t in element.itertext()).split())


def drop(element: Element) -> None:
    """Takes an element out and leaves the text after it."""
    parent = element.getparent()
    if parent is None:
        return
    if element.tail:
        previous = element.getprevious()
        if previous is not None:
            previous.tail = (previous.tail or "") + element.tail
        else:
            parent.text = (parent.text or "") + element.tail
    parent.remove(element)


def unwrap(element: Element) -> None:
    """Puts an element's content in its place."""
    parent = element.getparent()
    if parent is None:
        return
    position = parent.index(element)
    previous = element.getprevious()
    if element.text:
        if previous is not None:
            previous.tail = (previous.tail or "") + element.text
        else:
            parent.text = (parent.text or "") + element.text
    children = list(element)
    tail = element.tail
    for offset, child in enumerate(children):
        parent.insert(position + offset, child)
    if tail:
        if children:
            children[-1].tail = (children[-1].tail or "") + tail
        elif previous is not None:
            previous.tail = (previous.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail
    element.tail = None
    parent.remove(element)


def replace(old: Element, new: Element) -> None:
    """Puts one element in another's place."""
    parent = old.getparent()
    if parent is not None:
        new.tail = old.tail
        parent.replace(old, new)


BLOCKS = name_set("p div ul ol table blockquote pre h1 h2 h3 h4 h5 h6 section figure dl")


def is_block(element: Element) -> bool:
    """Tells whether an element is a block of HTML."""
    return local(element) in BLOCKS
