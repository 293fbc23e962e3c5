r"""The files of a LaTeX document: found by content, the main file chosen, ``\input`` followed.

Inputs are followed here and not by TeX or pandoc, and only inside the tree that the document came
in: absolute paths, ``..`` above the root and links out of the tree are refused, cycles cut.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from core.rejects import Reason
from corpus.formats.archive import Contents, gunzip, is_tar, read_bytes, read_tar, read_zip
from corpus.formats.encoding import decode
from corpus.formats.tex_comments import strip_comments
from corpus.reading import Unreadable

_TEXT_ENDINGS = (".tex", ".ltx", ".bbl", ".bib", ".sty", ".cls", ".tbl", ".txt", ".latex", ".def")
_README = ("00README.XXX", "00README.json", "00README.yaml", "00README")
_MAX_FILE_BYTES = 20_000_000
_MAX_FILES = 5_000
_MAX_FLAT_CHARS = 20_000_000
_MAX_DEPTH = 20

_MAIN = re.compile(r"\\document(?:class|style)\b")
_BEGIN = re.compile(r"\\begin\s*\{document\}")
INPUT = re.compile(
    r"\\(?P<command>input|include|subfile|subfileinclude|import|subimport|includefrom"
    r"|InputIfFileExists)"
    r"(?:\s*\{(?P<braced>[^{}#\\\n]{1,300})\}(?:\s*\{(?P<second>[^{}#\\\n]{1,300})\})?"
    r"|[ \t]+(?P<bare>[^\s{}#\\%$&~]{1,300}))"
)


@dataclass
class Tree:
    """The readable files of a document by their path in the tree.

    Args:
        files: bytes by path.
        faults: what was refused on the way in.
    """

    files: dict[str, bytes]
    faults: list[Unreadable] = field(default_factory=list)
    _texts: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Returns a file's text."""
        if name not in self._texts:
            text, _ = decode(self.files[name], name)
            self._texts[name] = text
        return self._texts[name]

    def find(self, folder: PurePosixPath, name: str, endings: Iterable[str]) -> str | None:
        """Returns the path of a file that a command names, or None.

        Args:
            folder: of the file with the command; TeX itself looks from the main file's folder.
            name: as written.
            endings: tried in order.
        """
        name = name.strip().strip('"').replace("\\space", " ")
        for start in (PurePosixPath("."), folder):
            for ending in endings:
                path = _inside(start, name + ending)
                if path is not None and path in self.files:
                    return path
        return None


def _inside(folder: PurePosixPath, name: str) -> str | None:
    if not name or name.startswith(("/", "~", "|")) or "\0" in name:
        return None
    parts: list[str] = []
    for part in (folder / name).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def open_tree(path: Path) -> tuple[Tree, str | None]:
    """Returns the files of a document, and its main file where the path itself names it.

    Args:
        path: a ``.tex`` file, a folder, or an archive: ``.tar.gz``, ``.zip``, or a ``.gz`` that
            holds a tar archive or one file, told by content as arXiv's names do not tell.

    Raises:
        Unreadable: it is none of these, or unsafe.
    """
    if path.is_dir():
        return _folder(path, path), None
    head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        return _from_contents(read_zip(path, _wanted)), None
    if head.startswith(b"%PDF"):
        raise Unreadable(Reason.BAD_LATEX, f"{path.name}: a PDF, not LaTeX")
    if head.startswith(b"\x1f\x8b"):
        data = gunzip(read_bytes(path), path.name)
        if is_tar(data):
            return _from_contents(read_tar(data, path.name, _wanted)), None
        return _single(path, data)
    if is_tar(head) or path.name.lower().endswith(".tar"):
        return _from_contents(read_tar(read_bytes(path), path.name, _wanted)), None
    if path.name.lower().endswith((".gz", ".tgz", ".zip")):
        raise Unreadable(Reason.UNREADABLE_FILE, f"{path.name}: not the archive its name says")
    return _beside(path), path.name


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(512)
    except OSError as error:
        raise Unreadable(Reason.UNREADABLE_FILE, f"{path.name}: {error.strerror}") from error


