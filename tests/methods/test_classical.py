"""Methods without a network: against independent programs, for any size, and the same in tiles as whole."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.exposure import equalize_hist

from tapetum.enhancer import Enhancer
from tapetum.errors import UsageError
from tapetum.methods.classical import METHODS
from tapetum.methods.classical.clahe import CLIP_LIMIT, REGIONS, curve
from tapetum.methods.classical.lime import GAMMA, TINY, refined
from tapetum.methods.classical.smoothing import solve
from tapetum.methods.registry import CLASSICAL_METHODS, create_model, list_models

NAMES = list(METHODS)
every = pytest.mark.parametrize("name", NAMES)


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Dark, with an edge, a gradient, colours and noise: ``(height, width, 3)`` uint8."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    light = 10 + 40 * (columns > width * 0.6) + 20 * rows / height
    return np.clip(light[..., None] * [1, 0.8, 0.6] + random.normal(0, 2, (height, width, 3)), 0, 255).astype(np.uint8)


def test_the_registry_knows_them_all_and_lists_them():
    assert tuple(METHODS) == CLASSICAL_METHODS
    assert list_models()[-len(NAMES) :] == NAMES
    assert all(method.name == name for name, method in METHODS.items())


@every
def test_a_dark_picture_becomes_brighter_and_keeps_its_type(name):
    low = scene(40, 60)
    enhancer = Enhancer(name)
    assert enhancer.engine.name == "numpy:cpu"
    enhanced = enhancer(low)
    assert (enhanced.dtype, enhanced.shape) == (low.dtype, low.shape)
    assert enhanced.mean() > low.mean() + (1 if name == "clahe" else 10)
    assert np.array_equal(enhancer(low), enhanced), "twice the same"
    for dtype, peak in ((np.uint16, 65535), (np.float32, 1)):
        other = enhancer((low / 255 * peak).round().astype(dtype) if peak > 1 else (low / 255).astype(dtype))
        assert np.abs(other / peak - enhanced / 255).max() < 0.01
    grey = low.mean(axis=2).astype(np.uint8)
    assert enhancer(grey).shape == grey.shape


@every
@pytest.mark.parametrize("tile", [128, 37])
def test_tiles_are_what_the_whole_is(name, tile):
    """Whole-picture statistics and places: rounding apart, no pixel differs."""
    low = scene(150, 210).astype(np.float32) / 255
    whole = Enhancer(name)(low)
    tiled = Enhancer(name, tile=tile)
    assert tiled._plan(150, 210).tiles > 1
    assert np.abs(tiled(low) - whole).max() < 2e-6


@every
def test_pictures_beyond_the_largest_tile_show_no_steps(name, monkeypatch):
    """LIME's map is smaller than such a picture: its parts are stretched to where they belong."""
    monkeypatch.setattr("tapetum.enhancer.LARGEST_TILE", 200 * 200)
    low = scene(130, 900).astype(np.float32) / 255
    enhancer = Enhancer(name)
    grid = enhancer._plan(130, 900)
    assert grid.tiles > 1
    whole = enhancer.engine.run(low.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0).clip(0, 1)
    assert np.abs(enhancer(low) - whole).max() < 1e-5


@every
@given(
    image=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3])),
        elements=st.integers(0, 255),
    )
)
def test_any_size_and_content(name, image):
    enhanced = Enhancer(name)(image)
    assert enhanced.shape == image.shape
    low = np.repeat(image, 3, axis=2)[..., :3].astype(np.float32) / 255
    assert np.isfinite(Enhancer(name)(low)).all()


@every
@pytest.mark.parametrize("level", [0, 37, 255])
def test_pictures_of_one_level_stay_of_one_level(name, level):
    enhanced = Enhancer(name)(np.full((30, 40, 3), level, np.uint8))
    assert len(np.unique(enhanced)) == 1


def test_gamma():
    low = scene(20, 30)
    assert np.array_equal(Enhancer("gamma")(low), np.rint((low / 255) ** (1 / 2.2) * 255).astype(np.uint8))


def test_histogram_equalisation_is_that_of_scikit_image():
    """Of the lightness; scikit-image leaves the darkest level above 0, which is one affine step away."""
    low = scene(50, 70)
    lightness = low.max(axis=2)
    expected = equalize_hist(lightness, nbins=256)
    lowest = expected.min()
    expected = (expected - lowest) / (1 - lowest)
    enhanced = Enhancer("histeq")(low.astype(np.float32) / 255)
    assert enhanced.max(axis=2) == pytest.approx(expected, abs=1e-6)
    bright = lightness > 0
    ratio = enhanced.max(axis=2, keepdims=True)[bright] / low.max(axis=2, keepdims=True)[bright]
    assert enhanced[bright] == pytest.approx(low[bright] * ratio, abs=1e-5), "hue and saturation are kept"


