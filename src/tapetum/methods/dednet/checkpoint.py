"""Which configuration a published file holds: read from keys and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from tapetum.errors import WeightsError
from tapetum.methods.dednet.network import DEDNetConfig
from tapetum.methods.retinexformer.checkpoint import read_skeleton

# what is only in the experiments that the published source has disabled, and how people know them
_EXPERIMENTS = (
    (r"\.estimator\.diffusion_conv\.", "DED-Net's experiment with a dilated estimator"),
    (r"\.estimator\.(conv3x3|conv5x5|conv7x7|cont)\.", "DED-Net's experiment with an estimator of several kernels"),
    (r"\.denoiser\.scale_aware_aggregation\.", "DED-Net's experiment with an aggregation inside the restorer"),
    (r"\.feat_enhancer\.(ue_conv9|.*query_conv2)\.", "DED-Net around the original FeatEnHancer"),
    (r"\.0\.(feed_forward\.fc[12]|layer_norm[12])\.", "DED-Net's abandoned experiment DED-NET_c"),
)


def recognise(state: Mapping[str, Tensor]) -> DEDNetConfig | None:
    """The configuration of a DED-Net file, or None where the keys are another method's.

    Raises:
        WeightsError: one of the experiments that its source holds, or a part of it without the rest.
    """
    skeleton = read_skeleton(state)
    if skeleton is None:
        return None
    _refuse_experiments(state)
    ffn = _feed_forward(state)
    enhancer = next((key for key in state if ".feat_enhancer." in key), None)
    if enhancer is None and ffn is None:
        return None  # Retinexformer
    if enhancer is None:
        raise WeightsError("a restorer of DED-Net without its image feature enhancement (no feat_enhancer.*)")
    if ffn is None:
        raise WeightsError(f"an image feature enhancement of DED-Net before another restorer (it holds {enhancer})")
    return DEDNetConfig(**skeleton, ffn=ffn)


def _refuse_experiments(state: Mapping[str, Tensor]) -> None:
    for key, tensor in state.items():
        for pattern, name in _EXPERIMENTS:
            if re.search(pattern, key):
                raise WeightsError(f"{name}, which tapetum does not have (it holds {key})")
        if key.endswith(".feat_enhancer.quarter_conv.weight") and tensor.shape[2:] == (7, 7):
            raise WeightsError(f"DED-Net around the original FeatEnHancer, which tapetum does not have ({key} is 7x7)")


def _feed_forward(state: Mapping[str, Tensor]) -> Literal["dense", "separable"] | None:
    """None: Retinexformer's, which ends at ``net.4``."""
    if any(".1.fn.net.2.depthwise_conv." in key or ".1.fn.net.4.depthwise_conv." in key for key in state):
        return "separable"
    for key, tensor in state.items():
        if ".1.fn.net.6." in key or (key.endswith(".1.fn.net.2.weight") and tensor.shape[1:2] != (1,)):
            return "dense"
    return None
