"""A camera's RAW picture in memory: the mosaic, and all that is needed to develop it or write it again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.errors import InputError, UsageError
from tapetum.imaging.raw.colour import camera_to_srgb
from tapetum.imaging.raw.packing import PATTERNS, level, pack_bayer, unlevel, unpack_bayer
from tapetum.imaging.raw.shot import Shot

FULL_SCALE = 65535  # white of mosaics that we make
MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class RawPicture:
    """A Bayer mosaic with its levels and colours, in the sensor's orientation.

    Attributes:
        mosaic: ``(H, W)``, both even; uint16 or float32 digital numbers of the visible area.
        pattern: colours of the 2x2 cell at its upper left corner, row by row: "RGGB", "BGGR", "GRBG" or "GBRG".
        black: level of no light for R, G1, B, G2 (G1: the green of the red rows).
        white: digital number of saturation.
        white_balance: multipliers of R, G, B with G = 1.
        matrix: XYZ (D65) -> camera, ``(3, 3)``; None: the camera's colours are taken for sRGB's.
        orientation: how it must be turned to be upright: EXIF's 1, 3 (180 degrees), 6 (clockwise), 8 (anticlockwise).
        shot: how it was taken.

    Raises:
        InputError: values that make no picture: black not below white, a white balance that is not positive, another
            pattern, odd sides, a matrix without an inverse.
    """

    mosaic: np.ndarray
    pattern: str
    black: tuple[float, float, float, float]
    white: float
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    matrix: np.ndarray | None = None
    orientation: int = 1
    shot: Shot = field(default_factory=Shot)

    def __post_init__(self) -> None:
        if self.mosaic.dtype.name not in ("uint16", "float32"):
            raise UsageError(f"a mosaic must be uint16 or float32, got {self.mosaic.dtype}")
        if self.mosaic.ndim != 2 or 0 in self.mosaic.shape or self.mosaic.shape[0] % 2 or self.mosaic.shape[1] % 2:
            raise InputError(f"a mosaic must be (height, width) of even sides, got {self.mosaic.shape}")
        if self.pattern not in PATTERNS:
            raise InputError(f"its colour pattern is {self.pattern!r}, not one of {', '.join(PATTERNS)}")
        if len(self.black) != 4 or not all(0 <= b < self.white < float("inf") for b in self.black):
            told = ", ".join(f"{b:g}" for b in self.black)
            raise InputError(f"its black level ({told}) must be at least 0 and below its white level ({self.white:g})")
        if len(self.white_balance) != 3 or not all(0 < gain < float("inf") for gain in self.white_balance):
            told = ", ".join(f"{gain:g}" for gain in self.white_balance)
            raise InputError(
                f"its white balance ({told}) must be above 0: give one with --white-balance R,G,B or daylight"
            )
        try:
            camera_to_srgb(self.matrix)
        except UsageError as error:
            raise InputError(str(error)) from None
        if self.orientation not in (1, 3, 6, 8):
            raise InputError(f"its orientation must be 1, 3, 6 or 8, got {self.orientation}")

    @property
    def height(self) -> int:
        return self.mosaic.shape[0]

    @property
    def width(self) -> int:
        return self.mosaic.shape[1]

    def packed(self, *, clip: bool = True, white: float | None = None) -> np.ndarray:
        """Linear light ``(4, H/2, W/2)`` float32, R, G1, B, G2: 0 is black, 1 is saturation.

        Args:
            clip: to 0..1; unclipped, noise below black survives.
            white: another level than the picture's own (published methods take 16383 whatever the camera).
        """
        return level(pack_bayer(self.mosaic, self.pattern), self.black, white or self.white, clip=clip)

    def with_packed(self, packed: np.ndarray) -> RawPicture:
        """The picture with other light ``(4, H/2, W/2)``, in 16 bits from black 0 to white 65535 (clipped to 0..1)."""
        if packed.shape != (4, self.height // 2, self.width // 2):
            raise UsageError(
                f"the packed picture must be (4, {self.height // 2}, {self.width // 2}), got {packed.shape}"
            )
        mosaic = unpack_bayer(unlevel(packed, (0.0,), FULL_SCALE), self.pattern)
        return self.replace(mosaic=mosaic, black=(0.0,) * 4, white=float(FULL_SCALE))

    def replace(self, **changes: Any) -> RawPicture:
        """The picture with some attributes changed."""
        return dataclasses.replace(self, **changes)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """``(H, W, ...)`` turned as an orientation of 1, 3, 6 or 8 says; contiguous."""
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
