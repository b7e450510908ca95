"""ExDark: 7,363 dark photographs with boxes of 12 classes (Loh and Chan, "Getting to know low-light images with the
Exclusively Dark dataset", CVIU 2019), and other data sets that lie alike.

Pictures are looked for in ``images/``, else ``ExDark/`` (the archive's folder, a subfolder for each class), else in the
folder itself; annotations in ``labels/``, else ``ExDark_Annno/`` (the archive's spelling), else ``ExDark_Anno/`` or
``annotations/``, else beside the pictures. The published list of splits is ``imageclasslist.txt``. A file
``classes.txt`` names the classes of another data set, one a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tapetum.data.detection import DetectionSet, read_annotation
from tapetum.errors import InputError, UsageError
from tapetum.imaging import is_picture

CLASSES = ("Bicycle", "Boat", "Bottle", "Bus", "Car", "Cat", "Chair", "Cup", "Dog", "Motorbike", "People", "Table")
SPLITS = ("train", "val", "test")  # 1, 2, 3 in the published list
LIST = "imageclasslist.txt"
ALL = "all"
_PICTURES = ("images", "ExDark")
_ANNOTATIONS = ("labels", "ExDark_Annno", "ExDark_Anno", "annotations")


def read_detection_set(
    folder: Path, split: str | None = None, *, limit: int | None = None, clip: bool = False
) -> DetectionSet:
    """A data set, or a part of it.

    Args:
        split: "train", "val" or "test": the subfolder of that name in ``images/``, or what the published list says; or
            the path of a text file that names pictures, one a line. None: every picture in the folder.
        limit: only the first pictures, in the order of their names.
        clip: cut boxes that lie partly outside of their picture instead of refusing them.

    Raises:
        UsageError: an unknown split.
        InputError: a folder, the list, a picture of the split, or an annotation is missing or wrong.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of a data set")
    place = _first_folder(folder, _PICTURES)
    if split in SPLITS and (place / str(split)).is_dir():
        chosen = _by_stem(place / str(split))
        annotations = _annotations(folder, place, str(split))
    else:
        chosen = _by_stem(place)
        annotations = _annotations(folder, place, "")
        if split is not None:
            source, wanted = _listed(folder, split)
            chosen = _chosen(chosen, wanted, source, split, place)
    if not chosen:
        raise InputError(f"{folder}: the list has no picture of {split}")
    classes = read_classes(folder / "classes.txt") if (folder / "classes.txt").is_file() else CLASSES
    labelled = []
    for stem, picture in sorted(chosen.items())[:limit]:
        if stem not in annotations:
            raise InputError(f"{picture}: has no annotation ({picture.name}.txt or {picture.stem}.txt) in {folder}")
        labelled.append(read_annotation(annotations[stem], picture, classes, clip))
    name = ALL if split is None else split if split in SPLITS else Path(split).stem
    return DetectionSet(folder, classes, name, tuple(labelled))


def read_classes(file: Path) -> tuple[str, ...]:
    """Names of classes, one a line.

    Raises:
        InputError: the file cannot be read, is empty, or has a name twice.
    """
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not names or len({name.lower() for name in names}) != len(names):
        raise InputError(f"{file}: must name classes, one a line, each once")
    return tuple(names)


def read_split_list(file: Path) -> dict[str, list[str]]:
    """Names of pictures by split, from the published ``imageclasslist.txt``: a heading, then for each picture its name,
    class 1..12, lighting 1..10, indoor or outdoor 1..2, and split 1..3.

    Raises:
        InputError: the file cannot be read, or a line is wrong.
    """
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for number, line in _lines(file)[1:]:
        fields = line.rsplit(maxsplit=4)
        if len(fields) != 5 or fields[4] not in ("1", "2", "3"):
            raise InputError(f"{file}, line {number}: needs NAME CLASS LIGHT IN/OUT SPLIT, with a split from 1 to 3")
        splits[SPLITS[int(fields[4]) - 1]].append(fields[0])
    return splits


def _listed(folder: Path, split: str) -> tuple[Path, list[str]]:
    """The list that says which pictures a split has, and their names."""
    if split in SPLITS:
        if not (folder / LIST).is_file():
            raise InputError(f"{folder}: has neither {LIST} (the published splits) nor a folder images/{split}")
        return folder / LIST, read_split_list(folder / LIST)[split]
    if not Path(split).is_file():
        raise UsageError(f"unknown split {split!r}: choose {', '.join(SPLITS)}, or give a file that names pictures")
    return Path(split), [line.strip() for _, line in _lines(Path(split))]


def _lines(file: Path) -> list[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"{file}: is empty")
    return lines


def _chosen(pictures: dict[str, Path], wanted: Sequence[str], source: Path, split: str, place: Path) -> dict[str, Path]:
    """The listed ones. Endings are not compared: copies of the data set differ in .JPG, .jpg and .jpeg."""
    stems = {_stem(name): name for name in wanted}
    missing = [name for stem, name in stems.items() if stem not in pictures]
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of the {len(stems)} pictures of {Path(split).name} are not in {place}, the "
            f"first is {missing[0]}"
        )
    return {stem: pictures[stem] for stem in stems}


def _first_folder(folder: Path, names: Sequence[str]) -> Path:
    """The first of these subfolders that there is, else the folder itself."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def _annotations(folder: Path, pictures: Path, part: str) -> dict[str, Path]:
    place = _first_folder(folder, _ANNOTATIONS)
    place = pictures if place == folder else place
    place = place / part if (place / part).is_dir() else place
    found: dict[str, Path] = {}
    for path in _files(place):
        if path.suffix.lower() == ".txt":
            found[_stem(path.stem if is_picture(path.stem) else path.name)] = path
    if not found:
        raise InputError(
            f"{folder}: has no annotations: need files *.txt in labels/ (YOLO text) or ExDark_Annno/ (bbGt)"
        )
    return found


def _by_stem(folder: Path) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for path in _files(folder):
        if is_picture(path) and (other := pictures.setdefault(_stem(path.name), path)) != path:
            raise InputError(f"{other} and {path} have one name: which is meant?")
    if not pictures:
        raise InputError(f"{folder}: holds no picture")
    return pictures


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.name.startswith(".") and path.is_file())


def _stem(name: str) -> str:
    """Of ``2015_00001.JPG``, with or without folders and ending: ``2015_00001``."""
    path = Path(name)
    return path.stem if is_picture(path) or path.suffix.lower() == ".txt" else path.name
