"""HTML, EPUB, OpenStax and PDF outlines."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path

import pypdf
import pytest

from core.rejects import Reason
from corpus.formats import BOOK_ENDINGS, ENDINGS, book_kind, read
from corpus.formats.html_markdown import under_title
from corpus.reading import Reading, Unreadable


def _page(tmp_path: Path, body: str, head: str = "") -> Reading:
    path = tmp_path / "page.html"
    path.write_text(f"<html><head>{head}</head><body>{body}</body></html>", "utf-8")
    return read("html", path, split=False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<h1>T</h1><p>One <b>two</b>,\n<a href='x'>three</a>.<img src='y' alt='pic'></p>",
         "# T\n\nOne **two**, three."),
        ("<nav>menu</nav><main><p>Text of the page</p></main><footer>foot</footer>",
         "Text of the page"),
        ("<header><h1>Title</h1><ul><li>x</li></ul></header><p>Text</p><script>x()</script>",
         "# Title\n\nText"),
        ("<p>H<sub>2</sub>O and 10<sup>-8</sup></p>", "H₂O and 10⁻⁸"),
        ("<table><tr><th>A</th><th>B</th></tr><tr><td colspan='2'>w</td></tr>"
         "<tr><td><p>c</p><p>d</p></td><td>e|f</td></tr></table>",
         "| A | B |\n|---|---|\n| w | |\n| c d | e\\|f |"),
        ("<table><tr><td>layout</td></tr></table>", "layout"),
        ("<pre>a  b</pre><ul><li>one</li><li>two</li></ul>", "    a  b\n\n- one\n- two"),
        ("<div><div>Verse one</div><div>verse two</div><div>verse three</div></div>",
         "Verse one\nverse two\nverse three"),
        ("<dl><dt>star</dt><dd>a ball of gas</dd></dl>", "**star**\n\na ball of gas"),
        ("<p><img src='t.png' alt='T'>here was</p>", "There was"),
        # Formulas, in the ways of the web.
        ("<p>is <math xmlns='http://www.w3.org/1998/Math/MathML'><msup><mi>a</mi><mn>2</mn></msup>"
         "</math></p>", "is $a^{2}$"),
        ("<p>is <math alttext='\\displaystyle a^{2}'><mi>x</mi></math></p>", "is $a^{2}$"),
        ("<p>is <script type='math/tex'>b_1</script></p>", "is $b_1$"),
        ("<p>is <span class='katex'><span class='katex-mathml'><math><semantics><mi>x</mi>"
         "<annotation encoding='application/x-tex'>c^3</annotation></semantics></math></span>"
         "<span class='katex-html' aria-hidden='true'>c3</span></span></p>", "is $c^3$"),
        ("<script src='MathJax.js'></script><p>is \\(x&lt;1\\) and $$y$$</p>", 
         "is $x<1$ and $$y$$"),
        ("<p>costs $5 and $6</p>", r"costs \$5 and \$6"),
        ("<table class='ltx_equation ltx_eqn_table'><tr><td><math alttext='e=f'></math></td>"
         "<td>(1)</td></tr></table>", "$$e=f$$"),
    ],
)  # fmt: skip
def test_html(tmp_path: Path, body: str, expected: str) -> None:
    assert (_page(tmp_path, body).parts[0].text or "").strip("\n") == expected


def test_html_says_what_it_is(tmp_path: Path) -> None:
    head = (
        '<title>Site</title><meta name="citation_title" content="On stars">'
        '<meta name="citation_author" content="A. One">'
        '<meta name="citation_author" content="B. Two">'
        '<meta name="citation_publication_date" content="2020/03/04">'
        '<link rel="canonical" href="https://a.b/c">'
    )
    body = '<p>Text <a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC</a></p>'
    reading = _page(tmp_path, body, head)
    assert reading.title == "On stars"
    assert reading.authors == ["A. One", "B. Two"]
    assert reading.created == date(2020, 3, 4)
    assert reading.license == "https://creativecommons.org/licenses/by/4.0/"
    assert reading.url == "https://a.b/c"
    assert (reading.parts[0].text or "").startswith("# On stars\n")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "koi8-r"])
def test_html_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.html"
    word = "звезда" if encoding == "koi8-r" else "naïve “star”"
    path.write_bytes(f'<meta charset="{encoding}"><p>{word}</p>'.encode(encoding))
    assert word in (read("html", path, split=False).parts[0].text or "")


def test_headings_under_a_title() -> None:
    assert under_title("## A\n\n### B\n", None) == "# A\n\n## B\n"
    assert under_title("Text\n\n# A\n", "T") == "# T\n\nText\n\n## A\n"


CONTAINER = '<container><rootfiles><rootfile full-path="OPS/p.opf"/></rootfiles></container>'
OPF = """<package xmlns="http://www.idpf.org/2007/opf"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>
<dc:title>Sky &amp; Stars</dc:title><dc:creator id="a">A. One</dc:creator>
<dc:creator id="b">B. Draw</dc:creator><meta refines="#b" property="role">ill</meta>
<dc:language>en</dc:language><dc:date>1900-01-02</dc:date><dc:rights>CC BY</dc:rights>
</metadata><manifest>
<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>
<item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>
<item id="c1" href="c%201.xhtml" media-type="application/xhtml+xml"/>
<item id="c1b" href="c1b.xhtml" media-type="application/xhtml+xml"/>
<item id="c2" href="c2.xhtml" media-type="application/xhtml+xml"/>
</manifest><spine><itemref idref="cover"/><itemref idref="nav"/><itemref idref="c1"/>
<itemref idref="c1b"/><itemref idref="c2"/><itemref idref="gone"/></spine></package>"""
NAV = """<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body>
<nav epub:type="toc"><ol><li><a href="c%201.xhtml">Sun</a></li>
<li><a href="c2.xhtml#m">Moon</a></li><li><a href="c2.xhtml#s">Star</a></li></ol></nav></body>
</html>"""
PAGES = {
    "OPS/nav.xhtml": NAV,
    "OPS/cover.xhtml": "<html><body><p>Sky and Stars, a cover</p></body></html>",
    "OPS/c 1.xhtml": "<html><body><h2>Sun</h2><p>The caf&eacute;&nbsp;sun.</p></body></html>",
    "OPS/c1b.xhtml": "<html><body><p>More sun.</p></body></html>",
    "OPS/c2.xhtml": "<html><body><div id='m'><h1>Moon</h1><p>Moon text.</p></div>"
    "<h1 id='s'>Star</h1><p>Star &lt; text.</p></body></html>",
}


def _epub(path: Path, extra: dict[str, str] | None = None, opf: str = OPF) -> Path:
    files = {"META-INF/container.xml": CONTAINER, "OPS/p.opf": opf, **PAGES, **(extra or {})}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_epub_chapters_come_from_the_table_of_contents(tmp_path: Path) -> None:
    reading = read("epub", _epub(tmp_path / "b.epub"), split=True)
    assert [(p.title, p.text) for p in reading.parts] == [
        ("Sun", "# Sun\n\nThe café sun.\n\nMore sun.\n"),
        ("Moon", "# Moon\n\nMoon text.\n"),
        ("Star", "# Star\n\nStar < text.\n"),
    ]
    assert (reading.title, reading.authors, reading.language) == ("Sky & Stars", ["A. One"], "en")
    assert (reading.license, reading.created) == ("CC BY", date(1900, 1, 2))
    assert {f.reason for f in reading.faults} == {Reason.NOT_PROSE}
    assert any("cover" in f.detail and "a cover" in (f.text or "") for f in reading.faults)


def test_epub_as_one_text(tmp_path: Path) -> None:
    reading = read("epub", _epub(tmp_path / "b.epub"), split=False)
    assert len(reading.parts) == 1
    assert (reading.parts[0].text or "").startswith("# Sky & Stars\n\n# Sun\n\nThe")


NCX = """<ncx><navMap><navPoint><navLabel><text>Part I</text></navLabel><content src="c%201.xhtml"/>
<navPoint><navLabel><text>Sun</text></navLabel><content src="c1b.xhtml"/></navPoint></navPoint>
<navPoint><navLabel><text>Moon</text></navLabel><content src="c2.xhtml"/></navPoint></navMap>
</ncx>"""


def test_epub_with_parts_in_an_ncx(tmp_path: Path) -> None:
    opf = OPF.replace(' properties="nav"', "").replace(
        "</manifest>",
        '<item id="n" href="t.ncx" media-type="application/x-dtbncx+xml"/></manifest>',
    )
    reading = read("epub", _epub(tmp_path / "b.epub", {"OPS/t.ncx": NCX}, opf), split=True)
    assert [p.title for p in reading.parts] == ["Part I", "Sun", "Moon"]


def test_epub_under_rights_management(tmp_path: Path) -> None:
    def encryption(algorithm: str) -> dict[str, str]:
        method = f'<encryption><EncryptionMethod Algorithm="{algorithm}"/></encryption>'
        return {"META-INF/encryption.xml": method}

    with pytest.raises(Unreadable, match="encrypted"):
        read("epub", _epub(tmp_path / "a.epub", encryption("http://x/aes")), split=True)
    fonts = encryption("http://www.idpf.org/2008/embedding")
    assert read("epub", _epub(tmp_path / "b.epub", fonts), split=True).parts


def test_epub_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.epub"
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(Unreadable, match="bad zip"):
        read("epub", path, split=True)


def test_a_damaged_chapter_of_an_epub_costs_that_chapter(tmp_path: Path) -> None:
    path = _epub(tmp_path / "b.epub")
    path.write_bytes(path.read_bytes().replace(b"Moon text.", b"Moon tuxt."))
    reading = read("epub", path, split=True)
    assert [p.title for p in reading.parts] == ["Sun"]
    faults = [f for f in reading.faults if f.reason is Reason.UNREADABLE_FILE]
    assert ["OPS/c2.xhtml: bad zip" in f.detail for f in faults] == [True]


MODULE = """<document xmlns="http://cnx.rice.edu/cnxml"
 xmlns:m="http://www.w3.org/1998/Math/MathML"><title>Light</title>
