"""Wikipedia dumps: rows and articles per second, against bare decompression, and peak memory.

Every measurement runs in a process of its own, on one core, so that its peak memory is its own. The
ceilings are what the same file costs to decompress and nothing else: zlib for SQL tables, bz2 for
dumps. Without files of your own it makes synthetic ones, of one and of ten times the size; the
number of categories stays, as memory may grow with that. Run with
``python -m bench.wikipedia [--dump FILE] [--categorylinks FILE]``.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.memory import Measured, measured
from core.recipe.sources import WikipediaSource
from core.stage import StageContext
from corpus.wikipedia.articles import read_stream
from corpus.wikipedia.categories import Tables, search
from corpus.wikipedia.dump import Place, RawPage, parse_page, read_header, read_pages
from corpus.wikipedia.members import find_members, select, table_targets
from corpus.wikipedia.sql import read_table, table_columns
from corpus.wikipedia.streams import wiki_streams

_CATEGORIES = 20_000
_ROWS_PER_INSERT = 9_000
_COLUMNS = {
    "page": "page_id int, page_namespace int, page_title varbinary, page_is_redirect tinyint, "
    "page_random double, page_touched binary, page_latest int",
    "linktarget": "lt_id bigint, lt_namespace int, lt_title varbinary",
    "redirect": "rd_from int, rd_namespace int, rd_title varbinary, rd_interwiki varbinary",
    "categorylinks": "cl_from int, cl_sortkey varbinary, cl_timestamp timestamp, "
    "cl_sortkey_prefix varbinary, cl_type enum, cl_collation_id smallint, cl_target_id bigint",
}
_PARAGRAPH = (
    "The '''{n}th cluster''' is a [[galaxy cluster|cluster of galaxies]] at a distance of "
    "{{{{convert|{n}|ly|pc}}}} with a mass of {{{{val|{n}.5|0.2|e=14|u=solar mass}}}}.<ref>{{{{"
    "cite journal |last=A |title=On cluster {n} |journal=ApJ |year=2001}}}}</ref> Its temperature "
    "is <math>T = {n}\\,\\mathrm{{keV}}</math>, as [[X-ray astronomy|X-ray]] spectra show.\n\n"
    "== Members {n} ==\n* [[Galaxy {n}]], elliptical\n* [[Galaxy 2-{n}]], spiral\n\n"
)


def decompress(path: Path) -> int:
    """Returns the decompressed size of a file, by decompressing it."""
    size = 0
    with gzip.open(path) if path.suffix == ".gz" else bz2.open(path) as stream:
        while piece := stream.read(1 << 20):
            size += len(piece)
    return size


def read_links(path: Path) -> int:
    """Returns the rows of ``categorylinks``, with the columns that a search needs."""
    rows = 0
    for batch in read_table(path, "categorylinks", ["cl_from", "cl_type", "cl_target_id"]):
        batch.integers("cl_from"), batch.integers("cl_target_id"), batch.texts("cl_type")
        rows += batch.rows
    return rows


def read_old_links(path: Path) -> int:
    """Returns the rows of ``categorylinks`` in the schema with ``cl_to``."""
    rows = 0
    for batch in read_table(path, "categorylinks", ["cl_from", "cl_type", "cl_to"]):
        batch.integers("cl_from"), batch.texts("cl_to"), batch.texts("cl_type")
        rows += batch.rows
    return rows


def whole_search(folder: Path) -> int:
    """Returns the links of synthetic tables, after a depth-2 search that read them twice."""
    names = ("page", "categorylinks", "linktarget", "redirect")
    page, links, targets, redirect = (folder / f"{name}.sql.gz" for name in names)
    tables = Tables(page, links, targets)
    tree = search(tables, ["C 0"], 2)
    members = find_members(tables, tree)
    select(tables, tree, members, table_targets(redirect), "en")
    return sum(batch.rows for batch in read_table(links, "categorylinks", ["cl_from"]))


def read_only(path: Path) -> int:
    """Returns the pages of a dump, each parsed."""
    source, context = _source(path)
    header = read_header(path)
    return sum(
        isinstance(raw, RawPage) and parse_page(raw, header) is not None
        for record in wiki_streams(source, context, None)
        if record.unit != "absent"
        for raw in read_pages(path, Place(record.unit, record.start, record.end))
    )


def read_and_render(path: Path) -> int:
    """Returns the articles of a dump, read and rendered to Markdown."""
    source, context = _source(path)
    return sum(
        document is not None
        for record in wiki_streams(source, context, None)
        for document, _ in read_stream(record, source, context.root)
    )


def _source(path: Path) -> tuple[WikipediaSource, StageContext]:
    source = WikipediaSource.model_validate({"kind": "wikipedia", "dump": path.name})
    return source, StageContext(path.parent / "run", path.parent, seed=0)


def _write_table(path: Path, table: str, rows: Iterator[bytes]) -> None:
    columns = ",\n".join(
        "  `{}` {} NOT NULL".format(*column.split()) for column in _COLUMNS[table].split(", ")
    )
    with gzip.open(path, "wb", compresslevel=3) as file:
        file.write(f"CREATE TABLE `{table}` (\n{columns}\n) ENGINE=InnoDB;\n".encode())
        group: list[bytes] = []
        for row in rows:
            group.append(row)
            if len(group) == _ROWS_PER_INSERT:
                file.write(f"INSERT INTO `{table}` VALUES ".encode() + b",".join(group) + b";\n")
                group = []
        if group:
            file.write(f"INSERT INTO `{table}` VALUES ".encode() + b",".join(group) + b";\n")


def make_tables(folder: Path, pages: int) -> None:
    """Writes tables of ``pages`` articles, four category links each, and 20,000 categories."""
    folder.mkdir()
    generator = np.random.default_rng(1)

    def page_rows() -> Iterator[bytes]:
        for n in range(_CATEGORIES):
            yield b"(%d,14,'C_%d',0,0.5,'20260101000000',1)" % (n + 1, n)
        for n in range(pages):
            kind = int(n % 2 == 1)
            yield b"(%d,0,'Article_%d',%d,0.5,'20260101000000',1)" % (n + 100_000, n, kind)

    def link_rows() -> Iterator[bytes]:
        row = b"(%d,'GALAXY (%d),\\'S\\nCLUSTER \\xc3','2025-02-17 13:31:43','Galaxy','%s',1,%d)"
        for n in range(1, _CATEGORIES):
            yield row % (n + 1, n, b"subcat", n // 12 + 1)
        for n in range(pages):
            for target in generator.integers(1, _CATEGORIES, 4).tolist():
                yield row % (n + 100_000, n, b"page", target)

    targets = (b"(%d,14,'C_%d')" % (n + 1, n) for n in range(_CATEGORIES))
    leads = (b"(%d,0,'Article_%d','')" % (n + 100_000, n - 1) for n in range(1, pages, 2))
    rows = {"page": page_rows(), "categorylinks": link_rows(), "linktarget": targets,
            "redirect": leads}  # fmt: skip
    for name, table_rows in rows.items():
        _write_table(folder / f"{name}.sql.gz", name, table_rows)


def make_dump(path: Path, articles: int) -> None:
    """Writes a multistream dump and its index: articles of some 10 kB, a hundred to a stream."""
    generator = random.Random(1)
    path.parent.mkdir(exist_ok=True)
    index: list[str] = []
    with path.open("wb") as file:
        file.write(bz2.compress(b"<mediawiki>\n"))
        for at in range(0, articles, 100):
            xml = ""
            for n in range(at, min(at + 100, articles)):
                index.append(f"{file.tell()}:{n + 1}:Cluster {n}\n")
                text = "".join(_PARAGRAPH.format(n=generator.randrange(10**6)) for _ in range(20))
                text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                xml += (
                    f"<page><title>Cluster {n}</title><ns>0</ns><id>{n + 1}</id><revision>"
                    f"<id>1</id><timestamp>2026-01-01T00:00:00Z</timestamp><model>wikitext</model>"
                    f"<text>{text}</text></revision></page>\n"
                )
            file.write(bz2.compress(xml.encode()))
        file.write(bz2.compress(b"</mediawiki>"))
    name = path.name.replace("multistream.xml.bz2", "multistream-index.txt.bz2")
    path.with_name(name).write_bytes(bz2.compress("".join(index).encode()))


def _row(table: Table, what: str, unit: str, done: Measured) -> None:
    count, rate = f"{done.value:,} {unit}", f"{done.value / done.seconds:,.0f}"
    table.add_row(what, count, f"{done.seconds:.1f}", rate, f"{done.peak_mib:.0f}")


def _measure_links(table: Table, path: Path, label: str) -> None:
    _row(table, f"{label}: decompress", "bytes", measured(decompress, path))
    new = "cl_target_id" in table_columns(path, "categorylinks")
    work = read_links if new else read_old_links
    _row(table, f"{label}: read", "rows", measured(work, path))


def _measure_dump(table: Table, path: Path, label: str) -> None:
    _row(table, f"{label}: decompress", "bytes", measured(decompress, path))
    _row(table, f"{label}: read and parse", "pages", measured(read_only, path))
    _row(table, f"{label}: read and render", "articles", measured(read_and_render, path))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dump", type=Path, help="a dump of your own")
    parser.add_argument("--categorylinks", type=Path, help="a table of your own")
    parser.add_argument("--pages", type=int, default=100_000, help="synthetic pages at 1x")
    parser.add_argument("--articles", type=int, default=200, help="synthetic articles at 1x")
    arguments = parser.parse_args()
    table = Table("measurement", "amount", "seconds", "per second", "peak, MiB")
    console = Console(width=110)
    if arguments.categorylinks:
        _measure_links(table, arguments.categorylinks, arguments.categorylinks.name)
    if arguments.dump:
        _measure_dump(table, arguments.dump, arguments.dump.name)
    if not (arguments.categorylinks or arguments.dump):
        with tempfile.TemporaryDirectory() as temporary:
            for factor in (1, 10):
                folder = Path(temporary) / f"tables-{factor}"
                make_tables(folder, arguments.pages * factor)
                _measure_links(table, folder / "categorylinks.sql.gz", f"categorylinks {factor}x")
                result = measured(whole_search, folder)
                _row(table, f"search {factor}x: two passes and one to count", "links", result)
            for factor in (1, 10):
                name = "bench-pages-articles-multistream.xml.bz2"
                path = Path(temporary) / f"dump-{factor}" / name
                make_dump(path, arguments.articles * factor)
                _measure_dump(table, path, f"dump {factor}x")
    console.print(table)


if __name__ == "__main__":
    main()
