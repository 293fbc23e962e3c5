"""Templates around a piece of text: look, language, names, quotations."""

from __future__ import annotations

import re

from corpus.wikitext.page import REGISTRY, Call, template
from corpus.wikitext.wordlists import names

_FIRST = """
    nowrap, nobr, nowraplinks, no wrap, j, small, smaller, smalldiv, small div, big, larger,
    large, midsize, xx-small, x-small, xx-larger, huge, nobold, no bold, noitalic, noitalics,
    normal, nonbold, nobots text, allow wrap, wrap, sc, smallcaps, smallcaps all, small caps,
    sc2, sc1, scaps, aut, mono, monospaced, tt, code, codes, kbd, samp, var, mvar, math,
    bigmath, big math, em, strong, emphasis, bold, b, italic, italics, i, u, underline, ins,
    not a typo, typo, proper name, as written, as is, chem name, sic, visible anchor,
    vanchor, anchor text, vertical anchor, abbr, abbreviation, tooltip, abbrv, explain, define,
    iw2, iw, red link, not translated, ill2, interlanguage link/text, internal link helper/en,
    flag, flagu, flagcountry, flaglist, flagg, flag+link, flagathlete, flagmedalist, country,
    flagteam, section link text, display none text, serif, sans-serif, sans serif, font, script,
    polytonic, unicode, transl/text, asiantitle, linktext, lt, gloss text, hebrew,
    script/hebrew, script/arabic, script/cuneiform, script/greek, rl, crossref, crossreference
    text, nb, noitalic text, nihongo core, wj, lino, br separated, long link, text, plain text,
    titled, sup text, center, centre, centered, left, right, align center, float left, block
    indent, quote inline, inline quote,
    linear-gradient, first word, hover title text, highlight, mark, dfn, marked, fake heading,
    fakeheading, pseudoheading, pseudo-heading, subscriptlink, box, boxed, bluelink, to usd
    text, spanlink, start italics, cite quote text, keyboard, key press, keypress, key, button,
    bordered, textdiff, diff2, nonfree, nowrap begin text, language with name text, hiero,
    cuneiform, phagspa, glossary link text, angle bracket text, ruby-ja base, smallsup, nat,
    country flag, cr, cr2, fb, ct, bk, basketball, ih, rut, ru, ruw, fbw, nft, noflag, sort name
    text, bracket, stronglink, mbox text, sigfig text, wbrtext, longitem, nowrap2, no line
    break, unbreak, indent text
"""


def _first(call: Call) -> str:
    return call.get(1)


for _name in names(_FIRST):
    REGISTRY[_name] = _first


@template("lang", "langue", "lang-x", "wikt-lang", "script/lang", "langi")
def _lang(call: Call) -> str:
    return call.first(3, 2) if call.name == "wikt-lang" else call.first(2, "text")


@template("langx", "lang-x2")
def _langx(call: Call) -> str:
    name = "" if call.get("label") == "none" else _LANGUAGES.get(call.get(1).lower(), "")
    label = call.get("label") if call.get("label") not in ("", "none") else name
    text = call.first(2, "text")
    if not text:
        return ""
    transcription = call.first(3, "translit")
    meaning = call.first(4, "lit", "translation")
    extra = f", {transcription}" if transcription else ""
    extra += f", lit. ‘{meaning}’" if meaning else ""
    return f"{label}: {text}{extra}" if label else text + extra


_LANGUAGES = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali",
    "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gd": "Scottish Gaelic",
    "grc": "Ancient Greek", "grc-gre": "Greek", "gsw": "Swiss German", "haw": "Hawaiian",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian",
    "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian",
    "kk": "Kazakh", "ko": "Korean", "la": "Latin", "lt": "Lithuanian", "lv": "Latvian",
    "mi": "Māori", "mn": "Mongolian", "ms": "Malay", "mt": "Maltese", "nah": "Nahuatl",
    "nl": "Dutch", "nn": "Norwegian Nynorsk", "no": "Norwegian", "nb": "Norwegian Bokmål",
    "non": "Old Norse", "oc": "Occitan", "pl": "Polish", "pt": "Portuguese", "qu": "Quechua",
    "ro": "Romanian", "ru": "Russian", "sa": "Sanskrit", "sk": "Slovak", "sl": "Slovene",
    "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu",
    "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
    "yi": "Yiddish", "zh": "Chinese", "ang": "Old English", "akk": "Akkadian", "egy": "Egyptian",
}  # fmt: skip


def language_template(name: str) -> bool:
    """Says whether a template is one of the many ``lang-xx``."""
    return name.startswith("lang-") and len(name) < 16


