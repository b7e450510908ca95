"""``tapetum evaluate --metric``: more columns, everywhere."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum import metrics
from tapetum.evaluation.report import title_of

EXTRA = ("ciede2000_uint8", "loe_low_50", "entropy_gray601_uint8")


@pytest.fixture
def pairs(save, dark) -> Path:
    """Three pairs with ever more noise in the target."""
    random = np.random.default_rng(3)
    for i in range(3):
        low = save(f"set/eval15/low/{i}.png", np.roll(dark, 9 * i, axis=1))
        target = np.clip(np.roll(dark, 9 * i, axis=1) * 2.0 + random.normal(0, 1 + 4 * i, dark.shape), 0, 255)
        save(f"set/eval15/high/{i}.png", target.round().astype(np.uint8))
    return low.parents[2]


def with_metrics(*names: str) -> list[str]:
    return [argument for name in names for argument in ("--metric", name)]


def test_new_columns_in_table_csv_and_json(tapetum, pairs, doubler, tmp_path):
    files = ["--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json"]
    result = tapetum("evaluate", "--data", pairs, "--model", doubler, *files, *with_metrics(*EXTRA, "mae", "mae"))
    assert result.code == 0, result.err
    compared = ["psnr_rgb_uint8", "ssim_gaussian_valid_uint8", "ciede2000_uint8", "mae"]
    plain = ["psnr_rgb_uint8", "ssim_gaussian_valid_uint8", *EXTRA, "mae"]
    columns = [*plain, *(f"{name}/gt_mean_gray601_rgb" for name in compared)]
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[4:-1] == columns, "what does not look at the target has no GT-mean"
    content = json.loads((tmp_path / "t.json").read_text())
    (entry,) = content["results"]
    assert list(entry["means"]) == columns
    assert list(content["measures"]) == plain
    assert content["measures"]["loe_low_50"]["against"] == "low"
    assert content["measures"]["mae"] | {"source": ""} == {
        "unit": "",
        "better": "lower",
        "against": "target",
        "source": "",
    }
    for word in ("CIEDE2000", "CIEDE2000 GT-mean", "LOE", "ENTROPY", "MAE"):
        assert word.split()[0] in result.out
    for row in rows:
        low, target = (
            np.asarray(Image.open(pairs / "eval15" / side / f"{row['name']}.png")) for side in ("low", "high")
        )
        enhanced = np.minimum(low.astype(int) * 2, 255).astype(np.uint8)
        for name in EXTRA:
            assert float(row[name]) == pytest.approx(metrics.get(name)(enhanced, target, low), abs=1e-6), name
    assert [entry["worst"][name][0] for name in ("psnr_rgb_uint8", "mae", "ciede2000_uint8")] == ["2", "2", "2"]


def test_the_default_stays_as_it_was(tapetum, pairs, doubler):
    (entry,) = tapetum("evaluate", "--data", pairs, "--model", doubler, "--json", "-").json["results"]
    names = ["psnr_rgb_uint8", "ssim_gaussian_valid_uint8"]
    assert list(entry["means"]) == [*names, *(f"{name}/gt_mean_gray601_rgb" for name in names)]


def test_measures_of_one_family_keep_their_whole_names():
    columns = ["psnr_rgb_uint8", "psnr_y_uint8", "mae", "psnr_rgb_uint8/x", "psnr_y_uint8/x", "mae/x"]
    expected = [
        "psnr_rgb_uint8",
        "psnr_y_uint8",
        "MAE",
        "psnr_rgb_uint8 GT-mean",
        "psnr_y_uint8 GT-mean",
        "MAE GT-mean",
    ]
    assert [title_of(column, columns) for column in columns] == expected
    assert title_of("psnr_keep", ["psnr_keep"]) == "PSNR"


def test_without_targets(tapetum, pairs, doubler):
    arguments = ["--unpaired", pairs / "eval15" / "low", "--model", doubler, "--json", "-"]
    (entry,) = tapetum("evaluate", *arguments, *with_metrics("loe_low_share", "contrast_rms_gray601")).json["results"]
    assert list(entry["means"]) == ["uciqe_lab100", "uiqm_plain", "loe_low_share", "contrast_rms_gray601"]
    assert entry["means"]["loe_low_share"]["value"] == 0, "doubled, nothing clipped: the order is kept"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "{set}", "--metric", "ciede"], "unknown metric 'ciede', perhaps ciede2000_uint8: choose from"),
        (["--unpaired", "{set}", "--metric", "mae"], "--metric mae compares with targets, and --unpaired has none"),
        (["--keep", "{set}", "--metric", "mae"], "--keep has a measure of its own"),
        (["--data", "{set}", "--metric", "lpips_alex"], "lpips_alex needs torchvision, which is not installed: pip"),
    ],
)
def test_wrong_usage_is_said_before_the_work(arguments, words, tapetum, pairs, doubler, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = tapetum("evaluate", "--model", doubler, *(argument.format(set=pairs) for argument in arguments))
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert words in result.err


@pytest.mark.parametrize("way", ["--data", "--keep", "--unpaired"])
def test_a_bad_picture_is_said_and_the_rest_is_measured(way, tapetum, pairs, doubler, tmp_path):
    (pairs / "eval15" / "low" / "1.png").write_bytes(b"no picture")
    folder = pairs if way == "--data" else pairs / "eval15" / "low"
    result = tapetum("evaluate", way, folder, "--model", doubler, "--json", tmp_path / "t.json")
    assert result.code == 1
    assert len(result.errors) == 1
    assert "1.png" in result.err
    (entry,) = json.loads((tmp_path / "t.json").read_text())["results"]
    assert entry["pictures"] == 2
    for file in (pairs / "eval15" / "low").iterdir():
        file.write_bytes(b"no picture")
    result = tapetum("evaluate", way, folder, "--model", doubler, "--json", tmp_path / "u.json")
    assert (result.code, len(result.errors), result.out) == (1, 3, "")
    assert not (tmp_path / "u.json").exists()
