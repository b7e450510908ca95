"""A camera's noise from its owner's own frames: the gain from flat frames, the rest from bias frames.

Flat frames: an even, unsharp, bright surface (a grey card, a sheet over the lens), at least two of each exposure, not
clipped. Bias frames: the lens cap on, the shortest exposure, at least two. Both at each ISO speed of interest.

* Gain: photon transfer (Janesick). The variance of half the difference of two frames rises by K for each digital number
  of light; fixed patterns and vignetting cancel. Measured in small blocks, weighted by how well each is known.
* Read noise, row noise and Tukey's lambda: as in Wei et al., CVPR 2020 (ELD), section 4: row noise from the means of
  rows, lambda by the largest probability plot correlation (Filliben 1975), scales from the variance that is left.
* Joint law: a straight line through (log K, log scale) over the ISO speeds.

NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapetum.data.raw_noise.cameras import CameraNoise, Measurement, Scale
from tapetum.data.raw_noise.tukey import tukey_variance
from tapetum.errors import InputError

_BLOCK = 32  # side of the blocks whose mean and variance are compared, packed pixels
_CLIPPED = 0.9  # share of white that no block of a flat may reach
_SHAPES = (-0.45, 0.6)  # where lambda is looked for; below -1/2 there is no variance
_SAMPLES = 1 << 18
_QUANTISATION = 1 / 12  # variance of rounding to whole numbers
_LEAST = 1e-3  # DN: no scale is taken for smaller than that
_SURE = 3.0  # standard errors that row noise must be away from none
_HIDDEN = 0.15  # DN^2: bias frames of integers with less variance than that show their rounding, not their noise
_CUT_OFF = 1e-3  # share of a bias frame's samples that may be 0
_UNLIKE = 0.1  # by which two flats of one exposure may differ in brightness

Packed = NDArray[np.floating]


@dataclass(frozen=True)
class Frame:
    """One frame: packed digital numbers ``(4, h, w)`` (R, G1, B, G2), as they come from the sensor.

    ``name`` stands in error texts; ``white`` is the level of saturation.
    """

    name: str
    numbers: NDArray[np.generic]
    white: float
    iso: float
    exposure_time: float | None = None


def calibrate(
    name: str,
    flats: Sequence[Frame],
    biases: Sequence[Frame],
    models: Iterable[str] = (),
    progress: Callable[[float], None] | None = None,
) -> CameraNoise:
    """The card of a camera.

    Args:
        name: of the card.
        flats, biases: of all ISO speeds, see above.
        models: names that the camera's files have in their EXIF data.
        progress: told each ISO speed that is done.

    Raises:
        InputError: an ISO speed without bias frames, without two flats of one exposure, with clipped, dark or unlike
            flats, with bias frames that are cut off at 0 or show nothing but rounding; or frames that differ in size.
    """
    speeds = sorted({frame.iso for frame in flats})
    if not speeds:
        raise InputError("no flat frame to calibrate with")
    _check_sizes([*flats, *biases])
    measured = []
    for iso in speeds:
        measured.append(measure([f for f in flats if f.iso == iso], [f for f in biases if f.iso == iso], iso))
        if progress is not None:
            progress(iso)
    return CameraNoise(
        name=name,
        gain=tuple((m.iso, m.gain) for m in measured),
        gaussian=fit_scale([(m.gain, m.gaussian) for m in measured]),
        tukey=fit_scale([(m.gain, m.tukey) for m in measured]),
        row=fit_scale([(m.gain, m.row) for m in measured]),
        shapes=tuple(m.shape for m in measured),
        models=tuple(models),
        measured=tuple(measured),
    )


def measure(flats: Sequence[Frame], biases: Sequence[Frame], iso: float) -> Measurement:
    """All of one ISO speed. Raises InputError: see :func:`calibrate`."""
    if len(biases) < 2:
        given = f"{len(biases)} bias frame" + ("" if len(biases) == 1 else "s")
        raise InputError(
            f"ISO {iso:g}: {given}, needs at least 2 (lens cap on, shortest exposure; --bias takes a folder, or is "
            "given for each file)"
        )
    _check_biases(biases)
    black = np.mean([frame.numbers.mean((1, 2), dtype=np.float64) for frame in biases], axis=0).astype(np.float32)
    dark = [frame.numbers.astype(np.float32) - black[:, None, None] for frame in biases]
    pairs = list(zip(dark[::2], dark[1::2], strict=False))
    pixel_variance = float(np.mean([_pixel_variance(a - b) for a, b in pairs]))
    row_variance = _row_variance(dark, pixel_variance / (2 * dark[0].shape[2]))
    whole_variance = float(np.mean([_blocks(a - b).var((2, 3), ddof=1).mean() / 2 for a, b in pairs]))
    gain = _gain(flats, black, whole_variance, iso)
    if np.issubdtype(biases[0].numbers.dtype, np.integer):
        if pixel_variance < _HIDDEN:
            raise InputError(
                f"ISO {iso:g}: rounding to whole numbers hides the noise of its bias frames, leave this speed out"
            )
        pixel_variance -= _QUANTISATION
    shape = float(np.median([tukey_shape(_without_rows(frame).ravel()) for frame in dark[:4]]))
    return Measurement(
        iso=float(iso),
        gain=gain,
        gaussian=_scale(pixel_variance + row_variance),
        tukey=_scale(pixel_variance / tukey_variance(shape)),
        shape=shape,
        row=_scale(row_variance),
    )


def fit_scale(points: Sequence[tuple[float, float]]) -> Scale:
    """The line through (log gain, log scale); with one point a constant, with two nothing is known of the scatter.

    Scales too small to be measured say nothing of the line: where half of them are, that is what the camera has.
    """
    known = [point for point in points if point[1] > _LEAST]
    if 2 * len(known) <= len(points):
        return Scale(0.0, math.log(_LEAST), 0.0)
    points = known
    gains, scales = np.log(np.array(points, np.float64)).T
    if len(points) == 1 or np.ptp(gains) == 0:
        return Scale(0.0, float(scales.mean()), 0.0)
    slope, bias = np.polyfit(gains, scales, 1)
    residuals = scales - (slope * gains + bias)
    free = len(points) - 2
    return Scale(float(slope), float(bias), float(math.sqrt((residuals**2).sum() / free)) if free else 0.0)


def tukey_shape(samples: NDArray[np.floating], seed: int = 0) -> float:
    """Tukey's lambda of the samples: where the probability plot is straightest."""
    if len(samples) > _SAMPLES:
        samples = np.random.default_rng(seed).choice(samples, _SAMPLES, replace=False)
    ordered = np.sort(samples.astype(np.float64))
    count = len(ordered)
    middle = (np.arange(1, count + 1) - 0.3175) / (count + 0.365)  # Filliben's order statistic medians
    ordered -= ordered.mean()
    low, high = np.log(middle), np.log1p(-middle)

    def bend(shape: float) -> float:
        quantiles = _quantiles(low, high, shape)  # symmetric: their mean is 0
        return -float(ordered @ quantiles / np.sqrt(quantiles @ quantiles))

    grid = np.linspace(*_SHAPES, 22)
    best = int(np.argmin([bend(shape) for shape in grid]))
    return _golden(bend, grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)])


