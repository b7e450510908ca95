"""LightenDiffusion, stage 1: encoder, decoder, and the Retinex decomposition of latents (CTDN).

Paper and idea: README.md in this folder. A picture ``(B, 3, H, W)``, sRGB in [0, 1], becomes a latent
``(B, 3, H/8, W/8)`` in (0, 1); the decoder turns a latent back into a picture with the skips of the dark picture's own
encoding; CTDN splits a latent into reflectance and illumination.

Kept on purpose, for the published weights: the cross attention works on channels, row by row, and knows its heads only
as a scale; the self attention has neither temperature nor scale; no activation stands between the two first
convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.errors import InputError, UsageError
from tapetum.methods.contract import Properties

LATENT_STRIDE = 8
HEADS = 8
_SLOPE = 0.01
_BAND = 2**16  # pixels of a band, where each has c features
_SMALLEST = 1e-12  # of an illumination: a sigmoid in float32 can end at exactly 0
# Convolutions of the way down at strides 1, 2, 4, 8 (3x3 unless said), and the phase of the grid
ENCODED_RADIUS = (4 + 2 + 1) + 3 * 2 + 3 * 4 + 3 * 8 + 8
# The same and up again, with the transposed ones
DECODED_RADIUS = ENCODED_RADIUS + (3 + 4) * 8 + (8 + 4 * 4) + (4 + 4 * 2) + (2 + 1)


class Skips(NamedTuple):
    """What the decoder takes from a picture's own encoding: c, 2c and 4c channels at 1/2, 1/4 and 1/8."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor


@dataclass(frozen=True)
class Stage1Config:
    """Hyper-parameters of stage 1.

    Attributes:
        ctdn_channels: width c of encoder, decoder and CTDN; a multiple of 8.

    Raises:
        UsageError: a value that no network can have.
    """

    ctdn_channels: int = 64

    def __post_init__(self) -> None:
        if self.ctdn_channels < HEADS or self.ctdn_channels % HEADS:
            raise UsageError(f"lightendiffusion: ctdn_channels must be a multiple of {HEADS}, got {self.ctdn_channels}")


