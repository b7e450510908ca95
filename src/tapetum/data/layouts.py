"""How the field's paired data sets lie on disk, and how their pictures are read.

Every layout lists the :class:`~tapetum.data.pairs.Pair` of its "train" or "test" split below the folder of the data set
(``data/LOLv1``, ...), paired by name, sorted. Folder names are those of the Retinexformer toolbox. Data sets without
targets (LIME, NPE, MEF, DICM, VV) are plain folders: :func:`tapetum.data.pictures.list_pictures`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tapetum.data.arrays import load_array
from tapetum.data.pairs import Pair, pairs_of_folders
from tapetum.data.pictures import list_pictures, load_rgb
from tapetum.errors import InputError, UsageError

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Layout:
    """One data set.

    Attributes:
        name: as recipes call it.
        find: ``(root, split) -> pairs``; raises InputError naming the folder or pair that is missing.
        folders: how they lie below the folder of the data set, for people.
        read: a file to ``(H, W, 3)`` RGB float32 in [0, 1].
        turns: whether training may also rotate; else only flip (:func:`tapetum.data.augmentation.flips`).
        task: what its pictures need: "low-light", "underwater" or "backlit"; "": something else.
    """

    name: str
    find: Callable[[Path, Split], list[Pair]]
    folders: str
    read: Callable[[Path], NDArray[np.float32]]
    turns: bool
    task: str

    def pairs(self, root: Path, split: Split) -> list[Pair]:
        """The pairs of a split, sorted.

        Raises:
            InputError: a folder or a picture is missing; the text says how the data set is to lie, and, where it lies
            otherwise, what is there.
        """
        try:
            return self.find(root, split)
        except InputError as error:
            raise InputError(f"{error}; {self.name} is {self.folders} in {root}{_found(root)}") from None


def _found(root: Path) -> str:
    if not root.is_dir():
        return ", which is no folder"
    entries = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(entries[:4]) + (", ..." if len(entries) > 4 else "")
    return f", which holds {shown or 'nothing'}"


def get_layout(name: str) -> Layout:
    """Raises UsageError for an unknown name; the text lists those there are."""
    if name not in LAYOUTS:
        raise UsageError(f"unknown data set layout {name!r}: choose from {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def read_picture_file(path: Path) -> NDArray[np.float32]:
    """PNG, JPEG, ...: 8 bit, ``(H, W, 3)`` RGB float32 in [0, 1]."""
    image = load_rgb(path).astype(np.float32)
    image /= 255
    return image


def lol_v1(root: Path, split: Split) -> list[Pair]:
    """485 : 15 pairs. ``{Train,Test}/{input,target}``, or as first published ``{our485,eval15}/{low,high}``."""
    original = root / {"train": "our485", "test": "eval15"}[split]
    if original.is_dir():
        return pairs_of_folders(original / "low", original / "high")
    folder = root / {"train": "Train", "test": "Test"}[split]
    return pairs_of_folders(folder / "input", folder / "target")


def lol_v2_real(root: Path, split: Split) -> list[Pair]:
    """689 : 100 pairs. ``Real_captured/{Train,Test}/{Low,Normal}`` below the folder of LOL-v2."""
    return _lol_v2(root / "Real_captured", split)


def lol_v2_synthetic(root: Path, split: Split) -> list[Pair]:
    """900 : 100 pairs. ``Synthetic/{Train,Test}/{Low,Normal}`` or ``{low,high}`` below the folder of LOL-v2."""
    return _lol_v2(root / "Synthetic", split)


def _lol_v2(root: Path, split: Split) -> list[Pair]:
    """The same names in both folders, or as in the first archive ``low00001.png`` and ``normal00001.png``."""
    folder = root / {"train": "Train", "test": "Test"}[split]
    low, target = folder / "Low", folder / "Normal"
    if not low.is_dir() and (folder / "low").is_dir():
        return pairs_of_folders(folder / "low", folder / "high")
    if all(path.stem.startswith("normal") for path in list_pictures(target)):
        return pairs_of_folders(low, target, low_name="low{}", target_name="normal{}")
    return pairs_of_folders(low, target)


def fivek(root: Path, split: Split) -> list[Pair]:
    """4,500 : 500 pairs, JPEG. ``{train,test}/{input,target}``. (The published option file trains from the target
    folder to itself; that is a slip of the file, not a protocol.)
    """
    return pairs_of_folders(root / split / "input", root / split / "target")


def ntire(root: Path, split: Split) -> list[Pair]:
    """NTIRE 2024, up to 4000 x 6000. ``{train,mini_val}/{input,target}``; ``minival`` is the README's spelling."""
    folder = root / "train"
    if split == "test":
        folder = root / "minival" if (root / "minival").is_dir() else root / "mini_val"
    return pairs_of_folders(folder / "input", folder / "target")


