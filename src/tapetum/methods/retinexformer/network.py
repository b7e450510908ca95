"""Retinexformer: one-stage Retinex-based transformer for low-light image enhancement.

Y. Cai, H. Bian, J. Lin, H. Wang, R. Timofte, Y. Zhang, ICCV 2023, arXiv 2303.06705. An estimator lights the picture up
(``L = I * M + I``); a U-shaped transformer whose channel attention is gated by the illumination feature restores what
the light reveals. sRGB in [0, 1] in and out, not clamped; sides are multiples of 4.

All nine published files have one configuration (width 40, one stage, blocks 1, 2, 2). Kept on purpose: the grouped 5x5
"depth" convolution of the estimator, no normalisation before the attention, a positional branch from un-gated values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.blocks.attention import AttentionMatrices, AttentionNetwork
from tapetum.methods.blocks.illumination import ESTIMATOR_RADIUS, IlluminationEstimator
from tapetum.methods.blocks.restorer import RestorerU, restorer_radius
from tapetum.methods.contract import Properties


@dataclass(frozen=True)
class RetinexformerConfig:
    """Hyper-parameters, named as in the published option files.

    Attributes:
        n_feat: channels at full resolution; a multiple of 4.
        stage: how many stages follow each other, each with its own weights.
        num_blocks: attention blocks at full size, half size and quarter size.

    Raises:
        UsageError: a value that no network can have.
    """

    n_feat: int = 40
    stage: int = 1
    num_blocks: tuple[int, int, int] = (1, 2, 2)

    def __post_init__(self) -> None:
        if self.n_feat < 4 or self.n_feat % 4:
            raise UsageError(f"retinexformer: n_feat must be a multiple of 4, got {self.n_feat}")
        if self.stage < 1:
            raise UsageError(f"retinexformer: stage must be at least 1, got {self.stage}")
        if len(self.num_blocks) != 3 or min(self.num_blocks) < 1:
            raise UsageError(f"retinexformer: num_blocks must be three numbers from 1 up, got {self.num_blocks}")


class Retinexformer(AttentionNetwork):
    """``(B, 3, H, W)`` to the same size, sides multiples of 4; see the module's text."""

    def __init__(self, config: RetinexformerConfig) -> None:
        super().__init__()
        self.config = config
        self.properties = Properties(
            size_multiple=4,
            minimum_size=4,
            receptive_field=config.stage * (ESTIMATOR_RADIUS + restorer_radius(config.num_blocks)),
            context="statistics",
            thumbnail_size=512,
            bytes_per_pixel=60 * config.n_feat,
        )
        self.body = nn.ModuleList(Stage(config.n_feat, config.num_blocks) for _ in range(config.stage))

    def _run(self, low: Tensor, matrices: AttentionMatrices) -> Tensor:
        for stage in self.body:
            low = stage(low, matrices)
        return low


class Stage(nn.Module):
    """Light up, then restore."""

    def __init__(self, width: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        self.estimator = IlluminationEstimator(width)
        self.denoiser = RestorerU(3, width, num_blocks, guided=True)

    def forward(self, low: Tensor, matrices: AttentionMatrices) -> Tensor:
        """``(B, 3, H, W) -> (B, 3, H, W)``."""
        feature, illumination = self.estimator(low)
        return self.denoiser(low * illumination + low, feature, matrices)
