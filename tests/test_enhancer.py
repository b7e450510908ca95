"""The enhancer: any size, tiles that leave no trace, budgets, strength, types, errors."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from torch import Tensor, nn
from torch.nn import functional as F

import tapetum
from tapetum import Enhancer
from tapetum.budget import Budget, parse_memory
from tapetum.engines import Extras, OutOfMemory
from tapetum.errors import InputError, TapetumError, TapetumWarning, UsageError
from tapetum.imaging import Picture, read_picture, srgb_to_linear, write_picture
from tapetum.imaging.tiles import Grid
from tapetum.methods.contract import Properties
from tapetum.methods.registry import create_model


class Local(nn.Module):
    """Two convolutions, the second at half size: sees 1 + 2 pixels and a half far, on a grid of 2."""

    def __init__(self, properties: Properties | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.properties = properties or Properties(size_multiple=2, minimum_size=4, receptive_field=4)
        self.first = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator) * 0.2)
        self.second = nn.Parameter(torch.randn(12, 16, 3, 3, generator=generator) * 0.1)

    def forward(self, low: Tensor) -> Tensor:
        feature = F.pixel_unshuffle(F.conv2d(low, self.first, padding=1).relu(), 2)
        return low * 1.5 + F.pixel_shuffle(F.conv2d(feature, self.second, padding=1), 2)


class Thumbnail(nn.Module):
    """Brightens to a mean of one half, by the thumbnail."""

    properties = Properties(context="thumbnail", thumbnail_size=8)

    def forward(self, low: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None:
            context = F.adaptive_avg_pool2d(low, 8)
        return low * (0.5 / context.mean((1, 2, 3), keepdim=True))


class Statistics(nn.Module):
    """The same, by a measured mean."""

    properties = Properties(size_multiple=4, minimum_size=4, context="statistics", thumbnail_size=64)

    def forward(self, low: Tensor, context: Tensor | None = None) -> Tensor:
        mean = self.measure(low) if context is None else context
        return low * (0.5 / mean[:, :, None, None])

    def measure(self, low: Tensor) -> Tensor:
        return low.mean((1, 2, 3))[:, None]


class Grudging:
    """An engine that has memory for so many pixels."""

    name = "test:cpu"
    properties = Properties()

    def __init__(self, most: int) -> None:
        self.most = most
        self.runs: list[int] = []

    def run(self, low: np.ndarray, context: np.ndarray | None = None, extras: Extras | None = None) -> np.ndarray:
        self.runs.append(low.shape[2] * low.shape[3])
        if self.runs[-1] > self.most:
            raise OutOfMemory("no more memory")
        return low * 2

    def measure(self, low: np.ndarray, extras: Extras | None = None) -> np.ndarray:
        raise NotImplementedError

    def free_memory(self) -> int:
        return 10**12


def night(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A dark picture that is brighter to the right, with noise."""
    slope = np.linspace(0.02, 0.4, width)[None, :, None] * np.linspace(1, 0.5, channels)
    random = np.random.default_rng([height, width, channels])  # the same picture for the same size, in any order
    return np.clip(slope + 0.02 * random.standard_normal((height, width, channels)), 0, 1).astype(np.float32)


def with_engine(engine: Any, **options: Any) -> Enhancer:
    enhancer = Enhancer(Local(), **options)
    enhancer.engine = engine
    return enhancer


# sizes and tiles


@settings(max_examples=80)
@given(st.integers(1, 250), st.integers(1, 250), st.integers(26, 160))
def test_tiles_of_a_local_network_give_the_whole(height: int, width: int, tile: int) -> None:
    """From 26 pixels on, half a tile holds the ramp and twice what this network sees."""
    image = night(height, width)
    whole = Enhancer(Local())(image)
    assert whole.shape == image.shape
    assert np.abs(Enhancer(Local(), tile=tile)(image) - whole).max() <= 1e-6


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 25))
def test_tiles_too_small_for_the_network_still_work(height: int, width: int, tile: int) -> None:
    image = night(height, width)
    result = Enhancer(Local(), tile=tile)(image)
    assert result.shape == image.shape
    # such tiles lack what is around them: far off in a few pixels at worst, not everywhere
    difference = np.abs(result - Enhancer(Local())(image))
    assert difference.max() < 0.6
    assert difference.mean() < 0.2


def test_a_receptive_field_declared_too_small_would_show() -> None:
    """The test above can fail: tiles of a network that sees further than it says differ from the whole."""

    class Far(Local):
        def forward(self, low: Tensor) -> Tensor:
            return F.avg_pool2d(low, 63, stride=1, padding=31, count_include_pad=False)

    image = night(200, 200)
    assert np.abs(Enhancer(Far(), tile=112)(image) - Enhancer(Far())(image)).max() > 1e-4


