"""UPT-Flow's map of balanced points, and its encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tapetum.methods.uptflow import FlowObjective, UPTFlow
from tapetum.methods.uptflow.blocks import ChannelAttention, WindowAttention, from_windows, into_windows, shift_mask
from tapetum.methods.uptflow.encoder import balanced_points, drop_rates
from tapetum.methods.uptflow.whole_picture import WholePicture

Shaken = Callable[..., UPTFlow]
Make = Callable[..., Tensor]


def test_map_of_balanced_points() -> None:
    pixels = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 1, 0.2], [1, 1, 0.3], [1 / 255, 1 / 255, 1 / 255], [0.5, 0.5, 0]])
    found = balanced_points(pixels.T.reshape(1, 3, 1, 6))
    assert found.flatten().tolist() == [0, 1, 0, 1, 1, 0]


def test_only_the_map_drives_the_attention() -> None:
    attention = WindowAttention(8, 2, 5)
    with torch.no_grad():
        guide, picture = torch.rand(3, 5, 5, 8), torch.rand(3, 5, 5, 8)
        once, twice = attention(picture, guide, None), attention(2 * picture, guide, None)
        # what is linear in the picture has weights that do not know it
        both = attention(torch.zeros_like(picture), guide, None)
        torch.testing.assert_close(twice - both, 2 * (once - both))
        assert not torch.allclose(attention(picture, guide.flip(0) * 9, None), once)


def test_attention_between_channels_of_many_pixels_in_float16() -> None:
    torch.manual_seed(0)
    attention, x = ChannelAttention(4, 2), torch.randn(1, 4, 96, 96)
    with torch.no_grad():
        attention.qkv.weight.mul_(40)
        queries, keys, _ = attention.qkv_dwconv(attention.qkv(x))[0].flatten(1).chunk(3)
        assert (queries[:2] @ keys[:2].T).abs().max() > 65504  # float16 ends there
        expected = attention(x, WholePicture())
        with torch.autocast("cpu", torch.float16):
            found = attention(x, WholePicture())
    torch.testing.assert_close(found.float(), expected, atol=0.02 * expected.std().item(), rtol=0.02)


def test_windows_there_and_back() -> None:
    x = torch.rand(2, 10, 15, 3)
    windows = into_windows(x, 5)
    assert windows.shape == (12, 5, 5, 3)
    assert torch.equal(windows[1], x[0, :5, 5:10])
    assert torch.equal(from_windows(windows, 2, 3), x)


def test_shifted_windows_keep_what_was_apart() -> None:
    mask = shift_mask(2, 2, 4, 2, torch.device("cpu"))
    assert (mask[0] == 0).all()
    assert mask[1, 0].tolist() == [0, 0, -100, -100] * 4
    assert mask[2, 0].tolist() == [0] * 8 + [-100] * 8
    assert mask[3, 0].tolist() == [0, 0, -100, -100] * 2 + [-100] * 8


def test_drop_rates_are_the_published_ones() -> None:
    found = drop_rates(0.1, (2,) * 7)
    expected = [[0, 0.02], [0.04, 0.06], [0.08, 0.1], [0.1, 0.1], [0.1, 0.08], [0.06, 0.04], [0.02, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_constant_in_every_key_changes_nothing_and_matrices_count(shaken: Shaken, picture: Make) -> None:
    network, low = shaken(), picture()
    with torch.no_grad():
        before = network(low)
        for name, parameter in network.named_parameters():
            if name.endswith(".to_k.bias"):
                parameter.add_(1.0)
        torch.testing.assert_close(network(low), before, atol=1e-5, rtol=1e-5)
        for name, parameter in network.named_parameters():
            if name.endswith("ChannelGate.mlp.1.bias"):
                parameter.fill_(1.0)  # its only hidden unit is alive
            elif name.endswith(".invconv.weight"):
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                continue
            after = network(low)
            assert not torch.equal(after, before), name
            before = after


def test_every_parameter_learns_from_the_likelihood(shaken: Shaken, picture: Make) -> None:
    network = shaken().train()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("ChannelGate.mlp.1.bias"):
                parameter.fill_(1.0)  # its only hidden unit is alive
    FlowObjective()(network, {"low": picture(count=2), "target": picture(count=2) * 2})["loss"].backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not idle
