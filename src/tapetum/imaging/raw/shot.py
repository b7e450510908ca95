"""How a RAW picture was taken: its EXIF, wherever the camera's format keeps it."""

from __future__ import annotations

import dataclasses
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from tapetum.imaging import exif
from tapetum.imaging.raw import entries

_ISO, _EXPOSURE, _APERTURE, _FOCAL, _MAKE, _MODEL = 34855, 33434, 33437, 37386, 271, 272
_LARGEST_ISO = 65535  # that the tag holds
_HEAD = 1 << 20  # the boxes of a CR3, and the preview's place in a RAF, are at the beginning
# TIFFs in all but the number behind their byte order: Panasonic's RW2, Olympus' ORF
_OTHER_TIFFS = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR")


@dataclass(frozen=True)
class Shot:
    """What is known of how the picture was taken; None or "" where the file is silent.

    Attributes:
        make, model: of the camera.
        iso: sensitivity.
        exposure_time: in seconds.
        aperture: f-number.
        focal_length: in millimetres.
        exif: the file's EXIF block (without its maker note and preview), or None.
    """

    make: str = ""
    model: str = ""
    iso: float | None = None
    exposure_time: float | None = None
    aperture: float | None = None
    focal_length: float | None = None
    exif: bytes | None = None


def read_shot(path: Path) -> Shot:
    """Of a camera's file that can be opened: TIFF and its relatives (DNG, ARW, NEF, CR2, RW2, ORF ...), CR3, RAF."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        head = os.read(descriptor, _HEAD)
        if head[4:11] == b"ftypcrx":
            block = _of_cr3(head)
        elif head.startswith(b"FUJIFILMCCD-RAW"):
            block = _of_raf(descriptor, head)
        elif head.startswith(_OTHER_TIFFS):
            size = os.fstat(descriptor).st_size
            block = _of_other_tiff(descriptor, head, size)
        else:
            block = exif.gather(descriptor)
    finally:
        os.close(descriptor)
    return shot_of(exif.portable(block)) if block else Shot()


def shot_of(block: bytes | None) -> Shot:
    told = exif.values(block) if block else {}

    def text(tag: int) -> str:
        value = told.get(tag, "")
        return value if isinstance(value, str) else ""

    def number(tag: int) -> float | None:
        value = told.get(tag)
        return value[0] if isinstance(value, tuple) and value and value[0] > 0 else None

    facts = {"iso": _ISO, "exposure_time": _EXPOSURE, "aperture": _APERTURE, "focal_length": _FOCAL}
    return Shot(text(_MAKE), text(_MODEL), **{name: number(tag) for name, tag in facts.items()}, exif=block)


def with_block(shot: Shot) -> Shot:
    """With an EXIF block of what is known, where there is none."""
    if shot.exif is not None:
        return shot
    image = [entries.text(tag, value) for tag, value in ((_MAKE, shot.make), (_MODEL, shot.model)) if value]
    rationals = ((_EXPOSURE, shot.exposure_time), (_APERTURE, shot.aperture), (_FOCAL, shot.focal_length))
    facts = [entries.rationals(tag, value) for tag, value in rationals if value]
    if shot.iso:
        facts.append(entries.shorts(_ISO, min(round(shot.iso), _LARGEST_ISO)))
    return dataclasses.replace(shot, exif=exif.block(image, facts)) if image or facts else shot


def _of_other_tiff(descriptor: int, head: bytes, size: int) -> bytes | None:
    order = b"II*\0" if head.startswith(b"II") else b"MM\0*"
    os.lseek(descriptor, 4, os.SEEK_SET)
    return exif.gather_from(order + os.read(descriptor, min(size, 32 * _HEAD)))


def _of_cr3(head: bytes) -> bytes | None:
    """Canon's CR3 has the first directory, the EXIF and the GPS directory as three TIFF structures in boxes."""
    parts = []
    for name in (b"CMT1", b"CMT2", b"CMT4"):
        at = head.find(name)
        size = struct.unpack_from(">I", head, at - 4)[0] if at >= 4 else 0
        parts.append(exif.directory(head[at + 4 : at - 4 + size]) if size else [])
    image, shot, place = parts
    return exif.block([entry for entry in image if entry.tag in exif.IMAGE_TAGS], shot, place) if image else None


def _of_raf(descriptor: int, head: bytes) -> bytes | None:
    """Fuji's RAF has all in its preview, a JPEG whose place stands at byte 84."""
    if len(head) < 92:
        return None
    at, _ = struct.unpack_from(">2I", head, 84)
    os.lseek(descriptor, at, os.SEEK_SET)
    preview = os.read(descriptor, 1 << 16)
    start = preview.find(exif.PREFIX, 0, 64)
    return exif.gather_from(preview[start + len(exif.PREFIX) :]) if start >= 0 else None
