"""A recipe as a LightningModule: one step, the rate, and what validation measures."""

from __future__ import annotations

import inspect
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.augmentation import draw_mixup, mixup
from tapetum.data.layouts import LAYOUTS
from tapetum.errors import TapetumError, UsageError
from tapetum.evaluation.protocols import get_protocol
from tapetum.imaging import Picture, write_picture
from tapetum.methods.contract import Examination, Method, Properties
from tapetum.methods.registry import get_method, make_config
from tapetum.metrics.gt_mean import gt_mean_mean
from tapetum.metrics.pictures import as_uint8
from tapetum.metrics.psnr import psnr_rgb_uint8
from tapetum.training.raw_validation import examine_raw
from tapetum.training.recipe import DataSetList, Recipe
from tapetum.training.schedules import warm_up
from tapetum.weights.loading import inspect as inspect_weights
from tapetum.weights.loading import load_model, read_weights
from tapetum.weights.registry import sha256_of

BAD_STEPS = 50  # so many steps in a row without a finite gradient end a training


class TrainingModule(pl.LightningModule):
    """Trains one network by its method's objective.

    Args:
        recipe: what to do.
        folder: where sample pictures go.

    Raises:
        UsageError: see :func:`make_parts`.
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


def origin(path: str) -> dict[str, Any]:
    """What a training remembers of the weights that it begins with: "sha256", and "provenance" where the file tells."""
    told = read_weights(path).metadata.get("tapetum.provenance")
    return {"sha256": sha256_of(Path(path)), **({} if told is None else {"provenance": json.loads(told)})}


def check_begun_with(origin: dict[str, Any] | None, sha256: str, folder: Path) -> None:
    """Raises UsageError where a training began with other weights than those it would begin with now."""
    if origin is not None and origin["sha256"] != sha256:
        raise UsageError(
            f"{folder} holds a training that began with other weights than its recipe's file now holds (was the stage "
            "before trained on?): choose another name=..., or begin anew with --restart"
        )


def make_parts(recipe: Recipe) -> tuple[torch.nn.Module, Any]:
    """The recipe's network, with the weights that training begins with, and its objective.

    Raises:
        UsageError: a config or an objective that the method does not have; weights that are missing or do not fit; a
        patch of a size that the network cannot take.
    """
    method = get_method(recipe.method)
    config = make_config(method, recipe.config)
    task = getattr(config, "task", "")
    check_task(recipe, method.name, task)
    if method.begin is not None:
        network = begin_later_stage(recipe, method, config)
        check_stage_before(recipe, task)
    else:
        network = load_model(recipe.weights, recipe.method, config) if recipe.weights else method.network(config)
    network.train()
    if method.objective is None:
        raise UsageError(f"{method.name} has no objective to train by")
    known = inspect.signature(method.objective).parameters
    unknown = sorted(set(recipe.objective) - set(known))
    if unknown:
        raise UsageError(f"objective.{unknown[0]}: unknown key, {method.name} has {', '.join(known)}")
    properties = cast("Properties", network.properties)
    if (properties.domain == "raw") != recipe.data.is_raw:
        kinds = {False: "sRGB pictures", True: "RAW mosaics"}
        wanted, given = kinds[properties.domain == "raw"], kinds[recipe.data.is_raw]
        raise UsageError(f"recipe {recipe.name}: {method.name} is trained with {wanted}, its sources are {given}")
    multiple = properties.size_multiple
    for patch in recipe.data.patches:
        if patch % multiple:
            raise UsageError(f"data.patch is {patch}: {method.name} with this config needs a multiple of {multiple}")
    objective = method.objective(**recipe.objective)
    if hasattr(objective, "check"):
        objective.check(network)
    return network, objective


def check_task(recipe: Recipe, method: str, task: str) -> None:
    """Raises UsageError where a source is made for another task than the configuration says ("": it says none)."""
    for source in recipe.data.sources:
        data_set = source.pictures.name if isinstance(source.pictures, DataSetList) else None
        shown = task_of(source.kind, data_set)
        if task and shown and shown != task:
            raise UsageError(
                f"recipe {recipe.name}: config.task of {method} is {task}, but source {source.name} is {shown}: "
                "change one of them"
            )


def check_stage_before(recipe: Recipe, task: str) -> None:
    """Raises UsageError where the weights that a later stage begins with say that they learnt from other pictures."""
    assert recipe.weights is not None
    told = origin(recipe.weights).get("provenance", {}).get("recipe", {}).get("data", {}).get("sources", [])
    shown = {task_of(source.get("kind", "pairs"), source.get("pictures", {}).get("name")) for source in told} - {""}
    if task and shown and task not in shown:
        raise UsageError(
            f"recipe {recipe.name}: config.task is {task}, but {recipe.weights} was trained with pictures that are "
            f"{' and '.join(sorted(shown))}: train the stage before on the same kind"
        )


def task_of(kind: str, data_set: str | None) -> str:
    """What pictures of a source show: a task, or "" where its kind, or the data set it lists, does not tell."""
    if kind == "pairs":
        return LAYOUTS[data_set].task if data_set in LAYOUTS else ""
    return {"backlight": "backlit", "darken": "low-light"}.get(kind, "")


def begin_later_stage(recipe: Recipe, method: Method, config: Any) -> torch.nn.Module:
    """A network with the weights of the stage before, or, from a file of its own method, with all of its weights; what
    does not learn any more is frozen.

    Raises:
        UsageError: no file is given. WeightsError: there is none, or it holds something else.
    """
    assert method.begin is not None
    if recipe.weights is None or not Path(recipe.weights).is_file():
        missing = "" if recipe.weights is None else f", and there is no {recipe.weights}"
        raise UsageError(
            f"recipe {recipe.name}: {method.name} begins with the weights of {method.after}{missing}: train that first "
            "and give weights=FILE, or run a recipe that has both as its stages"
        )
    network = method.network(config)
    method.begin(network, recipe.weights)
    if inspect_weights(recipe.weights)["method"] == method.name:
        network.load_state_dict(load_model(recipe.weights, method.name, config).state_dict())
    return network


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
