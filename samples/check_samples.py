"""Checks that the sample data are complete and consistent; needs no third-party package.

Usage::

    python samples/check_samples.py
"""

from __future__ import annotations

import json
import re
from collections import Counter
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

SAMPLES_DIR = Path(__file__).resolve().parent
PAPERS_DIR = SAMPLES_DIR / "arxiv"

ACCEPTED_PAPERS = tuple(f"0001.{number:05d}" for number in range(1, 15))
REJECTED_PAPERS = ("0001.00015", "0001.00016", "0001.00017", "0001.00018")
PAPER_WITHOUT_PDF = "0001.00018"
MARKDOWN_COUNT = 34
HELD_OUT_COUNTS = {"astronomy": 6, "general": 3}
QUESTION_COUNTS = {"astronomy": 80, "general": 24}
CONVERSATION_COUNT = 60
TWO_EXCHANGE_COUNT = 10
SYSTEM_TURN_COUNT = 6
REPLY_WORD_LIMITS = (1, 40)
WORD_LIMITS = (250, 500)
MINIMUM_MENTIONS = 3
MAXIMUM_PDF_BYTES = 30_000
FRONT_MATTER = re.compile(
    r"\A---\ntitle: .+\nlicense: CC0-1\.0\ncreated: 2026-11-01\n---\n\n# .+\n\n"
)
METADATA_KEYS = [
    "id",
    "submitter",
    "authors",
    "title",
    "comments",
    "journal-ref",
    "doi",
    "report-no",
    "categories",
    "license",
    "abstract",
    "versions",
    "update_date",
    "authors_parsed",
]


