"""What must hold for every registered method. Runs on its configuration "tiny"."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tapetum.errors import TapetumError, UsageError
from tapetum.evaluation.protocols import pad_bottom_right
from tapetum.methods.contract import Method, Properties
from tapetum.methods.registry import RAW_METHODS, get_method, list_methods, make_config
from tapetum.weights.loading import recognise

# Parameters that a picture's way through the network has no use for, by method
IDLE = {
    # the decomposition is for training only; softmax takes no notice of a constant in every key
    "lightendiffusion": r"decom\.retinex\..*|.*\.k\.bias",
    "lightendiffusion_stage1": r"retinex\..*",
    # for training only: the auxiliary decoder, what stage 2 learns from, the decomposition of targets
    "retidiff": r"G\.decom\..*|teacher\..*",
    "retidiff_stage1": r"G\.decom\..*",
    "retidiff_decomposition": r"decom_high\..*",
    # a constant in every key; singular where it is zero; a single hidden unit, which may be dead: see
    # uptflow/test_encoder.py
    "uptflow": r".*\.to_k\.bias|.*\.invconv\.weight|.*\.ChannelGate\.mlp\..*",
}
MANIFESTS = Path(__file__).parents[1] / "parity" / "cases"

Build = Callable[..., nn.Module]

every_method = pytest.mark.parametrize("method", [get_method(name) for name in list_methods()], ids=list_methods())


@pytest.fixture(scope="session")
def build(make_lively: Callable[..., nn.Module]) -> Build:
    """The tiny network."""

    def make(method: Method, seed: int = 0) -> nn.Module:
        return make_lively(lambda: method.network(method.configs["tiny"]), seed)

    return make


def picture(properties: Properties, count: int = 1, height: int = 5, width: int = 7, seed: int = 1) -> Tensor:
    """``(count, C, height m, width m)``, m the method's size multiple, but at least 8 (its minimum size if larger)."""
    step = max(8 // properties.size_multiple, 1) * properties.size_multiple
    least = -(-properties.minimum_size // step)
    channels = {"srgb": 3, "raw": 4}[properties.domain]
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, max(height, least) * step, max(width, least) * step, generator=generator) * 0.5


def run(network: nn.Module, low: Tensor, *context: Tensor) -> Tensor:
    with torch.no_grad():
        return network(low, *context)


def own_context(network: nn.Module, low: Tensor) -> list[Tensor]:
    properties = network.properties
    if properties.context == "thumbnail":
        return [nn.functional.adaptive_avg_pool2d(low, properties.thumbnail_size)]
    if properties.context == "statistics":
        with torch.no_grad():
            return [network.measure(low)]
    return []


@every_method
def test_odd_shapes_are_refused_or_do_not_matter(method: Method, build: Build) -> None:
    """Of each kind of tensor one becomes a single number, or empty: no other errors than ours come of it."""
    state = build(method).state_dict()
    kinds = {re.sub(r"\d+", "N", key): key for key in state}
    for key in kinds.values():
        for odd in (torch.tensor(1.0), torch.zeros(0)):
            found = method
            with suppress(TapetumError):
                found, _ = recognise({**state, key: odd})
            assert found.name == method.name


@every_method
def test_declares_itself(method: Method, build: Build) -> None:
    network = build(method)
    properties = network.properties
    assert network.config == method.configs["tiny"]
    assert Properties.from_json(properties.to_json()) == properties
    assert properties.minimum_size % properties.size_multiple == 0
    assert properties.receptive_field > 0
    assert properties.bytes_per_pixel > 0
    if properties.context != "picture":  # there it may have one, see imaging/surroundings.py
        assert (properties.thumbnail_size > 0) == (properties.context in ("thumbnail", "statistics"))
    assert all(isinstance(config, method.config) for config in method.configs.values())
    assert dataclasses.is_dataclass(method.config)
    assert hash(network.config) is not None  # frozen
    assert (properties.domain == "raw") == (method.name in RAW_METHODS)
    with pytest.raises(UsageError, match="unknown config field 'nonsense'"):
        make_config(method, {"nonsense": 1})


@every_method
@pytest.mark.parametrize("config", ["default", "tiny"])
def test_recognised_and_no_other_method_claims_it(method: Method, config: str) -> None:
    chosen = make_config(method, None if config == "default" else config)
    with torch.device("meta"):
        state = method.network(chosen).state_dict()
    assert method.recognise(state) == chosen
    assert method.recognise({}) is None
    for other in list_methods():
        if other != method.name:
            assert get_method(other).recognise(state) is None


@every_method
def test_published_manifest(method: Method) -> None:
    """Key for key, shape for shape, where published files have been listed."""
    found = []
    for file in MANIFESTS.rglob("full_manifest_*.json"):
        content = json.loads(file.read_text())
        shapes = {key: torch.empty(shape, device="meta") for key, shape in content["manifest"].items()}
        config = method.recognise(shapes)
        if config is None:
            continue
        with torch.device("meta"):
            network = method.network(config)
        assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in shapes.items()}
        assert sum(p.numel() for p in network.parameters()) == content["parameters"]
        assert config in method.configs.values()
        found.append(file.name)
    if not found:
        pytest.skip(f"{method.name} has no published files")


