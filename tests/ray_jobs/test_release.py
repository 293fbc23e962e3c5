from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from core.errors import InputError, RecipeError, StageError, UsageError
from core.front_matter import split_front_matter
from core.recipe.model import Recipe
from core.recipe.release import Release
from core.release.checks import foreign_code, secrets, weight_faults
from ray_jobs.release_commands import add_release_commands
from tests.made_run import make_run, put_stage
from tests.ray_jobs.hub import TOKEN, Hub, open_hub

Run = Callable[..., Result]

TRAINED = {
    "steps": 10,
    "epochs": 2.0,
    "trained_tokens": 1234,
    "first_loss": 5.5,
    "last_loss": 2.25,
    "parameters": 90_000,
}
SETTINGS = {
    "epochs": 2.0,
    "learning_rate": 0.001,
    "global_batch_sequences": 8,
    "schedule": {"kind": "cosine", "warmup_steps": 3, "final_fraction": 0.1},
}


class WithRelease(Recipe):
    """The recipe with the section, whether or not it has it by itself."""

    release: Release | None = None


def accuracy(correct: int, total: int, low: float, high: float) -> dict[str, Any]:
    share = {"accuracy": correct / total, "low": low, "high": high, "chance": 0.25}
    return {"correct": correct, "total": total, **share}


def scored(name: str, values: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "groups": {"domain": values},
        "benchmarks": [{"name": "astronomy", "group": "domain", **values}],
        "topics": [],
        "heldout": [{"set": "notes", "perplexity": 12.5, "tokens": 300}],
        **more,
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A finished run with a merged model and scores."""
    run = tmp_path_factory.mktemp("release") / "run"
    make_run(run, tiny_folder)
    for name in ("train.sft", "merge.merged"):
        shutil.copytree(tiny_folder, run.joinpath(*name.split(".")) / "model")
    cpt = json.loads((run / "train/cpt/manifest.json").read_text())
    cpt["config"] |= SETTINGS
    cpt["metrics"] |= TRAINED
    (run / "train/cpt/manifest.json").write_text(json.dumps(cpt))
    chats = json.loads((run / "synth/sft_tokens/manifest.json").read_text())
    chats["metrics"] |= {"reasoning_on": 3, "trained_tokens": 77}
    (run / "synth/sft_tokens/manifest.json").write_text(json.dumps(chats))
    config = {**SETTINGS, "init": "train.cpt", "tokens": "synth.sft_tokens"}
    inputs = ["train.cpt", "synth.sft_tokens"]
    put_stage(run, "train.sft", config=config, inputs=inputs, metrics=TRAINED)
    models = [
        {"model": "train.sft", "weight": 0.75, "density": 1.0},
        {"model": "train.cpt", "weight": 0.25, "density": 1.0},
    ]
    merge = {"method": "dare_ties", "base": "train.base", "models": models, "out_dtype": "bfloat16"}
    put_stage(run, "merge.merged", config=merge, inputs=["train.base", "train.cpt", "train.sft"])
    put_stage(run, "eval.mcq", inputs=["train.base", "merge.merged"])
    folder = run / "eval/scores"
    folder.mkdir(parents=True)
    reasoned = {**accuracy(60, 80, 0.645, 0.832), "unanswered": 3}
    scores = {
        "models": [
            scored("base", accuracy(20, 80, 0.168, 0.355)),
            scored("merged", accuracy(50, 80, 0.515, 0.723), model="merged", mode="letter"),
            scored("merged · reasoning", reasoned, model="merged", mode="reasoning"),
        ],
        "verdicts": ["merged is better than base."],
    }
    (folder / "scores.json").write_text(json.dumps(scores))
    put_stage(run, "eval.scores", inputs=["eval.mcq"])
    (run / "eval/general").mkdir()
    general = {
        "models": ["merged", "Another"],
        "measured": ["merged"],
        "limit": 20,
        "benchmarks": [{"name": "ifeval", "key": "ifeval", "label": "IFEval", "chance": 0.0}],
        "scores": {
            "merged": {"ifeval": {"score": 41.25, "stderr": 1.5}},
            "Another": {"ifeval": {"score": 50.0, "stderr": None}},
        },
    }
    (run / "eval/general/general.json").write_text(json.dumps(general))
    return run


SECTION = {
    "name": "Llama-3.1-Astro-Tiny",
    "license": "llama3.1",
    "base_model": ["meta-llama/Llama-3.1-8B"],
    "authors": ["A. Person"],
    "tags": ["astronomy"],
    "carbon_kg": 1.5,
    "carbon_source": "measured",
    "citation": {"bibtex": "@misc{me, title = {Mine}}", "papers": ["astromlab4"]},
}


@pytest.fixture
def release(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``astromill release`` on a copy of the run; arguments may change the section."""
    monkeypatch.setattr("core.recipe.load.Recipe", WithRelease)
    shutil.copytree(made, tmp_path / "run", symlinks=True)
    app = typer.Typer()
    add_release_commands(app)

    def call(*arguments: str, section: dict[str, Any] | None = SECTION) -> Result:
        recipe: dict[str, Any] = {
            "name": "tiny",
            "run_dir": "run",
            "corpus": {"sources": [{"kind": "text", "name": "notes", "paths": ["notes"]}]},
            "synth": {"qa": {"engine": {"kind": "rules"}}},
            "train": {"base": {"path": "model"}},
            "eval": {
                "models": {"base": "train.base", "merged": "merge.merged"},
                "mcq": {"benchmarks": [{"name": "astronomy", "path": "mcq.jsonl"}]},
            },
        }
        if section is not None:
            recipe["release"] = section
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(recipe))
        environment = {"COLUMNS": "200"}
        return CliRunner().invoke(app, [str(file), *arguments], env=environment)

    return call


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with open_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield served


