"""Grouped convolutions with their own gradient: torch's layer is the reference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tapetum.ops.grouped import GroupedConv2d

CASES = [(6, 5, 6, True), (6, 3, 3, False), (6, 5, 2, True), (4, 3, 4, True)]  # channels, kernel, groups, bias


def torchs(layer: GroupedConv2d) -> nn.Conv2d:
    kernel, channels = layer.kernel_size[0], layer.in_channels
    other = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=layer.groups, bias=layer.bias is not None)
    other.load_state_dict(layer.state_dict())
    return other.to(layer.weight.dtype)


def gradients(layer: nn.Conv2d, x: Tensor, seed: int = 1) -> list[Tensor]:
    """The result, and the gradients of the input and the parameters."""
    layer, x = copy.deepcopy(layer), x.clone().requires_grad_()
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(y))
    found = [y.detach(), x.grad, *(p.grad for p in layer.parameters())]
    assert all(g is not None for g in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(("channels", "kernel", "groups", "bias"), CASES)
@pytest.mark.parametrize("shape", [(2, 9, 7), (1, 1, 1), (1, 2, 11)])
def test_equals_torchs(channels: int, kernel: int, groups: int, bias: bool, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer = GroupedConv2d(channels, kernel, groups, bias).double()
    batch, height, width = shape
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        ours = layer.to(memory_format=memory_format)
        laid = x.contiguous(memory_format=memory_format)
        for found, expected in zip(gradients(ours, laid), gradients(torchs(layer), x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_gradients_by_differences() -> None:
    torch.manual_seed(0)
    layer = GroupedConv2d(4, 5, 2).double()
    x = torch.randn(1, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *values))


def test_autocast_is_torchs() -> None:
    torch.manual_seed(0)
    layer, x = GroupedConv2d(8, 5, 4), torch.randn(2, 8, 12, 10)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = gradients(layer, x), gradients(torchs(layer), x)
    assert [f.dtype for f in found] == [e.dtype for e in expected]
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f.float(), e.float(), rtol=0.03, atol=0.03 * float(e.abs().max()))


def test_what_is_not_learnt_has_no_gradient() -> None:
    layer, x = GroupedConv2d(4, 5, 4).requires_grad_(False), torch.randn(1, 4, 6, 6, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
    half = GroupedConv2d(4, 5, 4)
    assert half.bias is not None
    half.bias.requires_grad_(False)
    half(torch.randn(1, 4, 6, 6)).sum().backward()  # the input learns nothing
    assert half.weight.grad is not None
    assert half.bias.grad is None


def test_a_kernel_that_has_no_fast_form() -> None:
    with pytest.raises(ValueError, match="kernel must be 3 or 5, got 7"):
        GroupedConv2d(4, 7, 4)
