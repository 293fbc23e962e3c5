from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from core.cards import CARD_NAME
from core.errors import AstromillError, InputError, UsageError
from core.front_matter import split_front_matter
from core.full_card import CardOptions
from core.lineage import open_stage
from core.manifest import Manifest
from ray_jobs.publish import absolute_paths, check_files, prepare, readable
from ray_jobs.publish_commands import add_publish_commands
from tests.made_run import make_corpus, make_run
from tests.ray_jobs.hub import TOKEN, Hub, open_hub

Publish = Callable[..., Result]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub of our own, that this process may reach and whose token it has."""
    with open_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield served


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    make_corpus(tmp_path / "run")
    return tmp_path / "run/corpus/normalize"


@pytest.fixture
def publish() -> Publish:
    """Runs ``astromill publish`` in this process."""
    app = typer.Typer()
    add_publish_commands(app)

    def call(folder: Path, *arguments: str, command: str = "publish") -> Result:
        # What the test asks is not formatted for a terminal's width.
        environment = {"COLUMNS": "200"}
        return CliRunner().invoke(app, [command, str(folder), *arguments], env=environment)

    return call


def test_a_data_set_arrives_and_loads(
    hub: Hub, corpus: Path, publish: Publish, tmp_path: Path
) -> None:
    (corpus / "receipts").mkdir()
    (corpus / "receipts/00000.json").write_text("{}")
    (corpus / "timings.json").write_text("{}")
    result = publish(corpus, "--repo", "me/text")
    assert result.exit_code == 0, result.output
    assert "left out: receipts/, timings.json" in result.output
    files = hub.repos["dataset", "me/text"].branches["main"]
    shards = ["part-00000.parquet", "part-00001.parquet", "rejects/part-00000.parquet"]
    assert sorted(files) == sorted([*shards, "README.md", "card.png", "manifest.json"])
    for name in (*shards, "manifest.json"):
        assert files[name] == (corpus / name).read_bytes()
    assert set(hub.cards) == {files["README.md"].decode()}

    from datasets import load_dataset

    folder = str(hub.save("dataset", "me/text", tmp_path / "copy"))
    rows = load_dataset(folder, split="train", cache_dir=tmp_path / "cache")
    assert rows["doc_id"] == ["arxiv:1", "wikipedia:en:736", "notes:1"]
    rejects = load_dataset(folder, "rejects", split="train", cache_dir=tmp_path / "cache")
    assert rejects["reason"] == ["empty_text"]


def test_a_model_arrives_at_the_top_and_loads(
    hub: Hub, publish: Publish, tiny_folder: Path, tmp_path: Path
) -> None:
    make_run(tmp_path / "run", tiny_folder)
    options = ("--license", "mit", "--language", "en", "--title", "Tiny", "--private")
    result = publish(tmp_path / "run/train/cpt", "--repo", "me/tiny", *options)
    assert result.exit_code == 0, result.output
    assert hub.repos["model", "me/tiny"].private
    folder = hub.save("model", "me/tiny", tmp_path / "copy")
    assert (folder / "config.json").is_file()
    front, text = split_front_matter((folder / "README.md").read_text(encoding="utf-8"))
    assert front["license"] == "mit"
    assert front["library_name"] == "transformers"
    assert text.startswith("# Tiny\n")

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.vocab_size >= len(AutoTokenizer.from_pretrained(folder))


def test_a_failed_upload_goes_on_where_it_stopped(hub: Hub, corpus: Path, publish: Publish) -> None:
    second = hashlib.sha256((corpus / "part-00001.parquet").read_bytes()).hexdigest()
    hub.refuse = lambda oid: 400 if oid == second else None
    result = publish(corpus, "--repo", "me/text")
    error = result.exception
    assert isinstance(error, AstromillError)
    assert "400" in error.what
    assert "run the same command again" in error.remedy
    assert hub.repos["dataset", "me/text"].branches["main"] == {}, "a commit is whole"
    before = list(hub.uploads)
    assert before

    hub.refuse = lambda _: None
    assert publish(corpus, "--repo", "me/text").exit_code == 0
    assert second in hub.uploads
    assert len(hub.uploads) == len(set(hub.uploads)), "nothing was sent twice"

    sent = len(hub.uploads)
    assert publish(corpus, "--repo", "me/text").exit_code == 0
    assert len(hub.uploads) == sent
    assert len(hub.repos["dataset", "me/text"].commits) == 1, "nothing new, no commit"


def test_shards_of_an_earlier_version_go(hub: Hub, corpus: Path, publish: Publish) -> None:
    old = {"part-00000.parquet": b"a", "part-00009.parquet": b"b", "NOTES.md": b"mine"}
    hub.add("dataset", "me/text", old)
    assert publish(corpus, "--repo", "me/text").exit_code == 0
    files = hub.repos["dataset", "me/text"].branches["main"]
    assert "part-00009.parquet" not in files
    assert files["part-00000.parquet"] == (corpus / "part-00000.parquet").read_bytes()
    assert files["NOTES.md"] == b"mine"


def test_a_branch_of_its_own(hub: Hub, corpus: Path, publish: Publish) -> None:
    assert publish(corpus, "--repo", "me/text", "--revision", "v2").exit_code == 0
    assert publish(corpus, "--repo", "me/text", "--revision", "v2").exit_code == 0
    repo = hub.repos["dataset", "me/text"]
    assert "part-00000.parquet" in repo.branches["v2"]
    assert repo.branches["main"] == {}


def test_rejects_may_stay(hub: Hub, corpus: Path, publish: Publish) -> None:
    result = publish(corpus, "--repo", "me/text", "--no-rejects")
    assert "left out: rejects/" in result.output
    assert "rejected rows go along" not in result.output
    files = hub.repos["dataset", "me/text"].branches["main"]
    assert not [name for name in files if name.startswith("rejects/")]
    front, _ = split_front_matter(files["README.md"].decode())
    assert [config["config_name"] for config in front["configs"]] == ["default"]


def test_a_dry_run_sends_nothing_and_needs_no_token(
    hub: Hub, corpus: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    result = publish(corpus, "--repo", "me/text", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "dry run: nothing was sent" in result.output
    assert re.search(r"part-00000\.parquet +│ +\d+\.\d kB", result.output)
    assert "4 files" in result.output
    assert "documents that state no licence: 1" in result.output
    assert "rejected rows go along with their text: 1" in result.output
    assert hub.seen == []
    assert before == {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}


def test_a_wrong_token(
    hub: Hub, corpus: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrongWrongWrong")
    result = publish(corpus, "--repo", "me/text")
    error = result.exception
    assert isinstance(error, AstromillError)
    assert error.what == "the Hub does not accept the token"
    assert "HF_TOKEN" in error.remedy
    assert "hf_wrong" not in f"{error} {error.where} {error.remedy} {result.output}"


def test_no_right_to_write(hub: Hub, corpus: Path, publish: Publish) -> None:
    error = publish(corpus, "--repo", "others/text").exception
    assert isinstance(error, AstromillError)
    assert error.what == "the token may not write there"


def test_a_public_repository_is_no_place_for_private_data(
    hub: Hub, corpus: Path, publish: Publish
) -> None:
    hub.add("dataset", "me/text", {"README.md": b""})
    error = publish(corpus, "--repo", "me/text", "--private").exception
    assert isinstance(error, UsageError)
    assert "public" in error.what
    assert hub.uploads == []


def test_nobody_answers(
    corpus: Path, publish: Publish, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    error = publish(corpus, "--repo", "me/text").exception
    assert isinstance(error, AstromillError)
    assert error.what.startswith("the upload stopped")


def test_offline_mode_is_named(
    corpus: Path, publish: Publish, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    error = publish(corpus, "--repo", "me/text").exception
    assert isinstance(error, UsageError)
    assert "HF_HUB_OFFLINE" in error.remedy


@pytest.mark.parametrize(
    ("variables", "repo", "said"),
    [
        ({"HF_TOKEN": ""}, "me/text", "HF_TOKEN is not set"),
        ({"HF_ENDPOINT": "http://hub.example"}, "me/text", "unencrypted"),
        ({}, "text", "not the name of a repository"),
        ({}, "me/text/more", "not the name of a repository"),
    ],
)
def test_wrong_use_is_seen_before_anything_is_read(
    variables: dict[str, str],
    repo: str,
    said: str,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    error = publish(Path("nowhere"), "--repo", repo).exception
    assert isinstance(error, UsageError)
    assert said in error.what


def test_the_token_is_no_option(publish: Publish, corpus: Path) -> None:
    assert publish(corpus, "--repo", "me/text", "--token", TOKEN).exit_code == 2


def test_only_what_the_manifest_accounts_for(corpus: Path) -> None:
    (corpus / "part-00000.parquet").write_bytes(b"other")
    (corpus / "part-00001.parquet").unlink()
    with pytest.raises(InputError) as caught:
        prepare(corpus, CardOptions())
    assert "part-00000.parquet was changed, part-00001.parquet is missing" in caught.value.what


def test_the_same_size_is_not_enough(corpus: Path) -> None:
    path = corpus / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"part-00000.parquet was changed"):
        check_files(open_stage(corpus))


def test_an_unfinished_stage(corpus: Path) -> None:
    (corpus / "quarantine.json").write_text("[]")
    with pytest.raises(InputError, match="not complete"):
        prepare(corpus, CardOptions())
    (corpus / "manifest.json").unlink()
    with pytest.raises(InputError, match="no finished stage"):
        prepare(corpus, CardOptions())


def test_a_manifest_does_not_reach_out_of_its_folder(corpus: Path) -> None:
    secret = corpus.parent / "secret.parquet"
    shutil.copy(corpus / "part-00000.parquet", secret)
    data = json.loads((corpus / "manifest.json").read_text())
    data["files"][0]["name"] = "../secret.parquet"
    (corpus / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="outside of the folder"):
        prepare(corpus, CardOptions())


def test_neither_rows_nor_a_model(tmp_path: Path, corpus: Path) -> None:
    manifest = Manifest.load(corpus)
    assert manifest is not None
    empty = tmp_path / "empty"
    empty.mkdir()
    data = json.loads((corpus / "manifest.json").read_text())
    (empty / "manifest.json").write_text(json.dumps({**data, "files": []}))
    with pytest.raises(InputError, match="neither rows nor a model"):
        prepare(empty, CardOptions())


def test_the_card_of_a_stage_is_replaced_in_place(corpus: Path, publish: Publish) -> None:
    result = publish(corpus, "--language", "en", command="card")
    assert result.exit_code == 0, result.output
    assert "## Sources" in (corpus / CARD_NAME).read_text(encoding="utf-8")
    assert (corpus / "card.png").read_bytes().startswith(b"\x89PNG")


def test_absolute_paths_are_noticed() -> None:
    config = {"a": ["/home/me/data", "samples/x", "~/x", "C:\\x", "/"], "b": {"c": "a/b c"}}
    assert list(absolute_paths(config)) == ["/home/me/data", "~/x", "C:\\x"]


def test_sizes_are_readable() -> None:
    sizes = [0, 999, 1000, 1_500_000, 2_000_000_000, 3 * 10**12]
    assert [readable(n) for n in sizes] == ["0 B", "999 B", "1.0 kB", "1.5 MB", "2.0 GB", "3.0 TB"]
