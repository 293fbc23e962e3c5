"""LaTeX to Markdown: one small source per feature."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from core.rejects import Reason
from corpus.formats import read
from corpus.formats.tex_cites import from_key, read_bbl, read_bib
from corpus.formats.tex_comments import strip_comments
from corpus.formats.tex_source import find_main, flatten, open_tree, parts_of_others
from corpus.reading import Reading, Unreadable


def _paper(tmp_path: Path, body: str, head: str = "", cls: str = "aastex631") -> Reading:
    source = f"\\documentclass{{{cls}}}\n{head}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "ms.tex").write_text(source, "utf-8")
    return read("latex", tmp_path / "ms.tex", split=False)


def _text(tmp_path: Path, body: str, head: str = "", cls: str = "aastex631") -> str:
    return (_paper(tmp_path, body, head, cls).parts[0].text or "").strip("\n")


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        # Macros: with optional argument, delimited, renamed, conditional, with xspace.
        (r"\newcommand{\kms}[1][v]{$#1$ in km/s}", r"Here \kms{} and \kms[u].",
         "Here $v$ in km/s and $u$ in km/s."),
        (r"\def\pair(#1,#2){#1 and #2}", r"\pair(a,b).", "a and b."),
        (r"\newcommand{\gaia}{\emph{Gaia}\xspace}\let\sat\gaia", r"\gaia saw \sat.",
         "*Gaia* saw *Gaia*."),
        (r"\def\msix{\ifmmode M_6\else$M_6$\fi}", r"\msix\ is $2\msix$.", "$M_6$ is $2M_6$."),
        (r"\newif\ifdraft\drafttrue", r"\ifdraft Draft\else Final\fi. \iffalse no\fi Yes.",
         "Draft. Yes."),
        (r"\NewDocumentCommand{\vel}{s O{x} m}{\IfBooleanTF{#1}{S}{N}-#2-#3}", 
         r"\vel*{a} \vel[y]{b}",
         "S-x-a N-y-b"),
        (r"\newcommand{\al}{\alpha}", r"$\al b$", r"$\alpha b$"),
        ("", r"$v=\SI{2e3}{\kilo\meter\per\second}$", r"$v={2\times10^{3}\,\mathrm{km\,/\,s}}$"),
        # Words of astronomy classes.
        ("", r"\ion{C}{4} and $\ion{He}{ii}$ at 0\farcs5, 3\arcsec, 20\micron, 5 \AA.",
         r"C IV and $\text{He II}$ at 0.″5, 3″, 20µm, 5 Å."),
        ("", r"About \sim 5\,M\sun~here.", r"About $\sim$5 M$\odot$ here."),
        ("", r"Published in \apj\ and \mnras.", "Published in ApJ and MNRAS."),
        ("", r"\SI{3.2}{\km\per\s} and 50\% of \$5.", r"3.2 km s⁻¹ and 50% of \$5."),
        # Text is never lost with an unknown command.
        ("", r"We \strange{keep this} text.", "We keep this text."),
        ("", r"\textcolor{red}{Red} \mbox{boxed} \added{new} \deleted{old} text",
         "Red boxed new text"),
        ("", r"\replaced{old}{new} word", "new word"),
        ("", r"See \href{https://a.b/c}{this} and \url{https://d.e/f_g}.",
         "See [this](https://a.b/c) and <https://d.e/f_g>."),
        ("", r"\verb|a_b| and \texttt{c\_d}", "`a_b` and `c_d`"),
        ("", "One.\n\n\\vspace{2mm}\\noindent Two\\label{x}. % note\nThree.",
         "One.\n\nTwo. Three."),
        (r"\newacronym{gw}{GW}{gravitational wave}", r"A \gls{gw}; \glspl{gw}.",
         "A gravitational wave (GW); GWs."),
        # A dollar too many ends with its paragraph.
        ("", "Costs $5 today.\n\nNext paragraph.", "Costs $5 today.$\n\nNext paragraph."),
    ],
)  # fmt: skip
def test_running_text(tmp_path: Path, head: str, body: str, expected: str) -> None:
    assert _text(tmp_path, body, head) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"\begin{equation}E=mc^2\label{e}\end{equation} as in Eq.~(\ref{e}).",
         "$$E=mc^2$$\n\nas in Eq. (1)."),
        ("\\begin{eqnarray}a&=&b\\\\c&=&d\\end{eqnarray}",
         "$$\\begin{aligned}\na&= b\\\\ c&= d\n\\end{aligned}$$"),
        (r"\[x\] and $$y$$", "$$x$$\n\nand\n\n$$y$$"),
        (r"\be z \ee", "$$z$$"),
        ("\\begin{itemize}\\item one\\item two\\end{itemize}", "- one\n\n- two"),
        ("\\section{A}\\label{a}\\subsection{B}\\label{b}See \\ref{a} and Sect.~\\ref{b}.\\appendix"
         "\\section{C}\\label{c}\\autoref{c}",
         "## A\n\n### B\n\nSee 1 and Sect. 1.1.\n\n## C\n\nAppendix A"),
        (r"Text\footnote{A note.} goes on.", "Text[^1] goes on.\n\n[^1]: A note."),
        ("\\begin{figure}\\plotone{f.eps}\\caption{A \\textbf{plot}.\\label{f}}\\end{figure}"
         "Figure~\\ref{f}.", "Figure 1: A **plot**.\n\nFigure 1."),
        (r"\begin{verbatim}" "\na  %b\n" r"\end{verbatim}", "    a  %b"),
        (r"\begin{comment}no\end{comment}yes", "yes"),
        (r"\acknowledgments We thank you. \software{astropy} \facility{VLT}",
         "## Acknowledgments\n\nWe thank you.\n\n**Software:** astropy\n\n**Facilities:** VLT"),
        (r"\paragraph{Run in} text", "**Run in** text"),
        ("\\textbf{Bold one.\n\nBold two.}", "Bold one.\n\nBold two."),
    ],
)  # fmt: skip
def test_blocks(tmp_path: Path, body: str, expected: str) -> None:
    head = r"\def\be{\begin{equation}}\def\ee{\end{equation}}"
    assert _text(tmp_path, body, head) == expected


DELUXE = r"""
\begin{deluxetable}{lcc}
\tablecaption{Stars\label{t}}
\tablehead{\colhead{Name} & \multicolumn{2}{c}{Mass} \\ \colhead{} & \colhead{(M)} & \colhead{err}}
\startdata
Sirius & 2.0\tablenotemark{a} & \nodata \\
Vega & 2.1 & $\pm 0.1$
\enddata
\tablenotetext{a}{A note.}
\tablecomments{More.}
\end{deluxetable}
Table~\ref{t}."""


def test_deluxetable_becomes_a_pipe_table_with_caption_and_notes(tmp_path: Path) -> None:
    assert _text(tmp_path, DELUXE).split("\n") == [
        "Table 1: Stars",
        "",
        "| Name | Mass (M) | err |",
        "|:---|:---|:---|",
        "| Sirius | 2.0$^{a}$ | ... |",
        r"| Vega | 2.1 | $\pm 0.1$ |",
        "",
        "a: A note.",
        "",
        "More.",
        "",
        "Table 1.",
    ]


def test_tabular_in_a_float(tmp_path: Path) -> None:
    body = (
        "\\begin{table}\\caption{T}\\begin{tabular}{l|r}\\hline A & B\\\\ \\hline\n1 & 2\\\\"
        "\\cline{1-2}3 & \\multirow{2}{*}{4}\\\\ \\hline\\end{tabular}\\end{table}"
    )
    assert _text(tmp_path, body) == "Table 1: T\n\n| A | B |\n|:---|:---|\n| 1 | 2 |\n| 3 | 4 |"


BIB = r"""
@article{one, author={M{\"u}ller, A. and {van der Waals}, J. D.}, year=2020}
@article{three, author="Smith, J. and Lee, K. and Wu, X.", date = {2019-05-01}}
@article{team, author={{Planck Collaboration}}, year={2018}}
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"\citep{one}", "(Müller & van der Waals 2020)"),
        (r"\citet[Sec. 2]{three}", "Smith et al. (2019, Sec. 2)"),
        (r"\citep[see][p.~3]{team,three}",
         "(see Planck Collaboration 2018; Smith et al. 2019, p. 3)"),
        (r"\citealt{one}; \citeauthor{three}; \citeyear{three}",
         "Müller & van der Waals 2020; Smith et al.; 2019"),
        (r"\cite{three}", "Smith et al. (2019)"),
        (r"\citep{jones2011}", "(Jones 2011)"),
        (r"As \citep{x1,x2} and \citet{x1}", "As [1, 2] and [1]"),
    ],
)  # fmt: skip
def test_citations(tmp_path: Path, body: str, expected: str) -> None:
    (tmp_path / "refs.bib").write_text(BIB, "utf-8")
    assert _text(tmp_path, f"{body}\n\n\\bibliography{{refs}}") == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (r"[{{Abbott} {et~al.}(2016){Abbott}, and {Li}}]", ("Abbott et al.", "2016")),
        (r"[\protect\citeauthoryear{Binney \& Tremaine}{1987}]", (r"Binney \& Tremaine", "1987")),
        (r"[Gr{\'e}goire(2001a)]", (r"Gr{\'e}goire", "2001a")),
    ],
)
def test_labels_of_a_formatted_bibliography(label: str, expected: tuple[str, str]) -> None:
    assert read_bbl(f"\\bibitem{label}{{key}} Text")["key"] == expected


