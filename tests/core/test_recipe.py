"""Every mistake in a recipe is answered with what, where (file, line, key) and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.errors import RecipeError
from core.recipe import Recipe, load_recipe
from core.recipe.eval import Eval
from core.recipe.sources import ArxivSource, FilesSource
from core.recipe.train import Base, TinyModel, Train, Trainer

GOOD = """\
name: demo
run_dir: runs/demo
corpus:
  sources:
    - kind: text
      name: notes
      paths: [notes]
  perplexity:
    drop_quantile: 0.05
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "recipe.yaml"

    return _write


def _error(path: Path, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    error = caught.value
    assert error.what.strip()
    assert error.where.strip()
    assert error.remedy.strip()
    assert "\n" not in error.what
    return error


def test_a_good_recipe(write: Write, tmp_path: Path) -> None:
    loaded = load_recipe(write(GOOD))
    assert loaded.root == tmp_path
    assert loaded.run_dir == tmp_path / "runs" / "demo"
    recipe = loaded.recipe
    assert (recipe.seed, recipe.corpus.perplexity.drop_quantile) == (42, 0.05)
    assert isinstance(recipe.corpus.sources[0], FilesSource)


def test_the_root_starts_from_the_file(write: Write, tmp_path: Path) -> None:
    loaded = load_recipe(write(GOOD + "root: deep/..\n"))
    assert loaded.root == tmp_path


def test_the_recipes_of_the_project_are_valid(checkout: Path) -> None:
    recipes = sorted((checkout / "recipes").glob("*.yaml"))
    assert checkout / "recipes" / "demo.yaml" in recipes
    for path in recipes:
        assert load_recipe(path).recipe.corpus.sources


def test_an_unknown_key_is_answered_with_the_nearest(write: Write) -> None:
    error = _error(write(GOOD.replace("drop_quantile", "drop_quantle")))
    assert error.what == "unknown key 'drop_quantle'"
    assert error.where.endswith("recipe.yaml:9, key corpus.perplexity.drop_quantle")
    assert error.remedy.startswith("did you mean 'drop_quantile'? (valid here: drop_quantile, ")


def test_an_unknown_key_far_from_all_lists_them(write: Write) -> None:
    error = _error(write(GOOD + "zzz: 1\n"))
    assert error.where.endswith("recipe.yaml:10, key zzz")
    assert error.remedy.startswith("valid here: cluster, corpus, ")


@pytest.mark.parametrize("kind", ["text", "latex", "books"])
def test_an_unknown_key_in_a_list_item(write: Write, kind: str) -> None:
    text = GOOD.replace("paths:", "path:").replace("kind: text", f"kind: {kind}")
    error = _error(write(text))
    assert error.what == "unknown key 'path' (and 1 more)"
    assert error.where.endswith("recipe.yaml:7, key corpus.sources.0.path")
    assert "'paths'" in error.remedy


@pytest.mark.parametrize(
    ("old", "new", "key", "line"),
    [
        ("drop_quantile: 0.05", "drop_quantile: lots", "corpus.perplexity.drop_quantile", 9),
        ("drop_quantile: 0.05", "drop_quantile: '0.05'", "corpus.perplexity.drop_quantile", 9),
        ("drop_quantile: 0.05", "drop_quantile: 1.0", "corpus.perplexity.drop_quantile", 9),
        ("drop_quantile: 0.05", "drop_quantile:", "corpus.perplexity.drop_quantile", 9),
        ("drop_quantile: 0.05", "min_tokens: 8.5", "corpus.perplexity.min_tokens", 9),
        ("paths: [notes]", "paths: notes", "corpus.sources.0.paths", 7),
        ("paths: [notes]", "paths: []", "corpus.sources.0.paths", 7),
        ("paths: [notes]", "paths: [notes, 5]", "corpus.sources.0.paths.1", 7),
        ("kind: text", "kind: texts", "corpus.sources.0", 5),
        ("kind: text", "license: x", "corpus.sources.0", 5),
        ("name: demo", "name: ../demo", "name", 1),
        ("name: demo", "name: true", "name", 1),
    ],
)
def test_a_value_that_does_not_fit(write: Write, old: str, new: str, key: str, line: int) -> None:
    error = _error(write(GOOD.replace(old, new)))
    assert "does not fit: " in error.what
    assert error.where.endswith(f"recipe.yaml:{line}, key {key}")


@pytest.mark.parametrize(
    ("sources", "what"),
    [
        ("[{kind: text, name: a, paths: [x]}, {kind: pdf, name: a, paths: [y]}]", "two sources"),
        ("[{kind: text, name: a/b, paths: [x]}]", "may not hold a slash"),
        ("[{kind: text, name: ' ', paths: [x]}]", "name ' ' is empty"),
        ('[{kind: text, name: "a\\nb", paths: [x]}]', "cannot be shown"),
        (f"[{{kind: text, name: {'x' * 61}, paths: [x]}}]", "over 60 characters"),
        ("[{kind: arxiv, metadata: m.json}]", "name a folder of PDFs"),
        ("[{kind: arxiv, metadata: m, pdfs: p, exclude_doi: '('}]", "no regular expression"),
        (
            "[{kind: arxiv, metadata: m, pdfs: p, created_from: 2020-01-02, "
            "created_until: 2020-01-01}]",
            "no paper is in that window",
        ),
        ("[{kind: wikipedia, dump: d, roots: [Stars]}]", "needs the tables"),
    ],
)
def test_sources_that_cannot_be(write: Write, sources: str, what: str) -> None:
    text = f"name: demo\nrun_dir: runs/demo\ncorpus:\n  sources: {sources}\n"
    assert what in _error(write(text)).what


@pytest.mark.parametrize("key", ["root", "run_dir"])
@pytest.mark.parametrize("value", ['"a\\0b"', "x" * 1001])
def test_a_place_that_can_be_none(write: Write, key: str, value: str) -> None:
    error = _error(write(GOOD + "root: .\n"), f"{key}={value}")
    assert "is no path" in error.what
    assert error.where.endswith(f"key {key}")


def test_the_run_is_not_written_over_the_project(write: Write, checkout: Path) -> None:
    assert "packages" in _error(write(GOOD + f"root: {checkout}\n"), "run_dir=.").what


def test_values_that_cannot_be_shown(write: Write) -> None:
    assert "does not fit" in _error(write(GOOD + f"seed: 0x{'F' * 5000}\n")).what
    assert "an alias stands inside" in _error(write(GOOD), "seed=&a [*a]").what


def test_aliases_of_aliases_are_no_recipe(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.recipe.load._MAX_VALUES", 1000)
    names = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)]
    assert "more than 1,000 values" in _error(write("a0: &a0 [x]\n" + "".join(names))).what
    assert "recursion" in _error(write("a: &a [*a]\n")).what


