"""RAW sources in recipes: strictly validated, made, and trained with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tapetum.data.raw_samples import RawSource, RealNoise, SyntheticNoise
from tapetum.data.raw_sets import published_lists
from tapetum.errors import UsageError
from tapetum.training.data import make_sources, training_loader, validation_loader
from tapetum.training.recipe import load_recipe

PHOTOGRAPHS = {
    "name": "made",
    "kind": "raw-synthetic",
    "pictures": {"layout": "pictures", "folder": "photographs"},
    "hold_out": 0.25,
}
SID = {"layout": "sid", "folder": "SID", "list": "few.txt"}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe on four photographs; beside them SID's Sony folder with two scenes, as files that need no rawpy."""
    (tmp_path / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{i}.png")
    rows = [row for row in published_lists()["train"] if row[0][:5] in ("00001", "00002")]
    (tmp_path / "SID").mkdir()
    (tmp_path / "SID" / "few.txt").write_text("\n".join(" ".join(row) for row in rows))
    for side, index in (("short", 0), ("long", 1)):
        (tmp_path / "SID" / side).mkdir()
        for name in {row[index] for row in rows}:
            path = tmp_path / "SID" / side / name
            path.write_bytes(rng.integers(512, 16384, (64, 80)).astype("<u2").tobytes())
            geometry = {"width": 80, "height": 64, "pattern": "RGGB", "bits": 14, "black": 512, "iso": 800}
            path.with_name(path.name + ".json").write_text(json.dumps(geometry))
    content = {
        "name": "r",
        "method": "exposurediffusion",
        "data": {"root": str(tmp_path), "patch": 16, "batch": 2, "sources": [PHOTOGRAPHS]},
        "schedule": {"kind": "linear"},
        "run": {"steps": 3, "folder": str(tmp_path / "runs")},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "r.yaml"


def set_source(recipe: Path, **changes: object) -> Path:
    content = yaml.safe_load(recipe.read_text())
    source = content["data"]["sources"][0]
    source.update(changes)
    if "kind" in changes or "pictures" in changes:
        source["raw"] = {"cache": str(recipe.parent / "cache"), **source.get("raw", {})}
    recipe.write_text(yaml.safe_dump(content))
    return recipe


def test_photographs(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    sources, held = make_sources(loaded)
    (source,) = sources
    assert isinstance(source, RawSource)
    assert isinstance(source.noise, SyntheticNoise)
    assert (len(source.pictures), len(held[0].pairs)) == (3, 1)
    batch = next(iter(training_loader(loaded, sources, 0, lambda: 0, 0, 1)))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "low": (2, 4, 16, 16),
        "target": (2, 4, 16, 16),
        "ratio": (2,),
        "gain": (2,),
    }
    (picture,) = validation_loader(held)
    assert picture["source"] == ["made"]
    assert tuple(picture["low"].shape) == tuple(picture["target"].shape) == (1, 4, 24, 32)
    (again,) = validation_loader(held)
    assert torch.equal(picture["low"], again["low"])


def test_sid_clean_and_paired(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clean,), held = make_sources(load_recipe(set_source(recipe, pictures=SID, hold_out=0.5)))
    assert len(clean.pictures) == 1
    assert len(held[0].pairs) == 1
    assert "2 RAW files are decoded into" in capsys.readouterr().out
    (real,), _ = make_sources(load_recipe(set_source(recipe, kind="raw-pairs", hold_out=0)))
    assert isinstance(real, RawSource)
    assert isinstance(real.noise, RealNoise)
    assert len(real.pictures) == 4
    assert "4 RAW files are decoded" in capsys.readouterr().out
    make_sources(load_recipe(recipe))
    assert not capsys.readouterr().out  # all are in the cache


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.sources.0.raw.noise=P+z"], "unknown part 'z' of the noise model"),
        (["data.sources.0.raw.cameras=[Pinhole]"], "unknown camera 'Pinhole': choose from CanonEOS5D4"),
        (["data.sources.0.raw.cameras=[]"], "raw.cameras"),
        (["data.sources.0.raw.ratio=[0, 100]"], "raw.ratio.0"),
        (["data.sources.0.raw.ratio=[200, 100]"], "ratio: a range from the smaller to the larger"),
        (["data.sources.0.raw.gain=[-1, 100]"], "raw.gain"),
        (["data.sources.0.raw.gain=cammera"], "raw.gain"),
        (["data.sources.0.raw.colour=1"], "raw.colour: unknown key"),
        (["data.sources.0.kind=raw-pairs"], "takes pictures of layout: sid or eld, not pictures"),
        (["data.sources.0.kind=darken", "data.sources.0.raw.noise=P+g"], "takes neither raw: nor RAW pictures"),
        (["data.sources.0.kind=pairs", "data.sources.0.pictures={layout: sid, folder: x}"], "takes neither raw"),
        (["data.sources.0.noise=1"], "kind: raw-synthetic has no noise of its own"),
        (["data.sources.0.pictures={layout: eld, folder: x, cameras: [SonyA7S2], ratios: [300]}"], "ratios"),
        (["data.mixup=1.2"], "RAW sources have no mixup"),
        (["data.crop=0.5"], "RAW sources have no crop"),
    ],
)
def test_mistakes_in_recipes(recipe: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe, overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_raw_and_other_sources_do_not_mix(recipe: Path) -> None:
    content = yaml.safe_load(recipe.read_text())
    content["data"]["sources"].append({"name": "b", "pictures": PHOTOGRAPHS["pictures"]})
    recipe.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match="RAW sources and others do not mix"):
        load_recipe(recipe)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.sources.0.pictures.folder=none"], r"none: no such folder of pictures \(data\.root"),
        (["data.patch=32"], r"source made: .*is 24x32 \(half of its pixels, .* too small for patches of 32"),
        (["data.sources.0.weight=0"], "every source has weight 0"),
        (["data.sources.0.hold_out=0.99"], "no picture is left to train with, lower hold_out"),
        (["data.sources.0.raw={cameras: [gone.yaml]}"], r"source made: gone\.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_trained_with(recipe: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_sources(load_recipe(recipe, overrides))


def test_a_calibrated_card_in_a_recipe(recipe: Path) -> None:
    from tapetum.data.raw_noise.cameras import card_text, get_camera

    card = recipe.parent / "mine.yaml"
    card.write_text(card_text(get_camera("NikonD850")))
    loaded = load_recipe(recipe, [f"data.sources.0.raw={{cameras: ['{card}'], gain: camera, ratio: [50, 60]}}"])
    sources, _ = make_sources(loaded)
    batch = next(iter(training_loader(loaded, sources, 0, lambda: 0, 0, 1)))
    low, high = get_camera("NikonD850").gain_range
    assert ((batch["gain"] >= low) & (batch["gain"] <= high)).all()
    assert ((batch["ratio"] >= 50) & (batch["ratio"] <= 60)).all()
