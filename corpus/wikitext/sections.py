"""Sections: which of them hold only references and links, and which are empty."""

from __future__ import annotations

import re

from corpus.wikitext.blocks import Block
from corpus.wikitext.wordlists import names

# Always references, links or navigation.
_APPARATUS = frozenset(
    names(
        """
    references, reference, external links, external link, see also, further reading, notes,
    footnotes, bibliography, sources, citations, works cited, references and notes, notes and
    references, literature, notes and citations, general references, general and cited
    references, citations and references, references and further reading, further reading and
    external links, literature cited, cited sources, cited references, external links and
    references, references and external links, endnotes, explanatory notes, notelist, general
    bibliography, sources and further reading, selected bibliography, cited literature, cited
    works, primary sources, secondary sources, additional reading, web links, weblinks, related
    links, links, informational notes, inline citations, specific references, sources and
    references, bibliography and references, einzelnachweise, literatur, siehe auch, quellen,
    anmerkungen, belege, références, notes et références, voir aussi, liens externes,
    bibliographie, annexes, articles connexes, référence, sources et références, referencias,
    enlaces externos, véase también, bibliografía, notas, notas y referencias, note,
    bibliografia, voci correlate, altri progetti, collegamenti esterni, referências, ligações
    externas, ver também, referenties, zie ook, externe links, bronnen, literatuur, przypisy,
    zobacz też, linki zewnętrzne, примечания, литература, ссылки, см. также, источники, 参考文献,
    外部链接, 外部連結, 参见, 參見, 脚注, 注釈, 出典, 関連項目, 外部リンク, 注释,
    각주, 같이 보기, 외부 링크, 참고 문헌, referenser, noter,
    se även, externa länkar, källor, kilder, eksterne lenker, se også, eksterne henvisninger,
    lähteet, aiheesta muualla, katso myös, viitteet, externí odkazy, související články,
    jegyzetek, források, további információk, lásd még, kaynakça, dış bağlantılar, ayrıca
    bakınız
"""
    )
)
# Titles that may head real text as well: kept where it is not a list of works or links.
_AMBIGUOUS = frozenset(("sources", "literature", "links", "notes", "quellen", "note", "notas"))
_PROSE_CHARS = 200
_NUMBERED = re.compile(r"^[\d.]+\s*")


def is_apparatus(title: str) -> bool:
    """Says whether a section's title promises nothing but references or links."""
    return _NUMBERED.sub("", title).strip(" :*'").lower() in _APPARATUS


def _is_prose(text: str) -> bool:
    return len(text) >= _PROSE_CHARS and not text.startswith(("- ", "1. ", "| ")) and ". " in text


def keep_sections(blocks: list[Block]) -> list[Block]:
    """Returns the blocks without sections of references and without empty sections."""
    kept: list[Block] = []
    dropped_level = 0
    for number, block in enumerate(blocks):
        if block.level:
            if dropped_level and block.level > dropped_level:
                continue
            dropped = is_apparatus(block.text) and not _keeps_text(blocks, number)
            dropped_level = block.level if dropped else 0
        if not dropped_level:
            kept.append(block)
    return _without_empty(kept)


def _keeps_text(blocks: list[Block], heading: int) -> bool:
    if blocks[heading].text.strip(" :").lower() not in _AMBIGUOUS:
        return False
    following = blocks[heading + 1 : heading + 2]
    return bool(following) and not following[0].level and _is_prose(following[0].text)


def _without_empty(blocks: list[Block]) -> list[Block]:
    kept: list[Block] = []
    # From the end: a heading stays if text or a deeper heading that stayed follows it.
    for block in reversed(blocks):
        if block.level and (not kept or (kept[-1].level and kept[-1].level <= block.level)):
            continue
        kept.append(block)
    kept.reverse()
    return kept


def levelled(blocks: list[Block]) -> list[str]:
    """Returns the blocks as Markdown, headings with their number signs below the title's one."""
    return [
        f"{'#' * max(2, block.level)} {block.text}" if block.level else block.text
        for block in blocks
    ]
