"""Measures models on pairs of pictures, one picture in memory at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum import metrics
from tapetum.data.pairs import Pair
from tapetum.data.pictures import list_pictures, load_rgb
from tapetum.enhancer import Enhancer
from tapetum.errors import InputError, os_reason
from tapetum.evaluation.protocols import WITHOUT_TARGET, Protocol
from tapetum.evaluation.report import Row
from tapetum.imaging import write_picture
from tapetum.imaging.comparison import side_by_side
from tapetum.metrics import score

Read = Callable[[Path], NDArray[np.float32]]
Predict = Callable[[Pair, NDArray[np.float32]], NDArray[np.generic]]
"""``(pair, low) -> enhanced``: pictures ``(H, W, 3)``, floating in [0, 1] (or uint8 where it was stored so)."""

KEEP = "psnr_keep"


def by_enhancer(enhancer: Enhancer, protocol: Protocol) -> Predict:
    """Predictions of an enhancer's network with its options; the protocol pads, splits and clamps."""
    plain = dataclasses.replace(protocol, gt_mean=None)
    return lambda pair, low: plain.restore(enhancer.predict, low, enhancer.engine.properties.size_multiple)


def stored(folder: Path, pairs: Sequence[Pair]) -> Predict:
    """Predictions that lie in a folder, as ``NAME.*`` of the low picture, also in subfolders named as the data set's.

    Raises:
        InputError: a prediction is missing, or two pictures of different folders would share one.
    """
    files: dict[str, Path] = {}
    for pair in pairs:
        place = folder / Path(pair.name).parent
        place = place if place.is_dir() else folder
        found = {path.stem: path for path in list_pictures(place)}.get(Path(pair.name).name)
        if found is None:
            raise InputError(f"{place}: no prediction named {Path(pair.name).name}.* for {pair.low}")
        if found in files.values():
            raise InputError(
                f"{found}: two pictures have this name: put the predictions into folders as the data set's"
            )
        files[pair.name] = found
    return lambda pair, low: load_rgb(files[pair.name])


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
) -> Iterator[Row]:
    """One row per pair, as soon as it is measured: every measure of the protocol, plain and, where it compares with the
    target, after ``correction``.

    Args:
        read: a file to ``(H, W, 3)`` in [0, 1].
        correction: GT-mean variant; its values have the key ``MEASURE/CORRECTION``.
        pictures: folder for before/after/target pictures.

    Raises:
        InputError: a picture cannot be read, or sizes differ.
    """
    correct = metrics.correction(correction)
    for pair in pairs:
        low, target = protocol.prepare(read(pair.low), read(pair.target))
        begin = time.perf_counter()
        enhanced = predict(pair, low)
        seconds = time.perf_counter() - begin if timed else None
        try:
            corrected = correct(enhanced, target)
            values = {name: score(name, enhanced, target, low) for name in protocol.metrics}
            compared = [name for name in protocol.metrics if metrics.get(name).needs_target]
            values |= {f"{name}/{correction}": score(name, corrected, target) for name in compared}
        except ValueError as error:
            raise InputError(f"{pair.low}: {error}") from None
        if pictures is not None:
            save(pictures, f"{model}-{split}-{pair.name}", {"before": low, "after": enhanced, "target": target})
        yield Row(model, split, pair.name, pair.scene, values, seconds)


def measure_keep(
    model: str, split: str, files: Sequence[Path], enhancer: Enhancer, pictures: Path | None = None
) -> Iterator[Row]:
    """How far well-exposed photographs stay as they are: "psnr_keep" is psnr_rgb_uint8 of the result and the input.

    Raises:
        InputError: a picture cannot be read.
    """
    for file in files:
        image = load_rgb(file)
        begin = time.perf_counter()
        enhanced = enhancer(image)
        seconds = time.perf_counter() - begin
        if pictures is not None:
            save(pictures, f"{model}-{split}-{file.stem}", {"before": image, "after": enhanced})
        yield Row(model, split, file.name, file.name, {KEEP: score("psnr_rgb_uint8", enhanced, image)}, seconds)


def measure_unpaired(
    model: str,
    split: str,
    pairs: Sequence[Pair],
    predict: Predict,
    read: Read,
    timed: bool = True,
    pictures: Path | None = None,
    measures: Sequence[str] = WITHOUT_TARGET,
) -> Iterator[Row]:
    """One row per picture that has no target.

    Args:
        pairs: of which the lows are taken.
        read: a file to ``(H, W, 3)`` in [0, 1].
        measures: that need no target.
        pictures: folder for before/after pictures.

    Raises:
        InputError: a picture cannot be read, or is too small for a measure.
    """
    for pair in pairs:
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
        yield Row(model, split, pair.name, pair.scene, values, seconds)


def save(folder: Path, name: str, panels: dict[str, NDArray[Any]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {os_reason(error)}") from None
    write_picture(side_by_side(panels), folder / (name.replace("/", "-") + ".jpg"))
