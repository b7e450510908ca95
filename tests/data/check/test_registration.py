import numpy as np
import pytest

from tapetum.data.check.registration import LONGEST, register
from tapetum.data.check.sketch import grey, ranks


def compared(low, target):
    return register(ranks(grey(low, LONGEST)), ranks(grey(target, LONGEST)), max(low.shape))


@pytest.mark.parametrize(("across", "down"), [(0, 0), (4, 0), (-3, 5), (0, -8)])
def test_the_shift_is_told(scene, across, down):
    target = np.roll(scene(1), (down, across), (0, 1))
    found = compared(scene(1, 0.05, noise=2), target)
    assert (found.across, found.down) == pytest.approx((across, down), abs=0.4)
    assert found.is_related
    assert found.is_aligned == (across == down == 0)


def test_the_shift_is_in_pixels_of_the_file(scene):
    large = np.repeat(np.repeat(scene(1), 4, 0), 4, 1)
    found = compared(large, np.roll(large, 40, 1))
    assert found.across == pytest.approx(40, abs=2)


def test_other_pictures_are_not_related(scene):
    assert not compared(scene(1, 0.05), scene(2)).is_related
    assert not compared(np.full((160, 240, 3), 3, np.uint8), scene(2)).is_related
