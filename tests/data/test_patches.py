"""Patches are a pure function of seed and index, and low and target stay aligned."""

import pickle
from itertools import permutations

import numpy as np
import pytest
import torch

from tapetum.data.pairs import Pair, pairs_of_pictures
from tapetum.data.patches import IndexSampler, PatchDataset, Phase, ProgressiveSampler, Source
from tapetum.data.pictures import PictureStore, ResizedReader, load_rgb
from tapetum.data.resize import longest, square
from tapetum.imaging import Picture, write_picture


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
    pairs = []
    for name, shape in (("a", (60, 80)), ("b", (40, 33)), ("small", (12, 50))):
        target = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        low, high = tmp_path / "low" / f"{name}.png", tmp_path / "high" / f"{name}.png"
        write_picture(Picture(target), high)
        write_picture(Picture((target // 4).astype(np.uint8)), low)
        pairs.append(Pair(name, low, high, name))
    return pairs


def make(pairs, **options):
    source = {k: options.pop(k) for k in ("kind", "noise", "shrink", "stops", "gain", "low_key") if k in options}
    return PatchDataset([Source(pairs, **source)], patch=16, seed=3, length=50, thumbnail=64, **options)


def test_low_and_target_stay_aligned(pictures):
    for sample in (make(pictures, crop=0.5)[i] for i in range(30)):
        assert sample["low"].shape == sample["target"].shape == (3, 16, 16)
        assert sample["thumbnail"].shape == (3, 64, 64)
        low, target = (sample[k] * 255 for k in ("low", "target"))
        assert torch.equal(low.round(), torch.div(target.round(), 4, rounding_mode="floor"))


def test_samples_depend_on_seed_and_index_alone(pictures):
    first, second = make(pictures, noise=1.0), make(pictures, noise=1.0)
    backwards = [second[i] for i in reversed(range(10))][::-1]
    for i in range(10):
        for key, value in first[i].items():
            assert torch.equal(value, backwards[i][key])
    assert not torch.equal(first[0]["low"], first[1]["low"])


def test_global_random_state_is_left_alone(pictures):
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    make(pictures, noise=1.0, kind="darken")[4]
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_identity_wants_its_input_back(pictures):
    sample = make(pictures, kind="identity")[0]
    assert torch.equal(sample["low"], sample["target"])


def test_low_key_pictures_are_darker_and_want_themselves_back(pictures):
    plain, low_key = make(pictures, kind="identity"), make(pictures, kind="identity", low_key=1.0)
    darker = []
    for i in range(20):
        sample = low_key[i]
        assert torch.equal(sample["low"], sample["target"])
        # the same patch, as both draw alike up to here
        assert (sample["low"] <= plain[i]["low"] + 1e-6).all()
        darker.append(float((plain[i]["low"] - sample["low"]).mean()))
    assert max(darker) > 0.1


def test_gain_varies_the_low_alone(pictures):
    plain, varied = make(pictures, geometry=False), make(pictures, gain=1.0, geometry=False)
    ratios = {round((s["low"].mean() / s["target"].mean()).item(), 2) for s in (varied[i] for i in range(20))}
    assert len(ratios) > 10
    assert {round((s["low"].mean() / s["target"].mean()).item(), 1) for s in (plain[i] for i in range(20))} <= {
        0.2,
        0.3,
    }


def test_exchanged_channels_agree_in_the_whole_sample(pictures):
    plain, exchanged = make(pictures), make(pictures, colours=1.0)
    orders = set()
    for a, b in ((plain[i], exchanged[i]) for i in range(20)):
        fitting = [o for o in permutations(range(3)) if torch.equal(a["low"][list(o)], b["low"])]
        # the place of the patch is drawn before the exchange: the same pixels, in another order
        assert len(fitting) == 1
        assert all(torch.equal(a[key][list(fitting[0])], b[key]) for key in a)
        orders.add(fitting[0])
    assert len(orders) > 3


def test_darkened_pictures_are_darker_and_their_thumbnail_too(pictures):
    dataset = make(pictures, kind="darken", noise=0.5, stops=(3.0, 4.0))
    for sample in (dataset[i] for i in range(10)):
        assert sample["low"].mean() < 0.6 * sample["target"].mean()
        assert abs(sample["thumbnail"].mean() - sample["low"].mean()) < 0.12
        assert 0 <= sample["low"].min() <= sample["low"].max() <= 1


def test_backlit_pictures_have_shadows_and_keep_their_target(pictures):
    dataset, plain = (make(pictures, kind=kind, stops=(3.0, 4.0)) for kind in ("backlight", "identity"))
    darker = []
    for index in range(12):
        low, target = (dataset[index][name] for name in ("low", "target"))
        assert torch.equal(dataset[index]["low"], low)
        darker.append(float(low.mean() / target.mean()))
    assert min(darker) < 0.5
    assert np.mean(darker) < 0.85
    assert dataset[0]["thumbnail"].shape == plain[0]["thumbnail"].shape


def test_thumbnail_is_the_area_mean_of_the_window(pictures):
    source = Source(pictures[:1])
    sample = PatchDataset([source], patch=16, seed=0, length=1, thumbnail=64, geometry=False)[0]
    from tapetum.data.pictures import load_rgb

    low = torch.from_numpy(load_rgb(pictures[0].low)).permute(2, 0, 1)[None].float() / 255
    expected = torch.nn.functional.adaptive_avg_pool2d(low, 64)[0]
    torch.testing.assert_close(sample["thumbnail"], expected, atol=1e-6, rtol=0)


def test_low_and_target_are_shrunk_in_the_same_light(tmp_path):
    """Of equal pictures, an exposure that changes nothing leaves equal ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_picture(Picture(pixels), tmp_path / "a.png")
    dataset = make(pairs_of_pictures(tmp_path), kind="pairs", shrink=4, gain=1e-9)
    for i in range(12):
        assert torch.equal(dataset[i]["low"], dataset[i]["target"])


def test_shrinking_averages_blocks(tmp_path):
    write_picture(Picture(np.full((64, 64, 3), 90, np.uint8)), tmp_path / "flat.png")
    dataset = make(pairs_of_pictures(tmp_path), kind="identity", shrink=2)
    for i in range(8):
        assert torch.all((dataset[i]["low"] * 255).round() == 90)


def test_pictures_shrink_as_far_as_leaves_room_for_a_patch(tmp_path):
    """64 pixels, patches of 24: halves are drawn, though quarters would leave no room."""
    rows = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None], 64, 1).repeat(3, 2)
    write_picture(Picture(rows), tmp_path / "rows.png")
    source = Source(pairs_of_pictures(tmp_path), kind="identity", shrink=4)
    dataset = PatchDataset([source], patch=24, seed=1, length=40, geometry=False)
    samples = [dataset[i] for i in range(40)]
    steps = {round(float(s["low"][0, 1, 0] - s["low"][0, 0, 0]) * 255) for s in samples}
    assert steps == {1, 2}


def test_whole_pictures_and_flips_only(pictures):
    source = Source(pictures[:1], turns=False)
    samples = [PatchDataset([source], patch=None, seed=1, length=40)[i] for i in range(40)]
    assert {tuple(s["low"].shape) for s in samples} == {(3, 60, 80)}
    assert len({s["low"].numpy().tobytes() for s in samples}) == 4
    assert "thumbnail" not in samples[0]


def test_sliding_windows(tmp_path):
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    write_picture(Picture(np.stack([rows, columns, rows], 2)), tmp_path / "places.png")
    source = Source(pairs_of_pictures(tmp_path), kind="identity", stride=8)
    dataset = PatchDataset([source], patch=13, seed=1, length=400, geometry=False)
    corners = {
        tuple((sample["low"][:2, 0, 0] * 255).round().int().tolist()) for sample in map(dataset.__getitem__, range(400))
    }
    # floor((40 - 13) / 8) + 1 by floor((60 - 13) / 8) + 1, as the published data set counts
    assert corners == {(8 * row, 8 * column) for row in range(4) for column in range(6)}


def test_a_full_store_reads_again(pictures):
    reads = []

    def read(path):
        reads.append(path)
        return np.zeros((10, 10, 3), np.uint8)

    store = PictureStore(limit=700)
    for path in (pictures[0].low, pictures[1].low, pictures[2].low) * 2:
        store.get(path, read)
    assert len(reads) == 4  # two fit (600 bytes); the third is read twice


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("start", [0, 7])
def test_sampler_goes_on_from_its_position(ranks, start):
    samplers = [IndexSampler(20, lambda: start, rank, ranks) for rank in range(ranks)]
    drawn = [list(s) for s in samplers]
    assert sorted(i for indices in drawn for i in indices) == list(range(start, 20))
    assert [len(s) for s in samplers] == [len(range(r, 20, ranks)) for r in range(ranks)]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("start", [0, 3, 5])
def test_progressive_batches(ranks, start):
    phases = [Phase(0, 24, 4), Phase(3, 32, 2), Phase(5, 40, 1)]
    samplers = [ProgressiveSampler(phases, 7, lambda: start, rank, ranks) for rank in range(ranks)]
    drawn = [list(sampler) for sampler in samplers]
    sizes = [(24, 4)] * 3 + [(32, 2)] * 2 + [(40, 1)] * 2
    for batches in drawn:
        assert [({patch for _, patch in batch}, len(batch)) for batch in batches] == [
            ({patch}, count) for patch, count in sizes[start:]
        ]
    # every sample once over all ranks, without a gap, and those of a run that is not resumed are the same
    indices = sorted(index for batches in drawn for batch in batches for index, _ in batch)
    total = ranks * sum(count for _, count in sizes)
    assert indices == list(range(total - len(indices), total))
    assert [len(sampler) for sampler in samplers] == [7] * ranks


def test_a_sample_has_the_patch_of_its_index(pictures):
    dataset = make(pictures)
    assert dataset[(5, 24)]["low"].shape == (3, 24, 24)
    assert all(torch.equal(dataset[(5, 16)][name], dataset[5][name]) for name in ("low", "target"))


def test_one_file_read_in_two_ways(pictures):
    store = PictureStore(10**6)
    readers = load_rgb, ResizedReader(load_rgb, square(16)), ResizedReader(load_rgb, longest(20))
    plain, fixed, limited = (store.get(pictures[0].low, read) for read in readers)
    assert (plain.dtype, fixed.dtype) == (np.uint8, np.float32)
    assert fixed.shape == (16, 16, 3)
    assert max(limited.shape) == 20
    assert abs(fixed.mean() - plain.mean() / 255) < 0.02
    assert pickle.loads(pickle.dumps(readers[2])) is not None  # workers that are not forked get it by pickle
