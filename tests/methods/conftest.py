"""What the tests of several methods share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session")
def run() -> Callable[..., Tensor]:
    """Calls a network that learns nothing from it."""

    def call(network: nn.Module, *inputs: Tensor, **options: Any) -> Tensor:
        with torch.no_grad():
            return network(*inputs, **options)

    return call