def test_a_missing_key(write: Write) -> None:
    error = _error(write(GOOD.replace("run_dir: runs/demo\n", "")))
    assert error.what == "the key 'run_dir' is missing"
    assert error.remedy == "add 'run_dir:' to this section"
    error = _error(write(GOOD.replace("      paths: [notes]\n", "")))
    assert error.where.endswith("recipe.yaml:5, key corpus.sources.0.paths")


def test_a_duplicate_key(write: Write) -> None:
    error = _error(
        write(GOOD.replace("drop_quantile: 0.05", "drop_quantile: 1\n    drop_quantile: 2"))
    )
    assert error.what == "key 'corpus.perplexity.drop_quantile' is given twice"
    assert error.where.endswith("recipe.yaml:10")
    assert "line 9" in error.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: demo\n\tseed: 1\n", 2),
        ("name: demo\nseed: [1, 2\n", 3),
        ("name: demo\n  seed: 1\n", 2),
        ("name: 'demo\n", 2),
        ("a: *unknown\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: !!python/object:os.system x\n", 1),
    ],
)
def test_bad_yaml_is_named_with_its_line(write: Write, text: str, line: int) -> None:
    error = _error(write(text))
    assert error.what.startswith("this is not valid YAML: ")
    assert error.where.endswith(f"recipe.yaml:{line}")


@pytest.mark.parametrize(
    "text",
    ["name: \x07\n", "a: 2020-13-45\n", "a: !!bool maybe\n", "a: &a [*a]\n", "a: !!int ''\n"],
)
def test_yaml_that_trips_its_reader(write: Write, text: str) -> None:
    error = _error(write(text))
    assert error.what.startswith("this is not valid YAML")


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "- a\n- b\n", "text\n", "5\n", "null\n"]
)
def test_a_recipe_is_a_mapping(write: Write, text: str) -> None:
    assert _error(write(text)).what == "a recipe is a mapping of keys to values"


