"""Entries of a TIFF directory from Python values."""

from __future__ import annotations

import struct
from fractions import Fraction

from tapetum.imaging.exif import Entry

_LARGEST_DENOMINATOR = 1_000_000


def octets(tag: int, *values: int) -> Entry:
    return Entry(tag, 1, len(values), bytes(values))


def text(tag: int, value: str) -> Entry:
    data = value.encode() + b"\0"
    return Entry(tag, 2, len(data), data)


def shorts(tag: int, *values: int) -> Entry:
    return Entry(tag, 3, len(values), struct.pack(f"<{len(values)}H", *values))


def longs(tag: int, *values: int) -> Entry:
    return Entry(tag, 4, len(values), struct.pack(f"<{len(values)}I", *values))


def rationals(tag: int, *values: float, signed: bool = False) -> Entry:
    """Fractions that are nearest to the values, of denominators up to a million."""
    pairs = [Fraction(float(value)).limit_denominator(_LARGEST_DENOMINATOR).as_integer_ratio() for value in values]
    code = "i" if signed else "I"
    return Entry(tag, 10 if signed else 5, len(pairs), b"".join(struct.pack(f"<2{code}", *pair) for pair in pairs))
