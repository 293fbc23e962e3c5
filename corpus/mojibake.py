"""``ftfy.fix_text`` with our options, at the speed of a scan where it has nothing to do.

ftfy repairs a text line by line, and on every line runs every repair. Most lines of a clean corpus
need none, and which ones might is decided here by one regular expression over the whole document:

* a single character that some repair replaces: quotes, ligatures, full-width forms, controls;
* what could be mojibake. ftfy's detector (``ftfy.badness``) never fires without two neighbouring
  characters of its own tables, or one of four letters: a test proves this on its parse tree;
* text that is not in NFC.

A line without any of them is returned as it is. A line with only single characters to replace gets
them replaced here, again and again as in ftfy until nothing changes. Only lines that really hold
mojibake, escape codes or broken surrogates go through ftfy. The result is always the same as
``ftfy.fix_text(text, FTFY)``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import ftfy
from ftfy import badness, chardata, fixes

FTFY = ftfy.TextFixerConfig(
    # `&lt;` is how Markdown writes a literal `<`, in code as in prose: unescaping would change what
    # is said. Sources that hold HTML are rendered by their readers.
    unescape_html=False,
    # Escape codes of terminals are never part of a document.
    remove_terminal_escapes=True,
    # Mojibake: the repair this is here for. The next four make it find more, and all work only on
    # lines that the detector of mojibake has fired on.
    fix_encoding=True,
    # "Ã " for "à": a space that was the non-breaking byte A0.
    restore_byte_a0=True,
    # "â€�" for a closing quote: bytes already lost become one "�" instead of three wrong letters.
    replace_lossy_sequences=True,
    # A page's header in one encoding, its body in another: repaired piece by piece.
    decode_inconsistent_utf8=True,
    # C1 controls are Windows-1252 read as Latin-1, as every browser holds.
    fix_c1_controls=True,
    # PDF fonts put ligatures into the text layer; a tokenizer should see the letters.
    fix_latin_ligatures=True,
    # Full-width Latin letters come from CJK fonts.
    fix_character_width=True,
    # One kind of quote, as in ftfy's default, which AstroMLab 4 used.
    uncurl_quotes=True,
    # One line end, so that everything after this may look for "\n" alone.
    fix_line_breaks=True,
    # UTF-8, so Parquet, cannot hold surrogates.
    fix_surrogates=True,
    # NUL and its like come from broken PDFs; tokenizers and JSON readers stumble over them.
    remove_control_chars=True,
    # NFC composes accents; NFKC would flatten superscripts in units and formulas.
    normalization="NFC",
    # ftfy's default: longer lines are repaired in pieces.
    max_decode_length=1_000_000,
    explain=False,
)

# All characters of the detector's tables but C1 controls, which count on their own.
_TABLES = "".join(v for name, v in badness.MOJIBAKE_CATEGORIES.items() if name != "c1")
_TABLES += "".join(sorted({c for c in badness.BADNESS_RE.pattern if c > "\x9f"}))
PAIR = re.compile(f"[{_TABLES}]{{2,}}|[ÃÂŒœ]")
"""Every match of ftfy's detector, short of C1 controls, holds a match of this."""
REACH = 8
"""Longest match of ftfy's detector, and one more."""
FOREIGN = re.compile("[\x80-\x9f\r\x1b\u2028\u2029\ud800-\udfff]")
"""What is left to ftfy: C1 controls, line ends, escape codes, surrogates."""

_OTHER = re.compile("[^\t\n\f -~]+")


def _replacements() -> dict[str, str]:
    """Returns what each single character becomes that one of ftfy's repairs replaces."""
    quotes = [0x2BC, *range(0x2018, 0x2020)]
    found = {}
    for code in (*chardata.LIGATURES, *chardata.WIDTH_MAP, *chardata.CONTROL_CHARS, *quotes):
        new = fixes.fix_character_width(fixes.fix_latin_ligatures(chr(code)))
        found[chr(code)] = fixes.remove_control_chars(fixes.uncurl_quotes(new))
    return {old: new for old, new in found.items() if old != new and not FOREIGN.match(old)}


_NEW = _replacements()
_SINGLE = re.compile(f"[{re.escape(''.join(_NEW))}]")


def _suspect(run: str) -> bool:
    return bool(_SINGLE.search(run) or PAIR.search(run) or FOREIGN.search(run))


# Most runs outside ASCII are one character.
_ONE = lru_cache(maxsize=4096)(_suspect)


def fix_text(text: str) -> str:
    """Returns what ``ftfy.fix_text(text, FTFY)`` returns."""
    composed = unicodedata.is_normalized("NFC", text)
    out: list[str] = []
    done = 0
    for run in _OTHER.finditer(text):
        if run.start() < done:
            continue
        chars = run.group()
        # Where something is not in NFC, every line outside ASCII is looked at.
        if composed and not (_ONE(chars) if len(chars) == 1 else _suspect(chars)):
            continue
        start = text.rfind("\n", done, run.start()) + 1 or done
        end = text.find("\n", run.start()) + 1 or len(text)
        out.append(text[done:start])
        out += [
            _fix_segment(text[at : min(at + FTFY.max_decode_length, end)])
            for at in range(start, end, FTFY.max_decode_length)
        ]
        done = end
    return "".join([*out, text[done:]]) if out else text


def _fix_segment(text: str) -> str:
    """Returns what ``ftfy.fix_text_segment(text, FTFY)`` returns."""
    while True:
        if FOREIGN.search(text) or _is_bad(text):
            fixed: str = ftfy.fix_text_segment(text, FTFY)
            return fixed
        fixed = unicodedata.normalize("NFC", _SINGLE.sub(_replace, text))
        if fixed == text:
            return text
        text = fixed


def _replace(match: re.Match[str]) -> str:
    return _NEW[match.group()]


def _is_bad(text: str) -> bool:
    """Returns what ``ftfy.badness.is_bad`` returns for a text without C1 controls."""
    return any(
        badness.BADNESS_RE.search(text, max(0, pair.start() - REACH), pair.end() + REACH)
        for pair in PAIR.finditer(text)
    )
