"""Pictures to test with, made by others than the code under test (Pillow, hand-made headers and profiles)."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CURVES = {
    "srgb": struct.pack(">4sIHH", b"para", 0, 3, 0)
    + struct.pack(">5i", *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))),
    "adobe": struct.pack(">4sIIH", b"curv", 0, 1, 563),
    "linear": struct.pack(">4sII", b"curv", 0, 0),
}
# Columns: red, green, blue primary as XYZ, adapted to D50. Published with the profiles of these names.
PRIMARIES = {
    "srgb": [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    "p3": [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
    "adobe": [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
}


def make_profile(primaries: str | None, curve: str) -> bytes:
    """An ICC profile of three primaries, or (None) of grey, with a tone curve."""
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249)}
    if primaries is None:
        tags[b"kTRC"] = CURVES[curve]
    else:
        columns = np.array(PRIMARIES[primaries]).T
        tags |= {name + b"XYZ": _xyz(*column) for name, column in zip((b"r", b"g", b"b"), columns, strict=True)}
        tags |= {name + b"TRC": CURVES[curve] for name in (b"r", b"g", b"b")}
    table, body = b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 132 + len(table) + len(body)
    space = b"GRAY" if primaries is None else b"RGB "
    header = struct.pack(">II I4s4s4s 12s4s", size, 0, 0x04300000, b"mntr", space, b"XYZ ", bytes(12), b"acsp")
    header = header.ljust(68, b"\0") + _xyz(0.9642, 1.0, 0.8249)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


@pytest.fixture(scope="session")
def profile() -> Callable[[str | None, str], bytes]:
    return make_profile


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(48, 64, 3) uint8: smooth, so that JPEG is close to it, and no two corners alike."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 128 + 100 * np.sin(x / 9 + y / 7)], axis=-1).astype(np.uint8)


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """A picture (array or PIL image) as the bytes of a file, written by Pillow."""

    def encode(image: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Writes a file into the test's folder."""

    def put(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return put


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    """A warning that a test does not expect is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
