from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tapetum.data import augmentation

sizes = st.integers(1, 9)


def picture(height: int, width: int) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.float32).reshape(height, width, 3)


@given(height=sizes, width=sizes)
def test_modes_are_the_square_symmetries(height: int, width: int) -> None:
    image = picture(height, width)
    views = [augmentation.geometric(image, mode) for mode in range(8)]
    assert [v.shape[:2] for v in views] == [(height, width) if m in (0, 1, 4, 5) else (width, height) for m in range(8)]
    assert all(np.array_equal(np.sort(v, axis=None), np.sort(image, axis=None)) for v in views)
    if min(height, width) > 1:
        assert len({(v.shape, v.tobytes()) for v in views}) == 8
    # a quarter turn counter-clockwise: the right column becomes the top row
    assert np.array_equal(views[2][0], image[:, -1])
    assert np.array_equal(views[3], views[2][::-1])


@given(height=sizes, width=sizes, left_right=st.booleans(), up_down=st.booleans())
def test_flips(height: int, width: int, left_right: bool, up_down: bool) -> None:
    image = picture(height, width)
    flipped = augmentation.flips(image, left_right, up_down)
    corner = image[-1 if up_down else 0, -1 if left_right else 0]
    assert np.array_equal(flipped[0, 0], corner)
    assert np.array_equal(augmentation.flips(flipped, left_right, up_down), image)


@given(height=sizes, width=sizes, size=st.integers(1, 20))
def test_padding_mirrors_with_the_edge(height: int, width: int, size: int) -> None:
    image = picture(height, width)
    padded = augmentation.pad_to(image, size)
    assert padded.shape == (max(height, size), max(width, size), 3)
    mirror = [*range(height), *reversed(range(height))]
    expected_rows = [mirror[y % (2 * height)] for y in range(padded.shape[0])]
    assert np.array_equal(padded[:, :width], image[expected_rows])


def test_there_are_eight_modes() -> None:
    with pytest.raises(ValueError, match="0 to 7, got 8"):
        augmentation.geometric(picture(6, 8), 8)


def test_min_max() -> None:
    image = picture(3, 3) / 100 + 0.25
    scaled = augmentation.min_max(image)
    assert (scaled.min(), scaled.max()) == (0, 1)
    assert not augmentation.min_max(np.full((2, 2, 3), 0.4, np.float32)).any()


def test_mixup_mixes_all_with_the_same() -> None:
    batch = torch.arange(8.0).reshape(4, 2)
    mixed = augmentation.mixup(batch, 0.75, torch.tensor([1, 0, 3, 2]))
    assert mixed[:, 0].tolist() == [0.5, 1.5, 4.5, 5.5]


def test_mixup_is_drawn_from_its_generator_alone() -> None:
    state = torch.get_rng_state()
    draws = [augmentation.draw_mixup(6, 1.2, torch.Generator().manual_seed(seed)) for seed in range(400)]
    again = augmentation.draw_mixup(6, 1.2, torch.Generator().manual_seed(399))
    assert torch.equal(state, torch.get_rng_state())
    assert str(again) == str(draws[-1])
    drawn = [draw for draw in draws if draw is not None]
    assert 150 < len(drawn) < 250  # one half
    lams = np.array([lam for lam, _ in drawn])
    assert abs(lams.mean() - 0.5) < 0.06
    assert abs(lams.var() - 1 / (4 * (2 * 1.2 + 1))) < 0.02  # of Beta(1.2, 1.2)
    assert all(sorted(permutation.tolist()) == list(range(6)) for _, permutation in drawn)
