"""The runner itself: it must fail where it ought to."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tapetum.data.arrays import prepare_array

HERE = Path(__file__).parent
CASES = HERE / "cases"
COPIED = CASES / "retinexformer"

Change = Callable[[dict[str, Any], dict[str, np.ndarray]], None]


def changed(tmp_path: Path, name: str, change: Change, folder: Path = COPIED) -> Any:
    """The copied case ``name`` after ``change(content, tensors)``."""
    from parity_runner.case import Case

    content = json.loads((folder / f"{name}.json").read_text())
    tensors = load_file(folder / f"{name}.safetensors")
    change(content, tensors)
    save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return Case.read(tmp_path / f"{name}.json")


def fails(case: Any, match: str) -> None:
    from parity_runner.case import CaseError, run

    with pytest.raises((CaseError, AssertionError, ValueError), match=match):
        run(case)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("ig_msa", lambda c, t: c.update(unit="is_msa"), "has no unit 'is_msa'"),
        ("ig_msa", lambda c, t: c.update(component="gadget"), "has no component 'gadget'"),
        ("ig_msa", lambda c, t: c["config"].update(qkv_bias=True), "does not know the option 'qkv_bias'"),
        ("ig_msa", lambda c, t: c.update(method="nonsense"), "no adapter: .*nonsense.py"),
        ("ig_msa", lambda c, t: c["manifest"].pop("rescale"), "rescale: published None"),
        (
            "ig_msa",
            lambda c, t: c["manifest"].update({"proj.weight": [16, 8]}),
            r"published \(16, 8\), ours \(16, 16\)",
        ),
        ("ig_msa", lambda c, t: t.pop("weight/rescale"), "ships no weight rescale"),
        ("ig_msa", lambda c, t: t.update({"input/mask": np.zeros(1, np.float32)}), "does not know the input 'mask'"),
        ("ig_msa", lambda c, t: t.update({"output/x": np.zeros(1, np.float32)}), "makes no output 'x'"),
        ("ig_msa", lambda c, t: t.update({"extra/x": np.zeros(1, np.float32)}), "unknown kind: extra/"),
        (
            "ig_msa",
            lambda c, t: t["output/out"].__setitem__((0, 0, 0, 3), 9),
            r"worst at \(0, 0, 0, 3\): .* published 9",
        ),
        ("ig_msa", lambda c, t: t["output/out"].__setitem__((0, 0, 0, 3), np.nan), "1 of .* out of tolerance"),
        ("ig_msa", lambda c, t: t.update({"output/out": t["output/out"][:1]}), r"shape \(2, 7, 6, 16\), published \(1"),
        ("ig_msa", lambda c, t: [t.pop(k) for k in list(t) if k.startswith("output/")], "no output to compare"),
        ("ig_msa", lambda c, t: c.update(tolerances={"out": {"atol": 1, "ulp": 3}}), "is not understood"),
        ("ig_msa", lambda c, t: c.update(parameters=7), "published 7 parameters"),
        ("ig_msa", lambda c, t: c.update(buffers=["rescale"]), "buffers are"),
        (
            "train_steps",
            lambda c, t: c["config"]["optim_g"].update(eps=1),
            "option 'optim_g.eps'",
        ),
        ("model_full", lambda c, t: c.update(weights={"fill": "v2"}), "only the fill rule v1"),
        ("model_full", lambda c, t: c["weights"]["overrides"].update({"*": {"zipf": 1}}), "rule .* is unknown"),
        (
            "test_script_21x30",
            lambda c, t: t.update({"output/median_psnr": np.zeros(1, np.float32)}),
            "no mode 'median'",
        ),
    ],
)
def test_fails(tmp_path: Path, name: str, change: Change, match: str) -> None:
    fails(changed(tmp_path, name, change), match)


def _without_test_clips(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    content["config"] |= {"testing_dir": None, "filename_tmpl": "{}"}
    frames = sorted(path for path in content["tree"] if path.startswith("input"))
    content["expected"] = {
        "val": [],
        "train": [{"lq": path, "gt": path.replace("input", "GT")} for path in frames],
        "test_2": [],
    }
    content["call"] = "no phase has a picture to read"
    tensors.clear()
    tensors["output/train_lq_0"] = _first_frame(content, frames[0])


def _first_frame(content: dict[str, Any], path: str) -> np.ndarray:
    pixels = np.random.default_rng(zlib.crc32(path.encode())).integers(0, 256, content["array_shape"], dtype=np.uint8)
    return prepare_array(pixels, *content["config"]["train_size"]).transpose(2, 0, 1).copy()


def _one_cycle_as_usual(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    content["config"] = {"type": "CosineAnnealingRestartCyclicLR", "base_lr": 2.0, "periods": [10]}
    tensors |= {"input/iteration": np.float32([1, 6, 11]), "output/lr": np.float32([2, 1, 0])}


@pytest.mark.parametrize(
    ("name", "change"),
    [("data_sdsd", _without_test_clips), ("schedule_150k", _one_cycle_as_usual)],
)
def test_official_defaults_of_mamballie(tmp_path: Path, name: str, change: Change) -> None:
    """What an option file may leave out, and a split without samples."""
    from parity_runner.case import run

    run(changed(tmp_path, name, change, CASES / "mamballie"))


def test_gradients_beside_an_empty_group(tmp_path: Path) -> None:
    """What tells the light to a group without blocks takes part in nothing: its gradient is zero, not absent."""
    from parity_runner.case import run

    def without_second_group(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        content["config"]["network"]["depths"] = [1, 0, 1, 1, 1, 1]
        manifest = content["manifest"]
        content["manifest"] = {key: shape for key, shape in manifest.items() if not key.startswith("VSSB_2")}
        for key in list(tensors):
            if key.startswith("output/"):
                del tensors[key]
        tensors["output/grad/conv_first_2_fea.bias"] = np.zeros(manifest["conv_first_2_fea.bias"], np.float32)
        # without a loss to compare with there would be no step
        tensors["output/losses"] = np.ones(1, np.float32)
        content["tolerances"] = {"losses": {"atol": 1, "rtol": 0}}

    run(changed(tmp_path, "train_step", without_second_group, CASES / "mamballie"))


def test_tolerances_name_outputs(tmp_path: Path) -> None:
    from parity_runner.case import run

    def worse(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        tensors["output/out"] += 0.5
        content["tolerances"] = {"output/o*": {"atol": 0.6, "rtol": 0}}

    run(changed(tmp_path, "ig_msa", worse))
    fails(changed(tmp_path, "ig_msa", lambda c, t: t["output/out"].__iadd__(0.5)), "out of tolerance")


def test_missing_tensors(tmp_path: Path) -> None:
    from parity_runner.case import Case

    (tmp_path / "a.json").write_text((COPIED / "ig_msa.json").read_text())
    fails(Case.read(tmp_path / "a.json"), "a.safetensors is missing")


def test_full_manifest_must_match(tmp_path: Path) -> None:
    from parity_runner.case import Case

    content = json.loads((COPIED / "full_manifest_retinexformer.json").read_text())
    content["config"]["num_blocks"] = [1, 1, 2]
    file = tmp_path / "full_manifest_x.json"
    file.write_text(json.dumps(content))
    fails(Case.read(file), "keys differ from the manifest")


def test_every_output_is_sensitive(tmp_path: Path) -> None:
    """A case whose outputs are all shifted must complain about each of them."""

    def shift(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        for key in tensors:
            if key.startswith("output/"):
                tensors[key] = tensors[key] + np.float32(0.01)

    from parity_runner.case import run

    for name in ("losses", "test_metrics", "validation_metrics", "test_script_21x30", "train_steps", "npy_image"):
        case = changed(tmp_path, name, shift)
        with pytest.raises(AssertionError) as caught:
            run(case)
        assert str(caught.value).count("out of tolerance") == len(case.outputs), name


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ({"const": 0.5}, lambda x: (x == 0.5).all()),
        ({"normal": [3, 0.1]}, lambda x: abs(x.mean() - 3) < 0.1),
        ({"uniform": [3, 6]}, lambda x: (x >= 3).all() and (x < 6).all()),
        ({"log_arange": 0.0}, lambda x: np.allclose(np.exp(x), np.arange(1, 17)[None, :])),
        ({"orthogonal": 2.0}, lambda x: np.allclose(x @ x.T, 4 * np.eye(16), atol=1e-5)),
    ],
)
def test_fill_rules(rule: dict[str, Any], check: Callable[[np.ndarray], bool]) -> None:
    from parity_runner.fill import fill, fill_state

    values = fill("a.weight", (16, 16), rule)
    assert values.dtype == np.float32
    assert check(values)
    manifest = {"a.weight": [16, 16], "b.weight": [16], "b.bias": [16], "c.running_var": [16]}
    state = fill_state(manifest, {"a.*": "keep", "b.weight": {"const": 1}})
    assert set(state) == {"b.weight", "b.bias", "c.running_var"}
    assert (state["b.weight"] == 1).all()
    assert (state["c.running_var"] >= 1).all()
    assert abs(state["b.bias"]).max() < 0.1


def test_explicit_folder_runs_every_method(tmp_path: Path) -> None:
    """As a user calls it: a method without an adapter fails, one with an adapter runs."""
    for method in ("retinexformer", "nonsense"):
        folder = tmp_path / method
        folder.mkdir()
        content = json.loads((COPIED / "feed_forward.json").read_text())
        (folder / "some.json").write_text(json.dumps(content | {"method": method}))
        (folder / "some.safetensors").write_bytes((COPIED / "feed_forward.safetensors").read_bytes())
    command = [sys.executable, "-m", "pytest", str(HERE / "test_parity.py"), "--cases", str(tmp_path), "-q", "-rA"]
    done = subprocess.run([*command, "-p", "no:cacheprovider"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PASSED tests/parity/test_parity.py::test_case[retinexformer-some]" in done.stdout
    assert "FAILED tests/parity/test_parity.py::test_case[nonsense-some]" in done.stdout
    assert "no adapter: tests/parity/adapters/nonsense.py does not exist" in done.stdout
