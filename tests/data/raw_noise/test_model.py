"""Noise models: moments and distributions against theory, published figures, any generator, any tiling."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum.data.raw_noise.cameras import get_camera, published_cameras
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import (
    SATURATION,
    GeneratorDraws,
    GivenDraws,
    NoiseParameters,
    PositionDraws,
    add_noise,
    draw_parameters,
    parameters_of_draws,
)
from tapetum.data.raw_noise.tukey import tukey_quantile, tukey_variance
from tapetum.errors import UsageError
from tapetum.imaging.raw.packing import unpack_bayer

STATISTICS = Path(__file__).parents[2] / "parity" / "cases" / "exposurediffusion" / "noise_statistics.json"
MODELS = ("P", "P+g", "p+g", "P+G", "P+G+r", "P+G+r+u", "g", "p+g+u")


def generator(seed: int = 0) -> GeneratorDraws:
    return GeneratorDraws(torch.Generator().manual_seed(seed))


def moments(model: NoiseModel, y: float, p: NoiseParameters) -> tuple[float, float, float]:
    """Expected mean, variance and variance of one mosaic row's mean times its width, in units of the picture."""
    gain, ratio, gaussian, tukey, row, shape = (
        float(v) for v in (p.gain, p.ratio, p.gaussian, p.tukey, p.row, p.shape)
    )
    m = y * SATURATION / ratio
    mean, variance = m, 0.0
    if model.quantisation:
        variance = 1 / 12
        if m < 0.5:
            mean = (m + 0.5) ** 2 / 2
            variance = (m + 0.5) ** 3 / 3 - mean**2
    variance += gain * mean if model.shot else 0.0
    variance += {"gaussian": gaussian**2, "tukey": tukey**2 * tukey_variance(shape), None: 0.0}[model.read]
    scale = ratio / SATURATION
    return mean * scale, variance * scale**2, (row * scale) ** 2 if model.rows else 0.0


@pytest.mark.parametrize("camera", list(published_cameras()))
@pytest.mark.parametrize("name", MODELS)
def test_moments_of_every_camera(camera: str, name: str) -> None:
    model = NoiseModel.parse(name)
    p = draw_parameters([get_camera(camera)], np.random.default_rng(len(camera) + len(name)))
    side, y = 192, 0.15
    noisy = add_noise(torch.full((4, side, side), y), model, p, generator()).double()
    mean, variance, of_rows = moments(model, y, p)
    count, rows = noisy.numel(), 2 * side
    error = math.sqrt(variance / count + of_rows / rows)
    assert float(noisy.mean()) == pytest.approx(mean, abs=5 * error)
    # heavy tails: the variance of a variance needs the fourth moment, taken from the numbers themselves
    mosaic = torch.from_numpy(unpack_bayer(noisy.numpy(), "RGGB"))
    inside = mosaic - mosaic.mean(1, keepdim=True)
    spread = math.sqrt(float((inside**4).mean()) / count)
    assert float((inside**2).sum()) / (count - rows) == pytest.approx(variance, abs=5 * spread)
    row_means = of_rows + variance / (2 * side)
    assert float(mosaic.mean(1).var()) == pytest.approx(row_means, rel=5 * math.sqrt(2 / rows))


@pytest.mark.parametrize("row", json.loads(STATISTICS.read_text())["rows"] if STATISTICS.is_file() else [])
def test_published_statistics(row: dict) -> None:
    p = NoiseParameters(row["K"], row["ratio"], row["g_scale"], row["G_scale"], row["sigma_r"], row["tukey_lambda"])
    clean = torch.full((4, 256, 256), row["y"])
    for draws in (generator(1), PositionDraws(1)):
        noisy = add_noise(clean, NoiseModel.parse(row["noise"]), p, draws).double()
        assert float(noisy.mean()) == pytest.approx(row["expected_mean"], abs=row["mean_tolerance"])
        assert float(noisy.var()) == pytest.approx(row["expected_variance"], rel=row["variance_rtol"])
        rows = unpack_bayer(noisy.numpy(), "RGGB").mean(1)
        assert rows.var() == pytest.approx(row["expected_variance_of_bayer_row_means"], rel=row["row_variance_rtol"])


def kolmogorov(samples: Tensor, cumulative: Tensor) -> float:
    """Distance of sorted samples' law times the square root of their number; above 1.95 once in a thousand."""
    count = len(samples)
    steps = torch.arange(count + 1, dtype=torch.float64) / count
    distance = torch.maximum((cumulative - steps[:-1]).abs().max(), (steps[1:] - cumulative).abs().max())
    return float(distance) * math.sqrt(count)