def render_language(call: Call) -> str:
    """``{{lang-de|Text}}``: the language's name and the text."""
    code = call.name[5:]
    name = _LANGUAGES.get(code) or _LANGUAGES.get(code.partition("-")[0], "")
    text = call.first(1, "text")
    if not text:
        return ""
    transcription = call.first(2, "translit")
    meaning = call.first(3, "lit")
    extra = f", {transcription}" if transcription else ""
    extra += f", lit. ‘{meaning}’" if meaning else ""
    shown = call.get("label") != "none" and call.get("links") != "none" and name
    return f"{name}: {text}{extra}" if shown else text + extra


@template("transl", "transliteration", "xlit", "translit")
def _transliteration(call: Call) -> str:
    return call.first(3, 2)


@template("rtl-lang", "script/nastaliq", "nastaliq")
def _right_to_left(call: Call) -> str:
    return call.first(2, 1)


@template("ill", "interlanguage link", "illm", "link-interwiki", "interlanguage link multi")
def _interlanguage(call: Call) -> str:
    return call.first("lt", "text", 1)


@template("literal translation", "lit", "literally", "lit.")
def _literal(call: Call) -> str:
    return f"lit. ‘{call.get(1)}’"


@template("gloss", "single quote gloss")
def _gloss(call: Call) -> str:
    return f"‘{call.get(1)}’"


@template("nihongo", "nihongo2", "nihongo3", "nihongo krt")
def _nihongo(call: Call) -> str:
    parts = [part for part in (call.get(2), call.get(3), call.get(4)) if part]
    if call.name == "nihongo2":
        return call.get(1)
    if not call.get(1):
        return " ".join(parts)
    return f"{call.get(1)} ({', '.join(parts)})" if parts else call.get(1)


@template("zh", "chinese", "zh-cn", "lang-zh")
def _chinese(call: Call) -> str:
    names = {"c": "Chinese", "s": "simplified Chinese", "t": "traditional Chinese",
             "p": "pinyin", "w": "Wade–Giles", "j": "Jyutping", "l": "lit.",
             "first": ""}  # fmt: skip
    parts = [f"{name}: {call.get(key)}" for key, name in names.items() if name and call.get(key)]
    return "; ".join(parts) or call.get(1)


@template("korean", "lang-ko2", "ko-hhrm")
def _korean(call: Call) -> str:
    parts = [call.get(key) for key in ("hangul", "hanja", "rr", "mr") if call.get(key)]
    return "Korean: " + "; ".join(parts) if parts else call.get(1)


@template("abbrlink", "abbr link", "abbrv link", "font color link")
def _abbreviation_link(call: Call) -> str:
    return call.get(1)


@template("resize", "font size", "fs", "fontsize", "size")
def _resize(call: Call) -> str:
    return call.get(2) if call.has(2) else call.get(1)


@template("color", "colour", "fontcolor", "font color", "font colour", "text color",
          "colored text", "color text", "coloured text", "fgcolor", "bg", "background color",
          "bgcolor", "color sample text", "legend", "legend2", "legend inline", "legend-line",
          "legend-inline", "legend-col", "legend text", "color box text", "cell color",
          "hover title", "h:title", "rotate", "sort", "sortname2", "sorted",
          "diagonal split header2", "style", "lower", "raise", "vertical text2", "styled",
          "section styled", "wikicite text", "lsjump", "plainlink text",
          "style-inline")  # fmt: skip
def _last_text(call: Call) -> str:
    if call.name.startswith("legend") and call.block:
        # The key to a picture's colours.
        return ""
    return call.first(3, 2) if call.name.startswith("font") else call.first(2)


@template("as of", "asof")
def _as_of(call: Call) -> str:
    if call.get("alt"):
        return call.get("alt")
    from corpus.wikitext.dates import written_date

    words = "since" if call.get("since") else "as of"
    if not call.get("lc"):
        words = words.capitalize()
    if call.get("pre"):
        words += f" {call.get('pre')}"
    date = written_date(call.get(1), call.get(2), call.get(3), day_first=not call.get("mdy"))
    return f"{words} {date}{call.get('post')}" if date else words


@template("quote", "blockquote", "quotation", "bquote", "cquote", "quote box", "pull quote",
          "centered pull quote", "cquotation", "rquote", "block quote", "quotebox", "long quote",
          "imagequote", "zitat", "citation bloc", "citazione", "epigraph", "quote frame", "qq",
          "blockquotation", "verse")  # fmt: skip
