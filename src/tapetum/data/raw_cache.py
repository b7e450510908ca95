"""Mosaics of RAW files kept decoded on disk, memory-mapped: decoding a camera's file takes longer than a training step.

A cached mosaic lies in the cache's folder under the hash of the file's *content*: a file that moves is found again, one
that changes is decoded anew, and several processes can share a folder. The digital numbers are kept as they are,
packed; levels are applied when a part is taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapetum.data.raw_noise.scale import PUBLISHED_WHITE
from tapetum.errors import InputError, os_reason
from tapetum.imaging.raw import RawPicture, level, pack_bayer, read_raw
from tapetum.imaging.replacing import replacing, write_whole

_VERSION = 1  # of the layout below; another one gets other names


@dataclass(frozen=True)
class Facts:
    """What is kept beside the numbers: see :class:`tapetum.imaging.raw.RawPicture`."""

    black: tuple[float, ...]
    white: float
    iso: float | None
    exposure_time: float | None
    model: str


@dataclass(frozen=True)
class RawFrame:
    """A decoded mosaic: packed digital numbers ``(4, h, w)`` uint16 or float32, perhaps mapped from disk."""

    numbers: NDArray[np.generic]
    facts: Facts

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the packed picture."""
        return self.numbers.shape[1], self.numbers.shape[2]

    def part(self, rows: slice = slice(None), columns: slice = slice(None)) -> NDArray[np.float32]:
        """Linear light of a part, ``(4, h, w)`` in 0..1."""
        return level(np.array(self.numbers[:, rows, columns]), self.facts.black, self.white)

    @property
    def white(self) -> float:
        """16383 for every file of 14 bit, as published; other files' own."""
        return PUBLISHED_WHITE if self.is_14_bit else self.facts.white

    @property
    def is_14_bit(self) -> bool:
        return PUBLISHED_WHITE / 2 < self.facts.white <= PUBLISHED_WHITE


class RawCache:
    """Frames of RAW files.

    Args:
        folder: where they are kept; made when needed. None: decoded each time.
        read: how a file is decoded.
    """

    def __init__(self, folder: Path | None, read: Callable[[Path], RawPicture] = read_raw) -> None:
        self.folder = folder
        self._read = read
        self._names: dict[Path, str] = {}  # found before, by this process

    def get(self, path: Path) -> RawFrame:
        """Raises InputError: the file cannot be read, or the cache cannot be written."""
        if self.folder is None:
            return _frame(self._read(path))
        numbers, facts = self._places(path, self.folder)
        if not (numbers.is_file() and facts.is_file()):
            self._keep(_frame(self._read(path)), numbers, facts)
        try:
            content = json.loads(facts.read_text(encoding="utf-8"))
            return RawFrame(np.load(numbers, mmap_mode="r"), Facts(**{**content, "black": tuple(content["black"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{numbers}: a damaged entry of the cache ({error}); remove it") from None

    def missing(self, paths: Sequence[Path]) -> list[Path]:
        """Those that are not there yet. Raises InputError: one cannot be read."""
        if self.folder is None:
            return list(paths)
        return [path for path in paths if not all(place.is_file() for place in self._places(path, self.folder))]

    def _places(self, path: Path, folder: Path) -> tuple[Path, Path]:
        if path not in self._names:
            self._names[path] = _content_hash(path)
        name = f"{self._names[path]}-v{_VERSION}"
        return folder / f"{name}.npy", folder / f"{name}.json"

    def _keep(self, frame: RawFrame, numbers: Path, facts: Path) -> None:
        try:
            numbers.parent.mkdir(parents=True, exist_ok=True)
            with replacing(numbers) as descriptor, open(descriptor, "wb", closefd=False) as file:
                np.save(file, frame.numbers)
            write_whole(json.dumps(asdict(frame.facts)), facts)
        except OSError as error:
            raise InputError(f"{numbers.parent}: the cache cannot be written: {os_reason(error)}") from None


def _frame(picture: RawPicture) -> RawFrame:
    facts = Facts(picture.black, float(picture.white), picture.shot.iso, picture.shot.exposure_time, picture.shot.model)
    return RawFrame(pack_bayer(picture.mosaic, picture.pattern), facts)


def _content_hash(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
    return digest.hexdigest()[:32]