def _gain(flats: Sequence[Frame], black: Packed, whole_variance: float, iso: float) -> float:
    """K by weighted least squares through (mean, variance) of all blocks of all pairs, from the bias frames' on."""
    means, variances = [], []
    for a, b in _flat_pairs(flats, iso):
        first, second = (frame.numbers.astype(np.float32) - black[:, None, None] for frame in (a, b))
        light = [float(frame.mean()) for frame in (first, second)]
        if min(light) < 5 * math.sqrt(whole_variance):
            raise InputError(
                f"{a.name}: as dark as a bias frame; a flat frame shows an evenly lit surface (bias frames are given "
                "by --bias, a folder or each by its own)"
            )
        if abs(light[0] / light[1] - 1) > _UNLIKE:
            raise InputError(
                f"{b.name}: is {light[1] / light[0]:.2f} times as bright as {a.name} of the same exposure time: take "
                "both by the same light and aperture"
            )
        second *= light[0] / light[1]  # lamps and shutters vary
        block_means = _blocks((first + second) / 2).mean((2, 3))
        block_variances = _blocks(first - second).var((2, 3), ddof=1) / 2
        room = _CLIPPED * (a.white - black)[:, None]
        open_blocks = block_means < room
        means.append(block_means[open_blocks])
        variances.append(block_variances[open_blocks])
    mean, variance = np.concatenate(means), np.concatenate(variances)
    if len(mean) < 16:
        raise InputError(f"ISO {iso:g}: its flat frames are clipped: expose them to about half of white")
    gain = float(((variance - whole_variance) * mean).sum() / (mean**2).sum())
    for _ in range(3):
        weight = 1 / np.maximum(gain * mean + whole_variance, 1e-6) ** 2
        gain = float((weight * (variance - whole_variance) * mean).sum() / (weight * mean**2).sum())
    if not (math.isfinite(gain) and gain > 0):
        raise InputError(f"ISO {iso:g}: its flat frames are not noisier than its bias frames: no gain can be told")
    return gain


