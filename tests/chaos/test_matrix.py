"""Every fault at every kind of stage, one by one: ``make chaos``.

A finished run is copied, one stage of it is taken away and made again while something breaks. The
moments are random, from a seed that can be given: ``ASTROMILL_CHAOS_SEED``.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from core.yaml_reader import read_yaml
from tests.chaos.cluster import Cluster, Node, cluster
from tests.chaos.driver import Driver, assert_same, few_notes, strike
from tests.chaos.network import network, why_not
from tests.chaos.table import Row, Table
from tests.core.llm.server_process import Journal, ServerProcess, journal_server

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("ASTROMILL_CHAOS") != "1",
        reason="at length: make chaos, or ASTROMILL_CHAOS=1",
    ),
    pytest.mark.timeout(1800),
]

SEED = int(os.environ.get("ASTROMILL_CHAOS_SEED", "8"))
LAST = "eval.mcq"
SHARDS = ["corpus.ocr", "corpus.perplexity_score", "synth.qa", "eval.mcq"]
TRAINED = ["train.scorer", "train.cpt"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Shown at the end."""
    found = Table()
    yield found
    found.write(tmp_path_factory.mktemp("chaos") / "matrix.md")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, recipe_data: dict[str, object]) -> Driver:
    """A run that nothing disturbed, of one worker in one local session."""
    folder = tmp_path_factory.mktemp("reference")
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**recipe_data, "run_dir": str(folder / "run")}))
    driver = Driver(few_notes(recipe), folder / "log.txt", until=LAST)
    driver.start("--workers", "1")
    assert driver.ended() == 0, driver.text()
    return driver


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A head and two nodes, for all faults that leave the cluster whole or can be mended."""
    with cluster(head_works=False) as found:
        yield found


@pytest.fixture
def again(reference: Driver, tmp_path: Path) -> Callable[..., Driver]:
    """Returns what copies the reference without one stage."""

    def copy(stage: str, on: Cluster | None = None, run_dir: Path | None = None) -> Driver:
        run_dir = run_dir or tmp_path / "run"
        shutil.copytree(reference.run_dir, run_dir, dirs_exist_ok=True)
        shutil.rmtree(run_dir.joinpath(*stage.split(".")))
        data = read_yaml(reference.recipe.read_text())
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump({**data, "run_dir": str(run_dir)}, sort_keys=False))
        return Driver(recipe, tmp_path / "log.txt", on, stage)

    return copy


def moment(driver: Driver, reference: Driver, stage: str, fault: str) -> Callable[[], bool]:
    """Returns a random moment of a stage: so many shards done, or training steps."""
    chance = random.Random(f"{SEED} {fault} {stage}")
    if stage in TRAINED:
        metrics = driver.work(stage) / "metrics.jsonl"
        lines = chance.randrange(1, 3)
        return lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= lines
    number = chance.randrange(max(1, reference.receipts(stage) - 3))
    return lambda: driver.receipts(stage) >= number


def goes_on(driver: Driver, reference: Driver, row: Row) -> None:
    """The driver ends by itself with all in place; if it fails, one more call does it."""
    if code := driver.ended():
        row.outcome = f"ended with code {code}: {driver.said('error')}"
        assert "Traceback" not in driver.text(), driver.text()
        driver.start()
        assert driver.ended() == 0, driver.text()
        assert_same(reference.run_dir, driver.run_dir)
        row.outcome += "; the rerun has the same bytes"
    else:
        assert_same(reference.run_dir, driver.run_dir)
        row.outcome = "goes on by itself; same bytes"


@pytest.mark.parametrize("stage", SHARDS + TRAINED)
def test_a_worker_is_killed(
    stage: str, nodes: Cluster, again: Callable[..., Driver], reference: Driver, table: Table
) -> None:
    with table.row("worker killed", stage) as row:
        driver = again(stage, nodes)
        driver.start()
        strike(driver, stage, nodes.busy, moment(driver, reference, stage, "worker"))
        goes_on(driver, reference, row)


@pytest.mark.parametrize("stage", [*SHARDS[:3], "train.cpt"])
def test_a_node_is_killed(
    stage: str, nodes: Cluster, again: Callable[..., Driver], reference: Driver, table: Table
) -> None:
    with table.row("raylet of a node killed", stage) as row:
        driver = again(stage, nodes)

        def end_node(worker: psutil.Process) -> None:
            node_of(nodes, worker).raylet().kill()
            # What it had in hand it may still finish: nothing tells it before it has.
            worker.resume()

        driver.start()
        strike(
            driver,
            stage,
            nodes.busy,
            moment(driver, reference, stage, "raylet"),
            end_node,
        )
        nodes.add()
        goes_on(driver, reference, row)


def node_of(nodes: Cluster, worker: psutil.Process) -> Node:
    return next(node for node in nodes.alive() if node.raylet().pid == worker.ppid())


@pytest.mark.parametrize("stage", SHARDS + TRAINED)
def test_the_driver_is_killed(
    stage: str, nodes: Cluster, again: Callable[..., Driver], reference: Driver, table: Table
) -> None:
    with table.row("driver killed", stage) as row:
        driver = again(stage, nodes)
        driver.start()
        at = moment(driver, reference, stage, "driver")
        strike(driver, stage, lambda: driver.process, at)
        assert driver.ended() < 0
        driver.start()
        assert driver.ended() == 0, driver.text()
        assert_same(reference.run_dir, driver.run_dir)
        row.outcome = "the rerun has the same bytes"


@pytest.mark.parametrize("damage", ["cut short", "one bit flipped", "removed"])
@pytest.mark.parametrize(
    ("shards", "reader"),
    [
        ("corpus.repetition", "corpus.perplexity_score"),
        ("corpus.decontaminate", "corpus.tokens"),
        ("synth.qa", "synth.judge"),
    ],
)
def test_a_shard_is_damaged(
    damage: str,
    shards: str,
    reader: str,
    nodes: Cluster,
    again: Callable[..., Driver],
    reference: Driver,
    table: Table,
) -> None:
    with table.row(f"shard of its input {damage}", reader) as row:
        driver = again(reader, nodes)
        chance = random.Random(f"{SEED} {damage} {reader}")
        shard = chance.choice(sorted(driver.folder(shards).glob("part-*.parquet")))
        data = bytearray(shard.read_bytes())
        if damage == "removed":
            shard.unlink()
        elif damage == "cut short":
            shard.write_bytes(data[: len(data) // 2])
        else:
            # In the pages, where most bytes are; the footer is in the last part.
            data[chance.randrange(4, len(data) // 2)] ^= 1 << chance.randrange(8)
            shard.write_bytes(data)
        driver.start()
        row.outcome = "noticed before anything read it, made again; same bytes"
        if driver.ended():
            assert driver.said("error"), driver.text()
            assert shard.name in driver.text(), driver.text()
            assert "delete it and run again" in driver.said("do")
            shard.unlink()
            driver.start()
            assert driver.ended() == 0, driver.text()
            row.outcome = "the error names the shard; deleted as told, the rerun has the same bytes"
        assert_same(reference.run_dir, driver.run_dir)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk of its own needs root")
    done = subprocess.run(mount, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


@pytest.mark.parametrize("left", [0.0, 0.5])
@pytest.mark.parametrize("stage", [*SHARDS[:3], "corpus.dedup_clusters", "train.cpt"])
def test_the_disk_is_full(
    stage: str,
    left: float,
    small_disk: Path,
    nodes: Cluster,
    again: Callable[..., Driver],
    reference: Driver,
    table: Table,
) -> None:
    with table.row(f"disk full, {left:.0%} of the stage fits", stage) as row:
        driver = again(stage, nodes, small_disk / "run")
        fill(small_disk / "ballast", int(left * size(reference.folder(stage))))
        driver.start()
        code = driver.ended()
        assert code == 1, driver.text()
        assert "Traceback" not in driver.text(), driver.text()
        assert str(small_disk) in driver.said("error"), driver.text()
        assert "is full" in driver.said("error")
        (small_disk / "ballast").unlink()
        driver.start()
        assert driver.ended() == 0, driver.text()
        assert_same(reference.run_dir, driver.run_dir)
        row.outcome = "the error names the disk; with space, the rerun has the same bytes"


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fill(path: Path, leave_bytes: int) -> None:
    """Takes all of a disk but so much."""
    free = shutil.disk_usage(path.parent).free
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave_bytes))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A language model's server; what it answers depends on the question only."""
    found = journal_server(tmp_path / "server.txt", tmp_path / "journal", "--seconds", "0.05")
    try:
        found.start()
        yield found
    finally:
        found.kill()


