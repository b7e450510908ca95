"""From a recipe's data section to what the trainer is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tapetum.data import pairs as lists
from tapetum.data.layouts import LAYOUTS, read_picture_file
from tapetum.data.patches import IndexSampler, PatchDataset, Source, whole_pictures
from tapetum.data.pictures import PictureStore, Reader, load_rgb
from tapetum.errors import InputError, UsageError
from tapetum.training.recipe import (
    CsvList,
    DataSetList,
    FolderList,
    Recipe,
    SourceSection,
    SplitList,
)


@dataclass(frozen=True)
class Held:
    """Validation pictures of one source."""

    name: str
    source: Source


def make_sources(recipe: Recipe) -> tuple[list[Source], list[Held]]:
    """Training sources, and what is held out of them for validation.

    Raises:
        UsageError: a picture, folder or list is missing; says which source wants it.
    """
    training, held = [], []
    for section in recipe.data.sources:
        try:
            pairs, read, turns = _list(section, Path(recipe.data.root))
        except InputError as error:
            raise UsageError(f"recipe {recipe.name}, source {section.name}: {error} (data.root=...?)") from None
        train, validation = lists.hold_out(pairs, section.hold_out)
        common = Source(
            (),
            section.weight,
            section.kind,
            section.noise,
            section.stops,
            low_key=section.low_key,
            read=read,
            turns=turns,
        )
        if section.highlights < 1:
            train = [pair for pair in train if tenth_brightest(read(pair.low)) <= section.highlights]
        if section.weight > 0:
            training.append(
                replace(common, pairs=train, gain=section.gain, shrink=section.shrink, stride=section.stride)
            )
        if validation and section.validate_at_most:
            count = min(section.validate_at_most, len(validation))
            chosen = [validation[i] for i in np.linspace(0, len(validation) - 1, count).round().astype(int)]
            held.append(Held(section.name, replace(common, pairs=chosen)))
    return training, held


def tenth_brightest(picture: NDArray[Any]) -> float:
    """The brightness, in 0..1, that a tenth of the pixels of ``(H, W, 3)`` reach with their brightest channel."""
    white = 255 if picture.dtype == np.uint8 else 1
    return float(np.percentile(picture.max(axis=2), 90)) / white


def _list(section: SourceSection, root: Path) -> tuple[list[lists.Pair], Reader, bool]:
    """The pairs of a source, how their files are read, and whether they may be turned."""
    pictures = section.pictures
    if isinstance(pictures, DataSetList):
        layout = LAYOUTS[pictures.name]
        # pictures stay in 8 bit in memory: a quarter of the room
        read = load_rgb if layout.read is read_picture_file else layout.read
        return layout.pairs(root / pictures.folder, "train"), read, layout.turns
    if isinstance(pictures, SplitList):
        pairs = lists.pairs_of_split(root / pictures.file, pictures.key)
    elif isinstance(pictures, CsvList):
        pairs = lists.pairs_of_csv(root / pictures.file, root / pictures.folder)
    elif isinstance(pictures, FolderList):
        scenes = lists.scenes_of_split(root / pictures.scenes, pictures.prefix) if pictures.scenes else None
        pairs = lists.pairs_of_folders(root / pictures.low, root / pictures.target, scenes)
    else:
        pairs = lists.pairs_of_pictures(root / pictures.folder)
    return pairs, load_rgb, True


def training_loader(
    recipe: Recipe, sources: list[Source], thumbnail: int, position: Callable[[], int], rank: int, ranks: int
) -> DataLoader[dict[str, Tensor]]:
    """Batches from step ``position()`` on, with thumbnails of that size (0: none)."""
    data = recipe.data
    length = recipe.run.steps * data.batch * ranks
    dataset = PatchDataset(sources, data.patch, recipe.run.seed, length, data.crop, thumbnail, colours=data.colours)
    sampler = IndexSampler(length, lambda: position() * data.batch * ranks, rank, ranks)
    return DataLoader(
        dataset,
        batch_size=data.batch,
        sampler=sampler,
        num_workers=data.workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
    )


class ValidationPictures(Dataset[dict[str, object]]):
    """Whole held-out pictures, one after the other: ``{"source", "name", "low", "target": (3, H, W)}``."""

    def __init__(self, held: list[Held]) -> None:
        self._items = [(h, pair) for h in held for pair in h.source.pairs]
        self._store = PictureStore()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, object]:
        held, pair = self._items[index]
        low, target = whole_pictures(held.source, pair, self._store, np.random.default_rng([0, index]))
        return {"source": held.name, "name": pair.name, "low": low, "target": target}


def validation_loader(held: list[Held]) -> DataLoader[dict[str, object]]:
    return DataLoader(ValidationPictures(held), batch_size=1)
