import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tapetum.data.check.clean import write_clean
from tapetum.data.check.listing import list_data_set, list_folders, list_layout
from tapetum.data.check.report import check
from tapetum.data.check.scenes import group
from tapetum.data.check.sheet import write_sheets
from tapetum.data.check.truth import Score, compare_with
from tapetum.errors import InputError, UsageError
from tapetum.evaluation.pairs import find_splits
from tapetum.imaging import read_picture


def kinds(report):
    return {kind: count for kind, count in report.counts().items() if count}


def test_a_leak_is_found_and_nothing_else(data_set):
    report = check(list_data_set(data_set))
    assert kinds(report) == {"leak": 1}
    (leak,) = report.leaks
    assert leak.test.name == "eval15/b"
    assert [member.name for member in leak.training] == ["our485/3"]
    names = [picture.member.name for picture in report.pictures]
    scene = dict(zip(names, report.scenes, strict=True))
    assert scene["our485/2"] == scene["our485/2 again"]
    assert len(set(report.scenes)) == 7


@pytest.mark.parametrize("cut", [0.03, 0.07, 0.15, 0.3])
def test_crops_of_training_pictures_are_leaks(cut, data_set):
    for name, side in ((name, side) for name in "14" for side in ("low", "high")):
        picture = Image.open(data_set / "our485" / side / f"{name}.png")
        width, height = (round(length * (1 - cut)) for length in picture.size)
        left, top = (picture.width - width, 0) if name == "1" else (0, picture.height - height)
        crop = picture.crop((left, top, left + width, top + height))
        crop.save(data_set / "eval15" / side / f"crop of {name}.png")
    report = check(list_data_set(data_set))
    leaks = {leak.test.name: [member.name for member in leak.training] for leak in report.leaks}
    assert leaks == {"eval15/b": ["our485/3"], "eval15/crop of 1": ["our485/1"], "eval15/crop of 4": ["our485/4"]}


def test_a_layout_is_the_same_data_set(data_set):
    assert [leak.test.name for leak in check(list_layout(data_set, "lol_v1")).leaks] == ["eval15/b"]


def test_the_split_that_is_written_is_clean(data_set, tmp_path):
    file = tmp_path / "clean.json"
    assert write_clean(check(list_data_set(data_set)), file) == {"clean_train": 5, "clean_test": 3}
    found = find_splits(file, ["clean_train", "clean_test"])
    assert {pair.name for pair in found["clean_train"]} == {f"our485/{n}" for n in ("1", "2", "2 again", "4", "5")}
    assert all(pair.low.is_file() for pairs in found.values() for pair in pairs)
    scenes = {name: {pair.scene for pair in pairs} for name, pairs in found.items()}
    assert not scenes["clean_train"] & scenes["clean_test"]
    assert len(scenes["clean_train"]) == 4
    shutil.copy(file, data_set / "splits.json")
    content = json.loads(file.read_text())
    (data_set / "splits.json").write_text(json.dumps(content | {"root": "."}))
    assert check(list_data_set(data_set, ["clean_train"], ["clean_test"])).is_clean


def test_a_split_is_not_overwritten(data_set, tmp_path):
    (tmp_path / "clean.json").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        write_clean(check(list_data_set(data_set)), tmp_path / "clean.json")
    assert (tmp_path / "clean.json").read_text() == "mine"


def test_folders_of_single_pictures(data_set):
    report = check(list_folders([data_set / "our485" / "high"], [data_set / "eval15" / "high"]))
    assert kinds(report) == {"leak": 1}
    assert report.leaks[0].test.name == "eval15/high/b"


def test_the_same_pixels_in_another_file(data_set):
    for side in ("low", "high"):
        picture = Image.open(data_set / "our485" / side / "1.png")
        picture.save(data_set / "eval15" / side / "copy.webp", lossless=True)
    report = check(list_data_set(data_set))
    assert kinds(report) == {"duplicate": 1, "leak": 2}
    (copy,) = [problem for problem in report.problems if problem.kind == "duplicate"]
    assert (copy.where, copy.text) == ("eval15/copy", "the same pixels as our485/1 (train)")


