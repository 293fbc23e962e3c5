"""Articles as documents: each wanted page of a stream ends as a document or as a reject."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import quote

from core.errors import InputError
from core.recipe.sources import WikipediaSource
from core.rejects import Reason, Reject
from core.storage.inputs import locate
from corpus.documents import Document
from corpus.wikipedia.dump import Fault, Header, Page, Place, RawPage, parse_page, read_header
from corpus.wikipedia.dump import read_pages as _read_pages
from corpus.wikipedia.streams import StreamRecord
from corpus.wikitext import render_article

Outcome = tuple[Document | None, Reject | None]

_LICENSE_URLS = {
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
}
# What MediaWiki's own links leave as it is (wfUrlencode).
_URL_SAFE = ";@$!*(),/~:"
_CATEGORY_NAMESPACE = 14
_CATEGORY = re.compile(r"\[\[\s{0,8}([^\[\]|:\n]{1,64}):\s{0,8}([^\[\]|\n]{1,255})")


def read_stream(record: StreamRecord, source: WikipediaSource, root: Path) -> Iterator[Outcome]:
    """Reads one part of a dump.

    Args:
        record: which part, and which pages of it.
        source: the recipe section.
        root: folder that the recipe's paths start from.

    Yields:
        (document, None) or (None, reject). With ``record.page_ids``, each of them exactly once;
        otherwise each page of namespace 0, and a reject for what could not be read.

    Raises:
        InputError: the dump is gone.
    """
    path = locate(root, record.file)
    if not path.is_file():
        raise InputError(
            "the dump is not there any more",
            where=str(path),
            remedy="put it back, or change the source's 'dump'; then run again",
        )
    header = read_header(path)
    wanted = None if record.page_ids is None else set(record.page_ids)
    faults = []
    for raw in _record_pages(path, record):
        if isinstance(raw, Fault):
            faults.append(raw.detail)
        elif _is_wanted(raw, wanted, header):
            yield _outcome(raw, source, header)
            if wanted is not None:
                wanted.remove(raw.page_id)
                if not wanted:
                    return
    yield from _losses(record, source, sorted(wanted or ()), faults)


def _record_pages(path: Path, record: StreamRecord) -> Iterator[RawPage | Fault]:
    if record.unit == "absent":
        return iter(())
    return _read_pages(path, Place(record.unit, record.start, record.end))


def _is_wanted(raw: RawPage, wanted: set[int] | None, header: Header) -> bool:
    if wanted is not None:
        return raw.page_id in wanted
    if raw.namespace is not None:
        return raw.namespace == 0
    page = parse_page(raw, header)
    return isinstance(page, Fault) or page.namespace == 0


def _losses(
    record: StreamRecord, source: WikipediaSource, lost: list[int], faults: list[str]
) -> Iterator[Outcome]:
    if record.page_ids is None:
        for number, fault in enumerate(faults):
            place = f"{record.file}@{record.start}" + (f"#{number}" if number else "")
            yield None, Reject(place, Reason.UNREADABLE_FILE, fault)
    for page_id in lost:
        reason, detail = Reason.MISSING_PAGE, "the dump has no page with this id"
        if faults:
            reason, detail = Reason.UNREADABLE_FILE, "; ".join(faults[:3])
        yield None, Reject(_doc_id(source, page_id), reason, detail)


def _doc_id(source: WikipediaSource, page_id: int) -> str:
    return f"wikipedia:{source.language}:{page_id}"


def _outcome(raw: RawPage, source: WikipediaSource, header: Header) -> Outcome:
    doc_id = _doc_id(source, raw.page_id)
    page = parse_page(raw, header)
    if isinstance(page, Fault):
        shown = raw.xml[:2000].decode("utf-8", "replace")
        return None, Reject(doc_id, Reason.MALFORMED_RECORD, page.detail, shown)
    fault = _filter(page)
    if fault is not None:
        return None, Reject(doc_id, fault[0], fault[1], page.title)
    text = page.text or ""
    try:
        rendered = render_article(text, page.title, source.language)
    except Exception as error:
        # Markup is written by hand and by anyone: one article must not end the run.
        detail = f"{type(error).__name__}: {error}"
        return None, Reject(doc_id, Reason.BAD_MARKUP, detail, text)
    # The first line is the article's title, which the renderer puts there.
    if not rendered.partition("\n")[2].strip():
        return None, Reject(doc_id, Reason.EMPTY_TEXT, f"nothing left of '{page.title}'", text)
    return _document(page, doc_id, rendered, source, header), None


def _filter(page: Page) -> tuple[Reason, str] | None:
    if page.namespace != 0:
        return Reason.NOT_AN_ARTICLE, f"namespace {page.namespace}"
    if page.redirect_to is not None:
        return Reason.REDIRECT, f"to {page.redirect_to}"
    if page.model != "wikitext":
        return Reason.NOT_AN_ARTICLE, f"content model {page.model}"
    if not (page.text or "").strip():
        return Reason.EMPTY_TEXT, "no text" if page.text is not None else "the text was deleted"
    return None


def _document(
    page: Page, doc_id: str, rendered: str, source: WikipediaSource, header: Header
) -> Document:
    article = f"https://{source.language}.wikipedia.org/wiki/{_url_title(page.title)}"
    script = f"https://{source.language}.wikipedia.org/w/index.php?title={_url_title(page.title)}"
    url = article if page.revision_id is None else f"{script}&oldid={page.revision_id}"
    return Document(
        doc_id=doc_id,
        source=source.name,
        title=page.title,
        text=rendered,
        license=source.license,
        created=_day(page.timestamp),
        url=url,
        meta={
            "page_id": page.page_id,
            "revision_id": page.revision_id,
            "timestamp": page.timestamp,
            "categories": own_categories(page.text or "", header),
            "notice": f'From the Wikipedia article "{page.title}" ({article}) by its authors '
            f"({script}&action=history), converted to Markdown; licence {_license(source.license)}",
        },
    )


def _url_title(title: str) -> str:
    return quote(title.replace(" ", "_"), safe=_URL_SAFE, errors="replace")


def _license(name: str) -> str:
    return f"{name} ({_LICENSE_URLS[name]})" if name in _LICENSE_URLS else name


def _day(timestamp: str | None) -> date | None:
    try:
        return date.fromisoformat((timestamp or "")[:10])
    except ValueError:
        return None


def own_categories(wikitext: str, header: Header) -> list[str]:
    """Returns the categories that the wikitext itself names, in order, each once.

    Those that templates add are not among them.
    """
    found: dict[str, None] = {}
    for prefix, name in _CATEGORY.findall(wikitext):
        local = header.namespaces.get(prefix.strip().replace("_", " ").lower())
        if local == _CATEGORY_NAMESPACE or prefix.strip().lower() == "category":
            found[" ".join(name.replace("_", " ").split())] = None
    return [name for name in found if name]
