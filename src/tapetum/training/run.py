"""Runs a recipe on Lightning: devices, precision, checkpoints, resume and logs are Lightning's business."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import tapetum
from tapetum.checkout import commit
from tapetum.data.places import TRAINED_ON, digests
from tapetum.errors import UsageError, WeightsError
from tapetum.imaging.replacing import write_whole
from tapetum.interrupts import interrupts_noted
from tapetum.methods.contract import Properties
from tapetum.methods.registry import get_method
from tapetum.training.callbacks import GoodWeights, MovingAverage, Origin, Progress, WholeSteps
from tapetum.training.data import Held, make_sources, pictures_of, training_loader, validation_loader
from tapetum.training.module import TrainingModule
from tapetum.training.parts import check_begun_with, make_parts
from tapetum.training.recipe import WEIGHTS, Recipe
from tapetum.weights.loading import read_weights, save_model
from tapetum.weights.registry import sha256_of

LAST, BEST = "last.ckpt", "best"
MONITOR = "val/psnr"
BEST_WEIGHTS = "weights-best.safetensors"
GOOD_WEIGHTS = "weights-good.safetensors"


def train(recipe: Recipe, resume: bool = True) -> Path:
    """Trains, or goes on where a stopped training of the same name left off.

    Writes into ``<run.folder>/<name>/``: ``recipe.json``, ``checkpoints/`` (last and best), ``logs/part-0/``, ... (CSV
    and TensorBoard, one part for each start or resume), ``samples/`` and, at the end, ``weights.safetensors`` and
    ``weights-best.safetensors`` (of the checkpoint that validated best). ``weights-good.safetensors`` holds, while a
    method trains that may diverge, the last weights with which all was well. A run
    that is killed continues with exactly the samples, rates, averages and optimiser state it would have had.

    Args:
        resume: go on from the folder's last checkpoint, if there is one; else begin anew.

    Returns:
        The weights file.

    Raises:
        UsageError: the recipe does not fit its method, its pictures are missing, or the folder holds the training of
        another recipe.
    """
    folder = Path(recipe.run.folder) / recipe.name
    last = folder / "checkpoints" / LAST
    path = folder / WEIGHTS
    resumes = resume and last.is_file()
    if resumes or (resume and path.is_file()):  # a short training ends before its first checkpoint
        check_same(recipe, folder)
        if is_finished(recipe, folder):
            return path
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    quieten()
    torch.manual_seed(recipe.run.seed)
    module = TrainingModule(recipe, folder)
    data = RecipeData(recipe)
    if not resumes:  # what is left of an earlier training must not be taken for this one's
        for file in (path, folder / BEST_WEIGHTS, folder / GOOD_WEIGHTS, last, folder / "checkpoints" / f"{BEST}.ckpt"):
            file.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(recipe.model_dump_json(indent=1), folder / "recipe.json")
    with interrupts_noted("step") as stopped:
        trainer = run(recipe, folder, module, data, stopped, last if resumes else None)
    if trainer.global_step < recipe.run.steps:  # how Lightning ends at a signal, by its version
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        # after fitting, the network holds the average where there is one
        known = facts(recipe, data, trainer, module)
        save_model(module.network, path, known)
        save_best(module.network, folder, known)
    trainer.strategy.barrier()  # the next stage reads the file on every device
    return path


def run(
    recipe: Recipe,
    folder: Path,
    module: TrainingModule,
    data: RecipeData,
    stopped: Callable[[], bool],
    checkpoint: Path | None,
) -> pl.Trainer:
    """The steps of a recipe. Raises KeyboardInterrupt: it was stopped."""
    # a logger begins its folder anew: every start and resume gets one of its own
    part = f"part-{len(list((folder / 'logs').glob('part-*')))}"
    trainer = pl.Trainer(
        max_steps=recipe.run.steps,
        devices=recipe.run.devices,
        num_nodes=recipe.run.nodes,
        precision=recipe.run.precision,
        gradient_clip_val=recipe.optimiser.clip_norm or None,
        use_distributed_sampler=False,
        val_check_interval=min(recipe.run.validate_every, recipe.run.steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=recipe.run.log_every,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=[CSVLogger(folder, "logs", version=part), TensorBoardLogger(folder, "logs", version=part)],
        callbacks=callbacks(recipe, folder, data, stopped),
    )
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    except SystemExit:  # so Lightning ends at KeyboardInterrupt
        raise KeyboardInterrupt from None
    return trainer


def train_stages(recipes: list[Recipe], resume: bool = True) -> Path:
    """Trains one recipe after the other (:func:`tapetum.training.stages.load_stages`); a finished one is passed over.

    What can be wrong with any of them is looked for before the first begins.

    Returns:
        The weights file of the last.

    Raises:
        UsageError: see :func:`train`.
    """
    if len(recipes) > 1:
        check_parts(recipes)
        for recipe in recipes:
            make_sources(recipe)
    path = Path()
    for number, recipe in enumerate(recipes, 1):
        if len(recipes) > 1:
            print(f"stage {number} of {len(recipes)}: {recipe.name}", flush=True)
        path = train(recipe, resume)
    return path


def check_parts(recipes: list[Recipe]) -> None:
    """Whether each recipe's network and objective can be made, and each network can begin with the weights of the
    stage before, with fresh ones in their place. Raises UsageError."""
    with tempfile.TemporaryDirectory() as folder:
        for number, recipe in enumerate(recipes):
            before = Path(folder) / f"{number}.safetensors"
            given = recipe.model_copy(update={"weights": str(before)}) if number else recipe
            try:
                network, _ = make_parts(given)
            except WeightsError as error:
                if not number:
                    raise
                reason = str(error).removeprefix(f"{before}: ").replace(str(before), "its weights")
                raise UsageError(
                    f"{recipe.name} cannot begin with the weights of {recipes[number - 1].name}: {reason}"
                ) from None
            if number + 1 < len(recipes):
                save_model(network, Path(folder) / f"{number + 1}.safetensors", {})


def is_finished(recipe: Recipe, folder: Path) -> bool:
    """Whether the folder holds the weights of all of the recipe's steps.

    Raises:
        UsageError: it began with other weights than the recipe's file now holds.
    """
    path = folder / WEIGHTS
    if not path.is_file() or ((folder / "checkpoints" / f"{BEST}.ckpt").is_file() != (folder / BEST_WEIGHTS).is_file()):
        return False
    facts = json.loads(read_weights(path).metadata["tapetum.provenance"])
    if facts["steps"] < recipe.run.steps:
        return False
    if recipe.weights is not None and Path(recipe.weights).is_file():
        check_begun_with(facts.get("begun_with"), sha256_of(Path(recipe.weights)), folder)
    return True


def save_best(network: torch.nn.Module, folder: Path, facts: dict[str, Any]) -> None:
    """Writes ``weights-best.safetensors`` of the checkpoint that validated best, if any, by way of ``network``."""
    file = folder / "checkpoints" / f"{BEST}.ckpt"
    if not file.is_file():
        return
    checkpoint = torch.load(file, map_location="cpu", weights_only=False)  # our own file, of this folder
    prefix = "network."
    state = checkpoint["state_dict"]  # also what an objective has learned
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    monitored = next(c for c in checkpoint["callbacks"].values() if c.get("monitor") == MONITOR)
    facts = {**facts, "steps": checkpoint["global_step"], "validation": {MONITOR: float(monitored["current_score"])}}
    save_model(network, folder / BEST_WEIGHTS, facts)


def check_same(recipe: Recipe, folder: Path) -> None:
    """Refuses to go on with another recipe than the folder's; its length, schedule and ways of running may change.

    Raises:
        UsageError: what differs.
    """
    try:
        before = Recipe.model_validate_json((folder / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'recipe.json'}: unreadable ({error}); begin anew with --restart") from None
    if before.method != recipe.method:
        raise UsageError(
            f"{folder} holds a training of {before.method}, and recipe {recipe.name} trains {recipe.method}: choose "
            "another name=..., or begin anew with --restart"
        )
    for part in ("config", "weights", "objective", "data", "optimiser"):
        old, new = getattr(before, part), getattr(recipe, part)
        if part == "data":  # the same pictures may lie elsewhere by now, and be read by more workers
            old = old.model_copy(update={"root": new.root, "workers": new.workers})
        if old != new:
            raise UsageError(
                f"{folder} holds a training whose {part} differs: choose another name=..., or begin anew with --restart"
            )
    if bool(before.run.ema) != bool(recipe.run.ema):
        kind = "with" if before.run.ema else "without"
        raise UsageError(
            f"{folder} holds a training {kind} a moving average (run.ema): choose another name=..., or begin anew with "
            "--restart"
        )


class RecipeData(pl.LightningDataModule):
    """The recipe's loaders. Pictures are looked for when training begins, so that a wrong path is said first."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.sources, self.held = make_sources(recipe)

    def train_dataloader(self) -> Any:
        trainer = self.trainer
        assert trainer is not None
        module = trainer.lightning_module
        assert isinstance(module, TrainingModule)
        properties = cast("Properties", module.network.properties)
        thumbnail = properties.thumbnail_size if properties.context == "thumbnail" else 0
        return training_loader(
            self.recipe, self.sources, thumbnail, lambda: trainer.global_step, trainer.global_rank, trainer.world_size
        )

    def val_dataloader(self) -> Any:
        held: list[Held] = self.held
        return validation_loader(held) if held else []


