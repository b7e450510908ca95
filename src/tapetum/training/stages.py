"""Recipes of several stages: one recipe after the other, each beginning with the weights of the one before.

A file of stages names recipes, which are complete and can be run by themselves, too:

    name: lightendiffusion
    stages: {stage1: lightendiffusion-stage1, stage2: lightendiffusion-stage2}
    changes: [data.batch=4, stage2.run.steps=500]

Stage ``stage1`` of it runs as ``lightendiffusion-stage1``, in a folder of that name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from tapetum.errors import UsageError
from tapetum.strict_yaml import Section, apply, validate
from tapetum.training.recipe import WEIGHTS, Recipe, RecipeName, find_recipe, load_recipe, read_recipe

StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class StageList(Section):
    name: RecipeName
    stages: Annotated[dict[StageName, str], Field(min_length=1)]
    """Recipes by the name of their stage: files beside this one, or names of bundled recipes."""
    changes: list[str] = Field(default_factory=list)
    """What is other than in these recipes, as on a command line: of all stages, or of one (``stage1.run.steps=5``)."""


def load_stages(source: str | Path, overrides: list[str] | None = None) -> list[Recipe]:
    """The recipes that a recipe file, or the name of one that comes with the package, runs one after the other.

    Args:
        overrides: as for :func:`tapetum.training.recipe.load_recipe`; of several stages they reach all, or, where the
            key begins with a stage's name (``stage1.run.steps=500``), that one. ``name`` renames all.

    Returns:
        One recipe, or those of a file of stages: named after it, and each beginning with the weights of the one before.

    Raises:
        UsageError: see ``load_recipe``.
    """
    path = find_recipe(source)
    content = read_recipe(path)
    if "stages" not in content:
        return [load_recipe(path, overrides)]
    plain: list[str] = []
    for override in overrides or []:
        key = override.partition("=")[0]
        if key == "weights":
            raise UsageError(f"override {override!r}: each stage begins with weights of its own; say which stage's")
        if key == "name":
            apply(content, override)
        else:
            plain.append(override)
    stages = validate(path, content, StageList)
    recipes: list[Recipe] = []
    for stage, place in stages.stages.items():
        recipe = _stage(stages, stage, place, path, [*stages.changes, *plain])
        if recipes:
            before = recipes[-1]
            weights = Path(before.run.folder) / before.name / WEIGHTS
            recipe = recipe.model_copy(update={"weights": str(weights)})
        recipes.append(recipe)
    return recipes


def _stage(stages: StageList, stage: str, place: str, path: Path, overrides: list[str]) -> Recipe:
    beside = path.parent / place
    file = find_recipe(beside if beside.is_file() else place)
    content = read_recipe(file)
    if "stages" in content:
        raise UsageError(f"{path}: stages.{stage}: {place} has stages itself")
    for override in overrides:
        first, dot, rest = override.partition(".")
        if not dot or first not in stages.stages:
            apply(content, override)
        elif first == stage:
            if rest.startswith("weights=") and stage != next(iter(stages.stages)):
                raise UsageError(f"override {override!r}: {stage} begins with the weights of the stage before")
            apply(content, rest)
    content["name"] = f"{stages.name}-{stage}"
    return validate(file, content, Recipe)
