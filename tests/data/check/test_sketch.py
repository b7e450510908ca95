import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.data.check.matching import SAME_CROP, SAME_SCENE, Agreement, Sketches
from tapetum.data.check.retrieval import describe, neighbours
from tapetum.data.check.sketch import directions, grey, ranks


def sketched(pixels):
    return ranks(grey(pixels, 96))


@given(st.floats(0.3, 3.0), st.floats(1, 100))
def test_ranks_do_not_know_the_tone_curve(gamma, gain):
    values = np.random.default_rng(1).uniform(0.01, 1, (20, 30))
    np.testing.assert_array_equal(ranks(values), ranks(gain * values**gamma))


def test_equal_values_share_a_rank():
    np.testing.assert_allclose(ranks(np.array([[5.0, 5.0, 7.0, 1.0]], np.float32)), [[0.5, 0.5, 0.875, 0.125]])


def test_a_single_colour_and_a_ramp_have_no_directions():
    assert not directions(ranks(np.zeros((40, 60), np.float32))).any()
    ramp = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (40, 1))
    assert np.abs(directions(ramp))[5:-5, 6:-6].max() < 0.1


def test_directions_point_to_the_bright_side():
    rank = np.zeros((40, 40), np.float32)
    rank[:, 20:] = 1
    assert directions(rank)[20, 20].real > 0.9
    assert directions(rank.T)[20, 20].imag > 0.9


def test_grey_never_enlarges():
    assert grey(np.zeros((7, 9, 3), np.uint8), 96).shape == (7, 9)
    assert grey(np.zeros((300, 600, 1), np.uint16), 96).shape == (48, 96)


def test_one_scene_agrees_whatever_the_exposure_place_and_zoom(scene):
    views = [
        scene(1),
        scene(1, 0.3),
        scene(1, 1, across=20),
        scene(1, 0.5, across=15, zoom=1.25),
        scene(1, 0.03, noise=2),
    ]
    sketches = Sketches([sketched(view) for view in views])
    scores = [sketches.compare(0, other).score for other in range(1, len(views))]
    assert min(scores) >= SAME_SCENE, scores


def test_the_zoom_is_told(scene):
    sketches = Sketches([sketched(scene(1)), sketched(scene(1, 1, zoom=1.25))])
    assert sketches.compare(0, 1).zoom == pytest.approx(1 / 1.25, rel=0.01)
    assert sketches.compare(1, 0).zoom == pytest.approx(1.25, rel=0.01)


def cropped(view, cut, down=0.2, across=0.9):
    """Without a part of each side, of which most lay left of the crop and below it."""
    height, width = (round(side * (1 - cut)) for side in view.shape[:2])
    top, left = round((view.shape[0] - height) * down), round((view.shape[1] - width) * across)
    return view[top : top + height, left : left + width]


@pytest.mark.parametrize("cut", [0.03, 0.05, 0.07, 0.1, 0.15, 0.25, 0.3, 0.37])
@pytest.mark.parametrize("exposure", [1, 0.1])
def test_a_crop_of_any_size_agrees_with_the_whole(cut, exposure, scene):
    for number in range(4):
        crop = cropped(scene(number, exposure, noise=0 if exposure == 1 else 1), cut)
        sketches = Sketches([sketched(scene(number)), sketched(crop)])
        found = sketches.compare(1, 0)
        assert found.is_same_scene, found
        assert found.zoom == 1 or found.zoom == pytest.approx(1 / (1 - cut), rel=0.015)


def test_crops_of_other_scenes_do_not_agree(scene):
    wholes = [scene(number) for number in range(5)]
    crops = [cropped(scene(number), cut) for number in range(5, 9) for cut in (0.07, 0.3)]
    sketches = Sketches([sketched(view) for view in wholes + crops])
    assert max(sketches.compare(one, 5 + two).score for one in range(5) for two in range(8)) < 0.4


def test_more_is_asked_of_what_is_seen_from_nearer():
    between = (SAME_SCENE + SAME_CROP) / 2
    assert Agreement(between, 1.0).is_same_scene
    assert not Agreement(between, 1.1).is_same_scene
    assert not Agreement(between, 1 / 1.1).is_same_scene
    assert Agreement(SAME_CROP, 1.1).is_same_scene


def test_other_scenes_do_not_agree(scene):
    sketches = Sketches([sketched(scene(number)) for number in range(8)])
    assert max(sketches.compare(0, other).score for other in range(1, 8)) < 0.4


def test_pictures_without_structure_agree_with_nothing(scene):
    sketches = Sketches([sketched(np.full((160, 240, 3), 9, np.uint8))] * 2 + [sketched(scene(1))])
    assert sketches.compare(0, 1).score == 0 == sketches.compare(0, 2).score


def test_pictures_of_other_shapes_can_be_compared(scene):
    views = [scene(1), scene(1)[:, 60:180], np.full((1, 300, 3), 5, np.uint8), np.zeros((1, 1, 1), np.uint8)]
    sketches = Sketches([sketched(view) for view in views])
    for other in range(1, 4):
        assert -1 <= sketches.compare(0, other).score <= 1.0001


def test_twins_are_among_the_neighbours(scene):
    views = [scene(number) for number in range(12)] + [scene(number, 0.4, across=8) for number in range(12)]
    described = np.stack([describe(sketched(view)) for view in views])
    found = neighbours(described, [np.arange(12), np.arange(12, 24)], count=2)
    assert {(number, number + 12) for number in range(12)} <= found
    assert all(first < second for first, second in found)


def test_crops_are_among_the_neighbours(scene):
    crops = [cropped(scene(number), 0.3, number % 3 / 2, number // 3 % 3 / 2) for number in range(40)]
    described = np.stack([describe(sketched(view)) for view in [*(scene(number) for number in range(40)), *crops]])
    found = neighbours(described, [np.arange(40), np.arange(40, 80)], count=2)
    assert {(number, number + 40) for number in range(40)} <= found
