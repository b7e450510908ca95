import numpy as np
import pytest

from tapetum.imaging import linear_to_srgb, luminance, srgb_to_linear


def test_known_values() -> None:
    # IEC 61966-2-1: middle grey 118/255 is 18 % of light, and the curve is straight below 0.04045
    values = np.array([0.0, 0.04045, 118 / 255, 1.0])
    np.testing.assert_allclose(srgb_to_linear(values), [0, 0.04045 / 12.92, 0.1811, 1], atol=2e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(dtype: type) -> None:
    values = np.linspace(-0.5, 1.5, 2001, dtype=dtype)
    back = linear_to_srgb(srgb_to_linear(values))
    assert back.dtype == dtype
    # the two branches of the standard meet to about 1e-8 only
    np.testing.assert_allclose(back, values, atol=2e-6 if dtype == np.float32 else 1e-7)


def test_luminance_of_white_and_green() -> None:
    np.testing.assert_allclose(luminance(np.array([[1.0, 1, 1], [0, 1, 0]])), [1, 0.7152])
