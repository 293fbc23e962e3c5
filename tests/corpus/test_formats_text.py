"""Plain text, Markdown, Nougat output, and encodings."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from core.rejects import Reason
from corpus.formats import read
from corpus.formats.encoding import decode
from corpus.formats.gutenberg import strip_gutenberg
from corpus.formats.mmd import read_mmd_text
from corpus.formats.plain import reflow
from corpus.reading import Unreadable

RUSSIAN = "Звёзды видны ночью, и каждая из них далека от нас. " * 20
JAPANESE = "星は夜に見える。それぞれの星は私たちから遠い。" * 20
CHINESE = "天文学是研究宇宙空间天体的学科。太阳是离我们最近的一颗恒星。" * 5
KOREAN = "천문학은 우주를 연구하는 학문이다. 태양은 가장 가까운 별이다. " * 5


@pytest.mark.parametrize(
    ("data", "declared", "text", "encoding"),
    [
        (JAPANESE.encode("euc-jp"), None, JAPANESE, "euc_jp"),
        (CHINESE.encode("gb18030"), None, CHINESE, "gb18030"),
        (KOREAN.encode("euc-kr"), None, KOREAN, "cp949"),
        ("naïve".encode(), None, "naïve", "utf-8"),
        ("\ufeffa".encode(), None, "a", "utf-8-sig"),
        ("a é".encode("utf-16"), None, "a é", "utf-16"),
        ("a é".encode("utf-32"), None, "a é", "utf-32"),
        ("a é b".encode("latin-1"), None, "a é b", "iso8859-1"),
        (
            "a “é” b – c, and much more plain text after that".encode("cp1252"),
            None,
            "a “é” b – c, and much more plain text after that",
            "cp1252",
        ),
        (RUSSIAN.encode("koi8-r"), "koi8-r", RUSSIAN, "koi8-r"),
        (RUSSIAN.encode("cp1251"), None, RUSSIAN, "cp1251"),
        (JAPANESE.encode("shift_jis"), None, JAPANESE, "cp932"),
        (b"a\r\nb\rc", None, "a\nb\nc", "utf-8"),
        (b"plain", "zlib", "plain", "utf-8"),
        (b"plain", "no-such", "plain", "utf-8"),
        *((b"a \xe9 b", name, "a é b", "iso8859-1") for name in ("undefined", "unicode_escape")),
        # A download cut short, a stray byte: no reason to guess, or to give the text up.
        (RUSSIAN.encode()[1:], None, f"\ufffd{RUSSIAN[1:]}", "utf-8, damaged"),
        (CHINESE.encode()[:-1], None, f"{CHINESE[:-1]}\ufffd", "utf-8, damaged"),
    ],
)
def test_decode(data: bytes, declared: str | None, text: str, encoding: str) -> None:
    assert decode(data, "x", declared) == (text, encoding)


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)) * 10, b"\x89PNG\r\n\x1a\n" + bytes(500), b"\xff\xfe\x00", b"\0\1\2" * 99],
)
def test_what_is_no_text(data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data, "x")
    assert caught.value.reason is Reason.INVALID_UTF8


WRAPPED = """\
The first paragraph is wrapped at a width that is common for
such texts, so that every line but the last one of them is
full, and then it ends.

It is followed by a very-
old word and another line of the second paragraph here, and
that is all.

  Twinkle, twinkle,
  little star,
How I wonder
what you are.

| Planet |  Mass |
|--------+-------|
| Mars   |   0.1 |

    Name        Distance
    Phobos      5,800
    Deimos     14,500

1. one
2. two
"""


def test_reflow_of_a_paragraph_of_many_lines_is_linear() -> None:
    # At quadratic cost this takes longer than anyone waits.
    line = "The luminosity of a variable star depends on the per-"
    text = reflow(f"{line}\niod of its pulsation, as was found in 1912.\n" * 10_000)
    assert text.count("depends on the per-iod of its pulsation") == 10_000
    assert text.count("\n") == 1


def test_reflow_joins_prose_and_keeps_what_has_lines() -> None:
    blocks = reflow(WRAPPED).strip("\n").split("\n\n")
    assert blocks[0].startswith("The first paragraph is wrapped at a width that is common for such")
    assert "very-old word" in blocks[1]
    assert blocks[2].split("\n") == ["  Twinkle, twinkle,", "  little star,", "How I wonder",
                                     "what you are."]  # fmt: skip
    assert len(blocks[3].split("\n")) == 3
    assert len(blocks[4].split("\n")) == 3
    assert blocks[5].split("\n") == ["1. one", "2. two"]


GUTENBERG = """\
The Project Gutenberg EBook of The Sky, by A. One

Title: The Sky
Author: A. One
Language: English

*** START OF THIS PROJECT GUTENBERG EBOOK THE SKY ***

Produced by some people
who are thanked here

THE SKY

CONTENTS

CHAPTER I.   THE SUN    1
CHAPTER II.  THE MOON   9

CHAPTER I.

