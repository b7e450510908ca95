"""DED-Net: what is its own. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tapetum import Enhancer
from tapetum.data.layouts import get_layout
from tapetum.data.pairs import hold_out
from tapetum.errors import InputError, UsageError, WeightsError
from tapetum.evaluation.protocols import PROTOCOLS
from tapetum.methods.dednet import METHOD, DEDNet, DEDNetConfig
from tapetum.methods.dednet.network import FeatureEnhancer, ScaleAwareAggregation
from tapetum.methods.registry import get_method, make_config
from tapetum.training.recipe import load_recipe
from tapetum.weights.loading import load_model, recognise, save_model

TINY = METHOD.configs["tiny"]
Draw = Any


def seeded(config: DEDNetConfig = TINY, seed: int = 0) -> DEDNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DEDNet(config).eval()


def state_of(name: str, config: object = None) -> dict[str, Tensor]:
    """Shapes alone, of a registered method."""
    method = get_method(name)
    with torch.device("meta"):
        return dict(method.network(make_config(method, config)).state_dict())


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "tensors"), [("lol1", 45_190_696, 156), ("lol2s", 45_190_696, 156), ("paper", 4_282_536, 172)]
)
def test_parameters_of_the_published_configurations(name: str, count: int, tensors: int) -> None:
    with torch.device("meta"):
        network = DEDNet(METHOD.configs[name])
    assert sum(p.numel() for p in network.parameters()) == count
    assert len(network.state_dict()) == tensors
    parts = [sum(p.numel() for p in part.parameters()) for part in network.body[0].children()]
    assert parts == [10_363, count - 10_363 - 90_915, 90_915]


def test_the_narrow_one_is_small() -> None:
    with torch.device("meta"):
        assert 150_000 <= sum(p.numel() for p in DEDNet(METHOD.configs["narrow"]).parameters()) <= 300_000


def written_out(module: FeatureEnhancer, low: Tensor) -> Tensor:
    """The equations of the module, one by one."""

    def feature(x: Tensor) -> Tensor:
        f = [F.relu(module.e_conv1(x))]
        for conv in (module.e_conv2, module.e_conv3, module.e_conv4):
            f.append(F.relu(conv(f[-1])))
        fifth, sixth = module.e_conv5(torch.cat([f[0], f[3]], 1)), module.e_conv6(torch.cat([f[1], f[2]], 1))
        return module.e_conv7(torch.cat([fifth.relu(), sixth.relu()], 1))

    quarter = module.quarter_conv(low)
    p, q, t = feature(low).relu(), feature(quarter).relu(), feature(module.hexa_conv(quarter))
    aggregation = module.scale_aware_aggregation
    z = [aggregation.query_conv1(p), aggregation.key_conv(q)]
    mixed = torch.empty_like(z[0])
    for head in range(8):
        rows = slice(3 * head, 3 * head + 3)
        scores = [(each[:, rows] * z[1][:, rows]).sum(1) / 3**0.25 for each in z]
        first = scores[0].exp() / (scores[0].exp() + scores[1].exp())
        mixed[:, rows] = first[:, None] * z[0][:, rows] + (1 - first[:, None]) * z[1][:, rows]
    size = low.shape[2:]
    s = aligned(mixed, *size) + p
    return low + module.fin_conv(module.ue_conv8(torch.cat([s, aligned(t, *size)], 1)).relu()).relu()


def aligned(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, the corners of both grids on each other."""
    for axis, size in ((2, height), (3, width)):
        last = x.shape[axis] - 1
        place = torch.arange(size, dtype=x.dtype) * last / (size - 1)
        below = place.floor().long().clamp(max=max(last - 1, 0))
        share = (place - below).view([-1 if i == axis else 1 for i in range(4)])
        x = x.index_select(axis, below) * (1 - share) + x.index_select(axis, (below + 1).clamp(max=last)) * share
    return x


