"""Protocols of RAW pictures: padding, quarters, made pictures and pairs of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from tapetum.data.raw_cache import RawCache  # noqa: E402
from tapetum.data.raw_noise.cameras import get_camera  # noqa: E402
from tapetum.data.raw_noise.letters import NoiseModel  # noqa: E402
from tapetum.data.raw_sets import sid_pairs  # noqa: E402
from tapetum.errors import UsageError  # noqa: E402
from tapetum.evaluation.raw import centre_crop, evaluate_picture, in_quarters, pad_published  # noqa: E402
from tapetum.evaluation.raw_run import NOISY, made_cases, measure, real_cases  # noqa: E402
from tapetum.imaging.raw import Geometry, read_headerless  # noqa: E402
from tapetum.methods.exposurediffusion import METHOD  # noqa: E402
from tapetum.methods.exposurediffusion.exposure import position_draw  # noqa: E402
from tapetum.methods.exposurediffusion.network import Backbone, Prediction  # noqa: E402


@pytest.fixture(scope="module")
def network() -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return METHOD.network(METHOD.configs["tiny"]).eval()


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 4, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(1, 1), (2, 16), (5, 6), (7, 40), (33, 32)])
def test_padding_reflects_or_repeats_the_edge(size: tuple[int, int]) -> None:
    given = picture(*size)
    padded, (rows, columns) = pad_published(given)
    assert all(side % 16 == 0 and side > inside for side, inside in zip(padded.shape[2:], size, strict=True))
    assert torch.equal(padded[:, :, rows, columns], given)
    assert torch.isin(padded, given).all()
    plain = [16 - side % 16 for side in size]
    if min(size) >= 6 and all(side > (total + 1) // 2 for side, total in zip(size, plain, strict=True)):
        top, left = plain[0] // 2, plain[1] // 2
        expected = np.pad(given[0].numpy(), ((0, 0), (top, plain[0] - top), (left, plain[1] - left)), mode="reflect")
        assert np.array_equal(padded[0].numpy(), expected)


def test_centre_crop_of_what_is_smaller() -> None:
    assert centre_crop(np.zeros((4, 10, 600), np.float32), 512, 512).shape == (4, 10, 512)


@pytest.mark.parametrize("size", [(40, 50), (33, 49), (64, 96)])
def test_quarters_are_put_together_where_they_belong(size: tuple[int, int]) -> None:
    shapes = []

    def predict(network_input: torch.Tensor) -> Prediction:
        shapes.append(tuple(network_input.shape[2:]))
        return Prediction(network_input[:, :4] * 2, network_input)

    given = torch.cat([picture(*size), picture(*size, seed=1)], 1)
    assert torch.equal(in_quarters(predict)(given).clean, given[:, :4] * 2)
    assert len(shapes) == 4
    assert all(side % 16 == 0 for shape in shapes for side in shape)


def test_too_small_for_quarters_is_padded(network: Backbone) -> None:
    low, target = picture(9, 12), picture(9, 12, 1)
    results = [
        evaluate_picture(network, low, target, 100, 1.0, 1, draw=position_draw(0), chop=chop) for chop in (True, False)
    ]
    assert np.array_equal(results[0].enhanced, results[1].enhanced)


def test_blind_looks_at_no_truth(network: Backbone) -> None:
    low = picture(20, 24)
    results = [
        evaluate_picture(network, low, picture(20, 24, seed), 100, 1.0, 2, draw=position_draw(0), protocol="blind")
        for seed in (1, 2)
    ]
    assert np.array_equal(results[0].enhanced, results[1].enhanced)
    assert results[0].protocol == "blind"
    assert results[0].psnr != results[1].psnr


@pytest.mark.parametrize("protocol", ["blind", "reference"])
def test_no_reference_no_figures(network: Backbone, protocol: str) -> None:
    with pytest.raises(UsageError, match=f"protocol '{protocol}' measures against a reference"):
        evaluate_picture(network, picture(8, 8), None, 100, 1.0, 1, draw=position_draw(0), protocol=protocol)
    with pytest.raises(UsageError, match=r"differ in size: \(8, 8\) and \(8, 9\)"):
        evaluate_picture(network, picture(8, 8), picture(8, 9), 100, 1.0, 1, draw=position_draw(0), protocol=protocol)


def test_unknown_protocol(network: Backbone) -> None:
    with pytest.raises(UsageError, match="protocol must be one of reference, blind, got 'both'"):
        evaluate_picture(network, picture(8, 8), picture(8, 8), 100, 1.0, 1, draw=position_draw(0), protocol="both")


def test_made_cases_are_noise_of_the_camera(tmp_path: Path) -> None:
    file = tmp_path / "grey.png"
    Image.fromarray(np.full((200, 240, 3), 160, np.uint8)).save(file)
    camera = get_camera("SonyA7S2")
    first, second = ([*made_cases([file], camera, NoiseModel.parse("P"), [100.0], 1600)] for _ in range(2))
    case = first[0]
    assert np.array_equal(case.low, second[0].low)
    assert case.gain == camera.gain_at(1600)
    # Poisson's law, in the reference's brightness: variance = y * ratio * K / S
    for low, target in zip(case.low, case.target, strict=True):
        assert low.mean() == pytest.approx(target.mean(), rel=0.02)
        assert low.var() == pytest.approx(target.mean() * 100 * case.gain / 15583, rel=0.06)


def test_pairs_of_files(tmp_path: Path, network: Backbone) -> None:
    """SID's names, headerless files: levels, ratio, gain and the rows of the table."""
    names = {"short": "00001_00_0.04s.ARW", "long": "00001_00_10s.ARW"}
    light = np.random.default_rng(0).integers(0, 50, (40, 48))
    for side, factor in (("short", 1), ("long", 250)):
        (tmp_path / side).mkdir()
        (np.minimum(512 + light * factor, 16383)).astype("<u2").tofile(tmp_path / side / names[side])
    (tmp_path / "list.txt").write_text(f"./Sony/short/{names['short']} ./Sony/long/{names['long']} ISO200 F8\n")
    geometry = Geometry(48, 40, "RGGB", 14, 512.0, 16383.0, iso=1600.0)
    read: Callable[[Path], object] = lambda path: read_headerless(path, geometry)  # noqa: E731
    cache = RawCache(tmp_path / "cache", read)  # type: ignore[arg-type]
    camera = get_camera("SonyA7S2")
    (case,) = real_cases(sid_pairs(tmp_path, "list.txt"), camera, {}, cache, crop=16)
    assert case.ratio == 250
    assert case.gain == camera.gain_at(1600)
    assert case.low.shape == case.target.shape == (4, 16, 16)
    np.testing.assert_allclose(case.low, case.target, atol=1e-5)
    rows = list(measure({"net": network}, [case], [0, 2], "blind"))
    assert [row.model for row in rows] == [NOISY, "net, 1 call", "net, 3 calls"]
    assert {row.split for row in rows} == {"x250"}
    assert json.dumps([row.values for row in rows])
