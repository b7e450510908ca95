"""Reti-Diff as it is computed here beside a literal evaluation of the published forward, on the same weights.

    python benchmarks/retidiff.py [HEIGHT WIDTH]

"literal" follows the published formulas one after the other: normalise, modulate, convolve, normalise queries and keys
over all pixels, attend, project, each on the whole picture. Both passes get the same noise, and their results are
compared. Times are those of the process in all its threads (``time.process_time``), as many as PyTorch is given
(``OMP_NUM_THREADS``). Needs the torch extra. The published configuration with fresh weights, every figure from a
process of its own.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from timing import dispatch, memory_now, peak_memory, run_part, table

REPEATS = 2
TOLERANCE = 5e-5  # of the public parity cases


def one(way: str, height: int, width: int, repeats: int = REPEATS) -> dict[str, float]:
    """One way to compute it: the least time of ``repeats`` calls after one that is not counted, and its memory."""
    import torch

    network, low = build(height, width)
    ways = {"literal": literal, "ours": lambda network, low: network(low), "bfloat16": bf16}
    with torch.inference_mode():
        before = memory_now()
        ways[way](network, low)
        working, peak = peak_memory() - before, peak_memory()
        times = []
        for _ in range(repeats):
            begin = time.process_time()
            ways[way](network, low)
            times.append(time.process_time() - begin)
    return {"cores": min(times), "working": working, "peak": peak, "threads": torch.get_num_threads()}


def difference(height: int, width: int) -> dict[str, float]:
    """The largest difference of both results beyond the tolerance's relative part, and in bfloat16."""
    import torch

    network, low = build(height, width)
    with torch.inference_mode():
        wanted = literal(network, low)
        ours, half = network(low), bf16(network, low)
    return {
        "ours": ((ours - wanted).abs() - 1e-4 * wanted.abs()).max().item(),
        "bfloat16": (half - wanted).abs().max().item(),
        "spread": (wanted - low).std().item(),
    }


def build(height: int, width: int) -> tuple[Any, Any]:
    """The network, and a dark picture with sides that are multiples of 8."""
    import torch

    from tapetum.methods.registry import create_model

    torch.manual_seed(0)
    return create_model("retidiff"), 0.3 * torch.rand(1, 3, -(-height // 8) * 8, -(-width // 8) * 8)


def bf16(network: Any, low: Any) -> Any:
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        return network(low).float()


def literal(network: Any, low: Any) -> Any:
    """The published forward in use, formula by formula."""
    import torch

    from tapetum.ops.random import PositionNoise

    maps = network.decom_low(low)
    size = network.config.prior
    rex, rgb = PositionNoise(0).normal((2 * size, 1, 1)).view(1, -1).split(size, dim=1)
    for diffusion, image, x in ((network.rex_diffusion, maps, rex), (network.img_diffusion, low, rgb)):
        condition = diffusion.condition(image)
        for t in reversed(range(diffusion.timesteps)):
            predicted = diffusion.model(x, t, condition)
            x = diffusion.posterior_mean_coef1[t] * predicted + diffusion.posterior_mean_coef2[t] * x
        rex, rgb = (x, rgb) if diffusion is network.rex_diffusion else (rex, x)
    former = network.G

    def blocks(name: str, x: Any, z: Any = rex) -> Any:
        for block in former.get_submodule(name):
            attend = _self_attention if name == "img_refinement" else _cross_attention
            x = x + attend(block.attn, _norm(block.norm1, x), z)
            x = x + _feed_forward(block.ffn, _norm(block.norm2, x), z)
        return x

    first = blocks("encoder_level1", former.patch_embed(low))
    half = blocks("encoder_level2", former.down1_2(first))
    quarter = blocks("encoder_level3", former.down2_3(half))
    x = former.up4_3(blocks("latent", former.down3_4(quarter)))
    x = former.up3_2(blocks("decoder_level3", former.reduce_chan_level3(torch.cat([x, quarter], 1))))
    x = former.up2_1(blocks("decoder_level2", former.reduce_chan_level2(torch.cat([x, half], 1))))
    x = blocks("img_refinement", blocks("decoder_level1", torch.cat([x, first], 1)), rgb)
    return former.img_output(x) + low


def _norm(norm: Any, x: Any) -> Any:
    """Of pixels in a row, as published: ``(B, C, H, W)`` to ``(B, H W, C)`` and back."""
    pixels = x.flatten(2).transpose(1, 2)
    mean, variance = pixels.mean(-1, keepdim=True), pixels.var(-1, keepdim=True, unbiased=False)
    pixels = (pixels - mean) / (variance + 1e-5).sqrt() * norm.body.weight + norm.body.bias
    return pixels.transpose(1, 2).unflatten(2, x.shape[2:])


def _modulated(kernel: Any, x: Any, z: Any) -> Any:
    return x * kernel(z)[:, :, None, None] + x


def _cross_attention(layer: Any, x: Any, z: Any) -> Any:
    x_r, x_l = x.split(layer.sizes, dim=1)
    z_r, z_l = z.split(layer.prior_sizes, dim=1)
    x_r, x_l = _modulated(layer.kernel_R, x_r, z_r), _modulated(layer.kernel_I, x_l, z_l)
    key, value = layer.kv_dwconv(layer.kv_I(x_l)).chunk(2, dim=1)
    return _attend(layer, layer.q_dwconv(layer.q_R(x_r)), key, value)


def _self_attention(layer: Any, x: Any, z: Any) -> Any:
    return _attend(layer, *layer.qkv_dwconv(layer.qkv(_modulated(layer.kernel, x, z))).chunk(3, dim=1))


def _attend(layer: Any, query: Any, key: Any, value: Any) -> Any:
    from torch.nn.functional import normalize

    size = query.shape[2:]
    query, key, value = (part.flatten(2).unflatten(1, (layer.heads, -1)) for part in (query, key, value))
    weights = (normalize(query, dim=-1) @ normalize(key, dim=-1).transpose(-2, -1) * layer.temperature).softmax(-1)
    return layer.project_out((weights @ value).flatten(1, 2).unflatten(2, size))


def _feed_forward(layer: Any, x: Any, z: Any) -> Any:
    from torch.nn.functional import gelu

    gate, value = layer.dwconv(layer.project_in(_modulated(layer.kernel, x, z))).chunk(2, dim=1)
    return layer.project_out(gelu(gate) * value)


def main(height: int = 400, width: int = 600) -> None:
    size = {"height": height, "width": width}
    apart = run_part(__file__, "difference", **size)
    if apart["ours"] > TOLERANCE:
        raise SystemExit(f"the results differ by {apart['ours']:.2g}, more than the tolerance {TOLERANCE:.0e}")
    results = {way: run_part(__file__, "one", way=way, **size) for way in ("literal", "ours", "bfloat16")}
    print(f"## {height}x{width}, one picture, {results['ours']['threads']} threads\n")
    print(
        f"Largest difference from the literal pass {apart['ours']:.1e} (after 1e-4 of the value), in bfloat16 "
        f"{apart['bfloat16']:.1e}, where the network adds {apart['spread']:.1e} (standard deviation).\n"
    )
    rows = [
        [way, r["cores"], f"{results['literal']['cores'] / r['cores']:.2f}", r["working"] / 1e6, r["peak"] / 1e6]
        for way, r in results.items()
    ]
    print(table(["pass", "core-s", "times faster", "memory MB", "whole process MB"], rows), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].isdigit():
        main(int(sys.argv[1]), int(sys.argv[2]))
    else:
        dispatch({"one": one, "difference": difference}, main)
