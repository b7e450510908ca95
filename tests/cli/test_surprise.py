"""``tapetum surprise``: the map of a flow, its mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="needs tapetum[torch]")


@pytest.fixture(scope="module")
def flow(tmp_path_factory) -> Path:
    """A tiny flow whose activation norms have been initialised."""
    import torch

    from tapetum.methods.registry import create_model
    from tapetum.methods.uptflow import FlowObjective
    from tapetum.weights.loading import save_model

    torch.manual_seed(0)
    network = create_model("uptflow", "tiny").train()
    low = torch.rand(2, 3, 40, 40) * 0.2
    FlowObjective()(network, {"low": low, "target": low * 4})
    return save_model(network.eval(), tmp_path_factory.mktemp("flow") / "flow.safetensors", {})


@pytest.fixture
def scene(save) -> tuple[Path, Path]:
    """A dark picture, and a bright one with a patch of noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:43, :61] / 60
    low = np.stack([rows, columns, rows * columns], -1) * 50
    bright = low * 4
    bright[8:24, 8:24] = rng.uniform(0, 255, (16, 16, 3))
    return save("low.png", low.astype(np.uint8)), save("bright.png", bright.astype(np.uint8))


def test_noise_is_less_likely_than_the_rest(tmp_path, tapetum, flow, scene, save):
    out = tmp_path / "maps" / "map.png"
    result = tapetum("surprise", *scene, "-o", out, "--weights", flow, "--device", "cpu", "--json")
    assert result.code == 0
    with Image.open(out) as image:
        assert image.size == (61, 43)
        shown = np.asarray(image).squeeze().astype(float)
    assert shown.ndim == 2
    assert (shown.min(), shown.max()) == (0, 255)
    assert shown[8:24, 8:24].mean() > 1.5 * shown[:, 32:].mean()
    with Image.open(scene[0]) as image:
        smooth = save("smooth.png", np.asarray(image) * 4)
    other = tapetum("surprise", scene[0], smooth, "-o", tmp_path / "b.png", "--weights", flow, "--json")
    assert other.json["bits_per_dimension"] < result.json["bits_per_dimension"]


def test_what_is_refused(tmp_path, tapetum, flow, scene, save):
    small = save("small.png", np.zeros((20, 20, 3), np.uint8))
    out = tmp_path / "map.png"
    result = tapetum("surprise", scene[0], small, "-o", out, "--weights", flow)
    assert result.code == 1
    assert "small.png: has not the size of" in result.err
    assert not out.exists()
    assert tapetum("surprise", scene[0], tmp_path / "none.png", "-o", out, "--weights", flow).code == 1
    assert "cannot be read" in tapetum("surprise", *scene, "-o", out, "--weights", tmp_path / "none").err
    out.write_bytes(b"mine")
    result = tapetum("surprise", *scene, "-o", out, "--weights", flow)
    assert (result.code, out.read_bytes()) == (2, b"mine")
    assert "--overwrite" in result.err


def test_nothing_is_lost(tmp_path, tapetum, flow, scene):
    before = [path.read_bytes() for path in scene]
    for picture in scene:
        result = tapetum("surprise", *scene, "-o", picture, "--overwrite", "--weights", flow)
        assert (result.code, len(result.errors)) == (2, 1)
        assert "the map would replace a picture it is of" in result.err
    assert [path.read_bytes() for path in scene] == before
    for name in ("map", "map.dng", "map.txt"):
        result = tapetum("surprise", *scene, "-o", tmp_path / name, "--weights", flow)
        assert (result.code, len(result.errors)) == (2, 1)
        assert "choose a name ending in .png" in result.err


def test_a_flow_without_training_knows_nothing(tmp_path, tapetum, scene):
    from tapetum.methods.registry import create_model
    from tapetum.weights.loading import save_model

    fresh = save_model(create_model("uptflow", "tiny"), tmp_path / "fresh.safetensors", {})
    result = tapetum("surprise", *scene, "-o", tmp_path / "map.png", "--weights", fresh)
    assert (result.code, len(result.errors)) == (2, 1)
    assert "was never initialised" in result.err
    assert not (tmp_path / "map.png").exists()
