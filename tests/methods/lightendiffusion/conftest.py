"""What the tests of LightenDiffusion share. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tapetum.methods.lightendiffusion import METHOD, LightenDiffusion, LightenDiffusionConfig

TINY = METHOD.configs["tiny"]


@pytest.fixture(scope="session")
def seeded() -> Callable[..., LightenDiffusion]:
    """A network whose weights are shaken so that no branch rests at its neutral start."""

    def make(config: LightenDiffusionConfig = TINY, seed: int = 0) -> LightenDiffusion:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = LightenDiffusion(config)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.05)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def picture() -> Callable[..., Tensor]:
    def make(count: int = 1, height: int = 32, width: int = 48, seed: int = 1) -> Tensor:
        return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.5

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., Tensor]:
    def call(network: nn.Module, low: Tensor, **options: Any) -> Tensor:
        with torch.no_grad():
            return network(low, **options)

    return call
