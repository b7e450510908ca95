"""Files of weights: read, recognised, loaded strictly, or refused with one clear line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import nn

from tapetum.errors import TapetumError, UsageError, WeightsError
from tapetum.methods.registry import create_model, get_method
from tapetum.weights.loading import (
    import_published,
    inspect,
    load_model,
    method_of,
    read_state_dict,
    read_weights,
    recognise,
    save_model,
)

CONFIGS: dict[str, Any] = {
    "twilight": "tiny",
    "retinexformer": {"n_feat": 4, "num_blocks": (1, 1, 2)},
    "mst_plus_plus": {"n_feat": 4, "stage": 1},
    "dednet": "tiny",
    "mamballie": "tiny",
}


def tiny(method: str = "retinexformer") -> nn.Module:
    torch.manual_seed(1)
    return create_model(method, CONFIGS[method])


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return list(mine) == list(other) and all(torch.equal(mine[key], other[key]) for key in mine)


WRAPPINGS = {
    "bare": lambda state: state,
    "params": lambda state: {"params": state},
    "params_ema": lambda state: {"params_ema": state},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "module": lambda state: {"module." + key: tensor for key, tensor in state.items()},
    "checkpoint": lambda state: {
        "state_dict": {"network." + key: tensor for key, tensor in state.items()} | {"objective.w": torch.zeros(1)},
        "global_step": 7,
    },
    "params+module": lambda state: {"params": {"module." + key: tensor for key, tensor in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("legacy", [False, True])
def test_published_files_load(tmp_path: Path, wrapping: str, legacy: bool) -> None:
    network, path = tiny(), tmp_path / "LOL_v1.pth"
    torch.save(WRAPPINGS[wrapping](network.state_dict()), path, _use_new_zipfile_serialization=not legacy)
    loaded = load_model(path)
    assert same(network, loaded)
    assert loaded.config == network.config
    assert not loaded.training


@pytest.mark.parametrize("method", CONFIGS)
def test_every_method_is_recognised(tmp_path: Path, method: str) -> None:
    network = tiny(method)
    found, config = recognise(network.state_dict())
    assert (found.name, config) == (method, network.config)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    assert same(load_model(tmp_path / "a.pth", method), network)
    assert same(create_model(method, weights=tmp_path / "a.pth"), network)
    assert method_of(network) is get_method(method)


def test_average_only_when_asked_for(tmp_path: Path) -> None:
    network, average, path = tiny(), create_model("retinexformer", CONFIGS["retinexformer"]), tmp_path / "a.pth"
    torch.save({"params": network.state_dict(), "params_ema": average.state_dict()}, path)
    assert read_weights(path).entry == "params"
    assert same(load_model(path), network)
    assert read_weights(path, ema=True).entry == "params_ema"
    assert same(load_model(path, ema=True), average)


@pytest.mark.parametrize("method", CONFIGS)
def test_saved_files_come_back(tmp_path: Path, method: str) -> None:
    network, path = tiny(method), tmp_path / "ä.safetensors"
    assert save_model(network, path, {"data": "none", "psnr": 20.5}) == path
    loaded = load_model(path, method)
    assert same(network, loaded)
    assert loaded.config == network.config
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["tapetum.method"] == method
    assert json.loads(metadata["tapetum.provenance"]) == {"data": "none", "psnr": 20.5}


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_model(tiny(), path, {})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("tapetum.imaging.replacing.os.replace", fail)
    with pytest.raises(UsageError, match="disk full"):
        save_model(tiny(), path, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_save_to_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        save_model(tiny(), tmp_path / "missing" / "a.safetensors", {})


def test_unregistered_networks_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Linear is no network of a registered method"):
        save_model(nn.Linear(1, 1), tmp_path / "a.safetensors", {})


# refused


def test_another_methods_file_is_named(tmp_path: Path) -> None:
    torch.save(tiny("mst_plus_plus").state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth: holds weights of mst_plus_plus, not of retinexformer"):
        load_model(tmp_path / "a.pth", "retinexformer")
    save_model(tiny("twilight"), tmp_path / "b.safetensors", {})
    with pytest.raises(WeightsError, match="holds weights of twilight, not of retinexformer"):
        load_model(tmp_path / "b.safetensors", "retinexformer")


def test_unknown_files_are_listed(tmp_path: Path) -> None:
    torch.save({f"layer.{i}": torch.zeros(1) for i in range(30)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"unknown method \(30 tensors: layer\.0, .* and 20 more\)"):
        load_model(tmp_path / "a.pth")


def test_the_method_that_a_file_resembles_is_named(tmp_path: Path) -> None:
    state = create_model("mst_plus_plus").state_dict()
    del state["conv_in.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"of them of mst_plus_plus, which .* also has conv_in\.weight;"):
        load_model(tmp_path / "a.pth")


def test_differences_are_listed(tmp_path: Path) -> None:
    state = tiny().state_dict()
    keys = list(state)
    removed = state.pop(keys[-1])
    state["extra.weight"] = removed
    changed = next(key for key in keys if key.endswith("embedding.weight"))
    state[changed] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as error:
        load_model(tmp_path / "a.pth")
    text = str(error.value)
    assert "a.pth does not fit retinexformer" in text
    assert f"1 missing: {keys[-1]}" in text
    assert "1 unexpected: extra.weight" in text
    assert f"1 of another shape: {changed} (2, 2) instead of (4, 3, 3, 3)" in text
    assert "\n" not in text


def test_a_configuration_that_differs_is_an_error(tmp_path: Path) -> None:
    save_model(tiny(), tmp_path / "a.safetensors", {})
    with pytest.raises(WeightsError, match=r"missing: .* and \d+ more"):
        load_model(tmp_path / "a.safetensors", "retinexformer", {"n_feat": 4, "num_blocks": (2, 2, 2)})


class Attack:
    """Would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "owned")


