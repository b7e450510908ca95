"""From a recipe's sources to the pairs that are trained and validated with."""

import numpy as np
import pytest
import yaml

from tapetum.imaging import Picture, write_picture
from tapetum.training.data import make_sources, tenth_brightest
from tapetum.training.recipe import load_recipe


def test_tenth_brightest_counts_the_brightest_channel():
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[0, :, 1] = 255
    assert tenth_brightest(picture) == pytest.approx(0.1)  # a tenth but not more: between black and white
    picture[1, 0, 2] = 255
    assert tenth_brightest(picture) == 1
    assert tenth_brightest(np.full((4, 4, 3), 0.25, np.float32)) == 0.25


def test_pairs_with_bright_lows_are_left_out_of_training_alone(tmp_path):
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
    for i in range(8):
        low = np.full((40, 40, 3), 20, np.uint8)
        low[:12] = 250 if i % 2 else 60
        write_picture(Picture(low), tmp_path / "low" / f"{i}.png")
        write_picture(Picture(np.full_like(low, 200)), tmp_path / "high" / f"{i}.png")
    source = {"name": "a", "pictures": {"layout": "folders", "low": "low", "target": "high"}, "hold_out": 0.5}
    recipe = {
        "name": "r",
        "method": "twilight",
        "data": {"root": str(tmp_path), "sources": [source]},
        "schedule": {"kind": "linear"},
        "run": {"steps": 1},
    }
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe))
    whole, held_of_whole = make_sources(load_recipe(path))
    dark, held = make_sources(load_recipe(path, ["data.sources.0.highlights=0.6"]))
    assert [p.name for p in dark[0].pairs] == [p.name for p in whole[0].pairs if int(p.name) % 2 == 0]
    assert 0 < len(dark[0].pairs) < len(whole[0].pairs)
    assert held[0].source.pairs == held_of_whole[0].source.pairs
