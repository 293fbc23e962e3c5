"""Hostile files: bombs, entities, paths and links that lead out, requests for files."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from core.rejects import Reason
from corpus.formats import latex, read
from corpus.formats.archive import Limits, gunzip, is_tar, read_tar, read_zip, safe_name
from corpus.formats.html_tree import parse_xhtml, parse_xml
from corpus.formats.pandoc import to_markdown
from corpus.formats.tex_source import flatten, open_tree
from corpus.reading import Unreadable

SMALL = Limits(members=50, member_bytes=1_000_000, total_bytes=2_000_000, ratio=20.0)


def _spent_seconds() -> float:
    """Returns the processor time so far, that of ended children included."""
    return sum(os.times()[:4])


def _zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.tex", b"\0" * 300_000_000)


def test_zip_bomb_stops_at_the_limit_not_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    _zip_bomb(path)
    tracemalloc.start()
    with pytest.raises(Unreadable) as caught:
        read("latex", path, split=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    assert peak < 150_000_000


def test_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.tex", b"x" * 5_000_000)
    data = path.read_bytes()
    true_size = (5_000_000).to_bytes(4, "little")
    path.write_bytes(data.replace(true_size, (10).to_bytes(4, "little")))
    with pytest.raises(Unreadable):
        read_zip(path, limits=SMALL)


def test_gzip_bomb(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(packer.compress(b"\0" * 10_000_000) for _ in range(50)) + packer.flush()
    start = _spent_seconds()
    with pytest.raises(Unreadable) as caught:
        gunzip(data, "bomb.gz")
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    assert _spent_seconds() - start < 5
    path = tmp_path / "2401.00001.gz"
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        read("latex", path, split=False)


def test_archive_of_too_many_members() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i in range(60):
            archive.addfile(tarfile.TarInfo(f"{i}.tex"))
    with pytest.raises(Unreadable, match="members"):
        read_tar(buffer.getvalue(), "x.tar", limits=SMALL)


def _tar(members: list[tarfile.TarInfo], data: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return buffer.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [
        _member("/etc/passwd"),
        _member("../../up.tex"),
        _member("a/../../up.tex"),
        _member("link.tex", tarfile.SYMTYPE, "/etc/passwd"),
        _member("hard.tex", tarfile.LNKTYPE, "ok.tex"),
        _member("device.tex", tarfile.CHRTYPE),
        _member("pipe.tex", tarfile.FIFOTYPE),
        _member("ok.tex"),
    ],
)
def test_unsafe_tar_members_are_refused_one_by_one(member: tarfile.TarInfo) -> None:
    contents = read_tar(_tar([_member("ok.tex"), member]), "x.tar")
    assert contents.files == {"ok.tex": b"x"}
    assert [f.reason for f in contents.faults] == [Reason.UNSAFE_ARCHIVE]


def test_tar_gz_with_absolute_paths_gives_the_paper_and_a_fault(tmp_path: Path) -> None:
    source = b"\\documentclass{a}\\begin{document}Text \\input{/tmp/evil}.\\end{document}"
    path = tmp_path / "p.tar.gz"
    path.write_bytes(gzip.compress(_tar([_member("ms.tex"), _member("/tmp/evil.tex")], source)))
    reading = read("latex", path, split=False)
    assert reading.parts[0].text == "Text .\n"
    assert {f.reason for f in reading.faults} == {Reason.UNSAFE_ARCHIVE}
    assert not Path("/tmp/evil.tex").exists()


@pytest.mark.parametrize(
    "name", ["/abs", "../up", "a/../../b", "", ".", "C:\\x", "c:/x", "a\0b", "x" * 2000]
)
def test_unsafe_names(name: str) -> None:
    assert safe_name(name) is None


def test_zip_members_that_are_unsafe(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ok.txt", "x")
        archive.writestr("../up.txt", "x")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ok.txt", "y")
    contents = read_zip(path)
    assert contents.files == {"ok.txt": b"x"}
    assert len(contents.faults) == 3


def test_encrypted_zip(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.tex", "x")
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Unreadable, match="encrypted"):
        read_zip(path)


BILLION = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    + "]><html><body><p>&j;</p></body></html>"
)
EXTERNAL = (
    '<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<html><body><p>&x;</p></body></html>"
)
SUBSET = '<!DOCTYPE html [<!ELEMENT p ANY>]><html xmlns="x"><body/></html>'


@pytest.mark.parametrize("text", [BILLION, EXTERNAL, SUBSET])
def test_entities_are_refused(text: str) -> None:
    for parse in (parse_xml, parse_xhtml):
        with pytest.raises(Unreadable, match="declares"):
            parse(text, "x")


def test_external_document_types_are_not_loaded_and_html_entities_work() -> None:
    text = (
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://192.0.2.1/xhtml11.dtd">'
        "<html><body>&eacute;&nbsp;&mdash;&amp;&unknown;</body></html>"
    )
    root = parse_xml(text, "x")
    assert "".join(str(t) for t in root.itertext()) == "é\xa0—&&unknown;"


@pytest.mark.parametrize("ending", [".html", ".epub", ".cnxml", "collection.xml"])
def test_hostile_xml_through_every_reader(tmp_path: Path, ending: str) -> None:
    secret = Path("/etc/passwd").read_text("utf-8").split("\n")[0]
    kind = {".html": "html", ".epub": "epub"}.get(ending, "openstax")
    for text in (BILLION, EXTERNAL):
        path = tmp_path / f"x{ending}"
        if ending == ".epub":
            _epub_of(path, text)
        else:
            path.write_text(text, "utf-8")
        start = _spent_seconds()
        try:
            reading = read(kind, path, split=True)
        except Unreadable:
            assert _spent_seconds() - start < 5
            continue
        written = "".join(p.text or "" for p in reading.parts)
        assert secret not in written
        assert len(written) < 1000


def _epub_of(path: Path, page: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "META-INF/container.xml", '<container><rootfile full-path="p.opf"/></container>'
        )
        archive.writestr(
            "p.opf",
            '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="a"/></spine></package>',
        )
        archive.writestr("a.xhtml", page)


def test_deep_nesting_is_refused_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "deep.html"
    path.write_text("<div>" * 100_000 + "x", "utf-8")
    with contextlib.suppress(Unreadable):
        read("html", path, split=False)
    for source in ("{" * 200_000, "$" * 200_000, "\\begin{figure}" * 20_000, "\\emph{" * 20_000):
        tex = tmp_path / "deep.tex"
        tex.write_text(source, "utf-8")
        start = _spent_seconds()
        with pytest.raises(Unreadable):
            raise_or_read(tex)
        assert _spent_seconds() - start < 30


def raise_or_read(path: Path) -> None:
    reading = read("latex", path, split=False)
    assert len(reading.parts[0].text or "") < 1_000_000
    raise Unreadable(Reason.BAD_LATEX, "read")


def test_links_out_of_a_tree_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.tex"
    secret.write_text("the secret")
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "out.tex").symlink_to(secret)
    (folder / "outdir").symlink_to(tmp_path, target_is_directory=True)
    (folder / "self.tex").symlink_to("self.tex")
    (folder / "ms.tex").write_text(
        "\\documentclass{a}\\begin{document}Text \\input{out}\\input{outdir/secret}\\input{self}"
        "\\input{../secret}\\input{/etc/passwd}\\input{|ls}\\input{~/x}\\end{document}"
    )
    for path in (folder, folder / "ms.tex"):
        tree, main = open_tree(path)
        flat = flatten(tree, main or "ms.tex")
        assert "secret" not in flat.text
        assert "root:" not in flat.text
        assert "../secret" in flat.refused
        assert "/etc/passwd" in flat.refused


@pytest.mark.parametrize(
    "body",
    [
        r"\input{/etc/passwd}",
        r"\lstinputlisting{/etc/passwd}",
        r"\verbatiminput{/etc/passwd}",
        r"\inputminted{text}{/etc/passwd}",
        r"\include{../../../../../etc/passwd}",
        r"\InputIfFileExists{/etc/passwd}{}{}",
        r"\newcommand{\f}{/etc/passwd}\input{\f}",
        r"\openin5=/etc/passwd \read5 to \x \x",
        r"\csname input\endcsname{/etc/passwd}",
        r"\let\get\input \get{/etc/passwd}",
        r"\bibliography{/etc/passwd}\citet{root}",
    ],
)
def test_latex_that_asks_for_files_gets_none(tmp_path: Path, body: str) -> None:
    secret = Path("/etc/passwd").read_text("utf-8").split("\n")[0]
    path = tmp_path / "x.tex"
    path.write_text(f"\\documentclass{{a}}\\begin{{document}}Text. {body}\\end{{document}}")
    assert secret not in (read("latex", path, split=False).parts[0].text or "")


@pytest.mark.parametrize(
    ("reader", "markup"),
    [
        ("latex", r"Text \input{/etc/passwd} \lstinputlisting{/etc/passwd} \include{/etc/passwd}"),
        ("latex", r"Text \includegraphics{/etc/passwd} \usepackage{/etc/passwd}"),
        ("html", '<p>Text</p><iframe src="/etc/passwd"></iframe><img src="/etc/passwd">'),
        ("html", '<p>Text</p><object data="file:///etc/passwd"></object>'),
    ],
)
def test_pandoc_itself_reads_nothing(reader: str, markup: str) -> None:
    secret = Path("/etc/passwd").read_text("utf-8").split("\n")[0]
    try:
        text = to_markdown(markup, reader)
    except Unreadable as error:
        text = error.detail
    assert secret not in text


def test_pandoc_time_limit_ends_the_process() -> None:
    before = _children()
    start = _spent_seconds()
    with pytest.raises(Unreadable, match="longer"):
        to_markdown("word " * 3_000_000, "latex", timeout_seconds=0.2)
    assert _spent_seconds() - start < 5
    assert _children() <= before


def _children() -> set[str]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(task.read_text().split()) if task.exists() else set()


def test_pandoc_refusal_names_its_reason() -> None:
    with pytest.raises(Unreadable, match="pandoc: ") as caught:
        to_markdown("\\begin{itemize}", "latex", reason=Reason.BAD_LATEX)
    assert caught.value.reason is Reason.BAD_LATEX


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "\\(",
        "$",
        "{",
        "*",
        "<",
        "&",
        "\\begin{",
        "%",
        "#",
        "\\[",
        "@a{",
        "<a ",
        "&#",
        "\n#",
        "((",
    ],
)
def test_hostile_repetition_takes_no_more_than_linear_time(
    tmp_path: Path, piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pandoc is slow on some of these; its own limit is tested elsewhere.
    monkeypatch.setattr(latex, "_WHOLE_SECONDS", 0.5)
    monkeypatch.setattr(latex, "_ALL_SECONDS", 0.5)
    data = (piece * (300_000 // len(piece))).encode()
    start = _spent_seconds()
    for kind, ending in (("text", "txt"), ("markdown", "md"), ("nougat", "mmd"), ("latex", "tex")):
        path = tmp_path / f"x.{ending}"
        path.write_bytes(data)
        try:
            read(kind, path, split=True)
        except Unreadable:
            continue
    assert _spent_seconds() - start < 8


def test_is_tar_on_noise() -> None:
    assert not is_tar(b"")
    assert not is_tar(os.urandom(512))
    assert is_tar(_tar([_member("a")]))
