"""MambaLLIE: implicit Retinex-aware low-light enhancement with a global-then-local state space.

J. Weng, Z. Yan, Y. Tai, J. Qian, J. Yang, J. Li, NeurIPS 2024, arXiv 2405.16105. A U-net on three scales whose blocks
first scan the whole picture in four directions with a selective state space (LESSM), then weigh two kernel sizes at
every pixel (IRSK). Both are told the light by an illumination feature, made from R, G, B, their maximum and their mean.
sRGB in [0, 1] in and out, not clamped; sides are multiples of 4. The network predicts what is added to the picture.

Kept on purpose, for the published files: the 5x5 branch of IRSK works on the 3x3 one's result; its gates come from an
ordinary convolution that is called ``dwconv3``; the residual is taken from the dropped-out tokens; the illumination
feature is handed from block to block and dropped at the end of a group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tapetum.errors import UsageError
from tapetum.methods.contract import Properties
from tapetum.ops.grouped import GroupedConv2d
from tapetum.ops.selective_scan import cross_selective_scan

DIRECTIONS = 4
_SCALES = (1, 2, 4, 4, 2, 1)  # of the six groups: widths are nf times these, sides divided by them
# Of tiles. All of the picture has some influence on every pixel, so this is a choice: more overlap hardly brings a tile
# nearer to the whole (README.md says how near that is).
_OVERLAP = 64
_SMALL = 512  # longer side of the whole picture in small; about what networks are trained on


@dataclass(frozen=True)
class MambaLLIEConfig:
    """Hyper-parameters, named as in the published option files.

    Attributes:
        nf: channels at full resolution.
        depths: blocks of the six groups (full, half, quarter, quarter, half, full size); 0 leaves a group out.
        d_state: numbers of the state that each channel carries along the scan.
        mlp_ratio: inner width of a block over its width, a whole number.
        embed_dim: the option files repeat ``nf`` under this name; None: the same.
        dropout: share of the tokens' numbers that training drops at the entry of a block. A file does not tell it, so
            configurations that differ in nothing else are equal.

    Raises:
        UsageError: a value that no network can have.
    """

    nf: int = 48
    depths: tuple[int, int, int, int, int, int] = (1, 2, 2, 2, 2, 1)
    d_state: int = 32
    mlp_ratio: float = 2
    embed_dim: int | None = None
    dropout: float = field(default=0.1, compare=False)

    def __post_init__(self) -> None:
        if self.nf < 1 or self.d_state < 1:
            raise UsageError(f"mamballie: nf and d_state must be at least 1, got {self.nf} and {self.d_state}")
        if len(self.depths) != 6 or min(self.depths) < 0:
            raise UsageError(f"mamballie: depths must be six numbers from 0 up, got {self.depths}")
        if self.mlp_ratio < 1 or self.mlp_ratio % 1:
            raise UsageError(f"mamballie: mlp_ratio must be a whole number from 1 up, got {self.mlp_ratio}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"mamballie: dropout must be at least 0 and below 1, got {self.dropout}")
        if self.embed_dim not in (None, self.nf):
            raise UsageError(f"mamballie: embed_dim must equal nf, got {self.embed_dim} and {self.nf}")
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "mlp_ratio", int(self.mlp_ratio))
        object.__setattr__(self, "embed_dim", None)


class MambaLLIE(nn.Module):
    """``(B, 3, H, W)`` to the same size, sides multiples of 4; see the module's text."""

    def __init__(self, config: MambaLLIEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MambaLLIEConfig()
        self.properties = Properties(
            size_multiple=4,
            minimum_size=4,
            receptive_field=_OVERLAP,
            context="picture",
            thumbnail_size=_SMALL,
            no_onnx="its scan is no ONNX operator",
            bytes_per_pixel=bytes_per_pixel(config),
        )
        nf = config.nf
        self.conv_first_1 = nn.Conv2d(3, nf, 3, padding=1, bias=False)
        self._add_group(1)
        self.conv_first_2 = nn.Conv2d(nf, 2 * nf, 4, stride=2, padding=1, bias=False)
        self._add_group(2)
        self.conv_first_3 = nn.Conv2d(2 * nf, 4 * nf, 4, stride=2, padding=1, bias=False)
        self._add_group(3)
        self.conv_first_4 = nn.Conv2d(4 * nf, 4 * nf, 3, padding=1, bias=False)
        self._add_group(4)
        self.upconv1 = nn.ConvTranspose2d(4 * nf, 2 * nf, 2, stride=2)
        self.conv_first_5 = nn.Conv2d(4 * nf, 2 * nf, 3, padding=1, bias=False)
        self._add_group(5)
        self.upconv2 = nn.ConvTranspose2d(2 * nf, nf, 2, stride=2)
        self.conv_first_6 = nn.Conv2d(2 * nf, nf, 3, padding=1, bias=False)
        self._add_group(6)
        self.out_embed = nn.Conv2d(nf, 3, 3, padding=1)

    def _add_group(self, k: int) -> None:
        """``conv_first_K_fea`` and ``VSSB_K``."""
        config = self.config
        width, ratio = config.nf * _SCALES[k - 1], int(config.mlp_ratio)
        # published files have the features of an empty group, too; nothing uses them, and nothing trains them
        features = nn.Conv2d(5, width * ratio, 3, padding=1).requires_grad_(config.depths[k - 1] > 0)
        self.add_module(f"conv_first_{k}_fea", features)
        self.add_module(f"VSSB_{k}", Group(width, config.depths[k - 1], config.d_state, ratio, config.dropout))

    def forward(self, low: Tensor) -> Tensor:
        """``(B, 3, H, W) -> (B, 3, H, W)``. In training mode tokens are dropped by torch's default generator."""
        prior = illumination_prior(low)
        half, quarter = F.avg_pool2d(prior, 2), F.avg_pool2d(prior, 4)
        fine = self._group(1, self.conv_first_1(low), prior)
        middle = self._group(2, self.conv_first_2(fine), half)
        x = self._group(3, self.conv_first_3(middle), quarter)
        x = self._group(4, self.conv_first_4(x), quarter)
        x = self._group(5, self.conv_first_5(torch.cat([self.upconv1(x), middle], 1)), half)
        x = self._group(6, self.conv_first_6(torch.cat([self.upconv2(x), fine], 1)), prior)
        return self.out_embed(x) + low

    def _group(self, k: int, x: Tensor, prior: Tensor) -> Tensor:
        group = cast("Group", self.get_submodule(f"VSSB_{k}"))
        return group(x, self.get_submodule(f"conv_first_{k}_fea")(prior))[0] if len(group) else x


def illumination_prior(low: Tensor) -> Tensor:
    """R, G, B, their maximum and their mean: ``(B, 3, H, W) -> (B, 5, H, W)``."""
    return torch.cat([low, low.amax(1, keepdim=True), low.mean(1, keepdim=True)], 1)


class Group(nn.ModuleList):
    """Blocks of one width in sequence; none is the identity."""

    def __init__(self, width: int, depth: int, d_state: int, ratio: int, dropout: float = 0.1) -> None:
        super().__init__(GlobalThenLocalBlock(width, d_state, ratio, dropout) for _ in range(depth))

    def forward(self, x: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        """Image feature ``(B, D, H, W)`` and illumination feature ``(B, D r, H, W)`` to the same."""
        for block in self:
            x, light = block(x, light)
        return x, light


class GlobalThenLocalBlock(nn.Module):
    """GLSSB: the scan of the whole picture, then the selection of kernels."""

    def __init__(self, width: int, d_state: int, ratio: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.ln_1 = ChannelNorm(width)
        self.ss2d = LocallyEnhancedScan(width, d_state, ratio)
        self.ln_2 = ChannelNorm(width)
        self.ffn = SelectiveKernels(width, ratio)
        self.conv2d = GroupedConv2d(width * ratio, 3, groups=width, bias=False)

    def forward(self, x: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        """As :class:`Group`'s."""
        x = self.dropout(x)
        light = F.gelu(self.conv2d(light))
        x = x + self.ss2d(self.ln_1(x), light)
        return x + self.ffn(self.ln_2(x), light), light


class ChannelNorm(nn.LayerNorm):
    """Over the channels of every pixel, ``(B, C, H, W)``."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LocallyEnhancedScan(nn.Module):
    """LESSM: a gated selective scan of the picture along rows and columns, both ways, with a local bias of the light.

    ``x_proj_weight[k]`` gives each position of direction k its step size (of low rank), input and output vectors.
    """

    def __init__(self, width: int, d_state: int, ratio: int) -> None:
        super().__init__()
        inner, rank = width * ratio, math.ceil(width / 16)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.A_logs = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(DIRECTIONS * inner, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.conv2d_2 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.out_norm = ChannelNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        nn.init.uniform_(self.x_proj_weight, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():  # biases whose softplus is log-uniform in 0.001 .. 0.1
            step = torch.empty_like(self.dt_projs_bias).uniform_(math.log(0.001), math.log(0.1)).exp_().clamp_(min=1e-4)
            self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, x: Tensor, light: Tensor) -> Tensor:
        """``(B, D, H, W)`` and the light ``(B, D r, H, W)`` to ``(B, D, H, W)``."""
        u, gate = pointwise(self.in_proj, x).chunk(2, 1)
        u = F.silu(self.conv2d(u))
        y = cross_selective_scan(u, self.x_proj_weight, self.dt_projs_weight, self.dt_projs_bias, self.A_logs, self.Ds)
        y = y + self.local_bias(light)
        return pointwise(self.out_proj, self.out_norm(y) * F.silu(gate))

    def local_bias(self, light: Tensor) -> Tensor:
        """What the light adds to the scan's result."""
        return F.silu(self.conv2d_2(light))


class SelectiveKernels(nn.Module):
    """IRSK: the light chooses at every pixel how much of a small and of a large kernel is taken."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        inner = width * ratio
        self.project_in = nn.Conv2d(width, inner, 1)
        self.dwconv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.dwconv2 = GroupedConv2d(inner, 5, groups=inner)
        self.dwconv3 = nn.Conv2d(inner, 2, 3, padding=1)
        self.dwconv4 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.project_out = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor, light: Tensor) -> Tensor:
        """``(B, D, H, W)`` and the light ``(B, D r, H, W)`` to ``(B, D, H, W)``."""
        x = self.project_in(x)
        small = self.dwconv(x)
        large = self.dwconv2(small)
        small_share, large_share = torch.sigmoid(self.dwconv3(light)).chunk(2, 1)
        x = x + (small * small_share + large * large_share) * x
        return self.project_out(F.gelu(self.dwconv4(x)))


def pointwise(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer without bias on the channels of ``(B, C, H, W)``."""
    return F.conv2d(x, linear.weight[:, :, None, None])


def bytes_per_pixel(config: MambaLLIEConfig) -> int:
    """Working memory of one pass, from measurements (benchmarks/mamballie.py), a tenth to a fifth below it."""
    return int(config.nf * (16 + 56 * config.mlp_ratio) + 20 * config.d_state)
