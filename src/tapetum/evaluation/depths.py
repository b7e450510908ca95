"""Are the pictures of a pair of one depth? Those of more than 8 bits are rounded to 8, and that is worth a word."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyvips

from tapetum.data.pairs import Pair
from tapetum.errors import TapetumWarning
from tapetum.imaging import vips


def warn_of_depths(split: str, pairs: Iterable[Pair], predictions: Mapping[str, Path] | None = None) -> None:
    """Warns of the first pair whose files differ in depth; no more is decoded than their headers.

    Args:
        predictions: files of stored ones by the names of their pairs.
    """
    for pair in pairs:
        files = {"low": pair.low, "target": pair.target}
        if predictions is not None and pair.name in predictions:
            files["prediction"] = predictions[pair.name]
        depths = {what: depth for what, file in files.items() if (depth := depth_of(file)) is not None}
        if len(set(depths.values())) > 1:
            deep, other = (choose(depths, key=lambda what: depths[what]) for choose in (max, min))
            text = f"{depths[deep]} bit, rounded to 8 for the measures; its {other} has {depths[other]}"
            warnings.warn(f"{files[deep]}: {text} (the first such picture of {split})", TapetumWarning, stacklevel=2)
            return


def depth_of(path: Path) -> int | None:
    """Bits per sample, 32 for floats; None where the file is none that libvips reads (an array, a camera's RAW)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None  # said when it is read
    try:
        source = pyvips.Source.new_from_descriptor(descriptor)
        image = pyvips.Image.new_from_source(source, "", access="sequential")
    except pyvips.Error:
        return None
    finally:
        os.close(descriptor)
    assert isinstance(image, pyvips.Image)
    return vips.depth(image)
