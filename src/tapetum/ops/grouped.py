"""Grouped convolutions of few channels a group that train as fast as others on a processor.

oneDNN has a fast form of the weights' gradient for depthwise 3x3 kernels only: for depthwise 5x5, and in bfloat16 for
groups of two channels, that gradient takes most of the layer's time (`python benchmarks/grouped.py`). But a 5x5 kernel
is four overlapping 3x3 ones, and groups of r channels are r depthwise convolutions of channels that change places.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupedConv2d(nn.Conv2d):
    """``nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups)``: the same parameters and values.

    Args:
        channels: of input and output.
        kernel: 3 or 5.
        groups: a divisor of ``channels``.
        bias: whether a number is added to each channel.
    """

    def __init__(self, channels: int, kernel: int, groups: int, bias: bool = True) -> None:
        if kernel not in (3, 5):
            raise ValueError(f"GroupedConv2d: the kernel must be 3 or 5, got {kernel}")
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and self.weight.requires_grad and input.device.type == "cpu"
        if not learns or torch.compiler.is_compiling():
            return super().forward(input)
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            input, weight, bias = input.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        return _Convolution.apply(input, weight, bias)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=len(weight) // weight.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, _, of_bias = ctx.needs_input_grad
        return (
            _gradients(grad, x, weight, weight.shape[2] // 2, (True, False))[0] if of_x else None,
            weight_gradient(grad, x, weight),
            grad.sum((0, 2, 3)) if of_bias else None,
        )


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Of the weight ``(C, per group, kernel, kernel)``; the result's gradient and the input are ``(B, C, H, W)``."""
    channels, per_group, kernel, _ = weight.shape
    height, width = x.shape[2:]
    whole, part = torch.empty_like(weight), weight.new_empty(channels, 1, 3, 3)
    output = torch.arange(channels)
    padded = F.pad(x, (kernel // 2,) * 4)
    for shift in range(per_group):  # every output channel of a group beside the input channel that many places on
        turned = padded.unflatten(1, (-1, per_group)).roll(-shift, 2).flatten(1, 2) if shift else padded
        places = (output + shift) % per_group
        for row in range(0, kernel - 2, 2):
            for column in range(0, kernel - 2, 2):
                seen = turned[:, :, row : row + height + 2, column : column + width + 2]
                of_part = _gradients(grad, seen, part, 0, (False, True))[1]
                whole[output, places, row : row + 3, column : column + 3] = of_part[:, 0]
    return whole


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, padding: int, wanted: tuple[bool, bool]) -> tuple[Tensor, ...]:
    """Of x and of the weight: what is wanted."""
    groups = len(weight) // weight.shape[1]
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], groups, [*wanted, False]
    )
