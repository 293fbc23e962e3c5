"""Identifiers in running text, and links with a display of their own."""

from __future__ import annotations

from corpus.wikitext.page import REGISTRY, Call, template

_PREFIXES = {
    "isbn": "ISBN ", "issn": "ISSN ", "oclc": "OCLC ", "lccn": "LCCN ", "doi": "doi:",
    "arxiv": "arXiv:", "bibcode": "Bibcode:", "pmid": "PMID ", "pmc": "PMC ", "jstor": "JSTOR ",
    "mr": "MR ", "zbl": "Zbl ", "hdl": "hdl:", "s2cid": "S2CID ", "asin": "ASIN ", "rfc": "RFC ",
    "ietf rfc": "RFC ", "cas": "", "isbnt": "", "ecli": "", "unichar2": "",
    "catalog lookup link": "", "user-generated": "",
}  # fmt: skip


def _identifier(call: Call) -> str:
    if call.name == "arxiv":
        number = f"{call.get(1)}/{call.get(2)}" if call.get(2) else call.first(1, "id", "eprint")
        return f"arXiv:{number}" if number else ""
    text = call.first(1, "id")
    return f"{_PREFIXES[call.name]}{text}" if text else ""


for _name in _PREFIXES:
    REGISTRY[_name] = _identifier


@template("oeis", "oeis link", "oeis2c", "oeis2", "oeis el")
def _oeis(call: Call) -> str:
    number = call.first(1, "id")
    number = f"A{number.zfill(6)}" if number.isdecimal() and len(number) <= 6 else number
    return f"(sequence {number} in the OEIS)" if call.name == "oeis" else number


@template("url", "url2", "website", "official link", "plainlink", "plain link",
          "external link text", "plainlinks", "webarchive link")  # fmt: skip
def _url(call: Call) -> str:
    if call.name in ("plainlink", "plain link"):
        return call.first(2, "name")
    return call.first(2, 1)


@template("google books", "google maps", "worldcat", "worldcat id", "isni", "mathscinet",
          "mathworld", "springer", "springerlink", "planetmath", "in our time", "bbc online",
          "jpl small body", "jpl small-body database", "jplsbdb", "ads", "simbad", "gutenberg",
          "internet archive", "librivox", "iso 639", "youtube channel", "github", "sourceforge",
          "discogs", "allmusic", "cite gvp", "jpl", "mpc", "ned", "exoplanet", "aavso",
          "spacetrack", "nssdc", "cospar", "cia world factbook link", "library resources box",
          "geographic location", "bioguide", "nrhp", "gnis", "gnis4", "factbook", "openlibrary",
          "ol author", "ol book", "ol work", "osmrelation-inline", "osmrelation", "osmway",
          "wikiatlas", "nyttopic", "iau name", "snopes", "rotten tomatoes", "tcmdb", "ibdb",
          "isfdb name", "isfdb title", "goodreads", "metmuseum", "mathgenealogy", "mactutor",
          "mactutor biography", "scopus", "orcid", "gutenberg book", "world factbook", "usurped",
          "citation-attribution", "npg name", "uk national archives id", "nra", "art uk bio",
          "hansard-contribs", "pdb", "ec number")  # fmt: skip
def _elsewhere(call: Call) -> str:
    # Entries of "External links": where to look, not what to know.
    return ""


@template("eb1911", "1911", "cite eb1911", "catholic", "dnb", "schaff-herzog", "ane", "nie",
          "americana", "source attribution", "include-usgov", "dictionary of american",
          "fs1037c", "usgs", "include-nasa", "nasa", "citizendium", "planetmath attribution",
          "loc", "free-content attribution", "creative commons text attribution notice", "ccby",
          "gfdl")  # fmt: skip
def _attribution(call: Call) -> str:
    return ""


@template("tl text", "template text", "code template")
def _template_name(call: Call) -> str:
    return call.get(1)
