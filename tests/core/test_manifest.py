from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from core.errors import InputError
from core.hashing import sha256_file, sha256_value
from core.manifest import MANIFEST_NAME, FileEntry, Manifest
from core.shards import shard_name, shard_paths
from core.stage import AlignedUnits


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


def _many(count: int) -> list[FileEntry]:
    return [
        FileEntry(f'part-{n:05d} "é\udc80.parquet', n, f"{n:064x}", n if n % 3 else None)
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 512, 513, 5000])
def test_a_long_list_of_files_reads_as_json_like_a_short_one(tmp_path: Path, count: int) -> None:
    config = {"files": [], "text": '\n  "files": [],\n', "nested": {"files": [{"a": 1}]}}
    manifest = replace(_manifest(tmp_path), files=_many(count), config=config)
    manifest.save(tmp_path)
    text = (tmp_path / MANIFEST_NAME).read_bytes()
    whole = {**asdict(manifest), "files": [asdict(file) for file in manifest.files]}
    expected = json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert text == expected.encode("utf-8", "backslashreplace")
    loaded = Manifest.load(tmp_path)
    assert loaded == manifest
    assert loaded.digest == manifest.digest
    assert manifest.digest == sha256_value([[f.name, f.sha256] for f in manifest.files])


@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"indent": 4}, {"indent": "\t"}])
def test_a_manifest_in_another_layout_is_read(tmp_path: Path, layout: dict[str, int]) -> None:
    manifest = _manifest(tmp_path)
    values = asdict(manifest)
    # The list of files comes last here.
    values["files"] = values.pop("files")
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(values, **layout) + "\n")  # type: ignore[arg-type]
    assert Manifest.load(tmp_path) == manifest


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_a_manifest_cut_short_is_none(tmp_path: Path, share: float) -> None:
    replace(_manifest(tmp_path), files=_many(600)).save(tmp_path)
    path = tmp_path / MANIFEST_NAME
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert Manifest.load(tmp_path) is None


def test_shards_beyond_the_99999th_come_last(tmp_path: Path) -> None:
    for index in (100_000, 2, 99_999, 0):
        (tmp_path / shard_name(index)).touch()
    assert [p.stem for p in shard_paths(tmp_path)] == [
        "part-00000",
        "part-00002",
        "part-99999",
        "part-100000",
    ]


def test_units_of_aligned_inputs_are_made_when_asked_for() -> None:
    one, two = _many(7), list(reversed(_many(7)))
    units = AlignedUnits([one, two], ["side"])
    listed = list(units)
    assert [unit.index for unit in listed] == list(range(7)) == list(range(len(units)))
    assert listed[2].payload["shard"] == one[2].name
    assert listed[2].digest == sha256_value([[one[2].sha256, two[2].sha256], ["side"]])
    assert (units[2], units[-1], units[1:4]) == (listed[2], listed[6], listed[1:4])
    assert list(AlignedUnits([], [])) == []
    with pytest.raises(IndexError):
        _ = units[7]
    with pytest.raises(ValueError, match=r"\[7, 3\] shards"):
        AlignedUnits([one, one[:3]], [])