@pytest.mark.parametrize("size", [(9, 9), (12, 12), (24, 20), (21, 30)])
def test_feature_enhancement_is_the_equations(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = FeatureEnhancer().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
        low = torch.rand(2, 3, *size, dtype=torch.float64)
        ours = module(low)
        torch.testing.assert_close(ours, written_out(module, low), atol=1e-10, rtol=1e-10)
    assert (ours - low).max() > 1e-3  # the equations are compared where they say something
    assert (ours >= low).all()


def test_aggregation_chooses_between_the_scales() -> None:
    module = ScaleAwareAggregation(24)
    nn.init.zeros_(module.query_conv1.weight)
    nn.init.constant_(module.query_conv1.bias, -50.0)
    nn.init.ones_(module.key_conv.weight)
    nn.init.zeros_(module.key_conv.bias)
    quarter = torch.full((1, 24, 3, 3), 2.0)
    with torch.no_grad():  # the quarter scale is like itself, and far from -50
        torch.testing.assert_close(module(torch.rand(1, 24, 12, 12), quarter), torch.full((1, 24, 12, 12), 2.0))


def test_the_light_is_estimated_twice_and_halved() -> None:
    network = seeded()
    stage = network.body[0]
    seen: list[Tensor] = []
    stage.estimator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    given: list[Any] = []
    stage.denoiser.register_forward_pre_hook(lambda module, inputs: given.extend(inputs[:2]))
    low = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        network(low)
        first, ahead = (stage.estimator(x) for x in list(seen))
        torch.testing.assert_close(seen[1], stage.feat_enhancer(low) + low)  # the picture twice: as published
    torch.testing.assert_close(seen[0], low)
    torch.testing.assert_close(given[0], low * (first[1] + ahead[1]) / 2 + low)
    torch.testing.assert_close(given[1], (first[0] + ahead[0]) / 2)


def test_stages_follow_each_other() -> None:
    network = seeded(DEDNetConfig(4, 2, (1, 1, 1), "separable"))
    low = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        first = DEDNet(TINY).eval()
        second = DEDNet(TINY).eval()
        first.body[0], second.body[0] = network.body[0], network.body[1]
        torch.testing.assert_close(network(low), second(first(low)))


def test_initialisation() -> None:
    network = seeded(DEDNetConfig(n_feat=16, ffn="separable"))
    linears = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.Linear)])
    assert linears.std().item() == pytest.approx(0.02, rel=0.03)
    for name, parameter in network.named_parameters():
        if name.endswith((".rescale", ".norm.weight")):
            assert (parameter == 1).all()
        elif name.endswith((".norm.bias", ".proj.bias")):
            assert (parameter == 0).all()
        else:
            assert parameter.abs().max() > 0, name
    conv = network.body[0].feat_enhancer.e_conv5.weight  # PyTorch's default
    assert conv.std().item() == pytest.approx(1 / np.sqrt(3 * conv[0].numel()), rel=0.05)


@pytest.mark.parametrize("size", [(8, 40), (40, 8), (4, 4)])
def test_too_small_is_said(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"at least 12x12 pixels, got {size[0]}x{size[1]}: enlarge or pad"):
        seeded()(torch.rand(1, 3, *size))


@pytest.mark.parametrize("size", [(9, 9), (9, 70), (1, 1), (13, 47)])
def test_the_enhancer_takes_any_size(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 80, (*size, 3), np.uint8)
    assert Enhancer(seeded(), "cpu")(picture).shape == picture.shape