def test_several_dark_pictures_of_one_target_are_no_duplicates(data_set, scene):
    Image.fromarray(scene(1, 0.08, noise=1)).save(data_set / "our485/low/1 darker.png")
    shutil.copy(data_set / "our485/high/1.png", data_set / "our485/high/1 darker.png")
    report = check(list_data_set(data_set))
    assert kinds(report) == {"leak": 1}
    assert len(set(report.scenes)) == 7


def test_every_kind_of_bad_file_is_told_and_the_rest_goes_on(data_set, scene):
    train = data_set / "our485"
    (train / "low" / "1.png").write_bytes(b"")
    (train / "high" / "4.png").write_bytes((train / "high" / "4.png").read_bytes()[:300])
    Image.fromarray(scene(5)[:100]).save(train / "low" / "5.png")
    (train / "high" / "2 again.png").unlink()
    Image.fromarray(np.roll(scene(2), 9, 1)).save(train / "high" / "2.png")
    Image.fromarray(scene(40, 0.05)).save(data_set / "eval15" / "low" / "c.png")
    Image.fromarray(scene(50)).save(train / "low" / "日本 ü.png")
    report = check(list_data_set(data_set))
    found = {(problem.kind, problem.where) for problem in report.problems}
    assert found == {
        ("unpaired", "our485/2 again"),
        ("unpaired", "our485/日本 ü"),
        ("unreadable", "our485/1"),
        ("unreadable", "our485/4"),
        ("size", "our485/5"),
        ("unrelated", "eval15/c"),
        ("misaligned", "our485/2"),
        ("leak", "eval15/b"),
    }
    texts = {problem.where: problem.text for problem in report.problems}
    assert texts["our485/1"].endswith("the file is empty")
    assert texts["our485/5"] == "height x width are 100x240 and 160x240"
    assert "+9" in texts["our485/2"]
    assert all("\n" not in text for text in texts.values())


def test_huge_pictures_are_refused_by_their_header(data_set):
    import struct
    import zlib

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (data_set / "our485" / "high" / "5.png").write_bytes(huge)
    (problem,) = [p for p in check(list_data_set(data_set)).problems if p.kind == "unreadable"]
    assert problem.where == "our485/5"


def test_one_picture_alone(tmp_path, scene):
    (tmp_path / "one").mkdir()
    Image.fromarray(scene(1)).save(tmp_path / "one" / "a.png")
    assert check(list_folders([tmp_path / "one"], [])).is_clean


def test_what_is_no_data_set_is_refused(tmp_path, data_set):
    with pytest.raises(InputError, match="no our485, Train"):
        list_data_set(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        list_data_set(data_set, ["absent"])
    with pytest.raises(UsageError, match="named twice"):
        list_data_set(data_set, ["our485"], ["our485"])
    for side in ("low", "high"):
        (tmp_path / "empty" / "train" / side).mkdir(parents=True)
    with pytest.raises(InputError, match="holds no picture"):
        list_data_set(tmp_path / "empty")
    for side, name in (("low", "a"), ("high", "b")):
        shutil.copy(data_set / "eval15/high/a.png", tmp_path / "empty/train" / side / f"{name}.png")
    with pytest.raises(InputError, match="has a partner"):
        list_data_set(tmp_path / "empty")


def test_scores_against_the_truth(data_set, tmp_path):
    report = check(list_data_set(data_set))
    truth = {p.member.name: p.member.name for p in report.pictures} | {"eval15/a": "7", "our485/4": "7"}
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"scene": truth}))
    scores = compare_with(report, file)
    assert scores == {"test pictures": Score(0, 1, 1), "pairs in one scene": Score(0, 2, 1)}
    assert scores["test pictures"].precision == 0
    del truth["eval15/a"]
    file.write_text(json.dumps({"scene": truth}))
    with pytest.raises(InputError, match="scene of eval15/a"):
        compare_with(report, file)


def test_scenes_go_on_from_pair_to_pair():
    assert group(5, [(0, 3), (3, 4)]) == [1, 2, 3, 1, 1]
    assert group(0, []) == []


def test_sheets_show_the_leaks(data_set, tmp_path):
    (file,) = write_sheets(check(list_data_set(data_set)), tmp_path / "sheets")
    sheet = read_picture(file).pixels
    assert sheet.shape == (166, 492, 3)
    assert tuple(sheet[80, 0]) == (200, 40, 40)
    assert tuple(sheet[80, 246]) == (40, 110, 200)
