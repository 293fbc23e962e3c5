"""First pass over wikitext: templates, parameters and extension tags, as MediaWiki's preprocessor.

Links and braces nest on one stack, extension tags hide what is inside them, comments vanish.
Every character is looked at a bounded number of times whatever the input: an opening that never
closes stays text, nesting deeper than MAX_DEPTH is not followed, and a search for a closing tag
that failed once is not tried again. (mwparserfromhell, which tests use as a reference, backtracks:
10,000 unclosed templates take it half a minute.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from corpus.wikitext.wordlists import words

# MediaWiki stops at 40 as well; it also bounds the recursion of everything that walks the tree.
MAX_DEPTH = 40

# Tags whose content is not wikitext, or is not shown where it stands.
EXTENSION_TAGS = words(
    """
    categorytree ce charinsert chem gallery graph hiero imagemap includeonly indicator
    inputbox langconvert mapframe maplink math nowiki phonos poem pre ref references score
    section source syntaxhighlight templatedata templatestyles timeline
    """
)
_TOKEN = re.compile(
    # A link with nothing inside is one token: most of them are.
    r"\[\[[^\[\]{}<\n]*\]\]|<!--|<(?:"
    + "|".join(EXTENSION_TAGS)
    + r")(?=[\s/>])|\{{2,}|\}{2,}|\[\[|\]\]|\|",
    re.IGNORECASE,
)
_CLOSING = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in EXTENSION_TAGS}
_OPEN_REF = re.compile(r"<ref(?:\s[^<>]*)?(?<!/)>", re.IGNORECASE)


class LinkText(str):
    """A link without templates inside: text whose ``=`` and ``|`` belong to the link."""

    __slots__ = ()


@dataclass(slots=True)
class Template:
    """``{{name|part|part}}``; the first part is the name."""

    parts: list[list[Node]]


@dataclass(slots=True)
class Argument:
    """``{{{name|default}}}``, a template's parameter: on a page only its default shows."""

    parts: list[list[Node]]


@dataclass(slots=True)
class Link:
    """``[[…]]`` with other nodes inside."""

    nodes: list[Node]


@dataclass(slots=True)
class ExtensionTag:
    """``<name attributes>inner</name>``; ``inner`` is raw text, None for a self-closing tag."""

    name: str
    attributes: str
    inner: str | None


Node = str | Template | Argument | Link | ExtensionTag


@dataclass(slots=True)
class _Piece:
    """An opening on the stack; ``braces`` is 0 for a link."""

    braces: int
    parts: list[list[Node]] = field(default_factory=lambda: [[]])

    def add(self, node: Node) -> None:
        self.parts[-1].append(node)

    def flat(self) -> list[Node]:
        """The nodes of an opening that was never closed: plain text again."""
        nodes: list[Node] = ["{" * self.braces or "[["]
        for number, part in enumerate(self.parts):
            if number:
                nodes.append("|")
            nodes.extend(part)
        return nodes


