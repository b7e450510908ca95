"""How MambaLLIE learns: one loss on the pixels. (Mixup belongs to the recipe's data.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch import Tensor, nn

from tapetum import losses
from tapetum.errors import UsageError

# the published files add eps = 1e-12 under the root, ours is squared first
LOSSES: dict[str, Callable[..., Tensor]] = {
    "l1": losses.l1,
    "mse": losses.mse,
    "charbonnier": partial(losses.charbonnier, eps=1e-6),
    "psnr": losses.psnr,  # ours
}


class MambaLLIEObjective:
    """A loss of the unclamped output.

    Args:
        loss: "l1" (every published file), "mse", "charbonnier", or "psnr", which is not of the published program.
        weight: factor of the loss.
        reduction: "mean" or "sum" over all numbers of a batch; for "psnr" over its pictures.
        brightness_free, gradient: ours, for short trainings: of :func:`tapetum.losses.partly_free`.

    Raises:
        UsageError: no such loss or reduction, or a value out of range.
    """

    def __init__(
        self,
        loss: str = "l1",
        weight: float = 1.0,
        reduction: Literal["mean", "sum"] = "mean",
        brightness_free: float = 0.0,
        gradient: float = 0.0,
    ) -> None:
        if loss not in LOSSES:
            raise UsageError(f"objective.loss: unknown {loss!r}, choose from {', '.join(LOSSES)}")
        if reduction not in ("mean", "sum"):
            raise UsageError(f"objective.reduction: unknown {reduction!r}, choose from mean, sum")
        self._loss = losses.freed(partial(LOSSES[loss], reduction=reduction), brightness_free, gradient)
        self._weight = losses.number("weight", weight)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1]. Returns the scalar "loss"."""
        return {"loss": self._weight * self._loss(network(batch["low"]), batch["target"])}
