"""MST++: multi-stage spectral-wise transformer, second network of the Retinexformer toolbox (two NTIRE 2024 entries).

Y. Cai et al., CVPRW 2022, arXiv 2204.07908. Retinexformer's restorer without guidance, several in sequence, in feature
space. sRGB in [0, 1] in, sRGB out, not clamped, with no residual to the picture. Sides are multiples of 8: the
published forward pads by reflection at the bottom and right (and crops); here that is the caller's, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.blocks.attention import AttentionMatrices, AttentionNetwork
from tapetum.methods.blocks.restorer import RestorerU, restorer_radius
from tapetum.methods.contract import Properties

_NUM_BLOCKS = (1, 1, 1)


@dataclass(frozen=True)
class MSTPlusPlusConfig:
    """Hyper-parameters, named as in the published option files.

    Attributes:
        in_channels: of the picture.
        out_channels: of the result.
        n_feat: channels at full resolution.
        stage: how many restorers follow each other.

    Raises:
        UsageError: a value that no network can have.
    """

    in_channels: int = 3
    out_channels: int = 3
    n_feat: int = 30
    stage: int = 3

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "n_feat", "stage"):
            if getattr(self, name) < 1:
                raise UsageError(f"mst_plus_plus: {name} must be at least 1, got {getattr(self, name)}")


class MSTPlusPlus(AttentionNetwork):
    """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``, sides multiples of 8; see the module's text."""

    def __init__(self, config: MSTPlusPlusConfig) -> None:
        super().__init__()
        self.config = config
        self.properties = Properties(
            size_multiple=8,
            minimum_size=8,
            receptive_field=config.stage * restorer_radius(_NUM_BLOCKS) + 2,
            context="statistics",
            thumbnail_size=512,
            bytes_per_pixel=105 * config.n_feat,
        )
        self.conv_in = nn.Conv2d(config.in_channels, config.n_feat, 3, padding=1, bias=False)
        self.body = nn.ModuleList(
            RestorerU(config.n_feat, config.n_feat, _NUM_BLOCKS, guided=False) for _ in range(config.stage)
        )
        self.conv_out = nn.Conv2d(config.n_feat, config.out_channels, 3, padding=1, bias=False)

    def _run(self, low: Tensor, matrices: AttentionMatrices) -> Tensor:
        shallow = self.conv_in(low)
        feature = shallow
        for restore in self.body:
            feature = restore(feature, None, matrices)
        return self.conv_out(feature + shallow)
