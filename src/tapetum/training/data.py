"""From a recipe's data section to what the trainer is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tapetum.data import pairs as lists
from tapetum.data.drawing import Exposures, Unpaired, check_aligned, check_pairs, check_sizes, read_any
from tapetum.data.layouts import LAYOUTS, read_picture_file
from tapetum.data.patches import IndexSampler, PatchDataset, Phase, ProgressiveSampler, Source, whole_pictures
from tapetum.data.pictures import PictureStore, Reader, ResizedReader, load_rgb
from tapetum.data.raw_samples import VALIDATION_SIDE, RawDataset, RawSource, centred, draw_sample
from tapetum.data.raw_sets import RawPair
from tapetum.errors import InputError, UsageError
from tapetum.machine import free_memory
from tapetum.training.raw_data import make_raw_sources
from tapetum.training.recipe import (
    CsvList,
    DataSetList,
    EldList,
    FolderList,
    PictureList,
    Recipe,
    SidList,
    SourceSection,
    SplitList,
    UnpairedLists,
)


@dataclass(frozen=True)
class Held:
    """Validation pictures of one source."""

    name: str
    source: Source | RawSource
    pairs: Sequence[lists.Pair | RawPair | Path]

    def has_target(self, pair: lists.Pair | RawPair | Path) -> bool:
        """Nobody knows what a dark picture of an unpaired folder should become."""
        if isinstance(self.source, RawSource) or not isinstance(pair, lists.Pair):
            return True
        return self.source.kind != "pairs" or pair.low != pair.target


@dataclass(frozen=True)
class _Listed:
    """The pairs of a list, split; how their files are read, and whether they may be turned."""

    train: list[lists.Pair]
    validation: list[lists.Pair]
    read: Reader = load_rgb
    turns: bool = True


Sources = list[Source] | list[RawSource]


def make_sources(recipe: Recipe) -> tuple[Sources, list[Held]]:
    """Training sources, and what is held out of them for validation.

    Raises:
        UsageError: a picture, folder or list is missing or cannot be trained with; says which source wants it.
    """
    if recipe.data.is_raw:
        sources, kept = make_raw_sources(recipe)
        return sources, [Held(name, source, source.pictures) for name, source in kept]
    training, held = [], []
    for section in recipe.data.sources:
        where = f"recipe {recipe.name}, source {section.name}"
        try:
            listed, normal = _lists(section, Path(recipe.data.root))
        except InputError as error:
            raise UsageError(f"{where}: {error} (data.root=...?)") from None
        read = listed.read if section.resize is None else ResizedReader(listed.read, section.resize.sized)
        common = Source(
            (),
            section.weight,
            "pairs" if section.kind in ("exposures", "lows") else cast("Any", section.kind),
            section.noise,
            section.stops,
            low_key=section.low_key,
            read=read,
            turns=listed.turns,
        )
        if section.weight > 0:
            try:
                pairs = _training_pairs(section, listed, normal, max(recipe.data.patches, default=0))
            except InputError as error:
                raise UsageError(f"{where}: {error}") from None
            training.append(
                replace(common, pairs=pairs, gain=section.gain, shrink=section.shrink, stride=section.stride)
            )
        validation = listed.validation
        if validation and section.validate_at_most:
            chosen = lists.evenly(validation, section.validate_at_most)
            # an unpaired low that has a target is validated with it
            kind = "pairs" if section.kind == "unpaired" else common.kind
            try:
                _check(chosen, section, kind)
            except InputError as error:
                raise UsageError(f"{where}: {error}") from None
            held.append(Held(section.name, replace(common, pairs=chosen, kind=kind), chosen))
    if not training:
        raise UsageError(f"recipe {recipe.name}: every source has weight 0, there is nothing to train with")
    return training, held


def _lists(section: SourceSection, root: Path) -> tuple[_Listed, _Listed | None]:
    """The pictures of a source; for an unpaired one the dark ones, and the normal ones."""
    assert not isinstance(section.pictures, (SidList, EldList))
    if not isinstance(section.pictures, UnpairedLists):
        return _list(section.pictures, root, section.hold_out), None
    sides = section.pictures.low, section.pictures.normal
    low, normal = (_join([_list(each, root, section.hold_out) for each in side]) for side in sides)
    return replace(low, turns=low.turns and normal.turns), normal


def _training_pairs(
    section: SourceSection, listed: _Listed, normal: _Listed | None, patch: int
) -> list[lists.Pair] | Unpaired | Exposures:
    pairs = listed.train
    if section.highlights < 1:
        pairs = [pair for pair in pairs if tenth_brightest(listed.read(pair.low)) <= section.highlights]
    if normal is not None:
        # each picture once: several lows may have one target
        unpaired = Unpaired(
            list(dict.fromkeys(pair.low for pair in pairs)), list(dict.fromkeys(pair.target for pair in normal.train))
        )
        check_sizes([*unpaired.low, *unpaired.normal], patch)
        return unpaired
    if section.kind in ("exposures", "lows"):
        exposures = Exposures.of_pairs(pairs, lows_only=section.kind == "lows")
        check_sizes([path for view in exposures.views for path in view], patch)
        check_aligned(exposures.views)
        return exposures
    _check(pairs, section, section.kind)
    return pairs


def _check(pairs: Sequence[lists.Pair], section: SourceSection, kind: str) -> None:
    used = pairs if kind == "pairs" else [replace(pair, low=pair.target) for pair in pairs]
    check_pairs(used, section.resize.sized if section.resize else None)


def tenth_brightest(picture: NDArray[Any]) -> float:
    """The brightness, in 0..1, that a tenth of the pixels of ``(H, W, 3)`` reach with their brightest channel."""
    white = 255 if picture.dtype == np.uint8 else 1
    return float(np.percentile(picture.max(axis=2), 90)) / white


def _list(
    pictures: SplitList | CsvList | FolderList | PictureList | DataSetList, root: Path, hold_out: float
) -> _Listed:
    read, turns = load_rgb, True
    if isinstance(pictures, DataSetList):
        layout = LAYOUTS[pictures.name]
        # pictures stay in 8 bit in memory: a quarter of the room
        read = load_rgb if layout.read is read_picture_file else layout.read
        pairs, turns = layout.pairs(root / pictures.folder, "train"), layout.turns
    elif isinstance(pictures, SplitList):
        pairs = lists.pairs_of_split(root / pictures.file, pictures.key)
    elif isinstance(pictures, CsvList):
        pairs = lists.pairs_of_csv(root / pictures.file, root / pictures.folder)
    elif isinstance(pictures, FolderList):
        scenes = lists.scenes_of_split(root / pictures.scenes, pictures.prefix) if pictures.scenes else None
        pairs = lists.pairs_of_folders(root / pictures.low, root / pictures.target, scenes)
    else:
        pairs = lists.pairs_of_pictures(root / pictures.folder)
    return _Listed(*lists.hold_out(pairs, hold_out), read, turns)


def _join(found: Sequence[_Listed]) -> _Listed:
    """Several lists as one. Each was split by itself, so that a list's held scenes are the same wherever it is used."""
    return _Listed(
        [pair for listed in found for pair in listed.train],
        [pair for listed in found for pair in listed.validation],
        read_any,
        all(listed.turns for listed in found),
    )