class Stage1(nn.Module):
    """Encoder, decoder and CTDN. As a network of its own it reconstructs a picture and does not enhance it."""

    def __init__(self, config: Stage1Config) -> None:
        super().__init__()
        self.config = config
        self.properties = Properties(
            size_multiple=LATENT_STRIDE,
            minimum_size=LATENT_STRIDE,
            receptive_field=DECODED_RADIUS,
            bytes_per_pixel=600 + 16 * config.ctdn_channels,
        )
        self.ReconNet = Autoencoder(config.ctdn_channels)
        self.retinex = Decomposition(config.ctdn_channels)

    def forward(self, low: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> the same picture by its latent, not clamped.

        Raises:
            InputError: a side that is no multiple of 8.
        """
        check_size(low, LATENT_STRIDE)
        return self.decode(*self.encode(low))

    def encode(self, image: Tensor) -> tuple[Tensor, Skips]:
        """``(B, 3, H, W)`` in [0, 1] -> the latent ``(B, 3, H/8, W/8)`` in (0, 1), and the skips of ``decode``.

        Sides that are no multiples of 8 are rounded up; such a latent can be decomposed, but not decoded.
        """
        return self.ReconNet.encode(image)

    def decode(self, latent: Tensor, skips: Skips) -> Tensor:
        """Latent ``(B, 3, h, w)`` in [0, 1] -> picture ``(B, 3, 8h, 8w)``, unbounded.

        Raises:
            InputError: skips of a picture with a side that is no multiple of 8, or of another size.
        """
        height, width = latent.shape[2:]
        if skips.half.shape[2:] != (4 * height, 4 * width) or skips.quarter.shape[2:] != (2 * height, 2 * width):
            raise InputError(
                f"lightendiffusion: a latent of {height}x{width} is decoded with the skips of a picture of "
                f"{LATENT_STRIDE * height}x{LATENT_STRIDE * width}: pad the picture to multiples of {LATENT_STRIDE}"
            )
        return self.ReconNet.decode(latent, skips)

    def decompose(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent ``(B, 3, h, w)`` -> reflectance and illumination (grey), each ``(B, 3, h, w)`` in (0, 1)."""
        return self.retinex(latent)


class Autoencoder(nn.Module):
    """Sections "encoder" and "decoder" of the paper, without the decomposition."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(c)
        self.channel_down = ChannelDown(c)
        self.channel_up = ChannelUp(c)
        self.block_up0 = ResidualBlock(4 * c, 4 * c)
        self.block_up1 = ResidualBlock(4 * c, 4 * c)
        self.up_sampling0 = UpSampling(4 * c, 2 * c)
        self.block_up2 = ResidualBlock(2 * c, 2 * c)
        self.block_up3 = ResidualBlock(2 * c, 2 * c)
        self.up_sampling1 = UpSampling(2 * c, c)
        self.block_up4 = ResidualBlock(c, c)
        self.block_up5 = ResidualBlock(c, c)
        self.up_sampling2 = UpSampling(c, c)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)
        self.conv3 = nn.Conv2d(c, 3, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, Skips]:
        skips = self.pyramid(image)
        return self.channel_down(skips.eighth), skips

    def decode(self, latent: Tensor, skips: Skips) -> Tensor:
        x = self.channel_up(latent)
        x = self.up_sampling0(self.block_up1(self.block_up0(x) + skips.eighth))
        x = self.up_sampling1(self.block_up3(self.block_up2(x) + skips.quarter))
        return _by_bands(self._finish, self.block_up5(self.block_up4(x) + skips.half), halo=2, load=4)

    def _finish(self, x: Tensor) -> Tensor:
        return self.conv3(_rectified(self.conv2(self.up_sampling2(x))))


class Pyramid(nn.Module):
    """``(B, 3, H, W)`` to features at 1/2, 1/4 and 1/8."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, c, 5, padding=2), nn.Conv2d(c, c, 5, padding=2))
        self.block0 = ResidualBlock(c, c)
        self.down0 = nn.Conv2d(c, c, 3, stride=2, padding=1)
        self.block1 = ResidualBlock(c, 2 * c)
        self.down1 = nn.Conv2d(2 * c, 2 * c, 3, stride=2, padding=1)
        self.block2 = ResidualBlock(2 * c, 4 * c)
        self.down2 = nn.Conv2d(4 * c, 4 * c, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> Skips:
        half = _by_bands(self._begin, image, halo=8, load=1)
        quarter = _by_bands(self._go_on, half, halo=4, load=2)
        return Skips(half, quarter, self.down2(self.block2(quarter)))

    def _begin(self, image: Tensor) -> Tensor:
        return self.down0(self.block0(self.convs(image)))

    def _go_on(self, half: Tensor) -> Tensor:
        return self.down1(self.block1(half))


class ChannelDown(nn.Module):
    """The latent's head: 4c channels to 3, in (0, 1)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(4 * c, 2 * c, 3, padding=1)
        self.conv1 = nn.Conv2d(2 * c, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(_rectified(self.conv1(_rectified(self.conv0(x))))).sigmoid()


class ChannelUp(nn.Module):
    """The latent's stem: 3 channels to 4c."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, c, 3, padding=1)
        self.conv1 = nn.Conv2d(c, 2 * c, 3, padding=1)
        self.conv2 = nn.Conv2d(2 * c, 4 * c, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        return self.conv2(_rectified(self.conv1(_rectified(self.conv0(latent)))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a 1x1 shortcut that is always there; no activation after the sum."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.LeakyReLU(_SLOPE, inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.conv = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).add_(self.conv(x))


class UpSampling(nn.Module):
    """A transposed convolution that doubles the size exactly, and leaky ReLU."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return _rectified(self.conv(x))


class Decomposition(nn.Module):
    """CTDN: content that is found in the illumination is moved to the reflectance."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, c, 3, padding=1)
        self.blocks0 = nn.Sequential(ResidualBlock(c, c), ResidualBlock(c, c))
        self.conv1 = nn.Conv2d(1, c, 3, padding=1)
        self.blocks1 = nn.Sequential(ResidualBlock(c, c), ResidualBlock(c, c))
        self.cross_attention = CrossAttention(c)
        self.self_attention = SelfAttention(c)
        self.conv0_1 = nn.Sequential(ResidualBlock(c, c), nn.Conv2d(c, 3, 3, padding=1))
        self.conv1_1 = nn.Sequential(ResidualBlock(c, c), nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 3, h, w)`` in (0, 1) -> reflectance and illumination, each ``(B, 3, h, w)`` in (0, 1)."""
        reflectance, illumination = initial_retinex(latent)
        a = self.blocks0(self.conv0(reflectance))
        b = self.blocks1(self.conv1(illumination))
        content = self.self_attention(b)
        reflectance = self.conv0_1(self.cross_attention(b, a) + content).sigmoid()
        return reflectance, self.conv1_1(b - content).sigmoid().expand_as(reflectance)


def initial_retinex(latent: Tensor) -> tuple[Tensor, Tensor]:
    """Reflectance ``(B, 3, h, w)`` and illumination ``(B, 1, h, w)``: the brightest channel, and what remains."""
    illumination = latent.amax(dim=1, keepdim=True)
    return latent / illumination.clamp(min=_SMALLEST), illumination


class CrossAttention(nn.Module):
    """Channels of one picture attend to channels of another, row by row."""

    def __init__(self, channels: int, heads: int = HEADS) -> None:
        super().__init__()
        self.scale = (channels / heads) ** -0.5
        self.query = SeparableConv(channels)
        self.key = SeparableConv(channels)
        self.value = SeparableConv(channels)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Both ``(B, C, h, w)``; queries from the first, keys and values from the second."""
        # rows to the front: (B, h, C, w)
        query, key, value = (
            layer(x).transpose(1, 2) for layer, x in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        weights = (query @ key.transpose(2, 3) * self.scale).softmax(dim=-1)
        return (weights @ value).transpose(1, 2)


class SeparableConv(nn.Module):
    """Depth-wise 3x3, then 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.point_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(x))


class SelfAttention(nn.Module):
    """Channels attend to channels inside each head, over all positions."""

    def __init__(self, channels: int, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``."""
        # (B, heads, C / heads, h w)
        query, key, value = (
            part.flatten(2).unflatten(1, (self.heads, -1)) for part in self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        )
        weights = (F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(2, 3)).softmax(dim=-1)
        return self.project_out((weights @ value).reshape(x.shape))


def check_size(image: Tensor, multiple: int) -> None:
    """Raises InputError unless both sides are multiples of ``multiple``."""
    height, width = image.shape[2:]
    if height % multiple or width % multiple or not height or not width:
        raise InputError(
            f"lightendiffusion: sides must be multiples of {multiple}, got {height}x{width}: pad the picture"
        )


def _by_bands(function: Callable[[Tensor], Tensor], x: Tensor, halo: int, load: int) -> Tensor:
    """``function`` of ``x``, some rows at a time where that saves memory: features at full size are most of it.

    Args:
        function: sees at most ``halo`` rows of its input to each side; doubles the number of rows, or halves it.
        load: how many times c features it makes of each pixel of x.
    """
    height, width = x.shape[2:]
    rows = max(_BAND // (load * width) // 8 * 8, 32)
    if torch.is_grad_enabled() or height <= rows:
        return function(x)
    parts = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        start, end = max(top - halo, 0), min(bottom + halo, height)
        part = function(x[:, :, start:end])
        first, last = ((row - start) * part.shape[2] // (end - start) for row in (top, bottom))
        parts.append(part[:, :, first:last])
    return torch.cat(parts, dim=2)


def _rectified(x: Tensor) -> Tensor:
    return F.leaky_relu_(x, _SLOPE)
