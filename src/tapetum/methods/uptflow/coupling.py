"""The cross-coupling conditional affine layer, and the small networks in it."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.methods.uptflow.blocks import pointwise
from tapetum.methods.uptflow.invertible import ActNorm, LogDeterminant, ScaledConv
from tapetum.methods.uptflow.whole_picture import WholePicture

SCALE_FLOOR = 3e-4
_SCALE_SHIFT = 2.0
_REDUCTION = 16
_SPREAD = 0.05  # of fresh weights


class CrossCoupling(nn.Module):
    """Four affine steps: everything by the condition; the second half also by the first; everything by the condition;
    the first half also by the new second.

    Each is ``(z + shift) scale``, scale = sigmoid(raw + 2) + 0.0003.

    Args:
        channels: of what is coupled; even.
        hidden: width of the four networks.
    """

    def __init__(self, channels: int, condition_channels: int, hidden: int) -> None:
        super().__init__()
        joined = channels // 2 + condition_channels
        self.fAffine_1 = CouplingNetwork(joined, channels, hidden)
        self.fAffine_2 = CouplingNetwork(joined, channels, hidden)
        self.fFeatures_1 = CouplingNetwork(condition_channels, 2 * channels, hidden)
        self.fFeatures_2 = CouplingNetwork(condition_channels, 2 * channels, hidden)

    def forward(
        self, z: Tensor, condition: Tensor, log_det: LogDeterminant | None = None, whole: WholePicture | None = None
    ) -> Tensor:
        """z ``(B, C, h, w)``, condition ``(B, D, h, w)`` -> ``(B, C, h, w)``."""
        whole = whole or WholePicture()
        z = _apply(z, self.fFeatures_1(condition, None, whole), log_det)
        first, second = z.chunk(2, dim=1)
        second = _apply(second, self.fAffine_1(condition, first, whole), log_det)
        first, second = _apply(torch.cat([first, second], 1), self.fFeatures_2(condition, None, whole), log_det).chunk(
            2, 1
        )
        first = _apply(first, self.fAffine_2(condition, second, whole), log_det)
        return torch.cat([first, second], dim=1)

    def inverse(
        self, z: Tensor, condition: Tensor, log_det: LogDeterminant | None = None, whole: WholePicture | None = None
    ) -> Tensor:
        """The same shapes."""
        whole = whole or WholePicture()
        first, second = z.chunk(2, dim=1)
        first = _undo(first, self.fAffine_2(condition, second, whole), log_det)
        first, second = _undo(torch.cat([first, second], 1), self.fFeatures_2(condition, None, whole), log_det).chunk(
            2, 1
        )
        second = _undo(second, self.fAffine_1(condition, first, whole), log_det)
        return _undo(torch.cat([first, second], 1), self.fFeatures_1(condition, None, whole), log_det)


def _apply(z: Tensor, prediction: tuple[Tensor, Tensor], log_det: LogDeterminant | None) -> Tensor:
    shift, scale = prediction
    if log_det is not None:
        log_det.add(scale.log().sum(dim=1))
    return (z + shift) * scale


def _undo(z: Tensor, prediction: tuple[Tensor, Tensor], log_det: LogDeterminant | None) -> Tensor:
    shift, scale = prediction
    if log_det is not None:
        log_det.add(-scale.log().sum(dim=1))
    return z / scale - shift


class CouplingNetwork(nn.Module):
    """1x1, 3x3, attention, 1x1: shift and scale for each value. (``model`` is the published files' list of layers.)"""

    def __init__(self, channels: int, out_channels: int, hidden: int) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {
                "0": NormedConv(channels, hidden, 1),
                "2": NormedConv(hidden, hidden, 3),
                "4": AttentionGates(hidden),
                "5": ScaledConv(hidden, out_channels),
            }
        )

    def forward(self, condition: Tensor, half: Tensor | None, whole: WholePicture) -> tuple[Tensor, Tensor]:
        """condition ``(B, D, h, w)``, half ``(B, C/2, h, w)`` or none -> shift and scale ``(B, out/2, h, w)``."""
        raw = self.predict(condition, half, whole)
        # shift and scale are never computed in low precision
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        return raw[:, 0::2], (raw[:, 1::2] + _SCALE_SHIFT).sigmoid() + SCALE_FLOOR

    def predict(self, condition: Tensor, half: Tensor | None, whole: WholePicture) -> Tensor:
        """``(B, out, h, w)``: shifts and raw scales, by turns."""
        first, second, gates, last = (self.model[name] for name in ("0", "2", "4", "5"))
        h = cast("NormedConv", first)(condition if half is None else torch.cat([half, condition.to(half.dtype)], 1))
        h = F.relu_(second(F.relu_(h)))
        return last(gates(h, whole))


class NormedConv(nn.Conv2d):
    """A convolution without bias, then ActNorm, which is given to the weights once it is initialised."""

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.actnorm = ActNorm(out_channels)
        nn.init.normal_(self.weight, std=_SPREAD)

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, h, w) -> (B, out_channels, h, w)``."""
        norm = self.actnorm
        if self.training and not norm.begun:
            norm.begin(super().forward(input))
        gain = norm.logs.exp().flatten()
        weight, bias = self.weight * gain[:, None, None, None], norm.bias.flatten() * gain
        if weight.shape[2] == 1:
            return pointwise(input, weight, bias)
        return F.conv2d(input, weight, bias, padding=self.padding)


class AttentionGates(nn.Module):
    """CBAM (Woo et al., ECCV 2018), a channel gate and then a spatial one, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // _REDUCTION
        self.ChannelGate = nn.Module()
        self.ChannelGate.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels)
        )
        self.SpatialGate = nn.Module()
        self.SpatialGate.spatial = nn.Module()
        self.SpatialGate.spatial.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor, whole: WholePicture) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``."""
        gate = whole.take(x.shape[1:2], lambda: self._channel_gate(x))
        gated = x * gate[:, :, None, None].to(x.dtype)
        extent = torch.cat([gated.amax(dim=1, keepdim=True), gated.mean(dim=1, keepdim=True)], dim=1)
        return torch.addcmul(x, gated, cast("Any", self.SpatialGate).spatial.conv(extent).sigmoid().to(x.dtype))

    def _channel_gate(self, x: Tensor) -> Tensor:
        mlp = cast("nn.Sequential", self.ChannelGate.mlp)
        return (mlp(x.mean(dim=(2, 3))) + mlp(x.amax(dim=(2, 3)))).sigmoid()
