"""LaTeX source as tokens, with arguments read and expansions pushed back."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"\\(?:[A-Za-z]+|[^A-Za-z]|$)|[{}&~#_^]|\$\$?|\n[ \t]*\n\s*|[^\\{}$&~#_^\n]+|\n", re.S
)
_BRACE = re.compile(r"\\.|[{}]", re.S)
_BRACKET = re.compile(r"\\.|[{}\[\]]", re.S)
_SPACE = re.compile(r"[ \t]*(?:\n[ \t]*(?!\s*\n))?[ \t]*")
_GIVE_UP = re.compile(r"\n[ \t]*\n|\\end\s*\{|\\(?:sub)*section\b")
_MAX_FRAMES = 400
_MAX_PUSHES = 500_000
_MAX_PUSHED_CHARS = 20_000_000
_MAX_OPTION_CHARS = 3_000


def mangle_at(text: str) -> str:
    r"""Returns source where ``@`` in command names became letters.

    Between ``\makeatletter`` and ``\makeatother`` it is one; a body defined there keeps its names
    when it is expanded elsewhere.
    """
    return _AT_REGION.sub(lambda region: _AT_NAME.sub(_letters, region[0]), text)


def mangle_all_at(text: str) -> str:
    """Does so everywhere, as in a package."""
    return _AT_NAME.sub(_letters, text)


def _letters(match: re.Match[str]) -> str:
    return match[0].replace("@", "ZatZ")


_AT_REGION = re.compile(r"\\makeatletter(?:(?!\\makeatother).)*", re.S)
_AT_NAME = re.compile(r"\\[A-Za-z@]*@[A-Za-z@]*")


class Runaway(Exception):
    """Macros that expand without end; its argument names the one at fault, as far as known."""


class Stream:
    """Source text with a stack of pushed-back expansions on top."""

    def __init__(self, text: str) -> None:
        self._frames: list[tuple[str, int]] = [(text, 0)]
        self._pushes = self._pushed_chars = 0

    def push(self, text: str) -> None:
        """Puts text before what is still to be read.

        Raises:
            Runaway: too deep or too often.
        """
        if not text:
            return
        self._drop_finished()
        self._pushes += 1
        self._pushed_chars += len(text)
        if len(self._frames) > _MAX_FRAMES or self._pushes > _MAX_PUSHES:
            raise Runaway
        if self._pushed_chars > _MAX_PUSHED_CHARS:
            raise Runaway
        self._frames.append((text, 0))

    def _drop_finished(self) -> None:
        while len(self._frames) > 1 and self._frames[-1][1] >= len(self._frames[-1][0]):
            self._frames.pop()

    def next(self) -> str | None:
        """Returns the next token: a control sequence, a special character, or a run of text."""
        self._drop_finished()
        text, position = self._frames[-1]
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        self._frames[-1] = (text, match.end())
        return match[0]

    def peek(self, chars: int = 1) -> str:
        """Returns the next characters of the innermost text that has any."""
        self._drop_finished()
        text, position = self._frames[-1]
        return text[position : position + chars]

    def skip_space(self) -> bool:
        """Skips blanks up to the end of the paragraph; tells whether there were any."""
        self._drop_finished()
        text, position = self._frames[-1]
        match = _SPACE.match(text, position)
        end = match.end() if match else position
        self._frames[-1] = (text, end)
        return end > position

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Consumes a pattern that stands right here, in the innermost text."""
        self._drop_finished()
        text, position = self._frames[-1]
        found = pattern.match(text, position)
        if found is not None:
            self._frames[-1] = (text, found.end())
        return found

    def star(self) -> bool:
        """Consumes a star that stands right here."""
        if self.peek() != "*":
            return False
        self._advance(1)
        return True

    def _advance(self, chars: int) -> None:
        text, position = self._frames[-1]
        self._frames[-1] = (text, position + chars)

    def argument(self) -> str:
        """Returns the next argument: a group's inside, or one token; empty at a paragraph's end."""
        self.skip_space()
        first = self.peek()
        if first == "{":
            return self._group()
        if first in ("", "}", "\n"):
            return ""
        if first == "\\":
            return self.next() or ""
        self._advance(1)
        return first

    def _group(self) -> str:
        text, position = self._frames[-1]
        depth = 0
        for match in _BRACE.finditer(text, position):
            if match[0] == "{":
                depth += 1
            elif match[0] == "}":
                depth -= 1
                if depth == 0:
                    self._frames[-1] = (text, match.end())
                    return text[position + 1 : match.start()]
        # Never closed: it ends with its paragraph or environment, so that one slip does not take
        # the document.
        blank = _GIVE_UP.search(text, position)
        end = blank.start() if blank else len(text)
        self._frames[-1] = (text, end)
        return text[position + 1 : end]

    def option(self) -> str | None:
        """Returns the inside of ``[...]`` if it comes next, else None."""
        before = list(self._frames)
        self.skip_space()
        text, position = self._frames[-1]
        if text[position : position + 1] == "[":
            depth = brackets = 0
            for match in _BRACKET.finditer(text, position, position + _MAX_OPTION_CHARS):
                if match[0] in "{}":
                    depth += 1 if match[0] == "{" else -1
                    if depth < 0:
                        break
                elif match[0] == "[" and depth == 0:
                    brackets += 1
                elif match[0] == "]" and depth == 0:
                    brackets -= 1
                    if brackets == 0:
                        self._frames[-1] = (text, match.end())
                        return text[position + 1 : match.start()]
        self._frames = before
        return None

    def until(self, delimiter: str) -> str:
        """Returns the text up to a delimiter outside groups, which is consumed."""
        self._drop_finished()
        text, position = self._frames[-1]
        depth, scan = 0, position
        while scan < len(text):
            if depth == 0 and text.startswith(delimiter, scan):
                self._frames[-1] = (text, scan + len(delimiter))
                return text[position:scan]
            if text[scan] == "\\":
                scan += 1
            elif text[scan] == "{":
                depth += 1
            elif text[scan] == "}":
                depth -= 1
                if depth < 0:
                    break
            elif text.startswith("\n\n", scan):
                break
            scan += 1
        return ""

    def raw_until(self, closing: str) -> str:
        """Returns the text up to a literal closing, which is consumed; all of it if none comes."""
        self._drop_finished()
        text, position = self._frames[-1]
        end = text.find(closing, position)
        if end < 0:
            self._frames[-1] = (text, len(text))
            return text[position:]
        self._frames[-1] = (text, end + len(closing))
        return text[position:end]

    def has(self, text: str) -> bool:
        """Tells whether the innermost text still holds a string."""
        self._drop_finished()
        source, position = self._frames[-1]
        return source.find(text, position) >= 0

    def skip_branch(self, names: frozenset[str], stop_at_else: bool) -> str:
        """Skips a conditional's branch; returns ``else``, ``fi``, or nothing if it never ends."""
        before = list(self._frames)
        depth = 0
        while True:
            self._drop_finished()
            text, position = self._frames[-1]
            for match in _CONDITIONAL.finditer(text, position):
                name = match[1]
                if name == "fi":
                    if depth == 0:
                        self._frames[-1] = (text, match.end())
                        return "fi"
                    depth -= 1
                elif name in ("else", "or"):
                    if depth == 0 and stop_at_else and name == "else":
                        self._frames[-1] = (text, match.end())
                        return "else"
                elif name not in names:
                    depth += 1
            if len(self._frames) == 1:
                self._frames = before
                return ""
            self._frames.pop()


_CONDITIONAL = re.compile(r"\\(if[A-Za-z]*|else|or|fi)(?![A-Za-z])")
