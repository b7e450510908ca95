"""Invertible layers without a condition. Each has ``forward`` (to the latent) and ``inverse`` (back to the picture).

Both add their log-determinant to a :class:`LogDeterminant` where one is given; that of ``inverse`` is minus that of
``forward`` at its result. Sources: squeeze, Real NVP (Dinh et al., ICLR 2017); ActNorm, invertible 1x1 convolution,
split, Glow (Kingma and Dhariwal, NeurIPS 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.uptflow.blocks import pointwise

LOG_TWO_PI = math.log(2 * math.pi)
LOGS_FACTOR = 3.0
_STD_EPS = 1e-6


class LogDeterminant:
    """What the layers of one pass add their log-determinants to, position by position.

    Attributes:
        fields: one per addition, ``(B, h, w)`` at the layer's own size.
    """

    def __init__(self) -> None:
        self.fields: list[Tensor] = []

    def add(self, field: Tensor) -> None:
        """``(B, h, w)``."""
        self.fields.append(field)

    def add_constant(self, value: Tensor, like: Tensor) -> None:
        """A scalar at each position of ``like`` ``(B, C, h, w)``."""
        self.add(value.expand(like.shape[0], *like.shape[2:]))

    def total(self) -> Tensor:
        """``(B,)``: of the whole pass."""
        return torch.stack([field.sum(dim=(1, 2)) for field in self.fields]).sum(dim=0)

    def density(self, size: Sequence[int]) -> Tensor:
        """``(B, H, W)``: each field spread evenly over the pixels that its positions stand for."""
        total = torch.zeros((), device=self.fields[0].device)
        for shape in {field.shape for field in self.fields}:
            field = torch.stack([f for f in self.fields if f.shape == shape]).sum(dim=0)
            across = size[1] // shape[2]
            total = total + spread(field, across)
        return total


def spread(field: Tensor, factor: int) -> Tensor:
    """``(B, h, w) -> (B, h factor, w factor)``, the sum unchanged."""
    return field.repeat_interleave(factor, 1).repeat_interleave(factor, 2) / factor**2


class Squeeze(nn.Module):
    """2x2 pixels become channels ``4c + 2 dy + dx``. Its log-determinant is 0."""

    def forward(self, x: Tensor, log_det: LogDeterminant | None = None) -> Tensor:
        """``(B, C, H, W) -> (B, 4C, H/2, W/2)``."""
        return F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)

    def inverse(self, y: Tensor, log_det: LogDeterminant | None = None) -> Tensor:
        """``(B, 4C, h, w) -> (B, C, 2h, 2w)``."""
        return F.pixel_shuffle(y, 2)


class ActNorm(nn.Module):
    """``(x + bias) exp(logs)`` per channel, initialised by the first batch that it sees while training.

    No file stores whether that has happened: a bias with any value but 0 says so (as published). While training,
    ``forward`` initialises; ``inverse`` never does.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.begun = False  # so that not every step asks a device

    def forward(self, x: Tensor, log_det: LogDeterminant | None = None) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``."""
        self.begin(x)
        if log_det is not None:
            log_det.add_constant(self.logs.sum(), x)
        return (x + self.bias) * self.logs.exp()

    def inverse(self, y: Tensor, log_det: LogDeterminant | None = None) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``."""
        if log_det is not None:
            log_det.add_constant(-self.logs.sum(), y)
        return y * (-self.logs).exp() - self.bias

    def begin(self, x: Tensor) -> None:
        """Sets the parameters from a batch, where training begins: mean 0, deviation 1 (a constant channel: gain 1e6).

        Does nothing in eval mode, or where they are set already.
        """
        if not self.training or self.begun:
            return
        with torch.no_grad():
            if not self.bias.any():
                x = x.detach().to(self.bias.dtype)
                mean = x.mean(dim=(0, 2, 3), keepdim=True)
                deviation = (x - mean).square().mean(dim=(0, 2, 3), keepdim=True).sqrt()
                self.bias.copy_(-mean)
                self.logs.copy_(-(deviation + _STD_EPS).log())
        self.begun = True

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)  # type: ignore[arg-type]
        self.begun = False


def never_begun(network: nn.Module) -> str | None:
    """The name of the first ActNorm in which both parameters are 0 throughout, so that nothing has initialised it."""
    norms = {name: module for name, module in network.named_modules() if isinstance(module, ActNorm)}
    if not norms:
        return None
    begun = torch.stack([norm.bias.any() | norm.logs.any() for norm in norms.values()]).tolist()
    return next((name for name, yes in zip(norms, begun, strict=True) if not yes), None)


