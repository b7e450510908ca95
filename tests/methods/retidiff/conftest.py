"""What the tests of Reti-Diff share. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session")
def seeded(make_lively: Callable[..., Any]) -> Callable[..., Any]:
    def make(network: Callable[..., nn.Module], config: Any, seed: int = 0) -> Any:
        return make_lively(lambda: network(config), seed)

    return make


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
