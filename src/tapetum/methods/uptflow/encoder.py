"""MSFormer: from the dark picture and its map of balanced points to what the flow is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.methods.uptflow.blocks import Double, GlobalBlock, Halve, Pointwise, WindowBlocks
from tapetum.methods.uptflow.whole_picture import WholePicture

_SHARE, _EPS = 0.1, 1e-4


def balanced_points(low: Tensor) -> Tensor:
    """``(B, 3, H, W)`` in [0, 1] -> ``(B, 1, H, W)``: 1 where each channel has more than a tenth of the pixel's sum.

    0 where one has not, and where the pixel is black. No gradient. (The paper's map of unbalanced points.)
    """
    with torch.no_grad(), torch.autocast(low.device.type, enabled=False):
        precise = low.to(torch.promote_types(low.dtype, torch.float32))
        red, green, blue = precise.split(1, dim=1)
        shares = precise / (red + green + blue + _EPS)
        return (shares > _SHARE).all(dim=1, keepdim=True).to(precise.dtype)


class Encoder(nn.Module):
    """A U of global blocks and, beside them, window blocks that are guided by the map.

    The layers that go down and up are used twice: for the features and for the map. The window branch runs beside the
    global one, but at level 2 after it: as published.

    Args:
        depths: blocks per chain: levels 1 to 3, bottom, then upwards 3, 2, 1.
        global_heads: of levels 1 to 3 and the bottom.
        window_heads: in the order of ``depths``.
        drop: of the deepest window blocks (:class:`tapetum.methods.uptflow.blocks.DropPath`).
    """

    def __init__(
        self,
        dim: int,
        depths: Sequence[int],
        refinement_blocks: int,
        window: int,
        global_heads: Sequence[int],
        window_heads: Sequence[int],
        ffn_expansion: float,
        drop: float,
    ) -> None:
        super().__init__()
        drops = drop_rates(drop, depths)

        def blocks(level: int, count: int, width: int) -> nn.Sequential:
            return nn.Sequential(*(GlobalBlock(width, global_heads[level], ffn_expansion) for _ in range(count)))

        def windows(chain: int, width: int) -> WindowBlocks:
            return WindowBlocks(width, window_heads[chain], window, drops[chain])

        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, 3, padding=1, bias=False)
        self.encoder_level1, self.encoderlayer_1 = blocks(0, depths[0], dim), windows(0, dim)
        self.down1_2 = Halve(dim)
        self.encoder_level2, self.encoderlayer_2 = blocks(1, depths[1], 2 * dim), windows(1, 2 * dim)
        self.down2_3 = Halve(2 * dim)
        self.encoder_level3, self.encoderlayer_3 = blocks(2, depths[2], 4 * dim), windows(2, 4 * dim)
        self.down3_4 = Halve(4 * dim)
        self.latent, self.bottlen = blocks(3, depths[3], 8 * dim), windows(3, 8 * dim)
        self.reduce_chan_level0 = Pointwise(8 * dim, 4 * dim, bias=False)
        self.up4_3 = Double(8 * dim)
        self.reduce_chan_level3 = Pointwise(8 * dim, 4 * dim, bias=False)
        self.decoder_level3, self.decoderlayer_1 = blocks(2, depths[4], 4 * dim), windows(4, 4 * dim)
        self.up3_2 = Double(4 * dim)
        self.reduce_chan_level2 = Pointwise(4 * dim, 4 * dim, bias=False)
        self.decoder_level2, self.decoderlayer_2 = blocks(1, depths[5], 4 * dim), windows(5, 4 * dim)
        self.up2_1 = Double(4 * dim)
        self.reduce_chan_level1 = Pointwise(3 * dim, 2 * dim, bias=False)
        self.decoder_level1, self.decoderlayer_3 = blocks(0, depths[6], 2 * dim), windows(6, 2 * dim)
        self.refinement = blocks(0, refinement_blocks, 2 * dim)

    def forward(self, low: Tensor, whole: WholePicture | None = None) -> list[Tensor]:
        """``(B, 3, H, W)`` in [0, 1], sides multiples of 8 -> the conditions of the flow's levels 1, 2 and 3.

        They have 6 ``dim`` channels, at a half, a quarter and an eighth of the size.
        """
        whole = whole or WholePicture()
        low = low.contiguous(memory_format=torch.channels_last)  # blocks normalise and cut windows in this order
        embedded = cast("nn.Conv2d", self.patch_embed.proj)(low)
        guide1 = balanced_points(low).to(embedded.dtype).expand(-1, embedded.shape[1], -1, -1)
        skip1 = _run(self.encoder_level1, embedded, whole)
        level1 = skip1 + self.encoderlayer_1(embedded, guide1, whole)
        del embedded
        level2, guide2 = self.down1_2(level1), self.down1_2(guide1)
        del level1, guide1
        skip2 = _run(self.encoder_level2, level2, whole)
        level2 = skip2 + self.encoderlayer_2(skip2, guide2, whole)
        level3, guide3 = self.down2_3(level2), self.down2_3(guide2)
        del level2, guide2
        skip3 = _run(self.encoder_level3, level3, whole)
        level3 = skip3 + self.encoderlayer_3(level3, guide3, whole)
        bottom, guide4 = self.down3_4(level3), self.down3_4(guide3)
        del level3, guide3
        bottom = _run(self.latent, bottom, whole) + self.bottlen(bottom, guide4, whole)
        feature0 = self.reduce_chan_level0(bottom)

        level3, guide3 = self.up4_3(bottom), self.up4_3(guide4)
        level3 = self.reduce_chan_level3(torch.cat([level3, skip3], dim=1))
        feature1 = _run(self.decoder_level3, level3, whole) + self.decoderlayer_1(level3, guide3, whole)
        del level3, skip3, bottom, guide4
        level2, guide2 = self.up3_2(feature1), self.up3_2(guide3)
        level2, guide2 = self.reduce_chan_level2(torch.cat([level2, skip2], dim=1)), guide2.repeat(1, 2, 1, 1)
        feature2 = _run(self.decoder_level2, level2, whole) + self.decoderlayer_2(level2, guide2, whole)
        del level2, skip2, guide3
        level1, guide1 = self.up2_1(feature2), self.up2_1(guide2)
        level1 = self.reduce_chan_level1(torch.cat([level1, skip1], dim=1))
        del skip1, guide2
        level1 = _run(self.decoder_level1, level1, whole) + self.decoderlayer_3(level1, guide1, whole)
        del guide1
        return conditions([feature2, feature1, feature0], _run(self.refinement, level1, whole))


def drop_rates(most: float, depths: Sequence[int]) -> list[list[float]]:
    """For each block of each chain: from 0 up to ``most`` at the bottom, and down to 0 again."""
    down, up = sum(depths[:3]), sum(depths[4:])
    before, after = ([most * i / max(count - 1, 1) for i in range(count)] for count in (down, up))
    rates = iter([*before, *[most] * depths[3], *after[::-1]])
    return [[next(rates) for _ in range(depth)] for depth in depths]


def conditions(features: Sequence[Tensor], fine: Tensor) -> list[Tensor]:
    """Each feature ``(B, 4d, h, w)``, followed by ``fine`` ``(B, 2d, H, W)``, resampled to its size."""
    return [
        torch.cat([f, F.interpolate(fine, size=f.shape[2:], mode="bilinear", align_corners=False).to(f.dtype)], dim=1)
        for f in features
    ]


def _run(blocks: nn.Sequential, x: Tensor, whole: WholePicture) -> Tensor:
    for block in blocks:
        x = block(x, whole)
    return x
