"""``astromill train export`` on a real run of a few steps."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner, Result

from core.errors import InputError, UsageError
from ray_jobs.export_commands import add_export_commands
from tests.train.checkpoint.runs import Run
from train.loop import train_loop


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, process_group: None
) -> Path:
    """A run's folder, with checkpoints of two steps."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from core.schema import token_sequence

    scratch = tmp_path_factory.mktemp("export")
    schema, rows = token_sequence(32), []
    for number in range(16):
        span = {"doc_id": f"d-{number}", "doc_start_token": 0, "start": 0, "length": 32}
        row = {"input_ids": [(number + n) % 300 for n in range(32)], "spans": [span]}
        rows.append(row | {"loss_mask": [1] * 32, "position_ids": list(range(32))})
    (scratch / "tokens").mkdir()
    names = set(schema.names)
    kept = [{k: v for k, v in row.items() if k in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(kept, schema=schema), scratch / "tokens/part-00000.parquet")
    run = scratch / "run"
    shutil.copytree(tiny_folder, run / "train/base/model")
    one = Run(run, run / "train/base/model", scratch / "tokens")
    one.out.mkdir(parents=True)
    one.checkpoints = run / "checkpoints/train.cpt"
    train_loop(
        asdict(one.spec(1, epochs=1.0, checkpoint={"every_steps": 0, "keep_every_steps": 1}))
    )
    return run


def export(*arguments: str) -> Result:
    app = typer.Typer()
    add_export_commands(app)
    # A second command: typer would take the name of an only one for an argument.
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["export", *arguments], env={"COLUMNS": "200"})


def steps_of(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def test_a_checkpoint_becomes_a_model(trained: Path, tmp_path: Path) -> None:
    first, *_, last = steps_of(trained / "checkpoints/train.cpt")
    result = export(str(trained), "--out", str(tmp_path / "last"))
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"step-{last:08d}, weights in bfloat16" in result.output
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "last", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(tmp_path / "last").chat_template
    options = ("--run", "cpt", "--step", str(first), "--dtype", "float32")
    assert export(str(trained), *options, "--out", str(tmp_path / "first")).exit_code == 0
    earlier = AutoModelForCausalLM.from_pretrained(tmp_path / "first")
    norms = [m.get_input_embeddings().weight.float().norm().item() for m in (model, earlier)]
    assert norms[0] != pytest.approx(norms[1], rel=1e-5), "another step, other weights"
    again = export(str(trained), "--out", str(tmp_path / "last")).exception
    assert isinstance(again, UsageError)
    assert "there already" in again.what


def test_a_checkpoint_taken_out_of_its_run_needs_a_model(trained: Path, tmp_path: Path) -> None:
    folder = trained / "checkpoints/train.cpt"
    lone = Path(
        shutil.copytree(folder / f"step-{steps_of(folder)[0]:08d}", tmp_path / "step-00000002")
    )
    missing = export(str(lone), "--out", str(tmp_path / "out")).exception
    assert isinstance(missing, UsageError)
    assert "--model" in missing.remedy
    base = str(trained / "train/base/model")
    assert export(str(lone), "--model", base, "--out", str(tmp_path / "out")).exit_code == 0
    wrong = export(str(lone), "--step", "9", "--model", base, "--out", str(tmp_path / "no"))
    assert isinstance(wrong.exception, UsageError)


def test_incomplete_and_absent_checkpoints(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "checkpoints", tmp_path / "run/checkpoints"))
    steps = steps_of(folder / "train.cpt")
    broken = folder / "train.cpt" / f"step-{steps[-1]:08d}"
    (broken / "checkpoint.json").unlink()
    out = ("--out", str(tmp_path / "out"))
    for place in (str(broken), str(tmp_path / "run")):
        step = () if place == str(broken) else ("--step", str(steps[-1]))
        refused = export(place, *step, *out).exception
        assert isinstance(refused, InputError)
        assert "not complete" in refused.what
        assert refused.remedy.endswith(", ".join(map(str, steps[:-1])))
    absent = export(str(folder / "train.cpt"), "--step", "77", *out).exception
    assert isinstance(absent, InputError)
    assert "steps there are" in absent.remedy
    (tmp_path / "empty").mkdir()
    for place in ("empty", "nowhere"):
        assert isinstance(export(str(tmp_path / place), *out).exception, InputError)
    other = export(str(tmp_path / "run"), "--run", "sft", *out).exception
    assert isinstance(other, UsageError)
    assert "train.cpt" in other.remedy