THE SUN

{sun}

CHAPTER II.

THE MOON.

{moon}

End of the Project Gutenberg EBook of The Sky, by A. One

*** END OF THIS PROJECT GUTENBERG EBOOK THE SKY ***

Licence text with Project Gutenberg's terms.
"""


def test_gutenberg_book(tmp_path: Path) -> None:
    line = "A line of text that is about as long as lines in such books are.\n"
    book = GUTENBERG.format(sun="Sün. " + line * 20, moon="Moon. " + line * 20)
    (tmp_path / "b.txt").write_bytes(book.replace("\n", "\r\n").encode("latin-1"))
    reading = read("text", tmp_path / "b.txt", split=True)
    assert [p.title for p in reading.parts] == ["CHAPTER I. THE SUN", "CHAPTER II. THE MOON"]
    assert (reading.title, reading.authors) == ("The Sky", ["A. One"])
    text = reading.parts[1].text or ""
    assert text.startswith("# CHAPTER II. THE MOON\n\nMoon. A line of text")
    assert "Gutenberg" not in text
    assert text.count("\n") == 3
    assert reading.meta["encoding"] == "iso8859-1"
    assert [f.reason for f in reading.faults] == [Reason.NOT_PROSE]
    assert len(read("text", tmp_path / "b.txt", split=False).parts) == 1


def test_text_without_fences_stays() -> None:
    assert strip_gutenberg("About Project Gutenberg.\n") == "About Project Gutenberg.\n"


MARKDOWN = """\
---
title: Stars
authors: [A. One, {name: B. Two}]
license: CC-BY-4.0
created: 2020-01-02
---
Before.

# One

```
# no heading
```

# Two

Text.
"""


def test_markdown(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(MARKDOWN, "utf-8")
    reading = read("markdown", tmp_path / "a.md", split=True)
    assert [p.title for p in reading.parts] == [None, "One", "Two"]
    assert (reading.title, reading.license, reading.created) == (
        "Stars", "CC-BY-4.0", date(2020, 1, 2),
    )  # fmt: skip
    assert reading.authors == ["A. One", "B. Two"]
    assert (read("markdown", tmp_path / "a.md", split=False).parts[0].text or "") == MARKDOWN.split(
        "---\n"
    )[2]


def test_front_matter_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"---\ntitle: 0x{'F' * 5000}\nlicense: [a]\nurl: 5\n---\nText\n")
    reading = read("markdown", tmp_path / "a.md", split=False)
    assert (reading.title, reading.license, reading.url) == (None, None, "5")


@pytest.mark.parametrize(("kind", "name"), [("text", "a.txt"), ("markdown", "a.md")])
def test_empty_files(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_text(" \n")
    with pytest.raises(Unreadable) as caught:
        read(kind, tmp_path / name, split=False)
    assert caught.value.reason is Reason.EMPTY_TEXT
    with pytest.raises(Unreadable):
        read(kind, tmp_path / "missing", split=False)


NOUGAT = r"""# A Paper

Mass \(M_{1}\) and

\[E=mc^{2}\tag{1}\]

[MISSING_PAGE_EMPTY:2]

```
\(code\)
```

[MISSING_PAGE_FAIL:3]

[MISSING_PAGE_POST]

Cost \$5."""


def test_nougat_text() -> None:
    read_ = read_mmd_text(NOUGAT)
    assert read_.text == (
        "# A Paper\n\nMass $M_{1}$ and\n\n$$E=mc^{2}\\tag{1}$$\n\n```\n\\(code\\)\n```\n\n"
        "Cost \\$5.\n"
    )
    assert read_.missing == [("empty", 2), ("fail", 3), ("post", None)]
    position, page = read_.breaks[0]
    assert (read_.text[:position].endswith("$$"), page) == (True, 2)


def test_nougat_file(tmp_path: Path) -> None:
    (tmp_path / "a.mmd").write_text(NOUGAT, "utf-8")
    reading = read("nougat", tmp_path / "a.mmd", split=True)
    assert reading.title == "A Paper"
    assert reading.meta == {
        "missing_pages": {"empty": 1, "fail": 1, "post": 1},
        "missing_page_numbers": [2, 3],
    }
    (tmp_path / "b.mmd").write_text("[MISSING_PAGE_EMPTY:1]\n\n[MISSING_PAGE_POST]\n")
    with pytest.raises(Unreadable, match="2 marks"):
        read("nougat", tmp_path / "b.mmd", split=False)


def test_nougat_chapters(tmp_path: Path) -> None:
    text = "# Book\n\n## Chapter 1 Sun\n\nA.\n\n# code\n\n## Chapter 1 Sun\n\nB.\n\n"
    text += "# Chapter 2 Moon\n\nC."
    (tmp_path / "a.mmd").write_text(text)
    reading = read("nougat", tmp_path / "a.mmd", split=True)
    assert [p.title for p in reading.parts] == ["Book", "Chapter 1 Sun", "Chapter 2 Moon"]
