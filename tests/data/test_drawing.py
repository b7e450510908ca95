"""Unpaired pictures and exposures of one view are drawn by seed and index alone; what cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.data.drawing import Exposures, Unpaired, check_aligned, check_sizes, read_any
from tapetum.data.pairs import Pair, pairs_of_pictures
from tapetum.data.patches import PatchDataset, Source
from tapetum.errors import InputError
from tapetum.imaging import Picture, write_picture


def folder_of(place: Path, shapes: list[tuple[int, int]], brightest: int) -> list[Path]:
    """Pictures whose pixels tell their picture (blue) and their place (red: row, green: column)."""
    place.mkdir()
    for i, (height, width) in enumerate(shapes):
        rows, columns = np.mgrid[:height, :width].astype(np.uint8)
        pixels = np.stack([rows, columns, np.full_like(rows, brightest - i)], 2)
        write_picture(Picture(pixels), place / f"{i}.png")
    return [pair.low for pair in pairs_of_pictures(place)]


@pytest.fixture
def unpaired(tmp_path: Path) -> Unpaired:
    dark = folder_of(tmp_path / "dark", [(20, 40), (33, 24), (50, 50)], 20)
    normal = folder_of(tmp_path / "normal", [(70, 90), (16, 16)], 250)
    return Unpaired(dark, normal)


def patches(source: Source, seed: int = 1, **options: object) -> PatchDataset:
    return PatchDataset([source], 16, seed, 400, **options)  # type: ignore[arg-type]


def test_both_sides_are_cut_at_random_and_independently(unpaired: Unpaired) -> None:
    dataset = patches(Source(unpaired, kind="unpaired"), geometry=False)
    samples = [dataset[i] for i in range(400)]
    assert all(s["low"].shape == s["target"].shape == (3, 16, 16) for s in samples)
    places = {side: np.array([(s[side][:, 0, 0] * 255).round().numpy() for s in samples]) for side in ("low", "target")}
    low, target = places["low"], places["target"]
    assert set(low[:, 2]) == {18, 19, 20}
    assert set(target[:, 2]) == {249, 250}
    # every corner that fits comes up: (20 - 16 + 1) rows of picture 0 and nothing beyond
    assert set(low[low[:, 2] == 20, 0]) == {0, 1, 2, 3, 4}
    assert target[target[:, 2] == 250][:, :2].max(0).tolist() > [40, 60]
    # which pictures, and where: nothing of one side tells the other
    for a, b in ((low[:, 2], target[:, 2]), (low[:, 0], target[:, 0]), (low[:, 1], target[:, 1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.15
    assert len({(a, b) for a, b in zip(low[:, 2], target[:, 2], strict=True)}) == 6


def test_unpaired_samples_depend_on_seed_and_index_alone(unpaired: Unpaired) -> None:
    source = Source(unpaired, kind="unpaired", noise=1.0, gain=0.5, shrink=2)
    first, second, other = patches(source), patches(source), patches(source, seed=2)
    backwards = [second[i] for i in reversed(range(10))][::-1]
    for i in range(10):
        for key, value in first[i].items():
            assert torch.equal(value, backwards[i][key])
    assert any(not torch.equal(first[i]["target"], other[i]["target"]) for i in range(10))


def test_gain_and_noise_touch_the_dark_side_alone(unpaired: Unpaired) -> None:
    plain = patches(Source(unpaired, kind="unpaired"), geometry=False)
    varied = patches(Source(unpaired, kind="unpaired", gain=1.0), geometry=False)
    levels = {round(float(s["low"][2].mean() * 255)) for s in (varied[i] for i in range(60))}
    assert len(levels) > 10
    assert {round(float(s["target"][2].mean() * 255)) for s in (varied[i] for i in range(60))} == {249, 250}
    assert {round(float(s["low"][2].mean() * 255)) for s in (plain[i] for i in range(60))} == {18, 19, 20}


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(2, 5), min_size=1, max_size=4))
def test_two_different_exposures_of_one_view(seed: int, sizes: list[int]) -> None:
    views = [tuple(Path(f"{v}/{e}") for e in range(size)) for v, size in enumerate(sizes)]
    rng = np.random.default_rng(seed)
    pair = Exposures(views).draw(rng)
    assert pair.low != pair.target
    assert pair.low.parent == pair.target.parent


def test_views_are_the_lows_of_one_target() -> None:
    pairs = [Pair(low, Path(low), Path(target), low) for low, target in (("a", "x"), ("c", "y"), ("b", "x"))]
    assert Exposures.of_pairs(pairs).views == [(Path("a"), Path("b"), Path("x")), (Path("c"), Path("y"))]
    assert Exposures.of_pairs(pairs, lows_only=True).views == [(Path("a"), Path("b"))]
    drawn = {
        (p.low.name, p.target.name)
        for p in (Exposures.of_pairs(pairs).draw(np.random.default_rng(i)) for i in range(200))
    }
    assert drawn == {(a, b) for view in ("abx", "cy") for a in view for b in view if a != b}
    with pytest.raises(InputError, match="no view has two different exposures"):
        Exposures.of_pairs(pairs[:2], lows_only=True)


def test_exposures_stay_aligned(tmp_path: Path) -> None:
    first, second, third = (
        folder_of(tmp_path / name, [(40, 30)], level)[0] for name, level in (("a", 9), ("b", 99), ("c", 200))
    )
    dataset = patches(Source(Exposures([(first, second, third)])))
    seen = set()
    for sample in (dataset[i] for i in range(40)):
        assert torch.equal(sample["low"][:2], sample["target"][:2])
        levels = [round(float(sample[side][2].mean() * 255)) for side in ("low", "target")]
        assert levels[0] != levels[1]
        seen.add(tuple(levels))
    assert len(seen) == 6


@pytest.mark.parametrize(("dark", "normal"), [(0, 3), (1, 3), (3, 1)])
def test_too_few_pictures_are_refused(dark: int, normal: int) -> None:
    with pytest.raises(InputError, match=r"[01] (dark|normal) picture.* left to train with, unpaired training needs"):
        Unpaired([Path("d")] * dark, [Path("n")] * normal)


def test_pictures_below_the_patch_and_files_that_are_none(tmp_path: Path) -> None:
    paths = folder_of(tmp_path / "x", [(20, 40), (15, 60)], 9)
    check_sizes(paths, 15)
    with pytest.raises(InputError, match=r"1\.png: 60x15, smaller than the patch of 16x16: .*lower data\.patch"):
        check_sizes(paths, 16)
    (tmp_path / "x" / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png: not a picture that can be read"):
        check_sizes([tmp_path / "x" / "text.png"], 16)
    with pytest.raises(InputError, match=r"1\.png: 60x15, but 0\.png of the same view is 40x20: .*aligned"):
        check_aligned([paths])


@pytest.mark.parametrize("kind", ["grey", "grey+alpha", "rgba", "palette", "cmyk", "16 bit"])
def test_files_that_are_not_rgb_become_it(tmp_path: Path, kind: str) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    path = tmp_path / ("x.jpg" if kind == "cmyk" else "x.png")
    if kind == "16 bit":
        image.fromarray(rng.integers(0, 2**16, (20, 24), dtype=np.uint16)).save(path)
    else:
        mode = {"grey": "L", "grey+alpha": "LA", "rgba": "RGBA", "palette": "P", "cmyk": "CMYK"}[kind]
        image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).convert(mode).save(path)
    check_sizes([path], 16)
    picture = read_any(path)
    assert picture.shape == (20, 24, 3)
    assert picture.dtype == np.uint8


def test_arrays_are_read_as_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((10, 12, 3), 51, np.uint8))
    picture = read_any(tmp_path / "x.npy")
    assert picture.dtype == np.float32
    assert picture.mean() == pytest.approx(0.2)
    check_sizes([tmp_path / "x.npy"], 4000)