def test_a_methods_name_brings_its_bundled_weights() -> None:
    low = np.full((24, 24, 3), 40, np.uint8)
    assert np.array_equal(Enhancer("dednet")(low), Enhancer("dednet-lolv1")(low))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (17, 4)])
@pytest.mark.parametrize("method", ["twilight", "retinexformer", "mst_plus_plus", "mamballie", "dednet"])
def test_any_size_works(size: tuple[int, int], method: str) -> None:
    config = {"n_feat": 4, "stage": 1} if method in ("retinexformer", "mst_plus_plus") else "tiny"
    enhancer = Enhancer(create_model(method, config))
    assert enhancer(np.full((*size, 3), 30, np.uint8)).shape == (*size, 3)


def test_thumbnail_network_is_the_same_whole_and_tiled() -> None:
    image = night(150, 201)
    whole = Enhancer(Thumbnail())(image)
    assert np.abs(Enhancer(Thumbnail(), tile=112)(image) - whole).max() <= 1e-6
    assert abs(whole.mean() - 0.5) < 0.02


def test_statistics_come_from_the_whole_picture() -> None:
    image = night(150, 201)
    whole = Enhancer(Statistics())(image)
    tiled = Enhancer(Statistics(), tile=112)(image)
    # 1.3 %: of a picture shrunk to 64 pixels (windows share pixels), and without the padding of the whole to 152 x 204
    assert np.abs(tiled - whole).max() < 0.02
    network = Statistics()
    network.properties = replace(network.properties, context="none")
    without = Enhancer(network, tile=112)(image)
    assert np.abs(without - whole).max() > 0.1  # every tile brightened by itself


def test_tile_error_of_retinexformer_is_bounded() -> None:
    torch.manual_seed(0)
    network = create_model("retinexformer", {"n_feat": 8, "num_blocks": (1, 1, 1)})
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:  # the attention's layers, far larger than they start
                parameter *= 8
    image = night(240, 320)
    error = np.abs(Enhancer(network, tile=160)(image) - Enhancer(network, memory="20GB")(image))
    assert error.max() < 1e-3  # measured 2e-4: a twentieth of an 8-bit level
    assert error.mean() < 1e-4


def test_tile_error_of_dednet_is_bounded() -> None:
    """Attention comes from the whole picture, but the small scales are laid over a tile as if it were the picture."""
    torch.manual_seed(0)
    network = create_model("dednet", {"n_feat": 4, "num_blocks": (1, 1, 1), "ffn": "separable"})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2:
                parameter *= 4
            elif parameter.ndim == 4 and ("feat_enhancer" in name or "estimator" in name):
                parameter *= 2.2
    image = night(240, 320)
    whole = Enhancer(network, memory="20GB")(image)
    assert np.abs(whole - image).mean() > 0.02  # it does something
    error = (Enhancer(network, tile=160)(image) - whole) * 255
    cells = error.reshape(15, 16, 20, 16, 3).mean((1, 3))
    # in 8-bit levels; measured 0.060, 2.3 and 0.45
    assert 0 < np.abs(error).mean() < 0.2
    assert np.abs(error).max() < 8
    assert np.abs(cells).max() < 1.5


def test_tile_error_of_mamballie_is_bounded() -> None:
    """Its scans see all of the picture: without what stands in for the rest, tiles are near only by their overlap.

    Weights far livelier than one begins with. Means over cells tell steps of brightness from single pixels.
    """
    torch.manual_seed(0)
    network = create_model("mamballie", {"nf": 8, "depths": [1, 1, 1, 1, 1, 1], "d_state": 4})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("out_proj.weight", "project_out.weight", "x_proj_weight", "out_embed.weight")):
                parameter *= 2
    image = night(256, 320)
    whole = Enhancer(network, memory="20GB")(image)
    assert np.abs(whole - image).mean() > 0.02  # it does something
    network.properties = replace(network.properties, thumbnail_size=0)
    error = (Enhancer(network, tile=208)(image) - whole) * 255
    cells = error.reshape(8, 32, 10, 32, 3).mean((1, 3))
    # in 8-bit levels; measured 0.056, 6.0 and 0.057
    assert 0 < np.abs(error).mean() < 0.2
    assert np.abs(error).max() < 20
    assert np.abs(cells).max() < 0.2


