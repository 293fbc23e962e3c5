"""Files as things to read: which of the found files is a document, and what it is made of.

Most files are one document. A LaTeX paper is its main file with all that lies beside it; a folder
of page images is one document; an OpenStax book is its collection with the modules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.recipe.sources import BooksSource, FilesSource, RowsSource
from core.rejects import Reason, Reject
from core.sources import LeftOut, SourceIndex, find_files, readable
from corpus.formats import ENDINGS, book_kind
from corpus.formats.tex_source import parts_of_others
from corpus.text_rows import ENDINGS as ROW_ENDINGS

WIKITEXT_ENDINGS = (".wikitext", ".wiki", ".mediawiki")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_OWN_ENDINGS = {"images": IMAGE_ENDINGS, "wikitext": WIKITEXT_ENDINGS, "rows": ROW_ENDINGS}
BOOK_CHAPTERS = 20
"""How many documents a book is expected to give; only the size of shards depends on it."""

_LATEX_PARTS = (".tex", ".bbl", ".bib", ".sty", ".cls")
_MAIN_TEX = re.compile(rb"^[^%\n]*\\document(?:class|style)\b", re.MULTILINE)


@dataclass(frozen=True)
class FoundFile:
    """A file (or folder of images) to read.

    Args:
        path: what the reader is given.
        kind: which reader.
        parts: further files that it is made of.
    """

    path: Path
    kind: str
    parts: Sequence[Path] = ()

    @property
    def own(self) -> list[Path]:
        """The file itself; of a folder of images none."""
        return [] if self.kind == "images" else [self.path]


def content_files(found: Sequence[FoundFile]) -> list[Path]:
    """Returns every file whose content counts, each once."""
    files = dict.fromkeys(path for file in found for path in file.own)
    # Papers of one folder share their list of parts: thousands of each are no millions.
    for parts in {id(file.parts): file.parts for file in found}.values():
        files.update(dict.fromkeys(parts))
    return list(files)


def list_files(
    source: FilesSource | RowsSource | BooksSource, root: Path, where: str
) -> tuple[list[FoundFile], list[Reject]]:
    """Returns what a source's paths hold, and rejects for files that are not read by themselves.

    Raises:
        InputError: a path names nothing.
    """
    books = source.kind == "books"
    if source.kind in _OWN_ENDINGS:
        endings: Sequence[str] = _OWN_ENDINGS[source.kind]
    elif books:
        endings = [e for kind in BOOK_KINDS for e in ENDINGS[kind]]
    else:
        endings = ENDINGS[source.kind]
    left_out: list[LeftOut] = []
    paths = find_files(root, source.paths, endings, f"{where}.paths", left_out)
    index = SourceIndex(root, root)
    rejects = [
        Reject(f"{source.name}:{index.name(left.path)}", left.reason, left.detail)
        for left in left_out
    ]
    if source.kind == "images":
        return _image_folders(paths), rejects
    kinds = {path: book_kind(path) if books else source.kind for path in paths}
    found = [FoundFile(path, kind) for path, kind in kinds.items() if kind and kind != "latex"]
    found, modules = _with_modules(found)
    latex, parts = _latex_files(path for path, kind in kinds.items() if kind == "latex")
    rejects += [
        Reject(
            f"{source.name}:{index.name(path)}",
            Reason.PART_OF_ANOTHER,
            f"read with another file that names it, or whose folder it is in: {index.name(folder)}",
        )
        for path, folder in {**modules, **parts}.items()
    ]
    return sorted([*found, *latex], key=lambda f: f.path), rejects


BOOK_KINDS = ("epub", "openstax", "pdf", "html", "markdown", "text", "latex", "nougat")


def _image_folders(paths: Iterable[Path]) -> list[FoundFile]:
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    return [FoundFile(folder, "images", images) for folder, images in sorted(folders.items())]


def _with_modules(found: list[FoundFile]) -> tuple[list[FoundFile], dict[Path, Path]]:
    """Gives OpenStax collections their modules; returns these with their collection's folder."""
    whole: list[FoundFile] = []
    modules: dict[Path, Path] = {}
    for book in found:
        if book.kind == "openstax" and book.path.name.endswith("collection.xml"):
            near = (book.path.parent, book.path.parent.parent)
            parts = {m for folder in near for m in folder.glob("modules/*/index.cnxml")}
            parts |= set(book.path.parent.glob("*/index.cnxml"))
            whole.append(FoundFile(book.path, book.kind, sorted(filter(readable, parts))))
            modules |= dict.fromkeys(sorted(parts), book.path.parent)
        else:
            whole.append(book)
    return [book for book in whole if book.path not in modules], modules


def _latex_files(paths: Iterable[Path]) -> tuple[list[FoundFile], dict[Path, Path]]:
    """Returns main files and lone ones; and the other .tex files with the folder they belong to."""
    archives: list[Path] = []
    lone: list[Path] = []
    mains: dict[Path, list[Path]] = {}
    for path in paths:
        if path.suffix.lower() != ".tex":
            archives.append(path)
        elif _is_main(path):
            mains.setdefault(path.parent, []).append(path)
        else:
            lone.append(path)
    parts = {path: path.parent for path in parts_of_others(lone)}
    for path in lone:
        above = next((mains[folder] for folder in path.parents if folder in mains), None)
        if above:
            parts[path] = above[0].parent
    found = [FoundFile(path, "latex") for path in [*archives, *lone] if path not in parts]
    for folder, files in mains.items():
        tree = [
            Path(base) / name
            for base, _, names in os.walk(folder)
            for name in names
            if name.lower().endswith(_LATEX_PARTS) and not (Path(base) / name).is_symlink()
        ]
        beside = sorted(path for path in tree if readable(path) and [path] != files)
        found += [FoundFile(f, "latex", beside) for f in files]
    return found, parts


def _is_main(path: Path) -> bool:
    try:
        return bool(_MAIN_TEX.search(path.read_bytes()))
    except OSError:
        return False
