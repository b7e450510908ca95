"""UPT-Flow's flow: there and back, its determinants, and how ActNorm begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum import Enhancer
from tapetum.errors import UsageError
from tapetum.methods.uptflow import METHOD, FlowObjective, UPTFlow
from tapetum.methods.uptflow.examination import round_trip_error
from tapetum.methods.uptflow.flow import Flow, FlowStep
from tapetum.methods.uptflow.invertible import ActNorm, InvertibleConv, LogDeterminant, Split, never_begun
from tapetum.methods.uptflow.objective import limit_log_scales
from tapetum.weights.loading import load_model, save_model

TINY = METHOD.configs["tiny"]
Shaken = Callable[..., UPTFlow]
Make = Callable[..., Tensor]


def jacobian_log_det(function: Any, x: Tensor) -> float:
    """Of ``function`` at x ``(1, ...)``, by automatic differentiation."""
    matrix = torch.autograd.functional.jacobian(function, x)
    return torch.linalg.slogdet(matrix.reshape(x.numel(), x.numel())).logabsdet.item()


@pytest.mark.parametrize("coupled", [False, True])
def test_log_determinant_of_a_step_is_that_of_the_jacobian(coupled: bool) -> None:
    torch.manual_seed(0)
    step = (FlowStep(4, 3, 16) if coupled else FlowStep(4)).double().eval()
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    x, condition = torch.randn(1, 4, 3, 2).double(), torch.randn(1, 3, 3, 2).double()
    forth, back = LogDeterminant(), LogDeterminant()
    with torch.no_grad():
        y = step(x, condition, forth)
        torch.testing.assert_close(step.inverse(y, condition, back), x, atol=1e-10, rtol=1e-10)
    expected = jacobian_log_det(lambda z: step(z, condition), x)
    assert forth.total().item() == pytest.approx(expected, abs=1e-8)
    assert back.total().item() == pytest.approx(-expected, abs=1e-8)
    assert jacobian_log_det(lambda z: step.inverse(z, condition), y) == pytest.approx(-expected, abs=1e-8)


def test_log_determinant_of_a_whole_flow_is_that_of_the_jacobian() -> None:
    torch.manual_seed(0)
    flow = Flow(K=1, extra_steps=1, condition_channels=2, hidden=16).double().eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    image = torch.rand(1, 3, 8, 8).double()
    given = [torch.randn(1, 2, side, side).double() for side in (4, 2, 1)]
    log_det = LogDeterminant()
    with torch.no_grad():
        latent = flow(image, given, log_det)
        torch.testing.assert_close(flow.inverse(latent, given), image, atol=1e-9, rtol=1e-9)
    assert latent.shape == (1, 192, 1, 1)
    assert log_det.total().item() == pytest.approx(jacobian_log_det(lambda x: flow(x, given), image), abs=1e-7)
    assert log_det.density((8, 8)).sum().item() == pytest.approx(log_det.total().item(), abs=1e-4)


def test_split_is_undone() -> None:
    split = Split(6, 1 / 3, 2)
    torch.nn.init.normal_(split.conv.weight, std=0.3)
    x, condition = torch.randn(2, 6, 4, 3), torch.randn(2, 2, 4, 3)
    forth, back = LogDeterminant(), LogDeterminant()
    with torch.no_grad():
        stays, noise = split(x, condition, forth)
        assert (stays.shape[1], noise.shape[1]) == (4, 2)
        torch.testing.assert_close(split.inverse(stays, noise, condition, back), x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(forth.total(), -back.total())


@pytest.mark.parametrize("name", ["lolv2_real", "smid"])
def test_round_trip_of_published_configurations(name: str, picture: Make) -> None:
    """At their full size, as training begins: every ActNorm was initialised by a batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UPTFlow(METHOD.configs[name]).train()
    low, target = picture(48, 64), picture(48, 64, seed=5) * 2
    with torch.no_grad():
        network.encode(target, network.conditions(low))
        conditions = network.eval().conditions(low)
        latent = torch.randn(1, 192, 6, 8, generator=torch.Generator().manual_seed(2))
        there, back = LogDeterminant(), LogDeterminant()
        again = network.encode(network.decode(latent, conditions, there), conditions, back)
    assert round_trip_error(network, conditions, target) < 1e-4
    assert (again - latent).abs().max() < 1e-4
    assert abs(there.total().item() + back.total().item()) < 1e-5 * abs(there.total().item())


