"""The noise predictor of LightenDiffusion: a U-Net as in DDIM, over latents beside their condition.

Kept on purpose, for the published weights: attention at the third level only, whatever the number of levels; padding
at the right and the bottom before a strided convolution; in a level of 32 channels group normalisation acts on single
channels and hides the time (use widths from 64 up).
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
_ATTENTION_LEVEL = 2
LATENT_CHANNELS = 3


class NoisePredictor(nn.Module):
    """From condition, noisy latent and time to the noise.

    Args:
        ch: base width, a multiple of 32.
        ch_mult: the widths of the levels, in units of ``ch``.
        num_res_blocks: per level on the way down; one more on the way up.
        resamp_with_conv: sample with convolutions; False: average pooling, and repetition.
    """

    def __init__(
        self, ch: int, ch_mult: tuple[int, ...], num_res_blocks: int, dropout: float, resamp_with_conv: bool
    ) -> None:
        super().__init__()
        widths = [ch * factor for factor in ch_mult]
        time = 4 * ch
        self.ch = ch
        self.temb = TimeEmbedding(ch, time)
        self.conv_in = nn.Conv2d(2 * LATENT_CHANNELS, ch, 3, padding=1)

        self.down = nn.ModuleList()
        skips, width = [ch], ch
        for i, out in enumerate(widths):
            level = Level([width] + [out] * (num_res_blocks - 1), out, time, dropout, i == _ATTENTION_LEVEL)
            skips += [out] * num_res_blocks
            if i < len(widths) - 1:
                level.downsample = DownSample(out, resamp_with_conv)
                skips.append(out)
            self.down.append(level)
            width = out

        self.mid = Middle(width, time, dropout)

        levels: list[Level] = []
        for i, out in reversed(list(enumerate(widths))):
            inputs = []
            for _ in range(num_res_blocks + 1):
                inputs.append(width + skips.pop())
                width = out
            level = Level(inputs, out, time, dropout, i == _ATTENTION_LEVEL)
            if i > 0:
                level.upsample = UpSample(out, resamp_with_conv)
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)

        self.norm_out = _norm(width)
        self.conv_out = nn.Conv2d(width, LATENT_CHANNELS, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``(B, 6, h, w)``, condition first, and ``t`` ``(B,)`` -> noise ``(B, 3, h, w)``.

        h and w must be multiples of 2^(levels - 1).
        """
        time = F.silu(self.temb(t.to(x.dtype)))  # every block begins with it
        x = self.conv_in(x)
        skips = [x]
        for level in _levels(self.down):
            for i, block in enumerate(level.block):
                x = level.attend(i, block(x, time))
                skips.append(x)
            if level.downsample is not None:
                x = level.downsample(x)
                skips.append(x)
        x = self.mid(x, time)
        for level in reversed(_levels(self.up)):
            for i, block in enumerate(level.block):
                x = level.attend(i, block(torch.cat([x, skips.pop()], dim=1), time))
            if level.upsample is not None:
                x = level.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))


class Level(nn.Module):
    """Residual blocks of one resolution, with attention after each where the level has it."""

    def __init__(self, inputs: list[int], out: int, time: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(width, out, time, dropout) for width in inputs)
        self.attn = nn.ModuleList(Attention(out) for _ in inputs if attention)
        self.downsample: DownSample | None = None
        self.upsample: UpSample | None = None

    def attend(self, i: int, x: Tensor) -> Tensor:
        return self.attn[i](x) if len(self.attn) else x


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, width: int, time: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width, time, dropout)
        self.attn_1 = Attention(width)
        self.block_2 = ResidualBlock(width, width, time, dropout)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, time)), time)


class TimeEmbedding(nn.Module):
    """Two linear layers on sines and cosines of the time."""

    def __init__(self, ch: int, time: int) -> None:
        super().__init__()
        self.ch = ch
        self.dense = nn.ModuleList([nn.Linear(ch, time), nn.Linear(time, time)])

    def forward(self, t: Tensor) -> Tensor:
        first, second = self.dense
        return second(F.silu(first(embed_time(t, self.ch))))


def embed_time(t: Tensor, ch: int) -> Tensor:
    """``(B,)`` -> ``(B, ch)``: sines, then cosines, of geometrically spaced frequencies; a last zero for an odd ch."""
    half = ch // 2
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=t.dtype) * (-math.log(10000) / (half - 1)))
    angles = t[:, None] * frequencies
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, ch % 2))


class ResidualBlock(nn.Module):
    """Normalised convolution, plus the time, normalised convolution; beside a shortcut."""

    def __init__(self, width: int, out: int, time: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(width)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.temb_proj = nn.Linear(time, out)
        self.norm2 = _norm(out)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x ``(B, width, h, w)``, time ``(B, time)`` after its SiLU -> ``(B, out, h, w)``."""
        h = self.conv1(F.silu(self.norm1(x), inplace=True)) + self.temb_proj(time)[:, :, None, None]
        h = F.silu(self.norm2(h), inplace=True)
        return self.nin_shortcut(x) + self.conv2(self.dropout(h))


class Attention(nn.Module):
    """All positions attend to all positions, with one head, beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``."""
        normed = self.norm(x)
        # contiguous: else PyTorch takes the way that keeps all weights, (h w)^2 of them
        query, key, value = (
            layer(normed).flatten(2).transpose(1, 2)[:, None].contiguous() for layer in (self.q, self.k, self.v)
        )
        seen = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return x + self.proj_out(seen.transpose(1, 2).reshape(x.shape))


class DownSample(nn.Module):
    """To half the size; odd sides lose their last row or column without a convolution."""

    def __init__(self, width: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.conv is None else self.conv(F.pad(x, (0, 1, 0, 1)))


class UpSample(nn.Module):
    """To twice the size, by repetition."""

    def __init__(self, width: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1) if with_conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _levels(modules: nn.ModuleList) -> list[Level]:
    return cast("list[Level]", list(modules))


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)
