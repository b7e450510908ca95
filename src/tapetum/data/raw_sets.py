"""RAW data sets of pairs as they lie on disk: SID (Sony) and ELD. No torch; nothing but lists of files is read here.

SID: Chen et al., "Learning to see in the dark", CVPR 2018. ELD: Wei et al., CVPR 2020. Pairs, ratios and reference
pictures are those that RAW methods are trained and scored on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from tapetum.errors import InputError, UsageError, os_reason

SID_LISTS = ("train", "val", "test", "paired", "indoor")
LARGEST_RATIO = 300.0
ELD_REFERENCES = (1, 6, 11, 16)
ELD_SCENES = tuple(range(1, 11))
# numbers of the pictures of a scene by ratio: three ISO speeds each
ELD_SHORT = {1: (2, 7, 12), 10: (3, 8, 13), 100: (4, 9, 14), 200: (5, 10, 15)}
_ELD_SUFFIXES = (".cr2", ".nef", ".arw", ".dng")
_SID_NAME = re.compile(r"(?P<scene>\d{5})_(?P<burst>\d{2})_(?P<time>\d+(?:\.\d+)?)s\.\w+")


@dataclass(frozen=True)
class RawPair:
    """A short exposure and the long one of the same scene.

    Attributes:
        ratio: amplification of the short one; None: ask the files' EXIF data (:func:`ratio_of_shots`).
        camera: the folder of a data set of several cameras, else "".
    """

    name: str
    low: Path
    target: Path
    scene: str
    ratio: float | None = None
    camera: str = ""


def sid_pairs(folder: Path, listed: str = "train", bursts: Literal["listed", "all"] = "listed") -> list[RawPair]:
    """Pairs of SID's Sony part: ``short/`` and ``long/`` below ``folder``.

    Args:
        listed: one of :data:`SID_LISTS`, or a list file below ``folder`` with ``short long [ratio]`` in each line.
        bursts: "listed" takes the exposures that the list names (the first of each burst); "all" every exposure of the
            burst that lies there.

    Raises:
        InputError: a folder, a list or a picture is missing, or a name is not SID's.
        UsageError: no such list.
    """
    for side in ("short", "long"):
        if not (folder / side).is_dir():
            raise InputError(f"{folder / side}: no such folder: SID's Sony part has short/ and long/ with .ARW files")
    rows = published_lists()[listed] if listed in SID_LISTS else _list_file(folder, listed)
    present = {side: {path.name for path in (folder / side).iterdir()} for side in ("short", "long")}
    pairs: dict[str, RawPair] = {}
    for row in rows:
        short, long = row[:2]
        scene, _, time = _sid_parts(short)
        names = [short]
        if bursts == "all":
            names = sorted(name for name in present["short"] if _same_burst(name, scene, time)) or names
        ratio = min(_sid_parts(long)[2] / time, LARGEST_RATIO) if len(row) == 2 else _ratio(row[2], folder, listed)
        for name in names:
            pair = RawPair(Path(name).stem, folder / "short" / name, folder / "long" / long, scene, ratio)
            pairs.setdefault(name, pair)
    wanted = [("short", pair.low.name) for pair in pairs.values()] + [("long", p.target.name) for p in pairs.values()]
    missing = list(dict.fromkeys(place for place in wanted if place[1] not in present[place[0]]))
    if missing:
        side, name = missing[0]
        raise InputError(f"{folder / side}: no {name}, which the list {listed} names ({len(missing)} files missing)")
    return list(pairs.values())


def eld_pairs(
    folder: Path, cameras: Sequence[str], ratios: Sequence[int] = (100, 200), scenes: Sequence[int] = ELD_SCENES
) -> list[RawPair]:
    """Pairs of ELD: ``CAMERA/scene-K/IMG_NNNN.*`` below ``folder``. The ratio is known from the files' EXIF data only.

    Raises:
        InputError: a folder or a picture is missing. UsageError: a ratio that ELD does not have.
    """
    unknown = [ratio for ratio in ratios if ratio not in ELD_SHORT]
    if unknown:
        raise UsageError(f"ELD has no ratio {unknown[0]}: choose from {', '.join(map(str, ELD_SHORT))}")
    pairs = []
    for camera in cameras:
        if not (folder / camera).is_dir():
            there = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
            raise InputError(f"{folder / camera}: no such folder of a camera (there are: {', '.join(there) or 'none'})")
        for scene in scenes:
            place = folder / camera / f"scene-{scene}"
            files = _eld_files(place)
            for number in sorted(n for ratio in ratios for n in ELD_SHORT[ratio]):
                reference = eld_reference(number)
                for wanted in (number, reference):
                    if wanted not in files:
                        raise InputError(f"{place}: no IMG_{wanted:04d} of a camera's RAW format")
                name = f"{camera}/scene-{scene}/{number:04d}"
                pairs.append(RawPair(name, files[number], files[reference], f"{camera}/{scene}", camera=camera))
    return pairs


def eld_reference(number: int) -> int:
    """The long exposure of a picture: the nearest of 1, 6, 11, 16, the smaller of two."""
    return min(ELD_REFERENCES, key=lambda reference: (abs(reference - number), reference))


def ratio_of_shots(
    low: tuple[float | None, float | None], target: tuple[float | None, float | None], where: Path
) -> float:
    """``(ISO t)_target / (ISO t)_low`` of two (ISO, exposure time); a whole number within 1e-6 of one.

    Raises:
        InputError: a file does not tell them.
    """
    if not all((*low, *target)):
        raise InputError(f"{where}: its EXIF data, or its long exposure's, do not tell ISO speed and exposure time")
    (iso, time), (target_iso, target_time) = low, target
    ratio = (target_iso * target_time) / (iso * time)  # type: ignore[operator]
    whole = round(ratio)
    return float(whole) if abs(ratio - whole) < 1e-6 else ratio


@cache
def published_lists() -> dict[str, list[list[str]]]:
    """SID's Sony lists by name, each of (short, long)."""
    text = (resources.files("tapetum.data") / "sid_sony_lists.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return {name: [row.split() for row in content[name]] for name in SID_LISTS}


def _list_file(folder: Path, name: str) -> list[list[str]]:
    file = folder / name
    if not file.suffix:
        raise UsageError(
            f"unknown list {name!r} of SID: choose from {', '.join(SID_LISTS)}, or name a list file (.txt)"
        )
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{file}: no list that can be read: {os_reason(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: no list of pairs: not a text") from None
    rows = []
    for number, line in enumerate(lines, 1):
        # the data set's own lists have paths and further columns (ISO, aperture)
        fields = [Path(field).name if i < 2 else field for i, field in enumerate(line.split())]
        if not fields:
            continue
        if len(fields) < 2:
            raise InputError(f"{file}, line {number}: needs SHORT LONG, and perhaps a ratio")
        rows.append(fields[:3] if len(fields) > 2 and fields[2].replace(".", "", 1).isdigit() else fields[:2])
    if not rows:
        raise InputError(f"{file}: lists no pair")
    return rows


def _ratio(text: str, folder: Path, listed: str) -> float:
    value = float(text)
    if value < 1:
        raise InputError(f"{folder / listed}: the ratio {text} is below 1")
    return value


def _sid_parts(name: str) -> tuple[str, str, float]:
    """Scene, burst number and exposure time of a file's name."""
    match = _SID_NAME.fullmatch(name)
    if match is None or float(match["time"]) <= 0:
        raise InputError(f"{name!r} is not named like SID's files, SCENE_BURST_SECONDSs.ARW (00001_00_0.1s.ARW)")
    return match["scene"], match["burst"], float(match["time"])


def _same_burst(name: str, scene: str, time: float) -> bool:
    match = _SID_NAME.fullmatch(name)
    return match is not None and match["scene"] == scene and float(match["time"]) == time


def _eld_files(place: Path) -> dict[int, Path]:
    if not place.is_dir():
        raise InputError(f"{place}: no such folder of a scene")
    return {int(path.stem[4:]): path for path in _raw_files(place.iterdir()) if re.fullmatch(r"IMG_\d+", path.stem)}


def _raw_files(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in _ELD_SUFFIXES)
