"""Measuring: the right figures of the right pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tapetum.data.layouts import read_picture_file
from tapetum.data.pairs import Pair, by_stem, pairs_of_folders
from tapetum.enhancer import Enhancer
from tapetum.errors import InputError
from tapetum.evaluation import run
from tapetum.evaluation.protocols import get_protocol
from tapetum.evaluation.run import by_enhancer, measure_pairs, stored
from tapetum.metrics import HIGHEST_DB

CORRECTION = "gt_mean_gray601_rgb"


@pytest.fixture
def folders(tmp_path, dark) -> tuple[Path, Path]:
    random = np.random.default_rng(5)
    for side in ("low", "target"):
        (tmp_path / side).mkdir()
    for name, gain in (("a", 2.0), ("b", 3.0)):
        target = np.clip(dark * gain + random.normal(0, 2, dark.shape), 0, 255).round().astype(np.uint8)
        Image.fromarray(dark).save(tmp_path / "low" / f"{name}.png")
        Image.fromarray(target).save(tmp_path / "target" / f"{name}.png")
    return tmp_path / "low", tmp_path / "target"


def measured(folders, predict, protocol="strict", **options):
    pairs = pairs_of_folders(*folders)
    return list(
        measure_pairs("m", "s", pairs, predict, get_protocol(protocol), read_picture_file, CORRECTION, **options)
    )


def test_psnr_is_that_of_scikit_image(folders, doubler, dark):
    rows = measured(folders, by_enhancer(Enhancer(doubler), get_protocol("strict")))
    assert [row.name for row in rows] == ["a", "b"]
    enhanced = np.minimum(dark.astype(int) * 2, 255).astype(np.uint8)
    for row in rows:
        with Image.open(folders[1] / f"{row.name}.png") as image:
            expected = peak_signal_noise_ratio(np.asarray(image), enhanced)
        assert row.values["psnr_rgb_uint8"] == pytest.approx(expected, abs=1e-6)
        assert row.seconds is not None


def test_gt_mean_forgives_a_wrong_brightness_and_nothing_else(folders, doubler):
    a, b = measured(folders, by_enhancer(Enhancer(doubler), get_protocol("strict")))
    gain = {row.name: row.values[f"psnr_rgb_uint8/{CORRECTION}"] - row.values["psnr_rgb_uint8"] for row in (a, b)}
    assert abs(gain["a"]) < 0.5, "its brightness was right"
    assert gain["b"] > 10


def test_both_protocols_name_their_measures(folders, doubler):
    for name in ("strict", "retinexformer_test_script"):
        (row, _) = measured(folders, by_enhancer(Enhancer(doubler), get_protocol(name)), name)
        measures = get_protocol(name).metrics
        assert list(row.values) == [*measures, *(f"{measure}/{CORRECTION}" for measure in measures)]


def test_equal_pictures_have_a_finite_figure(folders):
    rows = measured(folders, stored(folders[1], pairs_of_folders(*folders)), timed=False)
    assert [row.values["psnr_rgb_uint8"] for row in rows] == [HIGHEST_DB, HIGHEST_DB]
    assert [row.values["ssim_gaussian_valid_uint8"] for row in rows] == pytest.approx([1, 1])
    assert [row.seconds for row in rows] == [None, None]


def test_pictures_too_small_for_ssim_are_refused(tmp_path, doubler):
    for side in ("low", "target"):
        (tmp_path / side).mkdir()
        Image.fromarray(np.zeros((8, 40, 3), np.uint8)).save(tmp_path / side / "tiny.png")
    predict = by_enhancer(Enhancer(doubler), get_protocol("strict"))
    with pytest.raises(InputError, match=r"tiny\.png: SSIM needs pictures of at least 11 x 11"):
        measured((tmp_path / "low", tmp_path / "target"), predict)


def test_predictions_that_are_no_numbers_are_refused(folders):
    def predict(pair, low):
        return np.where(np.arange(3) == 1, np.nan, low) if pair.name == "b" else low

    with pytest.raises(InputError, match=r"b\.png: enhanced has values that are no numbers \(NaN\) or infinite"):
        measured(folders, predict)


def test_stored_predictions_that_are_no_numbers_are_refused(folders, tmp_path, dark):
    (tmp_path / "p").mkdir()
    broken = dark.astype(np.float32) / 255
    broken[3, 4, 1], broken[5, 6] = np.nan, np.inf
    for name, pixels in (("a", dark / np.float32(255)), ("b", broken)):
        image = pyvips.Image.new_from_array(pixels.astype(np.float32)).copy(interpretation="srgb")
        image.tiffsave(str(tmp_path / "p" / f"{name}.tif"))
    failed: list[InputError] = []
    pairs = pairs_of_folders(*folders)
    predict = stored(tmp_path / "p", pairs)
    rows = measure_pairs("m", "s", pairs, predict, get_protocol("strict"), read_picture_file, CORRECTION, failed=failed)
    assert [row.name for row in rows] == ["a"]
    assert [str(error) for error in failed] == [
        f"{tmp_path / 'p' / 'b.tif'}: 4 samples are not finite numbers (NaN or infinity)"
    ]


def test_rows_come_one_at_a_time(folders, doubler):
    """A picture that cannot be read is met only when it is its turn: nothing is read ahead or kept."""
    (folders[0] / "b.png").write_bytes(b"")
    predict = by_enhancer(Enhancer(doubler), get_protocol("strict"))
    pairs = pairs_of_folders(*folders)
    rows = measure_pairs("m", "s", pairs, predict, get_protocol("strict"), read_picture_file, CORRECTION)
    assert next(rows).name == "a"
    with pytest.raises(InputError, match=r"b\.png"):
        next(rows)


def test_before_after_target_pictures(folders, doubler, tmp_path):
    predict = by_enhancer(Enhancer(doubler), get_protocol("strict"))
    measured(folders, predict, pictures=tmp_path / "looks")
    with Image.open(tmp_path / "looks" / "m-s-a.jpg") as image:
        assert image.width > 3 * 64


def test_a_folder_of_predictions_is_listed_once(folders, monkeypatch):
    listed = []

    def counted(folder):
        listed.append(folder)
        return by_stem(folder)

    monkeypatch.setattr(run, "by_stem", counted)
    stored(folders[1], pairs_of_folders(*folders))
    assert listed == [folders[1]]


def test_stored_predictions_of_equal_names_need_folders(tmp_path, folders, dark):
    from dataclasses import replace

    pairs = [replace(pair, name=f"{folder}/a") for folder, pair in zip("xy", pairs_of_folders(*folders), strict=True)]
    (tmp_path / "p").mkdir()
    Image.fromarray(dark).save(tmp_path / "p" / "a.png")
    with pytest.raises(InputError, match="two pictures have this name"):
        stored(tmp_path / "p", pairs)
    for folder in "xy":
        (tmp_path / "p" / folder).mkdir()
        Image.fromarray(dark).save(tmp_path / "p" / folder / "a.png")
    predict = stored(tmp_path / "p", pairs)
    assert np.array_equal(predict(pairs[1], np.zeros((1, 1, 3), np.float32)), dark)


def test_protocols_of_tiles_and_of_a_second_time(doubler: Path, dark: np.ndarray) -> None:
    """Tiles of a network without a neighbourhood change nothing; a second time begins with 8 bits of the first."""
    enhancer = Enhancer(str(doubler))
    low = np.divide(dark, 255, dtype=np.float32)
    pair = Pair("a", Path("a"), Path("a"), "a")
    made = {
        name: by_enhancer(enhancer, get_protocol(name))(pair, low)
        for name in ("strict", "untiled", "tiled_128", "twice")
    }
    np.testing.assert_allclose(made["untiled"], made["strict"], atol=1e-6)
    np.testing.assert_allclose(made["tiled_128"], made["strict"], atol=1e-6)
    once = np.rint(made["strict"] * 255) / 255
    np.testing.assert_allclose(made["twice"], np.minimum(2 * once, 1), atol=1e-6)
    assert enhancer._budget.pixels == np.inf, "the enhancer itself keeps its tiles"
