"""arXiv records: which are kept, which are rejected and why."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.recipe.corpus import ARAA_DOI, ARAA_JOURNAL_REF, ArxivSource
from core.rejects import Reason, Reject
from corpus.arxiv import created, read_paper
from corpus.documents import Document, documents_table

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


def _read(
    root: Path, changes: dict[str, Any] | bytes, **source: Any
) -> tuple[Document | None, Reject | None]:
    _put(root / "pdf", "0704.0001.pdf")
    line = changes if isinstance(changes, bytes) else json.dumps({**RECORD, **changes}).encode()
    return read_paper(line, "meta.jsonl@7", _source(**source), root)


def _kept(root: Path, changes: dict[str, Any] | bytes, **source: Any) -> Document:
    document, reject = _read(root, changes, **source)
    assert reject is None
    assert document is not None
    documents_table([document])  # it can be written
    return document


def _rejected(root: Path, changes: dict[str, Any] | bytes, **source: Any) -> Reject:
    document, reject = _read(root, changes, **source)
    assert document is None
    assert reject is not None
    return reject


def test_a_kept_paper(tmp_path: Path) -> None:
    assert _kept(tmp_path, {}) == Document(
        doc_id="arxiv:0704.0001",
        source="arxiv",
        title="Dust between the stars",
        license="http://creativecommons.org/licenses/by/4.0/",
        created=date(2007, 4, 2),
        url="https://arxiv.org/abs/0704.0001",
        meta={
            "authors": "A. Author",
            "categories": "astro-ph.GA hep-ph",
            "doi": "10.1000/1",
            "journal_ref": "ApJ 1, 2",
            "file": "pdf/0704.0001.pdf",
        },
    )


# --- Categories


@pytest.mark.parametrize(
    "categories", ["astro-ph", "astro-ph.GA", "hep-ph astro-ph.CO", "gr-qc", "math.DG gr-qc"]
)
def test_any_wanted_category_keeps_a_paper(tmp_path: Path, categories: str) -> None:
    _kept(tmp_path, {"categories": categories})


@pytest.mark.parametrize(
    "categories", ["hep-ph", "astro-phx", "physics.astro-ph", "", None, ["astro-ph"], 5]
)
def test_excluded_category(tmp_path: Path, categories: Any) -> None:
    reject = _rejected(tmp_path, {"categories": categories})
    assert (reject.doc_id, reject.reason) == ("arxiv:0704.0001", Reason.EXCLUDED_CATEGORY)
    assert reject.text == "Dust between the stars"


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
        b'{"id": "0704.00001v2"}',
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
            document, _ = _read(tmp_path, f'{record[:-1]}, "{key}": {nested}}}'.encode())
            if document is not None:
                documents_table([document])


def test_escaped_halves_of_surrogate_pairs_are_replaced(tmp_path: Path) -> None:
    document = _kept(tmp_path, {"title": "x \ud83d", "authors": "\udc00"})
    row = documents_table([document]).to_pylist()[0]
    assert row["title"] == "x ?"


@pytest.mark.parametrize("key", ["authors", "title", "doi", "journal-ref", "license", "versions"])
def test_a_missing_or_odd_value_does_not_matter(tmp_path: Path, key: str) -> None:
    without = {k: v for k, v in RECORD.items() if k != key}
    _kept(tmp_path, json.dumps(without).encode())
    for value in (None, 5, float("nan"), ["x"], {"a": 1}):
        _kept(tmp_path, {key: value})


def test_missing_pdf(tmp_path: Path) -> None:
    reject = _rejected(tmp_path, {"id": "0704.0002"})
    assert (reject.doc_id, reject.reason) == ("arxiv:0704.0002", Reason.MISSING_PDF)
    assert reject.detail == "no PDF below pdf"


def test_windows_line_ends(tmp_path: Path) -> None:
    _kept(tmp_path, json.dumps(RECORD).encode() + b"\r\n")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    _kept(tmp_path, b"\xef\xbb\xbf" + json.dumps(RECORD).encode())
