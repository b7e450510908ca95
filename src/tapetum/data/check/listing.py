"""Which pictures a data set has, for training and for tests. What is not paired is noted, not refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from tapetum.data.check.problems import Problem
from tapetum.data.layouts import get_layout
from tapetum.data.pairs import SIDES, SPLITS_FILE, TEST_SPLITS, Pair, pairs_of_split, sides_of
from tapetum.data.pictures import list_pictures
from tapetum.errors import InputError, UsageError
from tapetum.imaging import read_picture

Role = Literal["train", "test"]
Read = Callable[[Path], NDArray[Any]]

TRAIN_SPLITS = ("our485", "Train", "train")


@dataclass(frozen=True)
class Member:
    """One pair, or one picture of a folder of single ones.

    Attributes:
        name: ``FOLDER/STEM`` below ``Listing.root``, as split files have it.
        role: "train" or "test".
        low: the dark picture; None in a folder of single pictures.
        target: the target, or the single picture.
    """

    name: str
    role: Role
    low: Path | None
    target: Path


@dataclass(frozen=True)
class Listing:
    """The pictures of a data set.

    Attributes:
        root: below which the members' names are.
        splits: name of each split, and its role.
        members: training pictures first.
        problems: what is not paired.
        read: a file to its pixels ``(H, W, 1 or 3)``.
    """

    root: Path
    splits: dict[str, Role]
    members: list[Member]
    problems: list[Problem]
    read: Read


def list_data_set(root: Path, train: Sequence[str] = (), test: Sequence[str] = ()) -> Listing:
    """The splits of a folder ``ROOT/SPLIT/{low,high}`` or ``{input,target}`` ...

    Args:
        train, test: names of splits, or lists of ``ROOT/splits.json``, which is not looked at otherwise. None named:
            those of the usual names that are there.

    Raises:
        InputError: no such folder, no pictures. UsageError: no such split.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if not train and not test:
        train = [name for name in TRAIN_SPLITS if sides_of(root / name)]
        test = [name for name in TEST_SPLITS if sides_of(root / name)]
        if not train and not test:
            sides = ", ".join(f"{low}/ and {target}/" for low, target in SIDES)
            raise InputError(
                f"{root}: no {', '.join((*TRAIN_SPLITS, *TEST_SPLITS))} with {sides}: name the folders by --train and "
                "--test, or the data set's own way by --layout"
            )
    listing = Listing(root, {}, [], [], _pixels)
    for name in train:
        _add(listing, "train", name, root / name)
    for name in test:
        _add(listing, "test", name, root / name)
    return listing


def list_folders(train: Sequence[Path], test: Sequence[Path]) -> Listing:
    """Folders anywhere: each with the two sides of pairs in it, or of single pictures.

    Raises:
        InputError: no such folder, no pictures.
    """
    folders = [Path(os.path.abspath(folder)) for folder in (*train, *test)]
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    listing = Listing(root, {}, [], [], _pixels)
    for number, folder in enumerate(folders):
        _add(listing, "train" if number < len(train) else "test", folder.relative_to(root).as_posix(), folder)
    return listing


def list_layout(root: Path, layout: str) -> Listing:
    """Both splits of a data set that lies in a way of its own (:mod:`tapetum.data.layouts`).

    Raises:
        InputError: a folder or partner is missing. UsageError: no such layout.
    """
    chosen = get_layout(layout)
    members: list[Member] = []
    for role in ("train", "test"):
        members += [_member(pair, role, root) for pair in chosen.pairs(root, role)]
    arrays = not chosen.turns  # clips of arrays are read as they are trained on
    return Listing(root, {"train": "train", "test": "test"}, members, [], chosen.read if arrays else _pixels)


def _member(pair: Pair, role: Role, root: Path) -> Member:
    """Named as split files do, wherever the pair lies as they expect it."""
    folder = pair.low.parent.parent
    if pair.low.stem == pair.target.stem and sides_of(folder) == (pair.low.parent, pair.target.parent):
        return Member(f"{folder.relative_to(root).as_posix()}/{pair.low.stem}", role, pair.low, pair.target)
    return Member(f"{role}/{pair.name}", role, pair.low, pair.target)


def _add(listing: Listing, role: Role, name: str, folder: Path) -> None:
    if name in listing.splits:
        raise UsageError(f"{name} is named twice: training and test pictures are to be different ones")
    listing.splits[name] = role
    sides = sides_of(folder)
    if sides is not None:
        listing.members.extend(_pairs(listing, role, name, *sides))
    elif folder.is_dir():
        pictures = _by_stem(listing, name, folder)
        listing.members.extend(Member(f"{name}/{stem}", role, None, path) for stem, path in pictures.items())
    elif (listing.root / SPLITS_FILE).is_file() and "/" not in name:
        pairs = pairs_of_split(listing.root / SPLITS_FILE, name)
        listing.members.extend(Member(pair.name, role, pair.low, pair.target) for pair in pairs)
    else:
        raise InputError(f"{folder}: no such folder")


def _pairs(listing: Listing, role: Role, name: str, low: Path, target: Path) -> list[Member]:
    lows, targets = (_by_stem(listing, f"{name}/{side.name}", side) for side in (low, target))
    for stems, others, missing in ((lows, targets, target), (targets, lows, low)):
        for stem in stems.keys() - others.keys():
            where = f"{name}/{stem}"
            listing.problems.append(Problem("unpaired", where, f"{stems[stem].name} has no partner in {missing.name}/"))
    both = [stem for stem in lows if stem in targets]
    if not both:
        raise InputError(f"{low.parent}: no picture of {low.name}/ has a partner of its name in {target.name}/")
    return [Member(f"{name}/{stem}", role, lows[stem], targets[stem]) for stem in both]


def _by_stem(listing: Listing, name: str, folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in list_pictures(folder):
        if path.stem in files:
            text = f"{files[path.stem].name} and {path.name} have one name; the first is taken"
            listing.problems.append(Problem("unpaired", f"{name}/{path.stem}", text))
        else:
            files[path.stem] = path
    return files


def _pixels(path: Path) -> NDArray[Any]:
    return read_picture(path).pixels