def test_tiles_of_mamballie_are_brought_to_the_brightness_of_the_whole() -> None:
    """The bundled weights remember far, and their tiles would show steps."""
    image = data.rocket()[:400]
    enhancer = Enhancer("mamballie-lolv1", memory="20GB")
    whole, tiled = enhancer(image).astype(float), enhancer.with_tiles(320)
    near = np.abs(tiled(image) - whole)
    tiled.engine.properties = replace(tiled.engine.properties, thumbnail_size=0)
    alone = np.abs(tiled(image) - whole)
    assert near.mean() < 0.9 * alone.mean()
    assert near.mean() < 10  # 8-bit levels; measured 7.5, and 9.3 alone


# memory


def test_a_budget_that_cannot_be_kept_is_said() -> None:
    image = night(200, 300)
    with pytest.warns(TapetumWarning, match=r"0\.001 MB of memory are too little: the smallest tiles need \d"):
        result = Enhancer(Local(), memory="1KB")(image)
    assert np.array_equal(result, Enhancer(Local())(image))


def test_a_budget_makes_tiles() -> None:
    engine = Grudging(10**9)
    image = night(600, 800)
    whole = with_engine(engine)(image)
    assert engine.runs == [600 * 800]
    engine.runs.clear()
    assert np.array_equal(with_engine(engine, memory="100MB")(image), whole)
    assert len(engine.runs) > 1
    assert max(engine.runs) * engine.properties.bytes_per_pixel < 100e6


def test_smaller_tiles_where_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    engine = Grudging(200 * 200)
    image = night(600, 800)
    enhancer = with_engine(engine)
    with caplog.at_level(logging.WARNING):
        assert np.allclose(enhancer(image), np.clip(image * 2, 0, 1), rtol=0, atol=1e-7)
    assert all("out of memory on test:cpu: going on with tiles of" in r.message for r in caplog.records)
    assert 1 <= len(caplog.records) <= 3
    caplog.clear()
    enhancer(image)  # remembered
    assert not caplog.records


def test_threads_that_run_out_of_memory_together() -> None:
    """One lowers the limit of tiles while the other's tile is on its way: that is no reason to give up."""
    budget = Budget(None, None)
    grids = iter([Grid(800, 800, (0,), (0,), 800, 800, 0), Grid(800, 800, (0,), (0,), 96, 96, 0)])

    def work(grid: Grid) -> str:
        if grid.whole and grid.tile_height == 800:
            budget.pixels = 200.0**2  # the other thread's doing
            raise OutOfMemory("no more memory")
        return "done"

    assert budget.run(Grudging(0), lambda: next(grids), work) == "done"
    assert budget.pixels == 200**2


def test_a_seed_that_says_nothing_is_said() -> None:
    with pytest.warns(TapetumWarning, match="uptflow-lolv1: the seed says nothing, for nothing is drawn with temper"):
        Enhancer("uptflow-lolv1", seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Enhancer("uptflow-lolv1", seed=3, temperature=0.5)


def test_no_memory_at_all_is_one_clear_error() -> None:
    with pytest.raises(InputError, match="not enough memory on test:cpu, not even for tiles of"):
        with_engine(Grudging(0))(night(600, 800))


@pytest.mark.parametrize(
    ("text", "expected"),
    [(1000, 1000), ("1000", 1000), ("800MB", 800_000_000), ("1.5GB", 1_500_000_000), ("2 gib", 2**31), ("1g", 10**9)],
)
def test_memory_sizes(text: str | int, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "much", "1.5XB", "-1GB", 0, "0MB", float("nan"), "GB"])
def test_memory_that_is_none(text: str | int | float) -> None:
    with pytest.raises(UsageError, match="memory must be"):
        parse_memory(text)


# strength, grey, types


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_strength_zero_is_the_picture_itself(dtype: type) -> None:
    scale = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    image = (night(20, 30) * scale).astype(dtype)
    result = Enhancer(Local(), strength=0)(image)
    assert np.array_equal(result, image)
    assert result is not image


def test_strength_mixes_in_linear_light() -> None:
    image = night(30, 40)
    full = Enhancer(Local(), strength=1)(image)
    half = Enhancer(Local(), strength=0.5)(image)
    expected = (srgb_to_linear(image) + srgb_to_linear(full)) / 2
    assert np.abs(srgb_to_linear(half) - expected).max() < 1e-6


def test_grey_is_the_luma_of_the_colour_result() -> None:
    grey = night(30, 40, 1)
    colour = Enhancer(Local())(np.repeat(grey, 3, axis=2))
    expected = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(Enhancer(Local())(grey)[:, :, 0] - expected).max() < 1e-6


