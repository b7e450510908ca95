"""DNG out: opened again by LibRaw and by tifffile, it is what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.errors import InputError, TapetumWarning
from tapetum.imaging import Picture, exif, linear_to_srgb, read_picture, write_picture
from tapetum.imaging.raw import RawPicture, develop, read_developed, read_raw, write_linear, write_mosaic
from tapetum.imaging.raw.dng import LINEAR_BLACK, linear_strips
from tapetum.imaging.raw.packing import PATTERNS

Taken = Callable[..., RawPicture]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_mosaics_come_back(pattern: str, orientation: int, taken: Taken, tmp_path: Path, rawpy: object) -> None:
    raw = taken(pattern, orientation=orientation)
    write_mosaic(raw, tmp_path / "a.dng")
    again = read_raw(tmp_path / "a.dng")
    np.testing.assert_array_equal(again.mosaic, raw.mosaic)
    assert (again.pattern, again.black, again.white) == (raw.pattern, raw.black, raw.white)
    assert again.orientation == orientation
    assert again.white_balance == pytest.approx(raw.white_balance, rel=1e-5)
    assert raw.matrix is not None
    assert again.matrix is not None
    np.testing.assert_allclose(again.matrix, raw.matrix, atol=1e-4)
    assert (again.shot.make, again.shot.model) == ("Tapetum", "Night 1")
    np.testing.assert_array_equal(again.packed(), raw.packed())


def test_other_programs_read_the_mosaic(taken: Taken, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    raw = taken("GRBG")
    write_mosaic(raw, tmp_path / "a.dng", ev=1.5)
    with tifffile.TiffFile(tmp_path / "a.dng") as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray(), raw.mosaic)
        tags = {tag.code: tag.value for tag in page.tags.values()}
    assert tags[50730] == (3, 2)  # BaselineExposure
    assert bytes(tags[33422]) == bytes([1, 0, 2, 1])
    assert tags[50708] == "Tapetum Night 1"


def test_linear_colours_come_back(taken: Taken, tmp_path: Path, rawpy: Any) -> None:
    raw = taken("BGGR", orientation=6)
    write_linear(raw, tmp_path / "a.dng")
    written = np.concatenate(list(linear_strips(raw)))
    with rawpy.imread(str(tmp_path / "a.dng")) as opened:
        np.testing.assert_array_equal(opened.raw_image_visible[..., :3], written)
        assert opened.black_level_per_channel[:3] == [LINEAR_BLACK] * 3
        assert opened.white_level == 65535
        assert opened.camera_whitebalance[:3] == pytest.approx(raw.white_balance, rel=1e-5)
        assert opened.sizes.flip == 6
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.dng"), written)


def test_linear_colours_develop_to_the_same_picture(taken: Taken, tmp_path: Path, rawpy: object) -> None:
    raw, path = taken("GBRG"), tmp_path / "a.dng"
    write_linear(raw, path)
    # without the lamp, whose rim is clipped after demosaicing in one and before it in the other
    again, direct = (pixels[:, :64].astype(int) for pixels in (read_developed(path).pixels, develop(raw).pixels))
    assert np.abs(again - direct).max() < 0.004 * 65535  # LibRaw shows light 0.8 % darker


def test_noise_below_black_survives(taken: Taken) -> None:
    random = np.random.default_rng(2)
    mosaic = np.rint(random.normal(500, 20, (64, 64))).astype(np.uint16)
    noisy = taken().replace(mosaic=mosaic, black=(500.0,) * 4)
    samples = np.concatenate(list(linear_strips(noisy))).astype(float)
    assert samples.mean() == pytest.approx(LINEAR_BLACK, abs=3)
    assert (samples < LINEAR_BLACK).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_finished_pictures_keep_their_light(dtype: str, tmp_path: Path, rawpy: object) -> None:
    light = np.random.default_rng(4).random((30, 40, 3))
    scale = 1 if dtype == "float32" else np.iinfo(dtype).max
    pixels = (linear_to_srgb(light) * scale).round(0 if scale > 1 else 7).astype(dtype)
    write_picture(Picture(pixels), tmp_path / "a.dng")
    again = read_picture(tmp_path / "a.dng")
    assert again.pixels.dtype == np.uint16
    # light in 16 bits, of which the curve makes 12.92 steps where it is darkest
    assert np.abs(again.pixels / 65535.0 - pixels / float(scale)).max() < 20 / 65535


def test_grey_becomes_three_equal_colours(tmp_path: Path, rawpy: object) -> None:
    write_picture(Picture(np.full((30, 40, 1), 40000, np.uint16)), tmp_path / "a.dng")
    assert np.ptp(read_picture(tmp_path / "a.dng").pixels.astype(int)) <= 4


def test_transparency_is_dropped_with_a_warning(tmp_path: Path) -> None:
    picture = Picture(np.zeros((30, 40, 3), np.uint8), alpha=np.zeros((30, 40), np.uint8))
    with pytest.warns(TapetumWarning, match="no transparency"):
        write_picture(picture, tmp_path / "a.dng")


def test_metadata_is_kept(taken: Taken, tmp_path: Path, rawpy: object) -> None:
    raw = taken()
    from tapetum.imaging.raw.shot import with_block

    raw = raw.replace(shot=with_block(raw.shot))
    for write in (write_mosaic, write_linear):
        write(raw, tmp_path / "a.dng")
        developed = read_developed(tmp_path / "a.dng")
        told = exif.values(developed.metadata["exif-data"])
        assert told[34855] == (800,)
        assert told[33434] == pytest.approx((0.04,))
        assert told[272] == "Night 1"
    write_picture(develop(raw), tmp_path / "a.jpg")
    told = exif.values(read_picture(tmp_path / "a.jpg").metadata["exif-data"])
    assert told[34855] == (800,)
    assert read_raw_shot(tmp_path / "a.dng") == (800, pytest.approx(0.04))


def read_raw_shot(path: Path) -> tuple[float | None, float | None]:
    from tapetum.imaging.raw.shot import read_shot

    shot = read_shot(path)
    return shot.iso, shot.exposure_time


def test_a_mosaic_of_fractions_is_refused(taken: Taken, tmp_path: Path) -> None:
    raw = taken().replace(mosaic=np.full((8, 8), 600.5, np.float32))
    with pytest.raises(InputError, match="integers of 16 bits"):
        write_mosaic(raw, tmp_path / "a.dng")
    write_mosaic(raw.replace(mosaic=np.full((8, 8), 600, np.float32)), tmp_path / "a.dng")


def test_no_folder(taken: Taken, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        write_linear(taken(), tmp_path / "none" / "a.dng")


def test_the_real_camera_comes_back(real_dng: Path, tmp_path: Path, rawpy: object) -> None:
    raw = read_raw(real_dng)
    assert (raw.width, raw.height, raw.pattern) == (1734, 1156, "RGGB")
    assert (raw.black, raw.white) == ((2056.0,) * 4, 15000.0)
    assert raw.shot.model == "Canon EOS Kiss X4"
    assert raw.matrix is not None
    assert raw.matrix[0] == pytest.approx([0.6461, -0.1164, -0.0857], abs=1e-4)  # its ColorMatrix1
    write_mosaic(raw, tmp_path / "a.dng")
    again = read_raw(tmp_path / "a.dng")
    np.testing.assert_array_equal(again.mosaic, raw.mosaic)
    # its white balance is a fraction in the file
    np.testing.assert_allclose(develop(again).pixels, develop(raw).pixels, atol=4)