<metadata xmlns:md="http://cnx.rice.edu/mdml"><md:content-id>m1</md:content-id></metadata><content>
<para id="p">A <term>wave</term> of <emphasis effect="italics">light</emphasis>,
<m:math><m:mi>c</m:mi>
</m:math>; see <link target-id="f"/> and <link url="http://x.y">this</link><footnote>Note.</footnote>.
<list list-type="enumerated"><item>one</item><item>two</item></list></para>
<section id="s"><title>More</title><figure id="f"><title>Ray.</title>
<media alt="described"><image src="x"/></media><caption>A ray.</caption></figure>
<equation><m:math><m:mi>E</m:mi></m:math></equation>
<note><title>Box</title><para>Inside.</para></note>
<table><tgroup cols="2"><colspec colname="a"/><colspec colname="b"/><thead>
<row><entry namest="a" nameend="b">All</entry></row><row><entry>X</entry><entry>Y</entry></row>
</thead>
<tbody><row><entry>1</entry><entry>2</entry></row></tbody></tgroup></table>
<exercise><problem><para>Why?</para></problem><solution><para>So.</para></solution></exercise></section>
</content><glossary><definition><term>wave</term><meaning>a motion</meaning></definition></glossary>
</document>"""
COLLECTION = """<col:collection xmlns:col="http://cnx.rice.edu/collxml"><metadata
 xmlns:md="http://cnx.rice.edu/mdml"><md:title>Sky</md:title><md:language>en</md:language>
