"""A recipe as a LightningModule: one step, the rate, and what validation measures."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.augmentation import draw_mixup, mixup
from tapetum.errors import TapetumError
from tapetum.evaluation.protocols import get_protocol
from tapetum.imaging import Picture, write_picture
from tapetum.methods.contract import Examination, Properties
from tapetum.metrics.gt_mean import gt_mean_mean
from tapetum.metrics.pictures import as_uint8
from tapetum.metrics.psnr import psnr_rgb_uint8
from tapetum.training.parts import check_begun_with, make_parts, origin
from tapetum.training.raw_validation import examine_raw
from tapetum.training.recipe import Recipe
from tapetum.training.schedules import warm_up

BAD_STEPS = 50  # so many steps in a row without a finite gradient end a training


class TrainingModule(pl.LightningModule):
    """Trains one network by its method's objective.

    Args:
        recipe: what to do.
        folder: where sample pictures go.

    Raises:
        UsageError: see :func:`tapetum.training.parts.make_parts`.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.folder = folder
        self.network, self.objective = make_parts(recipe)
        if recipe.run.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.begun_with = origin(recipe.weights) if recipe.weights else None
        self._bad_steps = 0
        self._scores: dict[str, list[float]] = defaultdict(list)
        self._shown: Counter[str] = Counter()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["begun_with"] = self.begun_with

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.begun_with is not None and "begun_with" in checkpoint:  # checkpoints of earlier versions do not say
            check_begun_with(checkpoint["begun_with"], self.begun_with["sha256"], self.folder)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimiser = self.recipe.optimiser
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimiser.name]
        # an objective may have something to learn, too
        parameters = [*self.network.parameters(), *getattr(self.objective, "parameters", tuple)()]
        return kind(
            [parameter for parameter in parameters if parameter.requires_grad],
            lr=optimiser.rate,
            betas=optimiser.betas,
            weight_decay=optimiser.weight_decay,
        )

    def rate(self, iteration: int) -> float:
        """Learning rate of the 1-based ``iteration``."""
        schedule, base = self.recipe.schedule, self.recipe.optimiser.rate
        return warm_up(iteration, base, schedule.warmup, schedule.rate(iteration, base, self.recipe.run.steps))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # dropout and the like draw from torch's generator: anew for every step, so that a resumed training drops what
        # it would have
        torch.manual_seed(step_seed(self.recipe.run.seed, self.global_step, self.global_rank))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.rate(self.global_step + 1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if self.recipe.run.channels_last:
            wanted = torch.channels_last
            batch = {k: v.contiguous(memory_format=wanted) if v.ndim == 4 else v for k, v in batch.items()}
        if self.recipe.data.mixup:
            # a generator of its own for every step, so that a resumed training mixes as it would have
            generator = torch.Generator().manual_seed(self.recipe.run.seed * 1_000_003 + self.global_step)
            drawn = draw_mixup(len(batch["low"]), self.recipe.data.mixup, generator)
            if drawn is not None:
                batch = {k: mixup(v, *drawn) for k, v in batch.items()}
        losses = self.objective(self.network, batch)
        self.log_dict({f"train/{k}": v for k, v in losses.items()}, prog_bar=True)
        self.log("rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return losses["loss"]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the total norm, and leaves out a step whose gradient is not finite: it would be the network's end."""
        learned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(learned, gradient_clip_val or float("inf"))
        if torch.isfinite(norm):
            self._bad_steps = 0
            return
        optimizer.zero_grad(set_to_none=True)
        self._bad_steps += 1
        if self._bad_steps >= BAD_STEPS:
            raise TapetumError(
                f"{self.recipe.name}: the gradient has not been finite for {BAD_STEPS} steps (now step "
                f"{self.global_step}); lower optimiser.rate and go on from {self.folder / 'checkpoints'}"
            )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        source, name, target = batch["source"][0], batch["name"][0], batch.get("target")
        raw = cast("Properties", self.network.properties).domain == "raw"
        with torch.autocast(batch["low"].device.type, enabled=False):
            if raw:
                measures, shown = examine_raw(self.objective, self.network, batch)
            else:
                enhanced, measures, pictures = self._examined(batch["low"], target)
                shown = [as_image(batch["low"]), enhanced, *([] if target is None else [as_image(target)]), *pictures]
        if target is not None and not raw:
            height, width = shown[1].shape[:2]
            measures = {**scores(shown[1], as_image(target)[:height, :width]), **measures}
        for key, value in measures.items():
            self._scores[f"val/{source}/{key}"].append(value)
        index = self._shown[source]
        self._shown[source] += 1
        if self.global_rank == 0 and index < self.recipe.run.samples and not self.trainer.sanity_checking:
            path = self.folder / "samples" / f"{source}-{Path(name).name}-{self.global_step:07d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(Picture(as_uint8(side_by_side(shown))), path, quality=88)

    def _examined(
        self, low: Tensor, target: Tensor | None
    ) -> tuple[NDArray[np.float32], dict[str, float], list[NDArray[np.float32]]]:
        """The picture that is scored ``(H, W, 3)``, what is measured beside it, and more pictures to show."""
        examination = Examination()
        if hasattr(self.objective, "examine"):
            multiple = cast("Properties", self.network.properties).size_multiple
            height, width = (side // multiple * multiple for side in low.shape[2:])
            cut = None if target is None else target[..., :height, :width]
            if height and width:
                with torch.no_grad():
                    examination = self.objective.examine(self.network, low[..., :height, :width], cut)
        if examination.enhanced is None:
            enhanced = enhance_whole(self.network, low)
        else:
            enhanced = np.clip(as_image(examination.enhanced.float()), 0, 1)
        return enhanced, dict(examination.measures), [as_image(p.float()) for p in examination.pictures]

    def on_validation_epoch_end(self) -> None:
        means = {key: float(np.mean(values)) for key, values in self._scores.items()}
        self._scores.clear()
        self._shown.clear()
        # a picture that is only kept can reach any PSNR: it would drown the others
        kept = {source.name for source in self.recipe.data.sources if source.kind == "identity"}
        plain = {k.split("/")[1]: v for k, v in means.items() if k.endswith("/psnr")}
        if plain:
            means["val/psnr"] = float(np.mean([v for k, v in plain.items() if k not in kept] or list(plain.values())))
        self.log_dict(means, sync_dist=True)


def step_seed(seed: int, step: int, rank: int) -> int:
    """For torch's generator in one step on one device."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def enhance_whole(network: torch.nn.Module, low: Tensor) -> NDArray[np.float32]:
    """A picture ``(1, 3, H, W)`` of any size, as the strict protocol predicts it: ``(H, W, 3)`` in [0, 1]."""

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return network(torch.from_numpy(batch).to(low.device)).float().cpu().numpy()

    multiple = cast("Properties", network.properties).size_multiple
    return get_protocol("strict").restore(predict, as_image(low), multiple)


def side_by_side(images: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Pictures ``(h, w, 3)`` in a row, each resampled (nearest) to the size of the first."""
    height, width = images[0].shape[:2]
    rows, columns = np.arange(height), np.arange(width)
    return np.concatenate([i[rows * i.shape[0] // height][:, columns * i.shape[1] // width] for i in images], 1)


def as_image(picture: Tensor) -> NDArray[np.float32]:
    """``(1, C, H, W)`` as ``(H, W, C)``."""
    return picture[0].permute(1, 2, 0).cpu().numpy()


def scores(enhanced: NDArray[np.float32], target: NDArray[np.float32]) -> dict[str, float]:
    """PSNR of 8-bit pictures, plain and at the target's mean brightness. ``(H, W, 3)`` in [0, 1].

    At most 100, so that a mean exists. For watching a training; the figures that are reported come from
    ``tapetum evaluate``.
    """
    matched = gt_mean_mean(enhanced, target)
    pictures = {"psnr": enhanced, "psnr_gt_mean": matched}
    return {key: min(100.0, psnr_rgb_uint8(picture, target)) for key, picture in pictures.items()}
