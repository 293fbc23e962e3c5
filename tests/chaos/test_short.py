"""Three nodes make the bytes that one process makes, whatever is killed meanwhile.

One run, disturbed once after another. Each fault waits for its moment, so it does not matter how
fast or loaded the machine is. ``test_matrix.py`` has the faults one by one, at length.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.chaos.cluster import cluster
from tests.chaos.driver import Driver, assert_same, few_notes, strike, warned

UNTIL = "corpus.tokens"


@pytest.mark.timeout(1800)
def test_three_nodes_under_faults_make_the_bytes_of_one_process(
    tmp_path: Path, write_recipe: Callable[[Path], Path]
) -> None:
    quiet = Driver(few_notes(write_recipe(tmp_path / "quiet")), tmp_path / "quiet.txt", until=UNTIL)
    quiet.start("--workers", "1")
    assert quiet.ended() == 0, quiet.text()

    with cluster() as nodes:
        recipe = few_notes(write_recipe(tmp_path / "disturbed"))
        driver = Driver(recipe, tmp_path / "disturbed.txt", nodes, UNTIL)
        _, second, third = nodes.nodes

        # A worker with a shard in hand; then a whole node. The driver goes on by itself.
        driver.start()
        strike(driver, "corpus.ocr", second.busy)

        def end_node(worker: psutil.Process) -> None:
            third.raylet().kill()
            # What it had in hand it may still finish: nothing tells it before it has.
            worker.resume()

        strike(driver, "corpus.ocr", third.busy, fault=end_node)

        # The driver, with some shards done and some not.
        done = driver.receipts("corpus.ocr")
        strike(
            driver,
            "corpus.ocr",
            lambda: driver.process,
            at=lambda: driver.receipts("corpus.ocr") > done,
        )
        assert driver.ended() < 0
        assert "corpus.ocr" in warned(driver.run_dir, "the worker died")
        nodes.add()

        # The driver again, in the middle of training.
        driver.start()
        metrics = driver.run_dir / "train/scorer.work/metrics.jsonl"
        strike(
            driver,
            "train.scorer",
            lambda: driver.process,
            at=lambda: metrics.exists() and metrics.stat().st_size > 0,
        )
        assert driver.ended() < 0

        # A worker that holds a model.
        driver.start()
        strike(
            driver,
            "corpus.perplexity_score",
            nodes.busy,
            at=lambda: driver.receipts("corpus.perplexity_score") > 0,
        )
        assert driver.ended() == 0, driver.text()
        assert "corpus.perplexity_score" in warned(driver.run_dir, "the worker died")

    assert_same(quiet.run_dir, driver.run_dir)