<md:license url="https://creativecommons.org/licenses/by/4.0/"/></metadata><col:content>
<col:module document="m0"/><col:subcollection xmlns:md="http://cnx.rice.edu/mdml">
<md:title>Waves</md:title><col:content><col:module document="m1"/><col:module document="../m1"/>
</col:content></col:subcollection></col:content></col:collection>"""


def test_openstax(tmp_path: Path) -> None:
    for name in ("m0", "m1"):
        folder = tmp_path / "modules" / name
        folder.mkdir(parents=True)
        (folder / "index.cnxml").write_text(MODULE, "utf-8")
    (tmp_path / "modules" / "m0" / "index.cnxml").write_text(
        '<document xmlns="http://cnx.rice.edu/cnxml"><title>Preface</title><content>'
        "<para>Hello.</para></content></document>"
    )
    folder = tmp_path / "collections"
    folder.mkdir()
    (folder / "sky.collection.xml").write_text(COLLECTION, "utf-8")
    reading = read("openstax", folder / "sky.collection.xml", split=True)
    assert [p.title for p in reading.parts] == ["Preface", "Waves"]
    assert reading.parts[0].text == "# Preface\n\nHello.\n"
    assert (reading.parts[1].text or "").split("\n") == [
        "# Waves", "", "## Light", "",
        "A **wave** of *light*, $c$; see the figure and this (Note.).", "",
        "1.  one", "2.  two", "",
        "### More", "", "Figure: **Ray.** A ray.", "", "$$E$$", "", "**Box**", "", "Inside.", "",
        "All", "", "| X | Y |", "|---|---|", "| 1 | 2 |", "",
        "**Exercise 1.** Why?", "", "**Solution.** So.", "",
        "### Glossary", "", "**wave**: a motion", "",
    ]  # fmt: skip
    assert reading.license == "https://creativecommons.org/licenses/by/4.0/"
    assert [f.reason for f in reading.faults] == [Reason.MISSING_PART]
    single = read("openstax", tmp_path / "modules" / "m1" / "index.cnxml", split=True)
    assert (single.parts[0].text or "").startswith("# Light\n\nA **wave**")


def _pdf(path: Path, pages: int, outline: list[tuple[str, int, list[tuple[str, int]]]]) -> Path:
    writer = pypdf.PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(width=100, height=100)
    for title, page, children in outline:
        parent = writer.add_outline_item(title=title, page_number=page - 1)
        for name, number in children:
            writer.add_outline_item(title=name, page_number=number - 1, parent=parent)
    writer.add_metadata({"/Title": "Sky", "/Author": "A. One"})
    buffer = io.BytesIO()
    writer.write(buffer)
    path.write_bytes(buffer.getvalue())
    return path


def test_pdf_chapters_from_the_outline(tmp_path: Path) -> None:
    outline: list[tuple[str, int, list[tuple[str, int]]]] = [
        ("Contents", 2, []),
        ("1 Sun", 3, [("1.1 Core", 4)]),
        ("2 Moon", 6, []),
        ("Index", 9, []),
    ]
    reading = read("pdf", _pdf(tmp_path / "b.pdf", 10, outline), split=True)
    spans = [(p.title, p.meta["first_page"], p.meta["last_page"], p.meta.get("matter"))
             for p in reading.parts]  # fmt: skip
    assert spans == [
        (None, 1, 1, "front"),
        ("Contents", 2, 2, "front"),
        ("1 Sun", 3, 5, None),
        ("2 Moon", 6, 8, None),
        ("Index", 9, 10, "back"),
    ]
    assert all(p.text is None for p in reading.parts)
    assert (reading.title, reading.authors) == ("Sky", ["A. One"])


def test_pdf_parts_and_a_single_root_are_looked_into(tmp_path: Path) -> None:
    parts: list[tuple[str, int, list[tuple[str, int]]]] = [
        ("Part I", 1, [("One", 1), ("Two", 3)]),
        ("Part II", 5, [("Three", 6)]),
    ]
    reading = read("pdf", _pdf(tmp_path / "a.pdf", 8, parts), split=True)
    assert [(p.title, p.meta["first_page"]) for p in reading.parts] == [
        ("One", 1), ("Two", 3), ("Part II", 5), ("Three", 6),
    ]  # fmt: skip
    root: list[tuple[str, int, list[tuple[str, int]]]] = [("Book", 1, [("One", 2), ("Two", 3)])]
    reading = read("pdf", _pdf(tmp_path / "b.pdf", 4, root), split=True)
    assert [p.title for p in reading.parts][-2:] == ["One", "Two"]


def test_pdf_without_outline_is_one_part(tmp_path: Path) -> None:
    reading = read("pdf", _pdf(tmp_path / "b.pdf", 3, []), split=True)
    assert [p.meta for p in reading.parts] == [{"first_page": 1, "last_page": 3}]
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.4 nothing")
    with pytest.raises(Unreadable) as caught:
        read("pdf", tmp_path / "c.pdf", split=True)
    assert caught.value.reason is Reason.PDF_CORRUPT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.EPUB", "epub"), ("b/collection.xml", "openstax"), ("x.collection.xml", "openstax"),
        ("c.pdf", "pdf"), ("d.tar.gz", "latex"), ("e.mmd", "nougat"), ("f.md", "markdown"),
        ("g.xhtml", "html"), ("h.txt", "text"), ("i.docx", None),
    ],
)  # fmt: skip
def test_kinds_of_books(name: str, kind: str | None) -> None:
    assert book_kind(Path(name)) == kind
    if kind is not None:
        assert name.lower().endswith(ENDINGS[kind])
        assert name.lower().endswith(BOOK_ENDINGS)
