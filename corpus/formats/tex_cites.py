"""Citations as the text that a reader of the paper sees: (Smith et al. 2020)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from corpus.formats.tex_stream import Stream

if TYPE_CHECKING:
    from corpus.formats.tex_engine import Engine

_ENTRY = re.compile(r"@\s*(\w+)\s*[{(]\s*([^\s,{}()]+)\s*,")
_FIELD = re.compile(r"[,\s](author|editor|year|date|shortauthor|collaboration)\s*=\s*", re.I)
_BIBITEM = re.compile(r"\\bibitem\b")
_YEAR = re.compile(r"(?:1[6-9]|20)\d\d[a-z]?")
_MAX_BIB_CHARS = 30_000_000


def read_bib(text: str) -> dict[str, tuple[str, str]]:
    """Returns (authors, year) by key from BibTeX entries."""
    found: dict[str, tuple[str, str]] = {}
    text = text[:_MAX_BIB_CHARS]
    entries = list(_ENTRY.finditer(text))
    for number, entry in enumerate(entries):
        if entry[1].lower() in ("comment", "string", "preamble"):
            continue
        end = entries[number + 1].start() if number + 1 < len(entries) else len(text)
        fields: dict[str, str] = {}
        body = text[entry.end() - 1 : min(end, entry.end() + 50_000)]
        for match in _FIELD.finditer(body):
            fields.setdefault(match[1].lower(), _value(body, match.end()))
        year = _YEAR.search(fields.get("year") or fields.get("date") or "")
        names = fields.get("shortauthor") or fields.get("author") or fields.get("collaboration")
        names = names or fields.get("editor") or ""
        if names.strip():
            found[entry[2]] = (_short_names(names), year[0] if year else "")
    return found


def _value(text: str, start: int) -> str:
    if text[start : start + 1] == "{":
        return Stream(text[start:]).argument()
    if text[start : start + 1] == '"':
        depth = 0
        for position in range(start + 1, len(text)):
            if text[position] in "{}":
                depth += 1 if text[position] == "{" else -1
            elif text[position] == '"' and depth == 0:
                return text[start + 1 : position]
        return ""
    bare = re.compile(r"[^,}\n]*").match(text, start)
    return bare[0].strip() if bare else ""


def _short_names(names: str) -> str:
    """Returns authors as the natbib author-year styles print them."""
    people = [p.strip() for p in re.split(r"\s+and\s+", re.sub(r"\s+", " ", names)) if p.strip()]
    surnames = [_surname(p) for p in people]
    if len(surnames) == 1:
        return surnames[0]
    if len(surnames) == 2 and surnames[1].lower() not in ("others", "et al."):
        return f"{surnames[0]} \\& {surnames[1]}"
    return f"{surnames[0]} et al."


def _surname(person: str) -> str:
    if person.startswith("{") and person.endswith("}") and "," not in person:
        return plain(person)
    if "," in person:
        # A comma inside a group belongs to the name.
        return plain(Stream(person + ",").until(",") or person.split(",")[0])
    words = Stream(person)
    last = re.split(r"[\s~]+(?![^{]*\})", person)
    del words
    start = len(last) - 1
    while start > 1 and last[start - 1][:1].islower():
        start -= 1
    if start == 1 and last[0][:1].islower():
        start = 0
    return plain(" ".join(last[start:]))


_KEPT_COMMANDS = re.compile(
    r"""\\(['"`^~=.](?=[{\\A-Za-z])|[cvuHkrdb](?=[\s{])|[oOlLiIj](?![A-Za-z])|(?:ss|ae|AE|oe|OE|aa|AA|&)(?![A-Za-z]))"""
)


def plain(text: str) -> str:
    """Returns a name without fonts and groups; accents stay as they are, pandoc knows them."""
    text = text.replace("~", " ").replace("\n", " ")
    parts, position = [], 0
    for match in re.finditer(r"\\(?:[A-Za-z]+|.)", text):
        parts.append(text[position : match.start()])
        kept = _KEPT_COMMANDS.match(text, match.start())
        name = match[0][1:]
        if kept is not None:
            parts.append(match[0])
        elif name == ",":
            parts.append(" ")
        position = match.end()
    parts.append(text[position:])
    return _balanced(re.sub(r"\s+", " ", "".join(parts)).strip())


def _balanced(text: str) -> str:
    # Groups matter to accents only: \'{e}; the rest would print as nothing anyway.
    if text.count("{") == text.count("}"):
        return text
    return text.replace("{", "").replace("}", "")


def read_bbl(text: str) -> dict[str, tuple[str, str]]:
    """Returns (authors, year) by key from a formatted bibliography."""
    found: dict[str, tuple[str, str]] = {}
    starts = [m.end() for m in _BIBITEM.finditer(text)]
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        item = Stream(text[start : min(end, start + 5_000)])
        label = item.option()
        key = re.sub(r"\s+", "", item.argument())
        pair = _label(label) if label else None
        if pair and key:
            found[key] = pair
    found |= _biblatex(text)
    return found


def _label(label: str) -> tuple[str, str] | None:
    label = re.sub(r"\\(?:protect|citenamefont|bibfnamefont|bibinfo|text)\b", "", label)
    if "\\citeauthoryear" in label:
        stream = Stream(label[label.index("\\citeauthoryear") + 15 :])
        groups = [g for g in (stream.argument() for _ in range(3)) if g]
        if len(groups) >= 2:
            return plain(groups[-2]), plain(groups[-1])
    label = re.sub(r"\\(?:natexlab|emph|em|it)\b", "", label)
    label = label.replace("{", "").replace("}", "") if not _accented(label) else label
    year = _YEAR.search(label)
    if year is None:
        return None
    names = plain(label[: year.start()].rstrip(" (,~")).rstrip(" (,")
    return (names, year[0]) if names else None


def _accented(label: str) -> bool:
    return re.search(r"\\(?:[^A-Za-z\s,&]|[cvuHk][{\s])", label) is not None


def _biblatex(text: str) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for entry in re.split(r"\\entry\s*(?=\{)", text)[1:]:
        key = Stream(entry).argument().strip()
        family = [
            plain(n) for n in re.findall(r"family=\{([^\n]*?)\},?\s*(?:%|\n)", entry[:20_000])
        ]
        year = re.search(r"\\field\{year\}\{(\d{4})\}", entry)
        if family:
            pair = {1: family[0], 2: " \\& ".join(family[:2])}
            found[key] = (pair.get(len(family), f"{family[0]} et al."), year[1] if year else "")
    return found


def from_key(key: str) -> tuple[str, str] | None:
    """Returns (author, year) where a citation key spells them, as ``smith2020`` does."""
    match = re.fullmatch(
        r"([A-Za-z][A-Za-z'-]{2,24}?)(?:_?etal)?[:_+.-]?((?:19|20)\d\d)[a-z]?.*", key
    )
    if match is None or re.match(r"(?i)(paper|ref|apj|aap|mnras|arxiv|cite|bib)$", match[1]):
        return None
    name = "-".join(p[:1].upper() + p[1:] for p in match[1].split("-"))
    return name, match[2]


_TEXTUAL = frozenset(["citet", "textcite", "citen", "citeasnoun", "citealias", "citetalias"])
_BARE = frozenset(
    ["citealt", "citealp", "onlinecite", "citepalias", "shortcite", "citeyearnp", "citenum"]
)


def cite_text(
    command: str, keys: str, before: str | None, after: str | None, engine: Engine, full: bool
) -> str:
    """Returns what a citation prints.

    Args:
        command: such as ``citep``.
        keys: between the braces.
        before: first note, as in "(see ...".
        after: second note, as in "..., Section 3)".
        engine: knows the bibliography and numbers the rest.
        full: a starred command.
    """
    del full
    kind = command.lower()
    names = [k for k in (re.sub(r"\s+", "", part) for part in keys.split(",")) if k]
    if not names:
        return ""
    if kind.endswith("alias"):
        alias = engine.facts.get(f"alias {names[0]}")
        if alias:
            return alias[0] if kind == "citetalias" else f"({alias[0]})"
    pairs = [engine.citations.get(k) or from_key(k) for k in names]
    if kind in ("citeauthor", "citefullauthor"):
        return ", ".join(
            p[0] if p else f"[{_number(k, engine)}]" for k, p in zip(names, pairs, strict=True)
        )
    if kind.startswith("citeyear"):
        years = ", ".join(p[1] for p in pairs if p) or "n.d."
        return f"({years})" if kind == "citeyearpar" else years
    if all(p is None for p in pairs) or kind == "supercite":
        return _numbers(names, before, after, engine)
    textual = kind in _TEXTUAL or (kind == "cite" and engine.textual_cite)
    if textual:
        return _textual(names, pairs, before, after, engine)
    inside = _joined(names, pairs, engine)
    inside = f"{before} {inside}" if before else inside
    inside = f"{inside}, {after}" if after else inside
    return inside if kind in _BARE else f"({inside})"


def _textual(
    names: list[str],
    pairs: list[tuple[str, str] | None],
    before: str | None,
    after: str | None,
    engine: Engine,
) -> str:
    parts = []
    for number, (key, pair) in enumerate(zip(names, pairs, strict=True)):
        note = f", {after}" if after and number == len(names) - 1 else ""
        lead = f"{before} " if before and number == 0 else ""
        if pair is None:
            parts.append(f"[{lead}{_number(key, engine)}{note}]")
        elif pair[1]:
            parts.append(f"{pair[0]} ({lead}{pair[1]}{note})")
        else:
            parts.append(pair[0] + note)
    return ", ".join(parts)


def _joined(names: list[str], pairs: list[tuple[str, str] | None], engine: Engine) -> str:
    parts: list[str] = []
    last = ""
    for key, pair in zip(names, pairs, strict=True):
        if pair is None:
            parts.append(f"[{_number(key, engine)}]")
            last = ""
        elif pair[0] == last and pair[1]:
            parts[-1] += f", {pair[1]}"
        else:
            parts.append(" ".join(p for p in pair if p))
            last = pair[0]
    return "; ".join(parts)


def _number(key: str, engine: Engine) -> int:
    return engine.cited.setdefault(key, len(engine.cited) + 1)


def _numbers(names: list[str], before: str | None, after: str | None, engine: Engine) -> str:
    inside = ", ".join(str(_number(k, engine)) for k in names)
    inside = f"{before} {inside}" if before else inside
    return f"{{[}}{inside}, {after}]" if after else f"{{[}}{inside}]"
