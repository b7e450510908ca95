"""Which files are pictures, by name and by content."""

from __future__ import annotations

import os
from pathlib import Path

# container -> suffixes; the first is the usual one
WRITTEN = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
    "webp": (".webp",),
}
ONLY_READ = {"heif": (".heic", ".heif", ".avif"), "gif": (".gif",)}

_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
_READ_SUFFIXES = frozenset(s for table in (WRITTEN, ONLY_READ) for suffixes in table.values() for s in suffixes)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is worth trying in a walk through folders. Only the suffix is looked at."""
    return Path(path).suffix.lower() in _READ_SUFFIXES


def written_format(suffix: str) -> str | None:
    """Container that is written under a suffix (".jpg" -> "jpeg"), or None where we write no such file."""
    return next((name for name, suffixes in WRITTEN.items() if suffix.lower() in suffixes), None)


def output_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix under which a picture read from ``path`` is written again: its own, or ".png" where we only read it."""
    suffix = Path(path).suffix
    return suffix if written_format(suffix) else ".png"


def recognise(start: bytes, path: Path) -> str:
    """The container of a file, by its first 32 bytes, never by its name.

    Raises:
        ValueError: says what is wrong with it instead.
    """
    if not start:
        raise ValueError("the file is empty")
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return "heif"
    # Most camera RAW files are TIFFs whose first page is a preview: never take that for the picture
    if path.suffix.lower() in _RAW_SUFFIXES or start[8:10] == b"CR" or start[4:11] == b"ftypcrx":
        raise ValueError("camera RAW files cannot be read: develop it to a 16-bit TIFF first")
    if start.startswith(_TIFF_STARTS):
        return "tiff"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        raise ValueError("JPEG XL cannot be read: convert it to PNG or TIFF first")
    known = ", ".join(name.upper() for table in (WRITTEN, ONLY_READ) for name in table)
    raise ValueError(f"not a picture that can be read ({known})")
