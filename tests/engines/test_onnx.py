"""The ONNX engine, on a graph of three nodes written here."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tapetum.engines import OutOfMemory
from tapetum.engines.onnx import OnnxEngine, _guarded
from tapetum.errors import UsageError, WeightsError
from tapetum.methods.contract import Properties

LOW = np.random.default_rng(0).random((2, 3, 16, 24), np.float32)


def write(path: Path, properties: str | None) -> Path:
    """``enhanced = low * mean(thumbnail)``"""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["thumbnail"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["low", "mean"], ["enhanced"]),
        ],
        "test",
        [
            helper.make_tensor_value_info("low", TensorProto.FLOAT, ["n", 3, "h", "w"]),
            helper.make_tensor_value_info("thumbnail", TensorProto.FLOAT, ["n", 3, 4, 4]),
        ],
        [helper.make_tensor_value_info("enhanced", TensorProto.FLOAT, ["n", 3, "h", "w"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if properties is not None:
        helper.set_model_props(model, {"tapetum.properties": properties, "tapetum.method": "test"})
    onnx.save(model, path)
    return path


PROPERTIES = Properties(context="thumbnail", thumbnail_size=4, receptive_field=3)


def test_is_pickled_and_copied(tmp_path: Path) -> None:
    """Processes that are spawned get an engine of their own."""
    engine = OnnxEngine(write(tmp_path / "a.onnx", PROPERTIES.to_json()), threads=1)
    for other in (pickle.loads(pickle.dumps(engine)), copy.deepcopy(engine)):
        assert (other.name, other.properties, other.metadata) == (engine.name, engine.properties, engine.metadata)
        assert np.array_equal(other.run(LOW), engine.run(LOW))


def test_a_device_that_the_runtime_falls_back_from_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built for CUDA, and its libraries are missing: it would run on the processor and be called onnx:cuda."""
    built_for = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: built_for)
    with pytest.raises(UsageError, match="cannot use device 'cuda' here: ONNX Runtime fell back to the processor"):
        OnnxEngine(write(tmp_path / "a.onnx", PROPERTIES.to_json()), "cuda")


def test_runs_and_tells_its_properties(tmp_path: Path) -> None:
    engine = OnnxEngine(write(tmp_path / "a.onnx", PROPERTIES.to_json()))
    assert engine.properties == PROPERTIES
    assert engine.name == "onnx:cpu"
    assert engine.metadata["tapetum.method"] == "test"
    assert engine.free_memory() > 0
    thumbnail = np.full((1, 3, 4, 4), 2, np.float32)
    assert np.allclose(engine.run(LOW, thumbnail), LOW * 2)


def test_without_context_the_picture_is_the_whole(tmp_path: Path) -> None:
    engine = OnnxEngine(write(tmp_path / "a.onnx", PROPERTIES.to_json()))
    expected = LOW[:1] * LOW[:1].mean()
    assert np.allclose(engine.run(LOW[:1]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (None, "not written by `tapetum export`"),
        ('{"colour": 1}', "another version of tapetum"),
        ("[", "another version"),
    ],
)
def test_files_of_others_are_refused(tmp_path: Path, properties: str | None, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        OnnxEngine(write(tmp_path / "a.onnx", properties))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02junk", b"<html>"])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.onnx: (no ONNX file that can be run|not written by)"):
        OnnxEngine(path)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", PROPERTIES.to_json())
    path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(WeightsError, match=r"a\.onnx"):
        OnnxEngine(path)


def test_missing_file_and_device(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        OnnxEngine(tmp_path / "a.onnx")
    for device in ("cpu:1", "cpu:x"):
        with pytest.raises(UsageError, match=f"no device '{device}' here"):
            OnnxEngine(tmp_path / "absent.onnx", device)
    with pytest.raises(UsageError, match="the ONNX engine has no device 'tpu' here: choose from cpu"):
        OnnxEngine(write(tmp_path / "b.onnx", PROPERTIES.to_json()), "tpu")


@pytest.mark.parametrize("error", [MemoryError("std::bad_alloc"), RuntimeError("Failed to allocate memory for 8")])
def test_out_of_memory_is_recognised(error: Exception) -> None:
    def call() -> np.ndarray:
        raise error

    with pytest.raises(OutOfMemory):
        _guarded(call)


def test_nothing_here_imports_torch() -> None:
    code = (
        "import sys, tapetum.enhancer, tapetum.engines.onnx, tapetum.weights.registry, tapetum.imaging.arrays\n"
        "print([name for name in ('torch', 'PIL', 'onnxruntime') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
