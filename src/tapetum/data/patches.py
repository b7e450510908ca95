"""Training patches: drawn from several sources by weight, each one a pure function of (seed, index).

Because sample ``i`` depends on nothing but the seed and ``i``, a stopped training goes on with exactly the samples it
would have seen, and any number of workers or ranks draws the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, Sampler

from tapetum.data import synthesis
from tapetum.data.augmentation import flips, geometric, pad_to, shrink_factor
from tapetum.data.drawing import Drawn
from tapetum.data.pairs import Pair
from tapetum.data.pictures import PictureStore, Reader, load_rgb
from tapetum.imaging.colour import srgb_to_linear

_SPARSE = 4  # the thumbnail of a synthesised picture is made from every fourth pixel: sixteen times less noise to draw


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Attributes:
        pairs: the pictures, or something that draws two of them for each sample.
        weight: share of the samples, relative to the other sources.
        kind: "pairs" uses low and target as they are; "identity" shows the target and wants it back; "darken" makes
            the low from the target, "backlight" does so with light from behind; "unpaired" cuts low and target from
            different places, because they show different scenes.
        noise: strength of synthetic noise put on the low (0: none).
        stops: range of the exposure taken away by "darken", and from the shadow by "backlight".
        gain: the low's exposure is varied by up to so many stops to both sides; its target stays.
        low_key: "identity" only: contrast is raised by an exponent of up to ``1 + low_key`` on linear light, whites
            kept, and half of the pictures lose light towards one border, because pictures with large deep shadows are
            to stay as they are, too.
        shrink: largest whole factor by which pictures are shrunk first (drawn), at most what leaves room for a patch.
        stride: corners of patches are multiples of this: the toolbox's sliding window, its windows drawn.
        read: how a file is read: ``(H, W, 3)`` RGB, uint8 or float32 in [0, 1].
        turns: draw one of all eight flips and rotations; else flips only.
    """

    pairs: Sequence[Pair] | Drawn
    weight: float = 1.0
    kind: Literal["pairs", "identity", "darken", "backlight", "unpaired"] = "pairs"
    noise: float = 0.0
    stops: tuple[float, float] = (1.0, 5.0)
    gain: float = 0.0
    low_key: float = 0.0
    shrink: int = 1
    stride: int = 1
    read: Reader = load_rgb
    turns: bool = True


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Samples of ``{"low", "target": (3, P, P), "thumbnail": (3, T, T)}``, float32 sRGB in [0, 1].

    Args:
        sources: see :class:`Source`.
        patch: P, in pixels; None: whole pictures (all must be of one size, or the batch be one). An index
            ``(i, P)`` of :class:`ProgressiveSampler` has another for sample i.
        seed: of everything that is drawn.
        length: number of samples.
        crop: the smallest share of a side that serves as "the whole picture" of a sample: a random window is what the
            thumbnail shows, so that brightness is not learnt by heart from few scenes (1: always the whole picture).
        thumbnail: T; 0: none.
        geometry: flip and turn.
        colours: how often the three channels are exchanged (a probability): more colours than the pictures have.
        memory: bytes of decoded pictures that are kept, in each process that reads.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        patch: int | None,
        seed: int,
        length: int,
        crop: float = 1.0,
        thumbnail: int = 0,
        geometry: bool = True,
        colours: float = 0.0,
        memory: int = 10**9,
    ) -> None:
        self.sources = list(sources)
        self.patch = patch
        self.seed = seed
        self.length = length
        self.crop = crop
        self.thumbnail = thumbnail
        self.geometry = geometry
        self.colours = colours
        weights = np.array([s.weight for s in self.sources], float)
        self._shares = weights / weights.sum()
        self._store = PictureStore(memory)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Tensor]:
        index, patch = index if isinstance(index, tuple) else (index, self.patch or 0)
        rng = np.random.default_rng([self.seed, index])
        source = self.sources[int(rng.choice(len(self.sources), p=self._shares))]
        pairs = source.pairs
        pair = pairs[int(rng.integers(len(pairs)))] if isinstance(pairs, Sequence) else pairs.draw(rng)
        mode = int(rng.integers(8)) if self.geometry else 0
        draw = self._draw_apart if source.kind == "unpaired" else self._draw
        sample = draw(source, pair, rng, patch)
        if self.colours and rng.random() < self.colours:
            order = rng.permutation(3)
            sample = {name: view[..., order] for name, view in sample.items()}
        if source.turns:
            return {name: _tensor(geometric(view, mode)) for name, view in sample.items()}
        return {name: _tensor(flips(view, mode % 2 == 1, mode % 4 > 1)) for name, view in sample.items()}

    def _draw(self, source: Source, pair: Pair, rng: np.random.Generator, patch: int) -> dict[str, NDArray[np.float32]]:
        """The sample before it is turned, each ``(H, W, 3)``."""
        target = self._store.get(pair.target, source.read)
        low = self._store.get(pair.low, source.read) if source.kind == "pairs" else target
        whole = target.shape[:2]
        factor = shrink_factor(source.shrink, whole, patch, rng)
        # the window that counts as the whole picture, and the patch inside it
        window = [(max(round(n * rng.uniform(self.crop, 1.0)), factor * patch), n) for n in whole]
        outer = _place(window, rng)
        low, target = low[outer], target[outer]
        size = target.shape[:2]
        inner = _place([(factor * patch or n, n) for n in size], rng, source.stride)
        exposure = Exposure.draw(source, rng)
        if exposure is None:
            shown, wanted = (_shrink(_unit(picture[inner]), factor) for picture in (low, target))
        else:
            # both are shrunk in the same light: else the target would be a little darker wherever there is detail
            wanted = _unit(Exposure(None, None)(target[inner], rng, factor))
            rows, columns = inner
            part = (rows.start / size[0], columns.start / size[1], rows.stop / size[0], columns.stop / size[1])
            shown = _unit(exposure(low[inner], rng, factor, part))
            wanted = shown if source.kind == "identity" else wanted
        sample = {"low": pad_to(shown, patch), "target": pad_to(wanted, patch)}
        if self.thumbnail:
            if exposure is not None:
                low = exposure(low[::_SPARSE, ::_SPARSE], rng)
            sample["thumbnail"] = _thumbnail(low, self.thumbnail)
        return sample

    def _draw_apart(
        self, source: Source, pair: Pair, rng: np.random.Generator, patch: int
    ) -> dict[str, NDArray[np.float32]]:
        """As :meth:`_draw`, of two pictures of different scenes and sizes: each gets a window of its own."""
        low, target = (self._store.get(path, source.read) for path in (pair.low, pair.target))
        exposure = Exposure.draw(source, rng)
        sample = {}
        for name, picture, shown in (("low", low, exposure), ("target", target, None)):
            factor = shrink_factor(source.shrink, picture.shape[:2], patch, rng)
            window = picture[_place([(factor * patch or n, n) for n in picture.shape[:2]], rng, source.stride)]
            view = _shrink(_unit(window), factor) if shown is None else _unit(shown(window, rng, factor))
            sample[name] = pad_to(view, patch)
        if self.thumbnail:
            whole = low if exposure is None else exposure(low[::_SPARSE, ::_SPARSE], rng)
            sample["thumbnail"] = _thumbnail(whole, self.thumbnail)
        return sample


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


