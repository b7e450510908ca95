"""``datasets.train`` of an option file: which pictures, and how they are cut and turned."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

from tapetum.data.arrays import HEIGHT, WIDTH
from tapetum.training.importing.options import Options

Note = Callable[[str, str], None]

HOLD_OUT = 0.02
"""Share of the scenes split off for validation, as in the recipes that come with the package."""

PAIRED = ("PairedImageDataset", "Dataset_PairedImage", "DeblurPairedDataset")
SLIDING = "Dataset_PairedImage_Slide"
CLIPS = ("Dataset_SIDImage", "Dataset_SMIDImage", "Dataset_SDSDImage")

# by ``type``, our layouts with (a word in the data set's folder name, low folder, target folder) below that folder
_Tails = tuple[tuple[str, str, str], ...]
_PICTURES: dict[str, _Tails] = {
    "lol_v1": (("lol", "Train/input", "Train/target"), ("", "our485/low", "our485/high")),
    "lol_v2_real": (("", "Real_captured/Train/Low", "Real_captured/Train/Normal"),),
    "lol_v2_synthetic": (
        ("", "Synthetic/Train/Low", "Synthetic/Train/Normal"),
        ("", "Synthetic/Train/low", "Synthetic/Train/high"),
    ),
    "fivek": (("fivek", "train/input", "train/target"),),
    "ntire": (("ntire", "train/input", "train/target"),),
    "uieb": (("uieb", "train/lq", "train/hq"),),
    "lsui": (("lsui", "train/input", "train/gt"), ("lsui", "train/input", "train/GT")),
    "baid": (("baid", "train/input", "train/output"),),
}
_ARRAYS: dict[str, dict[str, _Tails]] = {
    "Dataset_SIDImage": {"sid": (("", "short_sid2", "long_sid2"),)},
    "Dataset_SMIDImage": {"smid": (("", "SMID_LQ_np", "SMID_Long_np"),)},
    "Dataset_SDSDImage": {
        "sdsd_indoor": (("", "indoor_static_np/input", "indoor_static_np/GT"),),
        "sdsd_outdoor": (("", "outdoor_static_np/input", "outdoor_static_np/GT"),),
    },
}


def import_training_set(train: Options, progressive: bool, note: Note) -> tuple[dict[str, Any], str]:
    """The recipe's data section, and the name of the data set ("" where it is none of ours).

    Args:
        train: the section ``datasets.train``.
        progressive: the official loop crops once more, to ``gt_sizes``.
        note: called with a place and what must be said about it.

    Raises:
        UsageError: a reader, a storage or folders that recipes cannot express.
    """
    kind = train.text("type")
    if kind not in (*PAIRED, SLIDING, *CLIPS):
        train.refuse("type", f"no recipe can read {kind!r}: choose from {', '.join((*PAIRED, SLIDING, *CLIPS))}")
    storage = train.section("io_backend")
    if storage.text("type", "disk") != "disk":
        storage.refuse("type", f"pictures are read from folders (disk), not from {storage.text('type')}")
    root, sources, name = _sources(train, kind, note)
    if kind == SLIDING:
        stride = train.whole("stride")
        sources = [{**source, "stride": stride} for source in sources]
    if resize := _resize(train):
        sources = [{**source, "resize": resize} for source in sources]
    patch, batch, phases = _sizes(train, progressive, kind in CLIPS, note)
    _remark_on_reading(train, kind, note)
    section = {
        "root": root,
        "patch": patch,
        "batch": batch,
        **({"progressive": phases} if phases else {}),
        "sources": sources,
        "workers": train.whole("num_worker_per_gpu", 0),
    }
    return section, name


def _sources(train: Options, kind: str, note: Note) -> tuple[str, list[dict[str, Any]], str]:
    """``data.root``, the sources, and the data set's name."""
    lows, targets = _roots(train, "dataroot_lq"), _roots(train, "dataroot_gt")
    if len(lows) != len(targets):
        train.refuse("dataroot_lq", f"must list as many folders as dataroot_gt ({len(targets)}), got {len(lows)}")
    if kind in CLIPS and len(lows) > 1:
        train.refuse("dataroot_lq", f"{kind} takes one folder, got {len(lows)}")
    if len(lows) > 1:
        note(train.place("dataroot_lq"), "every folder gets the same share of the samples, whatever its size")
    found = [_layout(train, kind, low, target, note) for low, target in zip(lows, targets, strict=True)]
    roots = {root for root, _, _ in found}
    if len(roots) > 1:  # no common folder: paths as they are
        found = [("", folder if root == "." else f"{root}/{folder}", name) for root, folder, name in found]
    sources = []
    for number, ((_, folder, name), low, target) in enumerate(zip(found, lows, targets, strict=True), 1):
        suffix = f"_{number}" if len(found) > 1 else ""
        pictures = (
            {"layout": "data_set", "name": name, "folder": folder}
            if name
            else {"layout": "folders", "low": low, "target": target}
        )
        sources.append({"name": (name or "pairs") + suffix, "pictures": pictures, "hold_out": HOLD_OUT})
    root = roots.pop() if len(roots) == 1 else "."
    return root, sources, found[0][2]


def _roots(train: Options, key: str) -> list[str]:
    value = train.take(key)
    roots = value if isinstance(value, list) else [value]
    if not roots or not all(isinstance(root, str) and root.strip() for root in roots):
        train.refuse(key, f"must be a folder, or a list of folders, got {value!r:.60}")
    return roots


