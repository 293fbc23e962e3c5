from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.contamination_files import benchmark_files, read_found
from core.errors import InputError, RecipeError
from core.paragraphs import split_paragraphs
from core.recipe.decontaminate import BenchmarkFile, Decontaminate
from core.rejects import Reason
from core.shards import shard_name, write_shard
from core.sources import SourceIndex
from core.stage import ShardResult, StageContext, Unit
from corpus.decontaminate import (
    OVERLAP,
    ContaminationReportStage,
    ContaminationStage,
    DecontaminateStage,
)
from corpus.documents import Document, documents_table
from tests.made_run import put_stage

QUESTIONS = [
    "Which planet of the Solar System has the shortest year?",
    "What kind of galaxy is the Milky Way in the scheme of Hubble?",
    "Which of these stars will end its life as a white dwarf without a supernova, given its mass?",
    "How far is the nearest star beyond the Sun in light years?",
    "Which element makes up most of the mass of the Sun?",
    "What drives the tides of the oceans on the Earth most of all?",
]
CHOICES = ["the first of all", "the second of all", "the third of all", "none of them"]
CLEAN = "The orbit of a planet is an ellipse with the Sun at one focus, as Kepler found in 1609."


class _Run:
    def __init__(self, folder: Path, section: Decontaminate | None = None) -> None:
        folder.mkdir(exist_ok=True)
        section = section or Decontaminate()
        self.ctx = StageContext(folder / "run", folder, seed=1)
        items = [
            {"item_id": f"q{n}", "question": q, "choices": CHOICES, "answer": None}
            for n, q in enumerate(QUESTIONS)
        ]
        (folder / "quiz.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        files = benchmark_files(section, [("quiz", "quiz.jsonl")])
        self.find = ContaminationStage(section, "corpus.dedup", files)
        self.report = ContaminationReportStage("corpus.contamination", files)
        self.clean = DecontaminateStage(section, "corpus.dedup", "corpus.contamination")

    def __call__(self, *documents: Document) -> ShardResult:
        unit = Unit(0, {"shard": shard_name(0)}, "")
        write_shard(self.ctx.folder("corpus.dedup") / shard_name(0), documents_table(documents))
        found = self.find.process(unit, self.ctx)
        assert found.kept.schema.equals(OVERLAP)
        assert found.rows_in == found.rows_out == len(documents)
        write_shard(self.ctx.folder("corpus.contamination") / shard_name(0), found.kept)
        result = self.clean.process(unit, self.ctx)
        assert result.rows_in == result.kept.num_rows + (result.rows_rejected or 0)
        return result

    def reported(self) -> dict[str, Any]:
        folder = self.ctx.folder(self.report.name)
        self.result = self.report.run(self.ctx, folder)
        content: dict[str, Any] = json.loads((folder / "report.json").read_text())
        return content["benchmarks"]


def _doc(doc_id: str, text: str, **more: Any) -> Document:
    return Document(doc_id, "a", text=text, **more)


def test_the_paragraph_with_the_question_is_cut_and_pages_follow(tmp_path: Path) -> None:
    asked = f"An exam asked: {QUESTIONS[1].upper()} Most knew."
    text = f"{CLEAN}\n\n{asked}\n\n{CLEAN}\n\nEnd."
    split = text.index("KIND")
    pages = [
        {"page": 1, "start_char": 0, "end_char": split, "method": "x", "quality": None},
        {"page": 2, "start_char": split, "end_char": len(text), "method": "x", "quality": None},
    ]
    result = _Run(tmp_path)(_doc("1", text, pages=pages), _doc("2", CLEAN))
    first, second = result.kept.to_pylist()
    assert first["text"] == f"{CLEAN}\n\n{CLEAN}\n\nEnd."
    at = len(CLEAN) + 2
    assert [(p["start_char"], p["end_char"]) for p in first["pages"]] == [
        (0, at),
        (at, len(first["text"])),
    ]
    assert second["text"] == CLEAN
    (reject,) = result.rejected
    assert (reject.doc_id, reject.reason, reject.text) == ("1", Reason.CONTAMINATED, asked)
    shown = QUESTIONS[1].upper().removesuffix("?")
    assert reject.detail == f'paragraph 1: quiz q1: 13 words of the question: "{shown}"'
    assert result.metrics == {"paragraphs_cut": 1, "documents_dropped": 0}


def test_a_question_over_several_paragraphs_takes_all_of_them(tmp_path: Path) -> None:
    words = QUESTIONS[2].split()
    parts = [" ".join(words[:9]), "14 A. Smith et al.", " ".join(words[9:])]
    choices = "\n\n".join(
        f"({letter}) {choice}" for letter, choice in zip("ABCD", CHOICES, strict=True)
    )
    text = "\n\n".join([CLEAN, *parts, choices, CLEAN])
    result = _Run(tmp_path)(_doc("1", text))
    assert result.kept["text"].to_pylist() == [f"{CLEAN}\n\n{CLEAN}"]
    assert [r.text for r in result.rejected] == [text[a:b] for a, b in split_paragraphs(text)][1:-1]


def test_a_code_block_is_cut_whole(tmp_path: Path) -> None:
    block = f"```\nquiz\n\n{QUESTIONS[0]}\n```"
    result = _Run(tmp_path)(_doc("1", f"{CLEAN}\n\n{block}\n\n{CLEAN}"))
    assert result.kept["text"].to_pylist() == [f"{CLEAN}\n\n{CLEAN}"]
    assert result.rejected[0].text == block


def test_a_document_can_be_dropped_whole(tmp_path: Path) -> None:
    text = f"{CLEAN}\n\n{QUESTIONS[0]}"
    result = _Run(tmp_path, Decontaminate(action="drop"))(_doc("1", text), _doc("2", CLEAN))
    assert result.kept["doc_id"].to_pylist() == ["2"]
    assert [(r.doc_id, r.text) for r in result.rejected] == [("1", text)]
    assert result.rejected[0].detail.startswith("quiz q0: 10 words of the question:")


def test_a_copy_of_the_benchmark_is_dropped(tmp_path: Path) -> None:
    several = "\n\n".join(f"{question}\n\n{CLEAN}" for question in QUESTIONS)
    four = "\n\n".join(f"{question}\n\n{CLEAN}" for question in QUESTIONS[:4])
    result = _Run(tmp_path)(_doc("copy", several), _doc("four", four))
    assert result.kept["doc_id"].to_pylist() == ["four"]
    assert result.kept["text"].to_pylist() == ["\n\n".join([CLEAN] * 4)]
    (copy,) = [r for r in result.rejected if r.doc_id == "copy"]
    assert copy.detail.endswith("and 1 more items")
    assert copy.text == several


def test_a_document_of_nothing_else_is_dropped(tmp_path: Path) -> None:
    result = _Run(tmp_path)(_doc("1", QUESTIONS[0]), _doc("2", ""))
    assert result.kept["doc_id"].to_pylist() == ["2"]
    assert len(result.rejected) == 1


def test_the_report_counts_items_and_documents(tmp_path: Path) -> None:
    (tmp_path / "arc.csv").write_text("question,A,B\nWhat is the name of this star?,Rigel,Vega\n")
    own = BenchmarkFile(name="arc", path="arc.csv")
    run = _Run(tmp_path, Decontaminate(benchmarks=[own]))
    run(
        _doc("2", f"{CLEAN} {QUESTIONS[0]}"),
        _doc("1", f"{QUESTIONS[0]}\n\n{QUESTIONS[4]} {QUESTIONS[0]}"),
        _doc("3", CLEAN),
    )
    reported = run.reported()
    assert {k: reported["quiz"][k] for k in ("items", "items_found", "documents")} == {
        "items": 6,
        "items_found": 2,
        "documents": 2,
    }
    assert reported["quiz"]["found"][0] == {
        "item_id": "q0",
        "words": 10,
        "part": "question",
        "documents": 2,
        "doc_ids": ["1", "2"],
        "text": QUESTIONS[0].removesuffix("?"),
    }
    assert reported["arc"] == {"items": 1, "items_found": 0, "documents": 0, "found": []}
    assert run.result.metrics["quiz_items_found"] == 2
    assert run.result.rows_in == run.result.rows_out == 7
    assert read_found(run.ctx.folder(run.report.name)) == {"quiz": {"q0", "q4"}, "arc": set()}


def test_another_action_needs_no_second_search(tmp_path: Path) -> None:
    cut, drop = (_Run(tmp_path, Decontaminate(action=action)) for action in ("cut", "drop"))
    assert cut.find.config() == drop.find.config()
    assert cut.clean.config() != drop.clean.config()
    longer = _Run(tmp_path, Decontaminate(ngram_words=20))
    assert longer.find.config() != cut.find.config()


def test_benchmarks_are_files_that_the_stage_depends_on(tmp_path: Path) -> None:
    run = _Run(tmp_path)
    assert run.find.source_files(run.ctx) == [tmp_path / "quiz.jsonl"]
    assert run.report.source_files(run.ctx) == [tmp_path / "quiz.jsonl"]
    (tmp_path / "quiz.jsonl").unlink()
    with pytest.raises(InputError, match="cannot read this benchmark"):
        run(_doc("1", CLEAN))


def test_a_changed_benchmark_is_read_again(tmp_path: Path) -> None:
    run = _Run(tmp_path)
    assert run(_doc("1", f"{CLEAN}\n\n{QUESTIONS[0]}")).rejected
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": "Something else altogether?"}))
    assert not run(_doc("1", f"{CLEAN}\n\n{QUESTIONS[0]}")).rejected


def test_names_of_benchmarks_differ() -> None:
    same = [BenchmarkFile(name="x", path="a.csv"), BenchmarkFile(name="x", path="b.csv")]
    with pytest.raises(ValidationError, match="two entries"):
        Decontaminate(benchmarks=same)
    with pytest.raises(RecipeError, match="two benchmarks are named 'x'"):
        benchmark_files(Decontaminate(benchmarks=same[:1]), [("x", "b.csv")])
    assert benchmark_files(Decontaminate(benchmarks=same[:1]), [("x", "a.csv")]) == {"x": "a.csv"}


def test_a_changed_benchmark_is_another_unit_of_work(context: StageContext) -> None:
    """A shard's receipt must not outlive the questions that it was searched for."""
    put_stage(context.run_dir, "corpus.dedup", [documents_table([Document("d:1", "s", text="x")])])
    path = context.root / "b.jsonl"
    stage = ContaminationStage(Decontaminate(), "corpus.dedup", {"b": "b.jsonl"})
    digests = []
    for question in ("What is a star made of in its core?", "How far is the Moon from the Earth?"):
        path.write_text(json.dumps({"item_id": "1", "question": question}) + "\n")
        sources = SourceIndex(context.root, context.run_dir / "sources.json")
        (unit,) = stage.plan(context, sources)
        digests.append(unit.digest)
    assert digests[0] != digests[1]
