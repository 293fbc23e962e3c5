"""What the passes over one page share: its title, what is already final, and template calls."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from corpus.wikitext.scan import ExtensionTag, LinkText, Node, Template

# Stands for text that later passes must not touch. XML cannot hold this character unescaped by
# accident: clean input has none, see cleanup.prepare.
MARK = "\x7f"
MARKER = re.compile(r"\x7f(\d+)\x7f")

# Templates may repeat an argument; nested, that would grow without end.
MAX_GROWTH = 8


@dataclass
class Final:
    """Text that is Markdown already.

    Args:
        text: what to put in the marker's place.
        kind: ``inline``; ``math`` (TeX without delimiters, inline or display by where it stands);
            ``display`` (TeX, always display); ``block`` (Markdown lines of its own).
    """

    text: str
    kind: str = "inline"


@dataclass
class Page:
    """State of one page's conversion."""

    title: str
    language: str
    expand: Callable[[list[Node], Page], str]
    render_inline: Callable[[str, Page], str]
    finals: list[Final] = field(default_factory=list)
    budget: int = 0
    unknown: dict[str, int] = field(default_factory=dict)

    def keep(self, text: str, kind: str = "inline") -> str:
        """Puts final text aside and returns its marker."""
        self.finals.append(Final(text, kind))
        return f"{MARK}{len(self.finals) - 1}{MARK}"

    def settle(self, text: str) -> str:
        """Returns ``text`` with markers replaced by what they stand for."""
        return MARKER.sub(lambda match: self._settled(int(match.group(1))), text)

    def _settled(self, number: int) -> str:
        if number >= len(self.finals):
            return ""
        final = self.finals[number]
        if final.kind == "math":
            return f"${final.text}$"
        return f"$${final.text}$$" if final.kind == "display" else final.text


class Call:
    """One use of a template: arguments are expanded when asked for, each at most once."""

    def __init__(self, page: Page, name: str, parts: list[list[Node]], block: bool) -> None:
        self.page = page
        self.name = name
        self.block = block
        self._nodes: dict[str, list[Node]] = {}
        self._texts: dict[str, str] = {}
        position = 0
        for part in parts:
            key, value = _split(part, page)
            if key is None:
                position += 1
                key = str(position)
            self._nodes[key] = value

    def get(self, key: int | str, default: str = "") -> str:
        """Returns an argument expanded and stripped; ``default`` where missing or empty."""
        name = str(key)
        if name not in self._texts:
            nodes = self._nodes.get(name)
            self._texts[name] = self.page.expand(nodes, self.page).strip() if nodes else ""
        return self._texts[name] or default

    def first(self, *keys: int | str) -> str:
        """Returns the first of the arguments that is not empty."""
        return next((text for key in keys if (text := self.get(key))), "")

    def has(self, key: int | str) -> bool:
        """Says whether an argument is given, even if empty."""
        return str(key) in self._nodes

    def keys(self) -> list[str]:
        """Names of all arguments in order; positional ones are numbers."""
        return list(self._nodes)

    def positional(self, start: int = 1) -> list[str]:
        """Returns the arguments numbered from ``start`` on, up to the last, expanded."""
        numbers = [int(key) for key in self._nodes if key.isdecimal() and len(key) < 5]
        # A number far off the end is a mistake, not a thousand empty arguments.
        last = max((n for n in numbers if n <= len(self._nodes) + 20), default=0)
        return [self.get(number) for number in range(start, last + 1)]

    def value(self, key: int | str) -> str:
        """Returns an argument as a reader sees it: no markup, but markers may be left."""
        return self.page.render_inline(self.get(key), self.page)

    def plain(self, key: int | str) -> str:
        """Returns an argument as final plain text."""
        return self.page.settle(self.value(key))


def _split(part: list[Node], page: Page) -> tuple[str | None, list[Node]]:
    for number, node in enumerate(part):
        # The equals sign of a link or a tag inside a positional argument is not the argument's.
        if isinstance(node, str) and not isinstance(node, LinkText) and "=" in node:
            before, _, after = node.partition("=")
            if "<" in before and ">" not in before[before.rindex("<") :]:
                return None, part
            key = page.expand([*part[:number], before], page).strip().lower()
            return key, [after, *part[number + 1 :]]
    return None, part


TemplateFunction = Callable[[Call], str]
REGISTRY: dict[str, TemplateFunction] = {}


def template(*names: str) -> Callable[[TemplateFunction], TemplateFunction]:
    """Registers a function under template names (lower case, redirects included)."""

    def register(function: TemplateFunction) -> TemplateFunction:
        for name in names:
            REGISTRY[name] = function
        return function

    return register


ExtensionFunction = Callable[[ExtensionTag, Page], str]

__all__ = [
    "MARKER",
    "MAX_GROWTH",
    "REGISTRY",
    "Call",
    "ExtensionFunction",
    "Page",
    "Template",
    "TemplateFunction",
    "template",
]
