"""MambaLLIE: what is its own. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tapetum import Enhancer
from tapetum.errors import UsageError, WeightsError
from tapetum.evaluation.protocols import pad_bottom_right
from tapetum.methods.mamballie import METHOD, MambaLLIE, MambaLLIEConfig, MambaLLIEObjective
from tapetum.methods.mamballie.checkpoint import grow
from tapetum.methods.mamballie.network import GlobalThenLocalBlock, LocallyEnhancedScan, illumination_prior
from tapetum.methods.registry import create_model, make_config
from tapetum.training.recipe import load_recipe
from tapetum.weights.loading import load_model, read_state_dict, recognise

TINY = METHOD.configs["tiny"]
MANIFESTS = Path(__file__).parents[1] / "parity" / "cases" / "mamballie"
Build = Callable[..., MambaLLIE]
Run = Callable[..., Tensor]
COUNTS = {"published": 4_389_479, "paper": 2_285_529, "narrow": 272_649, "narrow-deep": 448_081}


@pytest.fixture(scope="session")
def build(make_lively: Build) -> Build:
    """Far from the weights that one begins with."""

    def make(config: MambaLLIEConfig = TINY, seed: int = 0) -> MambaLLIE:
        return make_lively(lambda: MambaLLIE(config), seed, 0.1)

    return make


def dark(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5


# configurations and files


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_parameters_of_the_configurations(name: str, count: int) -> None:
    with torch.device("meta"):
        net = MambaLLIE(METHOD.configs[name])
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(("file", "name"), [("yaml_nf48", "published"), ("paper_nf32", "paper")])
def test_manifests_key_for_key_in_their_order(file: str, name: str, tmp_path: Path) -> None:
    manifest = json.loads((MANIFESTS / f"full_manifest_{file}.json").read_text())["manifest"]
    with torch.device("meta"):
        net = MambaLLIE(METHOD.configs[name])
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == manifest
    assert list(net.state_dict()) == list(manifest)
    # the numbers of the optimiser's states follow the parameters
    assert [key for key, _ in net.named_parameters()] == list(manifest)


@pytest.mark.parametrize("wrapper", ["params", "state_dict", "bare"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("config", [TINY, MambaLLIEConfig(nf=4, depths=(1, 0, 2, 1, 0, 1), d_state=3, mlp_ratio=3)])
def test_published_files_load_as_they_are(
    tmp_path: Path, wrapper: str, prefix: str, config: MambaLLIEConfig, build: Build, run: Run
) -> None:
    net = build(config)
    state = {prefix + key: value for key, value in net.state_dict().items()}
    file = tmp_path / "net_g_latest.pth"
    torch.save(state if wrapper == "bare" else {wrapper: state}, file)
    found, found_config = recognise(read_state_dict(file))
    assert (found, found_config) == (METHOD, config)
    low = dark(1, 3, 8, 12)
    assert torch.equal(run(load_model(file, "mamballie"), low), run(net, low))


def test_the_average_is_taken_when_asked_for(tmp_path: Path, build: Build, run: Run) -> None:
    plain, average = build(seed=0), build(seed=1)
    file = tmp_path / "net_g_1000.pth"
    torch.save({"params": plain.state_dict(), "params_ema": average.state_dict()}, file)
    low = dark(1, 3, 8, 8)
    assert torch.equal(run(load_model(file), low), run(plain, low))
    assert torch.equal(run(load_model(file, ema=True), low), run(average, low))


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path, build: Build) -> None:
    state = build(MambaLLIEConfig(nf=4, depths=(2, 1, 1, 1, 1, 1), d_state=2)).state_dict()
    for key in list(state):
        if key.startswith("VSSB_1.0."):
            del state[key]
    torch.save({"params": state}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"VSSB_1\.0\.") as caught:
        load_model(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_a_tensor_of_any_shape_may_have_a_known_name() -> None:
    with torch.device("meta"):
        state = MambaLLIE(TINY).state_dict()
    for key in state:
        for shape in ((), (8,), (0, 0), (0, 3, 3, 3), (1, 2, 3, 4, 5)):
            try:
                METHOD.recognise(state | {key: torch.zeros(shape)})
            except UsageError as error:  # nothing else may come out: the file is a stranger's
                assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nf": 0}, "nf and d_state must be at least 1, got 0"),
        ({"d_state": 0}, "nf and d_state must be at least 1"),
        ({"depths": (1, 2, 3)}, "depths must be six numbers from 0 up"),
        ({"depths": (1, 1, 1, 1, 1, -1)}, "depths must be six numbers from 0 up"),
        ({"mlp_ratio": 1.5}, r"mlp_ratio must be a whole number from 1 up, got 1\.5"),
        ({"mlp_ratio": 0.5}, "mlp_ratio must be a whole number"),
        ({"embed_dim": 32}, "embed_dim must equal nf, got 32 and 48"),
    ],
)
def test_impossible_configurations(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MambaLLIEConfig(**fields)  # type: ignore[arg-type]


def test_what_option_files_say_in_two_ways_is_one_configuration() -> None:
    assert make_config(METHOD, {"mlp_ratio": 2.0, "embed_dim": 48, "depths": [1, 2, 2, 2, 2, 1]}) == MambaLLIEConfig()


def test_initial_values() -> None:
    scan = GlobalThenLocalBlock(20, 4, 2).ss2d
    step = nn.functional.softplus(scan.dt_projs_bias)
    assert 0.00099 < step.min() < 0.01 < step.max() < 0.1001
    assert torch.equal(scan.A_logs, torch.tensor([1.0, 2, 3, 4]).log().expand(160, 4))
    assert torch.equal(scan.Ds, torch.ones(160))
    for weight, bound in ((scan.x_proj_weight, 40**-0.5), (scan.dt_projs_weight, 2**-0.5)):
        assert 0.9 * bound < weight.abs().max() <= bound


# the network


def test_the_prior() -> None:
    low = torch.tensor([0.1, 0.5, 0.3]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert torch.allclose(illumination_prior(low)[0, :, 0, 0], torch.tensor([0.1, 0.5, 0.3, 0.5, 0.3]))


def test_every_pixel_sees_every_other(build: Build, run: Run) -> None:
    net, low = build(), dark(1, 3, 16, 24)
    reference = run(net, low)
    for row, column in ((0, 0), (15, 23), (7, 3)):
        changed = low.clone()
        changed[0, 1, row, column] += 0.5
        assert (run(net, changed) != reference).any(1).float().mean() > 0.9


def test_directions(build: Build, run: Run) -> None:
    """Where rows and columns have the same weights, turning the picture turns the result; else it does not."""
    block = build().get_submodule("VSSB_3.0")
    scan = block.ss2d
    assert isinstance(scan, LocallyEnhancedScan)
    x, light = dark(1, 16, 7, 5, seed=2), dark(1, 32, 7, 5, seed=3)

    def turned_is_turned() -> bool:
        turned = run(scan, x.transpose(2, 3), light.transpose(2, 3)).transpose(2, 3)
        return torch.allclose(turned, run(scan, x, light), atol=1e-6)

    with torch.no_grad():
        for conv in (scan.conv2d, scan.conv2d_2):  # only the scan is to know directions
            centre = conv.weight[:, :, 1, 1].clone()
            conv.weight.zero_()
            conv.weight[:, :, 1, 1] = centre
        assert not turned_is_turned()
        for name in ("x_proj_weight", "dt_projs_weight", "dt_projs_bias", "A_logs", "Ds"):
            by_direction = scan.get_parameter(name).view(4, -1)
            by_direction[1], by_direction[3] = by_direction[0].clone(), by_direction[2].clone()
        assert turned_is_turned()


@pytest.mark.parametrize("size", [(4, 4), (4, 8), (12, 20)])
def test_sizes_of_the_network(size: tuple[int, int], build: Build, run: Run) -> None:
    low = dark(1, 3, *size)
    assert run(build(), low).shape == low.shape


@pytest.mark.parametrize("size", [(7, 7), (41, 61), (1, 30)])
def test_any_size_through_the_enhancer(size: tuple[int, int], build: Build, run: Run) -> None:
    """Padding is the identity at multiples of 4, and cut off again."""
    net, low = build(), dark(3, *size)
    padded = torch.from_numpy(pad_bottom_right(low[None].numpy(), 4))
    enhanced = Enhancer(net, "cpu")(low)
    assert enhanced.shape == low.shape
    expected = run(net, padded)[0, :, : size[0], : size[1]].clamp(0, 1)
    torch.testing.assert_close(enhanced, expected, atol=1e-6, rtol=0)


def test_an_empty_group_passes_its_feature_through(build: Build, run: Run) -> None:
    config = MambaLLIEConfig(nf=4, depths=(0, 0, 0, 0, 0, 0), d_state=2)
    net, low = build(config), dark(1, 3, 8, 12)
    assert run(net, low).shape == low.shape
    assert METHOD.recognise(net.state_dict()).depths == config.depths  # type: ignore[union-attr]


def test_dropout_in_training_only(build: Build, run: Run) -> None:
    net, low = build(), dark(1, 3, 8, 12)
    assert torch.equal(run(net, low), run(net, low))
    net.train()
    torch.manual_seed(0)
    first, second = run(net, low), run(net, low)
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(first, run(net, low))
    assert all(module.p == 0.1 for module in net.modules() if isinstance(module, nn.Dropout))


def test_dropout_may_be_left_out(build: Build, run: Run) -> None:
    net, low = build(MambaLLIEConfig(nf=4, depths=(1, 1, 1, 1, 1, 1), d_state=2, dropout=0)), dark(1, 3, 8, 12)
    kept = run(net, low)
    assert torch.equal(kept, run(net.train(), low))
    with pytest.raises(UsageError, match="dropout must be at least 0 and below 1, got 1"):
        MambaLLIEConfig(dropout=1)


# learning


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.25),
        ({"weight": 2.0}, 0.5),
        ({"loss": "mse"}, 0.0625),
        ({"loss": "charbonnier"}, math.sqrt(0.0625 + 1e-12)),
        ({"reduction": "sum"}, 0.25 * 3 * 16),
        ({"loss": "psnr", "weight": 0.5}, 5 * math.log10(0.0625 + 1e-8)),
        ({"loss": "psnr", "reduction": "sum"}, 10 * math.log10(0.0625 + 1e-8)),
    ],
)
def test_losses(options: dict[str, object], expected: float) -> None:
    batch = {"low": torch.zeros(1, 3, 4, 4), "target": torch.full((1, 3, 4, 4), 0.25)}
    loss = MambaLLIEObjective(**options)(nn.Identity(), batch)["loss"]  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "l2"}, r"objective\.loss: unknown 'l2', choose from l1, mse, charbonnier, psnr"),
        ({"reduction": "none"}, r"objective\.reduction: unknown 'none', choose from mean, sum"),
    ],
)
def test_unknown_losses(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MambaLLIEObjective(**options)  # type: ignore[arg-type]


def test_the_rate_of_the_published_schedule() -> None:
    recipe = load_recipe("mamballie-sdsd-indoor")
    rates = {i: recipe.schedule.rate(i, recipe.optimiser.rate, 150_000) for i in (1, 46_000, 46_001, 46_002, 150_000)}
    expected = {1: 2e-4, 46_000: 3e-4, 46_001: 3e-4, 46_002: 2e-4, 150_000: 1e-6}
    assert rates == pytest.approx(expected, rel=1e-3)
    assert recipe.schedule.rate(20_000, recipe.optimiser.rate, 150_000) > 2e-4  # it rises first
    assert recipe.schedule.rate(200_000, recipe.optimiser.rate, 150_000) == 1e-6  # and holds at the end


def test_create_model_by_name() -> None:
    net = create_model("mamballie", {"nf": 8, "depths": [1, 1, 1, 1, 1, 1], "d_state": 4})
    assert net.config == MambaLLIEConfig(nf=8, depths=(1, 1, 1, 1, 1, 1), d_state=4)
    assert not net.training


def test_all_that_learns_has_a_gradient(build: Build) -> None:
    """Processes that train together wait for every parameter that learns: of an empty group, none does."""
    network = build(MambaLLIEConfig(nf=4, depths=(0, 1, 1, 0, 1, 1), d_state=2))
    network.train()(torch.rand(1, 3, 16, 16)).sum().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert not network.conv_first_1_fea.weight.requires_grad


def test_a_grown_network_computes_the_same_and_all_of_it_learns(build: Build, run: Run) -> None:
    smaller = build(MambaLLIEConfig(nf=4, depths=(0, 0, 1, 1, 0, 1), d_state=2, dropout=0))
    grown = build(MambaLLIEConfig(nf=4, depths=(0, 1, 2, 1, 1, 1), d_state=2, dropout=0), seed=5)
    low = dark(1, 3, 16, 24)
    assert not torch.equal(run(grown, low), run(smaller, low))
    grow(grown, smaller)
    assert torch.equal(run(grown, low), run(smaller, low))
    optimiser = torch.optim.Adam([p for p in grown.parameters() if p.requires_grad], 1e-2)
    before = {name: p.detach().clone() for name, p in grown.named_parameters() if p.requires_grad}
    for _ in range(2):  # what lies before a layer of zeros has a gradient once that is zero no more
        optimiser.zero_grad()
        grown(low).square().mean().backward()
        optimiser.step()
    assert [name for name, p in grown.named_parameters() if name in before and torch.equal(p, before[name])] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nf": 8}, "only blocks can be added"),
        ({"d_state": 3}, "only blocks can be added"),
        ({"depths": (1, 1, 2, 1, 1, 1)}, "more blocks"),
    ],
)
def test_a_network_grows_by_blocks_only(changes: dict[str, Any], message: str) -> None:
    smaller = MambaLLIE(replace(TINY, **changes))
    with pytest.raises(WeightsError, match=message):
        grow(MambaLLIE(TINY), smaller)
