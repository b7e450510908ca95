"""From a recipe's data section to what the trainer is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tapetum.data import pairs as lists
from tapetum.data.patches import IndexSampler, PatchDataset, Source, whole_pictures
from tapetum.data.pictures import PictureStore
from tapetum.training.recipe import (
    CsvList,
    FolderList,
    PictureList,
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
        InputError: a picture, folder or list is missing.
    """
    training, held = [], []
    for section in recipe.data.sources:
        train, validation = lists.hold_out(_list(section, Path(recipe.data.root)), section.hold_out)
        shared = {
            "kind": section.kind,
            "noise": section.noise,
            "stops": section.stops,
        }
        if section.weight > 0:
            training.append(Source(train, section.weight, shrink=section.shrink, **shared))
        if validation and section.validate_at_most:
            count = min(section.validate_at_most, len(validation))
            chosen = [validation[i] for i in np.linspace(0, len(validation) - 1, count).round().astype(int)]
            held.append(Held(section.name, Source(chosen, **shared)))
    return training, held


def _list(section: SourceSection, root: Path) -> list[lists.Pair]:
    pictures = section.pictures
    if isinstance(pictures, SplitList):
        return lists.pairs_of_split(root / pictures.file, pictures.key)
    if isinstance(pictures, CsvList):
        return lists.pairs_of_csv(root / pictures.file, root / pictures.folder)
    if isinstance(pictures, FolderList):
        scenes = lists.scenes_of_split(root / pictures.scenes, pictures.prefix) if pictures.scenes else None
        return lists.pairs_of_folders(root / pictures.low, root / pictures.target, scenes)
    assert isinstance(pictures, PictureList)
    return lists.pairs_of_pictures(root / pictures.folder)


def training_loader(
    recipe: Recipe, sources: list[Source], position: Callable[[], int], rank: int, ranks: int
) -> DataLoader[dict[str, Tensor]]:
    """Batches from step ``position()`` on."""
    data = recipe.data
    length = recipe.run.steps * data.batch * ranks
    dataset = PatchDataset(sources, data.patch, recipe.run.seed, length, data.crop)
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
