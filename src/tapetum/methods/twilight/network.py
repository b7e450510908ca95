"""Twilight: a tone curve per pixel, chosen by a small U-net that knows the whole picture from its thumbnail.

Idea: a dark photograph needs a brighter tone curve and less noise. The curve family is the Moebius map

    curve(x; a) = a x / (1 + (a - 1) x),       a > 0 the slope at black,

which fixes 0 and 1, is monotone for every ``a``, is the identity at a = 1 and never clips a light source. A thumbnail
of the whole picture sets one slope per channel; a three-level U-net at half resolution corrects it for every pixel and
subtracts the noise:

    a = exp(global + local),      enhanced = curve(low; a) + residual.

In and out: sRGB, ``(N, 3, H, W)`` in [0, 1] (the output may pass the range a little: it is not clamped), height and
width multiples of 8. Every operator is a convolution, a ReLU or arithmetic, so that any inference engine is fast.
This network is tapetum's own: there is no paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tapetum.methods.contract import Properties

THUMBNAIL = 64


@dataclass(frozen=True)
class TwilightConfig:
    """Channels at 1/2, 1/4 and 1/8 of the resolution, and of the thumbnail's summary."""

    width: int = 24
    middle: int = 48
    deep: int = 54
    context: int = 24


class Twilight(nn.Module):
    """See the module's text. ``context`` is the thumbnail of the whole picture, ``(N, 3, 64, 64)``."""

    def __init__(self, config: TwilightConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TwilightConfig()
        # receptive field: 2 (head and decoder: 3 convolutions 3x3, encoder 3) + 4 (three blocks 3x3) + 8 (two blocks
        # 5x5), and the strided steps; measured by tests/methods/test_twilight.py
        self.properties = Properties(
            size_multiple=8,
            minimum_size=8,
            receptive_field=64,
            context="thumbnail",
            thumbnail_size=THUMBNAIL,
            bytes_per_pixel=320,
        )
        width, middle, deep = config.width, config.middle, config.deep
        self.thumbnail = Thumbnail(config.context)
        self.slope = nn.Linear(config.context, 3)
        self.stem = nn.Conv2d(24, width, 3, padding=1)
        self.encode = nn.Sequential(DenseBlock(width))
        self.down = nn.Conv2d(width, middle, 2, stride=2)
        self.encode_middle = SeparableBlock(middle, 3)
        self.down_middle = nn.Conv2d(middle, deep, 2, stride=2)
        self.bottom = nn.Sequential(SeparableBlock(deep, 5), SeparableBlock(deep, 5))
        self.up_middle = nn.Conv2d(deep, middle, 1)
        self.decode_middle = nn.Sequential(SeparableBlock(middle, 3), SeparableBlock(middle, 3))
        self.up = nn.Conv2d(middle, width, 1)
        self.decode = nn.Sequential(DenseBlock(width))
        self.head = nn.Conv2d(width, 24, 3, padding=1)
        self.modulate = Modulation(config.context, width)
        self.modulate_middle = Modulation(config.context, middle)
        self.modulate_deep = Modulation(config.context, deep)
        with torch.no_grad():  # begin near the identity
            self.head.weight.mul_(0.1)
            for layer in (self.head.bias, self.slope.weight, self.slope.bias):
                if layer is not None:
                    layer.zero_()

    def forward(self, low: Tensor, context: Tensor | None = None) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] -> ``(N, 3, H, W)``; ``context``: the whole picture's thumbnail, or None where
        ``low`` is the whole picture."""
        if context is None:
            context = F.adaptive_avg_pool2d(low, THUMBNAIL)
        summary = self.thumbnail(context)
        slope = self.slope(summary)[:, :, None, None]
        lit = curve(low, steepness(slope))

        fine = F.relu(self.stem(F.pixel_unshuffle(torch.cat([low, lit], 1), 2)))
        fine = self.encode(self.modulate(fine, summary))
        middle = self.encode_middle(self.modulate_middle(F.relu(self.down(fine)), summary))
        deep = self.bottom(self.modulate_deep(F.relu(self.down_middle(middle)), summary))
        middle = self.decode_middle(middle + upsample(self.up_middle(deep)))
        fine = self.decode(fine + upsample(self.up(middle)))
        local, residual = F.pixel_shuffle(self.head(fine), 2).chunk(2, 1)
        return curve(low, steepness(slope + local)) + residual


def curve(x: Tensor, slope: Tensor) -> Tensor:
    """The Moebius tone curve: 0 -> 0, 1 -> 1, derivative ``slope`` at 0."""
    gained = slope * x
    return gained / (gained + (1 - x))


def steepness(exponent: Tensor) -> Tensor:
    """exp, kept from running away: a slope beyond 400 or below 1/400 at black is no picture's."""
    return torch.exp(exponent.clamp(-6, 6))


def upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Thumbnail(nn.Module):
    """What the whole picture is like: ``(N, 3, 64, 64)`` -> ``(N, features)``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.project = nn.Linear(48, features)

    def forward(self, thumbnail: Tensor) -> Tensor:
        # the square root spreads the dark values out; the offset keeps its gradient finite at black
        features = self.layers(torch.sqrt(thumbnail.clamp(min=0) + 1e-4))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return F.relu(self.project(pooled))


class Modulation(nn.Module):
    """Scales and shifts features by what the whole picture is like (FiLM: Perez et al., AAAI 2018)."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, summary: Tensor) -> Tensor:
        scale, shift = self.linear(summary)[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift


class DenseBlock(nn.Module):
    """Residual pair of 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class SeparableBlock(nn.Module):
    """Residual depthwise convolution and a pointwise expansion by two."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.contract = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.contract(F.relu(self.expand(self.depthwise(x))))


def recognise(state: Mapping[str, Tensor]) -> TwilightConfig | None:
    """The configuration of a state dict, or None where it is another method's."""
    keys = ("stem.weight", "down.weight", "down_middle.weight", "slope.weight", "thumbnail.project.weight")
    if not all(key in state for key in keys):
        return None
    return TwilightConfig(
        width=state["stem.weight"].shape[0],
        middle=state["down.weight"].shape[0],
        deep=state["down_middle.weight"].shape[0],
        context=state["slope.weight"].shape[1],
    )
