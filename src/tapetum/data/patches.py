"""Training patches: drawn from several sources by weight, each one a pure function of (seed, index).

Because sample ``i`` depends on nothing but the seed and ``i``, a stopped training goes on with exactly the samples it
would have seen, and any number of workers or ranks draws the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, Sampler

from tapetum.data import synthesis
from tapetum.data.augmentation import geometric
from tapetum.data.pairs import Pair
from tapetum.data.pictures import PictureStore

THUMBNAIL = 64
_SPARSE = 4  # the thumbnail of a synthesised picture is made from every fourth pixel: sixteen times less noise to draw


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Attributes:
        pairs: the pictures.
        weight: share of the samples, relative to the other sources.
        kind: "pairs" uses low and target as they are; "identity" shows the target and wants it back; "darken" makes
            the low from the target.
        noise: strength of synthetic noise put on the low (0: none).
        stops: range of the exposure taken away by "darken".
        shrink: largest factor by which pictures are shrunk first, 1 or 2 (drawn).
    """

    pairs: Sequence[Pair]
    weight: float = 1.0
    kind: Literal["pairs", "identity", "darken"] = "pairs"
    noise: float = 0.0
    stops: tuple[float, float] = (1.0, 5.0)
    shrink: int = 1


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Samples of ``{"low", "target": (3, P, P), "thumbnail": (3, 64, 64)}``, float32 sRGB in [0, 1].

    Args:
        sources: see :class:`Source`.
        patch: P, in pixels.
        seed: of everything that is drawn.
        length: number of samples.
        crop: the smallest share of a side that serves as "the whole picture" of a sample: a random window is what the
            thumbnail shows, so that brightness is not learnt by heart from few scenes (1: always the whole picture).
        geometry: draw one of the eight flips and rotations.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        patch: int,
        seed: int,
        length: int,
        crop: float = 1.0,
        geometry: bool = True,
    ) -> None:
        self.sources = list(sources)
        self.patch = patch
        self.seed = seed
        self.length = length
        self.crop = crop
        self.geometry = geometry
        weights = np.array([s.weight for s in self.sources], float)
        self._shares = weights / weights.sum()
        self._store = PictureStore()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        source = self.sources[rng.choice(len(self.sources), p=self._shares)]
        pair = source.pairs[rng.integers(len(source.pairs))]
        mode = int(rng.integers(8)) if self.geometry else 0
        names = ("low", "target", "thumbnail")
        return {name: _tensor(geometric(view, mode)) for name, view in zip(names, self._draw(source, pair, rng), strict=True)}

    def _draw(self, source: Source, pair: Pair, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        """(low, target, thumbnail), each (H, W, 3)."""
        target = self._store[pair.target]
        low = self._store[pair.low] if source.kind == "pairs" else target
        factor = int(rng.integers(1, source.shrink + 1)) if min(target.shape[:2]) >= source.shrink * self.patch else 1
        # the window that counts as the whole picture, and the patch inside it
        size = [max(int(round(n * rng.uniform(self.crop, 1.0))), factor * self.patch) for n in target.shape[:2]]
        size = [min(s, n) for s, n in zip(size, target.shape[:2], strict=True)]
        corner = [int(rng.integers(n - s + 1)) for s, n in zip(size, target.shape[:2], strict=True)]
        window = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
        low, target = low[window], target[window]
        side = [min(factor * self.patch, s) for s in size]
        start = [int(rng.integers(s - p + 1)) for s, p in zip(size, side, strict=True)]
        inside = tuple(slice(c, c + p) for c, p in zip(start, side, strict=True))
        wanted = _pad(_shrink(target[inside].astype(np.float32) / 255, factor), self.patch)

        exposure = Exposure.draw(source, rng)
        if exposure is None:
            shown = _pad(_shrink(low[inside].astype(np.float32) / 255, factor), self.patch)
            return shown, wanted, _thumbnail(low)
        part = (
            start[0] / size[0],
            start[1] / size[1],
            (start[0] + side[0]) / size[0],
            (start[1] + side[1]) / size[1],
        )
        shown = _pad(exposure(low[inside], rng, factor, part).astype(np.float32) / 255, self.patch)
        return shown, wanted, _thumbnail(exposure(np.ascontiguousarray(low[::_SPARSE, ::_SPARSE]), rng))


class IndexSampler(Sampler[int]):
    """Indices in order, from where a training stands; rank r of n takes every n-th.

    ``position`` is asked when an iteration begins. The length is that of the whole training, wherever it begins:
    Lightning counts the batches of before a resume itself.
    """

    def __init__(self, length: int, position: Callable[[], int], rank: int = 0, ranks: int = 1) -> None:
        self.length = length
        self.position = position
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.position() + self.rank, self.length, self.ranks))

    def __len__(self) -> int:
        return (self.length - self.rank + self.ranks - 1) // self.ranks


def whole_pictures(
    source: Source, pair: Pair, store: PictureStore, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(low, target) of a source, uncropped: ``(3, H, W)`` float32 in [0, 1]."""
    target = store[pair.target]
    low = store[pair.low] if source.kind == "pairs" else target
    exposure = Exposure.draw(source, rng)
    if exposure is not None:
        low = exposure(low, rng)
    return _tensor(low.astype(np.float32) / 255), _tensor(target.astype(np.float32) / 255)


@dataclass(frozen=True)
class Exposure:
    """How the low picture of one sample is synthesised: less light, noise, or both."""

    dark: synthesis.Darkening | None
    noise: synthesis.Noise | None

    @classmethod
    def draw(cls, source: Source, rng: np.random.Generator) -> Exposure | None:
        dark = synthesis.draw_darkening(rng, source.stops) if source.kind == "darken" else None
        noise = synthesis.draw_noise(rng, source.noise) if source.noise else None
        return None if dark is None and noise is None else cls(dark, noise)

    def __call__(
        self,
        picture: NDArray[np.uint8],
        rng: np.random.Generator,
        factor: int = 1,
        part: tuple[float, float, float, float] = (0, 0, 1, 1),
    ) -> NDArray[np.uint8]:
        """``part``: which part of the whole picture this is; see ``synthesis.darken``."""
        linear = _shrink(synthesis.LINEAR_OF_BYTE[picture], factor)
        if self.dark is not None:
            linear = synthesis.darken(linear, self.dark, part)
        if self.noise is not None:
            linear = synthesis.add_noise(linear, self.noise, rng)
        return synthesis.to_srgb_bytes(linear)


def _tensor(picture: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _shrink(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return picture
    height, width = (n // factor * factor for n in picture.shape[:2])
    blocks = picture[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    return blocks.mean((1, 3), dtype=np.float32)


def _pad(picture: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Mirrors at the bottom and right (edge included) up to ``size``, where a picture is smaller than the patch."""
    missing = [max(0, size - n) for n in picture.shape[:2]]
    if not any(missing):
        return picture
    return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    return F.adaptive_avg_pool2d(tensor, THUMBNAIL)[0].permute(1, 2, 0).numpy() / 255