class Scanner:
    """Reads one text into nodes; use :func:`scan`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._root = _Piece(0)
        self._stack: list[_Piece] = []
        self._open_braces = 0
        self._no_more_tag_ends = False
        # Start and end of the next closing tag of each name, so that it is looked for once.
        self._next_closing: dict[str, tuple[int, int]] = {}

    def scan(self) -> list[Node]:
        """Returns the nodes of the whole text."""
        text, match = self._text, _TOKEN.search(self._text)
        while match:
            start = match.start()
            if start > self._position:
                self._top().add(text[self._position : start])
            self._position = match.end()
            token = match.group()
            first = token[0]
            if first == "[" and len(token) > 2:
                self._top().add(LinkText(token))
            elif first == "|":
                self._bar()
            elif first == "{":
                self._open(len(token))
            elif first == "}":
                self._close_braces(len(token))
            elif token == "[[":
                self._open(0)
            elif token == "]]":
                self._close_link()
            elif token == "<!--":
                self._comment()
            else:
                self._tag(token[1:].lower())
            match = _TOKEN.search(text, self._position)
        self._top().add(text[self._position :])
        self._unwind(0)
        return self._root.parts[0]

    def _top(self) -> _Piece:
        return self._stack[-1] if self._stack else self._root

    def _bar(self) -> None:
        piece = self._top()
        if piece.braces:
            piece.parts.append([])
        else:
            piece.add("|")

    def _open(self, braces: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            # Links never closed must not switch templates off for the rest of the page.
            height = len(self._stack)
            while height and not self._stack[height - 1].braces:
                height -= 1
            self._unwind(height)
        if len(self._stack) >= MAX_DEPTH:
            self._top().add("{" * braces or "[[")
            return
        self._stack.append(_Piece(braces))
        self._open_braces += bool(braces)

    def _unwind(self, height: int) -> None:
        """Turns the openings above ``height`` on the stack back into text."""
        pieces, self._stack = self._stack[height:], self._stack[:height]
        target = self._top()
        for piece in pieces:
            self._open_braces -= bool(piece.braces)
            target.parts[-1].extend(piece.flat())

    def _close_braces(self, count: int) -> None:
        while count >= 2 and self._open_braces:
            # A link left open inside a template ends with the template.
            height = len(self._stack)
            while not self._stack[height - 1].braces:
                height -= 1
            self._unwind(height)
            piece = self._stack.pop()
            self._open_braces -= 1
            used = min(count, piece.braces, 3)
            node: Node = Template(piece.parts) if used == 2 else Argument(piece.parts)
            count -= used
            left = piece.braces - used
            if left >= 2:
                self._stack.append(_Piece(left))
                self._open_braces += 1
            elif left:
                self._top().add("{")
            self._top().add(node)
        if count:
            self._top().add("}" * count)

    def _close_link(self) -> None:
        piece = self._top()
        if not self._stack or piece.braces:
            piece.add("]]")
            return
        self._stack.pop()
        nodes = piece.parts[0]
        if all(isinstance(node, str) for node in nodes):
            inner = "".join(str(node) for node in nodes)
            self._top().add(LinkText(f"[[{inner}]]"))
        else:
            self._top().add(Link(nodes))

    def _comment(self) -> None:
        end = self._text.find("-->", self._position)
        start = self._position - 4
        self._position = len(self._text) if end < 0 else end + 3
        # A comment alone on its line takes the line with it, as in MediaWiki.
        line_start = start == 0 or self._text[start - 1] == "\n"
        if line_start and self._text.startswith("\n", self._position):
            self._position += 1

    def _tag(self, name: str) -> None:
        text = self._text
        end = -1 if self._no_more_tag_ends else text.find(">", self._position)
        if end < 0:
            self._no_more_tag_ends = True
            return
        attributes = text[self._position : end]
        self._position = end + 1
        if attributes.endswith("/"):
            self._top().add(ExtensionTag(name, attributes[:-1], None))
            return
        start, stop = self._closing_of(name)
        if start < 0:
            # The tag goes, what it would have held stays in sight.
            return
        if name == "ref" and _OPEN_REF.search(text, self._position, start):
            # A reference by name without its slash: what follows up to the next reference is text.
            return
        inner = text[self._position : start]
        self._position = stop
        self._top().add(ExtensionTag(name, attributes, inner))

    def _closing_of(self, name: str) -> tuple[int, int]:
        known = self._next_closing.get(name, (0, 0))
        if 0 <= known[0] < self._position:
            match = _CLOSING[name].search(self._text, self._position)
            known = match.span() if match else (-1, -1)
            self._next_closing[name] = known
        return known


def scan(text: str) -> list[Node]:
    """Reads wikitext into text, templates, parameters, links and extension tags.

    Args:
        text: wikitext.

    Returns:
        Nodes in order; text nodes keep everything this pass does not know.
    """
    return Scanner(text).scan()
