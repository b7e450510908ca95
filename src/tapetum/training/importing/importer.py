"""From the option files that authors published (the YAML of BasicSR and its descendants) to our recipes.

Of a key that has no effect in the official program, or that a recipe cannot express, one line says so. Nothing about
the network or the optimiser is left out in silence: an unknown key there is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tapetum.errors import UsageError
from tapetum.imaging.replacing import write_whole
from tapetum.methods.registry import HOMES
from tapetum.training.importing.content import Importer
from tapetum.training.importing.datasets import Note
from tapetum.training.importing.options import Options, read_options
from tapetum.training.importing.projects import IGNORED, PROJECTS, RETIDIFF, Network, Project
from tapetum.training.importing.retidiff import PHASES, RetiDiffImporter
from tapetum.training.recipe import Recipe


@dataclass(frozen=True)
class Imported:
    """A recipe made from an option file.

    Attributes:
        recipe: its content, valid for :class:`~tapetum.training.recipe.Recipe`; defaults are left out.
        before: where the file's training has two phases, the recipe of the first; ``recipe`` is the second's then.
        notes: one line for every key that has no effect, or another one than it had.
        project: whose option file it was.
    """

    recipe: dict[str, Any]
    notes: list[str]
    project: str
    before: dict[str, Any] | None = None


def import_options(path: str | Path, method: str | None = None) -> Imported:
    """Reads an option file of MambaLLIE, Retinexformer (and MST++), DED-Net or Reti-Diff.

    Args:
        method: ours; needed only where the file cannot tell ("dednet": its files call the network RetinexFormer, too).

    Raises:
        UsageError: no such file, no training, an unknown network, an unknown key under ``network_g``,
            ``train.optim_g`` or ``train.scheduler``, a wrong value, or something that no recipe can express. One line.
    """
    options = read_options(Path(path))
    notes: list[str] = []

    def note(place: str, why: str) -> None:
        notes.append(f"{place}: {why}")

    project, network = _project(options, method, note)
    if "train" not in options:
        raise UsageError(
            f"{path}: this option file tests and does not train: "
            f"tapetum evaluate --data FOLDER --model {network.method} --weights FILE does that"
        )
    _check_there(network, project)
    importer = (RetiDiffImporter if project is RETIDIFF else Importer)(options, project, network, note)
    content, before = importer.recipe(), importer.before
    for place in options.unread():
        note(place, _why_ignored(place, project))
    for part in (content, before):
        if part is not None:
            _check_valid(path, part)
    return Imported(content, notes, project.title, before)


def _check_valid(path: str | Path, content: dict[str, Any]) -> None:
    try:
        Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path}: makes no valid recipe: {where}: {first['msg']}, got {first['input']!r:.60}"
        ) from None


def files_of(imported: Imported, target: Path) -> list[Path]:
    """What :func:`write_recipe` writes: ``target``, and beside it the recipes of two phases where there are two."""
    if imported.before is None:
        return [target]
    return [target, *(target.with_name(f"{target.stem}-{phase}.yaml") for phase in PHASES)]


def write_recipe(imported: Imported, source: str, target: Path) -> None:
    """Writes the recipe as YAML, under a temporary name that is then changed; of two phases a file of stages, and a
    recipe for each (:func:`files_of`).

    Args:
        source: name of the option file, for the heading.

    Raises:
        UsageError: the file cannot be written.
    """
    first, *others = files_of(imported, target)
    contents = [imported.recipe]
    if imported.before is not None:
        stages = {phase: file.name for phase, file in zip(PHASES, others, strict=True)}
        contents = [{"name": imported.recipe["name"], "stages": stages}, imported.before, imported.recipe]
    heading = f"# Imported from {' '.join(source.split())}, an option file of {imported.project}.\n"
    style = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 120}
    for file, content in zip((first, *others), contents, strict=True):
        try:
            write_whole(heading + yaml.safe_dump(content, **style), file)
        except OSError as error:
            raise UsageError(f"{file}: cannot be written ({error.strerror})") from None


def _project(options: Options, method: str | None, note: Note) -> tuple[Project, Network]:
    if "network_g" not in options:
        raise UsageError(f"{options.file}: has no network_g section, so it is no option file of the BasicSR kind")
    section = options.section("network_g")
    kind = section.text("type")
    named = [(project, project.networks[kind]) for project in PROJECTS if kind in project.networks]
    if not named:
        known = dict.fromkeys(kind for project in PROJECTS for kind in project.networks)
        section.refuse("type", f"unknown network {kind!r}, choose from {', '.join(known)}")
    methods = [network.method for _, network in named]
    if method is None:
        if len(named) > 1:
            others = " or ".join(f"{project.title}'s (--method {network.method})" for project, network in named[1:])
            note(section.place("type"), f"{kind} is taken for {named[0][0].title}'s network; it may be {others}")
        return named[0]
    if method not in methods:
        section.refuse("type", f"{kind} is not a network of {method!r}, but of {' or '.join(methods)}")
    return named[methods.index(method)]


def _check_there(network: Network, project: Project) -> None:
    if network.method not in HOMES:
        raise UsageError(
            f"{project.title} ({network.method}) is not among the methods of this version yet: "
            f"there are {', '.join(HOMES)}"
        )


def _why_ignored(place: str, project: Project) -> str:
    place = re.sub(r"^datasets\.train_[^.]*", "datasets.train", place)
    if place.startswith("datasets.") and not place.startswith("datasets.train."):
        return "not used: validation pictures are split off the training set (hold_out), never the test set"
    for table in (project.ignored, IGNORED):
        for key in (place, place.split(".")[0]):
            if key in table:
                return f"ignored: {table[key]}"
    return "unknown key: left out"
