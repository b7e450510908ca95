"""Which configuration a published file holds: read from keys and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypedDict, TypeGuard

from torch import Tensor

from tapetum.methods.retinexformer.mst_plus_plus import MSTPlusPlusConfig
from tapetum.methods.retinexformer.network import RetinexformerConfig


def recognise_retinexformer(state: Mapping[str, Tensor]) -> RetinexformerConfig | None:
    """The configuration of a Retinexformer file, or None where the keys are another method's."""
    skeleton = read_skeleton(state)
    return None if skeleton is None or _is_ded_net(state) else RetinexformerConfig(**skeleton)


class Skeleton(TypedDict):
    """The sizes that Retinexformer and what was built on it have in common, as their configurations call them."""

    n_feat: int
    stage: int
    num_blocks: tuple[int, int, int]


def read_skeleton(state: Mapping[str, Tensor]) -> Skeleton | None:
    """Sizes of stages with an estimator and a restorer, or None where the keys are of another kind of network."""
    first_conv = state.get("body.0.estimator.conv1.weight")
    if not _is_kernel(first_conv) or "body.0.denoiser.embedding.weight" not in state:
        return None
    return Skeleton(
        n_feat=first_conv.shape[0],
        stage=_count(state, r"body\.(\d+)\.estimator\."),
        num_blocks=(
            _count(state, r"body\.0\.denoiser\.encoder_layers\.0\.0\.blocks\.(\d+)\."),
            _count(state, r"body\.0\.denoiser\.encoder_layers\.1\.0\.blocks\.(\d+)\."),
            _count(state, r"body\.0\.denoiser\.bottleneck\.blocks\.(\d+)\."),
        ),
    )


def recognise_mst_plus_plus(state: Mapping[str, Tensor]) -> MSTPlusPlusConfig | None:
    """The configuration of an MST++ file, or None where the keys are another method's."""
    conv_in, conv_out = state.get("conv_in.weight"), state.get("conv_out.weight")
    if not _is_kernel(conv_in) or not _is_kernel(conv_out) or "body.0.embedding.weight" not in state:
        return None
    return MSTPlusPlusConfig(
        in_channels=conv_in.shape[1],
        out_channels=conv_out.shape[0],
        n_feat=conv_in.shape[0],
        stage=_count(state, r"body\.(\d+)\.embedding\."),
    )


def _is_ded_net(state: Mapping[str, Tensor]) -> bool:
    """Whether a file with this skeleton holds parts of DED-Net or of its experiments: that method names them."""
    parts = (".feat_enhancer.", ".fn.net.6.", ".diffusion_conv.", ".estimator.conv3x3.", ".denoiser.scale_aware")
    return any(
        any(part in key for part in parts) or (key.endswith(".1.fn.net.2.weight") and tensor.shape[1:2] != (1,))
        for key, tensor in state.items()
    )


def _is_kernel(tensor: Tensor | None) -> TypeGuard[Tensor]:
    """Of a 2-D convolution: in a damaged file a tensor of that name may have any shape."""
    return tensor is not None and tensor.ndim == 4


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers the keys hold at the pattern's group; at least 1, a strict load names what lacks."""
    found = {match.group(1) for key in state if (match := re.match(pattern, key))}
    return max(1, len(found))
