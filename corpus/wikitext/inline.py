"""Inline markup: links, HTML tags, emphasis, entities.

Emphasis becomes plain text: bold marks the subject and italics names, which the words say as well.
Superscripts and subscripts take Unicode where every character has one (``10¹²``, ``H₂O``), else the
form TeX has taught every model (``T_{eff}``, ``x^{2k}``).
"""

from __future__ import annotations

import re

from corpus.wikitext.cleanup import decode_entities
from corpus.wikitext.page import Page
from corpus.wikitext.scan import MAX_DEPTH
from corpus.wikitext.wordlists import words

_LINK_TOKEN = re.compile(r"\[\[|\]\]|\n\n")
_TRAIL = re.compile(r"[a-zà-ÿ]+")
_EXTERNAL = re.compile(
    r"\[[ \t]*(?:(?:https?|ftps?|ircs?|git|gopher|telnet|svn|nntp)://|//|mailto:|news:|tel:)"
    r"[^\s\[\]<>\"]*+([^\[\]\n]*+)\]",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"'{2,}")
_SCRIPT = re.compile(r"<(su[bp])\b[^<>]*>([^<>]*)</\1\s*>", re.IGNORECASE)
_BREAK = re.compile(r"<br\b[^<>]*>|</br\s*>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:abbr|b|bdi|bdo|big|blockquote|caption|center|cite|code|data|dd|del|dfn|div|dl|dt|em|"
    r"font|h[1-6]|hr|i|img|ins|kbd|li|link|mark|meta|noinclude|nobr|nowiki|ol|onlyinclude|p|pre|q|"
    r"rb|ref|references|rp|rt|rtc|ruby|s|samp|section|small|source|span|strike|strong|su[bp]|"
    r"syntaxhighlight|table|tbody|td|tfoot|th|thead|time|tr|translate|tt|tvar|u|ul|var|wbr|math|"
    r"gallery|poem|includeonly|templatestyles|onlyinclude)\b[^<>]*>",
    re.IGNORECASE,
)
_DELETED = re.compile(r"<(s|del|strike)\b[^<>]*>[^<>]*</\1\s*>", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]")

INVISIBLE_PLUS = "\u2064"
_MIXED = re.compile(f"(\\d){INVISIBLE_PLUS}")

_SUPERSCRIPTS = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_SUBSCRIPTS = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_SUPERSCRIPT_CHARACTERS = frozenset("0123456789+-−=()n")
_SUBSCRIPT_CHARACTERS = frozenset("0123456789+-−=()")

# Raised only for looks.
_ORDINALS = frozenset(("st", "nd", "rd", "th", "er", "re", "ème", "ste"))

# Namespaces whose links show nothing: pictures and categories, in the larger Wikipedias' words.
_SILENT = frozenset(
    words(
        """
    file image media category fichier catégorie datei bild kategorie archivo imagen
    categoría immagine categoria ficheiro imagem bestand afbeelding categorie plik grafika
    файл изображение категория 文件 文件 分类 ファイル 画像 カテゴリ 파일 분류
        fil kategori tiedosto luokka
    soubor kategória kép fájl tập_tin thể_loại dosya fişier imagine зображення категорія
    датотека ملف تصنيف קובץ קטגוריה चित्र श्रेणी
    """
    )
)
# Prefixes of other projects; a link to another language shows nothing unless a colon leads.
_PROJECTS = frozenset(
    words(
        """
    wikt wiktionary w wikipedia s wikisource q wikiquote b wikibooks n wikinews v
    wikiversity species wikispecies d wikidata m meta c commons voy wikivoyage mw
    mediawiki special help portal template user talk wp project iarchive doi arxiv oeis
    """
    )
)
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,8}){0,2}|simple")


def superscript(text: str) -> str:
    """Returns ``text`` raised: ``²`` or ``^{…}``."""
    return _script(text, "^", _SUPERSCRIPT_CHARACTERS, _SUPERSCRIPTS)


def subscript(text: str) -> str:
    """Returns ``text`` lowered: ``₂`` or ``_{…}``."""
    return _script(text, "_", _SUBSCRIPT_CHARACTERS, _SUBSCRIPTS)


def _script(text: str, sign: str, known: frozenset[str], table: dict[int, int]) -> str:
    text = text.strip()
    if not text:
        return ""
    if sign == "^" and text in _ORDINALS:
        return text
    if all(character in known for character in text) and text not in ("(", ")"):
        return text.translate(table)
    if "{" in text or "}" in text:
        # Two braces in a row would read as the end of a template.
        return f"{sign}({text})"
    return f"{sign}{text}" if len(text) == 1 else f"{sign}{{{text}}}"


def resolve_links(text: str, page: Page) -> str:
    """Replaces internal links by what they show; a link never closed by its paragraph is text."""
    if "[[" not in text:
        return text
    # Each open link has its own list; what is outside links is the first.
    stack: list[list[str]] = [[]]
    position = 0
    for match in _LINK_TOKEN.finditer(text):
        start, token = match.start(), match.group()
        if start < position:
            continue
        stack[-1].append(text[position:start])
        position = match.end()
        if token == "[[":
            if len(stack) <= MAX_DEPTH:
                stack.append([])
        elif token == "]]" and len(stack) > 1:
            shown, gone = _shown("".join(stack.pop()), page)
            if not gone:
                trail = _TRAIL.match(text, position)
                if trail:
                    shown += trail.group()
                    position = trail.end()
            stack[-1].append(shown)
        elif token == "\n\n" and not _in_picture(stack):
            _flatten(stack)
            stack[-1].append(token)
        elif token != "]]":
            stack[-1].append(token)
    stack[-1].append(text[position:])
    _flatten(stack)
    return "".join(stack[0])


