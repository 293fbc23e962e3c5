from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InputError
from core.hashing import sha256_file
from core.manifest import MANIFEST_NAME, FileEntry, Manifest


def _manifest(folder: Path) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    names = ["part-00000.parquet", "part-00001.parquet", "README.md"]
    for name in (*names, "speed.json"):
        (folder / name).write_text(f"content of {name}")
    files = [
        FileEntry(name, (folder / name).stat().st_size, sha256_file(folder / name), rows)
        for name, rows in zip(names, (3, 4, None), strict=True)
    ]
    return Manifest(
        stage="corpus.ocr",
        code_version=1,
        config={"max_pages": 5},
        seed=42,
        inputs={"corpus.ingest": "f0"},
        input_digests={"corpus.ingest": "d0"},
        sources_digest="s0",
        fingerprint="f1",
        key="k1",
        files=files,
        row_unit="document",
        rows_in=9,
        rows_out=7,
        rows_rejected=2,
        rejects={"pdf_corrupt": 2},
        metrics={"pages": 12},
        volatile=["speed.json"],
    )


def test_what_is_saved_is_loaded_and_equal_manifests_have_equal_bytes(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path / "a")
    manifest.save(tmp_path / "a")
    _manifest(tmp_path / "b").save(tmp_path / "b")
    assert Manifest.load(tmp_path / "a") == manifest
    one, two = (tmp_path / name / MANIFEST_NAME for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert str(tmp_path) not in one.read_text()
    assert [f.name for f in manifest.shards] == ["part-00000.parquet", "part-00001.parquet"]


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path)
    same = replace(manifest, seed=1, config={}, metrics={}, fingerprint="x", volatile=[])
    assert same.digest == manifest.digest
    renamed = [replace(manifest.files[0], name="part-00009.parquet"), *manifest.files[1:]]
    assert replace(manifest, files=renamed).digest != manifest.digest
    changed = [replace(manifest.files[0], sha256="0" * 64), *manifest.files[1:]]
    assert replace(manifest, files=changed).digest != manifest.digest


def test_intact_misses_lost_and_cut_files(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path)
    assert manifest.intact(tmp_path)
    (tmp_path / "speed.json").write_text("another size: this file holds timings")
    assert manifest.intact(tmp_path)
    for name, content in (("README.md", "short"), ("part-00001.parquet", None)):
        good = (tmp_path / name).read_text()
        (tmp_path / name).unlink()
        if content:
            (tmp_path / name).write_text(content)
        assert not manifest.intact(tmp_path)
        (tmp_path / name).write_text(good)
    (tmp_path / "speed.json").unlink()
    assert not manifest.intact(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "5", '"text"', "[]", "{}", '{"files": 3}', '{"files": [{}]}']
)
def test_an_unreadable_manifest_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    assert Manifest.load(tmp_path) is None


def test_a_manifest_of_another_version_is_none(tmp_path: Path) -> None:
    _manifest(tmp_path).save(tmp_path)
    path = tmp_path / MANIFEST_NAME
    path.write_text(path.read_text().replace('"seed"', '"sead"'))
    assert Manifest.load(tmp_path) is None


def test_require_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'corpus\.ocr' has no finished output") as error:
        Manifest.require(tmp_path / "absent", "corpus.ocr")
    assert "--until corpus.ocr" in error.value.remedy
    manifest = _manifest(tmp_path)
    manifest.save(tmp_path)
    assert Manifest.require(tmp_path, "corpus.ocr") == manifest
