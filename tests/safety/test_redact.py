"""What is hidden, and what is left as it is."""

from __future__ import annotations

import io
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from core import secrets
from core.errors import EngineError, RecipeError
from core.log import collected, relay, run_log
from core.recipe import load_recipe
from core.runner.shards import Failure
from core.secrets import plain_environment, protect, redact, secret_variables

PLANTED = "planted-7f3k29dk2"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_protected", set())
    monkeypatch.setenv("SOME_SERVICE_TOKEN", PLANTED)


@pytest.mark.parametrize(
    "text",
    [
        f"the server said: {PLANTED} is no good",
        f"GET http://me:{PLANTED}x@127.0.0.1:8/v1 failed",
        f"https://{PLANTED}{PLANTED}@github.test/a",
        f"{{'Authorization': 'Bearer {PLANTED}other'}}",
        f"Authorization: Basic {PLANTED}other==",
        f"authorization: [b'Bearer {PLANTED}']",
        f"bearer {PLANTED}",
        json.dumps({"error": f"key {PLANTED}"}),
    ],
)
def test_a_secret_is_hidden_in_any_dress(text: str) -> None:
    shown = redact(text)
    assert PLANTED not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "token",
    ["hf_" + "a1B2" * 9, "sk-proj-" + "a1B2" * 9, "ghp_" + "Z9" * 18, "AKIA" + "A1B2" * 4],
)
def test_a_token_is_known_by_its_form(token: str) -> None:
    assert redact(f"refused: {token}.") == "refused: ***."


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to http://127.0.0.1:8000/v1/models",
        "see https://arxiv.test/abs/0704.0001@v2 and me@example.test",
        "Bearer of the light: a basic understanding of token counts",
        "a ratio of 3:2@5 per s3://bucket/path",
    ],
)
def test_other_text_is_left(text: str) -> None:
    assert redact(text) == text


def test_marks_in_a_secret_are_hidden_as_json_and_addresses_write_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DB_PASSWORD", 'p"w/ör d\\1')
    secret = 'p"w/ör d\\1'
    for text in (secret, json.dumps(secret), "p%22w%2F%C3%B6r%20d%5C1", repr(secret)):
        assert "w/" not in redact(text)
        assert "w%2F" not in redact(text)


def test_short_values_and_paths_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "long-enough")
    monkeypatch.setenv("HF_TOKEN_PATH", "/home/me/.cache/token")
    assert secret_variables().keys() >= {"SOME_SERVICE_TOKEN"}
    assert not secret_variables().keys() & {"TOKENIZERS_PARALLELISM", "HF_TOKEN_PATH"}


def test_programs_that_read_files_of_others_are_given_no_secret() -> None:
    given = plain_environment()
    assert given["PATH"]
    assert "SOME_SERVICE_TOKEN" not in given


def test_a_key_of_a_variable_with_any_name_is_hidden_once_it_is_protected() -> None:
    assert redact("word-of-mine-1") == "word-of-mine-1"
    protect("word-of-mine-1")
    assert redact("word-of-mine-1") == "***"


def test_logs_hold_no_secret(tmp_path: Path) -> None:
    shown = io.StringIO()
    with run_log("demo", tmp_path, Console(file=shown, width=200)):
        with collected() as records:
            logging.getLogger("core.x").warning("refused: %s", PLANTED)
            try:
                raise ValueError(PLANTED)
            except ValueError:
                logging.getLogger("some.package").exception("it failed")
        assert PLANTED not in str(records)
        relay(records, "synth.qa")
    written = (tmp_path / "logs/run.jsonl").read_text()
    assert written.count("refused: ***") == 2
    assert shown.getvalue().count("refused: ***") == 2
    assert PLANTED not in written + shown.getvalue()


def test_errors_and_quarantine_hold_no_secret() -> None:
    error = EngineError(f"the server says {PLANTED}", where=f"http://a:{PLANTED}@b", remedy="mend")
    failure = Failure(f"ValueError: {PLANTED}", "a shard", "mend", f"trace {PLANTED}", final=True)
    for text in (repr(error), error.what, error.where, str(pickle.loads(pickle.dumps(error)))):
        assert PLANTED not in text
    assert PLANTED not in str(failure)


@pytest.mark.parametrize(
    ("override", "kind"),
    [
        (f"run_dir=s3://me:{PLANTED}@bucket/run", "a password in an address"),
        ("corpus.sources.1.license=hf_" + "a1B2" * 9, "a Hugging Face token"),
    ],
)
def test_a_recipe_with_a_secret_is_refused(checkout: Path, override: str, kind: str) -> None:
    with pytest.raises(RecipeError, match=f"holds {kind}") as found:
        load_recipe(checkout / "recipes/demo.yaml", [override])
    assert override.partition("=")[0] in found.value.where
    said = f"{found.value} {found.value.remedy}"
    assert PLANTED not in said
    assert "a1B2" not in said


def test_a_trace_holds_no_secret(checkout: Path) -> None:
    """Of the error and of those that it came from; the file's name stands in both here."""
    done = subprocess.run(
        [sys.executable, "-m", "ray_jobs.cli", "--debug", "recipe", "check", f"no/{PLANTED}.yaml"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "FileNotFoundError" in done.stderr
    assert done.stderr.count("no/***.yaml") >= 2
    assert PLANTED not in done.stderr + done.stdout