def _in_picture(stack: list[list[str]]) -> bool:
    # Only a caption may hold paragraphs.
    return len(stack) > 1 and bool(stack[1]) and _namespace(stack[1][0]) in _SILENT


def _flatten(stack: list[list[str]]) -> None:
    # A link never closed: its own text stays, a picture's parameters do not.
    for opened in stack[1:]:
        if opened and _namespace(opened[0]) not in _SILENT:
            stack[0].extend(opened)
    del stack[1:]


def _namespace(target: str) -> str:
    before, colon, _ = target.partition(":")
    return before.strip().lower().replace(" ", "_") if colon else ""


def _shown(inner: str, page: Page) -> tuple[str, bool]:
    """What a link shows, and whether it is of the kind that shows nothing."""
    target, bar, label = inner.partition("|")
    target = target.strip()
    leading_colon = target.startswith(":")
    target = target.lstrip(": ") if leading_colon else target
    space = _namespace(target)
    if space and not leading_colon:
        if space in _SILENT:
            return "", True
        if _LANGUAGE.fullmatch(space) and space not in _PROJECTS and not bar:
            rest = target.partition(":")[2]
            if not rest.startswith(" ") and space != page.language and space in _LANGUAGES:
                return "", True
    if bar:
        label = label.strip() if "\n" in label else label
        return (label, False) if label.strip() else (_pipe_trick(target), False)
    if "#" in target and not target.startswith("#"):
        title, _, section = target.partition("#")
        return f"{title} § {section}".replace("_", " "), False
    return target.lstrip("#").replace("_", " "), False


def _pipe_trick(target: str) -> str:
    if len(target) > 300:
        return target
    title = target.rpartition(":")[2] if ":" in target else target
    return re.sub(r"\s*\([^()]*\)$|,.*$", "", title).strip()


_LANGUAGES = frozenset(
    words(
        """
    af als am an ang ar arz as ast az ba bar be bg bn br bs ca ce ceb ckb cs cv cy da de
    el en eo es et eu fa fi fo fr fy ga gd gl gu he hi hr hsb ht hu hy ia id io is it ja
    jv ka kk kn ko ku ky la lb li lt lv mg mk ml mn mr ms my nap nds ne nl nn no oc or pa
    pl pms pnb ps pt qu ro ru sa sah scn sco sd se sh si simple sk sl so sq sr su sv sw ta
    te tg th tl tr tt uk ur uz vec vi vo wa war wuu xmf yi yo zh zh-yue zh-min-nan
    zh-classical
    """
    )
)


def plain_quotes(line: str) -> str:
    """Removes bold and italic marks of one line; an apostrophe next to them stays."""
    if "''" not in line:
        return line
    runs = [len(match.group()) for match in _QUOTES.finditer(line)]
    bold = sum(run in (3, 4) or run >= 5 for run in runs)
    italic = sum(run == 2 or run >= 5 for run in runs)
    # Odd counts of both mean that one run of three was an apostrophe and italics.
    spare = _apostrophe(line) if bold % 2 and italic % 2 else -1

    def replaced(match: re.Match[str]) -> str:
        count = len(match.group())
        if match.start() == spare or count == 4:
            return "'"
        return "'" * max(0, count - 5)

    return _QUOTES.sub(replaced, line)


def _apostrophe(line: str) -> int:
    spaced = single = multi = -1
    for match in _QUOTES.finditer(line):
        if len(match.group()) != 3:
            continue
        start = match.start()
        before, second = (
            line[start - 1 : start] if start else "",
            line[max(0, start - 2) : start - 1],
        )
        if before == " ":
            spaced = start if spaced < 0 else spaced
        elif second == " ":
            single = start if single < 0 else single
        else:
            multi = start if multi < 0 else multi
    return next((place for place in (single, multi, spaced) if place >= 0), -1)


def render_inline(text: str, page: Page, line_break: str = " ") -> str:
    """Returns inline wikitext as plain Markdown; markers stay for the caller to settle."""
    if "[" in text:
        text = _EXTERNAL.sub(lambda match: match.group(1).strip(), resolve_links(text, page))
    if "''" in text:
        text = "\n".join(plain_quotes(line) for line in text.split("\n"))
    if "<" in text:
        text = _BREAK.sub(line_break, text)
        text = _DELETED.sub("", text)
        for _ in range(3):
            text, count = _SCRIPT.subn(_raised_or_lowered, text)
            if not count:
                break
        text = _TAG.sub("", text)
    return unescape(text)


def _raised_or_lowered(match: re.Match[str]) -> str:
    inner = unescape(match.group(2))
    return superscript(inner) if match.group(1).lower() == "sup" else subscript(inner)


def unescape(text: str) -> str:
    """Returns text with entities resolved and every kind of space as one plain space."""
    text = decode_entities(text)
    if INVISIBLE_PLUS in text:
        text = _MIXED.sub(r"\1 ", text).replace(INVISIBLE_PLUS, "")
    if text.isascii():
        # Most text: nothing invisible in it, and rarely a run of spaces.
        return _SPACES.sub(" ", text) if "  " in text or "\t" in text else text
    return _SPACES.sub(" ", _INVISIBLE.sub("", text))
