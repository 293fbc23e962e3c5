from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import pytest

from core.errors import StageError
from core.recipe.watch import Tracking
from train.tracking import Trackers


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What is in TensorBoard's event files, read with its own record format."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            data = data[16 + length :]
    return found


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    trackers = Trackers(Tracking(), tmp_path, "demo-cpt")
    trackers.log(1, {"loss": 2.5, "mfu": None})
    trackers.log(2, {"loss": 2.25, "mfu": 0.5})
    trackers.close()
    found = scalars(tmp_path / "tensorboard")
    assert found == {"loss": [(1, 2.5), (2, 2.25)], "mfu": [(2, 0.5)]}


def test_nothing_is_written_where_nothing_is_asked_for(tmp_path: Path) -> None:
    trackers = Trackers(Tracking(tensorboard=False), tmp_path, "demo-cpt")
    trackers.log(1, {"loss": 2.5})
    trackers.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("key", "package"), [("wandb_project", "wandb"), ("mlflow_uri", "mlflow")])
def test_a_missing_package_is_named(tmp_path: Path, key: str, package: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    section = Tracking.model_validate({"tensorboard": False, key: "x"})
    with pytest.raises(StageError, match=f"'{package}' is not installed"):
        Trackers(section, tmp_path, "demo-cpt")


def test_a_tracker_that_fails_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorboard").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        trackers = Trackers(Tracking(), tmp_path, "demo-cpt")
        trackers.log(1, {"loss": 2.5})
        trackers.close()
    assert "gets no more metrics" in caplog.text
