"""From a recipe's RAW sources to what samples are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from tapetum.data import pairs as lists
from tapetum.data.raw_cache import RawCache
from tapetum.data.raw_noise.cameras import get_camera, published_cameras
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_samples import RawSource, RealNoise, SyntheticNoise
from tapetum.data.raw_sets import RawPair, eld_pairs, sid_pairs
from tapetum.errors import InputError, UsageError
from tapetum.machine import cache_folder
from tapetum.training.recipe import CsvList, EldList, PictureList, RawSection, Recipe, SidList, SourceSection, SplitList

Pictures = Sequence[Path] | Sequence[RawPair]


def make_raw_sources(recipe: Recipe) -> tuple[list[RawSource], list[tuple[str, RawSource]]]:
    """Training sources, and by name what is held out of them for validation. Decodes the RAW files that are not yet in
    the cache.

    Raises:
        UsageError: a picture, folder, list or card is missing or cannot be trained with; says which source wants it.
    """
    training, held = [], []
    for section in recipe.data.sources:
        where = f"recipe {recipe.name}, source {section.name}"
        try:
            train, validation = _pictures(section, Path(recipe.data.root))
        except InputError as error:
            raise UsageError(f"{where}: {error} (data.root=...?)") from None
        options = section.raw or RawSection()
        try:
            source = RawSource(
                train,
                _noise(section, options),
                RawCache(Path(options.cache) if options.cache else cache_folder() / "raw"),
                section.weight,
                section.stride,
                section.shrink,
            )
            _decode(source, [*train, *validation], where)
            source.check(recipe.data.patch)
            kept = replace(source, pictures=lists.evenly(validation, section.validate_at_most))
            kept.check(None)
        except InputError as error:
            raise UsageError(f"{where}: {error}") from None
        if section.weight > 0:
            if not train:
                raise UsageError(f"{where}: no picture is left to train with, lower hold_out")
            training.append(source)
        if kept.pictures:
            held.append((section.name, kept))
    if not training:
        raise UsageError(f"recipe {recipe.name}: every source has weight 0, there is nothing to train with")
    return training, held


def _pictures(section: SourceSection, root: Path) -> tuple[Pictures, Pictures]:
    """For training and for validation: whole scenes."""
    pictures = section.pictures
    if isinstance(pictures, SidList):
        pairs = sid_pairs(root / pictures.folder, pictures.list, pictures.bursts)
    elif isinstance(pictures, EldList):
        pairs = eld_pairs(root / pictures.folder, pictures.cameras, pictures.ratios)
    else:
        train, held = lists.hold_out(_photographs(pictures, root), section.hold_out)
        # several lows may have one target
        first, second = (list(dict.fromkeys(pair.target for pair in part)) for part in (train, held))
        return first, second
    if section.kind == "raw-synthetic":  # each long exposure once
        pairs = sorted({pair.target: pair for pair in pairs}.values(), key=lambda pair: pair.target)
    # a RawPair has the scene that is asked for
    split = lists.hold_out(cast("list[lists.Pair]", pairs), section.hold_out)
    train, held = (cast("list[RawPair]", part) for part in split)
    return train, held


def _photographs(pictures: object, root: Path) -> list[lists.Pair]:
    """Pairs whose targets are good photographs."""
    if isinstance(pictures, SplitList):
        return lists.pairs_of_split(root / pictures.file, pictures.key)
    if isinstance(pictures, CsvList):
        return lists.pairs_of_csv(root / pictures.file, root / pictures.folder)
    assert isinstance(pictures, PictureList)
    return lists.pairs_of_pictures(root / pictures.folder)


def _noise(section: SourceSection, options: RawSection) -> SyntheticNoise | RealNoise:
    cameras = [get_camera(name) for name in options.cameras]
    if section.kind == "raw-pairs":
        return RealNoise(cameras[0], {**published_cameras(), **{c.name: c for c in cameras}}, options.lengthen)
    gain = None if options.gain == "camera" else options.gain
    return SyntheticNoise(NoiseModel.parse(options.noise), cameras, options.ratio, gain, options.in_stops)


def _decode(source: RawSource, pictures: Sequence[Path | RawPair], where: str) -> None:
    """Fills the cache with what it lacks."""
    wanted = [pair.target for pair in pictures if isinstance(pair, RawPair)]
    if isinstance(source.noise, RealNoise):
        wanted += [pair.low for pair in pictures if isinstance(pair, RawPair)]
    missing = source.cache.missing(list(dict.fromkeys(wanted)))
    if missing:
        print(f"{where}: {len(missing)} RAW files are decoded into {source.cache.folder}", flush=True)
    for path in missing:
        source.cache.get(path)