def test_keys_that_are_not_text(write: Write) -> None:
    _error(write(GOOD + "1: 2\nnull: 3\n"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "latin.yaml"):
        error = _error(path)
        assert error.what.startswith("cannot read the recipe")
        assert error.where == str(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E-4", 1e-4), (".5e-3", 5e-4), ("1.e-3", 1e-3), ("5e-1", 0.5), ("0", 0.0)],
)
def test_floats_are_read_as_in_yaml_1_2(write: Write, text: str, value: float) -> None:
    recipe = load_recipe(write(GOOD.replace("0.05", text))).recipe
    assert recipe.corpus.perplexity.drop_quantile == value


def _set(path: Path, *overrides: str) -> Recipe:
    return load_recipe(path, overrides).recipe


def test_overrides(write: Write) -> None:
    path = write(GOOD)
    assert _set(path, "seed=7").seed == 7
    assert _set(path, "seed=7", "seed=8").seed == 8
    assert (
        _set(path, "corpus.perplexity.drop_quantile=1e-4").corpus.perplexity.drop_quantile == 1e-4
    )
    assert (
        _set(path, "corpus.ocr.max_pages=3").corpus.ocr.max_pages == 3
    )  # a section made on the way
    assert _set(path, "corpus.sources.0.name=books").corpus.sources[0].name == "books"
    source = _set(path, "corpus.sources.0.paths.0=a=b").corpus.sources[0]
    assert isinstance(source, FilesSource)
    assert source.paths == ["a=b"]
    assert (
        _set(path, "corpus.sources=[{kind: pdf, name: p, paths: [x]}]").corpus.sources[0].name
        == "p"
    )
    assert (
        _set(path, "corpus.perplexity.max_perplexity=null").corpus.perplexity.max_perplexity is None
    )


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("seed", "an override has no value"),
        ("=5", "an override has no value"),
        ("seed=[1", "the value is not valid YAML"),
        ("seed=2020-13-45", "the value is not valid YAML"),
        ("seed=\x07", "the value is not valid YAML"),
        ("seed.deep=1", "'seed' holds a plain value, not a section"),
        ("name.a.b=1", "'name' holds a plain value, not a section"),
        ("corpus.sources.1.name=x", "'1' is not a position in a list of 1"),
        ("corpus.sources.-1.name=x", "'-1' is not a position in a list of 1"),
        ("corpus.sources.first=x", "'first' is not a position in a list of 1"),
        ("corpus.sources.²=x", "'²' is not a position in a list of 1"),
        ("corpus.perplexity.drop_quantle=1", "unknown key 'drop_quantle'"),
        ("corpus.perplexity.drop_quantile=lots", "'lots' does not fit: "),
        ("cluster=null", "None does not fit: "),
        ("seed=", "None does not fit: "),
    ],
)
def test_an_override_that_does_not_fit_is_named(write: Write, override: str, what: str) -> None:
    error = _error(write(GOOD + "seed: 1\n"), override)
    assert error.what.startswith(what)
    assert error.where.startswith(f"--set {override}")


def test_the_json_schema_builds_and_explains_every_key() -> None:
    schema = Recipe.model_json_schema()
    assert set(schema["properties"]) >= {"name", "corpus", "train", "synth", "merge", "eval"}
    sections = schema["$defs"]
    assert "exclude_doi" in sections["ArxivSource"]["properties"]
    assert "First" not in sections
    perplexity: dict[str, Any] = sections["Perplexity"]
    assert perplexity["additionalProperties"] is False
    assert "2% in AstroMLab 3" in perplexity["properties"]["drop_quantile"]["description"]


def test_arxiv_dates_are_dates(write: Write) -> None:
    text = GOOD.replace(
        "    - kind: text\n      name: notes\n      paths: [notes]\n",
        "    - kind: arxiv\n      metadata: m.jsonl\n      pdfs: pdf\n"
        "      created_from: 2007-01-01\n",
    )
    source = load_recipe(write(text)).recipe.corpus.sources[0]
    assert isinstance(source, ArxivSource)
    assert source.created_from == date(2007, 1, 1)
    error = _error(write(text.replace("2007-01-01", "2007")))
    assert error.where.endswith("recipe.yaml:8, key corpus.sources.0.created_from")


@pytest.mark.parametrize(
    ("section", "values", "what"),
    [
        (TinyModel, {"hidden_size": 10, "num_attention_heads": 4}, "hidden_size 10 is not a mult"),
        (TinyModel, {"num_key_value_heads": 3}, "not a multiple of num_key_value_heads 3"),
        (Trainer, {"global_batch_sequences": 8, "num_workers": 3}, "not a multiple of micro_batch"),
        (Base, {}, "exactly one of 'path' and 'tiny'"),
        (Base, {"path": "x", "tiny": {}}, "exactly one of 'path' and 'tiny'"),
        (
            Eval,
            {
                "models": {"a": "x"},
                "mcq": {"benchmarks": [{"name": "b", "path": "x"}, {"name": "b", "path": "y"}]},
            },
            "'b' is the name of two entries",
        ),
    ],
)
def test_values_that_do_not_go_together(section: Any, values: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        section.model_validate(values)


def test_a_run_starts_where_the_one_before_it_ended() -> None:
    base = {"tiny": {}}
    for given in ({}, {"epochs": 2}):
        runs = {name: dict(given) for name in ("sft", "instruct", "control")}
        train = Train.model_validate({"base": base, **(runs if given else {})})
        assert (train.cpt.init, train.sft.init) == ("train.base", "train.cpt")
        assert (train.instruct.init, train.control.init) == ("train.cpt", "train.sft")
    other = Train.model_validate({"base": base, "sft": {"init": "train.base"}})
    assert other.sft.init == "train.base"


@pytest.mark.parametrize(
    ("engine", "what"),
    [
        ("{kind: vllm}", "engine kind 'vllm' needs the key 'model'"),
        ("{kind: openai, model: m}", "engine kind 'openai' needs the key 'base_url'"),
    ],
)
def test_an_engine_says_what_it_needs(write: Write, engine: str, what: str) -> None:
    error = _error(write(GOOD + f"    engine: {engine}\n"))
    assert error.what == what
    assert error.where.endswith("recipe.yaml:10, key corpus.perplexity.engine")
