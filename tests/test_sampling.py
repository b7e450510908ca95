"""Networks that sample: options, noise with a place, samples, steps. By a small method, and by LightenDiffusion's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import tapetum
from tapetum import Enhancer
from tapetum.errors import UsageError
from tapetum.imaging import read_picture
from tapetum.methods.contract import SAMPLES, SEED, Option, Properties
from tapetum.methods.registry import create_model


def night(height: int, width: int) -> np.ndarray:
    """A dark picture that is brighter to the right."""
    slope = np.linspace(0.02, 0.3, width)[None, :, None] * np.linspace(1, 0.5, 3)
    return np.broadcast_to(slope, (height, width, 3)).astype(np.float32)


class Global(nn.Module):
    """Statistics that are sampled: the brightness is half chance, one number for the whole picture."""

    properties = Properties(
        size_multiple=8,
        minimum_size=8,
        context="statistics",
        thumbnail_size=64,
        options=(Option("temperature", 1.0, "how far samples differ", 0), SEED, SAMPLES),
        noise_scale=0,
        no_onnx="it is sampled",
    )

    def noise_channels(self, *, temperature: float = 1.0) -> int:
        return 2

    def forward(
        self, low: Tensor, context: Tensor | None = None, *, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        factor = self.measure(low, noise=noise, temperature=temperature) if context is None else context
        return low * factor[:, :, None, None]

    def measure(self, low: Tensor, *, noise: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        assert noise is not None
        assert noise.shape == (1, 2)
        return 1.5 + 0.1 * temperature * noise[:, :1]


# tiles


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 400), st.integers(1, 400), st.integers(192, 300), st.sampled_from([0.0, 0.5]))
def test_tiles_show_no_seams(sampled: Any, height: int, width: int, tile: int, eta: float) -> None:
    """From 192 pixels on, half a tile holds what this network sees: its tiles cut their noise from one field, and that
    is all there is to it."""
    image = night(height, width)
    whole = Enhancer(sampled.network, seed=3, eta=eta)(image)
    tiled = Enhancer(sampled.network, seed=3, eta=eta, tile=tile)(image)
    assert np.abs(tiled - whole).max() < 1e-6


def test_tiles_with_noise_of_their_own_would_show(sampled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: here every tile begins at the corner of the field."""
    image = night(300, 300)
    whole = Enhancer(sampled.network, seed=3)(image)
    tiled = Enhancer(sampled.network, seed=3, tile=160)
    own = tiled._extras
    monkeypatch.setattr(tiled, "_extras", lambda sample, top, left, low, tell: own(sample, 0, 0, low, tell))
    assert np.abs(tiled(image) - whole).max() > 0.05


def test_the_memory_budget_changes_nothing(sampled: Any) -> None:
    image = night(420, 500)
    whole = Enhancer(sampled.network, seed=1)(image)
    for memory in ("12MB", "20MB"):
        enhancer = Enhancer(sampled.network, seed=1, memory=memory)
        assert not enhancer._plan(420, 500).whole
        assert np.abs(enhancer(image) - whole).max() < 1e-6


def test_noise_is_part_of_the_budget(sampled: Any) -> None:
    """50 steps with noise of their own: 600 bytes for every 64 pixels."""
    plain, noisy = (Enhancer(sampled.network, steps=50, eta=eta, memory="12MB") for eta in (0, 1))
    assert (plain._noise_bytes_per_pixel(), noisy._noise_bytes_per_pixel()) == (1, 10)
    assert Enhancer(sampled.network, temperature=0)._noise_bytes_per_pixel() == 0


def test_one_vector_for_all_tiles() -> None:
    image = night(200, 300)
    whole = Enhancer(Global(), seed=5)(image)
    assert np.abs(Enhancer(Global(), seed=5, tile=128)(image) - whole).max() < 1e-6
    assert np.abs(Enhancer(Global(), seed=6, tile=128)(image) - whole).max() > 1e-3


# options