def uieb(root: Path, split: Split) -> list[Pair]:
    """Underwater, usually 800 : 90 pairs (the first archive, ``raw-890`` and ``reference-890``, has no split).
    ``{train,test}/{lq,hq}``.
    """
    return pairs_of_folders(root / split / "lq", root / split / "hq")


def lsui(root: Path, split: Split) -> list[Pair]:
    """Underwater, 3,879 : 400 pairs. ``{train,test}/{input,gt}``; ``GT`` is the first archive's spelling."""
    folder = root / split
    return pairs_of_folders(folder / "input", folder / ("GT" if (folder / "GT").is_dir() else "gt"))


def baid(root: Path, split: Split) -> list[Pair]:
    """Backlit, 368 test pairs. ``{train,test}/{input,output}``, here or in ``BAID_FULL``."""
    folder = (root / "BAID_FULL" if (root / "BAID_FULL").is_dir() else root) / split
    return pairs_of_folders(folder / "input", folder / "output")


def sid(root: Path, split: Split) -> list[Pair]:
    """``short_sid2/SCENE/*.npy`` to the first file of ``long_sid2/SCENE``; see :func:`sid_scenes`."""
    return sid_scenes(root / "short_sid2", root / "long_sid2", split)


def sid_scenes(low: Path, target: Path, split: Split) -> list[Pair]:
    """Every file of a scene's folder to the scene's first target. Test scenes start with 1, others with 0 or 2."""
    starts = {"train": ("0", "2"), "test": ("1",)}[split]
    scenes = [scene for scene in _common_scenes(low, target) if scene.startswith(starts)]
    return _to_first_long(low, target, scenes, skip=(), split=split)


def smid(root: Path, split: Split) -> list[Pair]:
    """``SMID_LQ_np/SCENE/*.npy`` to the first file of ``SMID_Long_np/SCENE``; see :func:`smid_scenes`.

    The list of test scenes is ``test_list.txt``, here or in ``SMID_Long_np``, or there ``text_list.txt``. Which of them
    the field's programs take depends on how the folder's path is written (:func:`smid_test_list`), so they must agree.

    Raises:
        InputError: there is no list, or two that name different scenes.
    """
    low, target = root / "SMID_LQ_np", root / "SMID_Long_np"
    lists = [root / "test_list.txt", target / "test_list.txt", target / "text_list.txt"]
    chosen = _first(lists)
    for other in lists:
        if other.is_file() and _lines(other) != _lines(chosen):
            raise InputError(f"{other}: names other test scenes than {chosen}; keep one of the two lists")
    return smid_scenes(low, target, chosen, split)


def smid_scenes(low: Path, target: Path, test_list: Path, split: Split) -> list[Pair]:
    """Every file of a scene's folder to the scene's first target without ".ARW" and "half" in its name.

    Args:
        test_list: text file of the test scenes, one a line.
    """
    listed = _lines(test_list)
    scenes = [scene for scene in _common_scenes(low, target) if (scene in listed) == (split == "test")]
    return _to_first_long(low, target, scenes, skip=(".ARW", "half"), split=split)


def smid_test_list(target: str) -> Path:
    """Where the list of test scenes lies for a folder of long exposures, as option files write its path: in the folder
    where the path ends in a slash, else beside it; or the other way round where that is all there is.

    Raises:
        InputError: it lies in neither.
    """
    folder = Path(target)
    places = [folder, folder.parent] if target.endswith("/") else [folder.parent, folder]
    return _first([place / "test_list.txt" for place in places])


def _lines(file: Path) -> set[str]:
    return {line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()}


def _first(files: list[Path]) -> Path:
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(f"{files[0]}: no such list of SMID's test scenes (nor {', '.join(map(str, files[1:]))})")
    return found


def sdsd_indoor(root: Path, split: Split) -> list[Pair]:
    """``{input,GT}/pairN/*.npy`` below ``indoor_static_np``; see :func:`sdsd_clips`."""
    folder = root / "indoor_static_np"
    return sdsd_clips(folder / "input", folder / "GT", SDSD_INDOOR_TEST, split)


def sdsd_outdoor(root: Path, split: Split) -> list[Pair]:
    """``{input,GT}/MVI_xxxx/*.npy`` below ``outdoor_static_np``; see :func:`sdsd_clips`."""
    folder = root / "outdoor_static_np"
    return sdsd_clips(folder / "input", folder / "GT", SDSD_OUTDOOR_TEST, split)


