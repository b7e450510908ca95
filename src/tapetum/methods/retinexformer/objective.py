"""How Retinexformer and MST++ learn: the mean absolute error, nothing else. (Mixup belongs to the recipe's data.)"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tapetum.losses import l1


class L1Objective:
    """Mean absolute error of the unclamped output."""

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1]. Returns the scalar "loss"."""
        return {"loss": l1(network(batch["low"]), batch["target"])}
