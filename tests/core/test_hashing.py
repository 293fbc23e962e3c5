from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from core.hashing import canonical_json, sha256_file, sha256_text, sha256_value


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b") == known


def test_equal_values_have_one_text() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "ä"}) == '{"a":"ä","b":[1,2.5,null]}'
    assert sha256_value({"a": 1, "b": 2}) == sha256_value({"b": 2, "a": 1})
    assert sha256_value([1]) == hashlib.sha256(b"[1]").hexdigest()


@pytest.mark.parametrize(
    ("one", "other"), [([1, 2], [2, 1]), ("1", 1), (None, ""), ({"a": 1}, {"a": 2}), ([], {})]
)
def test_different_values_differ(one: object, other: object) -> None:
    assert sha256_value(one) != sha256_value(other)


def test_half_a_surrogate_pair_has_a_hash_too() -> None:
    assert sha256_text("\ud800") != sha256_text("\udfff")
    assert len(sha256_value(["caf\udce9.pdf"])) == 64