SDSD_INDOOR_TEST = frozenset({"pair1", "pair4", "pair9", "pair11", "pair19", "pair21"})
SDSD_OUTDOOR_TEST = frozenset(
    f"MVI_{n}" for n in ("0898", "0906", "0928", "0975", "0997", "1001", "1003", "1026", "1030", "1032")
)


def sdsd_clips(low: Path, target: Path, test: Collection[str], split: Split) -> list[Pair]:
    """Frame by frame. Clips named in ``test`` are test, and so are their other parts ``..._2``.

    Frames are paired by name, or by position where the two folders have no name in common.
    """
    pairs = []
    for clip in _common_scenes(low, target):
        if (clip in test or clip.split("_2")[0] in test) != (split == "test"):
            continue
        frames = _frames(low / clip, target / clip)
        pairs += [Pair(f"{clip}/{dark.stem}", dark, bright, clip) for dark, bright in frames]
    return _some(pairs, low, split)


def _frames(low: Path, target: Path) -> list[tuple[Path, Path]]:
    lows, targets = ({file.name: file for file in _arrays(folder)} for folder in (low, target))
    if not set(lows) & set(targets) and len(lows) == len(targets):
        return list(zip(lows.values(), targets.values(), strict=True))
    lonely = sorted(set(lows) ^ set(targets))
    if lonely:
        where = target if lonely[0] in lows else low
        raise InputError(f"{where}: no {lonely[0]} ({len(lonely)} frames without a partner)")
    return [(file, targets[name]) for name, file in lows.items()]


def _to_first_long(low: Path, target: Path, scenes: list[str], skip: tuple[str, ...], split: Split) -> list[Pair]:
    pairs = []
    for scene in scenes:
        longs = [file for file in _arrays(target / scene) if not any(word in file.name for word in skip)]
        if not longs:
            raise InputError(f"{target / scene}: holds no long exposure")
        pairs += [Pair(f"{scene}/{file.stem}", file, longs[0], scene) for file in _arrays(low / scene)]
    return _some(pairs, low, split)


def _some(pairs: list[Pair], where: Path, split: str) -> list[Pair]:
    if not pairs:
        raise InputError(f"{where}: holds no scene of the {split} split")
    return pairs


def _scenes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of scenes")
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _common_scenes(low: Path, target: Path) -> list[str]:
    """Scenes are paired by name: by position, one that is missing would shift all that follow."""
    scenes, others = _scenes(low), _scenes(target)
    lonely = sorted(set(scenes) ^ set(others))
    if lonely:
        where = target if lonely[0] in scenes else low
        raise InputError(f"{where}: no folder {lonely[0]} ({len(lonely)} scenes without a partner)")
    return scenes


def _arrays(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.glob("*.npy") if not file.name.startswith("."))
    if not files:
        raise InputError(f"{folder}: no such folder, or no .npy file in it")
    return files


def _of_pictures(name: str, find: Callable[[Path, Split], list[Pair]], folders: str, task: str) -> Layout:
    return Layout(name, find, folders, read_picture_file, turns=True, task=task)


def _of_arrays(name: str, find: Callable[[Path, Split], list[Pair]], folders: str) -> Layout:
    return Layout(name, find, folders, load_array, turns=False, task="low-light")


LAYOUTS = {
    layout.name: layout
    for layout in (
        _of_pictures("lol_v1", lol_v1, "{our485,eval15}/{low,high} or {Train,Test}/{input,target}", "low-light"),
        _of_pictures("lol_v2_real", lol_v2_real, "Real_captured/{Train,Test}/{Low,Normal}", "low-light"),
        _of_pictures("lol_v2_synthetic", lol_v2_synthetic, "Synthetic/{Train,Test}/{Low,Normal}", "low-light"),
        _of_arrays("sid", sid, "{short_sid2,long_sid2}/SCENE/*.npy"),
        _of_arrays("smid", smid, "{SMID_LQ_np,SMID_Long_np}/SCENE/*.npy and test_list.txt"),
        _of_arrays("sdsd_indoor", sdsd_indoor, "indoor_static_np/{input,GT}/CLIP/*.npy"),
        _of_arrays("sdsd_outdoor", sdsd_outdoor, "outdoor_static_np/{input,GT}/CLIP/*.npy"),
        _of_pictures("fivek", fivek, "{train,test}/{input,target}", ""),
        _of_pictures("ntire", ntire, "{train,mini_val}/{input,target}", ""),
        _of_pictures("uieb", uieb, "{train,test}/{lq,hq}", "underwater"),
        _of_pictures("lsui", lsui, "{train,test}/{input,gt}", "underwater"),
        _of_pictures("baid", baid, "{train,test}/{input,output}", "backlit"),
    )
}