@dataclass(frozen=True)
class Phase:
    """From step ``after`` on, batches of ``batch`` patches of ``patch`` pixels."""

    after: int
    patch: int
    batch: int


class ProgressiveSampler(Sampler[list[tuple[int, int]]]):
    """Batches of indices ``(i, patch)`` in order, from where a training stands; rank r of n takes every n-th.

    ``phases`` are in order, the first from step 0. ``position`` is asked when an iteration begins; the length is that
    of the whole training, as for :class:`IndexSampler`.
    """

    def __init__(
        self, phases: Sequence[Phase], steps: int, position: Callable[[], int], rank: int = 0, ranks: int = 1
    ) -> None:
        self.phases = phases
        self.steps = steps
        self.position = position
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        begin, first = self.position(), 0
        for phase, end in zip(self.phases, [*(phase.after for phase in self.phases[1:]), self.steps], strict=True):
            for step in range(phase.after, min(end, self.steps)):
                if step >= begin:
                    yield [(self.rank + self.ranks * (first + i), phase.patch) for i in range(phase.batch)]
                first += phase.batch

    def __len__(self) -> int:
        return self.steps


def whole_pictures(source: Source, pair: Pair, store: PictureStore, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(low, target) of a source, uncropped: ``(3, H, W)`` float32 in [0, 1]."""
    target = store.get(pair.target, source.read)
    low = store.get(pair.low, source.read) if source.kind == "pairs" else target
    exposure = Exposure.draw(source, rng)
    if exposure is not None:
        low = exposure(low, rng)
        target = low if source.kind == "identity" else target
    return _tensor(_unit(low)), _tensor(_unit(target))


@dataclass(frozen=True)
class Exposure:
    """How the low picture of one sample is synthesised: less light, noise, or both."""

    dark: synthesis.Darkening | synthesis.Backlight | None
    noise: synthesis.Noise | None

    @classmethod
    def draw(cls, source: Source, rng: np.random.Generator) -> Exposure | None:
        dark = None
        if source.kind == "darken":
            dark = synthesis.draw_darkening(rng, source.stops)
        elif source.kind == "backlight":
            dark = synthesis.draw_backlight(rng, source.stops)
        elif source.gain:
            dark = synthesis.Darkening(stops=float(rng.uniform(-source.gain, source.gain)))
        elif source.low_key:
            dark = synthesis.draw_low_key(rng, source.low_key)
        noise = synthesis.draw_noise(rng, source.noise) if source.noise else None
        return None if dark is None and noise is None else cls(dark, noise)

    def __call__(
        self,
        picture: NDArray[Any],
        rng: np.random.Generator,
        factor: int = 1,
        part: tuple[float, float, float, float] = (0, 0, 1, 1),
    ) -> NDArray[np.uint8]:
        """``part``: which part of the whole picture this is; see ``synthesis.darken``."""
        linear = synthesis.LINEAR_OF_BYTE[picture] if picture.dtype == np.uint8 else srgb_to_linear(picture)
        linear = _shrink(linear, factor)
        if isinstance(self.dark, synthesis.Backlight):
            linear = synthesis.backlight(linear, self.dark, part)
        elif self.dark is not None:
            linear = synthesis.darken(linear, self.dark, part)
        if self.noise is not None:
            linear = synthesis.add_noise(linear, self.noise, rng)
        return synthesis.to_srgb_bytes(linear)


def _tensor(picture: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _place(sizes: list[tuple[int, int]], rng: np.random.Generator, stride: int = 1) -> tuple[slice, slice]:
    """A random window of the wanted (size, of) rows and columns, or all where that is less."""
    corners = [stride * int(rng.integers(max(0, of - size) // stride + 1)) for size, of in sizes]
    rows, columns = (slice(c, min(c + size, of)) for c, (size, of) in zip(corners, sizes, strict=True))
    return rows, columns


def _unit(picture: NDArray[Any]) -> NDArray[np.float32]:
    """uint8 -> float32 in [0, 1]; float32 as it is."""
    return np.divide(picture, 255, dtype=np.float32) if picture.dtype == np.uint8 else picture


def _shrink(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return picture
    height, width = (n // factor * factor for n in picture.shape[:2])
    blocks = picture[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    return blocks.mean((1, 3), dtype=np.float32)


def _thumbnail(picture: NDArray[Any], size: int) -> NDArray[np.float32]:
    planes = torch.from_numpy(_unit(picture)).permute(2, 0, 1)[None]
    return F.adaptive_avg_pool2d(planes, size)[0].permute(1, 2, 0).numpy()