def _quote(call: Call) -> str:
    text = call.first("text", "quote", "content", 1)
    if call.name == "rquote":
        text = call.get(2)
    by = [part for part in (call.first("author", "sign", "by", "cite"),
                          call.first("source", "title"))
          if part]  # fmt: skip
    if not by and call.name not in ("quote box", "quotebox", "rquote", "verse"):
        by = [part for part in (call.get(2), call.get(3)) if part and len(part) < 200]
    if not text:
        return ""
    return f"\n\n{text}" + (f"\n\n— {', '.join(by)}" if by else "") + "\n\n"


@template("poemquote", "poem quote", "poem", "verse translation")
def _poem(call: Call) -> str:
    text = call.first("text", 1)
    lines = "<br>\n".join(line.strip() for line in text.split("\n"))
    second = call.get(2) if call.name == "verse translation" else ""
    return f"\n\n{lines}\n\n" + (f"{second}\n\n" if second else "")


@template("hidden", "collapse", "collapsed", "collapsible list", "spoiler", "show")
def _hidden(call: Call) -> str:
    text = call.first("content", "text", 2)
    return f"\n\n{text}\n\n" if text else ""


@template("section link", "slink", "section")
def _section_link(call: Call) -> str:
    if call.get("nopage"):
        return f"§ {call.get(1)}"
    return f"{call.get(1)} § {call.get(2)}" if call.get(2) else f"§ {call.get(1)}"


@template("see above", "above", "see below", "below", "see")
def _see(call: Call) -> str:
    where = "above" if "above" in call.name else "below"
    return f"(see {call.get(1)} {where})" if call.get(1) else f"(see {where})"


@template("ship", "uss", "hms", "hmas", "hmcs", "rms", "ss", "mv", "ms", "rv", "sms", "usns",
          "usat", "hmnzs", "ins", "usc&gs", "usrc", "uscgc", "rrs", "sclass", "sclass2",
          "ussr ship", "ship class", "warship", "jds", "js", "gs", "hnoms", "hmt", "gts",
          "barque", "sclass-")  # fmt: skip
def _ship(call: Call) -> str:
    if call.name in ("sclass", "sclass2", "sclass-", "ship class"):
        kind = call.get(2)
        return f"{call.get(1)}-class {kind}".strip()
    if call.name == "ship":
        parts = [call.get(1), call.get(2)]
        return " ".join(part for part in parts if part)
    if call.name == "ins" and "\n" in call.get(1):
        return call.get(1)
    return f"{call.name.upper()} {call.get(1)}" if call.get(1) else ""


@template("jct", "airport codes", "iata", "post-nominals", "postnominals",
          "citation needed span", "cnspan", "cns", "dubious span", "clarify span",
          "disputed span", "fact span", "citation needed lead", "annotated link", "excerpt/text",
          "linkable text", "what span", "obsolete span")  # fmt: skip
def _spanned(call: Call) -> str:
    if call.name in ("jct", "airport codes", "iata", "post-nominals", "postnominals"):
        return ""
    return call.first("text", 1)


def _answer(call: Call) -> str:
    return call.first("text", 1) or _ANSWERS[call.name]


_ANSWERS = {
    "yes": "Yes", "yes2": "Yes", "y": "Yes", "ya": "Yes", "aye": "Yes", "tick": "Yes",
    "check": "Yes", "check mark": "Yes", "ok": "OK", "checkmark": "Yes", "no": "No", "no2": "No",
    "nay": "No", "na": "N/A", "n/a": "N/A", "n.a.": "N/A", "partial": "Partial",
    "partial2": "Partial", "maybe": "Maybe", "some": "Some", "unknown": "Unknown", "dunno": "?",
    "tba": "TBA", "tbd": "TBD", "none": "None", "success": "Success", "failure": "Failure",
    "partial success": "Partial success", "launch failure": "Failure", "won": "Won",
    "nom": "Nominated", "nominated": "Nominated", "pending": "Pending", "planned": "Planned",
    "active": "Active", "draw": "Draw", "cross": "No", "cancelled": "Cancelled",
    "included": "Included", "terminated": "Terminated", "x mark": "No",
    "proprietary": "Proprietary", "free": "Free", "open source": "Open source",
    "eliminated": "Eliminated", "operational": "Operational",
    "partial failure": "Partial failure", "terminated program": "Cancelled",
    "nonfree software": "Proprietary", "proposed": "Proposed", "usually": "Usually",
    "depends": "Depends", "varies": "Varies", "rarely": "Rarely", "good": "Good", "bad": "Bad",
    "sometimes": "Sometimes", "beta": "Beta", "cna": "—", "em dash cell": "—", "ended": "Ended",
    "en route": "En route", "ongoing": "Ongoing", "scheduled": "Scheduled", "not yet": "Not yet",
}  # fmt: skip
for _name in _ANSWERS:
    REGISTRY[_name] = _answer


