"""The mixture, from conversations of several stages to shuffled shards."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.copies import copy_id, original_id
from core.errors import InputError
from core.overlap import Rules
from core.recipe.mixture import Mixture, MixtureSet
from core.shards import read_shard, shard_paths
from core.stage import StageContext
from synth.mixture import MixturePickStage, MixturePlanStage, MixtureRowsStage, MixtureStage
from tests.synth.mixture.stages import conversation, made_up, run_stages, write_input

QA, INSTRUCT = "synth.conversations", "synth.instruct"
LONG = (
    "The rings of the planet are made of water ice and dust, and their particles are as small as "
    "a grain of sand or as large as a house, while shepherd moons keep the edges sharp"
)
ASKED = "In which arm of the Milky Way does the Sun lie?"


def _stages(
    section: Mixture, tokenizer: Path, benchmarks: dict[str, str] | None = None
) -> list[Any]:
    inputs = (QA, INSTRUCT)
    return [
        MixtureRowsStage(section, inputs, str(tokenizer), benchmarks or {}, Rules()),
        MixturePlanStage(section, "synth.mixture_rows"),
        MixturePickStage(inputs, "synth.mixture_plan"),
        MixtureStage("synth.mixture_pick", "synth.mixture_plan"),
    ]


def _rows(ctx: StageContext, stage: str = "synth.mixture") -> list[dict[str, Any]]:
    return [r for p in shard_paths(ctx.folder(stage)) for r in read_shard(p).to_pylist()]


def _rejects(ctx: StageContext) -> dict[str, tuple[str, str, str | None]]:
    rows = _rows(ctx, "synth.mixture_pick.rejects")
    return {r["doc_id"]: (r["reason"], r["detail"], r["text"]) for r in rows}


def _report(ctx: StageContext) -> dict[str, dict[str, Any]]:
    value = json.loads((ctx.folder("synth.mixture_plan") / "report.json").read_text())
    return {"total": value["total"], **{each["name"]: each for each in value["sets"]}}


def _bytes_of(ctx: StageContext) -> dict[str, bytes]:
    return {
        str(p.relative_to(ctx.run_dir)): p.read_bytes()
        for p in sorted(ctx.run_dir.rglob("*.parquet"))
    }


def _edited(text: str) -> str:
    return text.replace("large as a house", "big as a house")


@pytest.fixture
def inputs(context: StageContext) -> StageContext:
    """Two stages of conversations: 40 of qa in three shards, 30 of two instruction sets in two."""
    qa = made_up("qa", 36)
    qa[5:5] = [
        conversation("rings", "What are rings made of?", LONG),
        conversation("asked", ASKED, "In the Orion Arm."),
    ]
    qa += [
        conversation("near-asked", f"Tell me. {LONG} {LONG[::-1]}", f"{ASKED} The Orion Arm."),
        conversation("copy-of-asked", f"Tell me. {LONG} {LONG[::-1]}", "In its arm of Orion."),
    ]
    general = made_up("n/math", 20) + made_up("n/chat", 6)
    general += [
        conversation("same", "What are  rings made of?\n", LONG, "n/chat", system="Be brief."),
        conversation("near", "What are rings made of?", _edited(LONG), "n/chat"),
        conversation("qa-1", "A question of another set with a known id?", "Yes.", "n/chat"),
        conversation("empty", "?", "!", "n/chat"),
    ]
    write_input(context, QA, [qa[:10], [], qa[10:]])
    write_input(context, INSTRUCT, [general[:24], general[24:]])
    (context.root / "b.jsonl").write_text(json.dumps({"id": "sun", "question": ASKED}))
    return context


def test_every_conversation_is_in_the_mixture_or_a_reject(
    inputs: StageContext, tiny_folder: Path
) -> None:
    section = Mixture(conversations_per_shard=16)
    run_stages(inputs, _stages(section, tiny_folder, {"bench": "b.jsonl"}))
    rows, rejects = _rows(inputs), _rejects(inputs)
    assert len(rows) + len(rejects) == 70
    given = {r["conv_id"]: r for stage in (QA, INSTRUCT) for r in _rows(inputs, stage)}
    for row in rows:
        original = given[original_id(row["conv_id"])]
        if row["conv_id"] == original["conv_id"] and row["dataset"] == original["dataset"]:
            assert row == original
    assert rejects["same"][:2] == ("exact_duplicate", "says the same as rings")
    reason, detail, text = rejects["near"]
    assert reason == "near_duplicate"
    assert detail.startswith("similarity 0.")
    assert detail.endswith(" to rings")
    assert text == f"What are rings made of?\n\n{_edited(LONG)}"
    assert rejects["asked"][:2] == ("contaminated", "bench:sun (11 words of the question)")
    assert rejects["near-asked"][0] == "contaminated"
    # A near copy of what holds an item asks the same, though the words of the item are not there.
    reason, detail, _ = rejects["copy-of-asked"]
    assert reason == "contaminated"
    assert "to near-asked, which holds bench:sun" in detail
    assert len(rejects) == 5
    # An id that two sets share: the second gets a number.
    assert {"qa-1", "qa-1#2"} <= {r["conv_id"] for r in rows}
    assert len({r["conv_id"] for r in rows}) == len(rows)


def test_the_mixture_is_shuffled_over_all_shards(inputs: StageContext, tiny_folder: Path) -> None:
    run_stages(inputs, _stages(Mixture(conversations_per_shard=16), tiny_folder))
    shards = [read_shard(p) for p in shard_paths(inputs.folder("synth.mixture"))]
    assert [shard.num_rows for shard in shards] == [16, 16, 16, 16, 3]
    for shard in shards[:4]:
        assert len(set(shard["dataset"].to_pylist())) >= 2
    names = [row["dataset"] for row in _rows(inputs)]
    assert names != sorted(names)
    assert names != sorted(names, reverse=True)


def test_the_report_adds_up(inputs: StageContext, tiny_folder: Path) -> None:
    section = Mixture(
        sets=[MixtureSet(name="n/math", weight=1.5), MixtureSet(name="qa", count=20)],
        conversations_per_shard=16,
    )
    run_stages(inputs, _stages(section, tiny_folder, {"bench": "b.jsonl"}))
    rows, report = _rows(inputs), _report(inputs)
    assert list(report) == ["total", "n/math", "qa", "n/chat"]
    for name in ("n/math", "qa", "n/chat"):
        own = [row for row in rows if row["dataset"] == name]
        said = [m["content"] for row in own for m in row["messages"]]
        entry = report[name]
        assert entry["rows"] == len(own)
        assert entry["bytes"] == sum(len(text.encode()) for text in said)
        assert entry["different_rows"] == len({original_id(row["conv_id"]) for row in own})
        assert entry["rows_in"] == entry["different_rows"] + sum(
            entry[n] for n in ("contaminated", "exact_duplicates", "near_duplicates", "not_sampled")
        )
    assert (report["n/math"]["rows"], report["n/math"]["different_rows"]) == (30, 20)
    assert report["qa"]["rows"] == 20
    assert report["n/chat"]["not_sampled"] == 10
    assert report["total"]["rows_in"] == 70
    assert report["total"]["tokens"] > 0
    assert abs(sum(report[n]["byte_share"] for n in ("n/math", "qa")) - 1) < 1e-5
    rejects = _rejects(inputs)
    assert rejects["empty"] == ("not_sampled", "synth.mixture.sets does not name its set", None)
    reasons = Counter(row["reason"] for row in _rows(inputs, "synth.mixture_pick.rejects"))
    assert reasons == {"not_sampled": 10 + 40 - 3 - 20, "contaminated": 3}
    assert (inputs.folder("synth.mixture_plan") / "mixture.png").read_bytes()[:4] == b"\x89PNG"


def test_repeated_rows_get_ids_of_their_own(inputs: StageContext, tiny_folder: Path) -> None:
    section = Mixture(sets=[MixtureSet(name="n/math", weight=2.5)], conversations_per_shard=7)
    run_stages(inputs, _stages(section, tiny_folder))
    ids = [row["conv_id"] for row in _rows(inputs)]
    assert len(ids) == len(set(ids)) == 50
    times = Counter(original_id(each) for each in ids)
    assert Counter(times.values()) == {2: 10, 3: 10}
    # Copies lie apart: hardly any shard of 7 has a row twice.
    shards = [ids[at : at + 7] for at in range(0, 50, 7)]
    assert sum(len({original_id(i) for i in shard}) == len(shard) for shard in shards) >= 2


def test_byte_shares_come_out_as_asked(context: StageContext, tiny_folder: Path) -> None:
    write_input(context, QA, [made_up("qa", 300)])
    write_input(context, INSTRUCT, [made_up("n/math", 200), made_up("n/chat", 200)])
    section = Mixture(
        sets=[
            MixtureSet(name="qa", byte_share=0.6),
            MixtureSet(name="n/*", byte_share=0.4),
        ]
    )
    run_stages(context, _stages(section, tiny_folder))
    report = _report(context)
    assert report["qa"]["rows"] == 300
    assert abs(report["qa"]["byte_share"] - 0.6) < 0.005
    # One share for both: they are sampled as one set.
    assert 60 < report["n/math"]["rows"] < 140


def test_the_first_set_of_the_recipe_keeps_what_two_have(
    inputs: StageContext, tiny_folder: Path
) -> None:
    section = Mixture(sets=[MixtureSet(name="n/*"), MixtureSet(name="qa")])
    run_stages(inputs, _stages(section, tiny_folder))
    kept = {row["conv_id"] for row in _rows(inputs)} & {"rings", "same", "near"}
    assert len(kept) == 1
    assert kept <= {"same", "near"}


def test_sets_from_templates_keep_near_duplicates(context: StageContext, tiny_folder: Path) -> None:
    said = "the first author of the paper with the arXiv identifier"
    write_input(
        context,
        QA,
        [
            [
                conversation(
                    f"m{n}",
                    f"Quick question: who is {said} {n}?",
                    f"I know {said} {n}: A{n}.",
                    "metadata",
                )
                for n in (*range(10), 0)
            ]
        ],
    )
    write_input(context, INSTRUCT, [])
    run_stages(context, _stages(Mixture(), tiny_folder))
    assert len(_rows(context)) == 10
    near = Mixture(sets=[MixtureSet(name="metadata", near_duplicates=True)])
    run_stages(context, _stages(near, tiny_folder))
    assert len(_rows(context)) == 1


def test_same_recipe_and_seed_same_bytes(inputs: StageContext, tiny_folder: Path) -> None:
    stages = _stages(Mixture(conversations_per_shard=16), tiny_folder, {"bench": "b.jsonl"})
    run_stages(inputs, stages)
    first = _bytes_of(inputs)
    for stage in stages:
        shutil.rmtree(inputs.folder(stage.name))
    run_stages(inputs, stages)
    assert _bytes_of(inputs) == first
    order = [row["conv_id"] for row in _rows(inputs)]
    other = StageContext(inputs.run_dir, inputs.root, seed=2)
    run_stages(other, stages)
    again = [row["conv_id"] for row in _rows(other)]
    assert again != order
    # Another seed may keep the other of two that say the same, and number other copies.
    assert len(again) == len(order)


def test_a_larger_sample_holds_the_smaller_and_growth_moves_little(
    context: StageContext, tiny_folder: Path
) -> None:
    write_input(context, INSTRUCT, [])

    def sample(rows: int, **amount: Any) -> set[str]:
        write_input(context, QA, [made_up("qa", rows)])
        run_stages(context, _stages(Mixture(sets=[MixtureSet(name="qa", **amount)]), tiny_folder))
        return {row["conv_id"] for row in _rows(context)}

    small = sample(200, count=50)
    assert small < sample(200, count=80)
    assert len(small & sample(220, count=50)) >= 40
    half = sample(200, weight=0.5)
    assert len(half & sample(220, weight=0.5)) >= 95


def test_only_what_changed_is_done_again(inputs: StageContext, tiny_folder: Path) -> None:
    benchmarks = {"bench": "b.jsonl"}
    stages = _stages(Mixture(), tiny_folder, benchmarks)
    assert run_stages(inputs, stages) == [5, 1, 1, 1]
    assert run_stages(inputs, stages) == [0, 1, 0, 0]
    write_input(inputs, INSTRUCT, [made_up("n/math", 3), made_up("n/chat", 2)])
    assert run_stages(inputs, stages) == [2, 1, 1, 1]
    (inputs.root / "b.jsonl").write_text(json.dumps({"question": "Why is the sky blue?"}))
    assert run_stages(inputs, stages)[0] == 5
    # Neither a threshold nor a weight needs another look at the conversations.
    other = Mixture(similarity=0.9, sets=[MixtureSet(name="qa", weight=0.5)])
    assert run_stages(inputs, _stages(other, tiny_folder, benchmarks)) == [0, 1, 1, 1]


def test_groups_and_row_groups_bound_what_is_read(
    context: StageContext, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.mixture.plan_files.GROUP_ROWS", 300)
    write_input(context, QA, [made_up("qa", 250, 250 * n) for n in range(4)])
    write_input(context, INSTRUCT, [made_up("n/math", 1000)])
    stages = _stages(Mixture(conversations_per_shard=400), tiny_folder)
    assert run_stages(context, stages) == [5, 1, 5, 5]
    picked = shard_paths(context.folder("synth.mixture_pick"))
    assert max(pq.ParquetFile(p).metadata.row_group(0).num_rows for p in picked) == 128
    targets = [read_shard(p, ["target"])["target"].to_pylist() for p in picked]
    assert all(each == sorted(each) for each in targets)
    rows = _rows(context)
    assert len({row["conv_id"] for row in rows}) == len(rows) == 2000


def test_a_mixture_of_nothing_is_an_error(context: StageContext, tiny_folder: Path) -> None:
    write_input(context, QA, [[]])
    write_input(context, INSTRUCT, [made_up("n/math", 2)])
    with pytest.raises(InputError, match="of 2 conversations none is left"):
        run_stages(context, _stages(Mixture(sets=[MixtureSet(name="qa")]), tiny_folder))


def test_without_a_threshold_only_equal_conversations_leave(
    inputs: StageContext, tiny_folder: Path
) -> None:
    run_stages(inputs, _stages(Mixture(similarity=None), tiny_folder))
    assert set(_rejects(inputs)) == {"same"}


def test_copies_are_numbered_from_two() -> None:
    assert [copy_id("a#b", n) for n in range(3)] == ["a#b", "a#b#2", "a#b#3"]
    assert [original_id(i) for i in ("a", "a#2", "a#b", "a#b#12", "a#0")] == [
        "a", "a", "a#b", "a#b", "a#0",
    ]  # fmt: skip
