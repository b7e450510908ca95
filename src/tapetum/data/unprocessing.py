"""Ordinary sRGB photographs as clean RAW: every step of a camera's development undone, in reverse order.

So training for RAW needs no RAW data set. Source: Brooks et al., "Unprocessing images for learned raw denoising", CVPR
2019, section 3: tone curve (smoothstep), sRGB gamma, colour matrix (a random mixture of real cameras'), white balance
and brightness (with highlights kept), mosaic. NumPy only; every random number comes from the generator given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.imaging.colour import linear_to_srgb, srgb_to_linear
from tapetum.imaging.raw.colour import SRGB_TO_XYZ
from tapetum.imaging.raw.packing import channel_sites

# Adobe's D65 matrices XYZ -> camera, times 10,000: facts that every RAW converter has. Sony A7S, A7R II; Canon EOS
# 700D, 750D. (The paper's are four cameras of the Darmstadt data set.)
_CAMERAS = np.array(
    [
        [[5838, -1430, -246], [-3497, 11477, 2297], [-748, 1885, 5778]],
        [[6629, -1900, -483], [-4618, 12349, 2550], [-622, 1381, 6514]],
        [[6602, -841, -939], [-4472, 12458, 2247], [-975, 2039, 6148]],
        [[6362, -823, -847], [-4426, 12109, 2616], [-743, 1857, 5635]],
    ]
)
_BRIGHT = 0.9  # from this brightness on gains give way to keeping whites white


@dataclass(frozen=True)
class Development:
    """How a camera would have made the picture.

    Attributes:
        matrix: ``(3, 3)``, linear sRGB -> camera RGB; rows sum to 1.
        red, blue: white balance gains, with green 1.
        brightness: gain of all channels that the camera applied, about 1.25.
    """

    matrix: NDArray[np.float64]
    red: float
    blue: float
    brightness: float


def draw_development(rng: np.random.Generator) -> Development:
    """The paper's ranges: matrices mixed at random, red 1.9..2.4, blue 1.5..1.9, 1 / brightness about 0.8 +- 0.1."""
    weights = rng.uniform(1e-8, 1.0, len(_CAMERAS))
    camera_of_xyz = np.tensordot(weights / weights.sum(), _CAMERAS / 1e4, axes=1)
    matrix = camera_of_xyz @ SRGB_TO_XYZ
    inverse_gain = max(float(rng.normal(0.8, 0.1)), 0.3)  # a draw of five deviations is no camera
    return Development(
        matrix / matrix.sum(1, keepdims=True),
        red=float(rng.uniform(1.9, 2.4)),
        blue=float(rng.uniform(1.5, 1.9)),
        brightness=1 / inverse_gain,
    )


def unprocess(srgb: NDArray[Any], how: Development) -> NDArray[np.float32]:
    """An sRGB picture as clean packed RAW.

    Args:
        srgb: ``(H, W, 3)``, uint8, or float in 0..1; an odd last row or column is left out.

    Returns:
        ``(4, H/2, W/2)`` float32, R, G1, B, G2 of an RGGB mosaic, linear, 0..1.
    """
    linear = _linear(srgb) @ how.matrix.T.astype(np.float32)
    linear = np.clip(_without_gains(np.clip(linear, 0, 1), how), 0, 1)
    height, width = (side // 2 * 2 for side in linear.shape[:2])
    sites = zip(channel_sites("RGGB"), (0, 1, 2, 1), strict=True)
    planes = [linear[row:height:2, column:width:2, colour] for (row, column), colour in sites]
    return np.stack(planes).astype(np.float32, copy=False)


def process(packed: NDArray[np.float32], how: Development) -> NDArray[np.float32]:
    """The way back, for looking at results: ``(4, h, w)`` -> sRGB ``(h, w, 3)`` in 0..1, at half the size.

    Exact but for highlights, and for the mosaic: the two greens are averaged.
    """
    red, green, blue, second_green = np.clip(packed, 0, 1)
    camera = np.stack((red * how.red, (green + second_green) / 2, blue * how.blue), axis=2) * how.brightness
    linear = np.clip(camera, 0, 1) @ np.linalg.inv(how.matrix).T.astype(np.float32)
    return _tone(linear_to_srgb(np.clip(linear, 0, 1).astype(np.float32)))


def _linear(srgb: NDArray[Any]) -> NDArray[np.float32]:
    if srgb.dtype == np.uint8:
        return _LINEAR_OF_BYTE[srgb]
    return srgb_to_linear(_inverse_tone(np.clip(srgb, 0, 1).astype(np.float32)))


def _tone(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x * x * (3 - 2 * x)


def _inverse_tone(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the smoothstep 3 x^2 - 2 x^3 on 0..1."""
    return np.float32(0.5) - np.sin(np.arcsin(1 - 2 * y) / 3)


def _without_gains(camera: NDArray[np.float32], how: Development) -> NDArray[np.float32]:
    """Divides by the gains, but leaves what is near white nearly white: a sensor clips there (the paper's eq. 3)."""
    gains = np.array([1 / how.red, 1.0, 1 / how.blue], np.float32) / np.float32(how.brightness)
    bright = np.clip(camera.mean(axis=2, keepdims=True) - _BRIGHT, 0, None) / (1 - _BRIGHT)
    mask = bright**2
    return camera * np.maximum(mask + (1 - mask) * gains, gains)


_LINEAR_OF_BYTE = srgb_to_linear(_inverse_tone(np.linspace(0, 1, 256).astype(np.float32)))
