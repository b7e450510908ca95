"""Every data set of the field, as a small synthetic folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.data.layouts import LAYOUTS, get_layout, read_picture_file, smid_test_list
from tapetum.errors import InputError, UsageError


def touch(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".npy":
            np.save(file, np.full((4, 6, 3), len(name), np.uint8))
        else:
            Image.new("RGB", (6, 4), (10, 20, 30)).save(file)


def listed(name: str, root: Path, split: str) -> list[tuple[str, str, str]]:
    pairs = get_layout(name).pairs(root, split)  # type: ignore[arg-type]
    return [(p.name, p.low.relative_to(root).as_posix(), p.target.relative_to(root).as_posix()) for p in pairs]


@pytest.mark.parametrize(
    ("name", "split", "low", "target", "suffix"),
    [
        ("lol_v1", "train", "Train/input", "Train/target", "png"),
        ("lol_v1", "test", "Test/input", "Test/target", "png"),
        ("lol_v1", "train", "our485/low", "our485/high", "png"),
        ("lol_v1", "test", "eval15/low", "eval15/high", "png"),
        ("lol_v2_real", "train", "Real_captured/Train/Low", "Real_captured/Train/Normal", "png"),
        ("lol_v2_real", "test", "Real_captured/Test/Low", "Real_captured/Test/Normal", "png"),
        ("lol_v2_synthetic", "train", "Synthetic/Train/Low", "Synthetic/Train/Normal", "png"),
        ("lol_v2_synthetic", "test", "Synthetic/Test/Low", "Synthetic/Test/Normal", "png"),
        ("lol_v2_synthetic", "test", "Synthetic/Test/low", "Synthetic/Test/high", "png"),
        ("uieb", "train", "train/lq", "train/hq", "png"),
        ("uieb", "test", "test/lq", "test/hq", "png"),
        ("lsui", "train", "train/input", "train/gt", "jpg"),
        ("lsui", "test", "test/input", "test/GT", "jpg"),
        ("baid", "train", "BAID_FULL/train/input", "BAID_FULL/train/output", "jpg"),
        ("baid", "test", "test/input", "test/output", "jpg"),
        ("fivek", "train", "train/input", "train/target", "jpg"),
        ("fivek", "test", "test/input", "test/target", "jpg"),
        ("ntire", "train", "train/input", "train/target", "png"),
        ("ntire", "test", "mini_val/input", "mini_val/target", "png"),
        ("ntire", "test", "minival/input", "minival/target", "png"),
    ],
)
def test_paired_folders(tmp_path: Path, name: str, split: str, low: str, target: str, suffix: str) -> None:
    touch(tmp_path, *(f"{folder}/{n}.{suffix}" for folder in (low, target) for n in ("2", "10")))
    expected = [(n, f"{low}/{n}.{suffix}", f"{target}/{n}.{suffix}") for n in ("10", "2")]
    assert listed(name, tmp_path, split) == expected
    (tmp_path / low / f"2.{suffix}").unlink()
    with pytest.raises(InputError, match="no picture named 2"):
        listed(name, tmp_path, split)


def test_the_error_says_how_the_data_set_is_to_lie(tmp_path: Path) -> None:
    touch(tmp_path, "raw-890/1.png", "reference-890/1.png", "challenging-60/2.png")
    with pytest.raises(InputError) as caught:
        listed("uieb", tmp_path, "train")
    assert str(caught.value) == (
        f"{tmp_path / 'train' / 'lq'}: no such folder of pictures; uieb is {{train,test}}/{{lq,hq}} in {tmp_path}, "
        "which holds challenging-60, raw-890, reference-890"
    )
    with pytest.raises(InputError, match=r"lsui is \{train,test\}/\{input,gt\} in .*/absent, which is no folder$"):
        listed("lsui", tmp_path / "absent", "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"baid is \{train,test\}/\{input,output\} in .*/empty, which holds nothing$"):
        listed("baid", tmp_path / "empty", "train")


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_folder_is_one_line(tmp_path: Path, name: str, split: str) -> None:
    with pytest.raises(InputError, match="no such") as caught:
        listed(name, tmp_path, split)
    assert "\n" not in str(caught.value)


def test_sid(tmp_path: Path) -> None:
    touch(
        tmp_path, "short_sid2/00001/b.npy", "short_sid2/00001/a.npy", "long_sid2/00001/z.npy", "long_sid2/00001/y.npy"
    )
    touch(
        tmp_path, "short_sid2/10003/a.npy", "long_sid2/10003/l.npy", "short_sid2/20005/c.npy", "long_sid2/20005/l.npy"
    )
    assert listed("sid", tmp_path, "train") == [
        ("00001/a", "short_sid2/00001/a.npy", "long_sid2/00001/y.npy"),
        ("00001/b", "short_sid2/00001/b.npy", "long_sid2/00001/y.npy"),
        ("20005/c", "short_sid2/20005/c.npy", "long_sid2/20005/l.npy"),
    ]
    assert [name for name, _, _ in listed("sid", tmp_path, "test")] == ["10003/a"]


@pytest.mark.parametrize("list_name", ["test_list.txt", "SMID_Long_np/test_list.txt", "SMID_Long_np/text_list.txt"])
def test_smid(tmp_path: Path, list_name: str) -> None:
    touch(tmp_path, "SMID_LQ_np/0001/0001.npy", "SMID_LQ_np/0002/0001.npy", "SMID_LQ_np/0002/0002.npy")
    touch(tmp_path, "SMID_Long_np/0001/a.npy", *(f"SMID_Long_np/0002/{n}.npy" for n in ("a.ARW", "b_half", "c", "d")))
    (tmp_path / list_name).write_text("0002\n\n")
    assert listed("smid", tmp_path, "test") == [
        ("0002/0001", "SMID_LQ_np/0002/0001.npy", "SMID_Long_np/0002/c.npy"),
        ("0002/0002", "SMID_LQ_np/0002/0002.npy", "SMID_Long_np/0002/c.npy"),
    ]
    assert [name for name, _, _ in listed("smid", tmp_path, "train")] == ["0001/0001"]
    (tmp_path / "SMID_Long_np/0001/a.npy").rename(tmp_path / "SMID_Long_np/0001/half.npy")
    with pytest.raises(InputError, match="0001: holds no long exposure"):
        listed("smid", tmp_path, "train")


def test_lists_of_smid_that_disagree_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "SMID_LQ_np/0001/0001.npy", "SMID_Long_np/0001/a.npy")
    (tmp_path / "test_list.txt").write_text("0001\n", encoding="utf-8")
    (tmp_path / "SMID_Long_np" / "text_list.txt").write_text("\n0001", encoding="utf-8")
    assert [name for name, _, _ in listed("smid", tmp_path, "test")] == ["0001/0001"]
    (tmp_path / "SMID_Long_np" / "test_list.txt").write_text("0002\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"Long_np/test_list\.txt: names other test scenes than .*; keep one"):
        listed("smid", tmp_path, "test")


def test_smid_needs_its_list(tmp_path: Path) -> None:
    touch(tmp_path, "SMID_LQ_np/0001/0001.npy", "SMID_Long_np/0001/a.npy")
    with pytest.raises(InputError, match=r"test_list\.txt: no such list"):
        listed("smid", tmp_path, "test")


def test_sdsd_indoor(tmp_path: Path) -> None:
    root = "indoor_static_np"
    touch(
        tmp_path,
        *(
            f"{root}/{part}/{scene}/{n}.npy"
            for part in ("input", "GT")
            for scene in ("pair1", "pair2", "pair11")
            for n in ("0001", "0002")
        ),
    )
    assert [name for name, _, _ in listed("sdsd_indoor", tmp_path, "test")] == [
        "pair1/0001",
        "pair1/0002",
        "pair11/0001",
        "pair11/0002",
    ]
    assert listed("sdsd_indoor", tmp_path, "train")[0] == (
        "pair2/0001",
        f"{root}/input/pair2/0001.npy",
        f"{root}/GT/pair2/0001.npy",
    )
    (tmp_path / root / "GT/pair2/0002.npy").rename(tmp_path / root / "GT/pair2/0003.npy")
    with pytest.raises(InputError, match=r"GT/pair2: no 0002\.npy \(2 frames without a partner\)"):
        listed("sdsd_indoor", tmp_path, "train")


def test_sdsd_outdoor_second_parts_are_test_too(tmp_path: Path) -> None:
    scenes = ("MVI_0898", "MVI_0898_2", "MVI_0899", "MVI_0899_2", "MVI_1032_2")
    touch(tmp_path, *(f"outdoor_static_np/{part}/{scene}/1.npy" for part in ("input", "GT") for scene in scenes))
    test = [name for name, _, _ in listed("sdsd_outdoor", tmp_path, "test")]
    train = [name for name, _, _ in listed("sdsd_outdoor", tmp_path, "train")]
    assert test == ["MVI_0898/1", "MVI_0898_2/1", "MVI_1032_2/1"]
    assert train == ["MVI_0899/1", "MVI_0899_2/1"]


def test_a_split_without_scenes(tmp_path: Path) -> None:
    touch(tmp_path, "short_sid2/00001/a.npy", "long_sid2/00001/y.npy")
    with pytest.raises(InputError, match="short_sid2: holds no scene of the test split"):
        listed("sid", tmp_path, "test")


def test_reading(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.npy")
    np.testing.assert_allclose(read_picture_file(tmp_path / "a.png")[0, 0], np.array([10, 20, 30]) / 255, atol=1e-7)
    assert get_layout("lol_v1").read(tmp_path / "a.png").shape == (4, 6, 3)
    assert get_layout("sid").read(tmp_path / "b.npy").shape == (512, 960, 3)
    with pytest.raises(UsageError, match="unknown data set layout 'x': choose from lol_v1"):
        get_layout("x")


def test_lol_v2_with_the_names_of_its_first_archive(tmp_path: Path) -> None:
    low, target = (f"Real_captured/Test/{side}" for side in ("Low", "Normal"))
    touch(tmp_path, *(f"{low}/low{n}.png" for n in ("00690", "00691")))
    touch(tmp_path, *(f"{target}/normal{n}.png" for n in ("00690", "00691")))
    assert listed("lol_v2_real", tmp_path, "test") == [
        (n, f"{low}/low{n}.png", f"{target}/normal{n}.png") for n in ("00690", "00691")
    ]
    (tmp_path / low / "low00691.png").rename(tmp_path / low / "00691.png")
    with pytest.raises(InputError, match=r"Low/00691\.png: not named like lowNAME\.\*") as caught:
        listed("lol_v2_real", tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    """Archives made on a Mac have a ``._NAME`` beside every file."""
    touch(tmp_path, *(f"Test/{side}/{n}.png" for side in ("input", "target") for n in ("1", "._1")))
    assert [name for name, _, _ in listed("lol_v1", tmp_path, "test")] == ["1"]
    touch(tmp_path, *(f"{side}_sid2/00001/{n}.npy" for side in ("short", "long") for n in ("a", ".b")))
    (tmp_path / "short_sid2/.cache").mkdir()
    assert [name for name, _, _ in listed("sid", tmp_path, "train")] == ["00001/a"]


@pytest.mark.parametrize("name", ["sid", "smid", "sdsd_indoor"])
def test_scenes_are_paired_by_name(tmp_path: Path, name: str) -> None:
    """By position, one that is missing would shift all that follow."""
    low, target = {
        "sid": ("short_sid2", "long_sid2"),
        "smid": ("SMID_LQ_np", "SMID_Long_np"),
        "sdsd_indoor": ("indoor_static_np/input", "indoor_static_np/GT"),
    }[name]
    touch(tmp_path, *(f"{side}/{n}/1.npy" for side in (low, target) for n in ("00001", "00002")))
    touch(tmp_path, f"{target}/00000/1.npy")
    (tmp_path / "test_list.txt").write_text("00001\n")
    with pytest.raises(InputError, match=rf"{low}: no folder 00000 \(1 scenes without a partner\)"):
        listed(name, tmp_path, "train")


def test_frames_of_a_clip(tmp_path: Path) -> None:
    """By position where the two sides name them differently; a clip's other part is of the same split."""
    root = "indoor_static_np"
    touch(tmp_path, *(f"{root}/input/{clip}/in{n}.npy" for clip in ("pair1", "pair1_2", "pair2") for n in (1, 2)))
    touch(tmp_path, *(f"{root}/GT/{clip}/out{n}.npy" for clip in ("pair1", "pair1_2", "pair2") for n in (1, 2)))
    assert listed("sdsd_indoor", tmp_path, "test") == [
        (f"{clip}/in{n}", f"{root}/input/{clip}/in{n}.npy", f"{root}/GT/{clip}/out{n}.npy")
        for clip in ("pair1", "pair1_2")
        for n in (1, 2)
    ]
    (tmp_path / root / "GT/pair2/out2.npy").unlink()
    with pytest.raises(InputError, match=r"GT/pair2: no in1\.npy \(3 frames without a partner\)"):
        listed("sdsd_indoor", tmp_path, "train")


def test_where_the_list_of_smid_lies(tmp_path: Path) -> None:
    target = tmp_path / "SMID_Long_np"
    target.mkdir()
    with pytest.raises(InputError, match=r"SMID_Long_np/test_list\.txt: no such list .*\(nor .*test_list\.txt\)"):
        smid_test_list(f"{target}/")
    (tmp_path / "test_list.txt").write_text("0001\n")
    assert smid_test_list(f"{target}/") == smid_test_list(str(target)) == tmp_path / "test_list.txt"
    (target / "test_list.txt").write_text("0001\n")
    assert smid_test_list(f"{target}/") == target / "test_list.txt"
    assert smid_test_list(str(target)) == tmp_path / "test_list.txt"
