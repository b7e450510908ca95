"""A picture in memory, with what its file needs to be written again as it was."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.errors import UsageError

# dtype of the pixels -> bits per sample
DEPTHS = {"uint8": 8, "uint16": 16, "float32": 32}


@dataclass
class Picture:
    """Pixels, upright and in sRGB, and what belongs to them.

    Attributes:
        pixels: ``(H, W, 3)``, or ``(H, W, 1)`` where the file is grey; uint8, uint16 or float32 (0..1, not clipped).
            sRGB values whatever the file's own profile. An 8-bit file with another profile than sRGB comes as uint16,
            so that the way to sRGB and back loses nothing.
        alpha: ``(H, W)``, dtype of ``pixels``, or None. Not multiplied into the pixels.
        depth: bits per sample that the file gets (8, 16, 32 = float), whatever the dtype of ``pixels``; 0 stands for
            that of ``pixels``.
        icc: profile of the file, into which the pixels are converted on writing; None: sRGB.
        format: container it was read from: "jpeg", "png", "tiff", "webp", "heif", "gif", "raw"; "" for none.
        dpi: horizontal and vertical resolution, or None.
        metadata: EXIF, XMP, IPTC and the like under libvips' names. The EXIF has lost its thumbnail, which would show
            the picture as it was; its orientation is reset on writing, as the pixels are upright.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    depth: int = 0
    icc: bytes | None = None
    format: str = ""
    dpi: tuple[float, float] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.dtype.name not in DEPTHS:
            raise UsageError(f"pixels must be one of {', '.join(DEPTHS)}, got {pixels.dtype}")
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise UsageError(f"pixels must be (height, width, 3) or (height, width, 1), got {pixels.shape}")
        if self.alpha is not None and (self.alpha.shape != pixels.shape[:2] or self.alpha.dtype.name not in DEPTHS):
            raise UsageError(
                f"alpha must be (height, width) of the pixels {pixels.shape}, got {self.alpha.dtype} {self.alpha.shape}"
            )
        self.depth = self.depth or DEPTHS[pixels.dtype.name]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    def with_pixels(self, pixels: np.ndarray) -> Picture:
        """The same picture with other pixels; all else, the file's bit depth included, stays."""
        return dataclasses.replace(self, pixels=pixels)
