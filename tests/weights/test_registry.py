"""Named weights: the manifest, and files that are not what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapetum.errors import UsageError, WeightsError
from tapetum.methods.registry import HOMES
from tapetum.weights.registry import NAMED_WEIGHTS, bundled_name, read_manifest, sha256_of


def folder_with(tmp_path: Path) -> Path:
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    (tmp_path / "a.onnx").write_bytes(b"graph")
    entry = {
        "method": "twilight",
        "path": "a.safetensors",
        "onnx": "a.onnx",
        "sha256": sha256_of(tmp_path / "a.safetensors"),
        "onnx_sha256": sha256_of(tmp_path / "a.onnx"),
        "licence": "Apache-2.0",
        "card": "A test.",
        "parameters": 3,
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"a": entry}))
    return tmp_path


def test_manifest_is_read(tmp_path: Path) -> None:
    entry = read_manifest(folder_with(tmp_path))["a"]
    assert (entry.name, entry.method, entry.licence) == ("a", "twilight", "Apache-2.0")
    assert entry.verified_path() == tmp_path / "a.safetensors"
    assert entry.verified_onnx() == tmp_path / "a.onnx"


def test_folder_without_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"a": {}}', '{"a": 1}', '{"a": {"path": "a", "onnx": "b", "more": 1}}'])
def test_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WeightsError, match="damaged"):
        read_manifest(tmp_path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    entry = read_manifest(folder_with(tmp_path))["a"]
    (tmp_path / "a.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        entry.verified_onnx()
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(WeightsError, match="missing"):
        entry.verified_path()


def test_a_method_stands_for_its_bundled_weights() -> None:
    assert bundled_name("dednet") == "dednet-lolv1"
    assert bundled_name("twilight") == "default"
    assert bundled_name("default-lolv1") == "default-lolv1"
    assert bundled_name("retinexformer") == "retinexformer"
    assert bundled_name("retidiff") == bundled_name("retidiff", "low-light") == "retidiff-lolv1"
    assert bundled_name("retidiff", "backlit") == "retidiff-backlit"
    with pytest.raises(UsageError, match=r"weights for low-light, backlit only: give a file for underwater"):
        bundled_name("retidiff", "underwater")


def test_bundled_weights_are_whole_small_and_licensed() -> None:
    for entry in NAMED_WEIGHTS.values():
        assert entry.method in HOMES
        files = [entry.verified_path()]
        if entry.onnx is None:
            with pytest.raises(WeightsError, match="has no ONNX form"):
                entry.verified_onnx()
        else:
            files.append(entry.verified_onnx())
        for path in files:
            assert path.stat().st_size <= (2**20 if entry.method == "twilight" else 10 * 2**20)
        assert entry.licence
        assert entry.card
