"""What the tests of UPT-Flow share. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tapetum.methods.uptflow import METHOD, UPTFlow, UPTFlowConfig

TINY = METHOD.configs["tiny"]


@pytest.fixture(scope="session")
def shaken(make_lively: Callable[..., UPTFlow]) -> Callable[..., UPTFlow]:
    """A lively network, every ActNorm of which is initialised."""

    def make(seed: int = 0, config: UPTFlowConfig = TINY, by: float = 0.05) -> UPTFlow:
        return make_lively(lambda: UPTFlow(config), seed, by)

    return make


@pytest.fixture(scope="session")
def picture() -> Callable[..., Tensor]:
    def make(height: int = 16, width: int = 24, count: int = 1, seed: int = 1) -> Tensor:
        return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.4

    return make
