"""What the tests of Reti-Diff share. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session")
def seeded() -> Callable[..., Any]:
    """A network whose weights are shaken so that no branch rests at its neutral start."""

    def shake(make: Callable[..., nn.Module], config: Any, seed: int = 0) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = make(config)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.05)
        return network.eval()

    return shake


@pytest.fixture(scope="session")
def picture() -> Callable[..., Tensor]:
    def make(count: int = 1, height: int = 16, width: int = 24, seed: int = 1) -> Tensor:
        return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.5

    return make


@pytest.fixture(scope="session")
def normal() -> Callable[..., Tensor]:
    def draw(*shape: int, seed: int = 2) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture(scope="session")
def run() -> Callable[..., Tensor]:
    def call(network: nn.Module, *inputs: Tensor, **options: Any) -> Tensor:
        with torch.no_grad():
            return network(*inputs, **options)

    return call
