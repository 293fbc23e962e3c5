"""A small wiki as Wikimedia writes dumps: SQL tables in each schema, XML in each packing."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

HEAD = """\
/*!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.5.29-MariaDB
DROP TABLE IF EXISTS `{table}`;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `{table}` (
{columns},
  PRIMARY KEY (`{first}`)
) ENGINE=InnoDB DEFAULT CHARSET=binary;
/*!40000 ALTER TABLE `{table}` DISABLE KEYS */;
"""
TAIL = (
    "/*!40000 ALTER TABLE `{table}` ENABLE KEYS */;\n\n-- Dump completed on 2026-01-01 13:22:16\n"
)

TYPES = {
    "int": "int(8) unsigned NOT NULL DEFAULT 0",
    "null_int": "bigint(20) unsigned DEFAULT NULL",
    "bytes": "varbinary(255) NOT NULL DEFAULT ''",
    "time": "timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()",
    "kind": "enum('page','subcat','file') NOT NULL DEFAULT 'page'",
    "float": "double unsigned NOT NULL DEFAULT 0",
}
PAGE = {
    "page_id": "int", "page_namespace": "int", "page_title": "bytes", "page_is_redirect": "int",
    "page_is_new": "int", "page_random": "float", "page_touched": "bytes", "page_latest": "int",
    "page_content_model": "bytes", "page_lang": "bytes",
}  # fmt: skip
LINKTARGET = {"lt_id": "int", "lt_namespace": "int", "lt_title": "bytes"}
REDIRECT = {
    "rd_from": "int", "rd_namespace": "int", "rd_title": "bytes", "rd_interwiki": "bytes",
    "rd_fragment": "bytes",
}  # fmt: skip
LINKS = {
    "old": {
        "cl_from": "int", "cl_to": "bytes", "cl_sortkey": "bytes", "cl_timestamp": "time",
        "cl_sortkey_prefix": "bytes", "cl_collation": "bytes", "cl_type": "kind",
    },
    "new": {
        "cl_from": "int", "cl_sortkey": "bytes", "cl_timestamp": "time",
        "cl_sortkey_prefix": "bytes", "cl_type": "kind", "cl_collation_id": "int",
        "cl_target_id": "int",
    },
    "both": {
        "cl_from": "int", "cl_to": "bytes", "cl_sortkey": "bytes", "cl_timestamp": "time",
        "cl_sortkey_prefix": "bytes", "cl_collation": "bytes", "cl_type": "kind",
        "cl_collation_id": "int", "cl_target_id": "null_int",
    },
}  # fmt: skip
# What tools that split at commas, brackets, quotes or line ends trip over.
AWKWARD_KEY = b"A'B\\C\n),(1,'x','page',2);\r\t\x00\x1a\xff\xfe\"(NULL)"

_ESCAPES = {
    0: b"\\0", 8: b"\\b", 9: b"\\t", 10: b"\\n", 13: b"\\r", 26: b"\\Z", 34: b'\\"', 39: b"\\'",
    92: b"\\\\",
}  # fmt: skip

Value = int | float | bytes | None


def quoted(value: Value) -> bytes:
    """Returns a value as mysqldump writes it."""
    if value is None:
        return b"NULL"
    if isinstance(value, bytes):
        return b"'" + b"".join(_ESCAPES.get(c, bytes([c])) for c in value) + b"'"
    return str(value).encode()


def sql_dump(
    table: str,
    columns: dict[str, str],
    rows: Sequence[Sequence[Value]],
    rows_per_insert: int = 1000,
) -> bytes:
    """Returns a table's dump."""
    listed = ",\n".join(f"  `{name}` {TYPES[kind]}" for name, kind in columns.items())
    text = HEAD.format(table=table, columns=listed, first=next(iter(columns))).encode()
    for at in range(0, len(rows), rows_per_insert):
        values = (b"(" + b",".join(map(quoted, row)) + b")" for row in rows[at:][:rows_per_insert])
        text += b"INSERT INTO `%s` VALUES " % table.encode() + b",".join(values) + b";\n"
    return text + TAIL.format(table=table).encode()


