"""Prior extractors: what a whole picture is about, in one vector.

Stage 1 shows them the dark picture and the target, stage 2 the dark picture alone. Their inputs are at quarter size,
the pixels of a 4x4 cell in channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL = 4  # sides are multiples of this
_SLOPE = 0.1


class RGBExtractor(nn.Module):
    """The RGB prior, of one picture or of several together.

    Args:
        pictures: 2 in stage 1 (dark, target), 1 in stage 2.
    """

    def __init__(self, pictures: int, width: int, blocks: int, prior: int) -> None:
        super().__init__()
        self.E = _trunk(3 * CELL**2 * pictures, width, prior, [ResidualBlock(width) for _ in range(blocks)])
        self.mlp = _mlp(prior)

    def forward(self, *images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` each -> ``(B, prior)``."""
        return self.mlp(self.E(torch.cat([F.pixel_unshuffle(image, CELL) for image in images], dim=1)).flatten(1))


class RetinexExtractor(nn.Module):
    """The Retinex prior: three quarters of it from reflectance, one from illumination, by the same residual blocks.

    These are stored under two names, ``E_R.*`` and ``E_I.*``. Arguments: see RGBExtractor.
    """

    def __init__(self, pictures: int, width: int, blocks: int, prior: int) -> None:
        super().__init__()
        shared = [ResidualBlock(width) for _ in range(blocks)]
        cells, quarter = CELL**2 * pictures, prior // 4
        self.E_R = _trunk(3 * cells, width, prior - quarter, shared)
        self.E_I = _trunk(cells, width, quarter, shared)
        self.mlp_R = _mlp(prior - quarter)
        self.mlp_I = _mlp(quarter)

    def forward(self, *maps: Tensor) -> Tensor:
        """[R, L] of each picture, ``(B, 4, H, W)`` -> ``(B, prior)``: of R, then of L."""
        reflectance = torch.cat([F.pixel_unshuffle(each[:, :3], CELL) for each in maps], dim=1)
        illumination = torch.cat([F.pixel_unshuffle(each[:, 3:], CELL) for each in maps], dim=1)
        parts = self.mlp_R(self.E_R(reflectance).flatten(1)), self.mlp_I(self.E_I(illumination).flatten(1))
        return torch.cat(parts, dim=1)


class ResidualBlock(nn.Module):
    """x + convolution(rectified convolution(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _trunk(inputs: int, width: int, outputs: int, blocks: list[ResidualBlock]) -> nn.Sequential:
    """``(B, inputs, h, w) -> (B, outputs, 1, 1)``."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        *blocks,
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(2 * width, outputs, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.AdaptiveAvgPool2d(1),
    )


def _mlp(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size), nn.LeakyReLU(_SLOPE), nn.Linear(size, size), nn.LeakyReLU(_SLOPE))
