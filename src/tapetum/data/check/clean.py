"""A split without shared scenes, as a file that recipes and ``tapetum evaluate`` read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tapetum.data.check.report import Report
from tapetum.errors import InputError, UsageError, os_reason
from tapetum.imaging.replacing import write_whole

TRAIN, TEST = "clean_train", "clean_test"


def clean_split(report: Report, folder: Path) -> dict[str, Any]:
    """Every test picture, and the training pictures whose scene no test picture shows; not those that cannot be used.

    Args:
        folder: in which the file will be: the pictures' root is named as seen from there.
    """
    tests = {scene for scene, p in zip(report.scenes, report.pictures, strict=True) if p.member.role == "test"}
    lists: dict[str, list[str]] = {TRAIN: [], TEST: []}
    scenes: dict[str, int] = {}
    for scene, picture in zip(report.scenes, report.pictures, strict=True):
        name, role = picture.member.name, picture.member.role
        scenes[name] = scene
        if picture.is_usable and (role == "test" or scene not in tests):
            lists[TEST if role == "test" else TRAIN].append(name)
    about = (
        "Written by tapetum data check. Members are FOLDER/NAME below root. clean_train has no scene of clean_test, "
        "as far as scenes were found by comparing pictures."
    )
    root = Path(os.path.relpath(report.listing.root, folder)).as_posix()
    return {"about": about, "root": root, **lists, "scene": scenes}


def write_clean(report: Report, file: Path) -> dict[str, int]:
    """Writes the split, whole or not at all; returns the lengths of its lists.

    Raises:
        UsageError: the file exists. InputError: it cannot be written.
    """
    check_new(file)
    content = clean_split(report, file.parent)
    try:
        write_whole(json.dumps(content, indent=1, ensure_ascii=False) + "\n", file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({os_reason(error)})") from None
    return {name: len(value) for name, value in content.items() if isinstance(value, list)}


def check_new(file: Path) -> None:
    """A split is what figures refer to: none is overwritten.

    Raises:
        UsageError: the file exists.
    """
    if file.exists():
        raise UsageError(f"{file}: exists, and splits are not overwritten: choose another name, or remove it")
