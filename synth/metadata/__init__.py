"""Questions about papers' titles, dates, identifiers and first authors: AstroMLab 3, section III.1.

``names`` reads titles and authors as people write them, ``paper`` a document's row, ``wording`` the
file of templates, ``index`` what the whole corpus holds, ``made_up`` papers that it does not hold;
``questions`` puts them together and ``stage`` runs it.
"""