def test_a_release_says_what_the_run_knows(release: Run, tmp_path: Path) -> None:
    result = release()
    assert result.exit_code == 0, (result.output, result.exception)
    out = tmp_path / "run/release"
    front, text = split_front_matter((out / "README.md").read_text("utf-8"))
    assert front["base_model"] == ["meta-llama/Llama-3.1-8B"]
    assert front["license"] == "llama3.1"
    assert front["tags"] == ["astronomy", "merge", "mergekit", "astromill"]
    assert front["co2_eq_emissions"]["emissions"] == 1500
    assert text.startswith("# Llama-3.1-Astro-Tiny\n")
    # Scores with intervals, beside guessing; both ways of asking; what got no answer.
    assert "| **merged** | 62.5 [51.5, 72.3] |" in text
    assert "| **merged · reasoning** | 75.0 [64.5, 83.2] |" in text
    assert "| base | 25.0 [16.8, 35.5] |" in text
    assert "Guessing would reach: domain 25.0." in text
    assert "3 questions got no readable answer and count as wrong" in text
    assert "merged is better than base." in text
    assert "Only 20 questions of each task were asked." in text
    assert "| **merged** | 41.2 ± 1.5 |" in text
    assert "| Another (published) | 50.0 |" in text
    # Data, training, merge.
    assert "| wikipedia | 1 |" in text
    assert "Attribution-ShareAlike" in text
    assert "CC-BY-NC 4.0" in text, "Nougat's weights"
    assert "| trained tokens | 1,234 | 1,234 |" in text
    assert "| last loss | 2.25 | 2.25 |" in text
    assert "`dare_ties` against `train.base`, arithmetic in float32, written as bfloat16" in text
    assert "| train.sft | 0.75 | 1.0 |" in text
    assert "Built with Llama" in text
    # It learned to reason: the card says how to make it.
    assert "system prompt is `detailed thinking on`" in text
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert '+ "<think>"' in code
    assert "77 tokens that are trained" in text
    assert "@misc{me" in text
    assert "2505.17592" in text
    assert "2411.09012" not in text, "only papers that the recipe names"
    assert "Meta's Nougat weights" in result.output
    assert "of an earlier version" not in result.output
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert recipe["release"]["name"] == "Llama-3.1-Astro-Tiny"
    account = json.loads((out / "release.json").read_text())
    assert {"README.md", "model.safetensors"} <= account["sha256"].keys()


def test_the_hubs_own_library_reads_the_card(release: Run, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    release()
    card = ModelCard.load(tmp_path / "run/release/README.md")
    results = {(r.dataset_name, r.metric_value) for r in card.data.eval_results or []}
    assert results == {("astronomy (letter)", 62.5), ("astronomy (reasoning)", 75.0)}
    names = [r.metric_name or "" for r in card.data.eval_results or []]
    assert "95% interval 51.5 to 72.3, 80 questions, guessing 25.0" in names[0]


def test_the_model_loads_and_the_same_run_gives_the_same_bytes(
    release: Run, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    release()
    out = tmp_path / "run/release"
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.config.vocab_size >= len(AutoTokenizer.from_pretrained(out))
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert release().exit_code == 0
    again = {path.name: path.read_bytes() for path in out.iterdir()}
    assert again == first


def test_nothing_is_pushed_without_yes(release: Run, hub: Hub, tmp_path: Path) -> None:
    listed = release("--repo-id", "me/astro")
    assert listed.exit_code == 0, listed.output
    assert "model.safetensors" in listed.output
    assert "nothing was sent" in listed.output
    assert not hub.seen
    pushed = release("--repo-id", "me/astro", "--yes", "--private")
    assert pushed.exit_code == 0, (pushed.output, pushed.exception)
    assert TOKEN not in pushed.output
    assert hub.repos["model", "me/astro"].private
    files = hub.repos["model", "me/astro"].branches["main"]
    out = tmp_path / "run/release"
    assert {path.name for path in out.iterdir()} == set(files)
    for name in ("README.md", "model.safetensors", "recipe.yaml", "release.json"):
        assert files[name] == (out / name).read_bytes()
    assert 'from_pretrained("me/astro")' in files["README.md"].decode()


def test_what_stops_a_release(release: Run, tmp_path: Path) -> None:
    model = tmp_path / "run/merge/merged/model"
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 1}))
    manifest = tmp_path / "run/merge/merged/manifest.json"
    manifest.unlink()
    put_stage(tmp_path / "run", "merge.merged", inputs=["train.sft"])
    result = release()
    assert isinstance(result.exception, StageError)
    assert "stops it: generation_config.json does not stop at the end of a turn" in result.output
    assert "the scores are of an earlier version of the model" in result.output
    assert not (tmp_path / "run/release").exists()
    assert not list((tmp_path / "run").glob("*.tmp-*"))


