"""From a recipe's sources to the pairs that are trained and validated with."""

import numpy as np
import pytest
import yaml

from tapetum.data.drawing import Exposures, Unpaired
from tapetum.errors import UsageError
from tapetum.imaging import Picture, write_picture
from tapetum.training.data import ValidationPictures, make_sources, tenth_brightest
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


@pytest.fixture
def unpaired(tmp_path):
    """A recipe file with one unpaired source: lows of 8 pairs and a folder of 3 dark ones; normal ones are a folder."""
    for folder, count, size in (("low", 8, 40), ("high", 8, 40), ("dark", 3, 50), ("day", 6, 33), ("one", 1, 99)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            write_picture(Picture(np.full((size, size + i, 3), 10 * i, np.uint8)), tmp_path / folder / f"{i}.png")
    (tmp_path / "none").mkdir()
    pairs = {"layout": "folders", "low": "low", "target": "high"}
    pictures = {"layout": "unpaired", "low": [pairs, "dark"], "normal": ["day", pairs]}
    recipe = {
        "name": "r",
        "method": "lightendiffusion",
        "data": {
            "root": str(tmp_path),
            "patch": 32,
            "sources": [{"name": "a", "kind": "unpaired", "pictures": pictures, "hold_out": 0.25}],
        },
        "schedule": {"kind": "linear"},
        "run": {"steps": 1},
    }
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_unpaired_pictures_of_several_lists(unpaired):
    training, held = make_sources(load_recipe(unpaired))
    drawn = training[0].pairs
    assert isinstance(drawn, Unpaired)
    assert [p.parent.name for p in drawn.low] == ["low"] * 6 + ["dark"] * 2
    # the held scenes of the pairs are left out of both sides, though only the lows are validated with
    assert {p.name for p in drawn.low if p.parent.name == "low"} == {
        p.name for p in drawn.normal if p.parent.name == "high"
    }
    assert len(drawn.normal) == 4 + 6
    assert [(p.low.parent.name, p.target.parent.name) for p in held[0].pairs] == [("low", "high")] * 2 + [
        ("dark", "dark")
    ]
    assert not {p.low for p in held[0].pairs} & set(drawn.low)
    assert ["target" in item for item in ValidationPictures(held)] == [True, True, False]
    # the same scenes as in any other source of the list
    alone, held_alone = make_sources(
        load_recipe(unpaired, ["data.sources.0.pictures.low=[{layout: folders, low: low, target: high}]"])
    )
    assert held_alone[0].pairs == held[0].pairs[:2]
    assert isinstance(alone[0].pairs, Unpaired)


def test_exposures_of_pairs(unpaired):
    pictures = "data.sources.0.pictures={layout: folders, low: low, target: high}"
    training, held = make_sources(load_recipe(unpaired, ["data.sources.0.kind=exposures", pictures]))
    drawn = training[0].pairs
    assert isinstance(drawn, Exposures)
    assert len(drawn.views) == 6
    assert len(held[0].pairs) == 2
    assert held[0].source.kind == "pairs"
    with pytest.raises(UsageError, match="recipe r, source a: no view has two different exposures"):
        make_sources(load_recipe(unpaired, ["data.sources.0.kind=lows", pictures]))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("pictures.low=none", r"none: holds no picture \(data\.root=\.\.\.\?\)"),
        ("pictures.normal=gone", r"gone: no such folder of pictures \(data\.root"),
        ("pictures.low=one", r"1 dark picture \(.*one\) left to train with, unpaired training needs at least 2"),
        ("pictures.normal=[one]", "1 normal picture .* left to train with"),
        ("hold_out=0.9", "1 dark picture .* or lower hold_out"),
        ("weight=0", "every source has weight 0"),
    ],
)
def test_unpaired_lists_that_cannot_be_trained_with(unpaired, override, says):
    with pytest.raises(UsageError, match=f"recipe r.*{says}") as caught:
        make_sources(load_recipe(unpaired, [f"data.sources.0.{override}"]))
    assert "\n" not in str(caught.value)


def test_pictures_that_are_too_small_or_none_are_said_first(unpaired):
    with pytest.raises(UsageError, match=r"source a: .*day/0\.png: 33x33, smaller than the patch of 40x40"):
        make_sources(load_recipe(unpaired, ["data.patch=40"]))
    (unpaired.parent / "day" / "7.png").write_bytes(b"GIF89a of a kind")
    with pytest.raises(UsageError, match=r"source a: .*7\.png: not a picture that can be read"):
        make_sources(load_recipe(unpaired, ["data.sources.0.hold_out=0"]))