def _flat_pairs(flats: Sequence[Frame], iso: float) -> list[tuple[Frame, Frame]]:
    """Frames of one exposure, two by two."""
    exposures: dict[float | None, list[Frame]] = {}
    for frame in flats:
        exposures.setdefault(frame.exposure_time, []).append(frame)
    pairs = [pair for frames in exposures.values() for pair in zip(frames[::2], frames[1::2], strict=False)]
    if not pairs:
        raise InputError(f"ISO {iso:g}: needs at least 2 flat frames of the same exposure, taken one after the other")
    return pairs


def _blocks(packed: Packed) -> Packed:
    """``(4, N, B, B)``: what does not fill a block at the bottom and right is left out."""
    down, across = (size // _BLOCK for size in packed.shape[1:])
    cut = packed[:, : down * _BLOCK, : across * _BLOCK].reshape(4, down, _BLOCK, across, _BLOCK)
    return cut.swapaxes(2, 3).reshape(4, down * across, _BLOCK, _BLOCK)


def _rows(packed: Packed) -> Packed:
    """Means of the mosaic's rows, ``(2, h)``: R and G1 share a row, B and G2 the next."""
    return np.stack([packed[:2].mean((0, 2)), packed[2:].mean((0, 2))])


def _without_rows(packed: Packed) -> Packed:
    """Without what a row shares, and what a column of each colour shares."""
    rows = np.repeat(_rows(packed), 2, axis=0)[:, :, None]
    flat = packed - rows
    return flat - flat.mean(axis=1, keepdims=True)


def _pixel_variance(difference: Packed) -> float:
    """Of one frame without its rows, from the difference of two."""
    width = 2 * difference.shape[2]
    rows = np.repeat(_rows(difference), 2, axis=0)[:, :, None]
    return float((difference - rows).var(dtype=np.float64)) / 2 * width / (width - 1)


def _row_variance(dark: Sequence[Packed], by_pixels: float) -> float:
    """Variance that rows have in common, beyond ``by_pixels``, that of means of independent pixels; 0 where chance
    would do as well. What all frames share is a fixed pattern, not noise.
    """
    rows = np.stack([_rows(frame) for frame in dark])
    rows -= rows.mean(axis=2, keepdims=True)  # the frame's own level
    count, height = rows.shape[0], rows.shape[2]
    variance = float((rows - rows.mean(axis=0)).var()) * count / (count - 1) * height / (height - 1)
    uncertainty = variance * math.sqrt(2 / (2 * (count - 1) * (height - 1)))
    return variance - by_pixels if variance - by_pixels > _SURE * uncertainty else 0.0


def _scale(variance: float) -> float:
    return math.sqrt(max(variance, _LEAST**2))


def _quantiles(low: NDArray[np.float64], high: NDArray[np.float64], shape: float) -> NDArray[np.float64]:
    """From the logarithms of p and 1 - p."""
    if abs(shape) < 1e-9:
        return low - high
    return (np.expm1(shape * low) - np.expm1(shape * high)) / shape


def _golden(function: Callable[[float], float], low: float, high: float) -> float:
    """Minimum between two places, to 1e-4, by golden sections."""
    share = (math.sqrt(5) - 1) / 2
    a, b = high - share * (high - low), low + share * (high - low)
    at_a, at_b = function(a), function(b)
    while high - low > 1e-4:
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - share * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + share * (high - low)
            at_b = function(b)
    return (low + high) / 2


def _check_biases(biases: Sequence[Frame]) -> None:
    """Cameras that subtract black themselves leave half of the noise: no read noise can be told from that."""
    for frame in biases:
        cut = float(np.mean(np.equal(frame.numbers, 0)))
        if cut > _CUT_OFF:
            raise InputError(
                f"{frame.name}: {cut:.1%} of its samples are 0: this camera cuts its noise off at black, so that its "
                "read noise cannot be measured"
            )


def _check_sizes(frames: Sequence[Frame]) -> None:
    for frame in frames:
        if frame.numbers.shape != frames[0].numbers.shape:
            sizes = ["x".join(map(str, f.numbers.shape[1:])) for f in (frame, frames[0])]
            raise InputError(f"{frame.name}: is {sizes[0]} (packed), {frames[0].name} {sizes[1]}: one camera, one mode")
    least = 2 * _BLOCK  # four blocks of each colour
    if frames and min(frames[0].numbers.shape[1:]) < least:
        raise InputError(f"{frames[0].name}: too small to be measured, needs {least}x{least} packed pixels")
