"""Code, TeX and tables are found, and keep their characters."""

from __future__ import annotations

import time

import pytest

from corpus.normalize import normalize_text
from corpus.protected import blocks, verbatim


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a `b` c", [("span", "`b`")]),
        ("a ``b ` c`` d", [("span", "``b ` c``")]),
        ("a ` b", []),
        ("a `b\n\nc` d", []),  # a blank line ends a paragraph and what stands open in it
        ("```python\nx = 1\n\ny\n```\nz", [("code", "```python\nx = 1\n\ny\n```")]),
        ("~~~\nx\n```\n~~~\nz", [("code", "~~~\nx\n```\n~~~")]),
        ("````\n```\n````", [("code", "````\n```\n````")]),
        ("```\nnever closed\n\ntext", []),
        ("  ```\n  x\n  ```\n", [("code", "  ```\n  x\n  ```")]),
        ("mass $m_1$ and $m_2$", [("inline", "$m_1$"), ("inline", "$m_2$")]),
        ("it costs $5 and then $10 more", []),
        ("$5 or 6$7", []),
        (r"a \$5 and $x\$y$", [("inline", r"$x\$y$")]),
        ("$a\nb$ and $a\n\nb$", [("inline", "$a\nb$")]),
        ("$$\nE = mc^2\n$$", [("display", "$$\nE = mc^2\n$$")]),
        ("$$ a\n\nb $$", []),
        (r"so \(x\) and \[y\]", [("inline", r"\(x\)"), ("display", r"\[y\]")]),
        (r"a \\[2pt] b \] c", []),
        (
            "\\begin{matrix}a\\\\b\\end{matrix} c",
            [("environment", "\\begin{matrix}a\\\\b\\end{matrix}")],
        ),
        ("\\begin{matrix} a \\end{array}", []),
    ],
)
def test_code_and_tex(text: str, found: list[tuple[str, str]]) -> None:
    assert [(b.kind, text[b.start : b.end]) for b in verbatim(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "a\n| b | c |\n|---|---|\n| $d$ | e |\nf",
            [("table", "| b | c |\n|---|---|\n| $d$ | e |\n")],
        ),
        ("<table><tr></table> a", [("table", "<table><tr></table>")]),
        ("<table><tr> a", []),
        ("Title\n=====\n\n- - -\n\na --- b", [("rule", "====="), ("rule", "- - -")]),
        ("+---+---+\n", [("rule", "+---+---+")]),
        ("- item\n- item", []),
        ("$a$ and `b`", [("span", "`b`")]),
    ],
)
def test_what_may_repeat(text: str, found: list[tuple[str, str]]) -> None:
    assert [(b.kind, text[b.start : b.end]) for b in blocks(text)] == found


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("“a” `“b”` “c”", '"a" `“b”` "c"'),
        ("“a”\n\n```\nprint(“ﬁ”, '＃')\n```\n\n“b”", '"a"\n\n```\nprint(“ﬁ”, \'＃\')\n```\n\n"b"'),
        ("‘f’ is $f’(x)$, \\(f’\\), \\[ｘ\\]", "'f' is $f’(x)$, \\(f’\\), \\[ｘ\\]"),
        ("“a” \\begin{align}“\\end{align}", '"a" \\begin{align}“\\end{align}'),
        ("“a” costs $5, “b” $6", '"a" costs $5, "b" $6'),  # prices are no formulas
        ("“a” `open", '"a" `open'),
        ("`&lt;b&gt;` and &lt;", "`&lt;b&gt;` and &lt;"),
        ("`\x00a\r\nb\ud83d\ude00\x1b[0m`", "`a\nb😀`"),  # what no text file should hold
        ("CafÃ© `CafÃ©` CafÃ©", "Café `CafÃ©` Café"),
        ("```\na  \n\n\n\nb\n```", "```\na  \n\n\n\nb\n```"),
        ("a  \n\n\n\n```\na  \n```\n\n\n\nb  ", "a\n\n```\na  \n```\n\nb"),
    ],
)
def test_code_and_tex_keep_their_characters(text: str, repaired: str) -> None:
    assert normalize_text(text) == repaired


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("infor\u00admation", "information"),
        ("infor\u00ad\nmation", "information"),
        ("infor\u00ad \n  mation", "information"),
        ("self\u00ad\nMade", "self\nMade"),
        ("zero\u200bwidth\u2060", "zerowidth"),
        ("page one\n\fpage two\fpage three", "page one\npage two\npage three"),
        ("`a\u00adb` “", '`a\u00adb` "'),
    ],
)
def test_what_cannot_be_seen(text: str, repaired: str) -> None:
    assert normalize_text(text) == repaired


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "$a ",
            "\\(",
            "\\[ ",
            "` `` ",
            "```a\n",
            "~~~~\n",
            "\\begin{a}",
            "<table",
            "$$ \n\n",
            "$a$1",
        ),
        *("\u00ad\n", "| a\n", " ", "- ", "`\n\n", "\\begin{q}\\end{r}", "’ "),
    ],
)
def test_hostile_marks_take_linear_time(unit: str) -> None:
    text = unit * (300_000 // len(unit)) + "“"
    started = time.process_time()
    normalize_text(text)
    list(blocks(text))
    assert time.process_time() - started < 5
