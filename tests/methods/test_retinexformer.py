"""Retinexformer and MST++: what is their own. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

import contextlib
import math

import pytest
import torch
from torch import Tensor, nn

from tapetum.errors import UsageError, WeightsError
from tapetum.methods.blocks.attention import AttentionMatrices, ChannelAttention
from tapetum.methods.blocks.feed_forward import DepthwiseFeedForward
from tapetum.methods.blocks.restorer import AttentionBlocks
from tapetum.methods.contract import Method
from tapetum.methods.registry import make_config
from tapetum.methods.retinexformer import (
    METHOD,
    MST_PLUS_PLUS,
    MSTPlusPlus,
    MSTPlusPlusConfig,
    Retinexformer,
    RetinexformerConfig,
)
from tapetum.methods.retinexformer.objective import LOSSES, PixelObjective
from tapetum.weights.loading import recognise

TINY = METHOD.configs["tiny"]


def test_parameters_of_the_published_configurations() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Retinexformer(METHOD.configs["published"]).parameters()) == 1_605_701
        assert sum(p.numel() for p in MSTPlusPlus(MST_PLUS_PLUS.configs["published"]).parameters()) == 1_511_220


def plain_attention(attention: ChannelAttention, x: Tensor, guidance: Tensor | None) -> Tensor:
    """The formula of the paper, head by head."""
    batch, height, width, channels = x.shape
    tokens = x.reshape(batch, -1, channels)
    q, k, v = (layer(tokens).transpose(1, 2) for layer in (attention.to_q, attention.to_k, attention.to_v))
    y = torch.ones_like(v) if guidance is None else guidance.reshape(batch, -1, channels).transpose(1, 2)
    outs = []
    for head in range(attention.heads):
        rows = slice(head * channels // attention.heads, (head + 1) * channels // attention.heads)
        q_hat = q[:, rows] / q[:, rows].norm(dim=2, keepdim=True).clamp(min=1e-12)
        k_hat = k[:, rows] / k[:, rows].norm(dim=2, keepdim=True).clamp(min=1e-12)
        matrix = (attention.rescale[head] * k_hat @ q_hat.transpose(1, 2)).softmax(dim=-1)
        outs.append(matrix @ (v[:, rows] * y[:, rows]))
    out = attention.proj(torch.cat(outs, dim=1).transpose(1, 2))
    positional = attention.pos_emb(v.reshape(batch, channels, height, width))
    return out.reshape(x.shape) + positional.permute(0, 2, 3, 1)


@pytest.mark.parametrize("guided", [True, False])
def test_attention_is_the_paper_formula(guided: bool) -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(12, 3).double()
    nn.init.uniform_(attention.rescale, 1, 5)
    x = torch.randn(2, 5, 4, 12, dtype=torch.float64)
    guidance = torch.randn_like(x) if guided else None
    torch.testing.assert_close(
        attention(x, guidance, AttentionMatrices()), plain_attention(attention, x, guidance), atol=1e-12, rtol=1e-10
    )


def test_attention_of_a_black_picture_is_finite() -> None:
    attention = ChannelAttention(8, 2)
    zeros = torch.zeros(1, 4, 4, 8)
    assert attention(zeros, zeros, AttentionMatrices()).isfinite().all()


def test_gradients() -> None:
    torch.manual_seed(0)
    blocks = AttentionBlocks(4, 2, 1, DepthwiseFeedForward).double()
    feature, guidance = (torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda f, g: blocks(f, g, AttentionMatrices()), (feature, guidance))


def test_initialisation() -> None:
    torch.manual_seed(0)
    for network in (Retinexformer(RetinexformerConfig()), MSTPlusPlus(MSTPlusPlusConfig(stage=1))):
        linears = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
        assert linears
        weights = torch.cat([m.weight.flatten() for m in linears.values()])
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)
        assert all((m.bias == 0).all() for m in linears.values() if m.bias is not None)
        for module in network.modules():
            if isinstance(module, ChannelAttention):
                assert (module.rescale == 1).all()
            elif isinstance(module, nn.LayerNorm):
                assert (module.weight == 1).all()
                assert (module.bias == 0).all()
            elif isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:  # PyTorch's default
                fan_in = math.prod(module.weight.shape[1:])
                assert module.weight.std().item() == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.1)


CASES = [
    (Retinexformer, RetinexformerConfig(n_feat=4, num_blocks=(1, 1, 1)), 40),
    (Retinexformer, RetinexformerConfig(n_feat=4, num_blocks=(1, 2, 2)), 64),
    (MSTPlusPlus, MSTPlusPlusConfig(n_feat=4, stage=1), 40),
]


@pytest.mark.parametrize(("network_class", "config", "radius"), CASES)
def test_receptive_field_is_exact(network_class: type, config: object, radius: int) -> None:
    """By gradients, with positive weights so that nothing cancels, over all alignments to the coarsest grid."""
    torch.manual_seed(0)
    network = network_class(config).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.uniform_(0.01, 0.1)
    assert network.properties.receptive_field == radius
    size = 2 * radius + 32
    low = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    context = network.measure(low.detach()).detach()
    reach = 0
    for row in range(size // 2, size // 2 + 4):
        (gradient,) = torch.autograd.grad(network(low, context)[0, :, row, row].sum(), low)
        seen = gradient[0].abs().sum(0).nonzero()
        reach = max(reach, int((seen - row).abs().max()))
    assert reach == radius


def test_statistics_are_attention_rows() -> None:
    network = Retinexformer(TINY).eval()
    with torch.no_grad():
        statistics = network.measure(torch.rand(2, 3, 16, 24))
    # one head of 8 x 8 at full size, two at half, four at quarter size; encoder and decoder have the first two
    assert statistics.shape == (2, 64 * (1 + 2 + 4 + 2 + 1))
    torch.testing.assert_close(statistics.unflatten(1, (-1, 8)).sum(-1), torch.ones(2, 80))


def test_one_context_for_several_tiles() -> None:
    network = Retinexformer(TINY).eval()
    with torch.no_grad():
        statistics = network.measure(torch.rand(1, 3, 16, 24))
        tiles = torch.rand(3, 3, 16, 16)
        each = torch.cat([network(tile[None], statistics) for tile in tiles])
        torch.testing.assert_close(network(tiles, statistics), each, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", [METHOD, MST_PLUS_PLUS], ids=lambda m: m.name)
def test_one_pass_for_graphs(method: object) -> None:
    network = method.network(method.configs["tiny"]).eval()  # type: ignore[attr-defined]
    low, other = torch.rand(1, 3, 16, 24), torch.rand(1, 3, 32, 16) ** 3
    with torch.no_grad():
        given = network.measure(other)
        own, measured = network.forward_and_measure(low, given, torch.tensor(False))
        torch.testing.assert_close(own, network(low))
        torch.testing.assert_close(measured, network.measure(low))
        told, used = network.forward_and_measure(low, given, torch.tensor(True))
        torch.testing.assert_close(told, network(low, given))
        torch.testing.assert_close(used, given)
        assert (told - own).abs().max() > 1e-6


@pytest.mark.parametrize(
    "config", [RetinexformerConfig(), RetinexformerConfig(n_feat=12, stage=3, num_blocks=(2, 1, 3))]
)
def test_recognised(config: RetinexformerConfig) -> None:
    with torch.device("meta"):
        state = Retinexformer(config).state_dict()
    assert METHOD.recognise(state) == config


@pytest.mark.parametrize("config", [MSTPlusPlusConfig(), MSTPlusPlusConfig(4, 5, 6, 2)])
def test_mst_plus_plus_recognised(config: MSTPlusPlusConfig) -> None:
    with torch.device("meta"):
        state = MSTPlusPlus(config).state_dict()
    assert MST_PLUS_PLUS.recognise(state) == config
    assert METHOD.recognise(state) is None


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("body.0.feat_enhancer.e_conv1.weight", (32, 3, 3, 3), "of DED-Net before another restorer"),
        ("body.0.denoiser.bottleneck.blocks.0.1.fn.net.6.weight", (32, 128, 1, 1), "a restorer of DED-Net without"),
        ("body.0.denoiser.bottleneck.blocks.0.1.fn.net.2.weight", (128, 128, 3, 3), "a restorer of DED-Net without"),
        ("body.0.estimator.diffusion_conv.0.weight", (8, 4, 3, 3), "DED-Net's experiment with a dilated estimator"),
    ],
)
def test_parts_of_ded_net_are_refused_by_name(key: str, shape: tuple[int, ...], message: str) -> None:
    state = dict(Retinexformer(TINY).state_dict()) | {key: torch.zeros(shape)}
    assert METHOD.recognise(state) is None
    with pytest.raises(WeightsError, match=message) as caught:
        recognise(state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [METHOD, MST_PLUS_PLUS])
def test_a_tensor_of_any_shape_may_have_a_known_name(method: Method) -> None:
    with torch.device("meta"):
        state = method.network(method.configs["tiny"]).state_dict()
    for key in state:
        for shape in ((), (8,), (0, 0), (1, 2, 3, 4, 5)):
            with contextlib.suppress(WeightsError):  # nothing else may come out: the file is a stranger's
                method.recognise(state | {key: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RetinexformerConfig(n_feat=31), "n_feat must be a multiple of 4, got 31"),
        (lambda: RetinexformerConfig(stage=0), "stage must be at least 1, got 0"),
        (lambda: RetinexformerConfig(num_blocks=(1, 2)), "three numbers from 1 up"),  # type: ignore[arg-type]
        (lambda: MSTPlusPlusConfig(n_feat=0), "n_feat must be at least 1, got 0"),
    ],
)
def test_impossible_configurations(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_the_toolbox_can_be_chosen(loss: str) -> None:
    network = torch.nn.Conv2d(3, 3, 1)
    low, target = torch.rand(2, 2, 3, 5, 4, generator=torch.Generator().manual_seed(1))
    value = PixelObjective(loss)(network, {"low": low, "target": target})["loss"]
    assert torch.equal(value, LOSSES[loss](network(low), target))
    assert loss == "l1" or not torch.equal(value, PixelObjective()(network, {"low": low, "target": target})["loss"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n_feat": "a"}, "config of retinexformer: n_feat: .*valid integer, got 'a'"),
        ({"stage": 1.5}, "stage: .*integer"),
        ({"stage": True}, "stage: .*integer"),
        ({"num_blocks": 3}, "num_blocks: .*got 3"),
        ({"num_blocks": [1, 1]}, "num_blocks.2: .*required"),
        ({"num_blocks": [1, "b", 1]}, "num_blocks.1: .*got 'b'"),
        ({"n_feat": 6}, "n_feat must be a multiple of 4, got 6"),
        ({"width": 8}, "unknown config field 'width' of retinexformer"),
    ],
)
def test_fields_of_a_wrong_type(fields: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        make_config(METHOD, fields)
    assert "\n" not in str(caught.value)


def test_a_list_stands_for_a_tuple() -> None:
    assert make_config(METHOD, {"num_blocks": [1, 2, 3]}) == RetinexformerConfig(num_blocks=(1, 2, 3))
    assert make_config(METHOD, {"num_blocks": (1, 2, 3)}).num_blocks == (1, 2, 3)


def test_an_unknown_loss() -> None:
    with pytest.raises(UsageError, match=r"objective\.loss: unknown 'l2', choose from l1, mse"):
        PixelObjective("l2")
