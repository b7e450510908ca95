"""``tapetum data check``, and ``tapetum evaluate`` of weights that have seen the pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

LOL = Path(__file__).parents[3] / "shared" / "data" / "lol_v1"


def blocks(number: int, light: float) -> Image.Image:
    random = np.random.default_rng(number)
    values = np.kron(random.uniform(0.1, 0.9, (8, 12, 3)), np.ones((15, 15, 1)))
    return Image.fromarray(np.uint8(255 * np.clip(values * light, 0, 1) ** 0.45))


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Training scenes 1 to 4; tests of scenes 2 (brighter) and 9."""
    for folder, numbers in (("our485", (1, 2, 3, 4)), ("eval15", (2, 9))):
        for side, light in (("low", 0.1), ("high", 1.0 if folder == "our485" else 0.6)):
            (tmp_path / "lol_v1" / folder / side).mkdir(parents=True)
            for number in numbers:
                blocks(number, light * (0.5 if folder == "eval15" else 1)).save(
                    tmp_path / "lol_v1" / folder / side / f"{folder[0]}{number}.png"
                )
    return tmp_path / "lol_v1"


def test_a_leak_is_told_shown_and_taken_out(data_set, tmp_path, tapetum):
    files = "--write-clean", tmp_path / "clean.json", "--pictures", tmp_path / "sheets", "--json", tmp_path / "r.json"
    result = tapetum("data", "check", data_set, *files)
    assert result.code == 1
    assert "eval15/e2: its scene is in training: our485/o2" in result.out
    assert result.out.splitlines()[-1] == "problems: leak 1"
    assert "clean_train 3, clean_test 2" in result.err
    assert (tmp_path / "sheets" / "leaks-1.png").is_file()
    report = json.loads((tmp_path / "r.json").read_text())
    assert [leak["test"] for leak in report["leaks"]] == ["eval15/e2"]
    again = tapetum("data", "check", data_set, "--write-clean", tmp_path / "clean.json")
    assert (again.code, len(again.errors)) == (2, 1)

    content = json.loads((tmp_path / "clean.json").read_text())
    (data_set / "splits.json").write_text(json.dumps(content | {"root": "."}))
    clean = tapetum("data", "check", data_set, "--train", "clean_train", "--test", "clean_test", "--json", "-")
    assert (clean.code, clean.json["clean"], clean.err) == (0, True, "")
    truth = tapetum("data", "check", data_set, "--truth", data_set / "splits.json", "--json", "-").json["truth"]
    assert truth["test pictures"] == {"right": 1, "wrong": 0, "missed": 0, "precision": 1.0, "recall": 1.0}


def test_plain_folders_with_odd_names(data_set, tmp_path, tapetum):
    for name in ("träin", "テスト"):
        (tmp_path / name).mkdir()
    blocks(1, 1).save(tmp_path / "träin" / "日本.png")
    blocks(2, 1).save(tmp_path / "テスト" / "ü.png")
    arguments = "--train", tmp_path / "träin", "--test", tmp_path / "テスト"
    assert tapetum("data", "check", *arguments).code == 0
    blocks(1, 0.4).save(tmp_path / "テスト" / "ä.png")
    result = tapetum("data", "check", *arguments, "--json", "-")
    assert (result.code, result.json["leaks"][0]["test"]) == (1, "テスト/ä")


def test_a_training_picture_without_its_border_is_a_leak(data_set, tmp_path, tapetum):
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("o1", "o4"):
        picture = Image.open(data_set / "our485" / "high" / f"{name}.png")
        cut = [round(0.03 * side) for side in picture.size]
        picture.crop((*cut, picture.width - cut[0], picture.height - cut[1])).save(tests / f"{name}.png")
    result = tapetum("data", "check", "--train", data_set / "our485", "--test", tests, "--json", "-")
    assert (result.code, [leak["test"] for leak in result.json["leaks"]]) == (1, ["tests/o1", "tests/o4"])


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([], 2, "say what to check"),
        (["--layout", "sid"], 2, "say what to check"),
        (["{set}", "--layout", "lol_v1", "--train", "our485"], 2, "--layout knows its own splits"),
        (["{set}", "--layout", "lolv9"], 2, "unknown data set layout 'lolv9'"),
        (["{set}", "--json", "{set}/absent/r.json"], 2, "there is no folder"),
        (["{set}/absent"], 1, "no such folder"),
        (["{set}/eval15"], 1, "name the folders by --train and --test"),
        (["{set}", "--train", "absent"], 1, "no such folder"),
        (["{set}", "--truth", "{set}/absent.json"], 1, "not a readable split file"),
    ],
)
def test_one_line_for_what_cannot_be_checked(arguments, code, line, data_set, tapetum):
    result = tapetum("data", "check", *(argument.format(set=data_set) for argument in arguments))
    assert result.code == code
    assert len(result.err.splitlines()) == 1
    assert line in result.errors[0]


def weights_of(path: Path, provenance: dict) -> Path:
    """A small network's file that tells this of its training."""
    pytest.importorskip("torch")
    from tapetum.methods.registry import create_model
    from tapetum.weights.loading import save_model

    return save_model(create_model("twilight"), path, provenance)


def test_weights_that_saw_the_scenes_are_refused(data_set, tmp_path, tapetum):
    from tapetum.data.places import TRAINED_ON, digests

    scenes = {f"our485/o{n}": n for n in (1, 2, 3, 4)} | {f"eval15/e{n}": n for n in (2, 9)}
    (data_set / "splits.json").write_text(json.dumps({"scene": scenes}))
    saw = weights_of(tmp_path / "saw.safetensors", {TRAINED_ON: digests((data_set / "our485" / "low").iterdir())})
    command = "evaluate", "--data", data_set, "--model", "twilight", "--weights", saw
    result = tapetum(*command)
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert "trained on scenes of eval15 (1 of 2 pictures)" in result.errors[0]
    assert "--allow-seen" in result.errors[0]
    allowed = tapetum(*command, "--allow-seen", "--json", "-")
    assert (allowed.code, allowed.json["results"][0]["pictures"]) == (0, 2)
    assert allowed.err == "note: twilight:saw was trained on scenes of eval15 (1 of 2 pictures)\n"

    others = weights_of(tmp_path / "others.safetensors", {TRAINED_ON: digests([data_set / "our485/low/o1.png"])})
    assert tapetum("evaluate", "--data", data_set, "--model", "twilight", "--weights", others, "--json", "-").err == ""
    silent = weights_of(tmp_path / "silent.safetensors", {})
    told = tapetum("evaluate", "--data", data_set, "--model", "twilight", "--weights", silent, "--json", "-")
    assert told.err == "note: silent.safetensors does not say on which pictures it was trained\n"


@pytest.mark.slow
@pytest.mark.skipif(not LOL.is_dir(), reason="needs LOL v1 in ../shared/data")
def test_the_leak_of_lol_v1_is_found(tapetum):
    report = tapetum("data", "check", LOL, "--truth", LOL / "splits.json", "--json", "-").json
    tests, pairs = report["truth"]["test pictures"], report["truth"]["pairs in one scene"]
    assert (tests["right"], tests["wrong"], tests["missed"]) == (14, 0, 0)
    assert pairs["precision"] > 0.98
    assert pairs["recall"] > 0.98
