"""Cleaning as a run: every question accounted for, a file that scores again, a person's sheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from core.errors import InputError, UsageError
from core.graph import Pipeline
from core.llm import Generation
from core.manifest import Manifest
from core.progress import Reporter
from core.recipe.cleaning import Cleaning
from core.rejects import Reason
from core.runner import run_pipeline
from core.schema import QUESTION_CLEANED
from core.shards import read_shard, shard_paths
from core.stage import StageContext
from eval.cleaning import stage as stage_module
from eval.cleaning.prompt import Prompter
from eval.cleaning.report import QuestionsReportStage
from eval.cleaning.sheet import HUMAN, judged_questions, score_sheet, write_sheet
from eval.cleaning.stage import QuestionsCleanStage, clean_questions
from eval.items import Item, load_items
from ray_jobs.cleaning_commands import add_cleaning_commands

QUESTIONS = [
    ("What powers a star?", "Fusion", "Friction", "", "A"),
    ("According to the review, which planet is the largest?", "Mars", "Jupiter", "Pluto", "B"),
    ("What does Figure 3 of the paper show?", "Dust", "Gas", "Ice", "C"),
    ("In this review, what do the authors call a dwarf planet?", "Ceres", "Mars", "Io", "A"),
    ('Which is "cold, dark"?', "=1+1", "Space", "Fire", "B"),
]
SECTION = {"engine": {"kind": "rules"}, "path": "questions.csv"}


def write_questions(path: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "A", "B", "C", "answer"])
        writer.writerows(QUESTIONS)
        writer.writerow(["No choices", "", "", "", "A"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> StageContext:
    """A finished run over the questions, in units of two."""
    root = tmp_path_factory.mktemp("cleaning")
    write_questions(root / "questions.csv")
    ctx = StageContext(run_dir=root / "run", root=root, seed=1)
    stages = [QuestionsCleanStage(Cleaning.model_validate(SECTION)), QuestionsReportStage()]
    pipeline = Pipeline(stages, ctx)
    run_pipeline(pipeline, stages, Reporter(Console(quiet=True)))
    return ctx


def test_every_question_is_accounted_for(run: StageContext) -> None:
    folder = run.folder("eval.questions_clean")
    manifest = Manifest.require(folder, "eval.questions_clean")
    assert (manifest.rows_in, manifest.rows_out, manifest.rows_rejected) == (6, 3, 3)
    assert manifest.rejects == {"malformed_record": 1, "paper_specific": 2}
    table = read_shard(shard_paths(folder)[0])
    assert table.schema == QUESTION_CLEANED
    rows = table.to_pylist()
    assert [(r["item_id"], r["verdict"], r["answer"]) for r in rows] == [
        ("1", "keep", 0), ("2", "rewrite", 1), ("5", "keep", 1),
    ]  # fmt: skip
    assert rows[1]["question"] == rows[1]["proposed"] == "Which planet is the largest?"
    assert rows[1]["original"] == QUESTIONS[1][0]
    assert rows[1]["choices"] == ["Mars", "Jupiter", "Pluto"]
    removed = read_shard(shard_paths(folder / "rejects")[0]).to_pylist()
    gone = next(r for r in removed if r["doc_id"] == "3")
    assert "Figure 3" in gone["detail"]
    assert json.loads(gone["text"])["choices"] == ["Dust", "Gas", "Ice"]


def test_the_cleaned_file_reads_as_a_benchmark(run: StageContext) -> None:
    folder = run.folder("eval.questions_report")
    items, rejects = load_items(folder / "cleaned.csv")
    assert rejects == []
    assert items == [
        Item("1", "What powers a star?", ("Fusion", "Friction"), 0),
        Item("2", "Which planet is the largest?", ("Mars", "Jupiter", "Pluto"), 1),
        Item("5", 'Which is "cold, dark"?', ("=1+1", "Space", "Fire"), 1),
    ]
    assert json.loads((folder / "counts.json").read_text("utf-8")) == {
        "in": 6, "kept": 2, "rewritten": 1, "to_review": 0, "removed": 2, "no_verdict": 0,
        "no_question": 1, "left": 3,
    }  # fmt: skip
    with (folder / "changes.csv").open(encoding="utf-8", newline="") as file:
        (change,) = csv.DictReader(file)
    assert (change["item_id"], change["used"]) == ("2", "yes")
    assert change["original"] == QUESTIONS[1][0]


def answers(*texts: str) -> list[Generation]:
    return [Generation(text, "stop") for text in texts]


def test_doubtful_and_unwanted_rewrites_wait_for_a_person(context: StageContext) -> None:
    items = [Item(str(n), f"In this review, how hot are {n} stars?", ("p", "q")) for n in range(4)]
    said = [
        {"reason": "r", "verdict": "rewrite", "question": "How hot are 0 stars?"},
        {"reason": "r", "verdict": "rewrite", "question": "How hot are 7 stars?"},
        {"reason": "r", "verdict": "remove", "question": "x"},
    ]
    given = answers(*map(json.dumps, said), "I would keep it.")
    for rewrite in (True, False):
        section = Cleaning.model_validate({**SECTION, "rewrite": rewrite})
        requests = [Prompter(section, context).request(item) for item in items]
        rows, rejects = clean_questions(items, requests, given, section, "m")
        used = [row["question"] == row["proposed"] for row in rows]
        assert used == [rewrite, False]
        assert [row["doubts"] for row in rows] == [[], ["numbers"]]
        assert rows[1]["question"] == items[1].question
        assert [r.reason for r in rejects] == [Reason.PAPER_SPECIFIC, Reason.UNPARSED_VERDICT]
        counts = stage_module.counts_of(rows)
        assert (counts["rewritten"], counts["to_review"]) == ((1, 1) if rewrite else (0, 2))


def test_the_prompt_shows_choices_and_never_the_key(context: StageContext, tmp_path: Path) -> None:
    item = Item("1", "How hot is {{ it }}?", ("p{% x %}", "q"), answer=1, topic="Stars")
    shown = Prompter(Cleaning.model_validate(SECTION), context).request(item)
    text = shown.messages[0]["content"]
    assert "Question: How hot is {{ it }}?\nA. p{% x %}\nB. q" in text
    assert "Topic: Stars" in text
    assert list(shown.schema["properties"]) == ["reason", "verdict", "question"]
    without = Cleaning.model_validate({**SECTION, "show_choices": False})
    assert "B. q" not in Prompter(without, context).request(item).messages[0]["content"]
    for content in ("{{ nothing }}", "{% if %}", "{{ question.__class__.__mro__ }}"):
        (tmp_path / "own.md").write_text(content)
        with pytest.raises(InputError, match="cannot use this prompt"):
            Prompter(Cleaning.model_validate({**SECTION, "prompt": "own.md"}), context)


def test_units_cover_all_questions_once(context: StageContext, monkeypatch: Any) -> None:
    write_questions(context.root / "questions.csv")
    monkeypatch.setattr(stage_module, "UNIT_QUESTIONS", 2)
    stage = QuestionsCleanStage(Cleaning.model_validate(SECTION))
    units = stage.plan(context, Pipeline([stage], context).sources)
    assert [unit.payload["start"] for unit in units] == [0, 2, 4]
    assert len({unit.digest for unit in units}) == 3
    stage.setup(context)
    done = [stage.process(unit, context) for unit in units]
    assert [result.rows_in for result in done] == [3, 2, 1]
    ids = [row["item_id"] for result in done for row in result.kept.to_pylist()]
    gone = [reject.doc_id for result in done for reject in result.rejected]
    assert sorted(ids + gone) == sorted(["1", "2", "3", "4", "5", "questions.csv:6"])
    with pytest.raises(InputError, match="no file found"):
        QuestionsCleanStage(Cleaning.model_validate({**SECTION, "path": "none.csv"})).plan(
            context, Pipeline([], context).sources
        )


def test_a_model_is_asked_once_and_its_noise_is_rejected(
    context: StageContext, tiny_folder: Path
) -> None:
    write_questions(context.root / "questions.csv")
    engine = {"kind": "transformers", "model": str(tiny_folder), "sampling": {"max_tokens": 8}}
    section = Cleaning.model_validate({**SECTION, "engine": engine, "prompt": "own.md"})
    (context.root / "own.md").write_text("{{ question }}", encoding="utf-8")
    stage = QuestionsCleanStage(section)
    assert context.root / "own.md" in stage.source_files(context)
    (unit,) = stage.plan(context, Pipeline([stage], context).sources)
    stage.setup(context)
    done = [stage.process(unit, context) for _ in range(2)]
    stage.engine.close()
    for result in done:
        assert result.kept.num_rows == 0
        assert result.metrics["requests"] == 5
        reasons = [reject.reason for reject in result.rejected]
        assert reasons == [Reason.MALFORMED_RECORD] + [Reason.UNPARSED_VERDICT] * 5
    texts = [json.loads(reject.text or "") for reject in done[0].rejected[1:]]
    assert texts == [json.loads(reject.text or "") for reject in done[1].rejected[1:]]
    assert texts[0]["question"] == QUESTIONS[0][0]


def fill(path: Path, marks: dict[str, str], delimiter: str = ",") -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row[HUMAN] = marks.get(row["item_id"], "")
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_a_person_checks_the_verdicts(run: StageContext, tmp_path: Path) -> None:
    verdicts = {one.item_id: one.verdict for one in judged_questions(run.run_dir)}
    assert verdicts == {"1": "keep", "2": "rewrite", "5": "keep", "3": "remove", "4": "remove"}
    sheet = tmp_path / "sheet.csv"
    assert write_sheet(run.run_dir, 3, 1, sheet) == {
        "keep": (1, 2), "remove": (1, 2), "rewrite": (1, 1),
    }  # fmt: skip
    assert "model_" not in sheet.read_text("utf-8-sig")
    write_sheet(run.run_dir, 90, 1, sheet, blind=False)
    text = sheet.read_text("utf-8-sig")
    assert "Which planet is the largest?" in text
    assert "A. =1+1" in text
    fill(sheet, {"1": "Keep ", "2": "keep", "3": "remove", "4": "remove"}, ";")
    found = score_sheet(sheet, run.run_dir)
    assert (len(found.marked), found.unmarked) == (4, 1)
    assert found.agreed("keep") == (1, 1)
    assert found.agreed("rewrite") == (0, 1)
    assert found.agreed("remove") == (2, 2)
    assert found.weighted is not None
    middle, low, high = found.weighted
    assert middle == pytest.approx(4 / 5)
    assert 0 < low < middle < high <= 1


def test_sheets_that_cannot_be_scored(run: StageContext, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    write_sheet(run.run_dir, 90, 1, sheet)
    fill(sheet, {"1": "maybe"})
    with pytest.raises(InputError, match="'maybe' is no verdict"):
        score_sheet(sheet, run.run_dir)
    sheet.write_text(f"item_id,{HUMAN}\n99,keep\n")
    with pytest.raises(InputError, match="question 99 of the sheet"):
        score_sheet(sheet, run.run_dir)
    sheet.write_text(f"item_id,{HUMAN}\n1,keep\n1,keep\n")
    with pytest.raises(InputError, match="twice"):
        score_sheet(sheet, run.run_dir)
    sheet.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no sheet"):
        score_sheet(sheet, run.run_dir)
    with pytest.raises(UsageError, match="no cleaned questions"):
        list(judged_questions(tmp_path))


def test_the_commands(run: StageContext, tmp_path: Path) -> None:
    app = typer.Typer()
    add_cleaning_commands(app)
    runner, sheet = CliRunner(), tmp_path / "sheet.csv"
    made = runner.invoke(app, ["question-sheet", str(run.run_dir), "--out", str(sheet)])
    assert made.exit_code == 0, made.output
    assert "keep 2 of 2, remove 2 of 2, rewrite 1 of 1" in made.output
    fill(sheet, {"1": "keep", "2": "keep", "3": "remove", "4": "remove", "5": "keep"})
    scored = runner.invoke(app, ["score-question-sheet", str(sheet), str(run.run_dir), "--json"])
    assert scored.exit_code == 0, scored.output
    record = json.loads(scored.output)
    assert record["agreed"] == {"keep": [2, 2], "remove": [2, 2], "rewrite": [0, 1]}
    # 4 of 5 alike; the person says keep 3, remove 2, the model 2, 2 and rewrite 1.
    assert record["kappa"] == pytest.approx(1 - (1 / 5) / (1 - (3 * 2 + 2 * 2 + 0 * 1) / 25))
    assert [d["item_id"] for d in record["disagreements"]] == ["2"]
    shown = runner.invoke(app, ["score-question-sheet", str(sheet), str(run.run_dir)])
    assert "where the model says remove, you do: 2 of 2 = 100.0%" in shown.output
    assert "Cohen's kappa" in shown.output
