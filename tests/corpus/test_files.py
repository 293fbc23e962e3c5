from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest

from core.front_matter import split_front_matter
from core.recipe.corpus import FilesSource
from core.rejects import Reason, Reject
from corpus.documents import Document
from corpus.files import read_file

SHA = "0123456789abcdef" * 4


def _read(
    folder: Path, content: bytes | None, kind: Literal["markdown", "text", "pdf"] = "markdown"
) -> tuple[Document | None, Reject | None]:
    path = folder / "notes on stars.md"
    if content is not None:
        path.write_bytes(content)
    source = FilesSource(kind=kind, name="notes", paths=["x"], license="CC0")
    return read_file(path, "deep/notes on stars.md", SHA, source)


def test_markdown_with_front_matter(tmp_path: Path) -> None:
    head = b"---\ntitle: Stars\nlicense: CC-BY-4.0\ncreated: 2020-01-02\nurl: http://x\nmore: [1]\n"
    document, reject = _read(tmp_path, head + b"---\n\n# Stars\n\nA star.\n")
    assert reject is None
    assert document == Document(
        doc_id="notes:0123456789abcdef",
        source="notes",
        title="Stars",
        text="# Stars\n\nA star.\n",
        license="CC-BY-4.0",
        created=date(2020, 1, 2),
        url="http://x",
        meta={"file": "deep/notes on stars.md", "sha256": SHA},
    )


def test_without_front_matter_the_file_name_and_the_recipe_speak(tmp_path: Path) -> None:
    document, _ = _read(tmp_path, b"\xef\xbb\xbfA star.\r\nTwo lines.\r\n")
    assert document is not None
    assert (document.title, document.license) == ("notes on stars", "CC0")
    assert (document.created, document.url) == (None, None)
    assert document.text == "A star.\nTwo lines.\n"


def test_front_matter_with_windows_line_ends(tmp_path: Path) -> None:
    document, _ = _read(tmp_path, b"---\r\ntitle: Stars\r\n---\r\nA star.\r\n")
    assert document is not None
    assert (document.title, document.text) == ("Stars", "A star.\n")


def test_plain_text_has_no_front_matter(tmp_path: Path) -> None:
    content = b"---\ntitle: Stars\n---\nA star.\n"
    document, _ = _read(tmp_path, content, "text")
    assert document is not None
    assert (document.title, document.text) == ("notes on stars", content.decode())


def test_a_pdf_waits_for_its_text(tmp_path: Path) -> None:
    document, _ = _read(tmp_path, None, "pdf")
    assert document is not None
    assert (document.text, document.title, document.license) == (None, "notes on stars", "CC0")
    assert document.meta["file"] == "deep/notes on stars.md"


@pytest.mark.parametrize(
    ("front", "key", "value"),
    [
        ("title: 2001", "title", "2001"),
        ("title:", "title", "notes on stars"),
        ("title: [a, b]", "title", "notes on stars"),
        ("license: {a: b}", "license", "CC0"),
        ("created: 2020", "created", None),
        ("created: 2020-01-02 10:00:00", "created", date(2020, 1, 2)),
        ("url: 5.5", "url", "5.5"),
    ],
)
def test_odd_values_in_front_matter(tmp_path: Path, front: str, key: str, value: Any) -> None:
    document, _ = _read(tmp_path, f"---\n{front}\n---\nA star.\n".encode())
    assert getattr(document, key) == value
    assert type(getattr(document, key)) is type(value)


@pytest.mark.parametrize(
    ("text", "front", "body"),
    [
        ("A star.", {}, "A star."),
        ("---\na: 1\n---\nA star.", {"a": 1}, "A star."),
        ("---\na: 1\n---\n\n\nA star.\n\n", {"a": 1}, "A star.\n\n"),
        ("---\na: 1\n---", {"a": 1}, ""),
        ("---\na: 1\n---\n", {"a": 1}, ""),
        ("---\na: 1\n---\nx\n---\ny", {"a": 1}, "x\n---\ny"),
        ("---\nnever closed", {}, None),
        ("---\na rule above\n---\nbelow", {}, None),
        ("---\n- a\n- list\n---\nbelow", {}, None),
        ("---\na: [1\n---\nbroken", {}, None),
        ("---\na: 2020-13-45\n---\nno such month", {}, None),
        ("---\na: !!bool perhaps\n---\nno such truth", {}, None),
        ("---\na: !!python/object:os.system x\n---\nno such tag", {}, None),
        ("---\na: \x07\n---\na bell", {}, None),
        ("---\na: " + "[" * 3000 + "\n---\ndeep", {}, None),
        (" ---\na: 1\n---\nindented", {}, None),
    ],
)
def test_front_matter_is_split_off_or_stays(
    text: str, front: dict[str, Any], body: str | None
) -> None:
    assert split_front_matter(text) == (front, text if body is None else body)


def test_invalid_utf8_is_rejected_with_the_bytes_around_it(tmp_path: Path) -> None:
    document, reject = _read(tmp_path, b"a" * 500 + b"caf\xe9 au lait")
    assert document is None
    assert reject is not None
    assert (reject.doc_id, reject.reason) == ("notes:0123456789abcdef", Reason.INVALID_UTF8)
    assert "byte 503" in reject.detail
    assert reject.text is not None
    assert r"caf\xe9 au lait" in reject.text
    assert len(reject.text) < 500


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"\xef\xbb\xbf", b"---\ntitle: x\n---\n\n"])
def test_a_file_without_text_is_rejected(tmp_path: Path, content: bytes) -> None:
    document, reject = _read(tmp_path, content)
    assert document is None
    assert reject is not None
    assert reject.reason is Reason.EMPTY_TEXT


def test_a_file_that_is_gone_is_rejected(tmp_path: Path) -> None:
    document, reject = _read(tmp_path, None)
    assert document is None
    assert reject is not None
    assert reject.reason is Reason.UNREADABLE_FILE
    assert reject.detail == "deep/notes on stars.md: No such file or directory"
