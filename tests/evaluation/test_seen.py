import json
from pathlib import Path

import pytest

from tapetum.data.pairs import Pair
from tapetum.data.places import TRAINED_ON, digests
from tapetum.errors import UsageError
from tapetum.evaluation.pairs import find_splits
from tapetum.evaluation.seen import Scenes, check_seen, provenance_of, read_scenes, seen_pairs, training_of

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


def test_another_picture_of_the_scene(tmp_path):
    root = tmp_path / "set"
    for folder, name in (("train", "a"), ("test", "b"), ("test", "c")):
        for side in ("low", "high"):
            (root / folder / side).mkdir(parents=True, exist_ok=True)
            (root / folder / side / f"{name}.png").touch()
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
    notes = check_seen([("default-lolv1", "default-lolv1", None)], splits, LOL, allow=True)
    assert notes[1] == "note: default-lolv1 was trained on scenes of clean_test (100 of 101 pictures)"
