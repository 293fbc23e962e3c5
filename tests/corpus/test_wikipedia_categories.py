"""The category search: depth, cycles, hidden and stop categories, both schemas, redirects."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.recipe.sources import WikipediaSource
from core.rejects import Reason
from core.stage import JobResult, StageContext
from corpus.wikipedia.categories import Tables, search
from corpus.wikipedia.stage import WikiPagesStage
from corpus.wikipedia.titles import StopList, table_title
from tests.corpus.wiki import Wiki, single_xml, write_multistream


def _wiki() -> Wiki:
    wiki = Wiki()
    wiki.category("Astronomy")
    wiki.category("Stars", "Astronomy", "Galaxies")
    wiki.category("Galaxies", "Astronomy")
    wiki.category("Double stars", "Stars")
    wiki.category("Very deep", "Double stars")
    # A cycle back to the root, a stop category, a hidden one, and what only they lead to.
    wiki.category("Astronomy stubs", "Astronomy")
    wiki.category("Tracked", "Stars", "Hidden categories")
    wiki.category("Below tracked", "Tracked")
    wiki.category("Below stub", "Astronomy stubs")
    wiki.pages[0].categories = ("Very deep", "Stars")
    wiki.category("Hidden categories")
    wiki.category("Other")
    wiki.add("Astronomy", "Astronomy")
    wiki.add("Sirius", "Stars", "Double stars")
    wiki.add('Albireo\'s "colours"\\', "Double stars")
    wiki.add("Too deep", "Very deep")
    wiki.add("Only a stub", "Astronomy stubs", "Below stub")
    wiki.add("Only tracked", "Tracked", "Below tracked")
    wiki.add("Elsewhere", "Other")
    wiki.add("Sirius", "Stars", namespace=1)
    wiki.add("Sirius.jpg", "Stars", namespace=6)
    wiki.add("Dog Star", "Astronomy", redirect="Sirius")
    wiki.add("Milky Way galaxy", "Double stars", redirect="Milky Way")
    wiki.add("Galaxy (ours)", "Galaxies", redirect="Milky Way")
    wiki.add("Milky Way", "Other")
    wiki.add("Twice", "Stars", redirect="Dog Star")
    wiki.add("Gone", "Stars", redirect="Deleted page")
    wiki.add("Loop", "Stars", redirect="Loop")
    return wiki


def _source(folder: Path, wiki: Wiki, schema: str, **facts: object) -> WikipediaSource:
    keys: dict[str, object] = {**wiki.write_tables(folder, schema), "roots": ["Astronomy"]}
    dump, _, _ = write_multistream(folder, wiki.pages)
    keys |= {"stop_categories": ["*stubs"], "dump": dump.name, "language": "xx"} | facts
    return WikipediaSource.model_validate({"kind": "wikipedia", **keys})


def _run(context: StageContext, source: WikipediaSource) -> tuple[JobResult, list[dict[str, Any]]]:
    out = context.folder("corpus.wiki_pages")
    out.mkdir(parents=True, exist_ok=True)
    result = WikiPagesStage([source]).run(context, out)
    assert result.rows_in == result.rows_out + len(result.rejected)
    return result, pq.read_table(out / "wikipedia.parquet").to_pylist()


EXPECTED = {
    "Astronomy": (0, "Astronomy"),
    "Sirius": (0, "Astronomy"),
    'Albireo\'s "colours"\\': (2, "Double stars"),
    "Milky Way": (1, "Galaxies"),
}


@pytest.mark.parametrize("schema", ["old", "new", "both"])
@pytest.mark.parametrize("from_dump", [False, True])
def test_search(context: StageContext, schema: str, from_dump: bool) -> None:
    facts: dict[str, object] = {"redirect": None} if from_dump else {}
    source = _source(context.root, _wiki(), schema, **facts)
    result, rows = _run(context, source)
    assert {r["title"]: (r["depth"], r["category"]) for r in rows} == EXPECTED
    assert [r["page_id"] for r in rows] == sorted(r["page_id"] for r in rows)
    reasons = {(r.reason, r.text, r.detail) for r in result.rejected}
    assert reasons == {
        (Reason.NOT_AN_ARTICLE, "Sirius", "namespace 1"),
        (Reason.REDIRECT, "Dog Star", "to Sirius, which is selected"),
        (Reason.REDIRECT, "Twice", "to Sirius, which is selected"),
        (Reason.REDIRECT, "Milky Way galaxy", "to Milky Way, which is selected"),
        (Reason.REDIRECT, "Gone", "unresolved: no page Deleted page"),
        (Reason.REDIRECT, "Loop", "unresolved: more than 3 redirects in a row"),
    }
    out = context.folder("corpus.wiki_pages")
    tree = json.loads((out / "wikipedia.tree.json").read_text("utf-8"))
    assert tree == {
        "visited_by_depth": [["Astronomy"], ["Galaxies", "Stars"], ["Double stars"]],
        "hidden": ["Tracked"],
        "stopped": ["Astronomy stubs"],
    }
    assert result.metrics["wikipedia"]["articles_by_depth"] == {"0": 2, "1": 1, "2": 1}


@pytest.mark.parametrize(("depth", "titles"), [
    (0, {"Astronomy", "Sirius"}),
    (1, {"Astronomy", "Sirius", "Milky Way"}),
    (3, {*EXPECTED, "Too deep"}),
    (9, {*EXPECTED, "Too deep"}),
])  # fmt: skip
def test_depth(context: StageContext, depth: int, titles: set[str]) -> None:
    _, rows = _run(context, _source(context.root, _wiki(), "new", depth=depth))
    assert {r["title"] for r in rows} == titles


def test_same_bytes_whatever_the_order_of_rows(context: StageContext, tmp_path: Path) -> None:
    wiki, outputs = _wiki(), []
    for seed in (1, 2):
        random.Random(seed).shuffle(wiki.pages)
        _run(context, _source(context.root, wiki, "new"))
        out = context.folder("corpus.wiki_pages")
        outputs.append([path.read_bytes() for path in sorted(out.glob("wikipedia.*"))])
    assert outputs[0] == outputs[1]


def test_against_a_plain_search_on_a_random_graph(tmp_path: Path) -> None:
    generator = random.Random(3)
    wiki = Wiki()
    names = [f"C {n}" for n in range(60)]
    for name in names:
        wiki.category(name, *generator.sample(names, generator.randrange(4)))
    keys = wiki.write_tables(tmp_path, "new")
    tables = Tables(*(tmp_path / keys[k] for k in ("page", "categorylinks", "linktarget")))
    for depth in range(5):
        depths = {"C 0": 0}
        for level in range(1, depth + 1):
            for page in wiki.pages:
                if any(depths.get(c) == level - 1 for c in page.categories):
                    depths.setdefault(page.title, level)
        tree = search(tables, ["C 0"], depth)
        titles = [title.decode().replace("_", " ") for title in tree.titles]
        assert dict(zip(titles, tree.depths, strict=True)) == depths


@pytest.mark.parametrize("root", [
    "Category:astronomy", "category: Astronomy", "Kategorie:astronomy", "astronomy ", "Astronomy",
])  # fmt: skip
def test_spellings_of_a_root(context: StageContext, root: str) -> None:
    _, rows = _run(context, _source(context.root, _wiki(), "new", roots=[root]))
    assert {r["title"] for r in rows} == set(EXPECTED)


@pytest.mark.parametrize("schema", ["old", "new"])
def test_a_root_that_does_not_exist_names_near_ones(context: StageContext, schema: str) -> None:
    with pytest.raises(InputError, match=r"no category 'Astronmy'.*'Astronomy'"):
        _run(context, _source(context.root, _wiki(), schema, roots=["Astronmy"]))
    with pytest.raises(InputError, match=r"no category 'Xyz' \["):
        _run(context, _source(context.root, _wiki(), schema, roots=["Stars", "Xyz"]))


@pytest.mark.parametrize("schema", ["old", "new", "both"])
def test_a_category_without_a_page_of_its_own(context: StageContext, schema: str) -> None:
    # Small wikis use categories that nobody wrote a page for, the hidden one among them.
    wiki = Wiki()
    wiki.category("Below", "Red root")
    wiki.category("Secret", "Red root", "Hidden categories")
    wiki.add("Article", "Red root")
    wiki.add("Second", "Below")
    wiki.add("Third", "Secret")
    _, rows = _run(context, _source(context.root, wiki, schema, roots=["Red root"]))
    assert {r["title"] for r in rows} == {"Article", "Second"}


def test_page_and_links_that_do_not_fit(context: StageContext) -> None:
    wiki = _wiki()
    source = _source(context.root, wiki, "new")
    ghost = wiki.add("Ghost", "Stars")
    links = wiki.write_tables(context.root / "later", "new")["categorylinks"]
    newer = source.model_copy(update={"categorylinks": f"later/{links}"})
    result, _ = _run(context, newer)
    missing = [r.doc_id for r in result.rejected if r.reason is Reason.MISSING_PAGE]
    assert missing == [f"wikipedia:xx:{ghost.page_id}"]


def test_linktarget_is_asked_for(context: StageContext) -> None:
    source = _source(context.root, _wiki(), "new").model_copy(update={"linktarget": None})
    with pytest.raises(InputError, match="cl_target_id") as caught:
        _run(context, source)
    assert "linktarget.sql.gz" in caught.value.remedy


def test_linktarget_is_asked_for_where_titles_are_empty(context: StageContext) -> None:
    wiki = _wiki()
    keys = wiki.write_tables(context.root, "both")
    path = context.root / keys["categorylinks"]
    text = re.sub(rb"\((\d+),'[^']*'", rb"(\1,''", gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(text))
    tables = Tables(context.root / keys["page"], path)
    with pytest.raises(InputError, match="cl_target_id"):
        search(tables, ["Astronomy"], 2)


def test_redirects_from_a_dump_without_an_index(context: StageContext) -> None:
    wiki = _wiki()
    source = _source(context.root, wiki, "new", redirect=None)
    (context.root / "one.xml").write_bytes(single_xml(wiki.pages))
    _, rows = _run(context, source.model_copy(update={"dump": "one.xml"}))
    assert {r["title"] for r in rows} == set(EXPECTED)


def test_source_files_and_config(context: StageContext) -> None:
    source = _source(context.root, _wiki(), "new")
    stage = WikiPagesStage([source, source.model_copy(update={"roots": []})])
    tables = {f"xxwiki-new-{n}.sql.gz" for n in ("page", "categorylinks", "linktarget", "redirect")}
    assert {path.name for path in stage.source_files(context)} == tables
    assert len(stage.config()["sources"]) == 1
    without = WikiPagesStage([source.model_copy(update={"redirect": None})])
    names = {path.name for path in without.source_files(context)}
    assert sum("multistream" in name for name in names) == 2


def test_progress_is_written(context: StageContext) -> None:
    stage = WikiPagesStage([_source(context.root, _wiki(), "new")])
    out = context.folder(stage.name)
    out.mkdir(parents=True)
    assert stage.progress(out) is None
    stage.run(context, out)
    state = stage.progress(out)
    assert state is not None
    assert state[1] >= 1
    assert state[2].startswith("wikipedia: ")


@pytest.mark.parametrize(("pattern", "title", "stops"), [
    ("*stubs", "Astronomy_stubs", True),
    ("*stubs", "Stubs of stars", False),
    ("category:People by *", "People_by_century", True),
    ("star catalogues", "Star_catalogues", True),
    ("star catalogues", "Star_Catalogues", False),
    ("[AB]?c", "Abc", True),
    ("Fiction", "Science_fiction", False),
])  # fmt: skip
def test_stop_list(pattern: str, title: str, stops: bool) -> None:
    assert (title in StopList([pattern])) is stops


@pytest.mark.parametrize(("name", "title"), [
    ("Category: physics of stars", "Physics_of_stars"),
    ("  ", ""),
    ("ßeta", "ßeta"),
    ("élan  vital", "Élan_vital"),
])  # fmt: skip
def test_table_title(name: str, title: str) -> None:
    assert table_title(name) == title
