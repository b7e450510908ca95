"""Dark, noisy or backlit pictures made from good ones, by the physics of a camera.

A photograph is taken to linear light, exposed shorter, and given photon noise (variance proportional to the signal),
read noise (constant variance) and sometimes the blotches that demosaicing makes of both; then it goes back to 8-bit
sRGB. Model of the noise: Foi et al., "Practical Poissonian-Gaussian noise modeling", TIP 2008. NumPy only; every random
number comes from the generator that is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapetum.imaging.colour import linear_to_srgb, luminance, srgb_to_linear

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


@dataclass(frozen=True)
class Backlight:
    """Light from behind: a subject in its own shadow before a background that is exposed fully, or more.

    The shadow is an ellipse with a wavy outline, in coordinates of 0..1 over the whole picture, from which bright
    pixels are taken away: what is bright in a good picture is more often sky or window than subject.

    Attributes:
        stops: exposure that the shadow loses, in powers of two.
        gain: exposure that the background gains, in powers of two; what exceeds white is clipped.
        centre, radii: of the ellipse: (row, column).
        waves: of its outline, each (cycles down, cycles across, phase, amplitude).
        by_light: how much bright pixels count as background; 0: the outline alone decides.
        softness: width of the shadow's edge; an ellipse's radius is 1.
        veil: light that lens and air scatter into the shadow, linear.
    """

    stops: float
    gain: float = 0.0
    centre: tuple[float, float] = (0.5, 0.5)
    radii: tuple[float, float] = (0.5, 0.5)
    waves: tuple[tuple[float, float, float, float], ...] = ()
    by_light: float = 0.0
    softness: float = 0.1
    veil: float = 0.0


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


def draw_backlight(rng: np.random.Generator, stops: tuple[float, float]) -> Backlight:
    """Subjects that fill between a sixth and nearly all of a picture, more often low in it than high."""
    waves = rng.uniform((-2.5, -2.5, 0, 0), (2.5, 2.5, 2 * np.pi, 0.25), (3, 4))
    return Backlight(
        stops=float(rng.uniform(*stops)),
        gain=float(rng.uniform(0, 0.6)),
        centre=(float(rng.uniform(0.4, 0.9)), float(rng.uniform(0.2, 0.8))),
        radii=(float(rng.uniform(0.4, 1.1)), float(rng.uniform(0.35, 0.9))),
        waves=tuple(tuple(float(number) for number in wave) for wave in waves),  # type: ignore[arg-type]
        by_light=float(rng.uniform(0.3, 1.8)),
        softness=float(rng.uniform(0.05, 0.3)),
        veil=float(10 ** rng.uniform(-4, -2.2)),
    )


def darken(linear: Picture, how: Darkening, window: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Picture:
    """Less light on a linear picture ``(H, W, 3)``.

    ``window``: which part of the whole picture this is (top, left, bottom, right in 0..1), so that the ramp of a crop
    and of a thumbnail agree.
    """
    out = linear**how.contrast if how.contrast != 1 else linear
    out = out * (np.float32(2.0**-how.stops) * np.asarray(how.tint, np.float32))
    if how.falloff:
        y, x = _coordinates(linear, window)
        y, x = y - 0.5, x - 0.5
        ramp = 0.5 + (x * np.cos(how.angle) + y * np.sin(how.angle)) / np.sqrt(2.0)
        out = out * (1 - how.falloff * ramp.astype(np.float32))[..., None]
    return out.astype(np.float32)


def backlight(linear: Picture, how: Backlight, window: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Picture:
    """A linear picture ``(H, W, 3)`` with light from behind; ``window`` as for :func:`darken`."""
    shade = _shade(linear, how, window)[..., None]
    return (linear * np.exp2(how.gain - (how.stops + how.gain) * shade) + how.veil * shade).astype(np.float32)


def _shade(linear: Picture, how: Backlight, window: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """``(H, W)``: 1 in the shadow, 0 in the background."""
    y, x = _coordinates(linear, window)
    field = 1 - ((y - how.centre[0]) / how.radii[0]) ** 2 - ((x - how.centre[1]) / how.radii[1]) ** 2
    for down, across, phase, amplitude in how.waves:
        field = field + amplitude * np.cos(2 * np.pi * (down * y + across * x) + phase)
    if how.by_light:
        field = field - how.by_light * (2 * np.sqrt(np.maximum(luminance(linear), 0)) - 1)
    return (0.5 + 0.5 * np.tanh(field / (2 * how.softness))).astype(np.float32)


def _coordinates(
    linear: Picture, window: tuple[float, float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows ``(H, 1)`` and columns ``(1, W)`` in 0..1 of the whole picture."""
    height, width = linear.shape[:2]
    top, left, bottom, right = window
    y = np.linspace(top, bottom, height, dtype=np.float32)[:, None]
    return y, np.linspace(left, right, width, dtype=np.float32)[None]


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