def test_clahe_is_its_definition_pixel_by_pixel():
    height, width = 48, 64
    low = scene(height, width)
    lightness = low.max(axis=2)
    enhanced = Enhancer("clahe")(low.astype(np.float32) / 255).max(axis=2)
    step = np.array([height, width]) / REGIONS  # 6 x 8 pixels
    curves = {}
    for i in range(REGIONS):
        for j in range(REGIONS):
            counts = np.bincount(lightness[6 * i : 6 * i + 6, 8 * j : 8 * j + 8].ravel(), minlength=256)
            height_allowed = CLIP_LIMIT * 48 / 256
            excess = sum(max(0, count - height_allowed) for count in counts)
            curves[i, j] = np.cumsum([min(count, height_allowed) + excess / 256 for count in counts]) / 48
    for row, column in np.random.default_rng(0).integers(0, (height, width), (200, 2)):
        at = np.clip((np.array([row, column]) + 0.5) / step - 0.5, 0, REGIONS - 1)
        expected = 0.0
        for i in range(REGIONS):
            for j in range(REGIONS):
                share = max(0, 1 - abs(at[0] - i)) * max(0, 1 - abs(at[1] - j))
                expected += share * curves[i, j][lightness[row, column]]
        assert enhanced[row, column] == pytest.approx(expected, abs=1e-5)


def test_a_curve_of_clahe_rises_to_one():
    rising = curve(np.random.default_rng(0).integers(0, 50, 256))
    assert (np.diff(rising) >= 0).all()
    assert rising[-1] == pytest.approx(1)
    assert np.diff(rising).max() <= 2 * CLIP_LIMIT / 256, "contrast is limited"


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_smoothing_solves_its_system(seed, height, width):
    random = np.random.default_rng(seed)
    initial = random.random((height, width))
    down, across = 10 ** random.uniform(-2, 4, (height - 1, width)), 10 ** random.uniform(-2, 4, (height, width - 1))
    index = np.arange(height * width).reshape(height, width)
    matrix = np.eye(height * width)
    for first, second, weights in ((index[:-1], index[1:], down), (index[:, :-1], index[:, 1:], across)):
        for x, y, weight in zip(first.ravel(), second.ravel(), weights.ravel(), strict=True):
            matrix[[x, y], [x, y]] += weight
            matrix[[x, y], [y, x]] -= weight
    expected = np.linalg.solve(matrix, initial.ravel()).reshape(height, width)
    # it stops by a mean of squares that the wildest weights, which no picture has, understate: 4,000 draws reached 1e-3
    assert np.sqrt(np.square(solve(initial, down, across) - expected).mean()) < 3e-3


def test_lime_divides_by_its_map():
    low = scene(60, 80)
    lightness = low.max(axis=2) / 255
    illumination = refined(lightness)
    assert illumination.mean() == pytest.approx(lightness.mean(), abs=1e-3), "light is moved, not made"
    left, right = illumination[:, :40], illumination[:, 56:]
    assert right.mean() - left.mean() > 0.06, "the edge is kept"
    noise = np.abs(np.diff(lightness[:, :40], axis=0)).mean()
    assert np.abs(np.diff(left, axis=0)).mean() < noise / 4, "the noise is not"
    expected = np.clip(low / 255 / (illumination**GAMMA + TINY)[..., None], 0, 1)
    assert Enhancer("lime")(low.astype(np.float32) / 255) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "x.pth"}, "clahe is no network: it takes no weights"),
        ({"bfloat16": True}, "clahe is no network: it takes no bfloat16"),
        ({"engine": "onnx"}, "it runs in the numpy engine, not in 'onnx'"),
        ({"device": "cuda"}, "clahe runs on the processor only: there is no device 'cuda' for it"),
        ({"steps": 5}, "clahe has no option steps: it has none"),
    ],
)
def test_wrong_usage(options, words):
    with pytest.raises(UsageError, match=words):
        Enhancer("clahe", **options)


def test_they_are_no_networks():
    with pytest.raises(UsageError, match=r"lime is no network: use it through Enhancer\('lime'\)"):
        create_model("lime")


@every
def test_need_no_torch(name, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == "torch"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert Enhancer(name)(scene(16, 24)).shape == (16, 24, 3)
