"""A run of a recipe that is disturbed, and what must hold of its folder at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml

from core.manifest import Manifest
from core.yaml_reader import read_yaml
from tests.chaos.cluster import CHECKOUT, LIMIT_SECONDS, Cluster, wait_gone
from tests.ray_jobs.conftest import cli_command, data_bytes


class Driver:
    """``astromill run`` on a cluster, or on a local session, as a process.

    Args:
        recipe: the recipe file.
        log: where its output goes.
        cluster: to join; None: a local session.
        until: the last stage; None: all.
    """

    def __init__(
        self, recipe: Path, log: Path, cluster: Cluster | None = None, until: str | None = None
    ) -> None:
        self.run_dir = Path(str(read_yaml(recipe.read_text())["run_dir"]))
        self.log = log
        self.recipe = recipe
        self._cluster = cluster
        self._until = until
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Starts it, again after it was killed."""
        until = ["--until", self._until] if self._until else []
        command = cli_command("run", str(self.recipe), *until, *options)
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        if self._cluster is not None:
            command = self._cluster.inside(0, [*command, "--address", self._cluster.address])
            environment = self._cluster.environment
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdout=output, stderr=output
            )

    @property
    def process(self) -> psutil.Process:
        """The process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def running(self) -> bool:
        """Returns whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> int:
        """Waits for its end; returns its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=2 * LIMIT_SECONDS)

    def kill(self) -> None:
        """Kills it with all that it started itself, and nothing of a cluster."""
        children = self.process.children(recursive=True)
        self.process.kill()
        self.ended()
        # Those of a local session end with their driver.
        wait_gone(children)

    def text(self) -> str:
        """What it wrote, to read where it failed."""
        return self.log.read_text(errors="replace")[-6000:]

    def said(self, label: str) -> str:
        """Returns the last line under a label: ``error``, ``where``, ``do``."""
        lines = self.log.read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith(f"{label}:")), "")

    def folder(self, stage: str) -> Path:
        """Returns a stage's folder."""
        return self.run_dir.joinpath(*stage.split("."))

    def work(self, stage: str) -> Path:
        """Returns where a job is under way."""
        folder = self.folder(stage)
        return folder.with_name(f"{folder.name}.work")

    def unfinished(self, stage: str) -> bool:
        """Returns whether a stage has begun and is not done."""
        folder = self.folder(stage)
        begun = (folder / "receipts").is_dir() or self.work(stage).is_dir()
        return begun and not (folder / "manifest.json").exists()

    def receipts(self, stage: str) -> int:
        """Returns how many shards of a stage are done."""
        return len(list((self.folder(stage) / "receipts").glob("*.json")))


def strike(
    driver: Driver,
    stage: str,
    victim: Callable[[], psutil.Process | None],
    at: Callable[[], bool] = lambda: True,
    fault: Callable[[psutil.Process], None] = psutil.Process.kill,
) -> None:
    """Does a fault to a process while a stage is under way, and never before or after it.

    The victim is halted first: then it is seen whether it still is what was looked for. When the
    stage was done too soon for that, it is made once more.

    Args:
        driver: the run.
        stage: the stage to disturb.
        victim: finds the process, or None where there is none yet.
        at: the moment; asked again and again.
        fault: what to do to the halted process.
    """
    started = time.monotonic()
    while True:
        assert time.monotonic() - started < LIMIT_SECONDS, (
            f"{stage} was never seen\n{driver.text()}"
        )
        if not driver.running() or (driver.folder(stage) / "manifest.json").exists():
            _once_more(driver, stage)
        if driver.unfinished(stage) and at() and (found := victim()):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.suspend()
                if driver.unfinished(stage) and (victim() == found):
                    fault(found)
                    return
                found.resume()
        time.sleep(0.005)


def _once_more(driver: Driver, stage: str) -> None:
    if driver.running():
        driver.kill()
    else:
        assert driver.ended() == 0, driver.text()
    shutil.rmtree(driver.folder(stage), ignore_errors=True)
    driver.start()


def few_notes(recipe: Path, notes: str = "[a-g]*.md") -> Path:
    """Leaves all papers and a few of the notes: what is disturbed is the same, and sooner there."""
    data = read_yaml(recipe.read_text())
    for source in data["corpus"]["sources"]:
        if source["kind"] == "markdown":
            source["paths"] = [f"samples/astronomy/{notes}"]
    recipe.write_text(yaml.safe_dump(data, sort_keys=False))
    return recipe


def warned(run_dir: Path, text: str) -> list[str]:
    """Returns the stages whose warnings in the run's log say something."""
    lines = (run_dir / "logs" / "run.jsonl").read_text().splitlines()
    messages = [json.loads(line)["message"] for line in lines if '"WARNING"' in line]
    return [message.split()[0] for message in messages if text in message]


def assert_same(expected: Path, found: Path) -> None:
    """Both folders hold the same bytes, with no row lost and none twice."""
    wanted, there = data_bytes(expected), data_bytes(found)
    assert wanted.keys() == there.keys()
    assert [name for name in wanted if wanted[name] != there[name]] == []
    assert any(name.endswith(".parquet") for name in wanted)
    for path in sorted(found.rglob("manifest.json")):
        manifest = Manifest.load(path.parent)
        assert manifest is not None, path
        assert manifest.rows_in == manifest.rows_out + manifest.rows_rejected, path
        assert manifest.intact(path.parent), path
    assert_once(sorted((found / "corpus" / "decontaminate").glob("part-*.parquet")))


def assert_once(shards: Sequence[Path]) -> None:
    """Every document is there once."""
    names = [name for path in shards for name in pq.read_table(path)["doc_id"].to_pylist()]
    assert len(names) == len(set(names)) > 0