@pytest.mark.parametrize("config", [TINY, DEDNetConfig(4, 1, (1, 1, 1), "dense")], ids=lambda c: c.ffn)
def test_no_pixel_sees_farther_than_declared(config: DEDNetConfig) -> None:
    """By gradients, with positive weights so that nothing cancels, at several places of the picture."""
    network = seeded(config).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.uniform_(0.01, 0.1)
    declared = network.properties.receptive_field
    width = 4 * ((2 * declared + 80) // 4)
    low = torch.rand(1, 3, 12, width, dtype=torch.float64, requires_grad=True)
    context = network.measure(low.detach()).detach()
    reach = 0
    for column in (width // 3, width // 2):
        (gradient,) = torch.autograd.grad(network(low, context)[0, :, 5, column].sum(), low)
        seen = gradient[0].abs().sum((0, 1)).nonzero()
        reach = max(reach, int((seen - column).abs().max()))
    assert 0.8 * declared < reach <= declared


# --- files ------------------------------------------------------------------------------------------------------------

VARIANTS = [
    DEDNetConfig(),
    METHOD.configs["paper"],
    METHOD.configs["narrow"],
    DEDNetConfig(12, 3, (2, 1, 3), "dense"),
    DEDNetConfig(8, 2, (1, 3, 1), "separable"),
]


@pytest.mark.parametrize("config", VARIANTS, ids=str)
def test_recognised_from_keys_and_shapes(config: DEDNetConfig) -> None:
    with torch.device("meta"):
        state = DEDNet(config).state_dict()
    method, found = recognise(state)
    assert (method.name, found) == ("dednet", config)


@pytest.mark.parametrize("ffn", ["dense", "separable"])
@pytest.mark.parametrize("wrap", ["bare", "params", "module", "state_dict"])
def test_published_files_load_as_they_are(ffn: str, wrap: str, tmp_path: Path) -> None:
    network = seeded(make_config(METHOD, {"n_feat": 4, "num_blocks": [1, 1, 2], "ffn": ffn}))
    state: dict[str, Any] = dict(network.state_dict())
    if wrap == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save(state if wrap == "bare" else {"params" if wrap == "module" else wrap: state}, tmp_path / "best.pth")
    loaded = load_model(tmp_path / "best.pth")
    assert isinstance(loaded, DEDNet)
    assert loaded.config == network.config
    low = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(low), network(low))


def test_ours_and_theirs_are_told_apart(tmp_path: Path) -> None:
    torch.save(seeded().state_dict(), tmp_path / "ded.pth")
    other = get_method("retinexformer")
    torch.save(other.network(other.configs["tiny"]).state_dict(), tmp_path / "retinex.pth")
    with pytest.raises(WeightsError, match=r"retinex\.pth: holds weights of retinexformer, not of dednet"):
        load_model(tmp_path / "retinex.pth", "dednet")
    with pytest.raises(WeightsError, match=r"ded\.pth: holds weights of dednet, not of retinexformer"):
        load_model(tmp_path / "ded.pth", "retinexformer")
    with pytest.raises(WeightsError, match=r"does not fit dednet.*of another shape"):
        load_model(tmp_path / "ded.pth", "dednet", {"n_feat": 8, "num_blocks": [1, 1, 1], "ffn": "separable"})


EXPERIMENTS = [
    ("estimator.diffusion_conv.0.weight", (4, 4, 3, 3), "a dilated estimator"),
    ("estimator.conv3x3.weight", (4, 4, 3, 3), "an estimator of several kernels"),
    ("estimator.cont.weight", (4, 12, 1, 1), "an estimator of several kernels"),
    ("denoiser.scale_aware_aggregation.key_conv.weight", (4, 1, 1, 1), "an aggregation inside the restorer"),
    ("feat_enhancer.ue_conv9.weight", (24, 32, 3, 3), "the original FeatEnHancer"),
    ("feat_enhancer.scale_aware_aggregation.query_conv2.weight", (24, 24, 3, 3), "the original FeatEnHancer"),
    ("feat_enhancer.quarter_conv.weight", (3, 3, 7, 7), "the original FeatEnHancer"),
    ("denoiser.bottleneck.blocks.0.0.feed_forward.fc1.weight", (256, 16), "experiment DED-NET_c"),
]


@pytest.mark.parametrize(("key", "shape", "says"), EXPERIMENTS)
def test_experiments_are_refused_by_name(key: str, shape: tuple[int, ...], says: str) -> None:
    state = state_of("dednet", "tiny") | {f"body.0.{key}": torch.zeros(shape)}
    with pytest.raises(WeightsError, match=says) as caught:
        recognise(state)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ffn", ["dense", "separable"])
def test_half_a_ded_net_is_refused_by_name(ffn: str) -> None:
    state = state_of("dednet", {"n_feat": 4, "ffn": ffn})
    restorer = {key: value for key, value in state.items() if ".feat_enhancer." not in key}
    with pytest.raises(WeightsError, match="a restorer of DED-Net without its image feature enhancement"):
        recognise(restorer)
    enhancer = {key: value for key, value in state.items() if ".feat_enhancer." in key}
    with pytest.raises(WeightsError, match="before another restorer"):
        recognise(state_of("retinexformer", "tiny") | enhancer)


def test_a_tensor_of_any_shape_may_have_a_known_name() -> None:
    state = state_of("dednet", "tiny")
    for key in state:
        for shape in ((), (8,), (0, 0), (1, 2, 3, 4, 5)):
            with contextlib.suppress(WeightsError):  # nothing else may come out: the file is a stranger's
                METHOD.recognise(state | {key: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n_feat": 31}, "n_feat must be a multiple of 4, got 31"),
        ({"stage": 0}, "stage must be at least 1, got 0"),
        ({"num_blocks": [1, 0, 1]}, "three numbers from 1 up"),
        ({"ffn": "sparse"}, "config of dednet: ffn: .*'dense' or 'separable', got 'sparse'"),
        ({"width": 8}, "unknown config field 'width' of dednet"),
    ],
)
def test_impossible_configurations(fields: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        make_config(METHOD, fields)
    assert "\n" not in str(caught.value)


# --- recipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "config"), [("dednet-lolv1", "lol1"), ("dednet-lolv2-synthetic", "lol2s")])
def test_recipes_train_as_published(name: str, config: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.method, recipe.config, recipe.objective) == ("dednet", config, {})
    assert (recipe.data.patch, recipe.data.batch, recipe.data.mixup) == (128, 8, 1.2)
    assert (recipe.optimiser.name, recipe.optimiser.clip_norm, recipe.optimiser.betas) == ("adam", 0.01, (0.9, 0.999))
    assert (recipe.run.steps, recipe.run.seed, recipe.run.ema) == (150_000, 100, 0)
    rates = {1: 2e-4, 23_001: 2.5e-4, 46_001: 3e-4, 46_002: 2e-4}
    assert {i: recipe.schedule.rate(i, 2e-4, 150_000) for i in rates} == pytest.approx(rates, abs=1e-9)
    late = {98_001: 1.005e-4, 150_000: 1e-6}
    assert {i: recipe.schedule.rate(i, 2e-4, 150_000) for i in late} == pytest.approx(late, abs=3e-8)


def test_the_narrow_recipe_sees_no_test_scene() -> None:
    recipe = load_recipe("dednet-lolv1-narrow")
    assert (recipe.method, recipe.config) == ("dednet", "narrow")
    (source,) = recipe.data.sources
    assert source.pictures.model_dump()["key"] == "clean_train"
    assert source.hold_out > 0


@pytest.fixture
def draw() -> Draw:
    def into(folder: Path, names: tuple[str, ...], sides: tuple[str, str], seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        for side in sides:
            (folder / side).mkdir(parents=True)
            for name in names:
                pixels = random.integers(0, 256, (36, 45, 3), np.uint8)
                Image.fromarray(pixels).save(folder / side / f"{name}.png")

    return into


@pytest.mark.parametrize(
    ("layout", "places", "sides"),
    [
        ("lol_v1", ("Train", "Test"), ("input", "target")),
        ("lol_v1", ("our485", "eval15"), ("low", "high")),
        ("lol_v2_synthetic", ("Synthetic/Train", "Synthetic/Test"), ("Low", "Normal")),
    ],
)
def test_both_ways_the_data_lies(
    layout: str, places: tuple[str, str], sides: tuple[str, str], tmp_path: Path, draw: Draw
) -> None:
    train = ("100", "101", "2", "30")
    draw(tmp_path / places[0], train, sides)
    draw(tmp_path / places[1], ("111", "146"), sides)
    pairs = get_layout(layout).pairs(tmp_path, "train")
    assert [pair.low.stem for pair in pairs] == [pair.target.stem for pair in pairs] == sorted(train)
    learnt, held = hold_out(pairs, 0.25)
    assert {p.name for p in learnt} | {p.name for p in held} == set(train)  # never the test pictures
    assert [pair.name for pair in get_layout(layout).pairs(tmp_path, "test")] == ["111", "146"]
    (tmp_path / places[0] / sides[0] / "30.png").unlink()
    with pytest.raises(InputError, match=r"no picture named 30\.\*"):
        get_layout(layout).pairs(tmp_path, "train")


# --- the published protocol -------------------------------------------------------------------------------------------


def test_the_protocol_is_the_toolbox_s() -> None:
    ours, theirs = PROTOCOLS["dednet_test_script"], PROTOCOLS["retinexformer_test_script"]
    assert (ours.metrics, ours.split_from) == (("psnr_float", "ssim_gaussian_valid_uint8"), 3000)
    assert ours.metrics == theirs.metrics


@pytest.mark.parametrize("options", [(), ("--self-ensemble",)])
def test_evaluate_scores_by_the_published_protocol(
    options: tuple[str, ...], tapetum: Any, tmp_path: Path, draw: Draw
) -> None:
    draw(tmp_path / "LOLv1" / "Test", ("22", "111"), ("input", "target"))
    network = seeded()
    weights = save_model(network, tmp_path / "w.safetensors", {})
    command = ["evaluate", "--data", tmp_path / "LOLv1", "--model", "dednet", "--weights", weights]
    table = tmp_path / "figures.csv"
    result = tapetum(*command, "--protocol", "dednet_test_script", "--csv", table, *options)
    assert result.code == 0, result.err
    assert "psnr_float, ssim_gaussian_valid_uint8" in result.out
    first = table.read_text().splitlines()[1].split(",")
    assert first[2] == "111"
    low, target = (
        np.asarray(Image.open(tmp_path / "LOLv1" / "Test" / side / "111.png"), np.float32) / 255
        for side in ("input", "target")
    )
    x = F.pad(torch.from_numpy(low).permute(2, 0, 1)[None], (0, 3, 0, 0), mode="reflect")  # 36x45 to 36x48
    with torch.no_grad():
        if options:
            total = torch.zeros_like(x)
            for turns in range(4):
                for flip in (False, True):
                    turned = torch.rot90(x.flip(2) if flip else x, turns, (2, 3))
                    back = torch.rot90(network(turned), -turns, (2, 3))
                    total += back.flip(2) if flip else back
            out = total / 8
        else:
            out = network(x)
    restored = out[0, :, :36, :45].permute(1, 2, 0).clamp(0, 1).numpy()
    expected = 10 * np.log10(1 / np.mean((restored.astype(np.float64) - target) ** 2))
    assert float(first[4]) == pytest.approx(expected, abs=2e-4)


def test_evaluate_refuses_unpaired_names(tapetum: Any, tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "Test", ("22", "111"), ("input", "target"))
    (tmp_path / "Test" / "target" / "22.png").rename(tmp_path / "Test" / "target" / "23.png")
    weights = save_model(seeded(), tmp_path / "w.safetensors", {})
    result = tapetum("evaluate", "--data", tmp_path, "--model", "dednet", "--weights", weights)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "no picture named 22.* (2 without a partner)" in result.err
