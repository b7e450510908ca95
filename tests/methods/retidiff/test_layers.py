"""Reti-Diff's layers: what is folded into one matrix gives what the formulas say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.methods.blocks.attention import AttentionMatrices
from tapetum.methods.retidiff import layers
from tapetum.methods.retidiff.layers import Block, CrossAttention, FeedForward, NormType, SelfAttention

Seeded = Callable[..., Any]
Make = Callable[..., Tensor]


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
def test_block_is_the_published_formula(kind: Any, bias: bool, norm: NormType, seeded: Seeded, normal: Make) -> None:
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
def test_rows_by_rows_is_the_whole(height: int, monkeypatch: pytest.MonkeyPatch, seeded: Seeded, normal: Make) -> None:
    block = seeded(lambda _: Block(CrossAttention, 8, 2, 2.66, False, "WithBias", 32), None)
    x, z = normal(2, 8, height, 11).contiguous(memory_format=torch.channels_last), normal(2, 32)
    with torch.no_grad():
        whole = block(x, z, AttentionMatrices())
        monkeypatch.setattr(layers, "_BAND", 1)
        banded = block(x, z, AttentionMatrices())
    trained = block(x, z, AttentionMatrices())
    torch.testing.assert_close(banded, whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(trained.detach(), whole, atol=1e-6, rtol=1e-5)


def test_attention_does_not_overflow_in_float16(seeded: Seeded, normal: Make) -> None:
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


def test_which_half_of_the_prior_reaches_what(seeded: Seeded, normal: Make) -> None:
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
