import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapetum.data.check.matching import SAME_SCENE, Sketches
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
    assert sketches.compare(0, 1).zoom == 0.8
    assert sketches.compare(1, 0).zoom == 1.25


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
