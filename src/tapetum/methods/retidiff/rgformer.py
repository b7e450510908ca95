"""RGformer: the U-shaped transformer that restores a picture, guided by a Retinex prior and an RGB prior."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tapetum.methods.blocks.attention import AttentionMatrices
from tapetum.methods.retidiff.config import GuidedConfig
from tapetum.methods.retidiff.layers import Block, Blocks, CrossAttention, Downsample, SelfAttention, Upsample


class Restored(NamedTuple):
    """What the RGformer gives in training.

    Attributes:
        enhanced: ``(B, 3, H, W)``, not clamped.
        image: R L as decoded from the first level's feature, ``(B, 3, H, W)``.
        maps: [R, L] as decoded from the last level's feature, ``(B, 4, H, W)``.
    """

    enhanced: Tensor
    image: Tensor
    maps: Tensor


class RGformer(nn.Module):
    """Three levels down, a bottom, three up, a refinement at full size; the picture is added to the result.

    Args:
        auxiliary: with the decoder that is for training only.
    """

    def __init__(self, config: GuidedConfig, auxiliary: bool) -> None:
        super().__init__()
        d, counts, heads = config.dim, config.num_blocks, config.heads

        def blocks(level: int, channels: int, count: int | None = None) -> Blocks:
            count, kind = (counts[level], CrossAttention) if count is None else (count, SelfAttention)
            shape = config.ffn_expansion_factor, config.bias, config.LayerNorm_type, config.prior
            return Blocks(Block(kind, channels, heads[level], *shape) for _ in range(count))

        if auxiliary:
            self.decom = AuxiliaryDecoder(d)
        self.patch_embed = _Embedding(d)
        self.encoder_level1 = blocks(0, d)
        self.down1_2 = Downsample(d)
        self.encoder_level2 = blocks(1, 2 * d)
        self.down2_3 = Downsample(2 * d)
        self.encoder_level3 = blocks(2, 4 * d)
        self.down3_4 = Downsample(4 * d)
        self.latent = blocks(3, 8 * d)
        self.up4_3 = Upsample(8 * d)
        self.reduce_chan_level3 = nn.Conv2d(8 * d, 4 * d, 1, bias=config.bias)
        self.decoder_level3 = blocks(2, 4 * d)
        self.up3_2 = Upsample(4 * d)
        self.reduce_chan_level2 = nn.Conv2d(4 * d, 2 * d, 1, bias=config.bias)
        self.decoder_level2 = blocks(1, 2 * d)
        self.up2_1 = Upsample(2 * d)
        self.decoder_level1 = blocks(0, 2 * d)
        self.img_refinement = blocks(0, 2 * d, config.num_refinement_blocks)
        self.img_output = nn.Conv2d(2 * d, 3, 3, padding=1, bias=config.bias)

    def forward(self, low: Tensor, z_rex: Tensor, z_rgb: Tensor, matrices: AttentionMatrices | None = None) -> Tensor:
        """``(B, 3, H, W)``, sides multiples of 8, and two priors ``(B, P)`` -> ``(B, 3, H, W)``, not clamped."""
        enhanced, _, _ = self._run(low, z_rex, z_rgb, matrices or AttentionMatrices())
        return enhanced

    def with_auxiliary(self, low: Tensor, z_rex: Tensor, z_rgb: Tensor) -> Restored:
        """The same with what the auxiliary decoder makes of the features on the way."""
        enhanced, first, last = self._run(low, z_rex, z_rgb, AttentionMatrices())
        return Restored(enhanced, self.decom(first)[0], self.decom(last)[1])

    def _run(
        self, low: Tensor, z_rex: Tensor, z_rgb: Tensor, matrices: AttentionMatrices
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The result, the first level's feature on the way down, and that of its size on the way up."""
        x = low.contiguous(memory_format=torch.channels_last)
        first = self.encoder_level1(self.patch_embed(x), z_rex, matrices)
        half = self.encoder_level2(self.down1_2(first), z_rex, matrices)
        quarter = self.encoder_level3(self.down2_3(half), z_rex, matrices)
        x = self.latent(self.down3_4(quarter), z_rex, matrices)
        x = self.reduce_chan_level3(torch.cat([self.up4_3(x), quarter], dim=1))
        x = self.decoder_level3(x, z_rex, matrices)
        x = self.reduce_chan_level2(torch.cat([self.up3_2(x), half], dim=1))
        x = self.decoder_level2(x, z_rex, matrices)
        last = self.up2_1(x)
        x = self.decoder_level1(torch.cat([last, first], dim=1), z_rex, matrices)
        x = self.img_refinement(x, z_rgb, matrices)
        return self.img_output(x) + low, first, last


class AuxiliaryDecoder(nn.Module):
    """Finds reflectance and illumination in features, so that these are learnt to be there. For training only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.decom = decoder(channels, channels)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, H, W)`` -> R L ``(B, 3, H, W)`` and [R, L] ``(B, 4, H, W)``, from 0 up."""
        maps = self.decom(feature)
        return maps[:, :3] * maps[:, 3:], maps


def decoder(inputs: int, width: int) -> nn.Sequential:
    """Four 3x3 convolutions to [R, L], which are rectified: the layers of this decoder and of the decomposition."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 4, 3, padding=1),
        nn.ReLU(),
    )


class _Embedding(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
