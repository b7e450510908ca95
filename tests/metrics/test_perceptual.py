"""LPIPS and DISTS: the library's values, and nothing fetched that nobody asked for. Backbones have random weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tapetum.errors import UsageError
from tapetum.metrics import get, perceptual

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")
models = pytest.importorskip("torchvision.models", reason="needs the extra 'perceptual'")

FILES = {"lpips_alex": "alexnet-owt-7be5be79.pth", "lpips_vgg": "vgg16-397923af.pth", "dists": "vgg16-397923af.pth"}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty place for weights, and no network made before."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for cache in (perceptual._lpips, perceptual._dists):
        cache.cache_clear()
    yield tmp_path / "hub" / "checkpoints"
    for cache in (perceptual._lpips, perceptual._dists):
        cache.cache_clear()


@pytest.fixture
def fetches(monkeypatch, hub) -> list[str]:
    """What is asked of the network, which answers with the file of a backbone of random weights."""
    asked: list[str] = []

    def load(url: str, *_: object, **__: object) -> dict[str, torch.Tensor]:
        file = hub / url.rpartition("/")[2]
        if not file.is_file():
            asked.append(url)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
        with torch.device("meta"):  # initialising 138 million weights would take seconds
            state = (models.alexnet if "alexnet" in url else models.vgg16)(weights=None).state_dict()
        generator = torch.Generator().manual_seed(0)
        return {key: _random(value.shape, generator) for key, value in state.items()}

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    return asked


def _random(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    if len(shape) != 4:  # biases, and the classifier, which no measure looks at
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5


def prepare(name: str, download: bool) -> None:
    measure = get(name)
    assert measure.prepare is not None
    measure.prepare(download)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_fetched_unasked(name, fetches, hub):
    text = f"{name} needs {FILES[name]}, which is not in {hub}: put it there (https://download.pytorch.org/models/"
    with pytest.raises(UsageError, match="^" + re.escape(text)):
        prepare(name, False)
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(UsageError, match="let --download fetch it"):
        get(name)(image, image)
    assert fetches == []
    prepare(name, True)
    assert fetches == [f"https://download.pytorch.org/models/{FILES[name]}"]


def test_a_failed_fetch_is_one_line(hub, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(
        UsageError, match=r"^dists: https://\S+/vgg16-397923af\.pth cannot be fetched: connection refused$"
    ):
        prepare("dists", True)


@pytest.mark.parametrize("name", ["lpips_alex", "dists"])
def test_is_the_librarys_value(name, fetches, record_property):
    prepare(name, True)
    random = np.random.default_rng(0)
    target = random.integers(0, 256, (72, 80, 3)).astype(np.uint8)
    enhanced = np.clip(target + random.normal(0, 20, target.shape), 0, 255).astype(np.uint8)
    a, b = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in (enhanced, target))
    if name == "dists":
        from torchmetrics.functional.image.dists import deep_image_structure_and_texture_similarity as reference

        expected = reference(a, b).item()
    else:
        from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as reference

        expected = reference(a, b, net_type="alex", normalize=True).item()
    measure = get(name)
    assert measure(enhanced, target) == pytest.approx(expected, abs=1e-6)
    assert measure(enhanced, target) == pytest.approx(expected, abs=1e-6), "the picture before has no part in it"
    assert measure(target, target) == pytest.approx(0, abs=1e-6)
    assert expected > 1e-4


@pytest.mark.parametrize(("name", "shortest"), [("lpips_alex", 63), ("dists", 16)])
def test_smallest_pictures(name, shortest, fetches):
    prepare(name, True)
    for size in ((shortest, shortest + 9), (shortest + 9, shortest)):
        image = np.zeros((*size, 3), np.uint8)
        assert get(name)(image, image) == pytest.approx(0, abs=1e-6)
    small = np.zeros((shortest - 1, 80, 3), np.uint8)
    with pytest.raises(
        ValueError, match=f"needs pictures of at least {shortest} x {shortest}, got {shortest - 1} x 80"
    ):
        get(name)(small, small)
