"""Measures models on pairs of pictures, one picture in memory at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tapetum import metrics
from tapetum.data.pairs import Pair, by_stem
from tapetum.data.pictures import load_rgb
from tapetum.enhancer import Enhancer
from tapetum.errors import InputError
from tapetum.evaluation.protocols import WITHOUT_TARGET, Protocol
from tapetum.evaluation.report import KEEP, KEEP_IS, Row
from tapetum.imaging import write_picture
from tapetum.imaging.comparison import side_by_side
from tapetum.imaging.replacing import make_folder
from tapetum.metrics import score

Read = Callable[[Path], NDArray[np.float32]]
Predict = Callable[[Pair, NDArray[np.float32]], NDArray[np.generic]]
"""``(pair, low) -> enhanced``: pictures ``(H, W, 3)``, floating in [0, 1] (or uint8 where it was stored so)."""

Item = TypeVar("Item")


def by_enhancer(enhancer: Enhancer, protocol: Protocol) -> Predict:
    """Predictions of an enhancer's network with its options; the protocol pads, splits, clamps, or wants tiles."""
    plain = dataclasses.replace(protocol, gt_mean=None)
    tiled = None if protocol.tile is None else enhancer.with_tiles(protocol.tile)

    def once(low: NDArray[np.float32]) -> NDArray[np.float32]:
        if tiled is not None:
            return np.asarray(tiled(low), np.float32)
        return plain.restore(enhancer.predict, low, enhancer.engine.properties.size_multiple)

    def predict(pair: Pair, low: NDArray[np.float32]) -> NDArray[np.float32]:
        enhanced = once(low)
        for _ in range(protocol.times - 1):
            enhanced = once(np.divide(np.rint(enhanced * 255), 255, dtype=np.float32))
        return enhanced

    return predict


