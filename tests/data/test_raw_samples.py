"""RAW samples: pure functions of (seed, index), from photographs, from clean RAW and from real pairs; their cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.data.raw_cache import RawCache
from tapetum.data.raw_noise.cameras import get_camera
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import SATURATION
from tapetum.data.raw_samples import RawDataset, RawSource, RealNoise, SyntheticNoise, patches_of, turn
from tapetum.data.raw_sets import RawPair
from tapetum.errors import InputError
from tapetum.imaging.raw import read_raw

SONY = get_camera("SonyA7S2")
SYNTHETIC = SyntheticNoise(NoiseModel.parse("P+G+r+u"), [SONY])
BLACK = 512


def write_raw(
    path: Path, mosaic: np.ndarray, iso: float | None = 800, time: float | None = 1.0, white: int = 16383
) -> Path:
    """A headerless file that ``read_raw`` knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mosaic.astype("<u2").tobytes())
    facts = {"iso": iso, "exposure_time": time}
    geometry = {"width": mosaic.shape[1], "height": mosaic.shape[0], "pattern": "RGGB", "bits": 16, "black": BLACK}
    geometry |= {"white": white, **{name: value for name, value in facts.items() if value is not None}}
    path.with_name(path.name + ".json").write_text(json.dumps(geometry))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> RawPair:
    """A long exposure, and one of a hundredth of its light."""
    rng = np.random.default_rng(0)
    light = rng.uniform(0.1, 0.9, (80, 96)) * (16383 - BLACK)
    long = write_raw(tmp_path / "long.raw", BLACK + light, time=10.0)
    short = write_raw(tmp_path / "short.raw", BLACK + np.rint(light / 100), time=0.1)
    return RawPair("a", short, long, "1")


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    paths = []
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def source(pictures: list, noise: SyntheticNoise | RealNoise, tmp_path: Path, **options: object) -> RawSource:
    return RawSource(pictures, noise, RawCache(tmp_path / "cache"), **options)  # type: ignore[arg-type]


def check(sample: dict[str, torch.Tensor], patch: int) -> None:
    assert set(sample) == {"low", "target", "ratio", "gain"}
    for name in ("low", "target"):
        assert sample[name].shape == (4, patch, patch)
        assert sample[name].dtype == torch.float32
        assert 0 <= sample[name].min() <= sample[name].max() <= 1
    assert sample["ratio"].shape == sample["gain"].shape == ()
    assert sample["ratio"].dtype == sample["gain"].dtype == torch.float32


def test_every_kind_is_a_function_of_seed_and_index(photographs: list[Path], pair: RawPair, tmp_path: Path) -> None:
    sources = [
        source(photographs, SYNTHETIC, tmp_path, shrink=2),
        source([pair], SYNTHETIC, tmp_path),
        source([pair], RealNoise(SONY, {}, lengthen=True), tmp_path),
    ]
    for each in sources:
        each.check(16)
    first, again, other = (RawDataset(sources, 16, seed, 40) for seed in (1, 1, 2))
    for index in range(40):
        check(first[index], 16)
    for index in (7, 3, 39):  # in any order
        assert all(torch.equal(first[index][name], again[index][name]) for name in first[index])
    assert not torch.equal(first[0]["target"], other[0]["target"])
    assert len(first) == 40


def test_colours_of_photographs_are_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.fromarray(np.full((40, 40, 3), (200, 20, 90), np.uint8)).save(path)
    brightest = set()
    for colours in (0.0, 1.0):
        dataset = RawDataset([source([path], SYNTHETIC, tmp_path)], 16, 0, 40, colours=colours)
        brightest = {int(dataset[index]["target"].mean((1, 2))[:3].argmax()) for index in range(40)}
        assert brightest == ({0} if colours == 0 else {0, 1, 2})


def test_synthetic_lows_have_their_targets_light(pair: RawPair, tmp_path: Path) -> None:
    dataset = RawDataset([source([pair], SYNTHETIC, tmp_path)], None, 0, 8)
    for index in range(8):
        sample = dataset[index]
        assert 20 <= sample["ratio"] <= 300
        assert 0.1 <= sample["gain"] <= 30
        noise = float(sample["gain"] * sample["ratio"]) / SATURATION  # relative variance of one sample at y = 1
        if noise < 0.05:
            assert float(sample["low"].mean()) == pytest.approx(float(sample["target"].mean()), rel=0.15)


def test_real_pairs(pair: RawPair, tmp_path: Path) -> None:
    sample = RawDataset([source([pair], RealNoise(SONY, {}), tmp_path)], 16, 0, 4)[0]
    assert float(sample["ratio"]) == 100
    assert float(sample["gain"]) == pytest.approx(SONY.gain_at(800))
    # rounded to one of 16383 - 512 levels before amplification
    assert (sample["low"] - sample["target"]).abs().max() < 0.6 * 100 / (16383 - BLACK)
    known = RealNoise(SONY, {"Other": get_camera("NikonD850")})
    named = RawDataset([source([replace(pair, camera="Other", ratio=50.0)], known, tmp_path)], 16, 0, 1)[0]
    assert float(named["ratio"]) == 50
    assert float(named["gain"]) == pytest.approx(get_camera("NikonD850").gain_at(800))


