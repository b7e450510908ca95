"""DED-Net: multi-scale feature enhancement, Retinex decoupling, illumination-guided restoration.

H. Dong, S. Cheng, Z. Tu, J. Chen, T. Fang, "DED-Net: A Multi-Scale Feature Enhancement Framework for Low-Light Image
Enhancement", submitted to The Visual Computer. sRGB in [0, 1] in and out, not clamped; sides are multiples of 4, from
12 up. Estimator, attention and restorer are Retinexformer's; what is new looks at the picture at three scales first.

Kept on purpose, for the published weights: the estimator sees ``E + I``, although E holds I already; the smallest scale
ends without ReLU; resizing aligns corners, so that small scales are shifted a little, by an amount that depends on the
picture's size; the feed-forward layers are dense where the paper says depth-wise separable (both are here).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.errors import InputError, UsageError
from tapetum.methods.blocks.attention import AttentionMatrices, AttentionNetwork
from tapetum.methods.blocks.illumination import ESTIMATOR_RADIUS, IlluminationEstimator
from tapetum.methods.blocks.restorer import RestorerU, restorer_radius
from tapetum.methods.contract import Properties

MINIMUM_SIZE = 12
_INSIDE, _AT_THE_END, _HEADS = 32, 24, 8  # channels of the feature enhancer, and heads of its aggregation
# Of the feature enhancer: six 3x3 convolutions at 1/8, the two strided ones, interpolation, two convolutions at the
# end, and what aligned corners shift the smallest scale by at most.
_ENHANCER_RADIUS = 6 * 8 + 4 + 1 + 8 + 2 + 11


@dataclass(frozen=True)
class DEDNetConfig:
    """Hyper-parameters, named as in the published option files.

    Attributes:
        n_feat: channels of the restorer at full resolution; a multiple of 4. (The feature enhancer has its own.)
        stage: how many stages follow each other, each with its own weights.
        num_blocks: attention blocks at full size, half size and quarter size.
        ffn: feed-forward layers "dense" as in the published program, or "separable" as in the paper's text.

    Raises:
        UsageError: a value that no network can have.
    """

    n_feat: int = 40
    stage: int = 1
    num_blocks: tuple[int, int, int] = (1, 2, 2)
    ffn: Literal["dense", "separable"] = "dense"

    def __post_init__(self) -> None:
        if self.n_feat < 4 or self.n_feat % 4:
            raise UsageError(f"dednet: n_feat must be a multiple of 4, got {self.n_feat}")
        if self.stage < 1:
            raise UsageError(f"dednet: stage must be at least 1, got {self.stage}")
        if len(self.num_blocks) != 3 or min(self.num_blocks) < 1:
            raise UsageError(f"dednet: num_blocks must be three numbers from 1 up, got {self.num_blocks}")
        if self.ffn not in ("dense", "separable"):
            raise UsageError(f"dednet: ffn must be dense or separable, got {self.ffn!r}")


class DEDNet(AttentionNetwork):
    """``(B, 3, H, W)`` to the same size, sides multiples of 4 and at least 12; see the module's text."""

    def __init__(self, config: DEDNetConfig) -> None:
        super().__init__()
        self.config = config
        reach = restorer_radius(config.num_blocks, per_block={"dense": 5, "separable": 4}[config.ffn])
        self.properties = Properties(
            size_multiple=4,
            minimum_size=MINIMUM_SIZE,
            receptive_field=config.stage * (_ENHANCER_RADIUS + ESTIMATOR_RADIUS + reach),
            context="statistics",
            exact_tiles=False,
            thumbnail_size=512,
            bytes_per_pixel=1100 + 100 * config.n_feat,
        )
        self.body = nn.ModuleList(Stage(config.n_feat, config.num_blocks, config.ffn) for _ in range(config.stage))

    def _run(self, low: Tensor, matrices: AttentionMatrices) -> Tensor:
        height, width = low.shape[2:]
        if height < MINIMUM_SIZE or width < MINIMUM_SIZE:
            raise InputError(
                f"dednet: pictures must have at least {MINIMUM_SIZE}x{MINIMUM_SIZE} pixels, got {height}x{width}: "
                "enlarge or pad them"
            )
        for stage in self.body:
            low = stage(low, matrices)
        return low


class Stage(nn.Module):
    """Look ahead, estimate the light with and without that, light up, restore."""

    def __init__(self, width: int, num_blocks: tuple[int, int, int], ffn: str) -> None:
        super().__init__()
        self.estimator = IlluminationEstimator(width)
        self.denoiser = RestorerU(3, width, num_blocks, guided=True, feed_forward=partial(FeedForward, ffn=ffn))
        self.feat_enhancer = FeatureEnhancer()

    def forward(self, low: Tensor, matrices: AttentionMatrices) -> Tensor:
        """``(B, 3, H, W) -> (B, 3, H, W)``."""
        feature, illumination = self.estimator(low)
        ahead_feature, ahead_illumination = self.estimator(self.feat_enhancer(low) + low)
        lit = low * (illumination / 2 + ahead_illumination / 2) + low
        return self.denoiser(lit, feature / 2 + ahead_feature / 2, matrices)


