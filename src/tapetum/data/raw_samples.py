"""Training samples for RAW networks, each a pure function of (seed, index) as in ``patches.py``.

A sample is ``{"low", "target": (4, P, P), "ratio", "gain": ()}``, float32: the low is amplified by the ratio and
clipped to 0..1, the gain is K in digital numbers per electron. Three kinds of sources: sRGB photographs, unprocessed
and given noise; clean RAW (long exposures), given noise; real pairs of a short and a long exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tapetum.data.augmentation import shrink_factor
from tapetum.data.pictures import PictureStore, load_rgb
from tapetum.data.raw_cache import RawCache, RawFrame
from tapetum.data.raw_noise.cameras import CameraNoise
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import (
    GAINS,
    RATIOS,
    GeneratorDraws,
    add_noise,
    draw_parameters,
)
from tapetum.data.raw_noise.scale import SATURATION, gain_for
from tapetum.data.raw_sets import RawPair, ratio_of_shots
from tapetum.data.unprocessing import draw_development, unprocess
from tapetum.errors import InputError
from tapetum.imaging.header import picture_size
from tapetum.ops.random import poisson_of_normal

VALIDATION_SIDE = 512
"""Of the centre crop, in packed pixels, that RAW pictures are validated with, as published."""
_LEAST_RATIO = 100.0  # that "lengthen" goes down to


@dataclass(frozen=True)
class SyntheticNoise:
    """How lows are made from clean pictures.

    Attributes:
        gain: range of K; None: what the camera's card covers.
        in_stops: see :func:`tapetum.data.raw_noise.model.draw_parameters`.
    """

    model: NoiseModel
    cameras: Sequence[CameraNoise]
    ratio: tuple[float, float] = RATIOS
    gain: tuple[float, float] | None = GAINS
    in_stops: bool = False


@dataclass(frozen=True)
class RealNoise:
    """Real pairs: the gain follows from the ISO speed of the short exposure.

    Attributes:
        camera: of pairs that do not say theirs.
        lengthen: the short exposure is made longer by a random amount, with drawn photons (option ``syn_noise``).
    """

    camera: CameraNoise
    by_name: dict[str, CameraNoise]
    lengthen: bool = False


@dataclass(frozen=True)
class RawSource:
    """Where RAW samples come from.

    Attributes:
        pictures: sRGB files to unprocess, or RAW pairs, whose target alone is used where the noise is synthetic.
        weight: share of the samples.
        stride: corners of patches lie on a centred grid of this step; with the patch's size that is the published
            store.
        shrink: sRGB pictures are shrunk first by a factor drawn from 1 to this, at most what leaves room for a patch.
    """

    pictures: Sequence[Path] | Sequence[RawPair]
    noise: SyntheticNoise | RealNoise
    cache: RawCache
    weight: float = 1.0
    stride: int = 1
    shrink: int = 1

    def check(self, patch: int | None) -> None:
        """Raises InputError: a picture is smaller than a patch, or a pair's pictures differ in size."""
        for item in self.pictures:
            if isinstance(item, Path):
                width, height = picture_size(item)
                size, unit = (height // 2, width // 2), " (half of its pixels, as RAW is packed)"
                where = item
            else:
                frame, unit, where = self.cache.get(item.target), " packed", item.target
                size = frame.size
                if isinstance(self.noise, RealNoise) and self.cache.get(item.low).size != size:
                    other = "x".join(map(str, self.cache.get(item.low).size))
                    raise InputError(f"{item.low}: is {other}, its long exposure {item.target} {size[0]}x{size[1]}")
            if patch and min(size) < patch:
                raise InputError(f"{where}: is {size[0]}x{size[1]}{unit}, too small for patches of {patch}")


class RawDataset(Dataset[dict[str, Tensor]]):
    """Samples of the module's form.

    Args:
        patch: P in packed pixels; None: whole pictures.
        seed: of everything that is drawn.
        length: number of samples.
        memory: bytes of decoded pictures that are kept, in each process that reads.
        colours: how often the three channels of a photograph are exchanged (a probability), before it is unprocessed.
    """

    def __init__(
        self,
        sources: Sequence[RawSource],
        patch: int | None,
        seed: int,
        length: int,
        memory: int = 10**9,
        colours: float = 0.0,
    ) -> None:
        self.sources = list(sources)
        self.patch = patch
        self.seed = seed
        self.length = length
        self.colours = colours
        weights = np.array([source.weight for source in self.sources], float)
        self._shares = weights / weights.sum()
        self._store = PictureStore(memory)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        source = self.sources[int(rng.choice(len(self.sources), p=self._shares))]
        item = source.pictures[int(rng.integers(len(source.pictures)))]
        sample = draw_sample(source, item, self._store, rng, self.patch, self.colours)
        flips = [bool(bit) for bit in rng.integers(2, size=3)]
        return {name: turn(view, *flips) if view.ndim else view for name, view in sample.items()}


def draw_sample(
    source: RawSource,
    item: Path | RawPair,
    store: PictureStore,
    rng: np.random.Generator,
    patch: int | None,
    colours: float = 0.0,
) -> dict[str, Tensor]:
    """One sample before it is turned; ``patch`` None: the whole picture."""
    if isinstance(item, Path):
        clean = _unprocessed(store.get(item, load_rgb), rng, patch, source.shrink, colours)
        return _noisy(clean, source.noise, rng)
    frame = source.cache.get(item.target)
    rows, columns = _place(frame.size, patch, source.stride, rng)
    target = as_stored(frame.part(rows, columns))
    if isinstance(source.noise, SyntheticNoise):
        return _noisy(target, source.noise, rng)
    return _real(source.noise, item, source.cache.get(item.low), frame, (rows, columns), target, rng)


def ratio_and_gain(pair: RawPair, short: RawFrame, long: RawFrame, camera: CameraNoise) -> tuple[float, float]:
    """Amplification of a pair's short exposure, and the gain (K) by which the process counts its photons.

    Raises:
        InputError: pictures of other sizes or white levels, or files that do not say how they were taken.
    """
    if short.size != long.size:
        sizes = ["x".join(map(str, frame.size)) for frame in (short, long)]
        raise InputError(f"{pair.low}: is {sizes[0]} packed, its long exposure {pair.target} {sizes[1]}")
    if short.white != long.white:
        raise InputError(f"{pair.low}: its white level differs from its long exposure's")
    shots = [(frame.facts.iso, frame.facts.exposure_time) for frame in (short, long)]
    ratio = pair.ratio if pair.ratio is not None else ratio_of_shots(shots[0], shots[1], pair.low)
    if short.facts.iso is None:
        raise InputError(f"{pair.low}: its EXIF data do not tell the ISO speed, which the gain follows from")
    return ratio, gain_for(camera.gain_at(short.facts.iso), float(np.mean(short.facts.black)), short.white)


def centred(item: dict[str, Tensor], side: int) -> dict[str, Tensor]:
    """The centre of a sample's pictures, at most ``side`` packed pixels a side."""

    def cut(view: Tensor) -> Tensor:
        height, width = view.shape[1:]
        top, left = max(0, height // 2 - side // 2), max(0, width // 2 - side // 2)
        return view[:, top : top + side, left : left + side].contiguous()

    return {name: cut(view) if view.ndim else view for name, view in item.items()}


def turn(packed: Tensor, flip_rows: bool, flip_columns: bool, transpose: bool) -> Tensor:
    """The published augmentation of ``(..., H, W)``, in this order; channels stay where they are."""
    dims = [dim for dim, flip in ((-2, flip_rows), (-1, flip_columns)) if flip]
    turned = packed.flip(dims) if dims else packed
    return (turned.transpose(-2, -1) if transpose else turned).contiguous()


def as_stored(packed: NDArray[np.float32]) -> NDArray[np.float32]:
    """In the 16 bits of the published patch stores: clipped to 0..1, cut down to a multiple of 1/65535."""
    levels = np.floor(np.clip(packed, 0, 1) * np.float32(65535))
    return np.divide(levels, 65535, dtype=np.float32)


def patches_of(packed: NDArray[np.float32], patch: int) -> list[NDArray[np.float32]]:
    """The published store's patches: side by side in the largest centred area that holds whole ones, row by row."""
    tops, lefts = (_grid(size, patch, patch) for size in packed.shape[1:])
    stored = as_stored(packed)
    return [stored[:, top : top + patch, left : left + patch] for top in tops for left in lefts]


def lengthened(
    low: Tensor, target: Tensor, ratio: float, gain: float, inverse_ratio: float, poisson: Callable[[Tensor], Tensor]
) -> tuple[Tensor, float]:
    """A real short exposure made longer by drawn photons: the published option ``syn_noise``.

    Args:
        low, target: ``(4, H, W)``, the low amplified by ``ratio``; the photons added are the target's.
        inverse_ratio: one over the new ratio, from 1 / ``ratio`` up.
        poisson: counts of means.

    Returns:
        The new low, not clipped, and the new ratio (the published program keeps the old one by mistake).
    """
    scale, new = SATURATION / (ratio * gain), 1 / inverse_ratio
    more = poisson(target * (scale * (ratio / new - 1)))
    return (low * scale + more) * (gain * new / SATURATION), new


def _unprocessed(
    picture: NDArray[np.uint8], rng: np.random.Generator, patch: int | None, shrink: int, colours: float
) -> NDArray[np.float32]:
    side = 2 * patch if patch else None
    factor = shrink_factor(shrink, picture.shape[:2], side or 2, rng)
    sizes = picture.shape[0], picture.shape[1]
    rows, columns = _place(sizes, side and factor * side, 1, rng)
    window: NDArray[Any] = picture[rows, columns]
    if factor > 1:
        height, width = (n // factor for n in window.shape[:2])
        blocks = window[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
        window = blocks.mean((1, 3), dtype=np.float32) / np.float32(255)
    if colours and rng.random() < colours:
        window = window[..., rng.permutation(3)]
    return unprocess(window, draw_development(rng))


def _noisy(
    clean: NDArray[np.float32], noise: SyntheticNoise | RealNoise, rng: np.random.Generator
) -> dict[str, Tensor]:
    assert isinstance(noise, SyntheticNoise)  # what has no short exposure of its own
    parameters = draw_parameters(noise.cameras, rng, noise.ratio, noise.gain, noise.in_stops)
    target = torch.from_numpy(clean)
    low = add_noise(target, noise.model, parameters, GeneratorDraws(_generator(rng)))
    return _sample(low, target, float(parameters.ratio), float(parameters.gain))


def _real(
    noise: RealNoise,
    pair: RawPair,
    short: RawFrame,
    long: RawFrame,
    place: tuple[slice, slice],
    target: NDArray[np.float32],
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    ratio, gain = ratio_and_gain(pair, short, long, noise.by_name.get(pair.camera, noise.camera))
    low, clean = torch.from_numpy(np.clip(short.part(*place) * np.float32(ratio), 0, 1)), torch.from_numpy(target)
    if noise.lengthen and ratio > _LEAST_RATIO:
        inverse = float(rng.uniform(1 / ratio, 1 / _LEAST_RATIO))
        normal = torch.randn(low.shape, generator=_generator(rng))
        low, ratio = lengthened(low, clean, ratio, gain, inverse, lambda mean: poisson_of_normal(mean, normal))
    return _sample(low, clean, ratio, gain)


def _sample(low: Tensor, target: Tensor, ratio: float, gain: float) -> dict[str, Tensor]:
    return {"low": low.clamp(0, 1), "target": target, "ratio": torch.tensor(ratio), "gain": torch.tensor(gain)}


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def _place(size: tuple[int, int], patch: int | None, stride: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """A patch's rows and columns, or all."""
    if patch is None:
        return slice(None), slice(None)
    grids = (_grid(side, patch, stride) for side in size)
    top, left = (corners[int(rng.integers(len(corners)))] for corners in grids)
    return slice(top, top + patch), slice(left, left + patch)


def _grid(side: int, patch: int, stride: int) -> range:
    """Corners of patches every ``stride`` pixels, the area that they cover centred."""
    covered = (side - patch) // stride * stride + patch
    first = side // 2 - covered // 2
    return range(first, first + covered - patch + 1, stride)