def test_sixteen_bits_have_no_eight_bit_bottleneck() -> None:
    image = (night(60, 60) * 65535).astype(np.uint16)
    result = Enhancer(Local())(image)
    assert np.abs(result / 65535 - Enhancer(Local())(image / 65535)).max() <= 0.6 / 65535
    assert len(np.unique(result)) > 1000


def test_types_come_back() -> None:
    enhancer = Enhancer(Local())
    pil = PIL.Image.fromarray(np.full((20, 30, 4), 40, np.uint8))
    result = enhancer(pil)
    assert (result.mode, result.size) == ("RGBA", (30, 20))
    assert np.array_equal(np.asarray(result)[:, :, 3], np.full((20, 30), 40))
    batch = torch.rand(2, 3, 20, 30) * 0.3
    result = enhancer(batch)
    assert result.shape == batch.shape
    assert torch.allclose(result[1], enhancer(batch[1]))
    assert torch.allclose(result[0].permute(1, 2, 0), torch.from_numpy(enhancer(batch[0].permute(1, 2, 0).numpy())))


def test_the_input_is_not_changed() -> None:
    image = night(40, 50)
    before = image.copy()
    Enhancer(Local(), tile=32, strength=0.5)(image)
    assert np.array_equal(image, before)


def test_twice_the_same() -> None:
    image = night(90, 100)
    enhancer = Enhancer(Local(), tile=40)
    assert np.array_equal(enhancer(image), enhancer(image))


# files


def test_enhance_reads_and_writes(tmp_path: Path) -> None:
    source = tmp_path / "night.png"
    pixels = (night(20, 30) * 65535).astype(np.uint16)
    write_picture(Picture(pixels), source)
    out = tapetum.enhance(source, model=Local())
    assert out == tmp_path / "night-enhanced.png"
    assert np.array_equal(read_picture(out).pixels, Enhancer(Local())(pixels))
    assert tapetum.enhance(str(source), tmp_path / "b.tif", model=Local(), strength=0) == tmp_path / "b.tif"
    assert np.array_equal(read_picture(tmp_path / "b.tif").pixels, pixels)


def test_enhance_into_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "night.png"
    write_picture(Picture(np.zeros((4, 4, 3), np.uint8)), source)
    made = tapetum.enhance(source, f"{tmp_path}/new/sub/", model=Local())
    assert made == tmp_path / "new" / "sub" / "night.png"
    assert tapetum.enhance(source, made.parent, model=Local()) == made
    with pytest.raises(UsageError, match="would replace the picture itself"):
        tapetum.enhance(source, tmp_path, model=Local())


def test_enhance_does_not_replace_its_input(tmp_path: Path) -> None:
    source = tmp_path / "night.png"
    write_picture(Picture(np.zeros((4, 4, 3), np.uint8)), source)
    with pytest.raises(UsageError, match="would replace the picture itself"):
        tapetum.enhance(source, source, model=Local())


# errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "night"}, "unknown model 'night'.*: choose from"),
        ({"model": "retinexformer"}, "give a file of weights"),
        (
            {"model": "retidiff_stage1", "weights": "x"},
            "of the training of retidiff and enhances nothing alone",
        ),
        ({"model": "retinexformer", "engine": "onnx"}, "tapetum export retinexformer"),
        ({"model": "missing.onnx"}, "missing.onnx: no such file"),
        ({"model": "missing.onnx", "engine": "torch"}, "runs in the onnx engine only"),
        ({"model": "missing.onnx", "bfloat16": True}, "bfloat16 is an option of the torch engine"),
        ({"model": "retinexformer", "weights": "missing.pth"}, "missing.pth: cannot be read"),
        ({"engine": "fast"}, "engine must be auto, onnx or torch"),
        ({"strength": 1.5}, "strength must be from 0 to 1"),
        ({"strength": float("nan")}, "strength must be from 0 to 1"),
        ({"strength": "much"}, "strength must be from 0 to 1, got 'much'"),
        ({"strength": None}, "strength must be from 0 to 1"),
        ({"tile": "wide"}, "tile must be a number of pixels from 1 up, got 'wide'"),
        ({"tile": 0}, "tile must be"),
        ({"memory": "lots"}, "memory must be"),
        ({"memory": "1e400"}, "memory must be"),
        ({"memory": 0}, "memory must be"),
        ({"device": "abacus"}, "device 'abacus' is not here"),
        ({"model": nn.Conv2d(3, 3, 1)}, "Conv2d declares no properties"),
        ({"model": Local(Properties(domain="raw"))}, "works on raw mosaics, not on sRGB: take tapetum.raw_enhancer"),
    ],
)
def test_wrong_requests(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TapetumError, match=words):
        Enhancer(**{"model": Local(), **options})
