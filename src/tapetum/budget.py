"""How much memory a picture may take: the user's word, a share of what is free, smaller tiles when it runs out."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, TypeVar

from tapetum.engines import OutOfMemory
from tapetum.errors import InputError, UsageError

if TYPE_CHECKING:
    from tapetum.engines import Engine
    from tapetum.imaging.tiles import Grid

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.25  # of what is free, by default
SMALLEST_TILE = 128  # pixels to a side; below that, memory is not the problem any more
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

T = TypeVar("T")


class Budget:
    """Of an enhancer's tiles.

    Args:
        memory: bytes, or a text as :func:`parse_memory` takes it; None: a share of what is free.
        tile: most pixels to a tile's side; None: any.
        unit: what the pixels are called where the user is told.

    Attributes:
        memory: bytes, or None.
        pixels: most pixels of a tile: what ``tile`` says, or less once memory has run out.

    Raises:
        UsageError: a size or a tile that cannot be.
    """

    def __init__(self, memory: int | float | str | None, tile: int | None, unit: str = "pixels") -> None:
        if tile is not None and (not isinstance(tile, Integral) or tile < 1):
            raise UsageError(f"tile must be a number of pixels from 1 up, got {tile!r}")
        self.memory = None if memory is None else parse_memory(memory)
        self.pixels = math.inf if tile is None else float(tile**2)
        self._unit = unit

    def bytes(self, engine: Engine) -> float:
        """Most bytes of working memory."""
        return MEMORY_SHARE * engine.free_memory() if self.memory is None else self.memory

    def run(self, engine: Engine, plan: Callable[[], Grid], work: Callable[[Grid], T]) -> T:
        """``work`` by the tiles of ``plan``, which obeys ``pixels``; by smaller ones for as long as memory runs out.

        Raises:
            InputError: the smallest tiles do not fit either.
        """
        while True:
            limit = self.pixels  # another thread may lower it meanwhile
            grid = plan()
            try:
                return work(grid)
            except (OutOfMemory, MemoryError) as error:
                tile = grid.tile_height * grid.tile_width
                if tile <= SMALLEST_TILE**2 or tile > limit:  # smaller ones there are not
                    raise InputError(
                        f"not enough memory on {engine.name}, not even for tiles of {grid.tile_height}x"
                        f"{grid.tile_width} {self._unit} ({error}): close other programs, or choose a smaller model"
                    ) from None
                self.pixels = min(self.pixels, max(tile / 4, SMALLEST_TILE**2))
                side = math.isqrt(int(self.pixels))
                log.warning("out of memory on %s: going on with tiles of %dx%d", engine.name, side, side)


def parse_memory(memory: int | float | str) -> int:
    """Bytes from a number or a text such as "800MB", "1.5 GB", "2GiB". Raises UsageError."""
    text = str(memory).strip()
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:[eE][0-9]+)?)\s*([A-Za-z]*)", text)
    unit = match.group(2).upper() if match else None
    if match is None or unit is None or (unit and (unit if unit.endswith("B") else unit + "B") not in _UNITS):
        raise UsageError(f"memory must be bytes or a size such as 800MB or 1.5GB, got {text!r}")
    unit = unit if unit.endswith("B") or not unit else unit + "B"
    value = float(match.group(1)) * _UNITS[unit]
    if not 1 <= value < math.inf:
        raise UsageError(f"memory must be at least one byte, and finite, got {text!r}")
    return int(value)


def megabytes(size: float) -> str:
    """For the user to read."""
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e6:.0f} MB"