def pictures_of(sources: Sources, held: Sequence[Held]) -> set[Path]:
    """Every file that these sources train with, or validate with."""
    files: set[Path] = set()
    for source in sources:
        pictures = source.pictures if isinstance(source, RawSource) else source.pairs
        if isinstance(pictures, Exposures):
            files |= {path for view in pictures.views for path in view}
        elif isinstance(pictures, Unpaired):
            files |= {*pictures.low, *pictures.normal}
        elif not isinstance(pictures, Sequence):
            raise TypeError(f"pictures of {type(pictures).__name__} cannot be listed")
        else:
            files |= {path for item in pictures for path in _files(item)}
    return files | {path for each in held for item in each.pairs for path in _files(item)}


def _files(item: lists.Pair | RawPair | Path) -> tuple[Path, ...]:
    return (item,) if isinstance(item, Path) else (item.low, item.target)


def training_loader(
    recipe: Recipe, sources: Sources, thumbnail: int, position: Callable[[], int], rank: int, ranks: int
) -> DataLoader[dict[str, Tensor]]:
    """Batches from step ``position()`` on, with thumbnails of that size (0: none)."""
    data = recipe.data
    length = recipe.run.steps * data.batch * ranks
    dataset: Dataset[dict[str, Tensor]]
    readers = ranks * max(1, data.workers)  # processes that keep decoded pictures; at most: nodes share no memory
    common: dict[str, Any] = {"seed": recipe.run.seed, "length": length, "memory": free_memory() // 2 // readers}
    raw = [source for source in sources if isinstance(source, RawSource)]
    if raw:
        dataset = RawDataset(raw, data.patch, colours=data.colours, **common)
    else:
        srgb = [source for source in sources if isinstance(source, Source)]
        dataset = PatchDataset(srgb, data.patch, crop=data.crop, thumbnail=thumbnail, colours=data.colours, **common)
    loading: dict[str, Any] = {
        "num_workers": data.workers,
        "pin_memory": torch.cuda.is_available(),
        "persistent_workers": False,
    }
    if data.progressive and data.patch is not None:
        phases = [Phase(0, data.patch, data.batch), *(Phase(p.after, p.patch, p.batch) for p in data.progressive)]
        batches = ProgressiveSampler(phases, recipe.run.steps, position, rank, ranks)
        return DataLoader(dataset, batch_sampler=batches, **loading)
    sampler = IndexSampler(length, lambda: position() * data.batch * ranks, rank, ranks)
    return DataLoader(dataset, batch_size=data.batch, sampler=sampler, **loading)


class ValidationPictures(Dataset[dict[str, object]]):
    """Whole held-out pictures, one after the other: ``{"source", "name", "low", "target": (3, H, W)}``.

    There is no target where there is none to compare with. RAW pictures: the centre crops of whole samples.
    """

    def __init__(self, held: list[Held]) -> None:
        self._items = [(h, pair) for h in held for pair in h.pairs]
        self._store = PictureStore(free_memory() // 8)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, object]:
        held, pair = self._items[index]
        rng = np.random.default_rng([0, index])
        if isinstance(held.source, RawSource):
            assert not isinstance(pair, lists.Pair)
            name = pair.stem if isinstance(pair, Path) else pair.name
            sample = draw_sample(held.source, pair, self._store, rng, patch=None)
            return {"source": held.name, "name": name, **centred(sample, VALIDATION_SIDE)}
        assert isinstance(pair, lists.Pair)
        low, target = whole_pictures(held.source, pair, self._store, rng)
        item: dict[str, object] = {"source": held.name, "name": pair.name, "low": low}
        return {**item, "target": target} if held.has_target(pair) else item


def validation_loader(held: list[Held]) -> DataLoader[dict[str, object]]:
    return DataLoader(ValidationPictures(held), batch_size=1)
