"""Questions about titles, dates, numbers and first authors: facts, grammar, and what is unknown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.errors import InputError
from core.manifest import FileEntry, Manifest
from core.recipe.summaries import Metadata
from core.schema import CONVERSATION, DOCUMENT
from core.shards import shard_name, write_shard
from core.sources import SourceIndex
from core.stage import StageContext, Unit
from synth.metadata.index import CorpusIndex, month_of
from synth.metadata.made_up import MadeUp, Pool, halves, outside, read_real
from synth.metadata.names import clean_title, read_authors
from synth.metadata.paper import Paper, paper_of
from synth.metadata.questions import Outside, Questioner
from synth.metadata.stage import WORDING_FILE, MetadataStage
from synth.metadata.wording import Chance, MetadataWording, ask, fill, read_wording

PutShard = Callable[[str, pa.Table], Unit]

STARS = ("Rings", "Jets", "Winds", "Spots", "Flares", "Spectra", "Masses", "Orbits")
PLACES = ("young clusters", "red dwarfs", "spiral arms", "binary systems", "giant planets")


def papers(count: int) -> list[Paper]:
    """Papers with titles that join well, of two months."""
    made = []
    for n in range(count):
        about, place = STARS[n % len(STARS)], PLACES[n // len(STARS) % len(PLACES)]
        title = f"{about} and their origin in {place} {'of old galaxies' * (n % 2)}"
        identifier = f"arxiv:{'0704' if n % 3 else '1501'}.{'0' * (n % 3 == 0)}{4 * n + 1:04d}"
        meta = {"authors": f"A. Name{n}, B. Other and C. Third"}
        made.append(paper_of(identifier, title, date(2007 + n % 3, 4, 2), meta))
    return made


def questioner(listed: list[Paper], share: float = 0.0, real: tuple[Paper, ...] = ()) -> Questioner:
    index = CorpusIndex(listed)
    wording = read_wording(WORDING_FILE, MetadataWording, "astronomy")
    return Questioner(wording, index, Outside(MadeUp(listed, index), real, share, 0.5), None)


# --- Titles and authors as people write them


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("Lifetime of\n  doubly charmed baryons", "Lifetime of doubly charmed baryons"),
        (r"the Gr\"obner basis of Koll\'ar and {\O}bro", "the Gröbner basis of Kollár and Øbro"),
        (r"{\v{S}}r\'amek, Go\u{g}\"u\c{s} and \'{\i}", "Šrámek, Goğüş and í"),
        ("From $\\Lambda_{\\alpha}$ to CeAg$_2$", "From $\\Lambda_{\\alpha}$ to CeAg$_2$"),
        ("A ''Recipe'' and a ``Theory''", "A “Recipe” and a “Theory”"),
        ('The "Great" Wall at 2" resolution', "The “Great” Wall at 2″ resolution"),
        (r"Up to 5\% of {\it XMM} and M~31\,arcsec", "Up to 5% of XMM and M 31 arcsec"),
        ("D0 --> K- e+ nue", "D0 --> K- e+ nue"),
        ("A full stop.", "A full stop"),
        ("Stars vs. planets.", "Stars vs. planets."),
        (None, ""),
    ],
)
def test_titles(raw: str | None, title: str) -> None:
    assert clean_title(raw) == title


@pytest.mark.parametrize(
    ("raw", "first", "cite"),
    [
        ("Hongjun Pan", "Hongjun Pan", "Pan"),
        ("Ileana Streinu and Louis Theran", "Ileana Streinu", "Streinu & Theran"),
        ("C. Bal\\'azs, E. L. Berger, C.-P. Yuan", "C. Balázs", "Balázs et al."),
        ("Nicholas\n  Chapman, Neal J. Evans II", "Nicholas Chapman", "Chapman & Evans"),
        ("A.A. Serga, M. Kostylev, and B. H", "A. A. Serga", "Serga et al."),
        ("A. S. Mish (1 and 2) and N. Nag (1, 3) ((1) CREST, Japan)", "A. S. Mish", "Mish & Nag"),
        ("V. M. Biryukov (Serpukhov, IHEP)", "V. M. Biryukov", "Biryukov"),
        ("Robert P. C. de Marrais", "Robert P. C. de Marrais", "de Marrais"),
        ("Andrew de la Torre", "Andrew de la Torre", "de la Torre"),
        ("J.P.Hague and N.d'Ambrumenil", "J. P. Hague", "Hague & d'Ambrumenil"),
        ("P. Doe Jr., K. Smith III", "P. Doe Jr.", "Doe & Smith"),
        ("Doe, J., Smith, K. L.", "J. Doe", "Doe & Smith"),
        ("M. Ashby^1, J. Foo^{2,3}", "M. Ashby", "Ashby & Foo"),
        ("D. N. Spergel, et al", "D. N. Spergel", "Spergel et al."),
        ("A. Goobar, for the SNAP collaboration", "A. Goobar", "Goobar"),
        ("The BABAR Collaboration, B. Aubert", "the BABAR Collaboration", "BABAR Collaboration"),
        ("Planck Collaboration: P. Ade", "the Planck Collaboration", "Planck Collaboration"),
        ("H.E.S.S. Collaboration", "the H.E.S.S. Collaboration", "H.E.S.S. Collaboration"),
        (["Ann Author", "Bob Other"], "Ann Author", "Author & Other"),
    ],
)
def test_first_authors(raw: str | list[str], first: str, cite: str) -> None:
    found = read_authors(raw)
    assert found is not None
    assert (found.first, found.cite) == (first, cite)


@pytest.mark.parametrize("raw", ["", "  ", "???", "(1)", [], None])
def test_no_authors(raw: Any) -> None:
    assert read_authors(raw) is None


# --- What is known of a document


def test_a_papers_facts_are_what_its_row_says() -> None:
    meta = {"authors": "C. One, D. Two", "journal_ref": "Phys.Rev.D76:013009,2007"}
    paper = paper_of("arxiv:0704.0001", "A\n  Title", date(2007, 4, 2), meta)
    assert paper.kind == "paper"
    assert paper.facts == {
        "title": "A Title",
        "id": "0704.0001",
        "first_author": "C. One",
        "cite": "One & Two",
        "by": "One and Two",
        "year": "2007",
        "month": "April 2007",
        "day": "2 April 2007",
        "cite_year": "2007",
    }


def test_a_journals_year_that_differs_is_not_cited() -> None:
    meta = {"authors": "C. One", "journal_ref": "ApJ 683 (2008) 1"}
    assert "cite_year" not in paper_of("arxiv:0712.0001", "Stars", date(2007, 12, 2), meta).facts


def test_other_documents_are_known_by_title() -> None:
    assert paper_of("wikipedia:en:736", "Stars", None, {}).kind == "article"
    assert paper_of("notes:x", "Stars", None, {"authors": 5}).facts == {"title": "Stars"}
    chapter = paper_of("book:1:002", "Stars", None, {"book": "Sky", "authors": ["A. B", "C. D"]})
    assert (chapter.kind, chapter.facts["book"], chapter.facts["by"]) == (
        "chapter",
        "Sky",
        "B and D",
    )
    assert paper_of("arxiv:0704.0001", None, None, {}).facts == {"id": "0704.0001"}


# --- Templates


def test_the_wording_that_comes_along_has_enough_of_everything() -> None:
    wording = read_wording(WORDING_FILE, MetadataWording, "astronomy")
    questions = [q for asked in wording.asks.values() for q in asked.questions]
    assert len(questions) == len(set(questions)) >= 40
    assert len(wording.names) >= 15
    assert len(set(wording.preambles)) >= 10
    assert len(wording.unknown) >= 10


def test_sentences_start_with_a_capital_and_go_on_with_a_small_letter() -> None:
    facts = {"paper": "the paper arXiv:0704.0001"}
    assert fill("{paper} is old.", facts) == "The paper arXiv:0704.0001 is old."
    assert fill("{paper} is old.", {"paper": "arXiv:0704.0001"}) == "arXiv:0704.0001 is old."
    assert fill("I know {paper}.", {"paper": "it by One et al."}) == "I know it by One et al."
    assert ask("Hi!", "What is {paper}?", facts) == "Hi! What is the paper arXiv:0704.0001?"
    assert ask("Hello,", "What is {paper}?", facts).startswith("Hello, what is")
    assert ask("Hello,", "I need {paper}.", facts).startswith("Hello, I need")
    assert ask("Hello,", "I'm after {paper}.", facts).startswith("Hello, I'm after")
    assert ask("", "{paper}?", facts) == "The paper arXiv:0704.0001?"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unknown": ["{title.__class__}"]}, "'{title.__class__}' is not one of"),
        ({"unknown": ["{nothing}"]}, "'{nothing}' is not one of"),
        ({"unknown": ["{0}"]}, "'{0}' is not one of"),
        ({"unknown": ["a { brace"]}, "unknown.0"),
        ({"names": []}, "names"),
        (
            {"asks": {"y": {"asked": "y", "questions": ["{paper}"], "answers": [" "]}}},
            "empty answer",
        ),
        (
            {
                "asks": {
                    "y": {
                        "asked": "y",
                        "hides": ["yaer"],
                        "questions": ["{paper}"],
                        "answers": ["1"],
                    }
                }
            },
            "'yaer' is not one of",
        ),
        ({"more": 1}, "more"),
        ({"asks": {"year": {"asked": "y", "questions": ["When?"], "answers": ["x"]}}}, "{paper}"),
    ],
)
def test_a_file_of_templates_that_cannot_be_used(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    good = read_wording(WORDING_FILE, MetadataWording, "astronomy").model_dump()
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(good | change))
    with pytest.raises(InputError) as caught:
        read_wording(path, MetadataWording, "astronomy")
    assert said in caught.value.what
    assert caught.value.where == str(path)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "a: 2024-13-45", "\x00"])
def test_a_file_that_is_no_yaml_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        read_wording(path, MetadataWording, "astronomy")


# --- What the corpus holds


def test_the_index_counts_names_whatever_their_typography() -> None:
    index = CorpusIndex(papers(6))
    assert index.titled("RINGS and their  origin: in young clusters!") == 1
    assert index.titled("Rings") == 0
    assert index.cited({"cite": "NAME1 et al.", "cite_year": "2008"}) == 1
    assert index.cited({"cite": "Name1 et al.", "cite_year": "2009"}) == 0
    assert index.numbered("0704.0005") == 1
    assert index.numbered("0704.0006") == 0
    month = month_of("0704.0005")
    assert month is not None
    assert index.last_number(month[0]) == 21


def test_titles_alike() -> None:
    index = CorpusIndex(papers(6))
    assert index.has_title_like("Rings and their origin in young clusters")
    assert index.has_title_like("Rings and their origin in young clusters: a review")
    assert index.has_title_like("rings, and their origin, in young")
    assert not index.has_title_like("Dark matter in young clusters")
    assert not CorpusIndex([]).has_title_like("Anything at all")


@pytest.mark.parametrize(
    ("identifier", "prefix", "number"),
    [
        ("0704.0001", "0704.", 1),
        ("1501.00012", "1501.", 12),
        ("astro-ph/9901023", "astro-ph/9901", 23),
    ],
)
def test_months_of_numbers(identifier: str, prefix: str, number: int) -> None:
    found = month_of(identifier)
    assert found is not None
    assert (found[0].prefix, found[1]) == (prefix, number)
    assert month_of("nonsense") is None


# --- Papers that the corpus does not hold


def test_titles_are_cut_at_their_first_preposition() -> None:
    both = halves("Rings and their origin in young clusters of stars")
    assert both is not None
    assert (both.head, both.tail) == ("Rings and their origin in", "young clusters of stars")
    for title in ("Rings", "Rings: of stars", "The $z$ of far stars", "Stars in 2007", "Of stars"):
        assert halves(title) is None


def test_made_up_papers_are_not_in_the_corpus() -> None:
    listed = papers(40)
    index = CorpusIndex(listed)
    made_up = MadeUp(listed, index)
    titles, numbers = set(), set()
    for paper in listed:
        for turn in range(3):
            made = made_up.like(paper, Chance(f"{paper.doc_id}{turn}"))
            assert made is not None
            if "title" in made.facts:
                assert not index.has_title_like(made.facts["title"])
                titles.add(made.facts["title"])
            assert not index.numbered(made.facts["id"])
            assert month_of(made.facts["id"])[0] == month_of(paper.facts["id"])[0]  # type: ignore[index]
            assert made.facts["year"] == paper.facts["year"]
            numbers.add(made.facts["id"])
    assert len(numbers) > 50
    assert not {p.facts["id"] for p in listed} & numbers


def test_a_pool_is_the_same_whatever_the_order() -> None:
    listed = papers(40)
    forth, back = Pool(1, 10), Pool(1, 10)
    for paper in [*listed, *listed]:
        forth.add(paper)
    for paper in reversed(listed):
        back.add(paper)
    assert forth.papers() == back.papers()
    assert len({paper.doc_id for paper in forth.papers()}) == 10
    other = Pool(2, 10)
    for paper in listed:
        other.add(paper)
    assert other.papers() != forth.papers()


def test_a_corpus_that_holds_all_numbers_and_one_title() -> None:
    only = [paper_of(f"arxiv:0704.{n:04d}", "Stars", date(2007, 4, 2), {}) for n in range(1, 9)]
    made_up = MadeUp([], CorpusIndex(only))
    for n in range(10):
        made = made_up.like(only[0], Chance(f"{n}"))
        assert made is not None
        assert "title" not in made.facts
        assert made.facts["id"] > "0704.0008"


def _record(number: int, **values: Any) -> str:
    record = {
        "id": f"0801.{number:04d}",
        "title": f"Field number {number} of its kind",
        "authors": "X. Why",
        "versions": [{"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"}],
    }
    return json.dumps(record | values)


def test_real_papers_outside_the_corpus(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    listed = papers(6)
    held = listed[1].facts
    lines = [_record(1), _record(1), "not json", "{}", _record(2, id=held["id"])]
    lines += [_record(3, title=held["title"].upper()), _record(4, title=5), _record(5, id="x")]
    path.write_text("\n".join(lines))
    real = read_real([("other.jsonl", path)], seed=1)
    assert {p.facts["id"] for p in real} == {"0801.0001", held["id"], "0801.0003"}
    assert [p.facts["id"] for p in outside(real, CorpusIndex(listed))] == ["0801.0001"]
    path.write_text("nothing\n")
    with pytest.raises(InputError, match="no arXiv record"):
        read_real([("other.jsonl", path)], seed=1)


# --- Conversations


def _asked(maker: Questioner, listed: list[Paper], count: int) -> list[dict[str, Any]]:
    return [row for paper in listed for row in maker.about(paper, count, seed=1)]


def test_every_answer_is_a_fact_of_its_paper_and_no_question_tells_it() -> None:
    listed = papers(40)
    by_id = {paper.doc_id: paper.facts for paper in listed}
    maker = questioner(listed)
    rows = _asked(maker, listed, 7)
    assert maker.counts["documents_with_metadata"] == 40
    # Seven kinds, seven questions: each once.
    kinds = [k for k in maker.counts if k.startswith("asked/")]
    assert {maker.counts[k] for k in kinds} == {40}
    assert len(rows) == 280
    told = Counter[str]()
    for row in rows:
        facts = by_id[row["doc_ids"][0]]
        question, answer = (m["content"] for m in row["messages"])
        found = [k for k in ("title", "id", "year", "first_author") if facts[k] in answer]
        assert found, (question, answer)
        assert any(name in question for name in (facts["title"], facts["id"], facts["cite_year"]))
        for key in ("title", "id", "day", "month"):
            told[key] += facts[key] in answer and facts[key] not in question
        assert "{" not in question + answer
        assert ".." not in answer
    assert all(count >= 40 for count in told.values())


def test_names_that_mean_two_papers_are_not_used() -> None:
    one = paper_of("arxiv:0704.0001", "Stars", date(2007, 4, 2), {"authors": "A. Name"})
    two = paper_of("arxiv:0704.0002", "STARS!", date(2007, 5, 2), {"authors": "B. Name"})
    for row in _asked(questioner([one, two]), [one, two], 20):
        assert row["doc_ids"][0].removeprefix("arxiv:") in row["messages"][0]["content"]


def test_the_share_of_unknown_papers() -> None:
    listed = papers(40)
    for share in (0.1, 0.5, 0.75):
        maker = questioner(listed, share)
        rows = _asked(maker, listed, 14)
        unknown = [row for row in rows if not row["doc_ids"]]
        assert len(unknown) / len(rows) == pytest.approx(share, abs=0.05)
        assert len({row["conv_id"] for row in rows}) == len(rows)
        assert len(rows) - len(unknown) == 560


def test_an_unknown_paper_is_named_and_nothing_is_said_of_it() -> None:
    listed = papers(40)
    real = paper_of("arxiv:0801.0009", "Beauty decays", date(2008, 1, 2), {"authors": "Q. Zed"})
    maker = questioner(listed, 0.5, (real,))
    rows = [row for row in _asked(maker, listed, 10) if not row["doc_ids"]]
    assert maker.counts["unknown_real"] > 100
    known = {f for p in listed for f in (p.facts["id"], p.facts["title"])}
    for row in rows:
        question, answer = (m["content"] for m in row["messages"])
        assert not any(f'"{name}"' in question or f":{name}" in question for name in known)
        for word in ("2 April", "Q. Zed", "A. Name"):
            assert word not in answer


def test_too_little_known() -> None:
    bare = paper_of("arxiv:0704.0001", None, None, {})
    maker = questioner([bare])
    assert _asked(maker, [bare], 2) == []
    assert maker.counts == {"documents_without_metadata": 1}


def test_draws_depend_on_seed_and_document_alone() -> None:
    listed = papers(12)
    whole = _asked(questioner(listed), listed, 2)
    assert _asked(questioner(listed[::-1]), listed[::-1], 2)[-2:] == whole[:2]
    maker = questioner(listed)
    assert list(maker.about(listed[0], 2, seed=2)) != whole[:2]


# --- The stage


def _documents(listed: list[Paper]) -> pa.Table:
    rows = [
        {
            "doc_id": p.doc_id,
            "source": "arxiv",
            "title": p.facts["title"],
            "text": "Text.",
            "created": date(int(p.facts["year"]), 4, 2),
            "meta": json.dumps({"authors": p.facts["first_author"] + ", B. Other"}),
        }
        for p in listed
    ]
    rows += [{"doc_id": "notes:1", "source": "notes", "title": "Notes", "meta": "not json"}]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def test_the_stage(context: StageContext, put_shard: PutShard) -> None:
    context.root.joinpath("other.jsonl").write_text("\n".join(map(_record, range(1, 30))))
    unit = put_shard("corpus.filter", _documents(papers(40)))
    section = Metadata(unknown_share=0.2, unknown_papers=["other.jsonl"])
    results = []
    for _ in range(2):
        stage = MetadataStage(section, "corpus.filter", "Be brief.")
        stage.setup(context)
        results.append(stage.process(unit, context))
    one, two = results
    assert one.kept.equals(two.kept)
    assert one.kept.schema == CONVERSATION
    assert (one.rows_in, one.rejected) == (one.kept.num_rows, [])
    assert one.kept.num_rows > 80
    assert one.metrics["documents"] == 41
    assert one.metrics["documents_of_other_kinds"] == 1
    assert 0 < one.metrics["unknown_real"] < one.metrics["asked/unknown"]
    row = one.kept.to_pylist()[0]
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
    assert (row["dataset"], row["doc_ids"]) == ("metadata", ["arxiv:1501.00001"])


def test_a_unit_depends_on_the_titles_of_all_shards(context: StageContext, tmp_path: Path) -> None:
    folder = context.folder("corpus.filter")
    stage = MetadataStage(Metadata(), "corpus.filter", None)

    def digests(second: str) -> list[str]:
        files = [FileEntry(shard_name(n), 1, sha, 1) for n, sha in enumerate(("a", second))]
        common: dict[str, Any] = {"code_version": 1, "config": {}, "seed": 1, "inputs": {}}
        common |= {"input_digests": {}, "sources_digest": "", "fingerprint": "", "key": ""}
        account: dict[str, Any] = {"row_unit": "document", "rows_in": 2, "rows_out": 2}
        manifest = Manifest("corpus.filter", files=files, rows_rejected=0, **common, **account)
        manifest.save(folder)
        return [u.digest for u in stage.plan(context, SourceIndex(tmp_path, tmp_path / "s.json"))]

    write_shard(folder / shard_name(0), _documents([]))
    assert digests("b") == digests("b")
    assert not set(digests("b")) & set(digests("c"))


def test_the_configuration(context: StageContext) -> None:
    def config(**values: Any) -> dict[str, Any]:
        return MetadataStage(Metadata(**values), "corpus.filter", None).config()

    assert config() == config(workers=4)
    assert config() != config(questions_per_document=3)
    assert config(wording="own.yaml")["wording_sha256"] is None
    json.dumps(config())
    own = MetadataStage(Metadata(wording="own.yaml"), "corpus.filter", None)
    assert own.source_files(context) == [context.root / "own.yaml"]
    with pytest.raises(ValidationError, match="unknown_share"):
        Metadata(unknown_share=0.0, unknown_papers=["x"])
    with pytest.raises(InputError, match="no file found"):
        MetadataStage(Metadata(unknown_papers=["x.jsonl"]), "a.b", None).source_files(context)
