"""What a URL may say, and patterns that match as on a local folder."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from core.errors import RecipeError
from core.storage.inputs import _fits
from core.storage.place import run_place, run_url
from core.storage.urls import is_url, parse_url


def test_settings_are_told_from_patterns() -> None:
    url = parse_url("s3://bucket/a/paper?.pdf?scheme=http&endpoint_override=host:9000")
    assert (url.path, url.settings) == (
        "bucket/a/paper?.pdf",
        (("endpoint_override", "host:9000"), ("scheme", "http")),
    )
    assert parse_url("s3://bucket/a/paper?.pdf").settings == ()
    assert parse_url(str(url)) == url
    assert url.shown == "s3://bucket/a/paper?.pdf"
    assert str(url.below("x y")).startswith("s3://bucket/a/paper?.pdf/x y?")


@pytest.mark.parametrize(
    "text",
    [
        "s3://KEY:hush-hush@bucket/x",
        "s3://bucket/x?secret_key=hush-hush",
        "s3://bucket/x?scheme=http&access_key=hush-hush",
    ],
)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(RecipeError, match="credentials") as caught:
        parse_url(text)
    assert "hush" not in f"{caught.value}{caught.value.where}{caught.value.remedy}"
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3://b/../x", "s3://b//x", "s3://b/x?colour=red"),
        # Else it would be asked for without.
        *("https://host/file.zip?download=1", "gs://b/x?region=here", "hf://org/model?revision=a"),
    ],
)
def test_odd_urls_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_url(text)


def test_signed_addresses_are_refused_and_not_repeated() -> None:
    with pytest.raises(RecipeError, match="X-Amz-Date") as caught:
        parse_url("https://host/a.zip?X-Amz-Date=1/2&X-Amz-Signature=hush-hush")
    assert "hush" not in f"{caught.value}{caught.value.where}{caught.value.remedy}"


def test_local_paths_are_no_urls() -> None:
    assert not is_url("runs/demo")
    assert not is_url("/data/a?b=c")
    assert is_url("hf://org/model")


def test_places_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTROMILL_CACHE", str(tmp_path / "cache"))
    assert run_place(tmp_path, "runs/a") == tmp_path / "runs/a"
    assert run_url("runs/a") is None
    assert run_place(tmp_path, "file:///data/a") == Path("/data/a")
    assert run_url("file:///data/a") is None
    mirrors = {run_place(tmp_path, url) for url in ("s3://b/x/run", "s3://b/y/run")}
    assert len(mirrors) == 2
    assert {each.parent for each in mirrors} == {tmp_path / "cache" / "runs"}
    with pytest.raises(RecipeError, match="whole bucket"):
        run_url("s3://bucket")
    with pytest.raises(RecipeError, match="hf://"):
        run_url("hf://org/model")


def test_patterns_match_as_on_a_local_folder(tmp_path: Path) -> None:
    names = ["a.md", "b.txt", ".h.md", "x/a.md", "x/y/a.md", "x/.z/a.md", "xy/a.md", "x/[a].md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    patterns = [
        "*.md", "**/*.md", "x/*.md", "x/**", "**/a.md", "?.md", "x*/a.md", "[ab].*", "**/.z/*",
        "x/[[]a].md", "*/*", "**", "x/**/a.md", ".*", "nothing/*",
    ]  # fmt: skip
    for pattern in patterns:
        hits = glob.glob(pattern, root_dir=tmp_path, recursive=True)
        local = {hit for hit in hits if (tmp_path / hit).is_file()}
        ours = {name for name in names if _fits(name.split("/"), pattern.split("/"))}
        assert ours == local, pattern