def _layout(train: Options, kind: str, low: str, target: str, note: Note) -> tuple[str, str, str]:
    """``data.root``, the data set's folder below it, and its name; (".", "", "") for two folders of no data set."""
    known = _ARRAYS.get(kind, _PICTURES)
    low, target = str(PurePosixPath(low)), str(PurePosixPath(target))
    tails = [(name, *tail) for name, several in known.items() for tail in several]
    for name, word, low_tail, target_tail in tails:
        folder = PurePosixPath(target.removesuffix(target_tail))
        if not f"/{target}".endswith(f"/{target_tail}") or word not in folder.name.lower():
            continue
        if low == target and name == "fivek":
            note(train.place("dataroot_lq"), "is the folder of the targets, a slip of the file: train/input is taken")
        elif low != str(folder / low_tail):
            continue
        return str(folder.parent), folder.name or ".", name
    if low == target:
        train.refuse("dataroot_lq", f"is dataroot_gt as well ({low}): there would be nothing to learn")
    if kind in CLIPS:
        wanted = " or ".join(f".../{low_tail} and .../{target_tail}" for _, _, low_tail, target_tail in tails)
        train.refuse("dataroot_lq", f"{kind} reads {wanted} (dataroot_lq and dataroot_gt), got {low} and {target}")
    return ".", "", ""


def _resize(train: Options) -> dict[str, Any] | None:
    """What ``dataset_type`` of Reti-Diff's reader does to whole pictures; None: nothing."""
    kind = train.text("dataset_type", None)
    rate = train.number("scale_rate", None)
    if kind == "crop_or_resize":
        train.refuse("dataset_type", "crop_or_resize cuts patches larger than the picture: it cannot succeed")
    if kind == "scale_and_crop" and rate is None:
        train.refuse("scale_rate", "is missing, and scale_and_crop needs it")
    known = {None: None, "scale_and_crop": {"scale": rate}, "BAID": {"longest": 2048}}
    if kind == "chaos":
        return {"square": train.whole("gt_size")}
    if kind not in known:
        train.refuse("dataset_type", f"unknown preparation {kind!r}, choose from chaos, scale_and_crop, BAID")
    return known[kind]


Phases = list[dict[str, int]]


def _sizes(train: Options, progressive: bool, clips: bool, note: Note) -> tuple[int | None, int, Phases]:
    """Patch (None: whole pictures) and batch of one device, as the network really sees them; later ones in phases."""
    size, batch = train.whole("gt_size"), train.whole("batch_size_per_gpu")
    if not progressive:
        return size, batch, []
    if "iters" not in train and "gt_sizes" in train:
        train.refuse("iters", "is missing, and gt_sizes needs it")
    stages, batches = train.wholes("gt_sizes", [size]), train.wholes("mini_batch_sizes", [batch])
    iterations = train.wholes("iters", [0])
    if not len(stages) == len(batches) == len(iterations) > 0:
        train.refuse("gt_sizes", "must have as many entries as mini_batch_sizes and iters, and one at least")
    if not clips:
        found = [(min(size, side), min(batch, count)) for side, count in zip(stages, batches, strict=True)]
        ends = list(accumulate(iterations))[:-1]
        later = zip(ends, found[1:], strict=True)
        return *found[0], [{"after": end, "patch": side, "batch": count} for end, (side, count) in later]
    if len(stages) > 1:
        why = f"recipes have one size for clips: the first stage's ({stages[0]}, batch {batches[0]}) is taken for all"
        note(train.place("gt_sizes"), why)
    batch = min(batch, batches[0])
    if stages[0] < size:
        why = f"the official loop cuts its patches inside the first {size} rows and columns; here: anywhere"
        note(train.place("gt_size"), why)
        return stages[0], batch, []
    # the readers of clips do not crop, and the loop only what is larger than its stage's size
    note(train.place("gt_size"), "has no effect in the official program for this data set: pictures are whole")
    return None, batch, []


def _remark_on_reading(train: Options, kind: str, note: Note) -> None:
    """What recipes do in one way only, where the file asks for another."""
    for key in ("geometric_augs", "use_hflip", "use_flip", "use_rot"):
        if not train.flag(key, True):
            note(train.place(key), "recipes always flip and turn: cannot be switched off")
    if train.text("phase", "train") != "train":
        train.refuse("phase", "must be train in datasets.train")
    if train.text("task", "LLIE") != "LLIE":
        train.refuse("task", "recipes know pairs of low-light pictures (LLIE) only")
    if train.text("filename_tmpl", "{}") != "{}" and kind not in CLIPS:
        note(train.place("filename_tmpl"), "recipes pair pictures of the same name only: rename the files first")
    for key in ("mean", "std", "noise"):
        if key in train:
            note(train.place(key), "recipes give pictures to the network as they are: left out")
        train.take(key)
    if "color" in train and kind not in CLIPS:
        note(train.place("color"), "recipes train on RGB: left out")
    if "meta_info_file" in train:
        note(train.place("meta_info_file"), "recipes take every pair of the folders: the list is left out")
    if "testing_dir" in train:
        note(train.place("testing_dir"), "the data set's published list of test clips is taken, built in")
    for key in ("color", "meta_info_file", "testing_dir"):
        train.take(key)
    size = train.wholes("train_size", [WIDTH, HEIGHT]) if kind in CLIPS else [WIDTH, HEIGHT]
    if size != [WIDTH, HEIGHT]:
        note(train.place("train_size"), f"clips are always resized to {WIDTH} x {HEIGHT}")
