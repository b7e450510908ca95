"""What a recipe names, made: the network with the weights it begins with, and the objective."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, cast

import torch

from tapetum.data.layouts import LAYOUTS
from tapetum.errors import UsageError, WeightsError
from tapetum.methods.contract import Method, Properties
from tapetum.methods.registry import get_method, make_config
from tapetum.training.recipe import DataSetList, Recipe
from tapetum.weights.loading import inspect as inspect_weights
from tapetum.weights.loading import load_model, read_weights
from tapetum.weights.registry import sha256_of


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
    if recipe.grow:
        network = grow(recipe, method, config)
    elif method.begin is not None:
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


def grow(recipe: Recipe, method: Method, config: Any) -> torch.nn.Module:
    """A network that computes what a smaller one does, whose weights the recipe names.

    Raises:
        UsageError: the method's networks do not grow, or no weights are named. WeightsError: they are no smaller
        network's.
    """
    if method.grow is None:
        raise UsageError(f"recipe {recipe.name}: grow: networks of {method.name} do not grow")
    if recipe.weights is None:
        raise UsageError(f"recipe {recipe.name}: grow: it needs the weights of a smaller network, give weights=FILE")
    smaller, network = load_model(recipe.weights, method.name), method.network(config)
    try:
        method.grow(network, smaller)
    except WeightsError as error:
        raise WeightsError(f"{recipe.weights}: {error}") from None
    return network


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
