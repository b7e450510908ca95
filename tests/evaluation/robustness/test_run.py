"""Probes of models whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.errors import TapetumError, UsageError
from tapetum.evaluation.benchmark.plan import Data, Model, Photographs, Plan
from tapetum.evaluation.robustness.probes import PROBES
from tapetum.evaluation.robustness.run import HUE, LARGEST, PSNR, Robustness, examine, find_photographs
from tapetum.evaluation.robustness.tables import grids, robustness_lines
from tapetum.metrics import psnr_rgb_uint8

POINTS = sum(len(probe.points) for probe in PROBES)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    rows, columns = np.mgrid[0:200, 0:240]
    for i in range(3):
        light = np.stack([np.sin(rows / (9 + i)) * 60 + 120, columns / 2 + 60, 90 + 0 * rows], axis=-1)
        Image.fromarray(light.clip(0, 255).astype(np.uint8)).save(folder / f"p{i}.png")
    return folder


@pytest.fixture(scope="module")
def held(good: Path, doubler: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Robustness, Path, Plan]:
    cache = tmp_path_factory.mktemp("cache")
    plan = Plan((Model(str(doubler), label="doubler"), Model("clahe")), (Data(good),))
    files = find_photographs(Photographs(good, limit=2), None)
    return examine(plan, files, cache, 1, lambda done, total: None, lambda line: None), cache, plan


def test_every_point_of_every_model(held: tuple[Robustness, Path, Plan]) -> None:
    found = held[0]
    assert found.photographs == ("p0", "p1")
    assert found.failures == []
    assert len(found.readings) == 2 * POINTS
    assert {r.pictures for r in found.readings} == {2}
    assert found.models == ["doubler", "clahe"]


def test_what_is_known_of_a_model_that_doubles(held: tuple[Robustness, Path, Plan], good: Path) -> None:
    """Its tiles are exact; twice is four times; a good photograph is doubled; a stop is worth the most."""
    found = held[0]
    probe = {p.name: p for p in PROBES}
    assert found.values(probe["tiles"], LARGEST)["doubler"] == [0, 0, 0]
    assert found.values(probe["tiles"], PSNR)["doubler"] == [100, 100, 100]
    (twice,) = found.values(probe["twice"], LARGEST)["doubler"]
    assert twice is not None
    assert twice > 20
    images = [np.asarray(Image.open(good / f"p{i}.png")) for i in range(2)]
    kept = np.mean([psnr_rgb_uint8(np.clip(2 * im.astype(int), 0, 255).astype(np.uint8), im) for im in images])
    assert found.values(probe["keep"], PSNR)["doubler"] == [pytest.approx(kept, abs=1e-3)]
    over = [value for value in found.values(probe["exposure"], PSNR)["doubler"] if value is not None]
    assert len(over) == 6
    assert over.index(max(over)) in (0, 1)  # twice the value is about two stops
    hue = [value for value in found.values(probe["exposure"], HUE)["doubler"] if value is not None]
    assert hue[-1] > hue[0]  # colours drown in the noise


def test_a_second_time_nothing_is_predicted(held: tuple[Robustness, Path, Plan], good: Path) -> None:
    first, cache, plan = held
    files = find_photographs(Photographs(good, limit=2), None)
    second = examine(plan, files, cache, 1, lambda done, total: None, lambda line: None)
    assert (second.predictions.made, second.predictions.found) == (0, first.predictions.made)
    assert second.readings == first.readings


def test_the_figures_for_people_and_programs(held: tuple[Robustness, Path, Plan]) -> None:
    found = held[0]
    tables = grids(found)
    for table in tables:
        assert [row[0] for row in table.rows] == ["doubler", "clahe"]
        assert {len(row) for row in table.rows} == {len(table.header)}
    assert tables[-1].header == ["model", "tiles of 256", "tiles of 192", "tiles of 128", "twice", "kept"]
    assert tables[-1].rows[0][1] == "100.0, 0"
    lines = robustness_lines(found)
    assert len(lines) == 1 + sum(len(r.means) for r in found.readings)
    assert {len(line) for line in lines} == {8}


def test_photographs_by_name(good: Path) -> None:
    assert [f.stem for f in find_photographs(Photographs(good, ("p2", "p0")), None)] == ["p2", "p0"]
    assert [f.stem for f in find_photographs(Photographs(good), 1)] == ["p0"]
    with pytest.raises(UsageError, match="no picture named 'p00', perhaps p0"):
        find_photographs(Photographs(good, ("p00",)), None)


def test_a_file_that_is_no_model_is_said(good: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no")
    plan = Plan((Model(str(tmp_path / "bad.onnx")),), (Data(good),))
    files = find_photographs(Photographs(good, limit=1), None)
    with pytest.raises(TapetumError, match=r"bad"):
        examine(plan, files, tmp_path / "cache", 1, lambda done, total: None, lambda line: None)
