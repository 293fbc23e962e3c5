"""Rows that leave the data keep a reason, a detail and their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from core.schema import REJECT


class Reason(StrEnum):
    """Why a row was rejected. One word per idea; the detail column has the particulars."""

    MALFORMED_RECORD = "malformed_record"
    INVALID_UTF8 = "invalid_utf8"
    UNREADABLE_FILE = "unreadable_file"
    DUPLICATE_ID = "duplicate_id"
    EXCLUDED_CATEGORY = "excluded_category"
    EXCLUDED_ID = "excluded_id"
    EXCLUDED_REVIEW = "excluded_review"
    EXCLUDED_LICENSE = "excluded_license"
    OUTSIDE_DATE_WINDOW = "outside_date_window"
    MISSING_PDF = "missing_pdf"
    PDF_ENCRYPTED = "pdf_encrypted"
    PDF_CORRUPT = "pdf_corrupt"
    PDF_NO_TEXT = "pdf_no_text"
    PDF_TOO_LARGE = "pdf_too_large"
    PDF_TIMEOUT = "pdf_timeout"
    OCR_FAILED = "ocr_failed"
    BAD_LATEX = "bad_latex"
    BAD_MARKUP = "bad_markup"
    UNSAFE_ARCHIVE = "unsafe_archive"
    LINK_OUT = "link_out"
    PART_OF_ANOTHER = "part_of_another"
    READER_FAILED = "reader_failed"
    MISSING_PART = "missing_part"
    NOT_PROSE = "not_prose"
    REDIRECT = "redirect"
    NOT_AN_ARTICLE = "not_an_article"
    MISSING_PAGE = "missing_page"
    EMPTY_TEXT = "empty_text"
    REPETITION = "repetition"
    HIGH_PERPLEXITY = "high_perplexity"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    DUPLICATE_PARAGRAPH = "duplicate_paragraph"
    CONTAMINATED = "contaminated"
    MALFORMED_OUTPUT = "malformed_output"
    INVALID_PAIR = "invalid_pair"
    LEANS_ON_SOURCE = "leans_on_source"
    COPIED_PASSAGE = "copied_passage"
    SKIPPED_SECTION = "skipped_section"
    DUPLICATE_QUESTION = "duplicate_question"
    NO_PAIRS = "no_pairs"
    NO_SUMMARY = "no_summary"
    NO_TITLE = "no_title"
    UNPARSED_VERDICT = "unparsed_verdict"
    LOW_SCORE = "low_score"
    LOW_ALPHANUMERIC = "low_alphanumeric"
    KEYWORD = "keyword"
    WRONG_LANGUAGE = "wrong_language"
    IDENTITY_CLAIM = "identity_claim"
    REFUSAL = "refusal"
    NOT_SAMPLED = "not_sampled"
    BAD_TURNS = "bad_turns"
    TOOL_USE = "tool_use"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    NOT_SCORED = "not_scored"
    PAPER_SPECIFIC = "paper_specific"


@dataclass(frozen=True)
class Reject:
    """One rejected row.

    Args:
        doc_id: id of the row (a document, question or conversation).
        reason: the kind of fault.
        detail: the particulars, for a person.
        text: the rejected text, as far as there is one.
    """

    doc_id: str
    reason: Reason
    detail: str = ""
    text: str | None = None


def rejects_table(stage: str, rejects: Sequence[Reject]) -> pa.Table:
    """Returns the rejects of one shard as a table with schema :data:`core.schema.REJECT`."""
    return pa.Table.from_pylist(
        [
            {
                # A file's name may hold bytes that are no text.
                "doc_id": _clean(r.doc_id),
                "stage": stage,
                "reason": r.reason.value,
                "detail": _clean(r.detail),
                "text": None if r.text is None else _clean(r.text),
            }
            for r in rejects
        ],
        schema=REJECT,
    )


def _clean(text: str) -> str:
    # Arrow strings are valid UTF-8; a reject may hold the very bytes that are not.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
