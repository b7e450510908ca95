"""Every measure by its name, and means of them."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest

import tapetum.metrics as package
from tapetum.errors import MissingExtraError, UsageError
from tapetum.metrics import HIGHEST_DB, Means, get, names

NETWORKS = ("lpips_alex", "lpips_vgg", "dists")
PLAIN = [name for name in names() if name not in NETWORKS]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    target = random.integers(40, 200, (24, 32, 3))
    enhanced = np.clip(target + random.normal(0, 12, target.shape), 0, 255)
    return [image.astype(np.uint8) for image in (enhanced, target, target // 5)]


@pytest.mark.parametrize("name", names())
def test_each_says_what_a_table_needs(name):
    measure = get(name)
    assert measure.name == name
    assert getattr(package, name) is measure.compute, "each is a function of its name, too"
    assert measure.source
    assert measure.compute.__doc__
    assert name in package.__all__


@pytest.mark.parametrize("name", PLAIN)
def test_the_direction_is_as_declared(name, pictures):
    """A result nearer to what it is compared with is better."""
    measure = get(name)
    if measure.against == "nothing":
        pytest.skip("there is nothing to be nearer to")
    enhanced, target, low = (image.astype(np.float64) / 255 for image in pictures)
    other = target if measure.needs_target else low
    far, near = (measure((1 - t) * enhanced + t * other, target, low) for t in (0.0, 0.7))
    assert (near > far) == (measure.better == "higher")
    assert measure.better in ("higher", "lower")


@pytest.mark.parametrize("name", PLAIN)
def test_bad_pictures_are_refused(name, pictures):
    measure = get(name)
    enhanced, target, low = pictures
    broken = enhanced / 255
    broken[3, 4, 1] = np.nan
    with pytest.raises(ValueError, match=r"enhanced has values that are no numbers \(NaN\) or infinite"):
        measure(broken, target, low)
    with pytest.raises(ValueError, match=r"enhanced must be uint8, or floating in \[0, 1\], got uint16"):
        measure(enhanced.astype(np.uint16), target, low)
    if measure.against != "nothing":
        with pytest.raises(ValueError, match="differ in size"):
            measure(enhanced[:-1], target, low)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("lpips", "lpips_alex or lpips_vgg"),
        ("PSNR_RGB_UINT", "psnr_rgb_uint8"),
        ("mea", "mae"),
        ("psrn", "psnr_rgb_uint8 or psnr_float or psnr_float_validation"),
    ],
)
def test_unknown_names_suggest_the_nearest(wrong, meant):
    text = f"unknown metric '{wrong}', perhaps {meant}: choose from psnr_rgb_uint8, "
    with pytest.raises(UsageError, match="^" + re.escape(text)):
        get(wrong)
    with pytest.raises(UsageError, match=r"^unknown metric 'qqqq': choose from"):
        get("qqqq")


def test_means(pictures):
    enhanced, target, low = pictures
    chosen = ["psnr_rgb_uint8", "mae", "loe_low_50", "mae"]
    means = Means(chosen)
    assert means.names == ("psnr_rgb_uint8", "mae", "loe_low_50")
    first = means.update(enhanced, target, low)
    second = means.update(low, target, low)
    assert first == {name: get(name)(enhanced, target, low) for name in means.names}
    assert means.compute() == {name: (first[name] + second[name]) / 2 for name in means.names}
    other = Means(chosen)
    third = other.update(target, target, low)
    assert math.isinf(get("psnr_rgb_uint8")(target, target))
    assert third["psnr_rgb_uint8"] == HIGHEST_DB
    other.merge(means)
    assert other.count == 3
    assert other.compute()["mae"] == pytest.approx((first["mae"] + second["mae"]) / 3)
    other.reset()
    with pytest.raises(ValueError, match="no mean of no pictures"):
        other.compute()


def test_a_picture_that_is_refused_does_not_count(pictures):
    enhanced, target, _ = pictures
    means = Means(["mae", "ssim_gaussian_valid_uint8"])
    means.update(enhanced, target)
    before = means.compute()
    with pytest.raises(ValueError, match="at least 11 x 11"):
        means.update(enhanced[:8], target[:8])
    assert (means.count, means.compute()) == (1, before)


def test_means_of_other_measures_are_not_mixed():
    with pytest.raises(ValueError, match="means of mae are none of psnr_float"):
        Means(["psnr_float"]).merge(Means(["mae"]))


@pytest.mark.parametrize("name", NETWORKS)
def test_without_the_extra_one_line_says_so(name, monkeypatch):
    prepare = get(name).prepare
    assert prepare is not None
    monkeypatch.setitem(sys.modules, "torchvision", None)
    text = f"{name} needs torchvision, which is not installed: pip install 'tapetum[perceptual]'"
    with pytest.raises(MissingExtraError, match="^" + re.escape(text) + "$"):
        prepare(False)
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(MissingExtraError, match=re.escape(text)):
        get(name)(image, image)