@template("table cell templates", "center cell", "cell", "rh cell", "cellcenter", "perhaps")
def _cell(call: Call) -> str:
    return call.first("text", 1)


@template("excerpt", "transcluded section", "transcluding article", "transclude lead excerpt")
def _excerpt(call: Call) -> str:
    # The text lives on another page, which has its own document.
    return ""


@template("usd", "us$", "usdollar", "a$", "aud", "c$", "cad", "nz$", "hk$", "£", "gbp", "€",
          "euro", "eur", "¥", "jpy", "cny", "rmb", "inr", "₹", "rupee", "inrconvert", "chf",
          "sek", "nok", "currency", "indian rupee", "₩", "₽", "indian rupees")  # fmt: skip
def _money(call: Call) -> str:
    symbols = {"usd": "US$", "us$": "US$", "usdollar": "US$", "a$": "A$", "aud": "A$", "c$": "C$",
               "cad": "C$", "nz$": "NZ$", "hk$": "HK$", "£": "£", "gbp": "£", "€": "€",
               "euro": "€", "eur": "€", "¥": "¥", "jpy": "¥", "cny": "CN¥",
               "rmb": "CN¥"}  # fmt: skip
    symbol = symbols.get(call.name, "₹" if "r" in call.name or call.name == "₹" else call.name)
    if call.name == "currency":
        symbol = call.get(2)
    elif call.name in ("chf", "sek", "nok"):
        symbol = call.name.upper() + " "
    elif call.name in ("₩", "₽"):
        symbol = call.name
    tail = {"k": " thousand", "m": " million", "b": " billion", "c": " crore", "l": " lakh"}
    scale = tail.get(call.get(2).lower(), "") if call.name == "inrconvert" else ""
    return f"{symbol}{call.get(1)}{scale}"


_PRICE = re.compile(r"[\d,.]+")


@template("inflation", "format price", "formatprice", "to usd", "tousd")
def _price(call: Call) -> str:
    # What a price is worth today changes every year; the sum itself is in the text around it.
    text = call.get(1)
    if call.name in ("format price", "formatprice") and _PRICE.fullmatch(text):
        return text
    return ""


@template("excl", "ruby", "ruby-ja", "ruby-zh-p")
def _ruby(call: Call) -> str:
    return f"{call.get(1)} ({call.get(2)})" if call.get(2) else call.get(1)


@template("sortname", "sort name")
def _sort_name(call: Call) -> str:
    return f"{call.get(1)} {call.get(2)}".strip()


@template("flagicon link", "flaglink", "flagright")
def _flag_link(call: Call) -> str:
    return call.first(2, 1)


@template("bibleverse", "bible verse", "bibleref", "bibleref2", "bible")
def _bible(call: Call) -> str:
    return f"{call.get(1)} {call.get(2)}".strip()


@template("ipa", "ipa link", "ipalink", "ipaslink", "ipablink", "ipaplink", "ipa2", "ipa-text",
          "ipaalink", "ipa-all", "ipa alink", "ipa blink", "ipa slink", "h:ipa")  # fmt: skip
def _phonetic(call: Call) -> str:
    # With a language code it tells how the article's subject is pronounced; else it is the text.
    if call.get(2) and call.name == "ipa":
        return ""
    left, right = {"ipas": ("/", "/"), "ipab": ("&#91;", "&#93;")}.get(call.name[:4], ("", ""))
    return f"{left}{call.get(1)}{right}" if call.get(1) else ""


@template("block indent", "bi", "blockindent", "block indented", "indented", "in5", "mathblock",
          "indented block")  # fmt: skip
def _indented(call: Call) -> str:
    return f"\n\n:{call.first('text', 1).lstrip()}\n\n" if call.first("text", 1) else ""


@template("harvtxt", "harv", "harvnb", "harvcoltxt", "harvcol", "harvcolnb", "harvp")
def _harvard(call: Call) -> str:
    """A reference by author and year as it stands in a sentence."""
    parts = [part for part in call.positional() if part]
    if len(parts) < 2:
        return ""
    year, authors = parts[-1], parts[:-1]
    who = ", ".join(authors[:-1]) + " & " + authors[-1] if len(authors) > 1 else authors[0]
    if call.name.endswith("txt"):
        return f"{who} ({year})"
    return f"{who} {year}" if call.name.endswith("nb") else f"({who} {year})"


@template("vol.", "vol", "volume", "no.", "pp.", "p.", "page")
def _numbered_part(call: Call) -> str:
    names = {"vol": "Vol.", "volume": "Vol.", "page": "p."}
    return f"{names.get(call.name, call.name)} {call.get(1)}".strip() if call.get(1) else ""
