"""Figures that other stages drew, as images inside the page.

An SVG is shown through ``<img src="data:...">``: a browser runs no script in an image and fetches
nothing for it, so that what a figure holds cannot act on the page. It is parsed all the same, so
that only a drawing gets in, and its size is known before it is shown.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from core.manifest import Manifest
from core.stage import StageContext

MAX_BYTES = 600_000
"""Of one figure, of which a page of 5 MB holds ten with all else; larger ones are only named."""
MAX_FIGURES = 8
"""Of one stage."""

_SVG, _TITLE = "{http://www.w3.org/2000/svg}svg", "{http://www.w3.org/2000/svg}title"
_MAX_ALT_CHARS = 1500
_UNIT_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "mm": 96 / 25.4, "cm": 96 / 2.54}
_LENGTH = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*")
_WORDS = {
    "figure3": "Score against cost",
    "figure4": "Score and value against release date",
    "general-benchmarks": "Scores by benchmark",
    "effect-of-training": "What each step of training changed",
    "sweep": "Domain score against general score over the merge's weights",
}


@dataclass(frozen=True)
class Figure:
    """A picture.

    Args:
        stage: that drew it.
        name: of the file, without its ending.
        title: what it shows, for people.
        uri: the picture as a ``data:`` address; empty where it cannot be shown.
        width, height: CSS pixels.
        problem: why it cannot be shown.
        alt: what it says of itself, for those who do not see it; else the title.
        adaptive: it has colours for dark pages, too; others are shown on white.
    """

    stage: str
    name: str
    title: str
    uri: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""
    adaptive: bool = False
    alt: str = ""


def stage_figures(ctx: StageContext, stage: str) -> list[Figure]:
    """Returns the SVG figures in a finished stage's folder.

    Args:
        ctx: the run.
        stage: its name.
    """
    folder = ctx.folder(stage)
    manifest = Manifest.load(folder)
    if manifest is None:
        return []
    names = {entry.name for entry in manifest.files} | set(manifest.volatile)
    paths = [folder / name for name in names if name.endswith(".svg")]
    # Those that are known come in the order of their list above, others after them by name.
    known = list(_WORDS)
    paths.sort(key=lambda p: (known.index(p.stem) if p.stem in known else len(known), p.name))
    return [read_figure(stage, path) for path in paths[:MAX_FIGURES]]


def read_figure(stage: str, path: Path) -> Figure:
    """Returns an SVG file as a picture for the page.

    Args:
        stage: that drew it.
        path: the file; one that is no sound SVG gives a figure that says so.
    """
    title = _WORDS.get(path.stem, path.stem.replace("_", " ").replace("-", " ").capitalize())
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise ValueError(f"the file has {len(content):,} bytes")
        root = _parsed(content)
        width, height = _size(root)
    except (OSError, ValueError, etree.XMLSyntaxError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        # The message of an OSError holds the path.
        problem = "the file cannot be read" if isinstance(error, OSError) else problem
        return Figure(stage, path.stem, title, problem=problem)
    uri = "data:image/svg+xml;base64," + base64.b64encode(content).decode("ascii")
    adaptive = b"prefers-color-scheme" in content
    said = " ".join((root.findtext(_TITLE) or "").split())
    alt = said[:_MAX_ALT_CHARS] or title
    return Figure(stage, path.stem, title, uri, width, height, adaptive=adaptive, alt=alt)


def _parsed(content: bytes) -> etree._Element:
    """Returns the root of an SVG.

    Raises:
        ValueError: it is not an SVG, or has entities of its own.
        etree.XMLSyntaxError: it is no XML.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = etree.fromstring(content, parser)
    if root.tag != _SVG:
        raise ValueError(f"the root element is {root.tag!r}, not svg")
    if root.getroottree().docinfo.internalDTD is not None and b"<!ENTITY" in content:
        raise ValueError("it defines entities")
    return root


def _size(root: etree._Element) -> tuple[int, int]:
    """Returns width and height in pixels.

    Raises:
        ValueError: it states none.
    """
    box = [float(x) for x in re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", root.get("viewBox", ""))]
    width = _pixels(root.get("width")) or (box[2] if len(box) == 4 else 0)
    height = _pixels(root.get("height")) or (box[3] if len(box) == 4 else 0)
    if not (0 < width < 20_000 and 0 < height < 20_000):
        raise ValueError("it states no size")
    return round(width), round(height)


def _pixels(length: str | None) -> float:
    found = _LENGTH.fullmatch(length or "")
    return float(found[1]) * _UNIT_PIXELS.get(found[2], 0.0) if found else 0.0
