"""The cache: by content, lossless, whole files or none, damage is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.errors import InputError, TapetumWarning
from tapetum.evaluation import cache
from tapetum.evaluation.benchmark.stored import Prediction, open_store
from tapetum.evaluation.cache import beside, bytes_below, model_key, read_arrays, write_arrays


def prediction(kind: str, seed: int = 0) -> Prediction:
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    # as a protocol that truncates makes them
    exact = np.divide(levels, 255, dtype=np.float32)
    return Prediction(exact if kind == "levels" else random.random((9, 7, 3), np.float32), 0.25)


@pytest.mark.parametrize("kind", ["levels", "floats"])
def test_a_prediction_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    store = open_store(tmp_path / "new" / "folder")
    given = prediction(kind)
    assert store.get("a") is None
    store.put("a", given)
    found = store.get("a")
    assert found is not None
    assert found.enhanced.dtype == np.float32
    assert np.array_equal(found.enhanced, given.enhanced)
    assert found.seconds == 0.25
    stored = read_arrays(store.path("a"))["enhanced"].dtype
    assert stored == (np.uint8 if kind == "levels" else np.float32)


@given(st.floats(0, 1, width=32))
def test_one_value_that_is_no_level_keeps_all_floats(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    enhanced = np.zeros((2, 2, 3), np.float32)
    enhanced[1, 1, 2] = value
    store.put("a", Prediction(enhanced, 0.0))
    found = store.get("a")
    assert found is not None
    assert np.array_equal(found.enhanced, enhanced)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other arrays", "text"])
def test_a_damaged_file_is_missing_and_said_once(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path)
    store.put("a", prediction("floats"))
    path = store.path("a")
    content = bytearray(path.read_bytes())
    if damage == "other arrays":
        write_arrays({"enhanced": np.zeros(3)}, path)
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes({"cut": content[:-40], "empty": b"", "text": b"no picture"}[damage])
    with pytest.warns(TapetumWarning, match=r"a\.npz: damaged: it is made anew") as said:
        assert store.get("a") is None
    assert [str(w.message) for w in said] == [f"{path}: damaged: it is made anew"]


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full)
    with pytest.raises(InputError, match="cannot be written: no space left on device"):
        open_store(tmp_path).put("a", prediction("floats"))
    assert list(tmp_path.iterdir()) == []


def test_what_has_a_part_in_a_prediction_has_a_part_in_its_key(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"one")
    keys = {
        model_key("retinexformer", weights, "torch:cpu"),
        model_key("retinexformer", weights, "torch:cuda"),
        model_key("mst_plus_plus", weights, "torch:cpu"),
        model_key("retinexformer", weights, "torch:cpu", options={"steps": 5}),
        model_key("gamma", None, "numpy:cpu"),
        model_key("clahe", None, "numpy:cpu"),
        model_key("default", None, "onnx:cpu"),
    }
    again = model_key("retinexformer", weights, "torch:cpu")
    assert again in keys
    assert len(keys) == 7
    weights.write_bytes(b"two")
    assert model_key("retinexformer", weights, "torch:cpu") not in keys
    copy = tmp_path / "b.safetensors"
    copy.write_bytes(b"one")
    assert model_key("retinexformer", copy, "torch:cpu") == again, "a name is no content"


@pytest.mark.parametrize("name", ["weights.bin", f"{'w' * 180}.bin"])
def test_tensors_beside_an_onnx_file_have_a_part_in_its_key(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [8]) for each in ("a", "b")]
    two = numpy_helper.from_array(np.full(8, 2, np.float32), "two")
    graph = helper.make_graph([helper.make_node("Mul", ["a", "two"], ["b"])], "g", *[[v] for v in values], [two])
    file = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), file, save_as_external_data=True, location=name, size_threshold=0)
    assert beside(file) == [tmp_path / name]
    before = model_key(str(file), None, "onnx:cpu")
    assert model_key(str(file), None, "onnx:cpu") == before
    (tmp_path / name).write_bytes(np.full(8, 3, np.float32).tobytes())
    assert model_key(str(file), None, "onnx:cpu") != before
    (tmp_path / name).unlink()
    assert beside(file) == [], "whoever loads it says what is missing"


@pytest.mark.parametrize("content", [b"", b"\x0a\x08location\x12", b"\x0a\x08location\x12\x03\x00\xff\xfe"])
def test_other_files_have_nothing_beside_them(tmp_path: Path, content: bytes) -> None:
    for name in ("m.onnx", "m.safetensors"):
        (tmp_path / name).write_bytes(content)
        assert beside(tmp_path / name) == []


def test_code_has_a_part_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = model_key("gamma", None, "numpy:cpu")
    monkeypatch.setattr(cache, "code_key", lambda method: "other code")
    assert model_key("gamma", None, "numpy:cpu") != before


def test_methods_have_code_of_their_own() -> None:
    assert len({cache.code_key(name) for name in ("", "twilight", "retinexformer", "gamma")}) == 4
    assert cache.code_key("gamma") == cache.code_key("clahe")


def test_all_code_that_is_named_is_there() -> None:
    root = Path(cache.__file__).parents[1]
    assert all(any(root.glob(place)) for place in cache._SHARED_CODE)


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors: cannot be read"):
        model_key("retinexformer", tmp_path / "none.safetensors", "torch:cpu")


def test_size(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"123")
    assert bytes_below(tmp_path) == 8
    assert bytes_below(tmp_path / "none") == 0
