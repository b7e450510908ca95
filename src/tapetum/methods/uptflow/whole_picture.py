"""What the network knows of the whole picture: attention matrices between channels, and gates from pooled features.

Nothing else in it sees farther than a neighbourhood, so these numbers are what a tile must be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class WholePicture:
    """The global values of one pass, in the order in which the layers ask for them.

    Args:
        given: ``(B, K)`` or ``(1, K)``, those of an earlier pass, used instead of the picture's own; None: every layer
            computes its own.
        keep: whether those used are kept for :meth:`flat`.
    """

    def __init__(self, given: Tensor | None = None, *, keep: bool = False) -> None:
        self._given = given
        self._position = 0
        self._used: list[Tensor] | None = [] if keep else None

    def take(self, shape: tuple[int, ...], compute: Callable[[], Tensor]) -> Tensor:
        """The next value ``(B, *shape)``, given or computed."""
        if self._given is None:
            value = compute()
        else:
            end = self._position + math.prod(shape)
            value = self._given[:, self._position : end].unflatten(1, shape)
            self._position = end
        if self._used is not None:
            self._used.append(value)
        return value

    def flat(self) -> Tensor:
        """All values that were used, ``(B, K)``."""
        return torch.cat([value.flatten(1).float() for value in self._used or []], dim=1)
