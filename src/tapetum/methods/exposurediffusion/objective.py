"""How ExposureDiffusion learns: the process is unrolled, and the losses of its steps are weighed by learned numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum import losses
from tapetum.errors import UsageError
from tapetum.methods.exposurediffusion.exposure import Step, draw_schedule, expose
from tapetum.methods.exposurediffusion.network import DEFAULT_ITERATIONS, Backbone

KL_THRESHOLD = 0.2


def kl(predicted: Tensor, target: Tensor) -> Tensor:
    """Divergence of two Poisson laws where both means are at least 0.2, and the mean absolute error elsewhere."""
    bright = (predicted >= KL_THRESHOLD) & (target >= KL_THRESHOLD)
    p, y = (torch.where(bright, each, torch.ones_like(each)) for each in (predicted, target))
    return torch.where(bright, p * (p / y).log() + y - p, (predicted - target).abs()).mean()


LOSSES = {"l1": losses.l1, "l2": losses.mse, "kl": kl}


class ExposureObjective(nn.Module):
    """The loss of every step of the process, which runs on exposures drawn for each picture.

    Args:
        iterations: ``iter_num``; the network is called once more than that. 0: a network of one step.
        loss: of the pixels, "l1", "l2" or "kl".
        auxloss: both pictures that the adaptive layer mixes are held against the target, too.
        adaptive_loss: the weights of the steps are learned. They are parameters of this object, for the optimiser.
            The last step's is 1 less their sum, as published: where later steps are worse for long, it becomes
            negative, and then the loss has no bound below.
        correct: every prediction is brought to the target's brightness first, as in every published training.

    Raises:
        UsageError: no such loss, or a negative number.
    """

    loss_weights: Tensor

    def __init__(
        self,
        iterations: int = DEFAULT_ITERATIONS,
        loss: str = "l1",
        auxloss: bool = True,
        adaptive_loss: bool = True,
        correct: bool = True,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise UsageError(f"objective.loss: unknown {loss!r}, choose from {', '.join(LOSSES)}")
        if iterations < 0:
            raise UsageError(f"objective.iterations must be 0 or more, got {iterations}")
        self.iterations = iterations
        self.auxloss = auxloss
        self.adaptive_loss = adaptive_loss
        self.correct = correct
        self._loss = LOSSES[loss]
        if adaptive_loss and iterations:
            self.loss_weights = nn.Parameter(torch.full((iterations,), 1 / (iterations + 1)))

    def forward(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Draws exposures and photons from torch's generator, which a training seeds for every step.

        Args:
            network: a :class:`Backbone`.
            batch: "low" and "target" ``(B, 4, H, W)`` in [0, 1], packed; "ratio" and "gain" ``(B,)``.

        Returns:
            The scalars "loss" and, of every step, "pixel_0", "pixel_1", ... (for watching).
        """
        low, target, ratio = batch["low"], batch["target"], batch["ratio"]
        rng = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        schedule = draw_schedule(ratio, self.iterations, rng)
        backbone = cast("Backbone", network)
        reference = target if self.correct else None
        unrolled = expose(
            backbone.predict,
            backbone.config,
            low,
            ratio,
            batch["gain"],
            self.iterations,
            draw=torch.poisson,
            reference=reference,
            schedule=schedule,
        )
        pixel, auxiliary = self.step_losses(list(unrolled), target)
        parts = {f"pixel_{i}": value.detach() for i, value in enumerate(pixel)}
        return {"loss": self.total(pixel, auxiliary), **parts}

    def predict(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """What the network makes of "low", "ratio" and "gain", blind and without chance: ``(B, 4, H, W)``, any size."""
        low = batch["low"]
        height, width = low.shape[2:]
        multiple = cast("Backbone", network).properties.size_multiple
        padded = F.pad(low, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        enhanced = network(padded, ratio=batch["ratio"], gain=batch["gain"], iterations=self.iterations)
        return enhanced[..., :height, :width]

    def step_losses(self, steps: list[Step], target: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel losses and auxiliary losses, ``(n + 1,)`` each; these are 0 without the adaptive layer."""
        pixel = torch.stack([self._loss(step.corrected, target) for step in steps])
        return pixel, torch.stack([_auxiliary(step, target) for step in steps])

    def total(self, pixel: Tensor, auxiliary: Tensor) -> Tensor:
        """The weighted sum, a scalar. A schedule with a step less (published ones may have that) leaves its weight."""
        each = pixel + auxiliary if self.auxloss else pixel
        if not self.adaptive_loss or not self.iterations:
            return each.sum()
        weights = torch.cat([self.loss_weights.clamp(0, 1), 1 - self.loss_weights.sum(0, keepdim=True)])
        return (weights[: len(each)] * each).sum()


def _auxiliary(step: Step, target: Tensor) -> Tensor:
    _, _, mask, out, by = step.prediction
    if mask is None or out is None or by is None:
        return target.new_zeros(())
    height, width = target.shape[2:]  # a NAFNet's own padding is no part of the picture
    mask, out, by = (each[..., :height, :width] for each in (mask, out, by))
    return ((out - target).abs() * mask + (by - target).abs() * (1 - mask)).mean()