@every_method
def test_state_dict_round_trip(method: Method, build: Build) -> None:
    first, second = build(method, 0), build(method, 1)
    low = picture(first.properties)
    assert not torch.equal(run(first, low), run(second, low))
    second.load_state_dict(first.state_dict())
    assert torch.equal(run(first, low), run(second, low))


@every_method
def test_every_parameter_counts_and_learns(method: Method, build: Build) -> None:
    network = build(method)
    low = picture(network.properties, 2)
    idle_by_design = IDLE.get(method.name, "")
    counted = {n: p for n, p in network.named_parameters() if not re.fullmatch(idle_by_design, n)}
    network.train()
    network(low).square().mean().backward()
    idle = [name for name, p in counted.items() if p.grad is None or not p.grad.abs().max() > 0]
    assert not idle, f"no gradient: {idle}"
    network.eval()
    reference = run(network, low)
    dead = []
    with torch.no_grad():
        for name, parameter in counted.items():
            kept = parameter.clone()
            parameter.zero_()
            if torch.equal(run(network, low), reference):
                dead.append(name)
            parameter.copy_(kept)
    assert not dead, f"without influence: {dead}"


@every_method
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (9, 2), (13, 11), (31, 18)])
def test_odd_sizes_after_padding(method: Method, size: tuple[int, int], build: Build) -> None:
    network = build(method)
    least, multiple = network.properties.minimum_size, network.properties.size_multiple
    channels = {"srgb": 3, "raw": 4}[network.properties.domain]
    low = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0)).numpy()
    padded = torch.from_numpy(pad_bottom_right(low, max(least, multiple), max(least, multiple)))
    enhanced = run(network, padded)
    assert enhanced.shape == padded.shape
    assert enhanced.isfinite().all()


@every_method
def test_batch_is_the_same_as_singles(method: Method, build: Build) -> None:
    network = build(method)
    low = picture(network.properties, 3)
    singles = torch.cat([run(network, one[None]) for one in low])
    torch.testing.assert_close(run(network, low), singles, atol=1e-5, rtol=1e-5)


@every_method
def test_memory_format_changes_nothing(method: Method, build: Build) -> None:
    network = build(method)
    low = picture(network.properties, 2)
    expected = run(network, low)
    network = network.to(memory_format=torch.channels_last)
    channels_last = run(network, low.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, expected, atol=1e-5, rtol=1e-5)


@every_method
def test_bf16_autocast_is_near(method: Method, build: Build) -> None:
    network = build(method)
    low = picture(network.properties)
    expected = run(network, low)
    with torch.autocast("cpu", torch.bfloat16):
        enhanced = run(network, low).float()
    assert enhanced.isfinite().all()
    # bf16 keeps 8 bits: two or three such roundings of the output's own spread
    assert (enhanced - expected).abs().mean() < 0.02 * max(1.0, expected.abs().max().item())


