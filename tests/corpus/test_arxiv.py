"""arXiv records: which are kept, which are rejected and why."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.recipe.sources import ARAA_DOI, ARAA_JOURNAL_REF, ArxivSource
from core.rejects import Reason, Reject
from corpus.arxiv import ArxivReader, created, excluded_ids
from corpus.entries import Entry, entries_table, read_entries

RECORD: dict[str, Any] = {
    "id": "0704.0001",
    "authors": "A. Author",
    "title": "Dust between\n  the stars",
    "categories": "astro-ph.GA hep-ph",
    "doi": "10.1000/1",
    "journal-ref": "ApJ 1, 2",
    "license": "http://creativecommons.org/licenses/by/4.0/",
    "versions": [
        {"version": "v1", "created": "Mon, 2 Apr 2007 23:59:59 GMT"},
        {"version": "v2", "created": "Tue, 3 Jun 2008 10:00:00 GMT"},
    ],
    "update_date": "2009-01-01",
}


def _source(**changes: Any) -> ArxivSource:
    return ArxivSource(kind="arxiv", metadata="meta.jsonl", pdfs="pdf", **changes)


def _put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"%PDF")


def _read(root: Path, changes: dict[str, Any] | bytes, **source: Any) -> Entry | Reject:
    _put(root / "pdf", "0704.0001.pdf")
    line = changes if isinstance(changes, bytes) else json.dumps({**RECORD, **changes}).encode()
    return ArxivReader(_source(**source), 0, root).read(line, "meta.jsonl@7")


def _kept(root: Path, changes: dict[str, Any] | bytes, **source: Any) -> Entry:
    entry = _read(root, changes, **source)
    assert isinstance(entry, Entry)
    (again,) = read_entries(entries_table([entry]))  # it can be written and read back
    assert again.doc_id == entry.doc_id
    return entry


def _rejected(root: Path, changes: dict[str, Any] | bytes, **source: Any) -> Reject:
    reject = _read(root, changes, **source)
    assert isinstance(reject, Reject)
    return reject


def test_a_kept_paper(tmp_path: Path) -> None:
    assert _kept(tmp_path, {}) == Entry(
        doc_id="arxiv:0704.0001",
        source="arxiv",
        number=0,
        kind="pdf",
        file="pdf/0704.0001.pdf",
        title="Dust between the stars",
        license="http://creativecommons.org/licenses/by/4.0/",
        created=date(2007, 4, 2),
        url="https://arxiv.org/abs/0704.0001",
        meta={
            "authors": "A. Author",
            "categories": "astro-ph.GA hep-ph",
            "doi": "10.1000/1",
            "journal_ref": "ApJ 1, 2",
            "abstract": None,
        },
    )


# --- Categories


@pytest.mark.parametrize(
    "categories",
    [
        *("astro-ph", "astro-ph.GA", "hep-ph astro-ph.CO", "gr-qc", "math.DG gr-qc"),
        # As data sets made from the snapshot have them.
        *(["hep-ph", "astro-ph.CO"], ["hep-ph astro-ph.CO"]),
    ],
)
def test_any_wanted_category_keeps_a_paper(tmp_path: Path, categories: Any) -> None:
    kept = _kept(tmp_path, {"categories": categories}).meta["categories"]
    assert kept == (categories if isinstance(categories, str) else "hep-ph astro-ph.CO")


@pytest.mark.parametrize(
    "categories", ["hep-ph", "astro-phx", "physics.astro-ph", "", None, ["hep-ph"], [5, None], 5]
)
def test_excluded_category(tmp_path: Path, categories: Any) -> None:
    reject = _rejected(tmp_path, {"categories": categories})
    assert (reject.doc_id, reject.reason) == ("arxiv:0704.0001", Reason.EXCLUDED_CATEGORY)
    assert reject.text == "Dust between the stars"


def test_without_cross_lists_only_the_first_category_counts(tmp_path: Path) -> None:
    _kept(tmp_path, {"categories": "gr-qc hep-ph"}, cross_listed=False)
    reject = _rejected(tmp_path, {"categories": "hep-ph gr-qc"}, cross_listed=False)
    assert reject.reason is Reason.EXCLUDED_CATEGORY


# --- Licences


@pytest.mark.parametrize(
    ("licenses", "stated", "kept"),
    [
        (None, None, True),
        (["*creativecommons.org/*"], "http://creativecommons.org/licenses/by/4.0/", True),
        (["*creativecommons.org/*"], "http://arxiv.org/licenses/nonexclusive-distrib/1.0/", False),
        (["*creativecommons.org/*"], None, False),
        (["*creativecommons.org/*", "none"], None, True),
        (["none"], "http://creativecommons.org/licenses/by/4.0/", False),
    ],
)
def test_allowed_licences(
    tmp_path: Path, licenses: list[str] | None, stated: str | None, kept: bool
) -> None:
    if kept:
        _kept(tmp_path, {"license": stated}, licenses=licenses)
    else:
        reject = _rejected(tmp_path, {"license": stated}, licenses=licenses)
        assert reject.reason is Reason.EXCLUDED_LICENSE
        assert reject.detail == f"license: {stated or 'none stated'}"


# --- Exclusion lists


def test_listed_ids_are_left_out_and_the_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.txt").write_text("# reviews\n\narXiv:0704.0001v3  # this one\n0704.0005\n")
    reject = _rejected(tmp_path, {}, exclude_ids=["no.txt"])
    assert (reject.reason, reject.detail) == (Reason.EXCLUDED_ID, "listed in no.txt")


def test_a_list_of_ids_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.txt").write_text("0704.0001\nCrab nebula\n")
    with pytest.raises(InputError, match="Crab nebula") as error:
        excluded_ids([("no.txt", tmp_path / "no.txt")])
    assert error.value.where == "no.txt, line 2"
    with pytest.raises(InputError, match="cannot read"):
        excluded_ids([("gone.txt", tmp_path / "gone.txt")])


# --- Withdrawn papers are flagged


@pytest.mark.parametrize(
    ("record", "flagged"),
    [
        ({"comments": "This paper has been withdrawn by the author due to an error"}, True),
        ({"comments": "Withdrawn"}, True),
        ({"abstract": "  This paper is withdrawn\n"}, True),
        ({"comments": "12 pages; gas is withdrawn from the disc"}, False),
        ({"comments": None}, False),
    ],
)
def test_withdrawn(tmp_path: Path, record: dict[str, Any], flagged: bool) -> None:
    assert _kept(tmp_path, record).meta.get("withdrawn", False) is flagged


# --- Dates


def test_the_day_is_the_first_versions() -> None:
    assert created(RECORD) == date(2007, 4, 2)


@pytest.mark.parametrize(
    "versions",
    [
        None,
        [],
        {},
        [{}],
        [None],
        [{"created": None}],
        [{"created": 5}],
        [{"created": []}],
        [{"created": ""}],
        [{"created": "no date"}],
        [{"created": "Mon, 32 Apr 2007 10:00:00 GMT"}],
        [{"created": "Mon, 2 Apr 99999 10:00:00 GMT"}],
        [{"created": "Mon, 2 Apr 99999999999 10:00:00 GMT"}],
        [{"created": "Mon, 2 Apr 2007 10:00:00 +99999999999999999999"}],
    ],
)
def test_a_paper_without_a_date_is_outside_any_window_and_inside_none(
    tmp_path: Path, versions: Any
) -> None:
    assert _kept(tmp_path, {"versions": versions}).created is None
    for window in ({"created_from": date(1990, 1, 1)}, {"created_until": date(2030, 1, 1)}):
        reject = _rejected(tmp_path, {"versions": versions}, **window)
        assert reject.reason is Reason.OUTSIDE_DATE_WINDOW


@pytest.mark.parametrize(
    ("first", "last", "inside"),
    [
        (date(2007, 4, 2), None, True),
        (date(2007, 4, 3), None, False),
        (None, date(2007, 4, 2), True),
        (None, date(2007, 4, 1), False),
        (date(2007, 4, 2), date(2007, 4, 2), True),
        (date(2007, 1, 1), date(2024, 1, 31), True),
        (date(2008, 1, 1), date(2009, 1, 1), False),
    ],
)
def test_the_window_includes_both_ends(
    tmp_path: Path, first: date | None, last: date | None, inside: bool
) -> None:
    window = {"created_from": first, "created_until": last}
    if inside:
        _kept(tmp_path, {}, **window)
    else:
        reject = _rejected(tmp_path, {}, **window)
        assert (reject.reason, reject.detail) == (
            Reason.OUTSIDE_DATE_WINDOW,
            "created 2007-04-02",
        )


# --- The benchmark's source


@pytest.mark.parametrize(
    "journal_ref",
    [
        "ARA&A 47",
        "ARA&A47:481-522,2009",
        "ARA & A, vol. 48, p. 47",
        "ARA\\&A 50, 531",
        "ARA&amp;A 50, 531",
        "1972ARA&A..10..335P",
        "ARAA, 33, 19",
        "ARAA33:19",
        "araa 33, 19",
        "ARA+A 33",
        "ARA and A, 33",
        "Annu. Rev. Astron. Astrophys. 2009",
        "Annu.Rev.Astron.Astrophys. 52 (2014) 415-486",
        "Ann.Rev.Astron.Astrophys.41:1-2,2003",
        "Ann. Rev. Astron. & Astrophys. 45, 441",
        "Ann. Rev. Astr. Ap.",
        "Ann. Rev. Astro. Astrophys. 44",
        "Ann Rev Astron Astrophys 12",
        "ANN. REV. ASTRON. ASTROPHYS. 12",
        "Ann. Rev. A&A 45",
        "Annual Review of Astronomy and Astrophysics, vol. 40",
        "Annual Reviews of Astronomy & Astrophysics 2012",
        "Annual Review Astronomy Astrophysics",
        "Annual Rev. of Astron. and Astrophys., vol 1",
        "Annual Reviews in Astronomy and Astrophysics",
        "To appear in the Annual Review of\n Astronomy and Astrophysics",
        "Annu. Rev., Astron. Astrophys. 3",
    ],
)
def test_spellings_of_the_review_journal(tmp_path: Path, journal_ref: str) -> None:
    reject = _rejected(tmp_path, {"journal-ref": journal_ref})
    assert reject.reason is Reason.EXCLUDED_REVIEW
    assert reject.detail.startswith(f"journal-ref '{journal_ref}' matches ")


@pytest.mark.parametrize(
    "journal_ref",
    [
        "Ann. Rev. Nucl. Part. Sci. 60, 405",
        "Annu. Rev. Earth Planet. Sci. 2012",
        "Annual Review of Nuclear and Particle Science",
        "Ann.Rev.Fluid Mech. 12",
        "Annual Review of Applied Mathematics",
        "Annals Phys. 1",
        "Annalen der Physik, astronomical supplement",
        "Annals of Applied Probability 2008",
        "A&A 47, 1",
        "A&ARv 18, 67",
        "Astron. Astrophys. Rev. 12, 1",
        "Astron. Astrophys. 400, 1",
        "The Astronomy and Astrophysics Review",
        "Rev. Mex. Astron. Astrofis. 40",
        "Astronomical Review 2",
        "Phys.Rev.D75:094017,2007",
        "Living Rev. Relativity",
        "ARAAB 5",
        "Tiara & Astrolabe",
        "PARAA 3",
        "Highlights of Astronomy, ara 3",
        "",
    ],
)
def test_other_journals_are_kept(tmp_path: Path, journal_ref: str) -> None:
    _kept(tmp_path, {"journal-ref": journal_ref})


@pytest.mark.parametrize(
    ("doi", "review"),
    [
        ("10.1146/annurev-astro-081710-102602", True),
        ("10.1146/annurev.astro.46.060407.145243", True),
        ("10.1146/annurev.aa.31.090193.001245", True),
        ("10.1000/1 10.1146/ANNUREV-ASTRO-1", True),
        ("10.1146/annurev-nucl-102010-130059", False),
        ("10.1146/annurev.fl.12.010180", False),
        ("10.1051/0004-6361/2009", False),
    ],
)
def test_dois_of_the_review_journal(tmp_path: Path, doi: str, review: bool) -> None:
    if review:
        assert _rejected(tmp_path, {"doi": doi}).reason is Reason.EXCLUDED_REVIEW
        _kept(tmp_path, {"doi": doi}, exclude_doi=None)
    else:
        _kept(tmp_path, {"doi": doi})


def test_the_rules_can_be_switched_off(tmp_path: Path) -> None:
    _kept(tmp_path, {"journal-ref": "ARA&A 47"}, exclude_journal_ref=None)
    assert re.compile(ARAA_DOI)
    assert re.compile(ARAA_JOURNAL_REF)


# --- Broken records


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "0704.0001"',
        b"not json",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b"[1, 2]",
        b"{}",
        b'{"id": null}',
        b'{"id": 704.0001}',
        b'{"id": "../../etc/passwd"}',
        b'{"id": "astro-ph/../9901001"}',
        b'{"id": "0704.0001\\n"}',
        b'{"id": "0704.00001w2"}',
        '{"id": "٠٧٠٤.٠٠٠١"}'.encode(),
        b'{"id": "0704.0001", "n": ' + b"1" * 5000 + b"}",
        b'{"id": "0704.0001", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_malformed_record(tmp_path: Path, line: bytes) -> None:
    reject = _rejected(tmp_path, line)
    assert (reject.doc_id, reject.reason) == ("meta.jsonl@7", Reason.MALFORMED_RECORD)
    assert reject.detail
    assert reject.text is not None
    assert line.decode().startswith(reject.text)
    assert len(reject.text) <= 2000


@pytest.mark.parametrize("line", [b'{"id": "0704.0001", "title": "caf\xe9"}', b"\xff\xfe{}\x00"])
def test_invalid_utf8(tmp_path: Path, line: bytes) -> None:
    reject = _rejected(tmp_path, line)
    assert (reject.doc_id, reject.reason) == ("meta.jsonl@7", Reason.INVALID_UTF8)
    assert reject.text == repr(line)


def test_every_depth_of_nesting_is_kept_or_rejected(tmp_path: Path) -> None:
    for depth in (10, *range(900, 1010)):
        for key in ("authors", "categories", "versions", "id", "extra"):
            nested = "[" * depth + "]" * depth
            record = json.dumps({k: v for k, v in RECORD.items() if k != key})
            entry = _read(tmp_path, f'{record[:-1]}, "{key}": {nested}}}'.encode())
            if isinstance(entry, Entry):
                entries_table([entry])


def test_escaped_halves_of_surrogate_pairs_are_replaced(tmp_path: Path) -> None:
    entry = _kept(tmp_path, {"title": "x \ud83d", "authors": "\udc00"})
    row = entries_table([entry]).to_pylist()[0]
    assert row["title"] == "x ?"


@pytest.mark.parametrize("key", ["authors", "title", "doi", "journal-ref", "license", "versions"])
def test_a_missing_or_odd_value_does_not_matter(tmp_path: Path, key: str) -> None:
    without = {k: v for k, v in RECORD.items() if k != key}
    _kept(tmp_path, json.dumps(without).encode())
    for value in (None, 5, float("nan"), ["x"], {"a": 1}):
        _kept(tmp_path, {key: value})


def test_a_version_in_the_id_is_not_part_of_it(tmp_path: Path) -> None:
    assert _kept(tmp_path, {"id": "0704.0001v2"}).doc_id == "arxiv:0704.0001"


def test_latex_is_read_first_and_the_pdf_stands_by(tmp_path: Path) -> None:
    _put(tmp_path / "tex", "0704.0001.tar.gz")
    entry = _kept(tmp_path, {}, latex="tex")
    assert (entry.kind, entry.file, entry.fallback) == (
        "latex",
        "tex/0704.0001.tar.gz",
        "pdf/0704.0001.pdf",
    )
    reject = _rejected(tmp_path, {"id": "0704.0009"}, latex="tex")
    assert reject.detail == "no readable PDF below pdf, no readable LaTeX source below tex"


def test_missing_pdf(tmp_path: Path) -> None:
    reject = _rejected(tmp_path, {"id": "0704.0002"})
    assert (reject.doc_id, reject.reason) == ("arxiv:0704.0002", Reason.MISSING_PDF)
    assert reject.detail == "no readable PDF below pdf"


def test_windows_line_ends(tmp_path: Path) -> None:
    _kept(tmp_path, json.dumps(RECORD).encode() + b"\r\n")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    _kept(tmp_path, b"\xef\xbb\xbf" + json.dumps(RECORD).encode())
