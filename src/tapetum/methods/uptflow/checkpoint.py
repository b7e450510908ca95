"""Published files. Which configuration they hold, the window size among it, is read from keys and shapes alone."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from tapetum.errors import WeightsError
from tapetum.methods.uptflow.flow import LEVELS
from tapetum.methods.uptflow.network import UPTFlowConfig

_EMBEDDING = "RRDB.patch_embed.proj.weight"
_FLOW = r"flowUpsamplerNet\.layers\.(\d+)\."
_CHAINS = (
    ("RRDB.encoder_level1", "RRDB.encoderlayer_1"),
    ("RRDB.encoder_level2", "RRDB.encoderlayer_2"),
    ("RRDB.encoder_level3", "RRDB.encoderlayer_3"),
    ("RRDB.latent", "RRDB.bottlen"),
    ("RRDB.decoder_level3", "RRDB.decoderlayer_1"),
    ("RRDB.decoder_level2", "RRDB.decoderlayer_2"),
    ("RRDB.decoder_level1", "RRDB.decoderlayer_3"),
)
_PUBLISHED_EXPANSION = 2.66


def recognise(state: Mapping[str, Tensor], named: Iterable[UPTFlowConfig]) -> UPTFlowConfig | None:
    """The configuration of an UPT-Flow file, or None where the keys are another method's.

    No file tells ``drop_path``, with which it was trained: that of the configuration in ``named`` whose layers it has.

    Raises:
        WeightsError: an encoder without a flow, a flow with splits, or window attention of no single window size.
    """
    if _EMBEDDING not in state or not any(key.endswith(".relative_position_bias_table") for key in state):
        return None
    steps = _indices(state, _FLOW + r"actnorm\.logs")
    coupled = _indices(state, _FLOW + r"affine\.fAffine_1\.model\.0\.weight")
    if not steps or not coupled:
        raise WeightsError("an encoder of UPT-Flow without its flow (no flowUpsamplerNet.layers.*.affine.*)")
    if any(re.fullmatch(_FLOW + r"conv\..*", key) for key in state):
        raise WeightsError(
            "a flow with split layers, which no published UPT-Flow has (flowUpsamplerNet.layers.*.conv.*)"
        )
    dim = state[_EMBEDDING].shape[0]
    found = UPTFlowConfig(
        win_size=_window_size(state),
        dim=dim,
        depths=tuple(_count(state, chain) for chain, _ in _CHAINS),
        refinement_blocks=_count(state, "RRDB.refinement"),
        global_heads=tuple(_heads(state, f"{chain}.0") for chain, _ in _CHAINS[:4]),
        window_heads=tuple(_heads(state, f"{chain}.blocks.0") for _, chain in _CHAINS),
        ffn_expansion=_expansion(state, dim),
        K=len(coupled) // LEVELS,
        extra_steps=(len(steps) - len(coupled)) // LEVELS,
        hidden=state[f"flowUpsamplerNet.layers.{coupled[0]}.affine.fAffine_1.model.0.weight"].shape[0],
    )
    return next((config for config in named if dataclasses.replace(config, drop_path=found.drop_path) == found), found)


def _window_size(state: Mapping[str, Tensor]) -> int:
    """Raises WeightsError where tables are of no window, or of different ones."""
    rows = {key: len(t) for key, t in state.items() if key.endswith(".relative_position_bias_table") and t.ndim == 2}
    first, count = next(iter(rows.items()), ("relative_position_bias_table", 0))
    window = (math.isqrt(count) + 1) // 2
    if (2 * window - 1) ** 2 != count:
        raise WeightsError(
            f"an UPT-Flow whose {first} has {count} rows, which no window size has (5 has 81, 8 has 225)"
        )
    for key, other in rows.items():
        if other != count:
            raise WeightsError(f"an UPT-Flow with windows of different sizes: {first} has {count} rows, {key} {other}")
    return window


def _count(state: Mapping[str, Tensor], chain: str) -> int:
    return len(_indices(state, re.escape(chain) + r"\.(\d+)\.attn\.temperature"))


def _heads(state: Mapping[str, Tensor], block: str) -> int:
    temperature = state.get(f"{block}.attn.temperature")
    return 0 if temperature is None or not temperature.shape else temperature.shape[0]


def _expansion(state: Mapping[str, Tensor], dim: int) -> float:
    """The published one where it gives the hidden layers that are there."""
    key = "RRDB.latent.0.ffn.project_out.weight"
    shape = state[key].shape if key in state else ()
    hidden = shape[1] if len(shape) == 4 else 0
    width = 8 * dim
    return _PUBLISHED_EXPANSION if int(width * _PUBLISHED_EXPANSION) == hidden else hidden / width


def _indices(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted(int(match[1]) for match in (re.fullmatch(pattern, key) for key in state) if match)
