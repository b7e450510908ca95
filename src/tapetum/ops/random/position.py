"""Random numbers keyed by their place in the picture: a tile draws what the whole picture would draw there.

A number is a hash of (seed, stream, channel, row, column). So the result of a method that draws noise does not depend
on how the picture was cut into tiles, on the order of the tiles, or on the device. No state, no generator to carry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tapetum.ops.random.poisson import poisson_of_normal

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class PositionNoise:
    """Draws for one picture, or for one per item of a batch.

    Args:
        seed: of everything that is drawn; one whole number, or one for each item of the batch.
        stream: tells draws of different purposes (steps, kinds of noise) of one seed apart, a whole number >= 0.
        origin: row and column of the tile's upper left corner in the whole picture.
    """

    def __init__(self, seed: int | Sequence[int], stream: int = 0, origin: tuple[int, int] = (0, 0)) -> None:
        self.seed = seed
        self.stream = stream
        self.origin = origin

    def uniform(self, shape: Sequence[int], device: torch.device | str | None = None) -> Tensor:
        """``(C, H, W)`` or ``(N, C, H, W)`` float32, in steps of 2^-23 strictly between 0 and 1."""
        return self._bits(shape, device).bitwise_right_shift_(9).bitwise_and_(0x7FFFFF).add(0.5).mul_(2.0**-23)

    def normal(self, shape: Sequence[int], device: torch.device | str | None = None) -> Tensor:
        """Standard normal numbers, ``(C, H, W)`` or ``(N, C, H, W)`` float32; none is beyond 5.42."""
        # odd whole numbers of 24 bits: symmetric around zero, exact in float32
        odd = self._bits(shape, device).bitwise_right_shift_(8).bitwise_or_(1)
        return torch.erfinv(odd.float().mul_(2.0**-23)).mul_(math.sqrt(2))

    def poisson(self, mean: Tensor) -> Tensor:
        """Counts, whole numbers in the type and shape of ``mean``, ``(C, H, W)`` or ``(N, C, H, W)``."""
        return poisson_of_normal(mean, self.normal(mean.shape, mean.device).to(mean.dtype))

    def _bits(self, shape: Sequence[int], device: torch.device | str | None) -> Tensor:
        """32 random bits for each place, int32."""
        if len(shape) not in (3, 4):
            raise ValueError(f"need a shape (C, H, W) or (N, C, H, W), got {tuple(shape)}")
        *items, channels, height, width = shape
        top, left = self.origin
        places = np.arange(channels, dtype=np.uint64)[:, None] << np.uint64(40)
        places = places + np.arange(top, top + height, dtype=np.uint64)
        keys = np.stack([_mixed(places + np.uint64(seed)) for seed in self._seeds(items[0] if items else 1)])
        halves = keys.reshape(*items, channels, height, 1, 1).view(np.int32)
        first, second = (torch.from_numpy(halves[..., i].copy()).to(device) for i in (0, 1))
        columns = torch.arange(left, left + width, device=device, dtype=torch.int32)
        return _hashed(_hashed(columns * _signed(_GOLDEN >> 32) + first) ^ second)

    def _seeds(self, items: int) -> list[int]:
        seeds = [self.seed] * items if isinstance(self.seed, int) else list(self.seed)
        if len(seeds) != items:
            raise ValueError(f"{len(seeds)} seeds for a batch of {items}")
        streams = int(_mixed(np.array([self.stream + 1], np.uint64))[0])
        return [int(_mixed(np.array([seed & _MASK], np.uint64))[0]) ^ streams for seed in seeds]


def _mixed(x: np.ndarray) -> np.ndarray:
    """Steele, Lea and Flood's SplitMix64: a bijection of uint64."""
    x = x + np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _hashed(x: Tensor) -> Tensor:
    """A bijection of 32 bits (constants of C. Wellons' search for low bias). In place."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x.bitwise_xor_((x >> shift).bitwise_and_((1 << (32 - shift)) - 1)).mul_(_signed(factor))
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))


def _signed(x: int) -> int:
    """32 bits as torch's int32 has them."""
    return x - (1 << 32) if x >= 1 << 31 else x