def callbacks(recipe: Recipe, folder: Path, data: RecipeData, stopped: Callable[[], bool]) -> list[pl.Callback]:
    checkpoints = folder / "checkpoints"
    tell = partial(facts, recipe, data)
    last = ModelCheckpoint(
        checkpoints,
        filename="last",
        every_n_train_steps=recipe.run.save_every,
        save_top_k=1,
        monitor=None,
        enable_version_counter=False,
        save_on_exception=True,
    )
    result: list[pl.Callback] = [
        WholeSteps(stopped, last),
        last,
        Progress(recipe.run.steps, recipe.run.log_every),
        Origin(tell),
    ]
    if hasattr(get_method(recipe.method).objective, "healthy"):
        result.append(GoodWeights(folder / GOOD_WEIGHTS, recipe.run.save_every, tell))
    if any(h.has_target(pair) for h in data.held for pair in h.pairs):
        result.append(
            ModelCheckpoint(
                checkpoints,
                filename=BEST,
                monitor=MONITOR,
                mode="max",
                save_top_k=1,
                enable_version_counter=False,
            )
        )
    if recipe.run.ema:
        result.insert(0, MovingAverage(recipe.run.ema))
    return result


def facts(recipe: Recipe, data: RecipeData, trainer: pl.Trainer, module: TrainingModule) -> dict[str, Any]:
    """What a file of weights says: where it comes from, and which pictures it was trained on."""
    seen = digests(pictures_of(data.sources, data.held))
    return provenance(recipe, trainer, module.begun_with) | {TRAINED_ON: seen}


def provenance(recipe: Recipe, trainer: pl.Trainer, begun_with: dict[str, Any] | None) -> dict[str, Any]:
    """What a file of weights says about where it comes from."""
    # where things lay on the machine that trained it is nobody's business
    told = recipe.model_dump(mode="json", exclude={"run": {"folder"}})
    if recipe.weights is not None:
        told["weights"] = "/".join(Path(recipe.weights).parts[-2:])
    return {
        "recipe": told,
        **({} if begun_with is None else {"begun_with": begun_with}),
        "steps": trainer.global_step,
        "tapetum": tapetum.__version__,
        "torch": torch.__version__,
        "commit": commit(),
        "validation": {k: round(float(v), 4) for k, v in trainer.callback_metrics.items() if k.startswith("val/")},
    }


def quieten() -> None:
    """Silences remarks of Lightning's that do not apply here."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # our samples depend on the step alone: a restart in the middle of an epoch is exact
    warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended before the epoch ended.*")
    # a training that goes on, and one without validation
    warnings.filterwarnings("ignore", message=r".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=r".*Total length of `list` across ranks is zero.*")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")  # Lightning's with newer torch
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