def read_both(low: Path, target: Path, read: Read) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Dark picture and target. Raises InputError: one cannot be read, or they differ in size: pictures are never
    resized to fit each other."""
    images = read(low), read(target)
    if images[0].shape != images[1].shape:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in images]
        raise InputError(f"{low} has {sizes[0]} pixels, and its target {target} {sizes[1]}")
    return images


def stored(folder: Path, pairs: Sequence[Pair]) -> Predict:
    """Predictions of :func:`stored_files`. What it returns raises InputError where one cannot be read or holds values
    that are no numbers.

    Raises:
        InputError: as :func:`stored_files`.
    """
    files = stored_files(folder, pairs)
    return lambda pair, low: load_rgb(files[pair.name], mend=False)


def stored_files(folder: Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """By the name of its pair, the prediction that lies in a folder as ``NAME.*`` of the low picture, also in
    subfolders named as the data set's.

    Raises:
        InputError: a prediction is missing, or there are two, or two pictures of different folders would share one.
    """
    listed: dict[Path, dict[str, Path]] = {}
    files: dict[str, Path] = {}
    taken: set[Path] = set()
    for pair in pairs:
        place = folder / Path(pair.name).parent
        place = place if place.is_dir() else folder
        if place not in listed:
            listed[place] = by_stem(place)
        found = listed[place].get(Path(pair.name).name)
        if found is None:
            raise InputError(f"{place}: no prediction named {Path(pair.name).name}.* for {pair.low}")
        if found in taken:
            raise InputError(
                f"{found}: two pictures have this name: put the predictions into folders as the data set's"
            )
        taken.add(found)
        files[pair.name] = found
    return files


def each(items: Sequence[Item], measure: Callable[[Item], Row], failed: list[InputError] | None) -> Iterator[Row]:
    """``measure`` of every item. One that cannot be measured goes to ``failed``, and the next begins; None: it ends
    the work.
    """
    for item in items:
        try:
            yield measure(item)
        except InputError as error:
            if failed is None:
                raise
            failed.append(error)


def measure_pairs(
    model: str,
    split: str,
    pairs: Sequence[Pair],
    predict: Predict,
    protocol: Protocol,
    read: Read,
    correction: str,
    timed: bool = True,
    pictures: Path | None = None,
    failed: list[InputError] | None = None,
) -> Iterator[Row]:
    """One row per pair, as soon as it is measured: every measure of the protocol, plain and, where it compares with the
    target, after ``correction``.

    Args:
        read: a file to ``(H, W, 3)`` in [0, 1].
        correction: GT-mean variant; its values have the key ``MEASURE/CORRECTION``.
        pictures: folder for before/after/target pictures.
        failed: where errors go instead of being raised (:func:`each`).

    Raises:
        InputError: a picture cannot be read, or sizes differ.
    """

    def measure(pair: Pair) -> Row:
        low, target = protocol.prepare(*read_both(pair.low, pair.target, read))
        begin = time.perf_counter()
        enhanced = predict(pair, low)
        seconds = time.perf_counter() - begin if timed else None
        try:
            values = figures(protocol, enhanced, low, target, correction)
        except ValueError as error:
            raise InputError(f"{pair.low}: {error}") from None
        if pictures is not None:
            save(pictures, f"{model}-{split}-{pair.name}", {"before": low, "after": enhanced, "target": target})
        return Row(model, split, pair.name, pair.scene, values, seconds)

    return each(pairs, measure, failed)


def figures(
    protocol: Protocol,
    enhanced: NDArray[np.generic],
    low: NDArray[np.generic],
    target: NDArray[np.generic],
    correction: str,
) -> dict[str, float]:
    """Every measure of a protocol, and, of those that compare with the target, after the correction, too.

    Raises:
        ValueError: pictures that a measure cannot take.
    """
    corrected = metrics.correction(correction)(enhanced, target)
    values = {name: score(name, enhanced, target, low) for name in protocol.metrics}
    compared = [name for name in protocol.metrics if metrics.get(name).needs_target]
    return values | {f"{name}/{correction}": score(name, corrected, target) for name in compared}


def measure_keep(
    model: str,
    split: str,
    files: Sequence[Path],
    enhancer: Enhancer,
    pictures: Path | None = None,
    failed: list[InputError] | None = None,
) -> Iterator[Row]:
    """How far well-exposed photographs stay as they are: "psnr_keep" is psnr_rgb_uint8 of the result and the input.

    Args:
        failed: where errors go instead of being raised (:func:`each`).

    Raises:
        InputError: a picture cannot be read.
    """

    def measure(file: Path) -> Row:
        image = load_rgb(file)
        begin = time.perf_counter()
        enhanced = enhancer(image)
        seconds = time.perf_counter() - begin
        if pictures is not None:
            save(pictures, f"{model}-{split}-{file.stem}", {"before": image, "after": enhanced})
        return Row(model, split, file.name, file.name, {KEEP: score(KEEP_IS, enhanced, image)}, seconds)

    return each(files, measure, failed)


def measure_unpaired(
    model: str,
    split: str,
    pairs: Sequence[Pair],
    predict: Predict,
    read: Read,
    timed: bool = True,
    pictures: Path | None = None,
    measures: Sequence[str] = WITHOUT_TARGET,
    failed: list[InputError] | None = None,
) -> Iterator[Row]:
    """One row per picture that has no target.

    Args:
        pairs: of which the lows are taken.
        read: a file to ``(H, W, 3)`` in [0, 1].
        measures: that need no target.
        pictures: folder for before/after pictures.
        failed: where errors go instead of being raised (:func:`each`).

    Raises:
        InputError: a picture cannot be read, or is too small for a measure.
    """

    def measure(pair: Pair) -> Row:
        low = read(pair.low)
        begin = time.perf_counter()
        enhanced = predict(pair, low)
        seconds = time.perf_counter() - begin if timed else None
        try:
            values = {name: score(name, enhanced, low=low) for name in measures}
        except ValueError as error:
            raise InputError(f"{pair.low}: {error}") from None
        if pictures is not None:
            save(pictures, f"{model}-{split}-{pair.name}", {"before": low, "after": enhanced})
        return Row(model, split, pair.name, pair.scene, values, seconds)

    return each(pairs, measure, failed)


def save(folder: Path, name: str, panels: dict[str, NDArray[Any]]) -> None:
    make_folder(folder)
    write_picture(side_by_side(panels), folder / (name.replace("/", "-") + ".jpg"))
