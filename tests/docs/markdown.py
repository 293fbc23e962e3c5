"""What the project's Markdown says that a test can hold it to: commands, YAML, links."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# What the generator writes has its own test.
GENERATED = {"docs/reference/commands.md", "docs/reference/recipe.md"}

PROGRAMS = ("astromill", "curl", "hf", "make", "pip", "python", "ray", "sbatch")
"""First words by which a line is known for a command."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^ *```$", re.M | re.S)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_SIGNS = {"|", ">", "<", "&&", ";"}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command line, as it stands."""

    page: str
    line: int
    text: str
    inline: bool = False
    """It stands in a sentence, where a bare name (`astromill status`) speaks of the command."""
    error: str = ""
    """What it prints, where a console block shows that it fails."""
    output: str = ""
    """What a text block below its own shows of what it prints."""

    @property
    def words(self) -> list[str]:
        """The words as a shell splits them, without comments."""
        return split(self.text)


@dataclass
class Call:
    """A program of a command line, with its environment and where its output goes."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    output: str | None = None


def pages() -> list[Path]:
    """Every page that a reader is given."""
    top = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            name_of(page),
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            textwrap.dedent(match["text"]),
        )
        for match in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """Returns a page without its fenced blocks; lines keep their numbers."""
    text = page.read_text(encoding="utf-8")
    return _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)


def commands(page: Path) -> Iterator[Command]:
    """Yields the command lines of a page's shell blocks and sentences."""
    name = name_of(page)
    found = blocks(page)
    for block, below in zip(found, [*found, None][1:], strict=True):
        if block.language in ("bash", "sh", "console"):
            *others, last = _block_commands(block)
            shown = below.text if below and below.language == "text" else ""
            yield from [*others, replace(last, output=shown)]
    text = prose(page)
    for match in _INLINE.finditer(text):
        line = " ".join(match[1].split())
        if line.split(" ")[0] in PROGRAMS:
            yield Command(name, text.count("\n", 0, match.start()) + 1, line, inline=True)


def _block_commands(block: Block) -> Iterator[Command]:
    """Joins lines that a backslash or an open quote continues."""
    if block.language == "console":
        yield from _console_commands(block)
        return
    held, first = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        first = first or number
        held += line
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        try:
            words = split(held)
        except ValueError:
            held += "\n"
            continue
        if words:
            yield Command(block.page, first, held.strip())
        held, first = "", 0
    assert not held, f"{block.page}:{first}: an open quote"


def _console_commands(block: Block) -> Iterator[Command]:
    """Reads lines that begin with ``$``, each with what it prints below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        line, _, printed = part.partition("\n")
        error = printed if printed.startswith("error:") else ""
        yield Command(block.page, block.line, line.strip(), error=error)


def split(text: str) -> list[str]:
    """Returns a shell line's words and signs.

    Raises:
        ValueError: a quote is open.
    """
    reader = shlex.shlex(text, posix=True, punctuation_chars="|><&;")
    reader.whitespace_split = True
    reader.commenters = "#"
    return list(reader)


def calls(words: list[str]) -> list[Call]:
    """Splits a pipeline into its programs."""
    found = [Call([])]
    rest = iter(words)
    for word in rest:
        call = found[-1]
        if word == "|":
            found.append(Call([]))
        elif word == ">":
            call.output = next(rest)
        elif word in _SIGNS:
            raise AssertionError(f"'{word}' in a documented command: one command a line, please")
        elif not call.words and re.fullmatch(r"[A-Z_]+=.*", word):
            name, _, value = word.partition("=")
            call.environment[name] = value
        else:
            call.words.append(word)
    return found
