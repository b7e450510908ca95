"""Reti-Diff: what is its own. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tapetum import Enhancer
from tapetum.errors import InputError, UsageError, WeightsError
from tapetum.imaging import Picture, read_picture, write_picture
from tapetum.methods.blocks.attention import AttentionMatrices
from tapetum.methods.registry import create_model, make_config
from tapetum.methods.retidiff import (
    DECOMPOSITION,
    METHOD,
    STAGE1,
    Decomposer,
    Decomposition,
    DecompositionConfig,
    DecompositionObjective,
    Priors,
    RetiDiff,
    RetiDiffConfig,
    Stage1,
    Stage1Objective,
    Stage2Objective,
    complete,
    layers,
)
from tapetum.methods.retidiff.checkpoint import begin, begin_stage1, tie
from tapetum.methods.retidiff.diffusion import schedule, visited
from tapetum.methods.retidiff.layers import Block, CrossAttention, FeedForward, NormType, SelfAttention
from tapetum.weights.loading import import_published, load_model, save_model

TINY = METHOD.configs["tiny"]
# as published files are, but small
SMALL = dataclasses.replace(TINY, decomposition=False, teacher=False)
CASES = Path(__file__).parents[1] / "parity" / "cases" / "retidiff"


def seeded(make: Callable[..., nn.Module], config: Any, seed: int = 0) -> Any:
    """A network whose weights are shaken so that no branch rests at its neutral start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make(config)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return network.eval()


