"""What the tests of LightenDiffusion share. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tapetum.methods.lightendiffusion import METHOD, LightenDiffusion, LightenDiffusionConfig

TINY = METHOD.configs["tiny"]


@pytest.fixture(scope="session")
def seeded(make_lively: Callable[..., LightenDiffusion]) -> Callable[..., LightenDiffusion]:
    def make(config: LightenDiffusionConfig = TINY, seed: int = 0) -> LightenDiffusion:
        return make_lively(lambda: LightenDiffusion(config), seed)

    return make


@pytest.fixture(scope="session")
def picture() -> Callable[..., Tensor]:
    def make(count: int = 1, height: int = 32, width: int = 48, seed: int = 1) -> Tensor:
        return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.5

    return make