def test_bib_survives_damage_and_keys_speak() -> None:
    assert read_bib("@article{a, author = {X") == {"a": ("X", "")}
    assert from_key("sanchis-ojeda2014study") == ("Sanchis-Ojeda", "2014")
    assert from_key("2018A&A...616A...1G") is None


def test_title_authors_and_five_part_abstract(tmp_path: Path) -> None:
    reading = _paper(
        tmp_path,
        r"\title{On $\alpha$ Cen\thanks{x}}\author{A. One\inst{1} \and B. Tw\'o\inst{2}}"
        r"\institute{There}\abstract{C}{A}{M}{R}{K}\maketitle \section{Intro} Hi.",
        cls="aa",
    )
    assert reading.title == r"On $\alpha$ Cen"
    assert reading.authors == ["A. One", "B. Twó"]
    assert (reading.parts[0].text or "").startswith(
        "# On $\\alpha$ Cen\n\n## Abstract\n\n*Context.* C\n\n*Aims.* A\n\n*Methods.* M"
    )


def test_a_table_of_variables_is_looked_up(tmp_path: Path) -> None:
    tests = "".join(
        rf"\ifnum\pdfstrcmp{{#1}}{{k{i}}}=0\def\vars@out{{v{i}}}\else" for i in range(500)
    )
    head = rf"\makeatletter\newcommand\vars[1][all]{{{tests}{chr(92)}fi}}\makeatother"
    body = " ".join(rf"\vars[k{i}]" for i in range(500))
    assert _text(tmp_path, body, head).split() == [f"v{i}" for i in range(500)]