def write_gzip(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


@dataclass
class WikiPage:
    page_id: int
    title: str
    namespace: int = 0
    text: str = "Some text."
    redirect: str | None = None
    model: str = "wikitext"
    categories: tuple[str, ...] = ()


@dataclass
class Wiki:
    """Pages, with the categories that each is in."""

    pages: list[WikiPage] = field(default_factory=list)

    def add(self, title: str, *categories: str, namespace: int = 0, **facts: object) -> WikiPage:
        page = WikiPage(len(self.pages) * 7 + 10, title, namespace, categories=categories, **facts)  # type: ignore[arg-type]
        self.pages.append(page)
        return page

    def category(self, title: str, *categories: str) -> WikiPage:
        return self.add(title, *categories, namespace=14)

    def write_tables(self, folder: Path, schema: str) -> dict[str, str]:
        """Writes the tables; returns the recipe's keys for them."""
        ids = {
            title: 500 + n
            for n, title in enumerate(dict.fromkeys(c for p in self.pages for c in p.categories))
        }
        page_rows: list[list[Value]] = [
            [p.page_id, p.namespace, _key(p.title), int(p.redirect is not None), 0, 0.25,
             b"20260101000000", p.page_id, b"wikitext", None]
            for p in self.pages
        ]  # fmt: skip
        targets: list[list[Value]] = [[n, 14, _key(title)] for title, n in ids.items()]
        # The same titles as articles: another namespace, not a category.
        targets += [[n + 10_000, 0, _key(title)] for title, n in ids.items()]
        redirects: list[list[Value]] = [
            [p.page_id, 0, _key(p.redirect), b"", b""] for p in self.pages if p.redirect is not None
        ]
        tables = {
            "page": sql_dump("page", PAGE, page_rows),
            "categorylinks": sql_dump("categorylinks", LINKS[schema], self._links(schema, ids), 3),
            "linktarget": sql_dump("linktarget", LINKTARGET, targets),
            "redirect": sql_dump("redirect", REDIRECT, redirects),
        }
        if schema == "old":
            del tables["linktarget"]
        return {
            name: write_gzip(folder / f"xxwiki-{schema}-{name}.sql.gz", text).name
            for name, text in tables.items()
        }

    def _links(self, schema: str, ids: dict[str, int]) -> list[list[Value]]:
        rows: list[list[Value]] = []
        for number, (page, category) in enumerate((p, c) for p in self.pages for c in p.categories):
            kind = {14: b"subcat", 6: b"file"}.get(page.namespace, b"page")
            # In the months of both schemas either column may be the filled one.
            by_target = schema == "new" or number % 2 == 0
            values: dict[str, Value] = {
                "cl_from": page.page_id, "cl_to": _key(category), "cl_sortkey": AWKWARD_KEY,
                "cl_timestamp": b"2025-02-17 13:31:43", "cl_sortkey_prefix": b"", "cl_type": kind,
                "cl_collation": b"uca-default-u-kn", "cl_collation_id": 1,
                "cl_target_id": ids[category] if by_target else None,
            }  # fmt: skip
            if schema == "both" and by_target:
                values["cl_to"] = b""
            rows.append([values[name] for name in LINKS[schema]])
        return rows


def _key(title: str) -> bytes:
    return title.replace(" ", "_").encode()


SITEINFO = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-{version}/" version="{version}">
  <siteinfo>
    <dbname>xxwiki</dbname>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""


def page_xml(page: WikiPage, version: str = "0.11") -> str:
    """Returns a page as a dump has it; its revision's id is a hundred times its own."""
    redirect = f"    <redirect title={quoteattr(page.redirect)} />\n" if page.redirect else ""
    origin = f"      <origin>{page.page_id}00</origin>\n" if version == "0.11" else ""
    title = {1: "Talk:", 14: "Kategorie:"}.get(page.namespace, "") + page.title
    return f"""  <page>
    <title>{escape(title)}</title>
    <ns>{page.namespace}</ns>
    <id>{page.page_id}</id>
{redirect}    <revision>
      <id>{page.page_id}00</id>
      <timestamp>2025-03-04T05:06:07Z</timestamp>
      <contributor>
        <username>Someone</username>
        <id>1</id>
      </contributor>
      <comment>with &lt;page&gt; in it</comment>
{origin}      <model>{page.model}</model>
      <format>text/x-wiki</format>
      <text bytes="{len(page.text)}" xml:space="preserve">{escape(page.text)}</text>
      <sha1>phoiac9h4m842xq45sp7s6u21eteeq1</sha1>
    </revision>
  </page>
"""


def single_xml(pages: Iterable[WikiPage], version: str = "0.11") -> bytes:
    """Returns a whole dump as one XML text."""
    body = "".join(page_xml(page, version) for page in pages)
    return (SITEINFO.format(version=version) + body + "</mediawiki>\n").encode()


def write_multistream(
    folder: Path, pages: Sequence[WikiPage], per_stream: int = 3, part: str = "", span: str = ""
) -> tuple[Path, Path, list[int]]:
    """Writes a multistream dump and its index; returns both and the streams' offsets."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "xxwiki-20260101-pages-articles-multistream"
    dump = folder / f"{stem}{part}.xml{span}.bz2"
    index = folder / f"{stem}-index{part}.txt{span}.bz2"
    content = bz2.compress(SITEINFO.format(version="0.11").encode())
    lines, offsets = "", []
    for at in range(0, len(pages), per_stream):
        group = pages[at : at + per_stream]
        offsets.append(len(content))
        lines += "".join(f"{len(content)}:{p.page_id}:{p.title}\n" for p in group)
        content += bz2.compress("".join(map(page_xml, group)).encode())
    dump.write_bytes(content + bz2.compress(b"</mediawiki>"))
    index.write_bytes(bz2.compress(lines.encode()))
    return dump, index, offsets
