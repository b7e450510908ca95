"""What happens beside the steps of a training."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor

from tapetum.training.module import TrainingModule
from tapetum.weights.loading import CHECKPOINT_METADATA, describe, save_model

Facts = Callable[[pl.Trainer, TrainingModule], dict[str, Any]]
"""What a file of weights says of itself."""


class WholeSteps(pl.Callback):
    """Half a step is none: stops between two of them, and lets nothing be saved within one.

    To be called after what belongs to a step, the moving average.

    Args:
        stopped: whether somebody wants training to stop.
        last: saves where training stops.
    """

    def __init__(self, stopped: Callable[[], bool], last: ModelCheckpoint) -> None:
        self.stopped = stopped
        self.last = last

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.last.save_on_exception = False  # what comes before changes nothing that is saved

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.last.save_on_exception = True
        if self.stopped():
            raise KeyboardInterrupt

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        if self.stopped():
            raise KeyboardInterrupt


class MovingAverage(WeightAveraging):
    """Of the weights, after every step. Decay grows to ``decay`` as (1 + n) / (10 + n) after n steps: with a constant
    one the first weights would keep their share, which in a short training is much of the average."""

    def __init__(self, decay: float) -> None:
        def blend(average: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
            n = int(count)
            return average.lerp(weight, 1 - min(decay, (1 + n) / (10 + n)))

        super().__init__(use_buffers=False, avg_fn=torch.no_grad()(blend))
        self._swapped = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stopped while the average stood in the weights' place: a checkpoint that is written now must not take one for
        the other."""
        if self._swapped:
            self.on_validation_epoch_end(trainer, pl_module)


class GoodWeights(pl.Callback):
    """Keeps the last weights whose loss the objective called healthy, before the step that followed: some diverge."""

    def __init__(self, path: Path, every: int, facts: Facts) -> None:
        self.path = path
        self.every = every
        self.facts = facts

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        due = trainer.global_step and trainer.global_step % self.every == 0
        if trainer.is_global_zero and due and pl_module.objective.healthy:
            save_model(pl_module.network, self.path, self.facts(trainer, pl_module))


class Origin(pl.Callback):
    """Checkpoints say of themselves what files of weights do, for they can be taken as such."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        checkpoint[CHECKPOINT_METADATA] = describe(pl_module.network, self.facts(trainer, pl_module))


class Progress(pl.Callback):
    """One line now and then: readable on a terminal and in the log of a background run."""

    def __init__(self, steps: int, every: int) -> None:
        self.steps = steps
        self.every = every

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first, self._begin = trainer.global_step, time.monotonic()
        if trainer.is_global_zero and self._first:
            print(f"resumed at step {self._first}", flush=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if not trainer.is_global_zero or step % self.every:
            return
        pace = (time.monotonic() - self._begin) / max(1, step - self._first)
        left = (self.steps - step) * pace
        losses = " ".join(
            f"{k.removeprefix('train/')} {v:.4f}" for k, v in trainer.callback_metrics.items() if k.startswith("train/")
        )
        print(f"step {step}/{self.steps}  {losses}  {pace:.3f} s/step  {left / 60:.0f} min left", flush=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            shown = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
            print(f"validation at {trainer.global_step}: " + "  ".join(f"{k[4:]} {v:.4g}" for k, v in shown.items()))
            sys.stdout.flush()
