"""Lists of training pictures: which files belong together, and which scene they show."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tapetum.data.pictures import list_pictures
from tapetum.errors import InputError

T = TypeVar("T")

SPLITS_FILE = "splits.json"
# names that the folders of dark pictures and of their targets have
SIDES = (("low", "high"), ("input", "target"), ("Low", "Normal"), ("Low", "High"))
# tried in this order when no split is named; all that exist are measured
TEST_SPLITS = ("eval15", "clean_test", "Test", "test")


@dataclass(frozen=True)
class Pair:
    """A dark picture and what it should become. For a source without a dark picture both are the same file.

    ``scene`` tells pictures of one place apart from others, so that a split shares none.
    """

    name: str
    low: Path
    target: Path
    scene: str


def pairs_of_folders(
    low: Path,
    target: Path,
    scenes: dict[str, str] | None = None,
    low_name: str = "{}",
    target_name: str = "{}",
) -> list[Pair]:
    """Pairs two folders by file stem; in the order of the targets' file names.

    Args:
        scenes: scene of each pair; None: each is one of its own.
        low_name, target_name: how the stems are made of the pair's name, ``{}``: "low{}" for ``low00690.png``.

    Raises:
        InputError: a folder is missing or empty, or a picture has no partner, or two, or another kind of name; the
        text names the first.
    """
    lows, targets = by_stem(low, low_name), by_stem(target, target_name)
    lonely = sorted(set(lows) ^ set(targets))
    if lonely:
        where, name = (target, target_name) if lonely[0] in lows else (low, low_name)
        raise InputError(f"{where}: no picture named {name.format(lonely[0])}.* ({len(lonely)} without a partner)")
    return [Pair(n, lows[n], targets[n], (scenes or {}).get(n, n)) for n in sorted(lows, key=lambda n: targets[n].name)]


def by_stem(folder: Path, template: str = "{}") -> dict[str, Path]:
    """The pictures of a folder by their names without suffix, of which ``template`` tells what comes before and after.

    Raises:
        InputError: there is no such folder or no picture in it, or two have one name, or one another kind of name.
    """
    files: dict[str, Path] = {}
    before, _, after = template.partition("{}")
    for path in list_pictures(folder):
        stem = path.stem
        if not (stem.startswith(before) and stem.endswith(after) and len(stem) > len(before) + len(after)):
            raise InputError(f"{path}: not named like {template.format('NAME')}.*, as the others are to be")
        name = stem[len(before) : len(stem) - len(after)]
        if name in files:
            raise InputError(f"{folder}: {files[name].name} and {path.name} have one name: which is meant?")
        files[name] = path
    return files


def sides_of(folder: Path) -> tuple[Path, Path] | None:
    """The folders of dark pictures and of targets in ``folder``, or None where it has no such two."""
    for low, target in SIDES:
        if (folder / low).is_dir() and (folder / target).is_dir():
            return folder / low, folder / target
    return None


def pairs_of_split(file: Path, key: str) -> list[Pair]:
    """Pairs of a split file like LOL v1's ``splits.json``: ``key`` lists members ``FOLDER/ID``, whose files are
    ``FOLDER/low/ID.*`` and ``FOLDER/high/ID.*`` (or as other ``SIDES`` are called) beside the split file, or below its
    ``root``; ``scene`` numbers their scenes.

    Raises:
        InputError: the file, the key or a picture is missing.
    """
    content = read_split(file)
    lists = [name for name, value in content.items() if isinstance(value, list)]
    if key not in lists:
        raise InputError(f"{file}: has no split {key!r} (it has {', '.join(lists)})")
    members, scenes = content[key], content.get("scene", {})
    root = root_of_split(file)
    stems: dict[Path, dict[str, Path]] = {}
    pairs = []
    for member in members:
        folder, _, name = member.rpartition("/")
        found = []
        for place in sides_of(root / folder) or (root / folder / "low", root / folder / "high"):
            if place not in stems:
                stems[place] = by_stem(place)
            if name not in stems[place]:
                raise InputError(f"{place}: no picture named {name}.*, which {file.name} lists in {key}")
            found.append(stems[place][name])
        pairs.append(Pair(member, found[0], found[1], str(scenes.get(member, member))))
    return pairs


def root_of_split(file: Path) -> Path:
    """The folder below which a split file's members lie: its own, or what it calls "root" (seen from its own)."""
    root = read_split(file).get("root", ".")
    if not isinstance(root, str):
        raise InputError(f"{file}: not a split file: its root must be the name of a folder")
    return file.parent / root


def scenes_of_split(file: Path, prefix: str) -> dict[str, str]:
    """Scene by file stem, of the members of a split file that begin with ``prefix``."""
    scenes = read_split(file).get("scene")
    if scenes is None:
        raise InputError(f"{file}: a split file without the scenes of its members")
    return {key.removeprefix(prefix): str(scene) for key, scene in scenes.items() if key.startswith(prefix)}


def read_split(file: Path) -> dict[str, Any]:
    """Lists of members by name, and under "scene" a scene for each member (with remarks between them)."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not a readable split file ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("scene", {}), dict):
        raise InputError(f"{file}: not a split file: it must map names to lists, and scene to the members' scenes")
    return content


def pairs_of_csv(file: Path, folder: Path) -> list[Pair]:
    """Pairs of a table with the columns scene, low, normal; the file names are below ``folder``.

    Raises:
        InputError: the table or a picture is missing.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    pairs = []
    for number, row in enumerate(rows, 2):
        try:
            low, target, scene = folder / row["low"], folder / row["normal"], row["scene"]
        except (KeyError, TypeError):
            raise InputError(f"{file}, line {number}: needs the columns scene, low, normal") from None
        for path in (low, target):
            if not path.is_file():
                raise InputError(f"{file}, line {number}: {path} does not exist")
        pairs.append(Pair(Path(row["low"]).stem, low, target, scene))
    return pairs


def pairs_of_pictures(folder: Path) -> list[Pair]:
    """Every picture of a folder, paired with itself."""
    return [Pair(p.stem, p, p, p.stem) for p in list_pictures(folder)]


def evenly(items: Sequence[T], at_most: int) -> list[T]:
    """So many of them, spread over the whole list, in its order."""
    count = min(at_most, len(items))
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def hold_out(pairs: Sequence[Pair], fraction: float, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Splits whole scenes off: (training, validation). The same fraction and seed give the same split anywhere."""
    scenes = sorted({p.scene for p in pairs})
    count = round(fraction * len(scenes))
    chosen = {scenes[i] for i in np.random.default_rng(seed).permutation(len(scenes))[:count]}
    return [p for p in pairs if p.scene not in chosen], [p for p in pairs if p.scene in chosen]
