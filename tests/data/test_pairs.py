"""Lists of pairs: what belongs together, and splits that share no scene."""

import json

import numpy as np
import pytest

from tapetum.data import pairs
from tapetum.errors import InputError
from tapetum.imaging import Picture, write_picture


@pytest.fixture
def split(tmp_path):
    """Two folders of pairs and a split file, as LOL v1 has them."""
    for folder, names in (("train", "abc"), ("test", "d")):
        for side in ("low", "high"):
            place = tmp_path / folder / side
            place.mkdir(parents=True)
            for name in names:
                write_picture(Picture(np.full((4, 4, 3), ord(name), np.uint8)), place / f"{name}.png")
    members = {"some": ["train/a", "test/d"], "scene": {"train/a": 1, "train/b": 1, "train/c": 2, "test/d": 3}}
    (tmp_path / "splits.json").write_text(json.dumps(members))
    return tmp_path


def test_split_lists_members_with_scenes(split):
    listed = pairs.pairs_of_split(split / "splits.json", "some")
    assert [(p.name, p.scene) for p in listed] == [("train/a", "1"), ("test/d", "3")]
    assert listed[0].low == split / "train" / "low" / "a.png"
    assert listed[0].target == split / "train" / "high" / "a.png"


def test_folders_are_paired_by_name_with_scenes(split):
    scenes = pairs.scenes_of_split(split / "splits.json", "train/")
    listed = pairs.pairs_of_folders(split / "train" / "low", split / "train" / "high", scenes)
    assert [(p.name, p.scene) for p in listed] == [("a", "1"), ("b", "1"), ("c", "2")]


def test_folders_are_listed_by_file_name(split):
    """As the published lists: "a-2.png" is before "a.png"."""
    for side in ("low", "high"):
        write_picture(Picture(np.zeros((4, 4, 3), np.uint8)), split / "train" / side / "a-2.png")
    listed = pairs.pairs_of_folders(split / "train" / "low", split / "train" / "high")
    assert [p.name for p in listed] == ["a-2", "a", "b", "c"]


def test_held_out_scenes_are_whole_and_stable(split):
    scenes = pairs.scenes_of_split(split / "splits.json", "train/")
    listed = pairs.pairs_of_folders(split / "train" / "low", split / "train" / "high", scenes)
    training, held = pairs.hold_out(listed, 0.5)
    assert held
    assert {p.scene for p in training}.isdisjoint(p.scene for p in held)
    assert sorted(p.name for p in training + held) == ["a", "b", "c"]
    assert pairs.hold_out(listed, 0.5) == (training, held)
    assert pairs.hold_out(listed, 0.0) == (listed, [])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: pairs.pairs_of_split(f / "splits.json", "other"), "has no split 'other' .it has some."),
        (lambda f: pairs.pairs_of_split(f / "none.json", "some"), "none.json: not a readable split file"),
        (lambda f: pairs.pairs_of_folders(f / "train" / "low", f / "test" / "low"), "no picture named a.*"),
        (lambda f: pairs.pairs_of_folders(f / "nowhere", f / "test" / "low"), "nowhere: no such folder"),
        (lambda f: pairs.pairs_of_csv(f / "none.csv", f), "none.csv: cannot be read"),
    ],
)
def test_what_is_missing_is_named(split, call, says):
    with pytest.raises(InputError, match=says):
        call(split)


@pytest.mark.parametrize("text", ["[1]", '{"some": [], "scene": [1]}', "{", "\xff"])
def test_split_files_that_are_none(tmp_path, text):
    (tmp_path / "splits.json").write_text(text, encoding="latin-1")
    for call in (pairs.pairs_of_split, pairs.scenes_of_split):
        with pytest.raises(InputError, match=r"splits\.json: not a (readable )?split file"):
            call(tmp_path / "splits.json", "some")


def test_a_split_file_without_scenes(tmp_path):
    (tmp_path / "splits.json").write_text('{"some": []}')
    with pytest.raises(InputError, match="without the scenes"):
        pairs.scenes_of_split(tmp_path / "splits.json", "a/")


def test_two_pictures_of_one_name(split):
    (split / "train" / "low" / "a.jpg").write_bytes((split / "train" / "low" / "a.png").read_bytes())
    with pytest.raises(InputError, match=r"low: a\.jpg and a\.png have one name"):
        pairs.pairs_of_folders(split / "train" / "low", split / "train" / "high")


def test_csv_errors_name_the_line(tmp_path):
    (tmp_path / "pairs.csv").write_text("scene,low,normal\n1,a.jpg,b.jpg\n")
    with pytest.raises(InputError, match=r"pairs\.csv, line 2: .*a\.jpg does not exist"):
        pairs.pairs_of_csv(tmp_path / "pairs.csv", tmp_path)
    (tmp_path / "pairs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="line 2: needs the columns scene, low, normal"):
        pairs.pairs_of_csv(tmp_path / "pairs.csv", tmp_path)
