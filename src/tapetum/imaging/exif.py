"""EXIF where libvips leaves off: in TIFF files, which it reads and writes without; and its thumbnail.

EXIF is itself a TIFF structure (CIPA DC-008, TIFF 6.0 section 2): directories ("IFDs") of tagged entries. In a JPEG,
PNG or WebP it is one block of bytes; in a TIFF its entries are part of the file's own directories, so they are gathered
into a block on reading and taken apart again on writing. Maker notes are copied as they are, byte by byte, to
another place: offsets in them that count from the begin of the structure are stale then.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

PREFIX = b"Exif\0\0"
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 34665, 34853, 40965
# Of a TIFF's first directory: description, make, model, software, date, artist, copyright. The rest is about pixels.
IMAGE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
_IPTC = 33723
_IPTC_MARKER = b"\x1c"  # every record begins with it
_PIXEL_SIZES = (40962, 40963)  # of the picture before it was turned
_MAKER_NOTE = 37500
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
# type -> (bytes of one value, bytes that are swapped together)
_TYPES = {1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2), 9: (4, 4), 10: (8, 4)}
_TYPES |= {11: (4, 4), 12: (8, 8), 13: (4, 4)}
_LARGEST_DIRECTORY = 1 << 24

Read = Callable[[int, int], bytes]  # (offset, size) -> exactly so many bytes, or ValueError


@dataclass(frozen=True)
class Entry:
    """One tag; ``data`` are its values, little endian."""

    tag: int
    type: int
    count: int
    data: bytes

    def numbers(self) -> tuple[float, ...]:
        """Values of the types SHORT, LONG and RATIONAL; nothing for others."""
        if self.type == 5:
            pairs = struct.unpack(f"<{2 * self.count}I", self.data)
            return tuple(n / d for n, d in zip(pairs[::2], pairs[1::2], strict=True) if d)
        code = {3: "H", 4: "I"}.get(self.type)
        return struct.unpack(f"<{self.count}{code}", self.data) if code else ()

    def text(self) -> str:
        """Of the type ASCII."""
        return self.data.split(b"\0")[0].decode("utf-8", "replace").strip()


def gather(descriptor: int) -> bytes | None:
    """The EXIF block of an open TIFF file, or None where it has none, is a BigTIFF, or its directories are damaged."""
    try:
        return _gather(lambda offset, size: _read_file(descriptor, offset, size))
    except (ValueError, struct.error):
        return None


def gather_from(structure: bytes) -> bytes | None:
    """As :func:`gather`, of a TIFF structure in memory."""
    try:
        return _gather(_reader(structure))
    except (ValueError, struct.error):
        return None


def directory(structure: bytes) -> list[Entry]:
    """All entries of the first directory of a TIFF structure; none where it is damaged."""
    read = _reader(structure)
    try:
        return _read_directory(read, *_header(read))
    except (ValueError, struct.error):
        return []


def _gather(read: Read) -> bytes | None:
    image, parts = _read_all(read)
    if not image and not any(parts.values()):
        return None
    return block(image, parts[_EXIF_IFD], parts[_GPS_IFD])


def scatter(exif: bytes | None, iptc: bytes | None, descriptor: int) -> None:
    """Put an EXIF block and a TIFF's IPTC records into an open TIFF that libvips wrote. Damaged EXIF is left out."""
    image: list[Entry] = []
    parts: dict[int, list[Entry]] = {}
    if exif is not None:
        with contextlib.suppress(ValueError, struct.error):
            image, parts = _read_all(_reader(exif))
    parts = {pointer: [e for e in entries if e.tag not in _PIXEL_SIZES] for pointer, entries in parts.items()}
    added = list(image)
    if iptc is not None and iptc.startswith(_IPTC_MARKER):
        added.append(Entry(_IPTC, 7, len(iptc), iptc))
    if not added and not any(parts.values()):
        return

    def read_file(offset: int, size: int) -> bytes:
        return _read_file(descriptor, offset, size)

    order, offset = _header(read_file)
    (count,) = struct.unpack("<H", read_file(offset, 2))
    raw = read_file(offset + 2, 12 * count)
    own = [raw[i : i + 12] for i in range(0, len(raw), 12)]  # their values stay where they are
    present = {_tag(e) for e in own}
    end = os.lseek(descriptor, 0, os.SEEK_END)
    padding = end % 2
    body, start = _build(own, [e for e in added if e.tag not in present], parts, end + padding)
    if order != "<" or start >= 1 << 32:
        return
    os.write(descriptor, b"\0" * padding + body)
    os.lseek(descriptor, 4, os.SEEK_SET)
    os.write(descriptor, struct.pack("<I", start))


def without_thumbnail(exif: bytes) -> bytes:
    """The block without its second directory, the thumbnail: it would show the picture as it was, and turned."""
    head = len(PREFIX) if exif.startswith(PREFIX) else 0
    try:
        order, offset = _header(_reader(exif))
        (count,) = struct.unpack_from(f"{order}H", exif, head + offset)
        link = head + offset + 2 + 12 * count
        struct.unpack_from("4s", exif, link)
    except (ValueError, struct.error):
        return exif
    return exif[:link] + bytes(4) + exif[link + 4 :]


def resolution(exif: bytes) -> tuple[float, float] | None:
    """Horizontal and vertical dots per inch, where the block says them."""
    read = _reader(exif)
    try:
        order, offset = _header(read)
        wanted = (_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT)
        values = {e.tag: e.numbers() for e in _read_directory(read, order, offset, wanted)}
    except (ValueError, struct.error):
        return None
    x, y, unit = (values.get(tag) or (0,) for tag in (_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT))
    factor = 2.54 if unit[0] == 3 else 1.0
    return (x[0] * factor, y[0] * factor) if x[0] > 0 and y[0] > 0 else None


