"""Where arXiv papers' PDFs and LaTeX sources lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.arxiv_files import LATEX_ENDINGS, PDF_ENDINGS, find_paper, paper_names, source_tree


def find_pdf(folder: Path, identifier: str) -> Path | None:
    return find_paper(folder, identifier, PDF_ENDINGS)


def _put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"%PDF")


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("0704.0001", "0704.0001.pdf"),
        ("0704.0001", "0704.0001v3.pdf"),
        ("0704.0001", "0704/0704.0001v3.pdf"),
        ("0704.0001", "0704.0001V3.PDF"),
        ("2107.12345", "2107/2107.12345v1.pdf"),
        ("astro-ph/9901001", "astro-ph/9901001.pdf"),
        ("astro-ph/9901001", "astro-ph/9901001v2.pdf"),
        ("astro-ph/9901001", "astro-ph/9901/9901001v2.pdf"),
        ("astro-ph/9901001", "astro-ph/pdf/9901/9901001v2.pdf"),
        ("astro-ph/9901001", "9901/astro-ph9901001.pdf"),
        ("astro-ph/9901001", "astro-ph9901001v1.pdf"),
        ("astro-ph/9901001", "astro-ph_9901001.pdf"),
        ("math.GT/0309136", "math/0309136v1.pdf"),
        ("math.GT/0309136", "math0309136.pdf"),
    ],
)
def test_layouts(tmp_path: Path, identifier: str, name: str) -> None:
    _put(tmp_path, name)
    assert find_pdf(tmp_path, identifier) == tmp_path / name


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("0704.0001", "0704.00011.pdf"),
        ("0704.0001", "10704.0001.pdf"),
        ("0704.0001", "0704.0001.pdf.part"),
        ("0704.0001", "0704.0001v1.txt"),
        ("0704.0001", "0704.0001vx.pdf"),
        ("0704.0001", "0704.0001.pdf/inside"),
        ("astro-ph/9901001", "9901001.pdf"),
        ("astro-ph/9901001", "9901/9901001.pdf"),
        ("astro-ph/9901001", "hep-ph/9901001.pdf"),
        ("astro-ph/9901001", "9901/hep-ph9901001.pdf"),
    ],
)
def test_other_papers_files_are_not_taken(tmp_path: Path, identifier: str, name: str) -> None:
    _put(tmp_path, name)
    assert find_pdf(tmp_path, identifier) is None


def test_the_newest_version_wins_wherever_it_lies(tmp_path: Path) -> None:
    _put(tmp_path, "astro-ph/9901001v1.pdf", "astro-ph9901001v3.pdf", "9901/astro-ph_9901001.pdf")
    _put(tmp_path, "0704.0001.pdf", "0704.0001v2.pdf", "0704/0704.0001v10.pdf", "0704.0001v9.pdf")
    assert find_pdf(tmp_path, "0704.0001") == tmp_path / "0704" / "0704.0001v10.pdf"
    assert find_pdf(tmp_path, "astro-ph/9901001") == tmp_path / "astro-ph9901001v3.pdf"


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert find_pdf(tmp_path / "absent", "0704.0001") is None


@pytest.mark.parametrize(
    "name",
    [
        "0704.0001.tar.gz",
        "0704.0001v2.tgz",
        "0704/0704.0001v1.gz",
        "0704.0001.tex",
        "0704.0001.zip",
        "0704.0001",
        "0704/0704.0001v2/main.tex",
        "src/0704/0704.0001.gz",
    ],
)
def test_layouts_of_latex_sources(tmp_path: Path, name: str) -> None:
    _put(tmp_path, name)
    found = find_paper(tmp_path, "0704.0001", LATEX_ENDINGS)
    assert found == tmp_path / name.removesuffix("/main.tex")
    assert found is not None
    assert source_tree(found) == [tmp_path / name]
    assert find_paper(tmp_path, "0704.0002", LATEX_ENDINGS) is None


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.pdf").write_bytes(b"%PDF")
    folder = tmp_path / "pdf"
    _put(folder, "store/x.pdf")
    (folder / "0704.0001.pdf").symlink_to(tmp_path / "secret.pdf")
    (folder / "0704.0002.pdf").symlink_to(folder / "store" / "x.pdf")
    (folder / "0704.0003.pdf").symlink_to("0704.0003.pdf")  # a circle
    assert find_pdf(folder, "0704.0001") is None
    assert find_pdf(folder, "0704.0002") == folder / "0704.0002.pdf"
    assert find_pdf(folder, "0704.0003") is None


def test_names_are_all_files_below(tmp_path: Path) -> None:
    _put(tmp_path, "b.pdf", "0704/a.pdf")
    assert paper_names(tmp_path) == ["0704/a.pdf", "b.pdf"]
