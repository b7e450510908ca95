"""Large pictures in LightenDiffusion: bands and parts change nothing, and no pixel sees farther than declared."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tapetum.methods.lightendiffusion import LightenDiffusion, Stage1, Stage1Config, parts, stage1

Seeded = Callable[..., LightenDiffusion]
Make = Callable[..., Tensor]


@pytest.mark.parametrize("height", [64, 72, 200])
@pytest.mark.parametrize("training", [False, True])
def test_bands_change_nothing(
    height: int, training: bool, monkeypatch: pytest.MonkeyPatch, seeded: Seeded, picture: Make, run: Make
) -> None:
    network = seeded().decom.double().train(training)
    low = picture(2, height, 24).double()
    whole = run(network, low)
    calls: list[int] = []
    network.ReconNet.conv2.register_forward_hook(lambda module, inputs, output: calls.append(output.shape[2]))
    monkeypatch.setattr(stage1, "_BAND", 1)  # the fewest rows: 32 of the picture, 32 of its half
    torch.testing.assert_close(run(network, low), whole, atol=1e-12, rtol=1e-12)
    assert (len(calls) > 1) == (height // 2 > 32)
    del calls[:]
    network(low)
    assert calls == [height]  # with gradients there is nothing to save


@pytest.mark.parametrize("size", [(16, 16), (352, 32), (64, 400)])
def test_large_pictures_by_parts_are_as_if_in_one(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, seeded: Seeded, picture: Make, run: Make
) -> None:
    network, low = seeded().double(), picture(1, *size).double()
    whole = run(network, low)
    sizes: list[tuple[int, ...]] = []
    network.decom.ReconNet.pyramid.register_forward_hook(lambda module, inputs, _: sizes.append(inputs[0].shape[2:]))
    monkeypatch.setattr(parts, "SIDE", 8)
    monkeypatch.setattr(parts, "LARGEST", 0)
    torch.testing.assert_close(run(network, low), whole, atol=1e-12, rtol=0)
    assert len(sizes) == 2 * math.ceil(size[0] / 64) * math.ceil(size[1] / 64)
    assert max(max(each) for each in sizes) <= 64 + 2 * 152
    del sizes[:]
    network(low)
    assert sizes == [size]  # with gradients in one


@pytest.mark.parametrize("seen", ["_SEEN_ENCODING", "_SEEN_DECODING"])
def test_parts_are_shown_no_less_than_they_need(
    seen: str, monkeypatch: pytest.MonkeyPatch, seeded: Seeded, picture: Make, run: Make
) -> None:
    network, low = seeded().double(), picture(1, 352, 16).double()
    whole = run(network, low)
    monkeypatch.setattr(parts, "SIDE", 8)
    monkeypatch.setattr(parts, "LARGEST", 0)
    monkeypatch.setattr(parts, seen, 4)
    assert (run(network, low) - whole).abs().max() > 1e-12


def test_attention_keeps_no_weights_of_all_positions() -> None:
    """Else a large picture's latent takes gigabytes: 12288 positions, 600 MB."""
    from torch.profiler import ProfilerActivity, profile

    from tapetum.methods.lightendiffusion.noise_predictor import Attention

    layer, x = Attention(32), torch.rand(1, 32, 32, 32)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        layer(x)
    assert max(event.cpu_memory_usage for event in profiled.events() or ()) < 1024 * 1024 * 4 / 2


def test_no_pixel_of_stage_1_sees_farther_than_declared() -> None:
    network = Stage1(Stage1Config(8)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.01, 0.1) if parameter.dim() > 1 else parameter.zero_()  # nothing cancels
    declared = network.properties.receptive_field
    width = 8 * (2 * declared // 8 + 6)
    low = torch.rand(1, 3, 8, width, dtype=torch.float64, requires_grad=True)
    reach = 0
    for column in range(width // 2, width // 2 + 8):
        latent, skips = network.encode(low * 1e-9)  # where the sigmoid is not flat
        (gradient,) = torch.autograd.grad(network.decode(latent, skips)[0, :, 4, column].sum(), low)
        seen = gradient[0].abs().sum((0, 1)).nonzero()
        reach = max(reach, int((seen - column).abs().max()))
    assert 0.9 * declared < reach <= declared
