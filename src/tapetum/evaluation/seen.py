"""Did weights see the pictures that they are to be measured on? What their files say of their training, against the
pictures' names, and where a split file numbers scenes, against other pictures of the same scene."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapetum.data.pairs import SPLITS_FILE, Pair, hold_out, pairs_of_pictures, root_of_split
from tapetum.data.places import TRAINED_ON, digest_of_place, folder_place, place_of
from tapetum.errors import InputError, TapetumError, TapetumWarning, UsageError, WeightsError
from tapetum.evaluation.pairs import read_lists
from tapetum.weights.registry import NAMED_WEIGHTS, stored_header


@dataclass(frozen=True)
class Training:
    """The pictures that weights were trained on.

    Attributes:
        digests: of their places, as our training writes them.
        folders: places of folders of which all pictures were used, but for this share of them: what files of before
            tell.
        lists: data set's folder and name of a list of its split file: likewise.
    """

    digests: frozenset[str]
    folders: Mapping[str, float]
    lists: frozenset[tuple[str, str]]

    def has(self, place: str) -> bool:
        return digest_of_place(place) in self.digests or self.folders.get(place.rpartition("/")[0]) == 0


@dataclass(frozen=True)
class Scenes:
    """What a split file tells.

    Attributes:
        scene: of each picture, by its place.
        lists: places of its members, by the folder of the data set and the list's name.
    """

    scene: dict[str, str]
    lists: dict[tuple[str, str], set[str]]


def check_seen(
    models: Iterable[tuple[str, str, Path | None]],
    splits: Mapping[str, Sequence[Pair]],
    data: Path | None = None,
    allow: bool = False,
) -> list[str]:
    """Refuses to measure weights on scenes that they were trained on.

    Args:
        models: title, model and file of weights of each, as ``Enhancer`` takes the two.
        splits: the pictures to be measured, by the name of their split.
        data: folder of the data set, or its split file, which knows the scenes; those that lie one and two folders
            above the dark pictures' are asked, too.
        allow: say it instead of refusing.

    Returns:
        lines for people: what was seen (``allow``), and of which files nothing is known.

    Raises:
        UsageError: a model has seen pictures or scenes, and ``allow`` is not set; WeightsError: no such file.
    """
    notes = []
    for title, model, weights in models:
        counts = seen_counts(model, weights, splits, data)
        if counts is None:
            file = weights or (Path(model) if model.lower().endswith(".onnx") else None)
            if file is not None:
                notes.append(f"note: {file.name} does not say on which pictures it was trained")
            continue
        for split, count in counts.items():
            text = f"{title} was trained on scenes of {split} ({count} of {len(splits[split])} pictures)"
            if not allow:
                raise UsageError(f"{text}: its figures would say how well it remembers; --allow-seen measures anyway")
            notes.append(f"note: {text}")
    return notes


def seen_counts(
    model: str, weights: Path | None, splits: Mapping[str, Sequence[Pair]], data: Path | None = None
) -> dict[str, int] | None:
    """Of how many pictures of a split the weights have seen the scene, where that is any; None: they do not say.
    Arguments as of :func:`check_seen`. Raises WeightsError: no such file."""
    told = provenance_of(model, weights)
    training = None if told is None else training_of(told)
    if training is None:
        return None
    counts = {}
    for split, pairs in splits.items():
        known = all_scenes(data, pairs)
        counts[split] = len({pair for scenes in known for pair in seen_pairs(training, pairs, scenes)})
    return {split: count for split, count in counts.items() if count}


def all_scenes(data: Path | None, pairs: Sequence[Pair]) -> list[Scenes]:
    """What the split file tells that was given (:func:`read_scenes`), and each that lies one or two folders above that
    of the dark pictures: nobody need have named it. They number scenes each in its own way.

    Raises:
        InputError: the file that was given is damaged. Of others a warning says so.
    """
    given = data / SPLITS_FILE if data is not None and data.is_dir() else data
    found = [read_scenes(data)]
    folders = {folder for low in {pair.low.parent for pair in pairs} for folder in low.resolve().parents[:2]}
    for file in sorted(folder / SPLITS_FILE for folder in folders):
        if not file.is_file() or (given is not None and given.exists() and file.samefile(given)):
            continue
        try:
            found.append(read_scenes(file))
        except InputError as error:
            warnings.warn(f"{error}: which pictures show one scene is not known", TapetumWarning, stacklevel=2)
    return found


def seen_pairs(training: Training, pairs: Sequence[Pair], scenes: Scenes) -> list[Pair]:
    """Those that were trained on, or of whose scene another picture was."""
    listed = set().union(*(scenes.lists.get(name, set()) for name in training.lists))
    for folder in {pair.low.parent for pair in pairs}:
        share = training.folders.get(folder_place(folder))
        if share:  # what was held out of a folder can be known where it lies
            listed |= {place_of(used.low) for used in hold_out(pairs_of_pictures(folder), share)[0]}

    def trained(place: str) -> bool:
        return place in listed or training.has(place)

    seen_scenes = {scene for place, scene in scenes.scene.items() if trained(place)}
    found = []
    for pair in pairs:
        places = {place_of(pair.low), place_of(pair.target)}
        if any(trained(place) or scenes.scene.get(place) in seen_scenes for place in places):
            found.append(pair)
    return found


def read_scenes(data: Path | None) -> Scenes:
    """Of a split file, or of a data set's folder with one; nothing is known where there is none.

    Raises:
        InputError: the file is damaged.
    """
    file = data / SPLITS_FILE if data is not None and data.is_dir() else data
    if file is None or not file.is_file():
        return Scenes({}, {})
    lists, scene = read_lists(file)
    root = root_of_split(file)
    name = folder_place(root).rpartition("/")[2]
    return Scenes(
        {place_of(root / member): number for member, number in scene.items()},
        {(name, key): {place_of(root / str(member)) for member in members} for key, members in lists.items()},
    )


def training_of(provenance: Mapping[str, Any]) -> Training | None:
    """What a file's provenance says of the pictures, with those of the weights that its training began with; None:
    nothing."""
    digests: set[str] = set()
    folders: dict[str, float] = {}
    lists: set[tuple[str, str]] = set()
    steps: list[Any] = [provenance]
    while steps:
        step = steps.pop()
        if isinstance(step, str):  # an imported file carries the text of another's
            try:
                step = json.loads(step)
            except ValueError:
                continue
        if not isinstance(step, Mapping):
            continue
        steps += [step.get("provenance"), step.get("begun_with")]
        written = step.get(TRAINED_ON)
        if isinstance(written, list):
            digests |= {digest for digest in written if isinstance(digest, str)}
        else:
            _add_recipe(step.get("recipe"), folders, lists)
    if not (digests or folders or lists):
        return None
    return Training(frozenset(digests), folders, frozenset(lists))


def _add_recipe(recipe: Any, folders: dict[str, float], lists: set[tuple[str, str]]) -> None:
    """The sources of a recipe, where its file was written before trainings listed their pictures."""
    data = recipe.get("data") if isinstance(recipe, Mapping) else None
    sources = data.get("sources") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(sources, list):
        return
    root = Path(str(data.get("root", ".")))
    for source in sources:
        entry = source.get("pictures") if isinstance(source, Mapping) else None
        if not isinstance(entry, Mapping):
            continue
        layout = entry.get("layout")
        if layout == "split":
            place = folder_place((root / str(entry.get("file"))).parent)
            lists.add((place.rpartition("/")[2], str(entry.get("key"))))
        elif layout == "folders":
            folders |= {folder_place(root / str(entry.get(side))): 0.0 for side in ("low", "target")}
        elif layout in ("csv", "pictures"):
            place = folder_place(root / str(entry.get("folder")))
            share = source.get("hold_out", 0.0) if layout == "pictures" else 0.0
            folders[place] = min(folders.get(place, 1.0), share if isinstance(share, float) else 0.0)


def _metadata(path: Path) -> Mapping[str, str]:
    """Of a safetensors file without its tensors, or of a checkpoint."""
    try:
        return stored_header(path)["__metadata__"]
    except (ValueError, KeyError):
        from tapetum.weights.loading import read_weights

        try:
            return read_weights(path).metadata
        except WeightsError:
            return {}  # refused by whoever loads it


def provenance_of(model: str, weights: Path | None) -> dict[str, Any] | None:
    """What the file of a model says of its origin; None where it says nothing, as published files do.

    Raises:
        WeightsError: no such file.
    """
    path = weights or (NAMED_WEIGHTS[model].path if model in NAMED_WEIGHTS else None)
    try:
        if path is not None:
            metadata = _metadata(path)
        elif model.lower().endswith(".onnx"):
            from tapetum.engines.onnx import open_session

            metadata = open_session(model, threads=1)[0].get_modelmeta().custom_metadata_map
        else:
            return None
        told = json.loads(metadata["tapetum.provenance"])
    except TapetumError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a damaged file is refused by whoever loads it
    return told if isinstance(told, dict) else None
