from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InputError
from train.figures import draw_runs, read_run


def write(path: Path, steps: int, epochs: float) -> Path:
    lines = [
        {
            "step": step,
            "epoch": epochs * step / steps,
            "loss": 5 / step**0.2,
            "learning_rate": 1e-4,
            "update_norm": 0.1,
        }
        for step in range(1, steps + 1)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_epochs_end_where_the_metrics_say(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "m.jsonl", steps=250, epochs=2.5), "cpt")
    assert run.steps == 250
    assert run.epoch_ends() == [100, 200]


def test_a_figure_of_two_runs_is_the_same_twice(tmp_path: Path) -> None:
    runs = [
        read_run(write(tmp_path / "a.jsonl", 250, 2.5), "cpt"),
        read_run(write(tmp_path / "b.jsonl", 3, 1.0), "sft"),
    ]
    for name in ("one.png", "two.png", "one.svg"):
        draw_runs(runs, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert "<path" in (tmp_path / "one.svg").read_text()
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"


def test_held_out_losses_and_left_out_steps_are_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl", 20, 2.0)
    kept = [line for line in path.read_text().splitlines() if json.loads(line)["step"] != 12]
    path.write_text("\n".join(kept) + "\n")
    lines = [{"step": s, "evaluation": {"field": 3 - s / 10, "general": 2.5}} for s in (0, 10, 20)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "evaluation.jsonl").write_text(text)
    run = read_run(path, "cpt")
    assert (run.steps, len(run.loss), run.epoch_ends()) == (20, 19, [10, 20])
    steps, losses = run.heldout["field"]
    assert steps.tolist() == [0, 10, 20]
    assert losses.tolist() == [3, 2, 1]
    draw_runs([run], tmp_path / "with.svg")
    (tmp_path / "evaluation.jsonl").unlink()
    draw_runs([read_run(path, "cpt")], tmp_path / "without.svg")
    assert "general" in (tmp_path / "with.svg").read_text()
    assert "general" not in (tmp_path / "without.svg").read_text()


@pytest.mark.parametrize("content", ["", '{"step": 1}\n', "not json\n"])
def test_what_cannot_be_drawn_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(content)
    with pytest.raises(InputError):
        read_run(path, "cpt")
    with pytest.raises(InputError, match="no training metrics"):
        read_run(tmp_path / "nothing.jsonl", "cpt")
