"""Dark, noisy pictures made from good ones, by the physics of a camera.

A photograph is taken to linear light, exposed shorter, and given photon noise (variance proportional to the signal),
read noise (constant variance) and sometimes the blotches that demosaicing makes of both; then it goes back to 8-bit
sRGB. Model of the noise: Foi et al., "Practical Poissonian-Gaussian noise modeling", TIP 2008. NumPy only; every random
number comes from the generator that is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapetum.imaging.colour import linear_to_srgb, srgb_to_linear

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Noise:
    """Noise of one exposure, in linear light where 1 is white.

    Attributes:
        shot: variance of the photon noise per unit of signal.
        read: standard deviation of the read noise.
        blotch: 0..1, how much of the noise is averaged over 2x2 pixels.
        chroma: standard deviation of a constant offset per channel (a wrong black level).
    """

    shot: float
    read: float
    blotch: float = 0.0
    chroma: float = 0.0


@dataclass(frozen=True)
class Darkening:
    """One way of exposing too short.

    Attributes:
        stops: exposure taken away, in powers of two (positive is darker).
        tint: factor per channel (white balance error).
        contrast: exponent on linear light (1: none), as a picture style has.
        falloff: 0..1, light lost at one border, a linear ramp in direction ``angle`` (radians).
        angle: see falloff.
    """

    stops: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    falloff: float = 0.0
    angle: float = 0.0


# 8-bit values go through a table: the power function is most of the time of a synthesis
LINEAR_OF_BYTE = srgb_to_linear(np.arange(256, dtype=np.float32) / np.float32(255))
_SRGB_STEPS = 4096
_SRGB_OF_ROOT = linear_to_srgb((np.arange(_SRGB_STEPS + 1, dtype=np.float32) / np.float32(_SRGB_STEPS)) ** 2)


def to_srgb_bytes(linear: Picture) -> NDArray[np.uint8]:
    """Linear light -> 8-bit sRGB, by a table over the square root (within half a level of the formula)."""
    index = np.sqrt(np.clip(linear, 0, 1)) * _SRGB_STEPS
    return np.rint(_SRGB_OF_ROOT[np.rint(index).astype(np.int32)] * 255).astype(np.uint8)


def draw_noise(rng: np.random.Generator, strength: float = 1.0) -> Noise:
    """Noise between a good camera at ISO 400 and a telephone in the dark; ``strength`` scales standard deviations."""
    return Noise(
        shot=float(10 ** rng.uniform(-4.3, -2.7)) * strength**2,
        read=float(10 ** rng.uniform(-3.6, -2.2)) * strength,
        blotch=float(rng.choice([0.0, rng.uniform(0.2, 0.9)])),
        chroma=float(10 ** rng.uniform(-4.5, -3.0)) * strength,
    )


def draw_darkening(rng: np.random.Generator, stops: tuple[float, float]) -> Darkening:
    tint = np.exp(rng.normal(0, 0.06, 3))
    return Darkening(
        stops=float(rng.uniform(*stops)),
        tint=tuple(float(t) for t in tint / tint.mean()),  # type: ignore[arg-type]
        contrast=float(np.exp(rng.normal(0, 0.08))),
        falloff=float(rng.choice([0.0, rng.uniform(0, 0.7)])),
        angle=float(rng.uniform(0, 2 * np.pi)),
    )


def draw_low_key(rng: np.random.Generator, strength: float) -> Darkening:
    """Deep shadows beside untouched whites: contrast up to ``1 + strength``, half of the draws lit from one side."""
    return Darkening(
        stops=0.0,
        contrast=float(rng.uniform(1, 1 + strength)),
        falloff=float(rng.choice([0.0, rng.uniform(0.5, 1.0)])),
        angle=float(rng.uniform(0, 2 * np.pi)),
    )


def darken(linear: Picture, how: Darkening, window: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Picture:
    """Less light on a linear picture ``(H, W, 3)``.

    ``window``: which part of the whole picture this is (top, left, bottom, right in 0..1), so that the ramp of a crop
    and of a thumbnail agree.
    """
    out = linear**how.contrast if how.contrast != 1 else linear
    out = out * (np.float32(2.0**-how.stops) * np.asarray(how.tint, np.float32))
    if how.falloff:
        height, width = linear.shape[:2]
        top, left, bottom, right = window
        y = np.linspace(top, bottom, height, dtype=np.float32)[:, None] - 0.5
        x = np.linspace(left, right, width, dtype=np.float32)[None] - 0.5
        ramp = 0.5 + (x * np.cos(how.angle) + y * np.sin(how.angle)) / np.sqrt(2.0)
        out = out * (1 - how.falloff * ramp.astype(np.float32))[..., None]
    return out.astype(np.float32)


def add_noise(linear: Picture, how: Noise, rng: np.random.Generator) -> Picture:
    """Noise on a linear picture ``(H, W, 3)``; the result may be negative, as a sensor's values may."""
    sigma = np.sqrt(how.shot * np.maximum(linear, 0) + how.read**2)
    grain = rng.standard_normal(linear.shape, dtype=np.float32)
    if how.blotch:
        # the mean of four neighbours has half the deviation: scaled back up, so that blotch changes the grain alone
        smooth = grain + np.roll(grain, 1, 0)
        smooth = (smooth + np.roll(smooth, 1, 1)) / 2
        grain = (1 - how.blotch) * grain + how.blotch * smooth
    offset = rng.standard_normal(3, dtype=np.float32) * np.float32(how.chroma)
    return linear + sigma * grain + offset