def picture(count: int = 1, height: int = 16, width: int = 24, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.5


def normal(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(network: nn.Module, *inputs: Tensor, **options: Any) -> Tensor:
    with torch.no_grad():
        return network(*inputs, **options)


# --- layers: what is folded into one matrix gives what the formulas say -----------------------------------------------


def literal_norm(norm: layers.ChannelNorm, x: Tensor) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    weight = norm.body.weight[:, None, None]
    if norm.body.bias is None:
        return x / (variance + 1e-5).sqrt() * weight
    return (x - mean) / (variance + 1e-5).sqrt() * weight + norm.body.bias[:, None, None]


def modulated(kernel: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    return x * kernel(z)[:, :, None, None] + x


def literal_attention(layer: Any, x: Tensor, z: Tensor) -> Tensor:
    if isinstance(layer, CrossAttention):
        (x_r, x_l), (z_r, z_l) = x.split(layer.sizes, 1), z.split(layer.prior_sizes, 1)
        query = layer.q_dwconv(layer.q_R(modulated(layer.kernel_R, x_r, z_r)))
        key, value = layer.kv_dwconv(layer.kv_I(modulated(layer.kernel_I, x_l, z_l))).chunk(2, 1)
    else:
        query, key, value = layer.qkv_dwconv(layer.qkv(modulated(layer.kernel, x, z))).chunk(3, 1)
    query, key, value = (part.flatten(2).unflatten(1, (layer.heads, -1)) for part in (query, key, value))
    weights = (F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1) * layer.temperature).softmax(-1)
    return layer.project_out((weights @ value).flatten(1, 2).unflatten(2, x.shape[2:]))


def literal_feed_forward(layer: FeedForward, x: Tensor, z: Tensor) -> Tensor:
    gate, value = layer.dwconv(layer.project_in(modulated(layer.kernel, x, z))).chunk(2, 1)
    return layer.project_out(F.gelu(gate) * value)


@pytest.mark.parametrize("kind", [CrossAttention, SelfAttention])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("norm", ["WithBias", "BiasFree"])
def test_block_is_the_published_formula(kind: Any, bias: bool, norm: NormType) -> None:
    block = seeded(lambda _: Block(kind, 8, 2, 2.66, bias, norm, 32), None).double()
    x, z = normal(2, 8, 21, 9).double() * 3 + 1, normal(2, 32).double()
    with torch.no_grad():
        attended = x + literal_attention(block.attn, literal_norm(block.norm1, x), z)
        wanted = attended + literal_feed_forward(block.ffn, literal_norm(block.norm2, attended), z)
        matrices = AttentionMatrices()
        found = block(x, z, matrices)
        given = block(x, z, AttentionMatrices(matrices.flat()))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)  # attention is summed up in single precision
    torch.testing.assert_close(given, found, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("height", [8, 9, 23, 40])
def test_rows_by_rows_is_the_whole(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block = seeded(lambda _: Block(CrossAttention, 8, 2, 2.66, False, "WithBias", 32), None)
    x, z = normal(2, 8, height, 11).contiguous(memory_format=torch.channels_last), normal(2, 32)
    with torch.no_grad():
        whole = block(x, z, AttentionMatrices())
        monkeypatch.setattr(layers, "_BAND", 1)
        banded = block(x, z, AttentionMatrices())
    trained = block(x, z, AttentionMatrices())
    torch.testing.assert_close(banded, whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(trained.detach(), whole, atol=1e-6, rtol=1e-5)


def test_attention_does_not_overflow_in_float16() -> None:
    """Sums over all pixels do not fit into it."""
    attention = seeded(lambda _: SelfAttention(8, 2, False, 32), None)
    x, z = normal(1, 8, 64, 64) * 60, normal(1, 32)
    with torch.no_grad():
        query, key, _ = attention.qkv.weight.chunk(3)
        key.copy_(query)
        query, key, _ = attention.qkv_dwconv.weight.chunk(3)
        key.copy_(query)
        wanted = attention(x, z)
        with torch.autocast("cpu", torch.float16):
            found = attention(x, z).float()
    torch.testing.assert_close(found, wanted, atol=0.02 * wanted.abs().max().item(), rtol=0)


def test_which_half_of_the_prior_reaches_what() -> None:
    """R changes queries alone, L keys and values alone; both reach the feed-forward layer."""
    block = seeded(lambda _: Block(CrossAttention, 16, 2, 2.66, False, "WithBias", 32), None)
    pixels = normal(1, 6, 7, 16)
    z = normal(1, 32)
    of_r, of_l = z.clone(), z.clone()
    of_r[:, :24] += 1
    of_l[:, 24:] += 1

    def parts(prior: Tensor) -> tuple[Tensor, ...]:
        both, value = block.attn.layers(prior, block.norm1)
        return *both(pixels).chunk(2, dim=-1), value(pixels)

    with torch.no_grad():
        for changed, moves in ((of_r, (True, False, False)), (of_l, (False, True, True))):
            assert tuple(not torch.equal(a, b) for a, b in zip(parts(z), parts(changed), strict=True)) == moves
            assert not torch.equal(block.ffn.layer(z, None)(pixels), block.ffn.layer(changed, None)(pixels))


# --- the process ------------------------------------------------------------------------------------------------------


def test_published_schedule() -> None:
    buffers = schedule(0.1, 0.99, 4)
    assert len(buffers) == 12
    anchors = {"betas": [0.1, 0.2942856, 0.5909523, 0.99], "posterior_mean_coef1": [1, 0.7651869, 0.6362697, 0.5059268]}
    for name, values in anchors.items():
        assert buffers[name].tolist() == pytest.approx(values, rel=1e-6)
    assert schedule(0.1, 0.99, 1)["betas"].tolist() == pytest.approx([0.1])


@given(st.integers(1, 30), st.data())
def test_visited_steps(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    times = visited(timesteps, steps)
    assert len(set(times)) == steps
    assert times == sorted(times, reverse=True)
    assert times[0] == timesteps - 1
    assert steps == 1 or times[-1] == 0
    assert visited(timesteps, timesteps) == list(reversed(range(timesteps)))
    for bad in (0, timesteps + 1):
        with pytest.raises(UsageError, match=f"steps must be from 1 to {timesteps}, got {bad}"):
            visited(timesteps, bad)


def test_every_number_of_steps_ends_in_a_prediction() -> None:
    """The last state is what the network said last; all T steps are the published chain."""
    network = seeded(RetiDiff, TINY)
    process, start = network.img_diffusion, normal(2, TINY.prior)
    with torch.no_grad():
        condition = process.condition(picture(2))
        for steps in (1, 2, 3, 4):
            states = process.chain(condition, start, steps)
            before = states[-2] if steps > 1 else start
            torch.testing.assert_close(states[-1], process.model(before, 0 if steps > 1 else 3, condition))
            assert len(states) == steps
        # by the general formula of the posterior, step by step
        x = start
        for t in (3, 2, 1, 0):
            a, before = process.alphas_cumprod[t], process.alphas_cumprod_prev[t]
            predicted = process.model(x, t, condition)
            first, second = (1 - a / before) * before.sqrt() / (1 - a), (1 - before) * (a / before).sqrt() / (1 - a)
            x = first * predicted + second * x
        torch.testing.assert_close(process.chain(condition, start)[-1], x, atol=1e-5, rtol=1e-4)


def test_training_and_use_differ_in_where_the_chain_begins() -> None:
    network, low = seeded(RetiDiff, TINY), picture(2)
    clean, noise = normal(2, TINY.prior, seed=5), normal(2, TINY.prior, seed=6)
    process = network.img_diffusion
    with torch.no_grad():
        start = process.sqrt_alphas_cumprod[-1] * clean + process.sqrt_one_minus_alphas_cumprod[-1] * noise
        assert torch.equal(process.unrolled(low, clean, noise)[-1], process.sample(low, start))


# --- the network ------------------------------------------------------------------------------------------------------


def test_noise_is_the_callers() -> None:
    network, low = seeded(RetiDiff, TINY), picture(3)
    noise = normal(3, network.noise_channels())
    first = run(network, low, noise=noise)
    assert torch.equal(first, run(network, low, noise=noise))
    assert not torch.equal(first, run(network, low, noise=noise + 1))
    singles = torch.cat([run(network, low[i : i + 1], noise=noise[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(first, singles, atol=1e-5, rtol=1e-5)
    # the first half is where the Retinex chain begins, the second the RGB chain
    with torch.no_grad():
        maps = network.maps(low)
        priors = network.sampled(low, maps, noise)
        half = TINY.prior
        other = network.sampled(low, maps, torch.cat([noise[:, :half], noise[:, half:] + 1], dim=1))
    assert torch.equal(priors.rex, other.rex)
    assert not torch.equal(priors.rgb, other.rgb)
    with pytest.raises(UsageError, match=r"noise must have the shape \(3, 64\), got \(3, 32\)"):
        network(low, noise=noise[:, :32])


def test_steps_change_the_result_and_are_checked() -> None:
    network, low = seeded(RetiDiff, TINY), picture()
    assert torch.equal(run(network, low), run(network, low, steps=4))
    assert not torch.equal(run(network, low), run(network, low, steps=1))
    with pytest.raises(UsageError, match="steps must be from 1 to 4, got 5"):
        network(low, steps=5)


def test_with_a_context_nothing_global_is_computed() -> None:
    network, low = seeded(RetiDiff, TINY), picture(1, 24, 32)
    with torch.no_grad():
        context = network.measure(low, noise=normal(1, 64))

    def refuse(*args: object) -> None:
        raise AssertionError("was run")

    for part in (network.img_condition, network.rex_condition, network.img_denoise, network.decom_low):
        part.register_forward_hook(refuse)
    torch.testing.assert_close(run(network, low, context), _fresh_run(low), atol=1e-6, rtol=1e-5)


def _fresh_run(low: Tensor) -> Tensor:
    return run(seeded(RetiDiff, TINY), low, noise=normal(1, 64))


@pytest.mark.parametrize("size", [(16, 20), (7, 8), (0, 8)])
def test_other_sizes_are_refused(size: tuple[int, int]) -> None:
    for network in (seeded(RetiDiff, TINY), seeded(Stage1, TINY.stage1)):
        with pytest.raises(InputError, match=rf"multiples of 8, got {size[0]}x{size[1]}: pad the picture"):
            network(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("size", [(37, 45), (51, 26), (3, 2), (1, 1)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 99, (*size, 3), dtype=np.uint8)
    enhancer = Enhancer(seeded(RetiDiff, TINY), seed=1, steps=2)
    enhanced = enhancer(image)
    assert enhanced.shape == image.shape
    assert np.array_equal(enhanced, enhancer(image))


def test_the_enhancer_adds_nothing_where_sides_fit() -> None:
    network, low = seeded(RetiDiff, TINY), picture(1, 40, 48)
    image = low[0].permute(1, 2, 0).numpy()
    found = Enhancer(network, seed=0)(image)
    wanted = run(network, low).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_tiles_share_the_priors() -> None:
    """They are made once, of the whole picture, and every tile gets the same."""
    network = seeded(RetiDiff, TINY)
    made: list[Tensor] = []
    used: list[tuple[Tensor, ...]] = []
    network.rex_denoise.register_forward_hook(lambda *call: made.append(call[-1]))
    network.G.register_forward_pre_hook(lambda _, inputs: used.append(inputs[1:3]))
    image = np.random.default_rng(0).random((200, 320, 3), np.float32)
    Enhancer(network, tile=128)(image)
    assert len(made) == 4  # one chain
    assert len(used) > 4  # the whole, and tiles
    assert all(torch.equal(a, b) for tile in used for a, b in zip(tile, used[0], strict=True))


def test_tasks() -> None:
    for_backlight = seeded(RetiDiff, dataclasses.replace(TINY, task="backlit"))
    image = np.zeros((8, 8, 3), np.uint8)
    assert Enhancer(for_backlight).options["task"] == "backlit"
    with pytest.raises(UsageError, match="task must be backlit, got 'low-light'"):
        Enhancer(for_backlight, task="low-light")
    anything = Enhancer(seeded(RetiDiff, TINY), task="underwater")  # a published file does not say
    assert anything(image).shape == image.shape
    with pytest.raises(UsageError, match="task must be low-light, underwater or backlit, got 'fog'"):
        Enhancer(seeded(RetiDiff, TINY), task="fog")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dim": 6}, "dim must be a multiple of 4, got 6"),
        ({"prior": 10}, "prior must be a multiple of 4, got 10"),
        ({"num_blocks": (1, 0, 1, 1)}, "num_blocks must be four numbers from 1 up"),
        ({"heads": (1, 2, 4, 7)}, "heads 7 do not divide the 64 channels"),
        ({"heads": (1, 2, 4, 0)}, "heads must be four numbers from 1 up"),
        ({"ffn_expansion_factor": 0.01}, "ffn_expansion_factor is too small"),
        ({"LayerNorm_type": "none"}, "LayerNorm_type must be WithBias or BiasFree, got 'none'"),
        ({"n_feat": 0}, "n_feat 1, got"),
        ({"timesteps": 0}, "timesteps must be at least 1"),
        ({"linear_start": 0.99, "linear_end": 0.1}, "linear_start and linear_end"),
        ({"linear_end": 1.0}, "linear_start and linear_end"),
        ({"task": "fog"}, "task must be low-light, underwater, backlit or empty"),
    ],
)
def test_impossible_configs(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        dataclasses.replace(TINY, **fields)


# --- files ------------------------------------------------------------------------------------------------------------


def test_parts_are_shared_not_copied() -> None:
    """The second names of the manifest are the very tensors of the first."""
    content = json.loads((CASES / "full_manifest_s2.json").read_text())
    with torch.device("meta"):
        state = RetiDiff(METHOD.configs["stage2"]).state_dict(keep_vars=True)
    assert len(state) == 625
    assert len(content["aliases"]) == 124
    for second, first in content["aliases"].items():
        assert state[second] is state[first]


def published(network: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("auxiliary", [False, True])
def test_published_stage2_files(auxiliary: bool, tmp_path: Path) -> None:
    """The moving average is taken, with or without the auxiliary decoder and a prefix; what it is, the keys tell."""
    config = dataclasses.replace(SMALL, auxiliary=auxiliary)
    raw, average = seeded(RetiDiff, config, 1), seeded(RetiDiff, config, 2)
    prefixed = {f"module.{key}": tensor for key, tensor in published(average).items()}
    torch.save({"params": published(raw), "params_ema": prefixed}, tmp_path / "net_g.pth")
    loaded = load_model(tmp_path / "net_g.pth")
    assert isinstance(loaded, RetiDiff)
    assert loaded.config == config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), average.parameters(), strict=True))
    torch.save({"params": published(raw)}, tmp_path / "net_g.pth")
    assert torch.equal(next(load_model(tmp_path / "net_g.pth").parameters()), next(raw.parameters()))


def test_names_that_differ(caplog: pytest.LogCaptureFixture) -> None:
    """The last name in the published network's order counts, and it is said."""
    state = published(seeded(RetiDiff, SMALL))
    root = "rex_condition.E_R.2.body.0.bias"
    names = [root, root.replace("E_R", "E_I")]
    names += [name.replace("rex_condition", "rex_diffusion.condition") for name in names]
    for number, name in enumerate(names):
        state[name] = torch.full_like(state[name], float(number))
    state["img_denoise.resmlp.0.bias"] = state["img_denoise.resmlp.0.bias"] + 1
    with caplog.at_level(logging.INFO):
        tied = tie(state)
    assert all(torch.equal(tied[name], state[names[3]]) for name in names)
    assert torch.equal(tied["img_denoise.resmlp.0.bias"], state["img_diffusion.model.resmlp.0.bias"])
    assert "2 tensors differ under their names" in caplog.text
    assert "under second names: tied" in caplog.text
    network = RetiDiff(SMALL)
    network.load_state_dict(state)  # PyTorch's own loading agrees
    assert torch.equal(network.rex_condition.state_dict()["E_R.2.body.0.bias"], tied[root])
    for second in names[1:]:
        del state[second]
    assert set(tie(state)) == set(network.state_dict())  # missing second names are filled in


@pytest.mark.parametrize(("dim", "factor"), [(28, 1.03), (44, 2.01), (8, 2.0), (12, 3.7)])
def test_widths_of_feed_forward_layers_are_found(dim: int, factor: float) -> None:
    """Also where the quotient of two widths, times one of them, is rounded below the other."""
    config = dataclasses.replace(SMALL, dim=dim, ffn_expansion_factor=factor)
    with torch.device("meta"):
        state = RetiDiff(config).state_dict()
        found = METHOD.recognise(state)
        assert isinstance(found, RetiDiffConfig)
        again = RetiDiff(found).state_dict()
    assert {key: tensor.shape for key, tensor in again.items()} == {key: t.shape for key, t in state.items()}


def test_a_files_own_schedule_wins(tmp_path: Path) -> None:
    other = seeded(RetiDiff, dataclasses.replace(SMALL, timesteps=8, linear_end=0.5))
    torch.save({"params": published(other)}, tmp_path / "t8.pth")
    loaded = load_model(tmp_path / "t8.pth")
    assert isinstance(loaded, RetiDiff)
    assert (loaded.config.timesteps, loaded.config.linear_end) == (8, 0.5)
    assert torch.equal(loaded.img_diffusion.betas, other.img_diffusion.betas)
    with pytest.raises(WeightsError, match=r"of another shape: img_diffusion\.betas \(8,\) instead of \(4,\)"):
        load_model(tmp_path / "t8.pth", config=SMALL)


def test_without_its_decomposition_it_says_what_to_do(tmp_path: Path) -> None:
    network = seeded(RetiDiff, SMALL)
    with pytest.raises(WeightsError, match=r"no decomposition network.*tapetum weights import FILE --with"):
        network(picture())
    with pytest.raises(WeightsError, match="no decomposition network"):
        seeded(Stage1, SMALL.stage1)(picture())


def decomposition_files(folder: Path) -> tuple[Path, Path]:
    """One bare file, as for inference, and one wrapped as for training."""
    low, high = seeded(lambda _: Decomposer(), None, 3), seeded(lambda _: Decomposer(), None, 4)
    torch.save(low.state_dict(), folder / "retinex_decomnet.pth")
    wrapped = {"epoch": 340, "state_dict": {"model_R": high.state_dict()}, "optimizer": {"lr": 0.1}}
    torch.save(wrapped, folder / "init_high.pth")
    return folder / "retinex_decomnet.pth", folder / "init_high.pth"


def test_joining_what_published_files_keep_apart(tmp_path: Path) -> None:
    low_file, high_file = decomposition_files(tmp_path)
    low, high = (torch.load(low_file), torch.load(high_file)["state_dict"]["model_R"])
    stage2, stage1 = seeded(RetiDiff, SMALL), seeded(Stage1, SMALL.stage1)
    torch.save({"params_ema": published(stage2)}, tmp_path / "s2.pth")
    torch.save({"params_ema": published(stage1)}, tmp_path / "s1.pth")

    whole = load_model(import_published(tmp_path / "s2.pth", tmp_path / "s2.safetensors", joined=[low_file]))
    assert isinstance(whole, RetiDiff)
    assert torch.equal(whole.decom_low.decom[0].weight, low["decom.0.weight"])
    assert run(whole, picture()).shape == (1, 3, 16, 24)

    import_published(tmp_path / "s1.pth", tmp_path / "s1.safetensors", joined=[low_file, high_file])
    begun = RetiDiff(TINY)
    begin(begun, tmp_path / "s1.safetensors")
    assert torch.equal(begun.teacher.decom_high.decom[0].weight, high["decom.0.weight"])
    assert torch.equal(begun.G.img_output.weight, stage1.G.img_output.weight)

    pair = load_model(import_published(low_file, tmp_path / "pair.safetensors", joined=[high_file]))
    assert isinstance(pair, Decomposition)
    assert torch.equal(pair.decom_high.decom[6].bias, high["decom.6.bias"])
    first = Stage1(TINY.stage1)
    begin_stage1(first, tmp_path / "pair.safetensors")
    assert torch.equal(first.decom_low.decom[0].weight, low["decom.0.weight"])
    assert complete(seeded(RetiDiff, SMALL), [tmp_path / "pair.safetensors"]).config.decomposition

    for network, paths, says in (
        (stage1, [low_file], "takes two decomposition networks, of dark pictures and of targets, got 1"),
        (stage2, [low_file, high_file], "takes one decomposition network, got 2"),
        (whole, [low_file], "have their decomposition networks already"),
        (stage2, [tmp_path / "s1.pth"], "holds no decomposition network of Reti-Diff"),
    ):
        with pytest.raises(UsageError, match=says):
            complete(network, paths)


def test_pictures_of_another_task_are_not_measured(tapetum: Callable[..., Any], tmp_path: Path) -> None:
    for side in ("lq", "hq"):
        (tmp_path / "UIEB" / "test" / side).mkdir(parents=True)
        write_picture(Picture(np.full((16, 16, 3), 40, np.uint8)), tmp_path / "UIEB" / "test" / side / "0.png")
    config = dataclasses.replace(METHOD.configs["tiny"], task="backlit")
    save_model(seeded(RetiDiff, config), tmp_path / "backlit.safetensors", {})
    given = ("--data", tmp_path / "UIEB", "--layout", "uieb", "--model", "retidiff")
    result = tapetum("evaluate", *given, "--weights", tmp_path / "backlit.safetensors")
    assert (result.code, len(result.errors)) == (2, 1)
    assert "retidiff:backlit was trained for backlit pictures, those of uieb are underwater" in result.err
    config = dataclasses.replace(config, task="underwater")
    save_model(seeded(RetiDiff, config), tmp_path / "under.safetensors", {})
    assert tapetum("evaluate", *given, "--weights", tmp_path / "under.safetensors").code == 0


def test_on_the_command_line(tapetum: Callable[..., Any], tmp_path: Path) -> None:
    """A published pair of files becomes one, and that enhances; without the other file, one line says what to do."""
    low_file, _ = decomposition_files(tmp_path)
    torch.save({"params_ema": published(seeded(RetiDiff, SMALL))}, tmp_path / "s2.pth")
    write_picture(Picture(np.full((9, 13, 3), 40, np.uint8)), tmp_path / "night.png")
    joined = tapetum("weights", "import", tmp_path / "s2.pth", "--with", low_file)
    assert joined.code == 0
    assert "tensors under second names: tied to the first" in joined.err.splitlines()[0]
    enhance = ["enhance", tmp_path / "night.png", "--model", "retidiff", "--device", "cpu", "-o", tmp_path / "out.png"]
    alone = tapetum(*enhance, "--weights", tmp_path / "s2.pth")
    assert alone.code == 2
    assert len(alone.errors) == 1
    assert "join both by `tapetum weights import FILE --with DECOMPOSITION`" in alone.errors[0]
    whole = ["--weights", tmp_path / "s2.safetensors"]
    assert "task must be low-light, underwater or backlit" in tapetum(*enhance, *whole, "--task", "fog").errors[0]
    done = tapetum(*enhance, *whole, "--task", "backlit", "--seed", "3", "--steps", "2")
    assert done.code == 0, done.err
    assert read_picture(tmp_path / "out.png").pixels.shape == (9, 13, 3)


def test_joining_is_for_those_that_need_it(tmp_path: Path) -> None:
    save_model(create_model("twilight", "tiny"), tmp_path / "t.safetensors", {})
    with pytest.raises(UsageError, match="weights of twilight, which are whole"):
        import_published(tmp_path / "t.safetensors", tmp_path / "o.safetensors", joined=[tmp_path / "t.safetensors"])


def test_beginning_stages_with_the_wrong_file(tmp_path: Path) -> None:
    """Each in one line that says what is wrong and what to do."""
    files = {name: tmp_path / f"{name}.safetensors" for name in ("s1", "s1_bare", "s2", "s2_trained", "other", "wide")}
    save_model(seeded(Stage1, TINY.stage1), files["s1"], {})
    save_model(seeded(Stage1, SMALL.stage1), files["s1_bare"], {})
    save_model(seeded(RetiDiff, dataclasses.replace(TINY, teacher=False)), files["s2"], {})
    save_model(seeded(RetiDiff, TINY), files["s2_trained"], {})
    save_model(create_model("twilight", "tiny"), files["other"], {})
    save_model(seeded(Stage1, dataclasses.replace(TINY.stage1, dim=16)), files["wide"], {})
    for name, says in (
        ("s2", "a stage-2 file without the stage-1 teacher that training needs: begin with a file of retidiff_stage1"),
        ("s1_bare", "a stage-1 file without its decomposition networks.*--with LOW --with HIGH"),
        ("other", "holds no stage 1 of Reti-Diff"),
        ("wide", "does not fit stage 2 of this retidiff: .* of another shape"),
    ):
        with pytest.raises(WeightsError, match=says):
            begin(RetiDiff(TINY), files[name])
    begin(RetiDiff(TINY), files["s1"])
    begin(RetiDiff(TINY), files["s2_trained"])
    for name in ("other", "s1_bare"):
        with pytest.raises(WeightsError, match=r"holds no pair .*: train retidiff_decomposition"):
            begin_stage1(Stage1(TINY.stage1), files[name])
    with pytest.raises(UsageError, match="auxiliary, decomposition and teacher: true"):
        begin(RetiDiff(SMALL), files["s1"])
    with pytest.raises(UsageError, match="decomposition: true"):
        begin_stage1(Stage1(SMALL.stage1), files["s1"])


# --- learning ---------------------------------------------------------------------------------------------------------


def pair() -> dict[str, Tensor]:
    low = picture(2)
    return {"low": low, "target": (1.6 * low + 0.1).clamp(0, 1)}


def frozen(config: RetiDiffConfig = TINY) -> RetiDiff:
    network = seeded(RetiDiff, config).train()
    network.freeze_others()
    return network


def trained(network: nn.Module, objective: Any, steps: int = 3) -> set[str]:
    """Names of parameters that some steps change."""
    before = copy.deepcopy(dict(network.named_parameters()))
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-3, weight_decay=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(steps):
            optimiser.zero_grad()
            objective(network, pair())["loss"].backward()
            optimiser.step()
    return {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}


def test_what_learns_in_which_phase() -> None:
    network = frozen()
    objective = Stage2Objective("prior")
    objective.check(network)
    changed = trained(network, objective)
    learning = {name for name, _ in network.named_parameters() if "condition" in name or "denoise" in name}
    assert changed == learning

    network = frozen()
    changed = trained(network, Stage2Objective())
    others = ("decom_low.", "teacher.")
    assert changed == {name for name, _ in network.named_parameters() if not name.startswith(others)}


def test_stage1_trains_all_but_the_decomposition() -> None:
    network = seeded(Stage1, TINY.stage1).train()
    network.freeze_decomposition()
    changed = trained(network, Stage1Objective())
    assert changed == {
        name for name, _ in network.named_parameters() if not name.startswith(("decom_low", "decom_high"))
    }


def test_the_teacher_gets_the_target_and_only_it_does() -> None:
    network, batch = frozen(), pair()
    noise = Priors(normal(2, TINY.prior), normal(2, TINY.prior, seed=3))
    objective = Stage2Objective("prior")
    first = objective.losses(network, batch, noise)
    other = objective.losses(network, {**batch, "target": batch["target"] * 0.5}, noise)
    assert first["abs_rex"] != other["abs_rex"]
    assert set(first) == {"loss", "abs_rex", "abs_rgb", "kd_rex", "kd_rgb"}
    assert first["loss"].item() == pytest.approx((first["abs_rex"] + first["abs_rgb"]).item())


def test_stage2_reaches_what_stage1_does_with_the_same_priors() -> None:
    """Begun with stage 1's weights, it restores as stage 1 does once its priors are the teacher's."""
    stage1, batch = seeded(Stage1, TINY.stage1), pair()
    network = RetiDiff(TINY).eval()
    for place in ("G", "decom_low"):
        network.get_submodule(place).load_state_dict(stage1.get_submodule(place).state_dict())
    with torch.no_grad():
        maps = stage1.maps(batch["low"], batch["target"])
        priors = stage1.priors(batch["low"], batch["target"], *maps)
        wanted = stage1(batch["low"], target=batch["target"])
        assert torch.equal(network.G(batch["low"], *priors), wanted)


def test_distillation_weight_and_pixel_weight() -> None:
    network, batch = frozen(), pair()
    noise = Priors(normal(2, TINY.prior), normal(2, TINY.prior, seed=3))
    plain = Stage2Objective().losses(network, batch, noise)
    weighted = Stage2Objective(pixel=2, distillation=0.5).losses(network, batch, noise)
    for name in ("pix", "recon_in", "recon_out"):
        assert weighted[name].item() == pytest.approx(2 * plain[name].item(), rel=1e-5)
    assert weighted["abs_rex"].item() == pytest.approx(plain["abs_rex"].item() / 2, rel=1e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_partly_free_of_brightness(stage: int) -> None:
    """A result that is only too dark costs nothing where brightness is free; what the auxiliary decoder finds does."""
    network = seeded(Stage1, TINY.stage1).train() if stage == 1 else frozen()
    batch, restore = pair(), network.with_auxiliary
    network.with_auxiliary = lambda low, priors: restore(low, priors)._replace(enhanced=0.7 * batch["target"])

    def losses(**options: Any) -> dict[str, Tensor]:
        if stage == 1:
            return Stage1Objective(**options)(network, batch)
        noise = Priors(normal(2, TINY.prior), normal(2, TINY.prior, seed=3))
        return Stage2Objective(**options).losses(network, batch, noise)

    plain, half, free = losses(), losses(brightness_free=0.5), losses(brightness_free=1.0, gradient=0.25)
    assert plain["pix"].item() == pytest.approx(0.3 * batch["target"].mean().item(), rel=1e-5)
    assert half["pix"].item() == pytest.approx(plain["pix"].item() / 2, rel=1e-5)
    assert free["pix"] < 1e-6
    assert (free["recon_in"], free["recon_out"]) == (plain["recon_in"], plain["recon_out"])
    batch["target"] = batch["target"].flip(3)  # now the differences of neighbours are wrong, too
    network.with_auxiliary = lambda low, priors: restore(low, priors)._replace(enhanced=0.7 * batch["target"].flip(3))
    assert losses(brightness_free=1.0, gradient=0.25)["pix"] > losses(brightness_free=1.0)["pix"] + 0.01


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Stage2Objective("both"), "phase must be prior or joint, got 'both'"),  # type: ignore[arg-type]
        (lambda: Stage2Objective(pixel=-1), r"objective\.pixel must be a number from 0 up, got -1"),
        (lambda: Stage2Objective(temperature=0), "temperature must be above 0"),
        (
            lambda: Stage1Objective(brightness_free=1.5),
            r"objective\.brightness_free must be a number from 0 to 1, got 1\.5",
        ),
        (lambda: Stage2Objective(gradient=-1), r"objective\.gradient must be a number from 0 up, got -1"),
        (lambda: Stage1Objective(math.inf), r"objective\.pixel must be a number from 0 up"),
        (lambda: DecompositionObjective(light=True), r"objective\.light must be a number from 0 up, got True"),
        (lambda: Stage2Objective().check(RetiDiff(SMALL)), "retidiff: training needs decomposition: true"),
        (lambda: Stage1Objective().check(Stage1(SMALL.stage1)), "training needs decomposition: true"),
        (
            lambda: DecompositionObjective().check(Decomposition(DecompositionConfig(pair=False))),
            "training is of a pair of networks: take the config pair",
        ),
    ],
)
def test_impossible_objectives(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


def test_decomposition_learns_to_put_together() -> None:
    """Ours: after some steps R L is the picture, L is near its brightest channel, and no channel has died."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Decomposition(DecompositionConfig())
    objective = DecompositionObjective()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    batch = pair()
    for _ in range(120):
        optimiser.zero_grad()
        losses = objective(network, batch)
        losses["loss"].backward()
        optimiser.step()
    examination = objective.examine(network, batch["low"], batch["target"])
    assert examination.measures["error_low"] < 0.05
    assert examination.measures["error_high"] < 0.1
    assert examination.measures["dead_low"] < 0.9
    assert examination.measures["dead_high"] < 0.9
    assert len(examination.pictures) == 4


def test_examinations() -> None:
    low, target = picture(), picture(seed=4)
    stage1, stage2 = seeded(Stage1, TINY.stage1), seeded(RetiDiff, TINY)
    shown = Stage1Objective().examine(stage1, low, target)
    assert shown.enhanced is not None
    assert torch.equal(shown.enhanced, run(stage1, low, target=target))
    assert set(shown.measures) == {"dead", "prior"}
    assert len(shown.pictures) == 6
    found = Stage2Objective().examine(stage2, low, target)
    assert found.enhanced is None
    assert set(found.measures) == {"prior_rex", "prior_rgb", "psnr_taught"}
    assert Stage2Objective().examine(stage2, low, None).measures == {}
    assert Stage1Objective().examine(stage1, low, None).enhanced is not None
    # priors that are the teacher's have no error
    stage2.sampled = lambda *args: stage2.teacher.priors(  # type: ignore[method-assign]
        low, target, stage2.maps(low), stage2.teacher.decom_high(target)
    )
    assert Stage2Objective().examine(stage2, low, target).measures["prior_rex"] == 0


def test_narrow_recipes_learn_by_one_loss() -> None:
    """Both stages restore under the same loss, of which the prior phase has no part."""
    pytest.importorskip("lightning")
    from tapetum.training.stages import load_stages

    for name in ("retidiff-narrow", "retidiff-backlit-narrow"):
        _, first, priors, joint = load_stages(name)
        assert first.objective == {"brightness_free": 0.5, "gradient": 0.25}
        assert joint.objective == {"phase": "joint", **first.objective}
        assert Stage2Objective(**priors.objective).phase == "prior"
        assert all(recipe.data.sources[0].shrink > 1 for recipe in (first, priors))


def test_configs_of_both_stages_fit_together() -> None:
    for name in ("training", "narrow", "tiny"):
        assert METHOD.configs[name].stage1 == STAGE1.configs[name]
    narrow = RetiDiff(METHOD.configs["narrow"])
    narrow.freeze_others()
    assert sum(p.numel() for p in narrow.parameters() if p.requires_grad) < 1e6
    assert make_config(DECOMPOSITION).pair
