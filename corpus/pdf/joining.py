"""Pages of Markdown become one text with page spans, paragraphs whole over page breaks.

A paragraph that a page leaves unfinished goes on in the next page's first paragraph. Figures,
tables and footnotes at the foot of the one page or the head of the other stand between the two
halves in print; they are moved before the first or after the second, so that every page's text
stays one piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corpus.pdf.hyphens import SearchedWords, Vocabulary, join_cut_word


@dataclass(frozen=True)
class ReadPage:
    """A page as some method read it.

    Args:
        number: counted from 1.
        text: its Markdown; empty where nothing could be read.
        method: ``textlayer``, ``nougat``, ...
        quality: 0 to 1 as the method measures it; None: it does not.
    """

    number: int
    text: str
    method: str
    quality: float | None


_CAPTION = re.compile(
    r"[*_]{0,3}(?:extended data |supplementary )?"
    r"(?:fig(?:ure)?s?|tab(?:le)?s?|plates?|schemes?|algorithms?|listings?|box(?:es)?)"
    r"\.?[\s*_]{0,4}(?:[a-z]{0,2}\.?\d{1,3}[a-z]?|[ivxlc]{1,6})\b"
    # A paragraph of text may begin "Figure 1 shows": a caption has a mark or a capital there.
    r"[*_]{0,3}(?:\s?[.:|—–*_]|\s*\Z|\s+(?-i:[A-Z(]))",
    re.IGNORECASE,
)
_STRUCTURE = re.compile(r"#{1,6} |[-*+] |\d{1,3}[.)] |\||\$\$|\\\[|\\begin|```|!\[|\[\^|>|<|---")
_FOOTNOTE = re.compile(r"\[\^|\^\{")
_FLOAT = re.compile(r"\||\\begin\{(?:table|figure|tabular|algorithm)|!\[")
_CLOSERS = "\"'”’»)]}*_$"
_FINAL = ".!?:"
_ABBREVIATION = re.compile(
    r"(?:\b(?:et al|e\.g|i\.e|cf|vs|figs?|eqs?|eqn|secs?|sect|refs?|tabs?|no|vol|pp?|approx|viz|"
    r"ca|dr|prof|st|app|ch)|(?-i:\b[A-Z]))\.\Z",
    re.IGNORECASE,
)
_MIN_WORDS = 4


def join_pages(pages: Sequence[ReadPage]) -> tuple[str, list[dict[str, Any]]]:
    """Joins pages into one document.

    Args:
        pages: in order; numbers need not be consecutive.

    Returns:
        The Markdown, and one span (:data:`core.schema.PAGE`) per page. The separators between pages
        (a blank line, or a space where a paragraph goes on) belong to no page.
    """
    words: list[Vocabulary] = []
    blocks = [_blocks(page.text) for page in pages]
    joints = [""] * len(pages)
    previous: int | None = None
    for number, page_blocks in enumerate(blocks):
        if not page_blocks:
            continue
        if previous is not None:
            joints[number] = _connect(blocks[previous], page_blocks, pages, words)
        previous = number
    parts: list[str] = []
    spans: list[dict[str, Any]] = []
    position = 0
    for page, page_blocks, joint in zip(pages, blocks, joints, strict=True):
        text = "\n\n".join(page_blocks)
        parts += [joint, text]
        position += len(joint)
        spans.append(
            {
                "page": page.number,
                "start_char": position,
                "end_char": position + len(text),
                "method": page.method,
                "quality": page.quality,
            }
        )
        position += len(text)
    return "".join(parts), spans


def is_caption(block: str) -> bool:
    """Says whether a paragraph is the caption of a figure or table."""
    return _CAPTION.match(block) is not None


def unfinished(text: str) -> bool:
    """Says whether a paragraph stops inside a sentence."""
    bare = text.rstrip().rstrip(_CLOSERS)
    if not bare:
        return False
    return bare[-1] not in _FINAL or _ABBREVIATION.search(bare[-12:]) is not None


def goes_on(head: str, tail: str) -> bool:
    """Says whether ``tail`` is the rest of the unfinished paragraph ``head``."""
    if not unfinished(head):
        return False
    first = tail.lstrip("\"'“‘«([{*_$")[:1]
    if not first:
        return False
    if first.islower() or head.endswith("-"):
        return True
    if len(head.split()) < _MIN_WORDS:
        return False
    # A capital goes on where the sentence cannot have ended: after a comma or inside a phrase.
    end = head[-1]
    if end in ",;(-–—" or end.islower() or end.isdigit():
        return True
    return _ABBREVIATION.search(head[-12:]) is not None


def _blocks(text: str) -> list[str]:
    return [block.strip("\n") for block in re.split(r"\n[ \t]*\n", text) if block.strip()]


def _is_prose(block: str) -> bool:
    return _STRUCTURE.match(block) is None and not is_caption(block)


def _is_float(block: str) -> bool:
    return is_caption(block) or _FLOAT.match(block) is not None


def _connect(
    before: list[str], after: list[str], pages: Sequence[ReadPage], words: list[Vocabulary]
) -> str:
    """Joins the last paragraph of a page with the first of the next; returns what goes between.

    Both lists are changed in place: floats and footnotes move out of the paragraph's way, and a
    hyphen at the end of the first half goes. ``words`` holds the vocabulary of the pages once it
    was needed.
    """
    last = len(before) - 1
    while last >= 0 and (_is_float(before[last]) or _FOOTNOTE.match(before[last])):
        last -= 1
    first = 0
    while first < len(after) and _is_float(after[first]):
        first += 1
    if last < 0 or first == len(after):
        return "\n\n"
    head, tail = before[last], after[first]
    if not ((_is_prose(head) or _is_list_item(head)) and _is_prose(tail)):
        return "\n\n"
    if not goes_on(head, tail):
        return "\n\n"
    if last < len(before) - 1:
        before.append(before.pop(last))
    if first:
        after.insert(0, after.pop(first))
    if not _is_cut(head):
        return " "
    if not words:
        words.append(SearchedWords(page.text for page in pages))
    if len(join_cut_word(head, tail, words[0])) < len(head) + len(tail):
        before[-1] = head[:-1]
    return ""


def _is_list_item(block: str) -> bool:
    return re.match(r"[-*+] |\d{1,3}[.)] ", block) is not None and "\n" not in block


def _is_cut(head: str) -> bool:
    return len(head) > 1 and head[-1] == "-" and head[-2].isalpha()
