"""RAW pictures to test with: a scene seen through a colour filter array, and files written by our own writer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.imaging.raw import RawPicture, Shot, write_mosaic

MATRIX = np.array([[0.6461, -0.1164, -0.0857], [-0.3825, 1.1597, 0.2534], [-0.0416, 0.1540, 0.6039]])
DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "raw"


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """Camera colours ``(96, 128, 3)`` in 0..1, white-balanced: smooth, some of it dark, one lamp burnt out."""
    rows, columns = np.mgrid[0:96, 0:128].astype(float)
    light = 0.25 + 0.12 * np.sin(rows / 13) + 0.1 * np.cos(columns / 17)
    colour = np.stack([1 + 0.4 * np.sin(columns / 23), np.ones_like(rows), 1 + 0.4 * np.cos(rows / 19)], axis=-1)
    lamp = 6 * np.exp(-((rows - 70) ** 2 + (columns - 90) ** 2) / 60)
    return (light + lamp)[..., None] * colour


@pytest.fixture(scope="session")
def taken(scene: np.ndarray) -> Callable[..., RawPicture]:
    """The scene as a camera of some pattern takes it, 14 bits, saturating."""

    def take(pattern: str = "RGGB", **attributes: object) -> RawPicture:
        gains = np.array([2.1, 1.0, 1.6])
        black, white = (500.0, 510.0, 520.0, 530.0), 15000.0
        sites = ["RGB".index(colour) for colour in pattern]
        red_row = pattern.index("R") // 2
        mosaic = np.empty(scene.shape[:2])
        for place, channel in enumerate(sites):
            row, column = divmod(place, 2)
            level = black[0] if channel == 0 else black[2] if channel == 2 else black[1 if row == red_row else 3]
            light = scene[row::2, column::2, channel] / gains[channel]
            mosaic[row::2, column::2] = level + np.minimum(light, 1) * (white - level)
        facts = {"white_balance": (2.1, 1.0, 1.6), "matrix": MATRIX, "shot": Shot("Tapetum", "Night 1", 800.0, 0.04)}
        return RawPicture(np.rint(mosaic).astype(np.uint16), pattern, black, white, **(facts | attributes))  # type: ignore[arg-type]

    return take


@pytest.fixture
def rawpy() -> object:
    return pytest.importorskip("rawpy", reason="the raw extra is not installed")


@pytest.fixture
def changed(tmp_path: Path, taken: Callable[..., RawPicture]) -> Callable[..., Path]:
    """A small valid DNG with one tag overwritten, or (no values) renamed away."""

    def change(name: str, tag: int, layout: str = "", *values: int) -> Path:
        path = tmp_path / name
        write_mosaic(taken(), path)
        data = bytearray(path.read_bytes())
        (directory,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, directory)
        places = [directory + 2 + 12 * i for i in range(count)]
        place = next(p for p in places if struct.unpack_from("<H", data, p) == (tag,))
        if not values:
            struct.pack_into("<H", data, place, 65000)
        else:
            inline = struct.calcsize(layout) <= 4
            struct.pack_into(
                layout, data, place + 8 if inline else struct.unpack_from("<I", data, place + 8)[0], *values
            )
        path.write_bytes(data)
        return path

    return change


@pytest.fixture(scope="session")
def real_dng() -> Path:
    return _real("canon_kiss_x4_colorchart.dng")


@pytest.fixture(scope="session")
def real_nikon() -> Path:
    return _real("nikon_768x512_rggb_u16le.raw")


def _real(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no {name} in ../shared/data/raw")
    return path
