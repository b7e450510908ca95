"""From a recipe's sources to the pairs that are trained and validated with."""

import numpy as np
import pytest
import torch
import yaml

from tapetum.data.drawing import Exposures, Unpaired
from tapetum.errors import UsageError
from tapetum.imaging import Picture, write_picture
from tapetum.training.data import ValidationPictures, make_sources, tenth_brightest, training_loader
from tapetum.training.recipe import load_recipe
from tapetum.training.run import train
from tapetum.weights.loading import read_state_dict


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


@pytest.fixture
def paired(tmp_path):
    """A recipe file with one source of six pairs, 40 x 48."""
    rng = np.random.default_rng(0)
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
        for i in range(6):
            pixels = rng.integers(0, 256, (40, 48, 3)).astype(np.uint8)
            write_picture(Picture(pixels), tmp_path / side / f"{i}.png")
    source = {"name": "a", "pictures": {"layout": "folders", "low": "low", "target": "high"}}
    recipe = {
        "name": "r",
        "method": "retinexformer",
        "config": {"n_feat": 8, "num_blocks": [1, 1, 1], "stage": 1},
        "data": {"root": str(tmp_path), "patch": 16, "batch": 3, "sources": [source]},
        "schedule": {"kind": "linear"},
        "run": {"steps": 5, "threads": 1, "devices": 1, "folder": str(tmp_path / "runs"), "save_every": 1},
    }
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


PROGRESSIVE = "data.progressive=[{after: 2, patch: 24, batch: 2}, {after: 4, patch: 32, batch: 1}]"


def test_progressive_patches(paired):
    recipe = load_recipe(paired, [PROGRESSIVE])
    loaded = [training_loader(recipe, make_sources(recipe)[0], 0, lambda s=s: s, 0, 1) for s in (0, 3)]
    whole, resumed = (list(loader) for loader in loaded)
    assert [tuple(batch["low"].shape) for batch in whole] == [
        (3, 3, 16, 16), (3, 3, 16, 16), (2, 3, 24, 24), (2, 3, 24, 24), (1, 3, 32, 32),
    ]  # fmt: skip
    assert all(torch.equal(a["low"], b["low"]) for a, b in zip(whole[3:], resumed, strict=True))


def test_a_progressive_training_that_was_stopped_goes_on(paired):
    whole = train(load_recipe(paired, [PROGRESSIVE, "name=whole"]))
    train(load_recipe(paired, [PROGRESSIVE, "run.steps=3", "schedule={kind: multi_step, milestones: []}"]))
    with pytest.raises(UsageError, match="holds a training whose data differs"):
        train(load_recipe(paired, ["run.steps=3"]))
    constant = ["schedule={kind: multi_step, milestones: []}"]
    straight = train(load_recipe(paired, [PROGRESSIVE, "name=straight", *constant]), resume=False)
    resumed = train(load_recipe(paired, [PROGRESSIVE, *constant]))
    states = [read_state_dict(path) for path in (straight, resumed, whole)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not all(torch.equal(value, states[2][key]) for key, value in states[0].items())


def test_pictures_are_resized_as_they_are_read(paired):
    recipe = load_recipe(
        paired, ["data.sources.0.resize={square: 24}", "data.patch=null", "data.sources.0.hold_out=0.4"]
    )
    sources, held = make_sources(recipe)
    batch = next(iter(training_loader(recipe, sources, 0, lambda: 0, 0, 1)))
    assert batch["low"].shape == (3, 3, 24, 24)
    assert ValidationPictures(held)[0]["low"].shape == (3, 24, 24)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.sources.0.resize={}", "resize takes one of square, longest, scale"),
        ("data.sources.0.resize={square: 64, scale: 2}", "resize takes one of square, longest, scale"),
        ("data.sources.0.resize={square: 4}", "greater than or equal to 8"),
        ("data.progressive=[{after: 4, patch: 24, batch: 2}, {after: 2, patch: 32, batch: 1}]", "after must rise"),
        ("data.progressive=[{after: 4, patch: 24}]", "batch: is missing"),
        ("data={sources: [{name: a, pictures: {layout: pictures, folder: low}}], patch: null, "
         "progressive: [{after: 4, patch: 24, batch: 2}]}", "progressive needs a patch"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be(paired, override, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_recipe(paired, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("side", "shape", "says"),
    [
        ("low", (40, 7), r"low.3\.png: 7x40, smaller than a window of 8x8: take it out"),
        ("high", (7, 48), r"high.3\.png: 48x7, smaller than a window of 8x8: take it out"),
        ("low", (40, 47), r"low.3\.png: 47x40, but its target .*high.3\.png is 48x40"),
    ],
)
def test_pictures_that_cannot_be_trained_with(paired, side, shape, says):
    write_picture(Picture(np.zeros((*shape, 3), np.uint8)), paired.parent / side / "3.png")
    with pytest.raises(UsageError, match=rf"^recipe r, source a: .*{says}$"):
        train(load_recipe(paired))
    if "window" not in says:  # resized to one size they are a pair
        make_sources(load_recipe(paired, ["data.sources.0.resize={square: 24}"]))
        with pytest.raises(UsageError, match=says):
            make_sources(load_recipe(paired, ["data.sources.0.resize={longest: 47}"]))


def test_pictures_that_cannot_be_validated_with(paired):
    held = ["data.sources.0.hold_out=0.4"]
    kept = make_sources(load_recipe(paired, held))[1][0].pairs[0]
    write_picture(Picture(np.zeros((40, 47, 3), np.uint8)), kept.low)
    with pytest.raises(UsageError, match=r"^recipe r, source a: .*47x40, but its target .* is 48x40$"):
        make_sources(load_recipe(paired, held))


def test_every_patch_must_fit_the_network(paired):
    with pytest.raises(UsageError, match=r"data\.patch is 18: retinexformer with this config needs a multiple of 4"):
        train(load_recipe(paired, ["data.progressive=[{after: 2, patch: 18, batch: 2}]"]))


def test_srgb_pictures_for_a_raw_network(paired):
    says = "recipe r: exposurediffusion is trained with RAW mosaics, its sources are sRGB pictures"
    with pytest.raises(UsageError, match=says):
        train(load_recipe(paired, ["method=exposurediffusion", "config=null"]))


def test_a_folder_of_another_method(paired):
    train(load_recipe(paired, ["run.steps=1"]))
    says = r"runs.r holds a training of retinexformer, and recipe r trains dednet: choose another name=.*--restart"
    with pytest.raises(UsageError, match=says):
        train(load_recipe(paired, ["method=dednet", "config=narrow"]))
