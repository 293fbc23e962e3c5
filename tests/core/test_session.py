"""The local Ray session: nothing listens beyond loopback; a wrong address is a clear error."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from core import session
from core.errors import StageError
from core.session import Room, capacity, cluster_cpus, settle
from core.session import ray_session as open_session
from core.stage import Resources


def test_nothing_listens_beyond_loopback(ray_session: None) -> None:
    import ray

    @ray.remote
    def work() -> int:
        return 1

    assert ray.get([work.remote() for _ in range(4)]) == [1] * 4
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_open_session_is_used_as_it_is(ray_session: None) -> None:
    with open_session(num_cpus=1):
        assert cluster_cpus() == 2
    assert cluster_cpus() == 2


def test_capacity(ray_session: None) -> None:
    assert capacity(Resources(cpus=1), "a stage") == 2
    assert capacity(Resources(cpus=2), "a stage") == 1
    with pytest.raises(StageError, match="one needs 3 CPU"):
        capacity(Resources(cpus=3), "a stage")
    with pytest.raises(StageError, match="1 GPU"):
        capacity(Resources(cpus=1, gpus=1), "a stage")


def test_capacity_is_that_of_nodes_and_not_of_their_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    small = {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0, "accelerator_type:A": 1.0}}
    dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    large = {"Alive": True, "Resources": {"CPU": 5.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [small, dead, large, small])
    assert capacity(Resources(cpus=2), "a stage") == 4
    assert capacity(Resources(cpus=0.1, accelerator_type="A"), "a stage") == 40
    # Two nodes have a GPU each, and no worker runs on both: Ray would wait for ever.
    with pytest.raises(StageError, match=r"a node of the cluster: one needs 1 CPU, 2 GPU \["):
        capacity(Resources(cpus=1, gpus=2), "a stage")
    assert settle(Resources(gpus_if_any=2)).gpus == 0
    assert settle(Resources(gpus_if_any=1)).gpus == 1


def test_a_cluster_that_has_lost_its_nodes_is_waited_for_with_an_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(session, "_LOOK_SECONDS", 0.0)
    room = Room(Resources(), "a stage")
    room.check()
    nodes.clear()
    room.check()
    room.check()
    assert caplog.text.count("waiting for one") == 1
    monkeypatch.setattr(session, "_NO_ROOM_SECONDS", 0.0)
    with pytest.raises(StageError, match="no worker of this stage fits"):
        room.check()


def test_an_error_without_a_word_is_named(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def silent(**options: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", silent)
    with pytest.raises(StageError, match="Ray did not start: TimeoutError"), open_session():
        pass


def test_a_start_that_was_too_slow_is_tried_again(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    tries = []

    def slow(**options: object) -> None:
        tries.append(options)
        if len(tries) < 3:
            raise Exception("The current node timed out during startup. This could happen ...")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with open_session(num_cpus=1):
        assert len(tries) == 3
    monkeypatch.setattr(ray, "init", lambda **options: 1 / 0)
    with pytest.raises(StageError, match="Ray did not start: division"), open_session():
        pass


def test_wrong_address_fails_at_once() -> None:
    """In a process of its own: this one may hold a session already."""
    code = (
        "from core.session import ray_session\n"
        "from core.errors import StageError\n"
        "try:\n"
        "    with ray_session('127.0.0.1:1'): pass\n"
        "except StageError as error: print(error.what, '|', error.where)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "no Ray cluster answers" in done.stdout
    assert "127.0.0.1:1" in done.stdout


def test_a_node_whose_network_is_gone_is_given_up_within_minutes() -> None:
    import ray

    keepalive = ray._config
    milliseconds = (
        keepalive.grpc_client_keepalive_time_ms(),
        keepalive.grpc_client_keepalive_timeout_ms(),
    )
    assert milliseconds == (20_000, 60_000)