def _read(path: Path) -> str:
    """Reads a text file."""
    return path.read_text(encoding="utf-8")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file with one JSON object per line."""
    return [json.loads(line) for line in _read(path).splitlines()]


def _check_markdown(path: Path) -> list[str]:
    """Checks the front matter and the length of one Markdown document."""
    text = _read(path)
    problems = []
    if not FRONT_MATTER.match(text):
        problems.append(f"{path.name}: bad front matter")
    words = len(FRONT_MATTER.sub("", text).split())
    if not WORD_LIMITS[0] <= words <= WORD_LIMITS[1]:
        problems.append(f"{path.name}: {words} words")
    return problems


def check_documents() -> list[str]:
    """Checks the Markdown documents, those for training and those held out."""
    training = sorted((SAMPLES_DIR / "astronomy").glob("*.md"))
    problems = []
    if len(training) != MARKDOWN_COUNT:
        problems.append(f"{len(training)} training documents, not {MARKDOWN_COUNT}")
    held_out: list[Path] = []
    for domain, expected in HELD_OUT_COUNTS.items():
        found = sorted((SAMPLES_DIR / "heldout").glob(f"{domain}-*.md"))
        held_out += found
        if len(found) != expected:
            problems.append(f"{len(found)} held-out {domain} documents, not {expected}")
    for path in training + held_out:
        problems += _check_markdown(path)
    for path in training:
        if "\n## In brief\n" not in _read(path):
            problems.append(f"{path.name}: no section 'In brief'")
    return problems


def _check_metadata_row(row: dict[str, Any]) -> list[str]:
    """Checks one metadata row and its PDF."""
    identifier = row.get("id", "?")
    if list(row) != METADATA_KEYS:
        return [f"{identifier}: metadata keys {list(row)}"]
    problems = []
    created = [version["created"] for version in row["versions"]]
    date = parsedate_to_datetime(created[0])
    if date.strftime("%a") != created[0][:3] or not 2007 <= date.year <= 2023:
        problems.append(f"{identifier}: bad date {created[0]}")
    if not (row["abstract"].startswith("  ") and row["abstract"].endswith("\n")):
        problems.append(f"{identifier}: abstract not laid out as in the snapshot")
    pdf_path = PAPERS_DIR / "pdf" / identifier.split(".")[0] / f"{identifier}v1.pdf"
    if pdf_path.exists() == (identifier == PAPER_WITHOUT_PDF):
        problems.append(f"{identifier}: PDF {'present' if pdf_path.exists() else 'missing'}")
    elif pdf_path.exists() and pdf_path.stat().st_size >= MAXIMUM_PDF_BYTES:
        problems.append(f"{identifier}: PDF has {pdf_path.stat().st_size} bytes")
    return problems


def check_papers() -> list[str]:
    """Checks the metadata of the papers against their sources and PDFs."""
    rows = _read_lines(PAPERS_DIR / "arxiv-metadata.jsonl")
    problems = [problem for row in rows for problem in _check_metadata_row(row)]
    identifiers = [row["id"] for row in rows]
    if sorted(identifiers) != sorted(ACCEPTED_PAPERS + REJECTED_PAPERS):
        problems.append(f"unexpected or repeated papers: {identifiers}")
    sources = {path.stem for path in (PAPERS_DIR / "src").glob("*.md")}
    if sources != set(identifiers) - {PAPER_WITHOUT_PDF}:
        problems.append(f"sources do not match the metadata: {sorted(sources)}")
    return problems


def _document_text(stem: str) -> str | None:
    """Returns the text of a training document, with single spaces, or None."""
    folder = PAPERS_DIR / "src" if stem in ACCEPTED_PAPERS else SAMPLES_DIR / "astronomy"
    path = folder / f"{stem}.md"
    return " ".join(_read(path).split()) if path.exists() else None


def _check_question(row: dict[str, Any]) -> list[str]:
    """Checks one question and, where it names a document, that this supports the answer."""
    item = row["item_id"]
    choices = row["choices"]
    if len(choices) != 4 or len({choice.lower() for choice in choices}) != 4:
        return [f"{item}: needs four different choices"]
    if row["doc"] is None:
        return []
    text = _document_text(row["doc"])
    if text is None:
        return [f"{item}: no training document {row['doc']}"]
    answer = choices["ABCD".index(row["answer"])]
    pattern = rf"(?<!\w){re.escape(answer)}(?!\w)"
    mentions = len(re.findall(pattern, text, flags=re.IGNORECASE))
    if mentions < MINIMUM_MENTIONS:
        return [f"{item}: {answer!r} occurs {mentions} times in {row['doc']}"]
    return []


def check_questions() -> list[str]:
    """Checks the multiple-choice questions of both files."""
    problems = []
    for name, expected in QUESTION_COUNTS.items():
        rows = _read_lines(SAMPLES_DIR / "mcq" / f"{name}.jsonl")
        if len(rows) != expected:
            problems.append(f"{name}: {len(rows)} questions, not {expected}")
        for key in ("item_id", "question"):
            repeated = [text for text, n in Counter(row[key] for row in rows).items() if n > 1]
            problems += [f"{name}: repeated {key} {text!r}" for text in repeated]
        letters = Counter(row["answer"] for row in rows)
        if any(letters[letter] != expected // 4 for letter in "ABCD"):
            problems.append(f"{name}: letters not balanced: {dict(letters)}")
        problems += [problem for row in rows for problem in _check_question(row)]
        undocumented = [row["item_id"] for row in rows if row["doc"] is None]
        if name == "astronomy" and undocumented:
            problems.append(f"{name}: no document named by {undocumented}")
    return problems


def _check_conversation(row: dict[str, Any]) -> list[str]:
    """Checks the turns of one conversation and the length of its replies."""
    conversation = row.get("conv_id", "?")
    if list(row) != ["conv_id", "messages"]:
        return [f"{conversation}: conversation keys {list(row)}"]
    messages = row["messages"]
    if any(list(message) != ["role", "content"] for message in messages):
        return [f"{conversation}: message keys"]
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
        return [f"{conversation}: roles {roles}"]
    problems = []
    for message in messages:
        content = message["content"]
        if not content or content != content.strip():
            problems.append(f"{conversation}: {message['role']} content {content!r}")
        words = len(content.split())
        within = REPLY_WORD_LIMITS[0] <= words <= REPLY_WORD_LIMITS[1]
        if message["role"] == "assistant" and not within:
            problems.append(f"{conversation}: reply of {words} words")
    return problems


def check_conversations() -> list[str]:
    """Checks the instruction conversations."""
    rows = _read_lines(SAMPLES_DIR / "instruct" / "general.jsonl")
    problems = [problem for row in rows for problem in _check_conversation(row)]
    if problems:
        return problems
    identifiers = [row["conv_id"] for row in rows]
    if identifiers != [f"general-{number:03d}" for number in range(1, CONVERSATION_COUNT + 1)]:
        problems.append(f"missing, repeated or unordered conversations: {identifiers}")
    messages = [message for row in rows for message in row["messages"]]
    asked = Counter(message["content"] for message in messages if message["role"] == "user")
    problems += [f"repeated user turn {text!r}" for text, n in asked.items() if n > 1]
    roles = [[message["role"] for message in row["messages"]] for row in rows]
    two_exchanges = sum(turns.count("user") == 2 for turns in roles)
    if two_exchanges != TWO_EXCHANGE_COUNT:
        problems.append(f"{two_exchanges} conversations of two exchanges")
    system_turns = sum(turns[0] == "system" for turns in roles)
    if system_turns != SYSTEM_TURN_COUNT:
        problems.append(f"{system_turns} conversations with a system turn")
    return problems


def main() -> int:
    """Runs all checks; returns 1 and lists the problems where there are any."""
    problems = check_documents() + check_papers() + check_questions() + check_conversations()
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "samples are consistent")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