def test_round_trip_in_float32(shaken: Shaken, picture: Make) -> None:
    network, low = shaken(), picture(24, 32)
    assert round_trip_error(network, network.conditions(low), picture(24, 32, seed=5) * 2) < 1e-4
    with torch.no_grad():
        given, latent = network.conditions(low), torch.randn(1, 192, 3, 4)
        torch.testing.assert_close(network.encode(network.decode(latent, given), given), latent, atol=1e-3, rtol=1e-4)


def test_inverse_is_computed_once_and_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, y, calls = InvertibleConv(6), torch.randn(1, 6, 2, 2), []
    real = torch.linalg.inv_ex
    monkeypatch.setattr(torch.linalg, "inv_ex", lambda *a: calls.append(1) or real(*a))
    with torch.inference_mode():
        first = layer.inverse(y)
        layer.inverse(y)
    assert len(calls) == 1
    with torch.no_grad():
        layer.weight.mul_(2)
        torch.testing.assert_close(layer.inverse(y), first / 2)
    assert len(calls) == 2
    with torch.no_grad():
        layer.weight.data.mul_(2)  # no version is counted: so averaged weights are put in for validation
        torch.testing.assert_close(layer.inverse(y), first / 4)
    layer.inverse(y).sum().backward()  # with gradients it is part of the graph
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer.weight[0] = 0
        with pytest.raises(UsageError, match=r"1x1 convolution of 6 channels has no inverse: its weights are damaged"):
            layer.inverse(y)


def test_actnorm_begins_with_the_first_batch_and_never_again(picture: Make) -> None:
    norm = ActNorm(3).train()
    x = torch.randn(4, 3, 5, 5) * torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1, 1) + 2
    y = norm(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-4, rtol=0)
    kept = norm.bias.clone()
    norm(x + 1)
    assert torch.equal(norm.bias, kept)
    fresh = ActNorm(3).train()
    fresh.load_state_dict(norm.state_dict())
    fresh(x + 7)
    assert torch.equal(fresh.bias, kept)  # what a file brings is not initialised again
    idle = ActNorm(3).eval()
    idle(x)
    idle.train().inverse(x)
    assert not idle.bias.any()  # neither eval mode nor decoding does it
    network = UPTFlow(TINY).train()
    with pytest.raises(UsageError, match="was never initialised"):
        network.decode(torch.randn(1, 192, 2, 3), network.conditions(picture()))
    assert not any(m.bias.any() for m in network.modules() if isinstance(m, ActNorm))


def test_the_first_step_initialises_all_and_limits_gains(picture: Make) -> None:
    network, objective = UPTFlow(TINY).train(), FlowObjective(log_scale_limit=3.0)
    assert never_begun(network) is not None
    target = picture(count=2) * 2
    target[:, 0] = 0.5  # flat channels: their gain would be 1e6
    objective(network, {"low": picture(count=2), "target": target})
    assert never_begun(network) is None
    assert max(m.logs.abs().max().item() for m in network.modules() if isinstance(m, ActNorm)) <= 3
    with torch.no_grad():
        network.flowUpsamplerNet.layers[1].actnorm.logs.fill_(40.0)
        limit_log_scales(network, 3.0)
    assert (network.flowUpsamplerNet.layers[1].actnorm.logs == 3).all()


def test_what_was_never_initialised_is_refused(tmp_path: Path, picture: Make) -> None:
    save_model(UPTFlow(TINY), tmp_path / "fresh.safetensors", {})
    network = load_model(tmp_path / "fresh.safetensors")
    with pytest.raises(UsageError, match=r"layers\.1\.actnorm was never initialised \(all zero\).*take trained ones"):
        network(picture())
    with pytest.raises(UsageError, match="was never initialised"):
        Enhancer(network, "cpu")(np.zeros((16, 16, 3), np.uint8))
