"""OpenStax books: a collection of CNXML modules, or one module.

Pandoc has no reader for CNXML, so a module becomes plain XHTML here (its MathML untouched) and goes
through pandoc from there. A part is a chapter: a ``subcollection`` with its modules in order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lxml import etree

from core.rejects import Reason
from corpus.formats.archive import read_bytes
from corpus.formats.cnxml_tree import Converter
from corpus.formats.encoding import decode
from corpus.formats.html_markdown import render
from corpus.formats.html_tree import Element, local, parse_xml, words
from corpus.reading import Part, Reading, Unreadable

_MAX_MODULE_BYTES = 20_000_000
_MODULE_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MAX_LEVELS_UP = 3


def read_openstax(path: Path, split: bool) -> Reading:
    """Reads a ``collection.xml`` with its modules, or one ``index.cnxml``.

    Args:
        path: the file; modules are looked for as ``modules/<id>/index.cnxml`` and
            ``<id>/index.cnxml`` beside it and up to three folders above.
        split: a part for each chapter; otherwise one part.

    Raises:
        Unreadable: it is neither, or none of its modules can be read.
    """
    root = _parse(path)
    if local(root) == "document":
        title, text, meta = module_markdown(root, path.name)
        facts = _facts(root)
        return Reading(parts=[Part(None, f"# {title}\n\n{text}")], **{**facts, "meta": meta})
    if local(root) != "collection":
        raise Unreadable(Reason.BAD_MARKUP, f"{path.name}: no collection, but {local(root)}")
    faults: list[Unreadable] = []
    parts: list[Part] = []
    content = next((e for e in root if local(e) == "content"), root)
    for element in content:
        if local(element) == "module":
            _add(parts, _module_part(path, element, faults))
        elif local(element) == "subcollection":
            _subcollection(path, element, parts, faults, [])
    if not parts:
        raise Unreadable(Reason.MISSING_PART, f"{path.name}: none of its modules is there")
    facts = _facts(root)
    if not split:
        text = "\n".join(p.text or "" for p in parts)
        parts = [Part(None, f"# {facts['title']}\n\n{text}" if facts["title"] else text)]
    return Reading(parts=parts, faults=faults, **facts)


def _add(parts: list[Part], part: Part | None) -> None:
    if part is not None:
        parts.append(part)


def _parse(path: Path) -> Element:
    data = read_bytes(path)
    if len(data) > _MAX_MODULE_BYTES:
        raise Unreadable(Reason.BAD_MARKUP, f"{path.name}: {len(data)} bytes")
    return parse_xml(decode(data, path.name)[0], path.name)


def _subcollection(
    path: Path, element: Element, parts: list[Part], faults: list[Unreadable], above: list[str]
) -> None:
    title = _title(element)
    content = next((e for e in element if local(e) == "content"), element)
    inner = [e for e in content if local(e) == "subcollection"]
    if inner:
        # A unit of chapters: its own modules come first, each chapter is a part.
        for child in content:
            if local(child) == "module":
                _add(parts, _module_part(path, child, faults))
            elif local(child) == "subcollection" and len(above) < 5:
                _subcollection(path, child, parts, faults, [*above, title])
        return
    texts, meta = [], _Meta()
    for module in (e for e in content if local(e) == "module"):
        read = _module(path, module, faults)
        if read is not None:
            texts.append(f"## {read[0]}\n\n{_deeper(read[1])}")
            meta.add(read[2])
    if texts:
        facts: dict[str, Any] = {**meta.values, **({"unit": above[-1]} if above else {})}
        parts.append(Part(title, f"# {title}\n\n" + "\n".join(texts), meta=facts))


class _Meta:
    """Facts of several modules together."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"modules": []}

    def add(self, meta: dict[str, Any]) -> None:
        self.values["modules"].append(meta["module"])


def _deeper(text: str) -> str:
    return re.sub(r"^(#{1,5}) ", r"#\1 ", text, flags=re.MULTILINE)


def _module_part(path: Path, element: Element, faults: list[Unreadable]) -> Part | None:
    read = _module(path, element, faults)
    if read is None:
        return None
    title, text, meta = read
    return Part(title, f"# {title}\n\n{text}", meta={"modules": [meta["module"]]})


def _module(
    path: Path, element: Element, faults: list[Unreadable]
) -> tuple[str, str, dict[str, Any]] | None:
    name = element.get("document") or ""
    found = _find(path, name)
    if found is None:
        faults.append(Unreadable(Reason.MISSING_PART, f"module {name[:100]} is not there"))
        return None
    try:
        title, text, meta = module_markdown(_parse(found), name)
    except Unreadable as error:
        faults.append(Unreadable(error.reason, f"module {name}: {error.detail}", error.text))
        return None
    # The collection may give a module another title.
    return _title(element) or title, text, meta


def _find(collection: Path, name: str) -> Path | None:
    if not _MODULE_ID.fullmatch(name) or name in (".", ".."):
        return None
    folder = collection.parent
    for _ in range(_MAX_LEVELS_UP):
        for candidate in (folder / "modules" / name, folder / name):
            file = candidate / "index.cnxml"
            # A link must not lead out of the folder that holds the modules.
            if file.is_file() and file.resolve().is_relative_to(folder.resolve()):
                return file
        if folder.parent == folder:
            break
        folder = folder.parent
    return None


def _title(element: Element) -> str:
    for child in element:
        if local(child) == "title" and words(child):
            return words(child)
    for child in element:
        if local(child) == "metadata":
            return next((words(e) for e in child if local(e) == "title"), "")
    return ""


def _facts(root: Element) -> dict[str, Any]:
    values: dict[str, str] = {}
    authors = []
    license_url = None
    metadata = next((e for e in root if local(e) == "metadata"), root)
    for element in metadata.iter(etree.Element):
        name = local(element)
        if name == "license" and license_url is None:
            license_url = element.get("url") or words(element) or None
        elif name == "fullname":
            authors.append(words(element))
        elif name in ("language", "slug", "uuid", "content-id", "content-url"):
            values.setdefault(name, words(element))
    meta = {k: values[k] for k in ("slug", "uuid", "content-id") if values.get(k)}
    return {
        "title": _title(root) or None,
        "authors": list(dict.fromkeys(a for a in authors if a)),
        "license": license_url,
        "language": values.get("language") or None,
        "url": values.get("content-url") or None,
        "meta": meta,
    }


def module_markdown(root: Element, name: str) -> tuple[str, str, dict[str, Any]]:
    """Returns (title, Markdown with sections from the second level, meta) of one module.

    Raises:
        Unreadable: it is no CNXML document, or has no text.
    """
    if local(root) != "document":
        raise Unreadable(Reason.BAD_MARKUP, f"{name}: no CNXML document, but {local(root)}")
    converter = Converter(root)
    body = etree.Element("body")
    for child in root:
        if local(child) == "content":
            converter.block(child, body, 2)
        elif local(child) == "glossary":
            converter.one(child, body, 2)
    text = render(body)
    meta = {"module": next((words(e) for e in root.iter() if local(e) == "content-id"), name)}
    if not text.strip() and not _title(root):
        raise Unreadable(Reason.EMPTY_TEXT, f"{name}: no text")
    return _title(root) or name, text, meta