class FeatureEnhancer(nn.Module):
    """IFE, after FeatEnHancer (ICCV 2023): features of three scales by the same weights, joined at full size."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter_conv = nn.Conv2d(3, 3, 3, stride=4, padding=1)
        self.hexa_conv = nn.Conv2d(3, 3, 3, stride=2)  # of the quarter: about an eighth
        self.e_conv1 = nn.Conv2d(3, _INSIDE, 3, padding=1)
        self.e_conv2 = nn.Conv2d(_INSIDE, _INSIDE, 3, padding=1)
        self.e_conv3 = nn.Conv2d(_INSIDE, _INSIDE, 3, padding=1)
        self.e_conv4 = nn.Conv2d(_INSIDE, _INSIDE, 3, padding=1)
        self.e_conv5 = nn.Conv2d(2 * _INSIDE, _INSIDE, 3, padding=1)
        self.e_conv6 = nn.Conv2d(2 * _INSIDE, _INSIDE, 3, padding=1)
        self.e_conv7 = nn.Conv2d(2 * _INSIDE, _AT_THE_END, 3, padding=1)
        self.scale_aware_aggregation = ScaleAwareAggregation(_AT_THE_END)
        self.ue_conv8 = nn.Conv2d(2 * _AT_THE_END, _AT_THE_END, 3, padding=1)
        self.fin_conv = nn.Conv2d(_AT_THE_END, 3, 3, padding=1)

    def forward(self, low: Tensor) -> Tensor:
        """``(B, 3, H, W)``, sides at least 9 -> the picture and what is added to it, ``(B, 3, H, W)``."""
        quarter = self.quarter_conv(low)
        eighth = self.hexa_conv(quarter)
        full_feature, quarter_feature = F.relu(self._feature(low)), F.relu(self._feature(quarter))
        joined = self.scale_aware_aggregation(full_feature, quarter_feature) + full_feature
        coarse = _resized(self._feature(eighth), low.shape[2:])
        return low + F.relu(self.fin_conv(F.relu(self.ue_conv8(torch.cat([joined, coarse], dim=1)))))

    def _feature(self, picture: Tensor) -> Tensor:
        """``(B, 3, h, w) -> (B, 24, h, w)``, before the last ReLU."""
        f1 = F.relu(self.e_conv1(picture))
        f2 = F.relu(self.e_conv2(f1))
        f3 = F.relu(self.e_conv3(f2))
        f4 = F.relu(self.e_conv4(f3))
        f5 = F.relu(self.e_conv5(torch.cat([f1, f4], dim=1)))
        f6 = F.relu(self.e_conv6(torch.cat([f2, f3], dim=1)))
        return self.e_conv7(torch.cat([f5, f6], dim=1))


class ScaleAwareAggregation(nn.Module):
    """SAFA: weighs the full and the quarter scale against each other, at every position and for every head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv1 = nn.Conv2d(channels, channels, 3, stride=4, padding=1, groups=channels)
        self.key_conv = nn.Conv2d(channels, channels, 1, groups=channels)

    def forward(self, full: Tensor, quarter: Tensor) -> Tensor:
        """full ``(B, C, H, W)``, quarter ``(B, C, ceil(H/4), ceil(W/4))`` -> ``(B, C, H, W)``."""
        keys = self.key_conv(quarter).unflatten(1, (_HEADS, -1))
        scales = torch.stack([self.query_conv1(full).unflatten(1, (_HEADS, -1)), keys])
        scores = (scales * keys).sum(dim=3, keepdim=True) / scales.shape[3] ** 0.25
        mixed = (scores.softmax(dim=0) * scales).sum(dim=0).flatten(1, 2)
        return _resized(mixed, full.shape[2:])


class FeedForward(nn.Module):
    """1x1 to four times the width, two spatial layers, 1x1 back; GELU between, no bias. Channels-last in and out.

    Args:
        ffn: "dense": convolutions 3x3 and 5x5 over all channels; "separable": twice depth-wise 3x3 and then 1x1.
    """

    def __init__(self, width: int, mult: int = 4, *, ffn: str) -> None:
        super().__init__()
        hidden = width * mult
        self.net = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False),
            nn.GELU(),
            _spatial(hidden, 3, ffn),
            nn.GELU(),
            _spatial(hidden, 5, ffn),
            nn.GELU(),
            nn.Conv2d(hidden, width, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C) -> (B, H, W, C)``."""
        return self.net(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class SeparableConv(nn.Module):
    """Depth-wise 3x3, then 1x1, with nothing between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise_conv = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        return self.pointwise_conv(self.depthwise_conv(x))


def _spatial(width: int, kernel: int, ffn: str) -> nn.Module:
    if ffn == "separable":
        return SeparableConv(width)
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False)


def _resized(feature: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(feature, size=list(size), mode="bilinear", align_corners=True)
