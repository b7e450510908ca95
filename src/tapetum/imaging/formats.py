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
    "dng": (".dng",),
}
ONLY_READ = {"heif": (".heic", ".heif", ".avif"), "gif": (".gif",)}

_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
_READ_SUFFIXES = frozenset(
    s for table in (WRITTEN, ONLY_READ) for name, suffixes in table.items() for s in suffixes if name != "dng"
)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is an ordinary picture, worth trying in a walk. Only the suffix is looked at."""
    return Path(path).suffix.lower() in _READ_SUFFIXES


def written_format(suffix: str) -> str | None:
    """Container that is written under a suffix (".jpg" -> "jpeg"), or None where we write no such file."""
    return next((name for name, suffixes in WRITTEN.items() if suffix.lower() in suffixes), None)


def output_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix under which a picture read from ``path`` is written again: its own, ".jpg" for a camera's RAW file (of
    which it has become a development), or ".png" for others that we only read."""
    suffix = Path(path).suffix
    if is_raw(path):
        return ".jpg"
    return suffix if written_format(suffix) else ".png"


def is_raw(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the name of a camera's RAW file. Only the suffix is looked at."""
    return Path(path).suffix.lower() in _RAW_SUFFIXES


def recognise(start: bytes, path: Path) -> str:
    """The container of a file, by its first 32 bytes; "raw" for a camera's. The name only tells those from TIFFs.

    Raises:
        ValueError: says what is wrong with it instead.
    """
    if not start:
        raise ValueError("the file is empty")
    kind = _ordinary(start)
    if is_raw(path):
        if kind is not None:
            raise ValueError(f"is a {kind.upper()} picture under the name of a camera RAW file: rename it")
        return "raw"
    if kind is not None:
        return kind
    # Most camera RAW files are TIFFs whose first page is a preview: never take that for the picture
    if start[8:10] == b"CR" or start[4:11] == b"ftypcrx" or start.startswith(_RAW_STARTS):
        return "raw"
    if start.startswith(_TIFF_STARTS):
        return "tiff"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        raise ValueError("JPEG XL cannot be read: convert it to PNG or TIFF first")
    raise ValueError("not a picture that can be read (JPEG, PNG, TIFF, WEBP, AVIF, GIF, camera RAW)")


def has_header(start: bytes) -> bool:
    """Whether a file begins (its first 32 bytes) like a picture or a camera's file, not with bare samples."""
    camera = start[4:11] == b"ftypcrx" or start[6:14] == b"HEAPCCDR" or start.startswith((*_RAW_STARTS, b"ARECOYK"))
    return camera or start.startswith(_TIFF_STARTS) or _ordinary(start) is not None


def _ordinary(start: bytes) -> str | None:
    """Containers that no camera's RAW file begins like."""
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
    return None