@pytest.mark.parametrize("shape", [-0.17, 0.0, 0.14, 0.5])
def test_read_noise_has_tukeys_distribution(shape: float) -> None:
    p = NoiseParameters(1.0, 100.0, tukey=3.0, shape=shape)
    noisy = add_noise(torch.full((4, 64, 64), 0.5), NoiseModel.parse("G"), p, generator(4))
    samples = ((noisy - 0.5) * (SATURATION / 100 / 3)).double().flatten().sort().values
    grid = torch.linspace(1e-6, 1 - 1e-6, 200_001, dtype=torch.float64)
    quantiles = tukey_quantile(grid, shape)
    cumulative = grid[torch.searchsorted(quantiles, samples).clamp(max=len(grid) - 1)]
    assert kolmogorov(samples, cumulative) < 1.95


def test_gaussian_read_noise_is_normal() -> None:
    noisy = add_noise(
        torch.full((4, 64, 64), 0.5), NoiseModel.parse("g"), NoiseParameters(1.0, 100.0, 2.0), generator()
    )
    samples = ((noisy - 0.5) * (SATURATION / 100 / 2)).double().flatten().sort().values
    assert kolmogorov(samples, torch.special.ndtr(samples)) < 1.95


def test_shot_noise_comes_in_electrons() -> None:
    noisy = add_noise(torch.rand(4, 8, 8), NoiseModel.parse("P"), NoiseParameters(2.5, 50.0), generator())
    electrons = noisy * SATURATION / 50 / 2.5
    assert torch.allclose(electrons, electrons.round(), atol=1e-3)


def test_rows_are_shared_by_two_channels() -> None:
    p = NoiseParameters(1.0, 100.0, gaussian=1.0, row=3.0)
    noisy = add_noise(torch.full((4, 400, 100), 0.5), NoiseModel.parse("g+r"), p, generator())
    correlation = torch.corrcoef(noisy.mean(2))
    assert min(correlation[0, 1], correlation[2, 3]) > 0.95
    assert correlation[:2, 2:].abs().max() < 5 / math.sqrt(400)


@pytest.mark.parametrize("name", ["P+g", "P+G+r+u", "p+g+r"])
def test_noise_is_independent_of_the_tiling(name: str) -> None:
    model, p = NoiseModel.parse(name), NoiseParameters(0.8, 150.0, 3.0, 2.0, 1.5, 0.1)
    clean = torch.rand(4, 200, 90, generator=torch.Generator().manual_seed(0))
    whole = add_noise(clean, model, p, PositionDraws(7))
    for top, left in ((0, 0), (33, 17), (120, 40)):
        tile = add_noise(clean[:, top : top + 50, left : left + 50], model, p, PositionDraws(7, (top, left)))
        assert torch.equal(tile, whole[:, top : top + 50, left : left + 50])


