"""Reasoning told apart from the answer, while text is still coming.

AstroMLab 4, section 3: "the reasoning tokens are enclosed within <think> and </think> tags". A
block begins where an answer or a line begins; a tag named in the middle of a line is text. For
tokenizers without such tokens of their own (Llama 3 has none) the tags come in several pieces, so
this works on text.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

OPEN = "<think>"
CLOSE = "</think>"

Kind = Literal["reasoning", "answer"]


class Part(NamedTuple):
    """A piece of text, and what it is part of."""

    kind: Kind
    text: str


class ThinkSplitter:
    """Splits one answer's text into reasoning and answer as it arrives.

    Args:
        prefilled: the prompt ended with ``<think>``, so the text begins inside the reasoning.

    ``reasoning`` and ``answer`` hold what there was so far. Of an answer whose reasoning lacks the
    opening tag, what was taken for the answer becomes reasoning when the closing tag arrives.
    """

    def __init__(self, prefilled: bool = False) -> None:
        self.reasoning = ""
        self.answer = ""
        self._inside = prefilled
        self._seen_block = prefilled
        self._buffer = ""
        self._line_start = True  # only white space since the last line end
        self._skip_space = True  # at the start of a part

    @property
    def inside(self) -> bool:
        """Whether the text so far ends inside the reasoning."""
        return self._inside

    def feed(self, text: str) -> list[Part]:
        """Takes more text; returns the parts that are certain now."""
        self._buffer += text
        return self._drain(final=False)

    def finish(self) -> list[Part]:
        """Returns what was held back: half of a tag, as it turned out."""
        return self._drain(final=True)

    def _drain(self, final: bool) -> list[Part]:
        parts: list[Part] = []
        while self._buffer:
            place, tag = self._next_tag()
            if tag is None:
                keep = 0 if final else _half_tag(self._buffer)
                cut = len(self._buffer) - keep
                parts += self._emit(self._buffer[:cut])
                self._buffer = self._buffer[cut:]
                break
            parts += self._emit(self._buffer[:place])
            rest = self._buffer[place + len(tag) :]
            if not self._obey(tag):
                parts += self._emit(tag)
            self._buffer = rest
        return parts

    def _next_tag(self) -> tuple[int, str | None]:
        found = [(place, tag) for tag in (OPEN, CLOSE) if (place := self._buffer.find(tag)) >= 0]
        return min(found) if found else (len(self._buffer), None)

    def _obey(self, tag: str) -> bool:
        """Acts on a tag; False where it is plain text."""
        if tag == OPEN and not self._inside and self._line_start:
            self._inside = self._seen_block = self._skip_space = True
            return True
        if tag == CLOSE and self._inside:
            self._inside, self._skip_space, self._line_start = False, True, True
            return True
        if tag == CLOSE and not self._seen_block and OPEN not in self.answer:
            self.reasoning, self.answer = self.answer, ""
            self._seen_block = self._skip_space = self._line_start = True
            return True
        return False

    def _emit(self, text: str) -> list[Part]:
        if self._skip_space:
            text = text.lstrip()
        if not text:
            return []
        self._skip_space = False
        line = text.rpartition("\n")
        self._line_start = (bool(line[1]) or self._line_start) and not line[2].strip()
        if self._inside:
            self.reasoning += text
            return [Part("reasoning", text)]
        self.answer += text
        return [Part("answer", text)]


def split_reasoning(text: str, prefilled: bool = False) -> tuple[str, str]:
    """Returns (reasoning, answer) of a whole answer, both without white space around them.

    Args:
        text: what the model wrote.
        prefilled: the prompt ended with ``<think>``.
    """
    splitter = ThinkSplitter(prefilled)
    splitter.feed(text)
    splitter.finish()
    return splitter.reasoning.strip(), splitter.answer.strip()


def _half_tag(text: str) -> int:
    """Returns how many characters at the end may be the beginning of a tag."""
    for length in range(min(len(CLOSE) - 1, len(text)), 0, -1):
        end = text[-length:]
        if OPEN.startswith(end) or CLOSE.startswith(end):
            return length
    return 0
