"""Second pass: templates, parser functions and extension tags become flat wikitext.

As in MediaWiki, a template gives wikitext that the later passes read with the text around it.
A template nobody taught us follows a rule: alone on its lines it is a box or a notice and goes;
in a sentence its first argument stays if it reads like text.
"""

from __future__ import annotations

import re

from corpus.wikitext.drops import is_dropped
from corpus.wikitext.extension import render_tag
from corpus.wikitext.functions import parser_function
from corpus.wikitext.page import REGISTRY, Call, Page
from corpus.wikitext.scan import Argument, ExtensionTag, Link, Node, Template
from corpus.wikitext.text_templates import language_template, render_language

_SPACES = re.compile(r"[\s_]+")
_PREFIX = re.compile(r"^(?:(?:subst|safesubst|msgnw|msg|raw|template|t)\s*:\s*)+", re.IGNORECASE)
# Longer first arguments are whole passages, shorter ones without a letter parameters.
_LONGEST_INLINE_CHARS = 400


# How far to look for what shares the line with a template.
_NEIGHBOURS = 20


def expand(nodes: list[Node], page: Page, top: bool = False) -> str:
    """Returns flat wikitext of nodes; ``top`` where they are the page and not an argument."""
    out: list[str] = []
    for number, node in enumerate(nodes):
        if isinstance(node, str):
            out.append(node)
        elif isinstance(node, Template):
            out.append(_charged(_template(node, page, top and _alone(nodes, number)), page))
        elif isinstance(node, Link):
            out.append(f"[[{expand(node.nodes, page)}]]")
        elif isinstance(node, ExtensionTag):
            out.append(render_tag(node, page))
        elif isinstance(node, Argument) and len(node.parts) > 1:
            out.append(expand(node.parts[1], page))
    return "".join(out)


def _charged(text: str, page: Page) -> str:
    page.budget -= len(text)
    return text if page.budget >= 0 else ""


def _template(node: Template, page: Page, block: bool) -> str:
    raw_name = expand(node.parts[0], page)
    name = _PREFIX.sub("", _SPACES.sub(" ", raw_name).strip())
    result = parser_function(name, node.parts, page)
    if result is not None:
        return result
    name = name.lower()
    if not name or len(name) > 200:
        return ""
    function = REGISTRY.get(name)
    if function is None and language_template(name):
        function = render_language
    if function is None and is_dropped(name):
        return ""
    call = Call(page, name, node.parts[1:], block)
    if function is not None:
        return function(call)
    page.unknown[name] = page.unknown.get(name, 0) + 1
    return "" if block else _unknown(call)


def _alone(nodes: list[Node], number: int) -> bool:
    """Whether nothing but templates stands on the lines of this node."""
    for node in reversed(nodes[max(0, number - _NEIGHBOURS) : number]):
        if isinstance(node, str):
            before = node.rstrip(" \t")
            if before:
                if not before.endswith("\n"):
                    return False
                break
        elif not isinstance(node, Template):
            return False
    for node in nodes[number + 1 : number + 1 + _NEIGHBOURS]:
        if isinstance(node, str):
            after = node.lstrip(" \t")
            if after:
                return after.startswith("\n")
        elif not isinstance(node, Template):
            return False
    return True


def _unknown(call: Call) -> str:
    text = call.get(1)
    readable = any(character.isalpha() for character in text)
    if not readable or len(text) > _LONGEST_INLINE_CHARS or "\n" in text:
        return ""
    return text