def test_options_reach_the_network(sampled: Any) -> None:
    image = night(64, 80)
    low = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    enhancer = Enhancer(sampled.network, steps=2, temperature=0, seed=None)
    assert enhancer.options == {"steps": 2, "eta": 0.0, "temperature": 0.0, "seed": 0, "samples": 1}
    with torch.inference_mode():
        expected = sampled.network(low, steps=2, temperature=0.0).clamp(0, 1)[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(enhancer(image), expected, atol=1e-6)
    assert np.abs(Enhancer(sampled.network, steps=3, temperature=0)(image) - expected).max() > 1e-3


def test_seeds(sampled: Any) -> None:
    image = night(64, 80)
    first, again, other = (Enhancer(sampled.network, seed=seed)(image) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    cold = [Enhancer(sampled.network, seed=seed, temperature=0)(image) for seed in (1, 2)]
    assert np.array_equal(*cold)
    state = torch.get_rng_state()
    Enhancer(sampled.network, seed=1)(image)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stepps": 3}, "Network has no option stepps: it has steps, eta, temperature, seed, samples"),
        ({"steps": 0}, "steps must be a whole number from 1 to 50, got 0"),
        ({"temperature": -1.0}, "temperature must be a number from 0 up, got -1.0"),
    ],
)
def test_wrong_options(sampled: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        Enhancer(sampled.network, **options)
    assert str(error.value) == words


def test_a_model_without_options_says_so() -> None:
    with pytest.raises(UsageError, match=r"^default has no option steps: it has none$"):
        Enhancer("default", steps=5)


# samples


def test_the_result_is_the_mean_of_the_samples(sampled: Any) -> None:
    image = (night(50, 70) * 255).astype(np.uint8)
    three = Enhancer(sampled.network, samples=3, seed=4)
    samples = list(three.samples(image))
    assert [sample.dtype for sample in samples] == [np.uint8] * 3
    assert len({sample.tobytes() for sample in samples}) == 3
    assert np.array_equal(three(image), np.rint(np.mean(samples, 0)).astype(np.uint8))
    assert np.array_equal(samples[0], Enhancer(sampled.network, seed=4)(image)), "the first does not depend on K"


def test_predictions_for_protocols(sampled: Any) -> None:
    low = np.ascontiguousarray(night(48, 64).transpose(2, 0, 1)[None])
    enhancer = Enhancer(sampled.network, seed=4, samples=2)
    singles = [np.asarray(s).transpose(2, 0, 1)[None] for s in enhancer.samples(night(48, 64))]
    np.testing.assert_allclose(enhancer.predict(low), np.mean(singles, 0), atol=1e-6)
    both = enhancer.predict(np.concatenate([low, low]))
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)


# steps


def test_every_step_is_told(sampled: Any) -> None:
    told: list[tuple[int, int]] = []
    enhancer = Enhancer(sampled.network, steps=3, samples=2, tile=128)
    tiles = enhancer._plan(200, 200).tiles
    enhancer(night(200, 200), on_step=lambda done, total: told.append((done, total)))
    assert tiles > 1
    assert told == [(done, 6 * tiles) for done in range(1, 6 * tiles + 1)]


def test_tiles_are_the_steps_of_other_networks() -> None:
    told: list[tuple[int, int]] = []
    enhancer = Enhancer(Global(), tile=128)
    enhancer(night(200, 200), on_step=lambda done, total: told.append((done, total)))
    assert told == [(done, enhancer._plan(200, 200).tiles) for done in range(1, len(told) + 1)]
    assert len(told) > 1


def test_what_on_step_raises_ends_the_work(sampled: Any) -> None:
    told: list[int] = []

    def stop(done: int, total: int) -> None:
        told.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Enhancer(sampled.network, tile=128)(night(200, 200), on_step=stop)
    assert told == [1, 2, 3, 4, 5]


def test_files(sampled: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray((night(40, 60) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    options: dict[str, Any] = {"model": sampled.name, "weights": sampled.weights}
    results = [
        tapetum.enhance(tmp_path / "a.png", tmp_path / f"{number}.png", **options, seed=seed, steps=2)
        for number, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (read_picture(path).pixels for path in results)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# LightenDiffusion, which sees all of the picture: a tile is only near


def test_lightendiffusion_shares_its_noise_among_tiles(
    make_lively: Any, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tiles lack the rest of the picture, for which there is no help here. But with noise that tiles do not share
    they are several times as far from the whole picture."""
    # as initialised, the decoder hardly looks at what was sampled
    network = make_lively(lambda: create_model("lightendiffusion", "tiny"), by=0.1)
    image = night(192, 256)
    whole = Enhancer(network, steps=2, seed=1)(image)
    tiled = Enhancer(network, steps=2, seed=1, tile=160)
    assert not tiled._plan(192, 256).whole
    first = tiled(image)
    assert np.array_equal(first, Enhancer(network, steps=2, seed=1, tile=160)(image))
    shared = np.abs(first - whole).mean()
    own = tiled._extras
    monkeypatch.setattr(tiled, "_extras", lambda sample, top, left, low, tell: own(sample, 0, 0, low, tell))
    apart = np.abs(tiled(image) - whole).mean()
    other = np.abs(Enhancer(network, steps=2, seed=2)(image) - whole).mean()
    record_property(
        "note", f"lightendiffusion tiny: tiles off by {shared:.4f}, with own noise {apart:.4f}, seed {other:.4f}"
    )
    assert shared < apart / 3
    assert shared < other / 3