def test_longer_exposures_of_real_pairs(pair: RawPair, tmp_path: Path) -> None:
    longer = RealNoise(SONY, {}, lengthen=True)
    dataset = RawDataset([source([replace(pair, ratio=300.0)], longer, tmp_path)], None, 0, 30)
    ratios = [float(dataset[index]["ratio"]) for index in range(30)]
    assert 100 <= min(ratios) < max(ratios) <= 300


def test_other_bit_depths_have_their_own_scale(pair: RawPair, tmp_path: Path) -> None:
    long = write_raw(tmp_path / "l.raw", np.full((40, 40), 60000), white=65535)
    short = write_raw(tmp_path / "s.raw", np.full((40, 40), BLACK + 594), time=0.01, white=65535)
    sample = RawDataset([source([RawPair("b", short, long, "2")], RealNoise(SONY, {}), tmp_path)], None, 0, 1)[0]
    assert float(sample["target"].mean()) == pytest.approx((60000 - BLACK) / (65535 - BLACK), abs=1e-4)
    assert float(sample["gain"]) == pytest.approx(SONY.gain_at(800) * SATURATION / (65535 - BLACK))


def test_pairs_that_cannot_be_used(pair: RawPair, tmp_path: Path) -> None:
    real = RealNoise(SONY, {})
    small = write_raw(tmp_path / "small.raw", np.full((40, 40), 600))
    with pytest.raises(InputError, match=r"small\.raw: is 20x20, its long exposure .*long\.raw 40x48"):
        source([replace(pair, low=small)], real, tmp_path).check(16)
    with pytest.raises(InputError, match=r"long\.raw: is 40x48 packed, too small for patches of 64"):
        source([pair], real, tmp_path).check(64)
    silent = write_raw(tmp_path / "silent.raw", np.full((80, 96), 600), iso=None)
    with pytest.raises(InputError, match=r"silent\.raw: its EXIF data"):
        RawDataset([source([replace(pair, low=silent)], real, tmp_path)], 16, 0, 1)[0]
    with pytest.raises(InputError, match=r"silent\.raw: .* the gain follows from"):
        RawDataset([source([replace(pair, low=silent, ratio=100.0)], real, tmp_path)], 16, 0, 1)[0]


def test_photographs_that_are_too_small(photographs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.png: is 35x45 \(half of its pixels, as RAW is packed\), too small for"):
        source(photographs, SYNTHETIC, tmp_path).check(36)


def test_the_stride_of_the_published_store(tmp_path: Path) -> None:
    ramp = np.arange(80 * 96).reshape(80, 96) % 15000 + BLACK
    path = write_raw(tmp_path / "ramp.raw", ramp)
    one = RawPair("r", path, path, "3")
    dataset = RawDataset([source([one], SYNTHETIC, tmp_path, stride=16)], 16, 0, 60)
    stored = patches_of(RawCache(None).get(path).part(), 16)
    assert len(stored) == 2 * 3
    turned = [turn(torch.from_numpy(patch), *map(bool, (b & 1, b & 2, b & 4))) for patch in stored for b in range(8)]
    for index in range(60):
        target = dataset[index]["target"]
        assert any(torch.equal(target, patch) for patch in turned)


def test_the_cache_goes_by_content(pair: RawPair, tmp_path: Path) -> None:
    reads: list[Path] = []

    def read(path: Path):
        reads.append(path)
        return read_raw(path)

    folder = tmp_path / "kept"
    cache = RawCache(folder, read)
    assert cache.missing([pair.low, pair.target]) == [pair.low, pair.target]
    frame = cache.get(pair.target)
    assert isinstance(frame.numbers, np.memmap)
    assert np.array_equal(frame.part(slice(2, 9), slice(3, 8)), RawCache(None).get(pair.target).part()[:, 2:9, 3:8])
    assert frame.facts.iso == 800
    assert cache.missing([pair.low, pair.target]) == [pair.low]
    moved = write_raw(tmp_path / "elsewhere" / "moved.raw", read_raw(pair.target).mosaic, time=10.0)
    RawCache(folder, read).get(moved)
    assert reads == [pair.target]  # the same content under another name
    pair.target.write_bytes(bytes(80 * 96 * 2))
    assert not np.array_equal(RawCache(folder, read).get(pair.target).numbers, frame.numbers)
    assert len(reads) == 2
    assert not list(folder.glob(".*"))  # no temporary file stays
    for facts in folder.glob("*.json"):
        facts.write_text("{")
    broken = RawCache(folder, read)
    with pytest.raises(InputError, match="a damaged entry of the cache"):
        broken.get(moved)
    with pytest.raises(InputError, match=r"none\.raw: cannot be read"):
        broken.get(tmp_path / "none.raw")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="the cache cannot be written"):
        RawCache(tmp_path / "file" / "x").get(pair.low)


def test_patches_of_a_sony_frame() -> None:
    """Published: eight of 512 x 512 side by side in the centred 1024 x 2048 of 1424 x 2128, row by row."""
    rows, columns = np.mgrid[0:1424, 0:2128].astype(np.float32)
    patches = patches_of(np.stack([rows / 65535, columns / 65535]), 512)
    corners = [np.rint(patch[:, 0, 0] * 65535).astype(int).tolist() for patch in patches]
    assert corners == [[top, left] for top in (200, 712) for left in (40, 552, 1064, 1576)]
    assert all(patch.shape == (2, 512, 512) for patch in patches)
