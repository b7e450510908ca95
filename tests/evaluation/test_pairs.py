"""Data sets in the field's layouts become lists of pairs, and what has no partner is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.errors import InputError, UsageError
from tapetum.evaluation.pairs import find_splits

LOL = Path(__file__).parents[3] / "shared" / "data" / "lol_v1"


def fill(folder: Path, names: str, ending: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / f"{name}{ending}")


@pytest.mark.parametrize(("low", "target"), [("low", "high"), ("input", "target"), ("Low", "Normal")])
@pytest.mark.parametrize("split", ["eval15", "Test", ""])
def test_layouts(tmp_path, split, low, target):
    fill(tmp_path / split / low, "ab", ".png")
    fill(tmp_path / split / target, "ab", ".jpg")
    found = find_splits(tmp_path)
    assert list(found) == [split or tmp_path.name]
    (pairs,) = found.values()
    assert [(p.low.name, p.target.name) for p in pairs] == [("a.png", "a.jpg"), ("b.png", "b.jpg")]
    assert all(p.low.parent.name == low and p.target.parent.name == target for p in pairs)


def test_lists_and_scenes_of_a_split_file(tmp_path):
    for split, names in (("our485", "abc"), ("eval15", "de")):
        for side in ("low", "high"):
            fill(tmp_path / split / side, names)
    content = {"clean_test": ["our485/b", "eval15/d"], "scene": {"our485/b": 7, "eval15/d": 7, "eval15/e": 3}}
    (tmp_path / "splits.json").write_text(json.dumps(content))
    found = find_splits(tmp_path)
    assert {name: [p.name for p in pairs] for name, pairs in found.items()} == {
        "eval15": ["d", "e"],
        "clean_test": ["our485/b", "eval15/d"],
    }
    assert [p.scene for p in found["eval15"]] == ["7", "3"]
    assert [p.scene for p in found["clean_test"]] == ["7", "7"]
    assert list(find_splits(tmp_path, ["our485"])) == ["our485"]
    with pytest.raises(UsageError, match=r"no split 'eval': choose from clean_test, eval15, our485"):
        find_splits(tmp_path, ["eval"])


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_splits(tmp_path / "nothing")
    with pytest.raises(InputError, match="known layout"):
        find_splits(tmp_path)
    fill(tmp_path / "low", "ab")
    fill(tmp_path / "high", "a")
    with pytest.raises(InputError, match=r"no picture named b\.\*"):
        find_splits(tmp_path)
    (tmp_path / "splits.json").write_text("[]")
    with pytest.raises(InputError, match="not a split file"):
        find_splits(tmp_path)


@pytest.mark.skipif(not LOL.is_dir(), reason="needs the optional pictures of ../shared/data/lol_v1")
def test_lol_v1():
    found = find_splits(LOL)
    assert {name: len(pairs) for name, pairs in found.items()} == {"eval15": 15, "clean_test": 101}
    train = {p.scene for p in find_splits(LOL, ["clean_train"])["clean_train"]}
    assert not train & {p.scene for p in found["clean_test"]}, "the clean split shares no scene"
