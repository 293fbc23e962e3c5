"""Wikitext to Markdown.

What a model should read of an article stays: prose, headings, lists, tables, formulas as TeX,
quantities with their uncertainties, conversions, chemistry. What only serves a web page goes:
references, boxes, navigation, pictures with their captions, maintenance notices, sections of links.

Rules that hold everywhere:

- The text begins with ``# Title``; sections are ``##`` and deeper.
- Bold and italics become plain text.
- ``<math>`` is ``$…$``, or ``$$…$$`` where it is displayed or stands alone on an indented line.
- Superscripts and subscripts are Unicode where every character has a form (``10¹²``, ``H₂O``), else
  as TeX writes them (``T_{eff}``).
- Tables are Markdown tables: cells over several rows repeat, headers in several rows are joined.
- A template not known here stays with its first argument inside a sentence and goes elsewhere.
"""

from corpus.wikitext.render import render_article

__all__ = ["render_article"]