def test_macros_without_end_are_left_out(tmp_path: Path) -> None:
    reading = _paper(tmp_path, r"Before \loop{} after.", r"\newcommand{\loop}{x\loop}")
    assert (reading.parts[0].text or "").strip().startswith("Before")
    assert reading.meta["macros_ignored"] == ["loop"]


def test_macros_that_double_are_stopped(tmp_path: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    doubling = "".join(rf"\def\{b}x{{\{a}x\{a}x\{a}x\{a}x}}" for a, b in pairwise(letters))
    # Processor time: a busy machine is no fault.
    start = time.process_time()
    with pytest.raises(Unreadable):
        _text(tmp_path, r"\zx", r"\def\ax{lol}" + doubling)
    assert time.process_time() - start < 120


def test_an_argument_without_end_does_not_end_what_is_around_it(tmp_path: Path) -> None:
    text = _text(
        tmp_path,
        "Start.\n\n\\begin{equation}\na\\text{ b \\label{x\n\\end{equation}\nwhere $\\text{c$\n\n"
        * 6
        + "The end.",
    )
    assert text.count("Start.") == 6
    assert text.endswith("The end.")


def test_chapters_split_and_number(tmp_path: Path) -> None:
    (tmp_path / "book.tex").write_text(
        r"\documentclass{book}\title{Stars}\begin{document}\chapter{One}\section{S}\label{s}Text "
        r"\ref{s}.\chapter{Two}More.\end{document}",
        "utf-8",
    )
    reading = read("latex", tmp_path / "book.tex", split=True)
    assert [(p.title, p.text) for p in reading.parts] == [
        ("One", "# One\n\n## S\n\nText 1.1.\n"),
        ("Two", "# Two\n\nMore.\n"),
    ]
    assert reading.title == "Stars"


def test_a_chapter_without_documentclass(tmp_path: Path) -> None:
    (tmp_path / "c.tex").write_text("\\chapter{One}\nText.", "latin-1")
    assert read("latex", tmp_path / "c.tex", split=True).parts[0].text == "# One\n\nText.\n"


def test_inputs_in_a_tree(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\input macros\n\\begin{document}\\include{parts/a}"
        "\\input{gone}End.\\end{document}"
    )
    (tmp_path / "macros.tex").write_text(r"\newcommand{\x}{word}")
    (tmp_path / "parts" / "a.tex").write_text("A \\x. \\input{parts/b.tex}\n% \\input{no}\n")
    (tmp_path / "parts" / "b.tex").write_text("B. \\input{parts/a}")
    reading = read("latex", tmp_path, split=False)
    assert (reading.parts[0].text or "").split() == ["A", "word.", "B.", "End."]
    assert reading.meta["missing_inputs"] == ["gone"]
    assert [f.reason for f in reading.faults] == [Reason.UNSAFE_ARCHIVE]  # the cycle


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "gz", "tar"])
def test_archives_are_told_by_content(tmp_path: Path, kind: str) -> None:
    files = {
        "ms.tex": "\\documentclass{a}\\begin{document}\\input{b}\\end{document}",
        "b.tex": "Body.",
        "extra.tex": "\\documentclass{a}\\begin{document}Supplement\\end{document}",
    }
    # arXiv names them all alike.
    path = tmp_path / "2401.00001.gz"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    elif kind == "gz":
        path.write_bytes(gzip.compress(b"\\documentclass{a}\\begin{document}Body.\\end{document}"))
    else:
        path.write_bytes(_tar(files, compressed=kind == "tar.gz"))
    reading = read("latex", path, split=False)
    assert reading.parts[0].text == "Body.\n"


