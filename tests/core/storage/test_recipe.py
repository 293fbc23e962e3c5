"""A real recipe with every path at a URL: the rows of a local run, and commands that read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from core.errors import InputError
from core.progress import Reporter
from core.recipe import load_recipe
from core.runner import run_pipeline
from core.shards import read_shard, shard_paths
from ray_jobs.cli import app
from ray_jobs.pipeline import build_pipeline
from tests.core.storage.bucket import Bucket, NewCache
from tests.ray_jobs.test_sources_path import _arxiv, _files, _wikipedia

_PATHS = ("metadata", "pdfs", "latex", "dump", "page", "categorylinks", "linktarget", "redirect")
_UNTIL = "corpus.normalize"


def at_url(source: dict[str, Any], bucket: Bucket) -> dict[str, Any]:
    """The source with its paths at the bucket."""
    moved = {key: bucket.url(f"data/{source[key]}") for key in _PATHS if source.get(key)}
    if "paths" in source:
        moved["paths"] = [bucket.url(f"data/{path}") for path in source["paths"]]
    return {**source, **moved}


def run(recipe: Path) -> None:
    pipeline = build_pipeline(load_recipe(recipe))
    run_pipeline(pipeline, pipeline.select(_UNTIL), Reporter(Console(quiet=True)), workers=2)


def rows(recipe: Path, stage: str, bucket: Bucket) -> list[dict[str, Any]]:
    """A stage's rows and rejects, with the names of files as they are in a local run."""
    folder = build_pipeline(load_recipe(recipe)).ctx.folder(stage)
    tables = [read_shard(path) for path in shard_paths(folder)]
    tables += [read_shard(path) for path in shard_paths(folder / "rejects")]
    text = json.dumps([pa.Table.to_pylist(table) for table in tables], default=str)
    found: list[dict[str, Any]] = json.loads(text.replace(f"s3://{bucket.name}/data/", ""))
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """A recipe over local files that has been run."""
    folder = tmp_path_factory.mktemp("sources") / "data"
    (folder / "pdf" / "0704").mkdir(parents=True)
    corpus = {
        "sources": [_arxiv(folder), _wikipedia(folder), *_files(folder)],
        "documents_per_shard": 3,
        "perplexity": None,
        "normalize": {"min_chars": 5},
    }
    path = folder.parent / "local.yaml"
    content = {"name": "all", "root": "data", "run_dir": "../run", "corpus": corpus}
    path.write_text(yaml.safe_dump(content))
    run(path)
    return path


def changed(local: Path, folder: Path, **keys: Any) -> Path:
    """Writes the recipe with other values for some keys."""
    path = folder / "far.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(local.read_text()), **keys}))
    return path


def cli(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_recipe_over_objects(
    local: Path, bucket: Bucket, new_cache: NewCache, tmp_path: Path
) -> None:
    bucket.upload(local.parent / "data", "data")
    corpus = yaml.safe_load(local.read_text())["corpus"]
    corpus["sources"] = [at_url(source, bucket) for source in corpus["sources"]]
    far = changed(local, tmp_path, run_dir=bucket.url("runs/far"), corpus=corpus)
    run(far)
    for stage in ("corpus.catalog", "corpus.ingest", _UNTIL):
        assert rows(far, stage, bucket) == rows(local, stage, bucket), stage
    # No place on this machine is named in what is kept.
    for name, data in bucket.read("runs/far").items():
        if name.endswith((".json", ".md")) and not name.startswith("logs/"):
            assert str(tmp_path).encode() not in data, name
    # Everything below is on a node that has never seen the run or its sources.
    new_cache.renew()
    shown = cli("status", str(far))
    assert shown.count("up to date") == 5
    new_cache.renew()
    page = tmp_path / "page.html"
    assert "stages are in the report" in cli("report", str(far), "--out", str(page))
    assert "corpus.normalize" in page.read_text()
    new_cache.renew()
    pulled = cli("pull", str(far), _UNTIL, "--rejects")
    folder = pulled.splitlines()[0].partition(": ")[2]
    assert "(adds up)" in cli("inspect", folder)
    # A source that changes in the bucket makes what was made of it stale,.
    bucket.write("data/star.wikitext", b"A '''comet''' shines.")
    new_cache.renew()
    shown = cli("status", str(far))
    assert "8 of 9 stages would run" in shown, "all but the search for pages"


def test_root_at_a_url(local: Path, bucket: Bucket, new_cache: NewCache, tmp_path: Path) -> None:
    # Then no path of the recipe changes: all that is made is the same, byte for byte.
    bucket.upload(local.parent / "data", "data")
    far = changed(local, tmp_path, root=bucket.url("data"), run_dir="run")
    assert load_recipe(far).remote == bucket.url("data/run")
    run(far)
    made = bucket.read("data/run")
    folder = load_recipe(local).run_dir
    names = [p.relative_to(folder).as_posix() for p in folder.glob("corpus/**/*") if p.is_file()]
    same = [n for n in names if Path(n).name in ("manifest.json", "README.md", "sources.json")]
    same += [n for n in names if n.endswith(".parquet")]
    assert len(same) > 20
    for name in same:
        assert made[name] == (folder / name).read_bytes(), name


def test_missing_source_is_named_by_its_url(
    tmp_path: Path, bucket: Bucket, new_cache: NewCache
) -> None:
    url = bucket.url("data/none/*.md")
    corpus = {"sources": [{"kind": "markdown", "name": "a", "paths": [url]}], "perplexity": None}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "all", "run_dir": "run", "corpus": corpus}))
    pipeline = build_pipeline(load_recipe(path))
    with pytest.raises(InputError, match="no file found for 's3://") as caught:
        pipeline.get("corpus.catalog").source_files(pipeline.ctx)
    assert "check the URL" in caught.value.remedy
