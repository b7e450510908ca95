"""Development: against LibRaw, highlights, exposure, orientation."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.errors import InputError, UsageError
from tapetum.imaging import linear_to_srgb
from tapetum.imaging.raw import Development, RawPicture, develop, read_developed, read_raw, write_mosaic
from tapetum.imaging.raw.colour import SRGB_TO_XYZ, camera_matrix, camera_to_srgb
from tapetum.imaging.raw.develop import tone
from tapetum.imaging.raw.packing import PATTERNS

Taken = Callable[..., RawPicture]
BY_LIBRAW = Development(developer="libraw")


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(10 * np.log10(65535**2 / np.mean((ours.astype(float) - theirs) ** 2)))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_as_libraw_develops(
    pattern: str, orientation: int, taken: Taken, tmp_path: Path, rawpy: object, record_property: Callable[..., None]
) -> None:
    path = tmp_path / "a.dng"
    write_mosaic(taken(pattern, orientation=orientation), path)
    ours, theirs = read_developed(path), read_developed(path, options=BY_LIBRAW)
    assert ours.pixels.shape == theirs.pixels.shape
    assert ours.pixels.dtype == theirs.pixels.dtype == np.uint16
    agreement = psnr(ours.pixels, theirs.pixels)
    record_property("note", f"development, {pattern} turned {orientation}: {agreement:.1f} dB to LibRaw")
    assert agreement > 45
    difference = ours.pixels.mean((0, 1)) - theirs.pixels.mean((0, 1))
    assert np.abs(difference).max() < 65535 / 500


def test_a_camera_is_developed_as_libraw_does(
    real_dng: Path, rawpy: object, record_property: Callable[..., None]
) -> None:
    ours, theirs = read_developed(real_dng).pixels, read_developed(real_dng, options=BY_LIBRAW).pixels
    agreement = psnr(ours, theirs)
    record_property("note", f"development of the real DNG: {agreement:.2f} dB to LibRaw's AHD")
    assert agreement > 40  # 40.7 measured: AHD smooths noise along the edges that it sees in it
    # what is left are the colours (and LibRaw's cutting off of noise below black, which brightens shadows)
    blocks = [p[: 1156 // 34 * 34, : 1734 // 34 * 34].reshape(34, 34, 51, 34, 3).mean((1, 3)) for p in (ours, theirs)]
    worst = np.abs(blocks[0] - blocks[1]).max()
    record_property("note", f"its means over 34 x 34 pixels differ by at most {worst / 65535:.5f}")
    assert worst < 0.006 * 65535  # 0.0043 measured


def test_colours_of_flat_light_are_exact(taken: Taken) -> None:
    raw = taken()
    light = np.array([0.30, 0.22, 0.10])  # camera colours, white-balanced
    packed = np.empty((4, 8, 8), np.float32)
    for plane, channel in zip(packed, (0, 1, 2, 1), strict=True):
        plane[:] = light[channel] / raw.white_balance[channel]
    flat = raw.replace(mosaic=np.zeros((16, 16), np.uint16)).with_packed(packed)
    expected = linear_to_srgb(np.clip(camera_to_srgb(raw.matrix) @ light, 0, 1))
    np.testing.assert_allclose(develop(flat).pixels / 65535, np.broadcast_to(expected, (16, 16, 3)), atol=2e-4)


def test_burnt_highlights_are_white(taken: Taken) -> None:
    for gains in ((2.1, 1.0, 1.6), (0.7, 1.0, 2.5), (1.4, 1.0, 0.5)):
        raw = taken(white_balance=gains)
        burnt = raw.replace(mosaic=np.full((16, 24), 16000, np.uint16))
        assert (develop(burnt).pixels == 65535).all()
        assert (develop(burnt, 3).pixels == 65535).all()
        darker = develop(burnt, -1).pixels
        assert np.ptp(darker.astype(int)) <= 2  # grey, not tinted


def test_the_lamp_is_not_tinted(taken: Taken, scene: np.ndarray) -> None:
    pixels = develop(taken()).pixels.astype(int)
    burnt = (scene / np.array([2.1, 1, 1.6]) >= 1).all(axis=2)
    assert burnt.sum() > 50
    assert np.ptp(pixels[burnt], axis=1).max() == 0


def test_stops_multiply_linear_light(taken: Taken) -> None:
    raw = taken()
    quarter = raw.with_packed(raw.packed() / 4)
    # as far as the lamp's rim, where colours are clipped at another place
    ours, theirs = (picture.pixels[:, :64] / 65535.0 for picture in (develop(quarter, 2), develop(raw)))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_strips_do_not_show(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = develop(taken("GBRG")).pixels
    for pixels in (1, 128 * 6, 128 * 62):
        monkeypatch.setattr(sys.modules["tapetum.imaging.raw.develop"], "_STRIP", pixels)
        np.testing.assert_array_equal(develop(taken("GBRG")).pixels, whole)


def test_the_table_of_the_tone_curve_is_near_enough() -> None:
    light = np.concatenate([np.linspace(0, 1, 200_001), np.linspace(0, 0.01, 100_001)]).astype(np.float32)
    exact = linear_to_srgb(light.astype(np.float64)) * 65535
    assert np.abs(tone(light.copy()) - exact).max() < 1.5


def test_orientation_turns_upright(taken: Taken) -> None:
    upright = develop(taken()).pixels
    np.testing.assert_array_equal(develop(taken(orientation=3)).pixels, upright[::-1, ::-1])
    np.testing.assert_array_equal(develop(taken(orientation=6)).pixels, np.rot90(upright, -1))
    np.testing.assert_array_equal(develop(taken(orientation=8)).pixels, np.rot90(upright))


def test_matrices() -> None:
    # camera to sRGB of the Sony A7S II, as the ExposureDiffusion specification has it; so its camera matrix is, but for
    # the sensitivity of each channel
    expected = np.array([[1.97123, -0.67892, -0.29231], [-0.29105, 1.74840, -0.45735], [0.02051, -0.53804, 1.51752]])
    sony = np.diag([0.5, 1.0, 0.7]) @ np.linalg.inv(expected) @ np.linalg.inv(SRGB_TO_XYZ)
    np.testing.assert_allclose(camera_to_srgb(sony), expected, atol=2e-5)
    np.testing.assert_allclose(camera_to_srgb(sony).sum(axis=1), 1)
    np.testing.assert_array_equal(camera_to_srgb(None), np.eye(3))
    with pytest.raises(UsageError, match="no inverse"):
        camera_to_srgb(np.ones((3, 3)))
    daylight = 1 / (sony @ SRGB_TO_XYZ).sum(axis=1)
    again = camera_matrix(camera_to_srgb(sony), daylight)
    assert again is not None
    np.testing.assert_allclose(again, sony, atol=1e-9)
    assert camera_matrix(np.zeros((3, 3)), daylight) is None


def test_daylight_and_own_white_balance(taken: Taken, tmp_path: Path, rawpy: object) -> None:
    path = tmp_path / "a.dng"
    write_mosaic(taken(), path)
    own = read_raw(path, options=Development(white_balance=(3.0, 1.5, 3.0)))
    assert own.white_balance == (2.0, 1.0, 2.0)
    daylight = read_raw(path, options=Development(white_balance="daylight")).white_balance
    assert daylight == pytest.approx(_daylight(taken().matrix), rel=0.01)
    for white_balance in ("daylight", (2.0, 1.0, 2.0)):
        ours = read_developed(path, options=Development(white_balance=white_balance))
        theirs = read_developed(path, options=Development(white_balance=white_balance, developer="libraw"))
        assert psnr(ours.pixels, theirs.pixels) > 40


def _daylight(matrix: np.ndarray | None) -> tuple[float, ...]:
    assert matrix is not None
    response = (matrix @ SRGB_TO_XYZ).sum(axis=1)
    return tuple(response[1] / response)


def test_a_mosaic_can_be_too_small(taken: Taken) -> None:
    with pytest.raises(InputError, match="2 x 16 is too small"):
        develop(taken().replace(mosaic=np.zeros((16, 2), np.uint16)))


def test_memory_beside_the_result_is_small() -> None:
    raw = RawPicture(np.zeros((2000, 2000), np.uint16), "RGGB", (0.0,) * 4, 16383.0)
    tracemalloc.start()
    try:
        picture = develop(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - picture.pixels.nbytes < 30e6
