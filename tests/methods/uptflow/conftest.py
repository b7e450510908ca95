"""What the tests of UPT-Flow share. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tapetum.methods.uptflow import METHOD, UPTFlow, UPTFlowConfig

TINY = METHOD.configs["tiny"]


@pytest.fixture(scope="session")
def shaken() -> Callable[..., UPTFlow]:
    """A network none of whose branches rests at its neutral start, and every ActNorm is initialised."""

    def make(seed: int = 0, config: UPTFlowConfig = TINY, by: float = 0.05) -> UPTFlow:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = UPTFlow(config)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(torch.randn_like(parameter) * by)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def picture() -> Callable[..., Tensor]:
    def make(height: int = 16, width: int = 24, count: int = 1, seed: int = 1) -> Tensor:
        return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.4

    return make