@pytest.mark.parametrize("form", ["pickle", "torch", "torch-legacy", "hidden"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, form: str) -> None:
    path, owned = tmp_path / "a.pth", tmp_path / "owned"
    attack: Any = Attack(owned)
    if form == "pickle":
        path.write_bytes(pickle.dumps({"params": attack}, protocol=2))
    elif form == "hidden":
        torch.save({"params": tiny().state_dict(), "optimizer": attack}, path)
    else:
        torch.save({"params": attack}, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(WeightsError, match=r"a\.pth: (refused|a damaged)"):
        load_model(path)
    assert not owned.exists()
    pickle.loads(pickle.dumps(attack))  # the attack itself works
    assert owned.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"hello, these are my weights\n" * 9, "a text file, not a file of weights"),
        ("Grüße\n".encode() * 200, "a text file"),
        (b"<!DOCTYPE html>\n<html><head>" + b"x" * 600, "a web page"),
        (b"\n<HTML>", "a web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a file of another kind"),
        (b"\x08\x07\x12\x07pytorch", "not a file of weights"),
        (pickle.dumps([1, 2, 3], protocol=2), "damaged|refused|not tensors"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged or cut off PyTorch file"),
        (b"\x10\0\0\0\0\0\0\0{notjson", "damaged or cut off safetensors file"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.pth", "b.pth", "c.safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name == "c.safetensors":
        save_model(tiny(), path, {})
    else:
        torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=name == "a.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="damaged or cut off"):
        load_model(path)


@pytest.mark.parametrize("header", [0x0280, 0x4B50])
def test_a_safetensors_header_may_begin_like_a_pickle_or_an_archive(tmp_path: Path, header: int) -> None:
    raw = save(create_model("retinexformer", "tiny").state_dict())
    length = int.from_bytes(raw[:8], "little")
    wanted = header if header > length else header + 0x10000
    padding = b" " * (wanted - length)
    file = tmp_path / "padded.safetensors"
    file.write_bytes(wanted.to_bytes(8, "little") + raw[8 : 8 + length] + padding + raw[8 + length :])
    assert len(read_state_dict(file)) == 83


def test_a_small_file_cannot_ask_for_a_large_network(tmp_path: Path) -> None:
    state = create_model("retinexformer", "tiny").state_dict()
    first = "body.0.estimator.conv1.weight"
    torch.save(state | {first: torch.zeros(40_000, 4, 1, 1)}, tmp_path / "wide.pth")  # terabytes, were it built
    with pytest.raises(WeightsError, match=r"76 of another shape: .*conv1.bias \(8,\) instead of \(40000,\)"):
        load_model(tmp_path / "wide.pth")
    torch.save(state | {first: torch.zeros(1).expand(40_000, 4, 1, 1)}, tmp_path / "hollow.pth")
    with pytest.raises(WeightsError, match=f"claim to be larger than what is stored of them: {first}"):
        load_model(tmp_path / "hollow.pth")


def test_an_impossible_configuration_names_the_file(tmp_path: Path) -> None:
    state = create_model("retinexformer", "tiny").state_dict()
    torch.save(state | {"body.0.estimator.conv1.weight": torch.zeros(5, 4, 1, 1)}, tmp_path / "five.pth")
    with pytest.raises(WeightsError, match=r"five\.pth: weights of a configuration that cannot be"):
        load_model(tmp_path / "five.pth")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(WeightsError, match="cannot be read"):
            load_model(path)


@pytest.mark.parametrize("content", [{"params": {"a": 1.0}}, {"a": torch.zeros(1), "b": "text"}, {}, {"params": {}}])
def test_other_things_than_tensors(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"other things than tensors|not tensors by name"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"tapetum.method": "future"}, "'future', which this version of tapetum does not have"),
        ({"tapetum.method": "twilight"}, "configuration that is not understood"),
        ({"tapetum.method": "twilight", "tapetum.config": '{"depth": 1}'}, "unknown config field 'depth'"),
        ({"tapetum.method": "twilight", "tapetum.config": "["}, "configuration that is not understood"),
    ],
)
def test_metadata_that_is_not_ours(tmp_path: Path, metadata: dict[str, str], words: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(WeightsError, match=words):
        load_model(tmp_path / "a.safetensors")


# for the command line


def test_inspect(tmp_path: Path) -> None:
    network = tiny()
    torch.save({"params": network.state_dict()}, tmp_path / "a.pth")
    facts = inspect(tmp_path / "a.pth")
    assert facts["method"] == "retinexformer"
    assert facts["config"]["num_blocks"] == (1, 1, 2)
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert (facts["entry"], facts["dtypes"], len(facts["sha256"])) == ("params", ["float32"], 64)
    json.dumps(facts)


def test_inspect_of_an_unknown_file_says_so(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth")
    facts = inspect(tmp_path / "a.pth")
    assert facts["method"] is None
    assert "unknown method" in facts["note"]
    assert facts["parameters"] == 3


def test_import(tmp_path: Path) -> None:
    network = tiny()
    torch.save({"params": network.state_dict()}, tmp_path / "LOL_v1.pth")
    out = import_published(tmp_path / "LOL_v1.pth", tmp_path / "lol.safetensors")
    assert same(load_model(out), network)
    provenance = json.loads(inspect(out)["metadata"]["tapetum.provenance"])
    assert provenance["imported_from"] == "LOL_v1.pth"
    with pytest.raises(TapetumError, match="imported weights are safetensors"):
        import_published(tmp_path / "LOL_v1.pth", tmp_path / "lol.pth")