class InvertibleConv(nn.Module):
    """A 1x1 convolution with a square matrix. Determinant and inverse are computed in float64.

    The inverse is computed once for each state of the weights. (With gradients wanted: at each call.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])
        self._inverse: tuple[Tensor, Tensor] | None = None  # the weights, and their inverse

    def forward(self, x: Tensor, log_det: LogDeterminant | None = None) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``."""
        if log_det is not None:
            log_det.add_constant(self._log_determinant(), x)
        return _mixed(x, self.weight)

    def inverse(self, y: Tensor, log_det: LogDeterminant | None = None) -> Tensor:
        """``(B, C, h, w) -> (B, C, h, w)``.

        Raises:
            UsageError: the matrix has no inverse.
        """
        if log_det is not None:
            log_det.add_constant(-self._log_determinant(), y)
        return _mixed(y, self._inverted())

    def _log_determinant(self) -> Tensor:
        # autograd's own way for a determinant keeps no more than the factors
        return torch.linalg.slogdet(_double(self.weight)).logabsdet.to(self.weight.dtype)

    def _inverted(self) -> Tensor:
        weight = self.weight
        if torch.is_grad_enabled() and weight.requires_grad:
            return _invert(weight)
        # compared by value: what writes to weight.data, as averaging of weights does, counts no version
        if self._inverse is None or not _same(self._inverse[0], weight):
            with torch.inference_mode(False), torch.no_grad():  # tensors that may be kept for any later use
                self._inverse = (weight.detach().clone(), _invert(weight))
        return self._inverse[1]


class ScaledConv(nn.Conv2d):
    """A convolution whose result, with the bias, is multiplied by ``exp(3 logs)``; all begins at 0 (Glow)."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 1) -> None:
        super().__init__(channels, out_channels, kernel, padding=kernel // 2)
        self.logs = nn.Parameter(torch.zeros(out_channels, 1, 1))
        nn.init.zeros_(self.weight)
        nn.init.zeros_(cast("Tensor", self.bias))

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, h, w) -> (B, out_channels, h, w)``. (The factor is given to the weights, which are smaller.)"""
        gain = (LOGS_FACTOR * self.logs).exp()
        weight, bias = self.weight * gain[..., None], cast("Tensor", self.bias) * gain[:, 0, 0]
        return (
            pointwise(input, weight, bias)
            if weight.shape[2] == 1
            else F.conv2d(input, weight, bias, padding=self.padding)
        )


class Split(nn.Module):
    """Part of the channels leaves the flow, as noise under a normal law that the others predict.

    In no published configuration.

    Args:
        ratio: share of the channels that leaves.
        condition_channels: of the condition that helps to predict; 0: there is none.
    """

    def __init__(self, channels: int, ratio: float = 0.5, condition_channels: int = 0) -> None:
        super().__init__()
        self.leaving = round(channels * ratio)
        self.conv = ScaledConv(channels - self.leaving + condition_channels, 2 * self.leaving, 3)

    def forward(
        self, x: Tensor, condition: Tensor | None = None, log_det: LogDeterminant | None = None
    ) -> tuple[Tensor, Tensor]:
        """``(B, C, h, w)`` -> what stays ``(B, C - leaving, h, w)``, noise ``(B, leaving, h, w)``."""
        stays, leaves = x.split([x.shape[1] - self.leaving, self.leaving], dim=1)
        mean, logs = self._law(stays, condition)
        if log_det is not None:
            log_det.add(gaussian_log_density(leaves, mean, logs).sum(dim=1))
        return stays, (leaves - mean) * (-logs).exp()

    def inverse(
        self, stays: Tensor, noise: Tensor, condition: Tensor | None = None, log_det: LogDeterminant | None = None
    ) -> Tensor:
        """The inverse of ``forward``: ``(B, C, h, w)``."""
        mean, logs = self._law(stays, condition)
        leaves = mean + logs.exp() * noise
        if log_det is not None:
            log_det.add(-gaussian_log_density(leaves, mean, logs).sum(dim=1))
        return torch.cat([stays, leaves], dim=1)

    def _law(self, stays: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        h = self.conv(stays if condition is None else torch.cat([stays, condition], dim=1))
        return h[:, 0::2], h[:, 1::2]


def gaussian_log_density(x: Tensor, mean: Tensor | float = 0.0, logs: Tensor | float = 0.0) -> Tensor:
    """Of each value under a normal law with deviation ``exp(logs)``."""
    deviation = torch.as_tensor(logs, dtype=x.dtype, device=x.device)
    return -0.5 * (LOG_TWO_PI + 2 * deviation + (x - mean).square() * (-2 * deviation).exp())


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """Never in low precision: what is lost here cannot be decoded."""
    with torch.autocast(x.device.type, enabled=False):
        return pointwise(x.to(matrix.dtype), matrix)


def _same(kept: Tensor, now: Tensor) -> bool:
    return (kept.device, kept.dtype) == (now.device, now.dtype) and torch.equal(kept, now)


def _double(matrix: Tensor) -> Tensor:
    return matrix if matrix.device.type == "mps" else matrix.double()  # which has no float64


def _invert(matrix: Tensor) -> Tensor:
    inverse, info = torch.linalg.inv_ex(_double(matrix))
    inverse = inverse.to(matrix.dtype)
    if info.item() or not inverse.isfinite().all():
        raise UsageError(
            f"uptflow: an invertible 1x1 convolution of {len(matrix)} channels has no inverse: its weights are "
            "damaged, or its training diverged; take earlier weights"
        )
    return inverse