def _single(path: Path, data: bytes) -> tuple[Tree, str]:
    if data.startswith(b"%PDF"):
        raise Unreadable(Reason.BAD_LATEX, f"{path.name}: a PDF, not LaTeX")
    if data.startswith(b"%!PS") or b"\\" not in data[:200_000]:
        raise Unreadable(Reason.BAD_LATEX, f"{path.name}: not LaTeX")
    return Tree({"main.tex": data}), "main.tex"


def _wanted(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    if base.startswith("._") or name.startswith("__MACOSX/"):
        return False
    return base.lower().endswith(_TEXT_ENDINGS) or base in _README or "." not in base


def _from_contents(contents: Contents) -> Tree:
    return Tree(contents.files, contents.faults)


def _folder(root: Path, start: Path) -> Tree:
    tree = Tree({})
    real_root = root.resolve()
    total = 0
    for base, folders, names in os.walk(start):
        folders.sort()
        for name in sorted(names):
            path = Path(base) / name
            inside = path.relative_to(root).as_posix()
            if not _wanted(inside):
                continue
            if not _is_inside(path, real_root):
                tree.faults.append(Unreadable(Reason.UNSAFE_ARCHIVE, f"link out: {inside}"))
                continue
            total += 1
            if total > _MAX_FILES:
                raise Unreadable(Reason.BAD_LATEX, f"more than {_MAX_FILES} files")
            data = _file(path)
            if data is not None:
                tree.files[inside] = data
    return tree


def _is_inside(path: Path, root: Path) -> bool:
    """Tells whether a path, its links followed, stays in a folder."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links is a RuntimeError
        return False


def _file(path: Path) -> bytes | None:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


class _LazyFiles(dict[str, bytes]):
    """Files beside a ``.tex`` file, read when asked for: the folder may hold many papers."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._real = root.resolve()

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if super().__contains__(name):
            return True
        path = self._root / name
        data = _file(path) if _is_inside(path, self._real) else None
        if data is None:
            return False
        self[name] = data
        return True


def _beside(path: Path) -> Tree:
    files = _LazyFiles(path.parent)
    files[path.name] = read_bytes(path)
    return Tree(files)


def find_main(tree: Tree) -> tuple[str, list[str]]:
    """Returns the main file, and other main files that were not chosen.

    Raises:
        Unreadable: there is no ``.tex`` file.
    """
    stated = _stated_main(tree)
    if stated is not None:
        return stated, []
    candidates = [n for n in sorted(tree.files) if n.lower().endswith((".tex", ".ltx", ".latex"))]
    if not candidates:
        candidates = [n for n in sorted(tree.files) if "." not in n.rsplit("/", 1)[-1]]
    readable = []
    for name in candidates:
        try:
            readable.append((name, strip_comments(tree.text(name))))
        except Unreadable as error:
            tree.faults.append(error)
    mains = [(n, t) for n, t in readable if _MAIN.search(t)]
    used = {path for _, text in readable for path in _named(text)}
    # \documentclass{subfiles} and a standalone figure are parts of another file.
    free = [(n, t) for n, t in mains if _stem(n) not in used and not _is_part(t)] or mains
    if not free:
        free = [(n, t) for n, t in readable if _stem(n) not in used] or readable
    if not free:
        raise Unreadable(Reason.BAD_LATEX, "no .tex file")
    free.sort(key=lambda item: _rank(*item))
    return free[0][0], [name for name, _ in free[1:]]


def _rank(name: str, text: str) -> tuple[int, int, int, str]:
    base = _stem(name).rsplit("/", 1)[-1].lower()
    paper = r"\begin{abstract}" in text or r"\abstract" in text or r"\title" in text
    known = base in ("ms", "main", "paper", "article", "manuscript", "book")
    extra = any(w in base for w in ("suppl", "response", "cover", "reply", "referee", "sample"))
    return (extra + (not _BEGIN.search(text)) * 2, not paper, not known, f"{-len(text):012d}{name}")


def _is_part(text: str) -> bool:
    return bool(re.search(r"\\documentclass\s*(\[[^\]]*\])?\s*\{(subfiles|standalone)\}", text))


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if name.lower().endswith((".tex", ".ltx")) else name


def _named(text: str) -> set[str]:
    found = set()
    for match in INPUT.finditer(text):
        name = (match["braced"] or match["bare"] or "").strip().strip('"')
        if match["second"] and "import" in match["command"]:
            name = name.rstrip("/") + "/" + match["second"].strip()
        found.add(_stem(name.removeprefix("./")))
    return found


def parts_of_others(paths: Iterable[Path]) -> set[Path]:
    """Returns the ``.tex`` files that another file of the list takes in: no documents of their own.

    Args:
        paths: LaTeX files, from any folders; archives are passed over.
    """
    listed = {p for p in paths if p.suffix.lower() in (".tex", ".ltx")}
    parts: set[Path] = set()
    for path in sorted(listed):
        data = _file(path)
        if data is None or (b"\\in" not in data and b"\\sub" not in data):
            continue
        for name in _named(strip_comments(data.decode("latin-1"))):
            inside = _inside(PurePosixPath("."), name)
            found = path.parent / f"{inside}.tex"
            if inside is not None and found in listed and found != path:
                parts.add(found)
    return parts


def _stated_main(tree: Tree) -> str | None:
    for name in _README:
        if name not in tree.files:
            continue
        text = tree.files[name].decode("utf-8", "replace")[:100_000]
        if name.endswith(".json"):
            try:
                sources = json.loads(text).get("sources", [])
                names = [s["filename"] for s in sources if s.get("usage") == "toplevel"]
            except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
                names = []
        else:
            names = re.findall(r"^(\S+)\s+toplevelfile\s*$", text, re.MULTILINE)
        for main in names:
            if isinstance(main, str) and main in tree.files and main.lower().endswith(".tex"):
                return main
    return None


@dataclass
class Flat:
    """A document in one text.

    Args:
        text: without comments, inputs in place.
        missing: names of inputs that are not there.
        refused: names of inputs that point out of the tree or into a cycle.
        used: files of the tree that went in.
    """

    text: str
    missing: list[str]
    refused: list[str]
    used: list[str]


def flatten(tree: Tree, main: str) -> Flat:
    """Returns the main file with its inputs in place.

    Raises:
        Unreadable: the whole is too large, or the main file is no text.
    """
    flat = Flat("", [], [], [])
    flat.text = _flatten(tree, main, flat, (main,), [0])
    return flat


def _flatten(tree: Tree, name: str, flat: Flat, stack: tuple[str, ...], size: list[int]) -> str:
    text = strip_comments(tree.text(name))
    text = text.split("\\endinput", 1)[0]
    size[0] += len(text)
    if size[0] > _MAX_FLAT_CHARS:
        raise Unreadable(Reason.BAD_LATEX, f"more than {_MAX_FLAT_CHARS} characters with inputs")
    flat.used.append(name)
    folder = PurePosixPath(name).parent

    def insert(match: re.Match[str]) -> str:
        wanted = (match["braced"] or match["bare"]).strip()
        if "import" in match["command"] or match["command"] == "includefrom":
            wanted = f"{wanted.rstrip('/')}/{(match['second'] or '').strip()}"
            rest = ""
        else:
            rest = f"{{{match['second']}}}" if match["second"] else ""
        found = tree.find(folder, wanted, ("", ".tex", ".ltx") if "." in wanted else (".tex", ""))
        if found is None:
            unsafe = _inside(folder, wanted) is None
            (flat.refused if unsafe else flat.missing).append(wanted[:200])
            return " " + rest
        if found in stack or len(stack) >= _MAX_DEPTH:
            flat.refused.append(wanted[:200])
            return " " + rest
        try:
            inner = _flatten(tree, found, flat, (*stack, found), size)
        except Unreadable as error:
            if error.reason is not Reason.INVALID_UTF8:
                raise
            flat.missing.append(wanted[:200])
            return " " + rest
        if _MAIN.search(inner):
            inner = _body(inner)
        return inner.rstrip("\n") + "\n" + rest

    return INPUT.sub(insert, text)


def _body(text: str) -> str:
    begin = _BEGIN.search(text)
    if begin is None:
        return text
    end = text.find("\\end{document}", begin.end())
    return text[begin.end() : end if end >= 0 else len(text)]
