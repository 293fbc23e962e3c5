"""Wikitext to Markdown, in MediaWiki's own order of passes.

::

    wikitext ─ scan ─ expand ──────────── resolve_links ─ BlockReader ───────── keep_sections ─ text
               │      templates, parser   over the whole  tables, lists,        references,
               │      functions, tags     page            paragraphs, headings  empty ones go
               └ a tree of templates      flat wikitext   Markdown blocks

Templates give wikitext, which the later passes read in its place, so that a table begun in one
template and ended in another, or a list inside a template inside a cell, come out as on the page.
"""

from __future__ import annotations

from corpus.wikitext import templates as _templates  # noqa: F401  registers them
from corpus.wikitext.blocks import BlockReader, html_to_wikitext
from corpus.wikitext.cleanup import prepare
from corpus.wikitext.expand import expand
from corpus.wikitext.inline import render_inline, resolve_links
from corpus.wikitext.page import MAX_GROWTH, Page
from corpus.wikitext.scan import scan
from corpus.wikitext.sections import keep_sections, levelled


def render_article(wikitext: str, title: str, language: str = "en") -> str:
    """Renders an article as Markdown for training a language model.

    Args:
        wikitext: the page's source.
        title: the page's name; it becomes the first line, ``# Title``.
        language: code of the Wikipedia it comes from.

    Returns:
        Markdown; only the title line where the page has no text of its own.
    """
    return render_page(wikitext, title, language)[0]


def render_page(wikitext: str, title: str, language: str = "en") -> tuple[str, Page]:
    """As :func:`render_article`, with the page's state: templates nobody taught us, counted."""
    source = prepare(wikitext)
    page = Page(title, language, expand, render_inline)
    page.budget = MAX_GROWTH * len(source) + 100_000
    flat = expand(scan(source), page, top=True)
    flat = resolve_links(html_to_wikitext(flat), page)
    blocks = keep_sections(BlockReader(page, flat.split("\n")).read())
    return "\n\n".join([f"# {title}", *levelled(blocks)]) + "\n", page
