"""What must hold for every registered method that leaves choices to its user. Runs on its configuration "tiny"."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from tapetum.methods.contract import OF_THE_ENHANCER, Method, choose
from tapetum.methods.registry import get_method, list_methods
from tapetum.ops.random import PositionNoise


def build(method: Method) -> nn.Module:
    """The tiny network, its weights shaken so that what is sampled counts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method.network(method.configs["tiny"])
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return network.eval()


NETWORKS = {name: build(get_method(name)) for name in list_methods()}
WITH_OPTIONS = [name for name, network in NETWORKS.items() if network.properties.options]
WITH_NOISE = [name for name, network in NETWORKS.items() if network.properties.noise_scale is not None]
IN_STEPS = [name for name, network in NETWORKS.items() if network.properties.iterative]


def picture(network: nn.Module) -> Tensor:
    properties = network.properties
    side = -(-max(properties.minimum_size, 32) // properties.size_multiple) * properties.size_multiple
    channels = {"srgb": 3, "raw": 4}[properties.domain]
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(1)) * 0.5


def with_chance(network: nn.Module) -> dict[str, float]:
    """Options under which noise counts where it does not by default."""
    return {o.name: 0.5 for o in network.properties.options if o.name == "temperature"}


def noise(network: nn.Module, seed: int) -> Tensor:
    scale, channels = network.properties.noise_scale, network.noise_channels(**with_chance(network))
    assert channels > 0
    if scale == 0:
        return PositionNoise(seed).normal((1, channels, 1, 1))[..., 0, 0]
    size = picture(network).shape[-1] // scale
    return PositionNoise(seed).normal((1, channels, size, size))


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_options_are_keywords_with_these_defaults(name: str) -> None:
    network = NETWORKS[name]
    own = [option for option in network.properties.options if option.name not in OF_THE_ENHANCER]
    functions = ["forward", *(["noise_channels"] if name in WITH_NOISE else [])]
    functions += ["measure"] if network.properties.context == "statistics" else []
    for function in functions:
        parameters = inspect.signature(getattr(network, function)).parameters
        for option in own:
            assert parameters[option.name].kind is inspect.Parameter.KEYWORD_ONLY, (function, option.name)
            assert parameters[option.name].default in (option.default, None), (function, option.name)
    assert choose(network.properties.options, {}, name)
    for option in network.properties.options:
        assert option.check(option.default) == option.default
        assert len(option.help) < 80
        assert not option.help.endswith(".")
    low = picture(network)
    with torch.inference_mode():
        defaults = {option.name: option.default for option in own}
        torch.testing.assert_close(network(low, **defaults), network(low))


@pytest.mark.parametrize("name", WITH_NOISE)
def test_the_noise_that_is_given_counts(name: str) -> None:
    network = NETWORKS[name]
    low = picture(network)
    assert "seed" in [option.name for option in network.properties.options]
    with torch.inference_mode():
        first, again, other = (network(low, noise=noise(network, seed), **with_chance(network)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", IN_STEPS)
def test_every_step_is_told_and_may_end_it(name: str) -> None:
    network = NETWORKS[name]
    told: list[tuple[int, int]] = []

    def stop_at_2(step: int, steps: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with torch.inference_mode():
        network(picture(network), on_step=lambda step, steps: told.append((step, steps)))
        assert told == [(step, len(told)) for step in range(1, len(told) + 1)]
        assert len(told) > 1
        with pytest.raises(KeyboardInterrupt):
            network(picture(network), on_step=stop_at_2)
