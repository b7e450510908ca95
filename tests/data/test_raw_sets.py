"""SID and ELD as they lie on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapetum.data.raw_sets import (
    SID_LISTS,
    eld_pairs,
    eld_reference,
    published_lists,
    ratio_of_shots,
    sid_pairs,
)
from tapetum.errors import InputError, UsageError


@pytest.fixture
def sid(tmp_path: Path) -> Path:
    """SID's Sony folder with empty files of all lists."""
    for side in ("short", "long"):
        (tmp_path / side).mkdir()
    for rows in published_lists().values():
        for short, long in rows:
            (tmp_path / "short" / short).touch()
            (tmp_path / "long" / long).touch()
    return tmp_path


def test_the_published_lists_count_what_the_papers_say(sid: Path) -> None:
    counts = {"train": (280, 161), "val": (36, 20), "test": (93, 50), "paired": (129, 70), "indoor": (45, 15)}
    assert set(counts) == set(SID_LISTS)
    by_ratio = {"train": (85, 85, 110), "val": (11, 11, 14), "test": (29, 29, 35), "paired": (40, 40, 49)}
    for name, (pairs, scenes) in counts.items():
        found = sid_pairs(sid, name)
        assert (len(found), len({pair.target for pair in found})) == (pairs, scenes)
        assert all(pair.low.parent == sid / "short" and pair.scene == pair.target.name[:5] for pair in found)
        ratios = [round(pair.ratio or 0) for pair in found]
        assert tuple(ratios.count(r) for r in (100, 250, 300)) == by_ratio.get(name, (15, 15, 15))


def test_bursts(sid: Path) -> None:
    (sid / "short" / "00001_01_0.04s.ARW").touch()
    (sid / "short" / "00001_02_0.1s.ARW").touch()
    (sid / "short" / "00001_01_0.5s.ARW").touch()  # of no listed exposure
    listed, everything = sid_pairs(sid, "train"), sid_pairs(sid, "train", "all")
    more = {pair.low.name for pair in everything} - {pair.low.name for pair in listed}
    assert more == {"00001_01_0.04s.ARW", "00001_02_0.1s.ARW"}
    assert [p.ratio for p in everything if p.low.name == "00001_01_0.04s.ARW"] == [pytest.approx(250)]


def test_a_list_file(sid: Path) -> None:
    first = "./Sony/short/00001_00_0.04s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8"
    (sid / "mine.txt").write_text(f"{first}\n\n00002_00_0.1s.ARW 00002_00_10s.ARW 80\n")
    pairs = sid_pairs(sid, "mine.txt")
    assert [(p.low.name, p.target.name, p.ratio) for p in pairs] == [
        ("00001_00_0.04s.ARW", "00001_00_10s.ARW", pytest.approx(250)),
        ("00002_00_0.1s.ARW", "00002_00_10s.ARW", 80.0),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("00001_00_0.04s.ARW", "line 1: needs SHORT LONG"),
        ("a.ARW b.ARW", "'a.ARW' is not named like SID's files"),
        ("00001_00_0.04s.ARW 00001_00_10s.ARW 0", r"ratio 0 is below 1"),
        ("00001_00_0.04s.ARW 00001_00_20s.ARW", r"long: no 00001_00_20s.ARW, .* mine.txt names \(1 files missing\)"),
        ("", "lists no pair"),
    ],
)
def test_bad_list_files(sid: Path, line: str, says: str) -> None:
    (sid / "mine.txt").write_text(line)
    with pytest.raises(InputError, match=says):
        sid_pairs(sid, "mine.txt")


def test_what_is_missing_is_said(sid: Path) -> None:
    (sid / "short" / "00001_00_0.04s.ARW").unlink()
    with pytest.raises(
        InputError, match=r"short: no 00001_00_0\.04s\.ARW, which the list train names \(1 files missing"
    ):
        sid_pairs(sid, "train")
    with pytest.raises(InputError, match=r"none\.txt: no list that can be read: no such file"):
        sid_pairs(sid, "none.txt")
    with pytest.raises(UsageError, match="unknown list 'nonsense' of SID: choose from train, val"):
        sid_pairs(sid, "nonsense")
    with pytest.raises(InputError, match=r"gone.*short: no such folder: SID's Sony part"):
        sid_pairs(sid / "gone")


@pytest.fixture
def eld(tmp_path: Path) -> Path:
    for camera, suffix in (("SonyA7S2", ".ARW"), ("NikonD850", ".nef")):
        for scene in range(1, 11):
            folder = tmp_path / camera / f"scene-{scene}"
            folder.mkdir(parents=True)
            for number in range(1, 17):
                (folder / f"IMG_{number:04d}{suffix}").touch()
    return tmp_path


def test_eld(eld: Path) -> None:
    pairs = eld_pairs(eld, ["SonyA7S2", "NikonD850"])
    assert len(pairs) == 2 * 10 * 6
    assert {pair.camera for pair in pairs} == {"SonyA7S2", "NikonD850"}
    first = [(int(p.low.stem[4:]), int(p.target.stem[4:])) for p in pairs[:6]]
    assert first == [(4, 6), (5, 6), (9, 11), (10, 11), (14, 16), (15, 16)]
    assert all(pair.ratio is None for pair in pairs)
    assert [int(p.low.stem[4:]) for p in eld_pairs(eld, ["SonyA7S2"], [100], scenes=[3])] == [4, 9, 14]
    assert [eld_reference(n) for n in (2, 3, 4, 13, 14)] == [1, 1, 6, 11, 16]


def test_eld_that_is_not_whole(eld: Path) -> None:
    (eld / "SonyA7S2" / "scene-2" / "IMG_0006.ARW").unlink()
    with pytest.raises(InputError, match=r"scene-2: no IMG_0006 of a camera's RAW format"):
        eld_pairs(eld, ["SonyA7S2"])
    with pytest.raises(InputError, match=r"CanonEOS70D: no such folder of a camera \(there are: NikonD850, SonyA7S2"):
        eld_pairs(eld, ["CanonEOS70D"])
    with pytest.raises(InputError, match=r"scene-11: no such folder of a scene"):
        eld_pairs(eld, ["NikonD850"], scenes=[11])
    with pytest.raises(UsageError, match="ELD has no ratio 300: choose from 1, 10, 100, 200"):
        eld_pairs(eld, ["NikonD850"], [300])


def test_ratios_of_shots() -> None:
    where = Path("x.ARW")
    assert ratio_of_shots((800, 0.1), (800, 10.0), where) == 100.0
    assert ratio_of_shots((3200, 1 / 30), (800, 26.7), where) == pytest.approx(200.25)
    for shot in ((None, 0.1), (800, None), (800, 0)):
        with pytest.raises(InputError, match=r"x\.ARW: its EXIF data"):
            ratio_of_shots(shot, (800, 1.0), where)