def test_the_model_server_is_killed(
    server: ServerProcess,
    nodes: Cluster,
    again: Callable[..., Driver],
    table: Table,
    tmp_path: Path,
) -> None:
    stage = "synth.qa"
    with table.row("server of the language model killed, started again", stage) as row:
        runs = {}
        for name in ("quiet", "disturbed"):
            driver = again(stage, nodes, tmp_path / name)
            data = read_yaml(driver.recipe.read_text())
            engine = {"kind": "openai", "model": "tiny", "base_url": server.url}
            data["synth"]["qa"]["engine"] = engine
            recipe = tmp_path / f"{name}.yaml"
            recipe.write_text(yaml.safe_dump(data, sort_keys=False))
            runs[name] = Driver(recipe, tmp_path / f"{name}.txt", nodes, stage)
        runs["quiet"].start("--workers", "1")
        assert runs["quiet"].ended() == 0, runs["quiet"].text()
        journal = Journal(tmp_path / "journal")
        before = journal.answered()
        driver = runs["disturbed"]
        driver.start()
        strike(
            driver,
            stage,
            lambda: process_of(server),
            lambda: journal.answered() > before,
            lambda process: server.kill(),
        )
        server.start()
        assert driver.ended() == 0, driver.text()
        assert_same(runs["quiet"].run_dir, driver.run_dir)
        row.outcome = "the run waits for it and goes on; same bytes"


def process_of(server: ServerProcess) -> psutil.Process | None:
    """The server's process, by its port."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "bench.llm_server" in words and str(server.port) in words:
            return process
    return None


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
@pytest.mark.parametrize("stage", ["corpus.ocr", "corpus.perplexity_score"])
def test_the_network_of_a_node_drops(
    stage: str, again: Callable[..., Driver], reference: Driver, table: Table
) -> None:
    with (
        network(3) as cables,
        cluster(cables, head_works=False) as nodes,
        table.row("network of a node drops", stage) as row,
    ):
        driver = again(stage, nodes)

        def cut(worker: psutil.Process) -> None:
            cables.plug(nodes.nodes.index(node_of(nodes, worker)), "down")
            worker.resume()

        driver.start()
        at = moment(driver, reference, stage, "network")
        strike(driver, stage, nodes.busy, at, cut)
        goes_on(driver, reference, row)
