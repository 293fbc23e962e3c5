from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from core.errors import EngineError, UsageError
from ray_jobs.serve_commands import add_serve_commands, is_loopback, ready
from ray_jobs.talk_options import KEY_VARIABLE, read_key
from tests.talk_model import ANSWER, QUESTION, thinker_folder

PROGRAM = "import typer; from ray_jobs.serve_commands import add_serve_commands as add; \
app = typer.Typer(); add(app); app()"


def test_it_says_when_it_is_ready_answers_and_ends_in_order(tmp_path: Path) -> None:
    key = "a-key-of-ours"
    options = ["--engine", "transformers", "--port", "0", "--name", "tiny", "--host", "0.0.0.0"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(thinker_folder()), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, KEY_VARIABLE: key, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        shown = ""
        while "Ctrl-C ends" not in shown:
            line = process.stdout.readline()
            assert line, process.communicate()
            shown += line
        found = re.search(r"ready: tiny at (http://127\.0\.0\.1:\d+)/v1", shown)
        assert found, shown
        assert f'-H "Authorization: Bearer ${KEY_VARIABLE}"' in shown
        body = {"messages": [{"role": "user", "content": QUESTION}]}
        request = urllib.request.Request(
            f"{found[1]}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            answer = json.load(response)
        assert answer["choices"][0]["message"]["content"] == ANSWER
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0
        assert out.strip() == "ended"
        assert key not in shown + out + errors
        assert "warning" not in errors, "it has a key"
    finally:
        process.kill()
        process.wait()


def test_what_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    add_serve_commands(app)
    folder = str(thinker_folder())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, [folder, "--port", port, "--engine", "transformers"])
    assert isinstance(result.exception, EngineError)
    assert "cannot listen" in result.exception.what
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
        read_key("NO_SUCH_KEY")
    monkeypatch.setenv(KEY_VARIABLE, "two\nlines")
    with pytest.raises(UsageError, match="cannot") as error:
        read_key(None)
    assert "two" not in str(error.value)


def test_others_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    app = typer.Typer()
    add_serve_commands(app)
    arguments = [str(thinker_folder()), "--host", "203.0.113.1", "--engine", "transformers"]
    result = CliRunner().invoke(app, arguments)
    assert "anyone who can reach 203.0.113.1 may use this server" in result.stderr
    assert isinstance(result.exception, EngineError), "not an address of this machine"
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("::")
    assert not is_loopback("example.org")


def test_a_base_model_is_asked_for_completions() -> None:
    assert "/v1/completions" in ready("http://127.0.0.1:1", "base", False, None)
    shown = ready("http://127.0.0.1:1", "it's", True, "MINE")
    assert "Bearer $MINE" in shown
    assert "--api-key-env MINE" in shown
    assert "it'\\''s" in shown, "the line can be pasted into a shell"