def test_wrong_use_is_explained(release: Run, tmp_path: Path) -> None:
    assert isinstance(release(section=None).exception, RecipeError)
    assert isinstance(release("--yes").exception, UsageError)
    assert isinstance(release("--repo-id", "nobody").exception, UsageError)
    (tmp_path / "mine").mkdir()
    taken = release("--out", str(tmp_path / "mine")).exception
    assert isinstance(taken, UsageError)
    assert "no earlier release" in taken.what
    wrong = release(section={**SECTION, "license": "other"}).exception
    assert isinstance(wrong, RecipeError)
    assert "license_name" in wrong.what


def test_files_of_the_recipe_go_along(release: Run, tmp_path: Path) -> None:
    (tmp_path / "NOTICE").write_text("Llama 3.1 is licensed under ...")
    result = release(section={**SECTION, "files": ["NOTICE"]})
    assert result.exit_code == 0, result.exception
    assert (tmp_path / "run/release/NOTICE").read_text().startswith("Llama 3.1")
    assert "file NOTICE" not in result.output
    for wrong in ("nowhere", "recipe.yaml"):
        refused = release(section={**SECTION, "files": [wrong]}).exception
        assert isinstance(refused, InputError)


def test_licences_that_do_not_fit_are_noted(release: Run) -> None:
    result = release(section={**SECTION, "name": "Astro", "license": "apache-2.0"})
    assert "a derivative of Llama comes under Meta's community licence" in result.output
    assert "a name that begins with 'Llama'" in result.output
    assert "names no licence" in release(section={"name": "Astro"}).output


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("notes.txt", b"hf_" + b"a1B2" * 9, "a Hugging Face token"),
        ("config.yaml", b"key: sk-proj-" + b"x" * 40, "an OpenAI or Anthropic key"),
        ("a.json", b'{"t": "ghp_' + b"Z9" * 18 + b'"}', "a GitHub token"),
        ("a.md", b"AKIAABCDEFGHIJKLMNOP", "an AWS key"),
        ("a.pem", b"-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("a.yml", b"uri: https://me:pass@example.org/x", "a password in an address"),
        ("a.log", b"the key is of-this-machine-1", "the value of MY_API_KEY"),
        ("late.txt", b"-" * (1 << 20) + b" hf_" + b"a1B2" * 9, "a Hugging Face token"),
    ],
)
def test_secrets_are_found(
    name: str, content: bytes, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "of-this-machine-1")
    (tmp_path / name).write_bytes(content)
    (tmp_path / "fine.md").write_text("hf_hub and https://example.org/a:b@c sk-learn AKIA")
    found = secrets(tmp_path, sorted(tmp_path.iterdir()))
    assert found == [f"{name} seems to hold {kind}"]


def test_code_and_pickles_are_found(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "modeling.py").write_text("import os")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "innocent.json").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "config.json").write_text('{"auto_map": {}}')
    found = foreign_code(tmp_path, sorted(tmp_path.iterdir()))
    assert len(found) == 4
    assert any("innocent.json is a pickle" in text for text in found)


def test_weights_that_do_not_fit_their_index(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    assert weight_faults(folder, "x") == []
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "b.safetensors"}}))
    assert "b.safetensors is missing" in weight_faults(folder, "x")[0]
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    assert "1 tensors" in weight_faults(folder, "x")[0]
    index.write_text("[]")
    assert "cannot be read" in weight_faults(folder, "x")[0]
    index.unlink()
    shutil.copyfile(folder / "model.safetensors", folder / "other.safetensors")
    assert "no index" in weight_faults(folder, "x")[0]
