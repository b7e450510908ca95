"""The U-shaped transformer that Retinexformer, DED-Net (guided by illumination) and MST++ (unguided) restore with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tapetum.methods.blocks.attention import AttentionMatrices, ChannelAttention
from tapetum.methods.blocks.feed_forward import DepthwiseFeedForward, Normed

FeedForward = Callable[[int], nn.Module]
"""Makes a feed-forward layer ``(B, H, W, C) -> (B, H, W, C)`` for C channels."""


class RestorerU(nn.Module):
    """Two levels down, a bottleneck, two levels up; the input is added to the result.

    Args:
        channels: of the picture or feature that is restored.
        width: channels at full resolution, doubled at each level, and the width of one attention head at all levels.
        num_blocks: attention blocks at level 0, level 1 and the bottleneck.
        guided: whether a guidance feature gates the attention.
        feed_forward: makes the feed-forward layer of a block.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        num_blocks: Sequence[int],
        guided: bool,
        feed_forward: FeedForward = DepthwiseFeedForward,
    ) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.encoder_layers = nn.ModuleList()
        for level in range(2):
            c = width * 2**level
            layer = nn.ModuleList([AttentionBlocks(c, 2**level, num_blocks[level], feed_forward), _halving(c)])
            if guided:
                layer.append(_halving(c))
            self.encoder_layers.append(layer)
        self.bottleneck = AttentionBlocks(4 * width, 4, num_blocks[-1], feed_forward)
        self.decoder_layers = nn.ModuleList()
        for level in (1, 0):
            c = width * 2**level
            self.decoder_layers.append(
                nn.ModuleList(
                    [
                        nn.ConvTranspose2d(2 * c, c, 2, stride=2),
                        nn.Conv2d(2 * c, c, 1, bias=False),
                        AttentionBlocks(c, 2**level, num_blocks[level], feed_forward),
                    ]
                )
            )
        self.mapping = nn.Conv2d(width, channels, 3, padding=1, bias=False)
        self.apply(_initialise)

    def forward(self, image: Tensor, guidance: Tensor | None, matrices: AttentionMatrices) -> Tensor:
        """``(B, channels, H, W)``, guidance ``(B, width, H, W)``, H and W multiples of 4 -> ``(B, channels, H, W)``."""
        feature = self.embedding(image)
        skips = []
        for layer in self.encoder_layers:
            blocks, halve, *halve_guidance = cast("nn.ModuleList", layer)
            feature = blocks(feature, guidance, matrices)
            skips.append((feature, guidance))
            feature = halve(feature)
            guidance = halve_guidance[0](guidance) if halve_guidance else None
        feature = self.bottleneck(feature, guidance, matrices)
        for layer in self.decoder_layers:
            double, merge, blocks = cast("nn.ModuleList", layer)
            skip, guidance = skips.pop()
            feature = merge(torch.cat([double(feature), skip], dim=1))
            del skip  # a full-size feature that the blocks need no more
            feature = blocks(feature, guidance, matrices)
        return self.mapping(feature) + image


class AttentionBlocks(nn.Module):
    """IGAB (unguided: MST++'s MSAB): ``num_blocks`` times attention and feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, num_blocks: int, feed_forward: FeedForward) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList([ChannelAttention(width, heads), Normed(width, feed_forward(width))])
            for _ in range(num_blocks)
        )

    def forward(self, feature: Tensor, guidance: Tensor | None, matrices: AttentionMatrices) -> Tensor:
        """feature and guidance ``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        x = feature.permute(0, 2, 3, 1).contiguous()
        if guidance is not None:
            guidance = guidance.permute(0, 2, 3, 1)
        for block in self.blocks:
            attend, feed_forward = cast("nn.ModuleList", block)
            x = attend(x, guidance, matrices) + x
            x = feed_forward(x) + x
        return x.permute(0, 3, 1, 2)


def restorer_radius(num_blocks: Sequence[int], per_block: int = 3) -> int:
    """How far, in pixels, :class:`RestorerU` sees to each side, its attention being given.

    Its blocks, at steps of 1, 2 and 4 pixels; embedding and mapping; the strided convolutions.

    Args:
        per_block: how far one block sees: 2 by the attention's positional branch, and 1 by the depth-wise feed-forward.
    """
    full, half, quarter = (per_block * count for count in num_blocks)
    return 2 * full + 2 * 2 * half + 4 * quarter + 2 + 6


def _halving(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False)


def _initialise(module: nn.Module) -> None:
    """As published: linear layers truncated normal; convolutions keep PyTorch's default."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-2, b=2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