def _tar(files: dict[str, str], compressed: bool) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compressed else "w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_the_stated_main_file_wins(tmp_path: Path) -> None:
    for name in ("a.tex", "b.tex"):
        (tmp_path / name).write_text(
            f"\\documentclass{{x}}\\begin{{document}}{name}\\end{{document}}"
        )
    tree, _ = open_tree(tmp_path)
    assert find_main(tree)[0] == "a.tex"
    (tmp_path / "00README.XXX").write_text("b.tex toplevelfile\n")
    tree, _ = open_tree(tmp_path)
    assert find_main(tree) == ("b.tex", [])


def test_comments() -> None:
    assert strip_comments("a % x\nb \\% c\\\\% d\n\ne") == "a b \\% c\\\\\n\ne"
    assert strip_comments("a\n% x\n% y\nb\n%\n\nc") == "a\nb\n\n\nc"


def test_what_pandoc_refuses_keeps_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corpus.formats import latex

    real = latex.to_markdown

    def refuse(markup: str, *args: object, **kwargs: object) -> str:
        if "poison" in markup:
            raise Unreadable(Reason.BAD_LATEX, "no")
        return real(markup, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(latex, "to_markdown", refuse)
    reading = _paper(tmp_path, "First \\emph{one}.\n\nA \\emph{poison} one.\n\nLast $x$.")
    assert reading.parts[0].text == "First *one*.\n\nA poison one.\n\nLast $x$.\n"
    assert reading.meta["pieces_without_markup"] == 1


def test_flatten_counts_files(tmp_path: Path) -> None:
    (tmp_path / "ms.tex").write_text("\\documentclass{a}\\begin{document}x\\end{document}")
    tree, main = open_tree(tmp_path / "ms.tex")
    assert flatten(tree, main or "").used == ["ms.tex"]


@pytest.mark.parametrize(
    "data",
    [b"%PDF-1.4 x", b"\x1f\x8b junk", gzip.compress(b"%PDF-1.5", mtime=0), b""],
    # The packed bytes differ between Python's versions of zlib, so they are no name.
    ids=["pdf", "no gzip", "packed pdf", "empty"],
)
def test_what_is_no_latex(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        read("latex", path, split=False)


def test_parts_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    texts = {
        "ms.tex": r"\input{in/a} \include{b.tex} % \input{c}",
        "in/a.tex": "x",
        "b.tex": "y",
        "c.tex": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = parts_of_others([tmp_path / name for name in texts])
    assert found == {tmp_path / "in" / "a.tex", tmp_path / "b.tex"}
