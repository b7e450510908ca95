"""What training does to a pair: flips and rotations, padding and cropping, mixup. The same for low and target.

As in the Retinexformer / BasicSR toolbox. Pictures are ``(H, W, C)`` arrays, batches ``(B, C, H, W)`` tensors. Chance
is always the caller's: modes, offsets and generators are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Scalar = TypeVar("Scalar", bound=np.generic)


def geometric(image: NDArray[Scalar], mode: int) -> NDArray[Scalar]:
    """One of the 8 symmetries of a square: ``mode // 2`` quarter turns counter-clockwise, odd modes then flip up-down.

    Mode 1 is the flip alone. ``(H, W, C)``; sides are exchanged in modes 2, 3, 6, 7. A view, not a copy.
    """
    if not 0 <= mode <= 7:
        raise ValueError(f"mode must be 0 to 7, got {mode}")
    turned = np.rot90(image, mode // 2)
    return turned[::-1] if mode % 2 else turned


def flips(image: NDArray[Scalar], left_right: bool, up_down: bool) -> NDArray[Scalar]:
    """The augmentation of the array data sets (SID, SMID, SDSD): no rotation. A view, not a copy."""
    if left_right:
        image = image[:, ::-1]
    return image[::-1] if up_down else image


def shrink_factor(most: int, sides: Sequence[int], patch: int, generator: np.random.Generator) -> int:
    """By how much a picture is shrunk first: any whole factor up to ``most`` that leaves room for a patch (0: none)."""
    most = min(most, min(sides) // patch) if patch else most
    return int(generator.integers(1, most + 1)) if most > 1 else 1


def pad_to(image: NDArray[Scalar], size: int) -> NDArray[Scalar]:
    """Sides below ``size`` grow to it at the bottom and right, mirrored with the edge pixel (a b c | c b a)."""
    height, width = image.shape[:2]
    missing = ((0, max(0, size - height)), (0, max(0, size - width)), (0, 0))
    return np.pad(image, missing, mode="symmetric")


def min_max(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(x - min) / (max - min)`` over all channels and pixels; a constant picture becomes zero."""
    low, high = image.min(), image.max()
    return np.zeros_like(image) if low == high else (image - low) / (high - low)


def draw_mixup(batch_size: int, beta: float, generator: torch.Generator) -> tuple[float, Tensor] | None:
    """With probability one half None (no mixing), else lam ~ Beta(beta, beta) and a permutation for the whole batch."""
    if torch.rand((), generator=generator) < 0.5:
        return None
    # torch has no Beta with a generator
    seed = int(torch.randint(2**62, (), generator=generator))
    lam = float(np.random.default_rng(seed).beta(beta, beta))
    return lam, torch.randperm(batch_size, generator=generator)


def mixup(batch: Tensor, lam: float, permutation: Tensor) -> Tensor:
    """``lam x + (1 - lam) x[permutation]`` for ``(B, ...)``; low and target take the same ``lam`` and permutation."""
    return lam * batch + (1 - lam) * batch[permutation]