def test_same_seed_same_noise_and_the_input_stays() -> None:
    model, p = NoiseModel.parse("P+G+r+u"), NoiseParameters(0.8, 150.0, 3.0, 2.0, 1.5, 0.1)
    clean = torch.rand(4, 64, 64)
    before, state = clean.clone(), torch.get_rng_state()
    first, again, other = (add_noise(clean, model, p, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(clean, before)
    assert torch.equal(torch.get_rng_state(), state)  # nobody drew from the global generator


def test_a_batch_has_its_own_parameters() -> None:
    gains, ratios = torch.tensor([0.5, 8.0]).view(2, 1, 1, 1), torch.tensor([100.0, 250.0]).view(2, 1, 1, 1)
    batch = add_noise(
        torch.full((2, 4, 128, 128), 0.3), NoiseModel.parse("P+G+r+u"), NoiseParameters(gains, ratios), generator()
    )
    for i in range(2):
        p = NoiseParameters(float(gains[i]), float(ratios[i]))
        mean, variance, _ = moments(NoiseModel.parse("P+u"), 0.3, p)
        assert float(batch[i].mean()) == pytest.approx(mean, rel=0.02)
        assert float(batch[i].var()) == pytest.approx(variance, rel=0.05)


def test_joint_law_of_gain_and_scales() -> None:
    camera = get_camera("SonyA7S2")
    rng = np.random.default_rng(0)
    drawn = [draw_parameters([camera], rng) for _ in range(4000)]
    logs = np.log([[p.gain, p.gaussian, p.tukey, p.row] for p in drawn])
    assert logs[:, 0].min() >= math.log(0.1)
    assert logs[:, 0].max() <= math.log(30)
    assert logs[:, 0].mean() == pytest.approx((math.log(0.1) + math.log(30)) / 2, abs=0.15)
    residuals = []
    for i, scale in enumerate((camera.gaussian, camera.tukey, camera.row), 1):
        slope, bias = np.polyfit(logs[:, 0], logs[:, i], 1)
        residuals.append(logs[:, i] - slope * logs[:, 0] - bias)
        assert slope == pytest.approx(scale.slope, abs=0.02)
        assert bias == pytest.approx(scale.bias, abs=0.03)
        assert residuals[-1].std() == pytest.approx(scale.sigma, rel=0.05)
    assert np.abs(np.corrcoef(residuals) - np.eye(3)).max() < 5 / math.sqrt(4000)
    assert {p.shape for p in drawn} == set(camera.shapes)
    assert all(20 <= p.ratio <= 300 for p in drawn)


def test_ranges_of_parameters() -> None:
    cameras = [get_camera("NikonD850")]
    rng = np.random.default_rng(0)
    low, high = cameras[0].gain_range
    for _ in range(50):
        p = draw_parameters(cameras, rng, ratio=(100, 300), gain=None)
        assert low <= p.gain <= high
        assert 100 <= p.ratio <= 300
    ratios = [draw_parameters(cameras, rng, ratio=(4, 256), in_stops=True).ratio for _ in range(1000)]
    assert min(ratios) >= 4
    assert max(ratios) <= 256
    assert np.median(ratios) == pytest.approx(32, rel=0.15)  # half of the six stops
    fixed = parameters_of_draws(cameras[0], 0.0, 7.0, 0, 0, 0)
    assert (fixed.gain, fixed.ratio) == (1.0, 7.0)
    assert fixed.row == pytest.approx(math.exp(cameras[0].row.bias))


def test_names_of_models() -> None:
    assert NoiseModel.parse("P+p+g+G") == NoiseModel("poisson", "gaussian", False, False)
    assert NoiseModel.parse("P+G+r+u") == NoiseModel("poisson", "tukey", True, True)
    for name, part in (("P+x", "x"), ("", ""), ("Pg", "Pg"), ("P+", ""), ("R", "R")):
        with pytest.raises(UsageError, match=f"unknown part '{part}' of the noise model '{name}'".replace("+", r"\+")):
            NoiseModel.parse(name)


def test_bad_arguments() -> None:
    model = NoiseModel.parse("P+g")
    with pytest.raises(UsageError, match="packed RAW"):
        add_noise(torch.ones(3, 8, 8), model, NoiseParameters(1.0, 100.0), generator())
    for name, p in (("ratio", NoiseParameters(1.0, 0.0)), ("gain", NoiseParameters(-1.0, 100.0))):
        with pytest.raises(UsageError, match=f"the {name} must be positive"):
            add_noise(torch.ones(4, 8, 8), model, p, generator())
    with pytest.raises(KeyError):
        add_noise(torch.ones(4, 8, 8), model, NoiseParameters(1.0, 100.0), GivenDraws())


def test_tukey_near_zero_and_as_a_tensor() -> None:
    v = torch.tensor([0.001, 0.2, 0.5, 0.9])
    shapes = torch.tensor([[-0.3], [0.0], [1e-6], [0.2]])
    together = tukey_quantile(v, shapes)
    for shape, row in zip(shapes.flatten().tolist(), together, strict=True):
        assert torch.allclose(row, tukey_quantile(v, shape), rtol=1e-6)
    assert torch.allclose(together[1], together[2], rtol=1e-5)
    assert tukey_variance(0.0) == pytest.approx(math.pi**2 / 3)
    assert tukey_variance(9e-5) == pytest.approx(tukey_variance(1.1e-4), rel=1e-4)
    assert tukey_variance(-0.5) == math.inf
    uniform = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    assert float(tukey_quantile(uniform, 0.3).var()) == pytest.approx(tukey_variance(0.3), rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("name", MODELS)
def test_on_the_gpu(name: str) -> None:
    model, p = NoiseModel.parse(name), NoiseParameters(0.8, 150.0, 3.0, 2.0, 1.5, 0.1)
    clean = torch.full((4, 256, 256), 0.2)
    same = add_noise(clean.cuda(), model, p, PositionDraws(3)).cpu() - add_noise(clean, model, p, PositionDraws(3))
    assert (same.abs() < 1e-3).float().mean() > 0.999
    own = add_noise(clean.cuda(), model, p, GeneratorDraws(torch.Generator("cuda").manual_seed(0)))
    _, variance, of_rows = moments(model, 0.2, p)
    assert float(own.var()) == pytest.approx(variance + of_rows, rel=0.05 if of_rows == 0 else 0.2)
