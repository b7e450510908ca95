"""Exported files behave as the methods they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from tapetum import Enhancer
from tapetum.deploy import export as module
from tapetum.deploy.export import Exported, export
from tapetum.engines.onnx import OnnxEngine
from tapetum.errors import UsageError, WeightsError
from tapetum.methods.registry import create_model
from tapetum.weights.loading import save_model

CONFIGS: dict[str, Any] = {
    "twilight": "tiny",
    "retinexformer": {"n_feat": 4, "num_blocks": (1, 1, 1)},
    "mst_plus_plus": {"n_feat": 4, "stage": 1},
    "dednet": "tiny",
}


@pytest.fixture(scope="module", params=CONFIGS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Exported]:
    torch.manual_seed(0)
    network = create_model(request.param, CONFIGS[request.param])
    with torch.no_grad():
        for parameter in network.parameters():  # away from the identity that some begin as
            parameter += 0.02 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("export") / f"{request.param}.onnx"
    return network, export(network, path, provenance={"data": "none"})


def test_metadata(exported: tuple[nn.Module, Exported]) -> None:
    network, result = exported
    engine = OnnxEngine(result.path)
    assert engine.properties == network.properties
    assert json.loads(engine.metadata["tapetum.provenance"]) == {"data": "none"}
    assert json.loads(engine.metadata["tapetum.export"])["max_error"] == result.max_error < 1e-4
    assert engine.metadata["tapetum.method"] == result.path.stem
    assert [p.name for p in result.path.parent.iterdir()] == [result.path.name]
    assert result.path.stat().st_mode & 0o444  # an ordinary file, not a private one


def test_inputs_and_outputs(exported: tuple[nn.Module, Exported]) -> None:
    network, result = exported
    graph = onnx.load(result.path).graph
    context = cast("Any", network.properties).context
    inputs = {"none": [], "thumbnail": ["thumbnail"], "statistics": ["statistics", "use_statistics"]}[context]
    assert [value.name for value in graph.input] == ["low", *inputs]
    assert [value.name for value in graph.output] == ["enhanced"] + ["statistics_out"] * (context == "statistics")


def test_shuffles_are_convolutions(exported: tuple[nn.Module, Exported]) -> None:
    operators = {node.op_type for node in onnx.load(exported[1].path).graph.node}
    assert "DepthToSpace" not in operators
    assert "ConvTranspose" in operators  # twilight's shuffle; the other methods have transposed convolutions anyway


def test_nothing_of_the_exporting_machine_is_inside(exported: tuple[nn.Module, Exported]) -> None:
    content = exported[1].path.read_bytes()
    assert str(Path(module.__file__).parents[2]).encode() not in content
    assert b"stack_trace" not in content


@pytest.mark.parametrize("size", [(1, 1), (33, 250), (121, 64)])
@pytest.mark.parametrize("options", [{}, {"tile": 96}])
def test_the_same_picture_as_from_torch(
    exported: tuple[nn.Module, Exported], size: tuple[int, int], options: dict[str, Any]
) -> None:
    network, result = exported
    image = np.random.default_rng(0).random((*size, 3), np.float32) ** 2
    ours = Enhancer(network, "cpu", **options)(image)
    assert np.abs(Enhancer(str(result.path), **options)(image) - ours).max() < 1e-4


def test_batches(exported: tuple[nn.Module, Exported]) -> None:
    engine = OnnxEngine(exported[1].path)
    low = np.random.default_rng(0).random((3, 3, 64, 72), np.float32)
    singles = np.concatenate([engine.run(low[i : i + 1]) for i in range(3)])
    assert np.abs(engine.run(low) - singles).max() < 1e-5


def test_weights_and_provenance_come_from_the_file(tmp_path: Path) -> None:
    network = create_model("twilight", "tiny")
    save_model(network, tmp_path / "a.safetensors", {"recipe": "test"})
    result = export("twilight", tmp_path / "a.onnx", weights=tmp_path / "a.safetensors")
    assert json.loads(OnnxEngine(result.path).metadata["tapetum.provenance"]) == {"recipe": "test"}
    low = np.full((1, 3, 16, 16), 0.2, np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(low)).numpy()
    assert np.abs(OnnxEngine(result.path).run(low) - expected).max() < 1e-5


def test_a_wrong_export_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("twilight", "tiny")
    convert = module._convert

    def other(given: nn.Module, *arguments: Any) -> onnx.ModelProto:
        torch.manual_seed(7)
        return convert(create_model("twilight", "tiny"), *arguments)

    monkeypatch.setattr(module, "_convert", other)
    with pytest.raises(UsageError, match="not written: the exported network is off by"):
        export(network, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_without_the_temporary_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "temporary")

    monkeypatch.setattr(module, "_convert", lambda *_: None)
    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(UsageError, match=r"a\.onnx: cannot be written \(No space left on device\)$"):
        export(create_model("twilight", "tiny"), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


class Unknown(nn.Module):
    def forward(self, low: Tensor) -> Tensor:
        return low


@pytest.mark.parametrize(
    ("model", "name", "options", "words"),
    [
        ("night", "a.onnx", {}, "unknown model 'night'.*: choose from"),
        ("twilight", "a.pt", {}, "an export is an .onnx file"),
        ("twilight", "missing/a.onnx", {}, "no such folder"),
        ("twilight", "a.onnx", {"weights": "missing.pth"}, "cannot be read"),
        (Unknown(), "a.onnx", {}, "Unknown is no network of a registered method"),
        ("mamballie", "a.onnx", {}, "mamballie: has no ONNX form"),
    ],
)
def test_wrong_requests(tmp_path: Path, model: Any, name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((UsageError, WeightsError), match=words):
        export(model, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())
