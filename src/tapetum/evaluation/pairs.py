"""Which pictures are measured: data sets in the layouts of the field, as lists of pairs."""

from __future__ import annotations

from pathlib import Path

from tapetum.data.pairs import (
    SIDES,
    SPLITS_FILE,
    TEST_SPLITS,
    Pair,
    pairs_of_folders,
    pairs_of_split,
    read_split,
    root_of_split,
    sides_of,
)
from tapetum.errors import InputError, UsageError


def find_splits(root: Path, splits: list[str] | None = None) -> dict[str, list[Pair]]:
    """The pairs of a data set, by the name of their split.

    Understood are ``ROOT/SPLIT/{low,high}`` (LOL v1), ``ROOT/SPLIT/{input,target}`` (Retinexformer's copies),
    ``ROOT/SPLIT/{Low,Normal}`` (LOL v2), the same two folders directly in ROOT, and lists in ``ROOT/splits.json``.

    Args:
        root: the folder, or a split file, whose lists and folders are then taken (``tapetum data check`` writes such).
        splits: names; None: every test split that is there.

    Raises:
        InputError: no such folder or layout, or a picture without its partner.
        UsageError: no such split.
    """
    file = root / SPLITS_FILE
    if root.is_file():
        file, root = root, root_of_split(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    lists, scenes = read_lists(file)
    if splits is None:
        splits = [name for name in TEST_SPLITS if name in lists or sides_of(root / name)]
        if not splits and sides_of(root):
            splits = [""]
        if not splits:
            layouts = ", ".join(f"{low}/ and {target}/" for low, target in SIDES)
            raise InputError(
                f"{root}: no test pictures in a known layout ({layouts}, there or in {TEST_SPLITS[0]}/ ...)"
            )
    found = {}
    for split in splits:
        if split in lists:
            found[split] = pairs_of_split(file, split)
        elif sides := sides_of(root / split):
            below = {
                key.removeprefix(f"{split}/"): scene for key, scene in scenes.items() if key.startswith(f"{split}/")
            }
            found[split or root.name] = pairs_of_folders(*sides, below)
        else:
            known = [*lists, *sorted(p.name for p in root.iterdir() if sides_of(p))]
            raise UsageError(f"{root} has no split {split!r}" + (f": choose from {', '.join(known)}" if known else ""))
    return found


def read_lists(file: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The lists of a split file by name, and the scene of each member; both empty where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    if not file.is_file():
        return {}, {}
    content = read_split(file)
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    return lists, {name: str(scene) for name, scene in content.get("scene", {}).items()}