def values(exif: bytes) -> dict[int, tuple[float, ...] | str]:
    """Numbers and texts of a block by their tags; nothing where it is damaged."""
    try:
        image, parts = _read_all(_reader(exif))
    except (ValueError, struct.error):
        return {}
    return {e.tag: e.text() if e.type == 2 else e.numbers() for e in [*image, *(e for p in parts.values() for e in p)]}


def portable(exif: bytes) -> bytes | None:
    """The block without its maker note, which in a camera RAW file refers to places of that file. None: damaged."""
    try:
        image, parts = _read_all(_reader(exif))
    except (ValueError, struct.error):
        return None
    parts[_EXIF_IFD] = [e for e in parts[_EXIF_IFD] if e.tag not in (_MAKER_NOTE, *_PIXEL_SIZES)]
    return block(image, parts[_EXIF_IFD], parts[_GPS_IFD])


def block(image: list[Entry], shot: list[Entry], place: list[Entry] | None = None) -> bytes:
    """An EXIF block of entries: of the first directory, of the EXIF directory, of the GPS directory."""
    body, start = _build([], image, {_EXIF_IFD: shot, _GPS_IFD: place or []}, 8)
    return PREFIX + struct.pack("<2sHI", b"II", 42, start) + body


def head(entries: list[Entry], exif: bytes | None) -> bytes:
    """A TIFF file up to its pixels: header, and one directory of ``entries`` and the block's that they lack."""
    image: list[Entry] = []
    parts: dict[int, list[Entry]] = {}
    if exif is not None:
        with contextlib.suppress(ValueError, struct.error):
            image, parts = _read_all(_reader(exif))
    own = {e.tag for e in entries}
    body, start = _build([], [*entries, *(e for e in image if e.tag not in own)], parts, 8)
    return struct.pack("<2sHI", b"II", 42, start) + body


def _reader(exif: bytes) -> Read:
    block = exif.removeprefix(PREFIX)

    def read(offset: int, size: int) -> bytes:
        if offset + size > len(block):
            raise ValueError("beyond the end")
        return block[offset : offset + size]

    return read


def _read_file(descriptor: int, offset: int, size: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, size)
    if len(data) != size:
        raise ValueError("beyond the end")
    return data


def _header(read: Read) -> tuple[str, int]:
    start = read(0, 8)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or struct.unpack(f"{order}H", start[2:4]) != (42,):
        raise ValueError("not a TIFF structure")
    return order, struct.unpack(f"{order}I", start[4:])[0]


def _read_all(read: Read) -> tuple[list[Entry], dict[int, list[Entry]]]:
    """What the first directory says of the picture, and the EXIF and GPS directories (empty where there are none)."""
    order, offset = _header(read)
    first = _read_directory(read, order, offset, (*IMAGE_TAGS, _EXIF_IFD, _GPS_IFD))
    parts = {}
    for pointer in (_EXIF_IFD, _GPS_IFD):
        where = next((e.numbers() for e in first if e.tag == pointer), ())
        parts[pointer] = _read_directory(read, order, int(where[0])) if where else []
    return [e for e in first if e.tag in IMAGE_TAGS], parts


def _read_directory(read: Read, order: str, offset: int, wanted: tuple[int, ...] | None = None) -> list[Entry]:
    """The entries of a directory, or only those with ``wanted`` tags."""
    (count,) = struct.unpack(f"{order}H", read(offset, 2))
    raw = read(offset + 2, 12 * count)
    entries = []
    total = 0
    for i in range(count):
        tag, kind, number, value = struct.unpack_from(f"{order}HHI4s", raw, 12 * i)
        if kind not in _TYPES or tag == _INTEROP_IFD or (wanted is not None and tag not in wanted):
            continue
        width, unit = _TYPES[kind]
        size = width * number
        total += size
        if total > _LARGEST_DIRECTORY:
            raise ValueError("values of absurd size")
        data = value[:size] if size <= 4 else read(struct.unpack(f"{order}I", value)[0], size)
        if order == ">" and unit > 1:
            data = b"".join(data[j : j + unit][::-1] for j in range(0, size, unit))
        entries.append(Entry(tag, kind, number, data))
    return entries


def _build(own: list[bytes], image: list[Entry], parts: dict[int, list[Entry]], offset: int) -> tuple[bytes, int]:
    """Directories as bytes to be put at ``offset`` (even), and where the first directory begins.

    ``own``: entries of the first directory that are there already, 12 bytes each.
    """
    body = b""
    pointers = []
    for pointer, entries in parts.items():
        if entries:
            part, start = _build_directory([], entries, offset + len(body))
            body += part
            pointers.append(Entry(pointer, 4, 1, struct.pack("<I", start)))
    part, start = _build_directory(own, image + pointers, offset + len(body))
    return body + part, start


def _build_directory(own: list[bytes], entries: list[Entry], offset: int) -> tuple[bytes, int]:
    values = b""
    table = list(own)
    for entry in entries:
        field = entry.data
        if len(field) > 4:
            field = struct.pack("<I", offset + len(values))
            values += entry.data + b"\0" * (len(entry.data) % 2)
        table.append(struct.pack("<HHI4s", entry.tag, entry.type, entry.count, field))
    table.sort(key=_tag)
    return values + struct.pack("<H", len(table)) + b"".join(table) + bytes(4), offset + len(values)


def _tag(raw: bytes) -> int:
    return struct.unpack_from("<H", raw)[0]