@every_method
def test_repeatable_quiet_and_without_chance(method: Method, capfd: pytest.CaptureFixture[str], build: Build) -> None:
    network = build(method)
    low = picture(network.properties)
    kept, state = low.clone(), torch.get_rng_state()
    first, second = run(network, low), run(network, low)
    assert torch.equal(first, second)
    if not any(isinstance(module, nn.Dropout) for module in network.modules()):
        network.train()
        assert torch.equal(first, run(network, low))  # nothing that differs between training and use
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(low, kept)
    assert capfd.readouterr() == ("", "")


@every_method
def test_own_context_is_no_context(method: Method, build: Build) -> None:
    network = build(method)
    low = picture(network.properties, 2)
    context = own_context(network, low)
    if not context:
        pytest.skip(f"{method.name} needs no context")
    torch.testing.assert_close(run(network, low, *context), run(network, low), atol=1e-6, rtol=1e-5)


@every_method
def test_context_is_all_that_is_global(method: Method, build: Build) -> None:
    """With the whole picture's context, a tile's middle is what the whole picture shows there."""
    network = build(method)
    properties = network.properties
    if properties.context == "picture" or not properties.exact_tiles:
        pytest.skip(f"a tile of {method.name} is only near: see tests/test_enhancer.py")
    margin = -(-properties.receptive_field // properties.size_multiple) * properties.size_multiple
    step = max(properties.size_multiple, 8)
    size = 2 * margin + 2 * step
    low = picture(properties, height=size // step + 3, width=size // step + 5)
    context = own_context(network, low)
    whole = run(network, low, *context)
    top, left = 2 * step, 3 * step
    tile = run(network, low[:, :, top : top + size, left : left + size].contiguous(), *context)
    inner = slice(margin, size - margin)
    expected = whole[:, :, top : top + size, left : left + size][:, :, inner, inner]
    torch.testing.assert_close(tile[:, :, inner, inner], expected, atol=1e-5, rtol=1e-5)


@every_method
def test_learns(method: Method, build: Build) -> None:
    """A few steps of its own objective on one pair bring the loss down."""
    if method.objective is None:
        pytest.skip(f"{method.name} has no objective")
    network = build(method).train()
    low = picture(network.properties, 2)
    batch = {"low": low, "target": (low * 1.5 + 0.1).clamp(0, 1)}
    if network.properties.context == "thumbnail":
        batch["thumbnail"] = own_context(network, low)[0]
    if network.properties.domain == "raw":
        batch |= {"ratio": torch.tensor([100.0, 250.0]), "gain": torch.tensor([1.0, 5.0])}
    objective, optimiser = method.objective(), torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    with torch.random.fork_rng(devices=[]):  # an objective draws from torch's generator
        torch.manual_seed(0)
        for _ in range(12):
            optimiser.zero_grad()
            loss = objective(network, batch)["loss"]
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@every_method
@pytest.mark.parametrize("config", ["fresh", "tiny"])
def test_a_black_picture_has_finite_gradients(method: Method, config: str, build: Build) -> None:
    """Norms and logarithms of nothing: one such patch would cost the whole batch its step. ``fresh``: the weights that
    a training begins with."""
    if method.objective is None:
        pytest.skip(f"{method.name} has no objective")
    network = (build(method) if config == "tiny" else method.network(method.configs["tiny"])).train()
    low = picture(network.properties, 2)
    low[1] = 0
    batch = {"low": low, "target": (low * 1.5).clamp(0, 1)}
    if network.properties.context == "thumbnail":
        batch["thumbnail"] = own_context(network, low)[0]
    if network.properties.domain == "raw":
        batch |= {"ratio": torch.tensor([100.0, 250.0]), "gain": torch.tensor([1.0, 5.0])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method.objective()(network, batch)["loss"].backward()
    broken = [name for name, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert not broken


def test_importing_and_building_touch_no_cuda() -> None:
    """In a process of its own, where any CUDA initialisation raises."""
    program = """
import torch
def refuse(*a, **k): raise SystemExit("CUDA was touched")
torch.cuda._lazy_init = refuse
from tapetum.methods.registry import get_method, list_methods
for name in list_methods():
    method = get_method(name)
    method.network(method.configs["tiny"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
