"""How Retinexformer and MST++ learn: one loss on the pixels. (Mixup belongs to the recipe's data.)"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from tapetum import losses
from tapetum.errors import UsageError

LOSSES = {
    "l1": losses.l1,
    "mse": losses.mse,
    "charbonnier": losses.charbonnier,
    "psnr": losses.psnr,
    "psnr_y": partial(losses.psnr, on_luma=True),
}


class PixelObjective:
    """A loss of the unclamped output.

    Args:
        loss: of the toolbox; every published file was trained with the mean absolute error.
        brightness_free, gradient: ours, for short trainings: of :func:`tapetum.losses.partly_free`.

    Raises:
        UsageError: no such loss, or a value out of range.
    """

    def __init__(self, loss: str = "l1", brightness_free: float = 0.0, gradient: float = 0.0) -> None:
        if loss not in LOSSES:
            raise UsageError(f"objective.loss: unknown {loss!r}, choose from {', '.join(LOSSES)}")
        self._loss = losses.freed(LOSSES[loss], brightness_free, gradient)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1]. Returns the scalar "loss"."""
        return {"loss": self._loss(network(batch["low"]), batch["target"])}
