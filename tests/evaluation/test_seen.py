import json
from pathlib import Path

import pytest

from tapetum.data.pairs import Pair, pairs_of_folders, sides_of
from tapetum.data.places import TRAINED_ON, digests
from tapetum.errors import InputError, TapetumWarning, UsageError
from tapetum.evaluation.pairs import find_splits
from tapetum.evaluation.seen import (
    Scenes,
    all_scenes,
    check_seen,
    provenance_of,
    read_scenes,
    seen_counts,
    seen_pairs,
    training_of,
)

LOL = Path(__file__).parents[3] / "shared" / "data" / "lol_v1"


def pair(place: str) -> Pair:
    folder, _, name = place.rpartition("/")
    return Pair(name, Path(f"/d/{folder}/low/{name}.png"), Path(f"/d/{folder}/high/{name}.png"), name)


def test_pictures_that_were_listed():
    training = training_of({TRAINED_ON: digests([Path("/elsewhere/LOLv1/our485/low/10.webp")])})
    assert training is not None
    seen = seen_pairs(training, [pair("lol_v1/our485/10"), pair("lol_v1/our485/11")], Scenes({}, {}))
    assert [p.name for p in seen] == ["10"]


def test_what_training_began_with_counts():
    first = {TRAINED_ON: digests([Path("/lol/our485/low/1.png")])}
    chained = [{"begun_with": {"sha256": "", "provenance": first}}, {"provenance": json.dumps(first)}]
    assert [training_of(told) for told in chained] == [training_of(first)] * 2


def test_recipes_of_files_without_a_list():
    pictures = [
        {"layout": "split", "file": "lol_v1/splits.json", "key": "clean_train"},
        {"layout": "folders", "low": "lol_v1/our485/low", "target": "lol_v1/our485/high"},
        {"layout": "pictures", "folder": "clean"},
    ]
    sources = [{"name": str(n), "pictures": entry} for n, entry in enumerate(pictures)]
    training = training_of({"recipe": {"data": {"root": "/x/data", "sources": sources}}})
    assert training is not None
    assert training.lists == {("lolv1", "clean_train")}
    assert set(training.folders) == {"lolv1/our485", "data/clean"}


@pytest.mark.parametrize(
    "told", [{}, {"recipe": 3}, {"recipe": {"data": {"sources": [None, {"pictures": 1}]}}}, {"provenance": "{"}]
)
def test_files_that_say_nothing(told):
    assert training_of(told) is None


def three_pairs(tmp_path):
    """A data set without a split file: train/a, test/b and test/c."""
    root = tmp_path / "set"
    for folder, name in (("train", "a"), ("test", "b"), ("test", "c")):
        for side in ("low", "high"):
            (root / folder / side).mkdir(parents=True, exist_ok=True)
            (root / folder / side / f"{name}.png").touch()
    return root


def test_another_picture_of_the_scene(tmp_path):
    root = three_pairs(tmp_path)
    content = {"mine": ["train/a"], "scene": {"train/a": 1, "test/b": 1, "test/c": 2}}
    (root / "splits.json").write_text(json.dumps(content))
    pairs = find_splits(root, ["test"])["test"]
    by_digest = training_of({TRAINED_ON: digests([root / "train/low/a.png"])})
    source = {"pictures": {"layout": "split", "file": "set/splits.json", "key": "mine"}}
    by_list = training_of({"recipe": {"data": {"root": "/y", "sources": [source]}}})
    for training in (by_digest, by_list):
        assert training is not None
        assert [p.name for p in seen_pairs(training, pairs, read_scenes(root))] == ["b"]
        assert not seen_pairs(training, pairs, read_scenes(None))


@pytest.fixture
def trained(tmp_path):
    """A data set whose split file knows that test/b shows the scene of train/a, and weights trained on train/a."""
    root = three_pairs(tmp_path)
    (root / "splits.json").write_text(json.dumps({"scene": {"train/a": 1, "test/b": 1, "test/c": 2}}))
    weights = tmp_path / "w.safetensors"
    told = json.dumps({TRAINED_ON: digests([root / "train/low/a.png"])})
    header = json.dumps({"__metadata__": {"tapetum.provenance": told}}).encode()
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    return root, weights


@pytest.mark.parametrize("data", [None, "test", "", "splits.json"])
def test_scenes_are_known_from_folders_above(trained, data):
    """Two folders of pictures, or that of a split: the split file of the whole data set is asked all the same."""
    root, weights = trained
    pairs = pairs_of_folders(root / "test" / "low", root / "test" / "high")
    given = None if data is None else root / data
    assert seen_counts("twilight", weights, {"s": pairs}, given) == {"s": 1}
    with pytest.raises(UsageError, match=r"^w was trained on scenes of s \(1 of 2 pictures\)"):
        check_seen([("w", "twilight", weights)], {"s": pairs}, given)
    (root / "splits.json").rename(root / "other.json")
    assert seen_counts("twilight", weights, {"s": pairs}, given if data == "test" else None) == {}


def test_split_files_number_scenes_each_in_its_own_way(trained):
    root, weights = trained
    (root / "test" / "splits.json").write_text(json.dumps({"scene": {"low/c": 1}, "root": "."}))
    pairs = pairs_of_folders(root / "test" / "low", root / "test" / "high")
    assert len(all_scenes(root, pairs)) == 2
    assert seen_counts("twilight", weights, {"s": pairs}) == {"s": 1}, "scene 1 of one is not scene 1 of the other"


def test_a_file_of_that_name_that_nobody_has_named(trained):
    root, weights = trained
    (root / "splits.json").write_text("[]")
    pairs = pairs_of_folders(root / "test" / "low", root / "test" / "high")
    with pytest.warns(TapetumWarning, match=r"splits\.json: not a split file.*: which pictures show one scene is not"):
        assert seen_counts("twilight", weights, {"s": pairs}) == {}
    with pytest.raises(InputError, match="not a split file"):
        seen_counts("twilight", weights, {"s": pairs}, root)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}", b"PK\x03\x04"])
def test_other_files_say_nothing(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    assert provenance_of("twilight", tmp_path / "w.safetensors") is None
    assert provenance_of("clahe", None) is None


@pytest.mark.skipif(not LOL.is_dir(), reason="needs LOL v1 in ../shared/data")
def test_the_bundled_weights_on_lol_v1():
    splits = find_splits(LOL)
    assert check_seen([("default", "default", None)], splits, LOL) == []
    with pytest.raises(UsageError, match=r"^default-lolv1 was trained on scenes of eval15 \(14 of 15 pictures\)"):
        check_seen([("default-lolv1", "default-lolv1", None)], splits, LOL)
    folder = LOL / "eval15"
    for pairs, data in ((find_splits(folder)["eval15"], folder), (pairs_of_folders(*sides_of(folder)), None)):
        with pytest.raises(UsageError, match=r"\(14 of 15 pictures\)"):
            check_seen([("default-lolv1", "default-lolv1", None)], {"eval15": pairs}, data)
    notes = check_seen([("default-lolv1", "default-lolv1", None)], splits, LOL, allow=True)
    assert notes[1] == "note: default-lolv1 was trained on scenes of clean_test (100 of 101 pictures)"
