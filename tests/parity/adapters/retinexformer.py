"""Retinexformer and MST++."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tapetum.evaluation.protocols import pad_bottom_right
from tapetum.methods.blocks.attention import AttentionMatrices, ChannelAttention
from tapetum.methods.blocks.feed_forward import DepthwiseFeedForward
from tapetum.methods.blocks.illumination import IlluminationEstimator
from tapetum.methods.blocks.restorer import AttentionBlocks
from tapetum.methods.retinexformer import MSTPlusPlus, MSTPlusPlusConfig, Retinexformer, RetinexformerConfig

from ..case import Case, CaseError, Taken
from . import toolbox
from .probes import keep_output


def network(case: Case) -> nn.Module:
    """Of the unit of a full manifest."""
    return {"network": retinexformer, "mst_plus_plus": mst_plus_plus}[case.unit](case.config)


def retinexformer(config: Taken) -> Retinexformer:
    """Left out options have the defaults of the published constructor, which no published file uses."""
    if (config.get("in_channels", 3), config.get("out_channels", 3)) != (3, 3):
        raise CaseError("Retinexformer lights up and restores 3 channels")
    return Retinexformer(
        RetinexformerConfig(
            config.get("n_feat", 31), config.get("stage", 3), tuple(config.get("num_blocks", (1, 1, 1)))
        )
    )


def mst_plus_plus(config: Taken) -> MSTPlusPlus:
    """Defaults: see :func:`retinexformer`."""
    return MSTPlusPlus(
        MSTPlusPlusConfig(
            config.get("in_channels", 3), config.get("out_channels", 3), config["n_feat"], config.get("stage", 1)
        )
    )


def probe_restorer(restorer: nn.Module) -> dict[str, Tensor]:
    """What the parts of a U-shaped restorer give from now on, by the names of the cases."""
    places = {
        "embedding": restorer.embedding,
        "encoder_0": restorer.encoder_layers[0][0],
        "encoder_1": restorer.encoder_layers[1][0],
        "bottleneck": restorer.bottleneck,
        "decoder_0": restorer.decoder_layers[0][2],
        "decoder_1": restorer.decoder_layers[1][2],
    }
    probes: dict[str, Tensor] = {}
    for name, module in places.items():
        keep_output(module, probes, name)
    return probes


@torch.no_grad()
def whole(case: Case) -> toolbox.Outputs:
    net = case.load_into(retinexformer(case.config))
    stage = net.body[0]
    restorer = stage.denoiser
    probes = probe_restorer(restorer)
    low = case.tensor("image")
    feature, illumination = stage.estimator(low)
    probes |= {
        "illu_fea": feature,
        "illu_fea_used": feature,
        "illu_map": illumination,
        "lit_up": low * illumination + low,
    }
    out = net(low)
    return {"out": out, "out_clamped": out.clamp(0, 1)} | {f"probe/{name}": value for name, value in probes.items()}


@torch.no_grad()
def whole_mst_plus_plus(case: Case) -> toolbox.Outputs:
    net = case.load_into(mst_plus_plus(case.config))
    image = case.inputs["image"]
    height, width = image.shape[2:]
    out = net(torch.from_numpy(pad_bottom_right(image, net.properties.size_multiple)))
    return {"out": out[:, :, :height, :width]}


@torch.no_grad()
def illumination_estimator(case: Case) -> toolbox.Outputs:
    feature, illumination = case.load_into(IlluminationEstimator(case.config["n_fea_middle"]))(case.tensor("image"))
    return {"illu_fea": feature, "illu_map": illumination}


@torch.no_grad()
def ig_msa(case: Case) -> toolbox.Outputs:
    attention = case.load_into(ChannelAttention(_width(case), case.config["heads"]))
    probes: dict[str, Tensor] = {}
    keep_output(attention.pos_emb, probes, "pos_emb_nchw")
    out = attention(case.tensor("x"), case.tensor("illu"), AttentionMatrices())
    proj = (out - probes["pos_emb_nchw"].permute(0, 2, 3, 1)).flatten(1, 2)
    return {"out": out, "probe/pos_emb_nchw": probes["pos_emb_nchw"], "probe/proj": proj}


@torch.no_grad()
def feed_forward(case: Case) -> toolbox.Outputs:
    return {"out": case.load_into(DepthwiseFeedForward(case.config["dim"], case.config["mult"]))(case.tensor("x"))}


@torch.no_grad()
def igab(case: Case) -> toolbox.Outputs:
    config = case.config
    blocks = case.load_into(AttentionBlocks(_width(case), config["heads"], config["num_blocks"], DepthwiseFeedForward))
    return {"out": blocks(case.tensor("x"), case.tensor("illu"), AttentionMatrices())}


def _width(case: Case) -> int:
    width, heads, head_width = (case.config[name] for name in ("dim", "heads", "dim_head"))
    if width != heads * head_width:
        raise CaseError(f"{heads} heads of {head_width} channels do not make {width} channels")
    return width


COMPONENTS = toolbox.COMPONENTS
UNITS = {
    "network": whole,
    "mst_plus_plus": whole_mst_plus_plus,
    "illumination_estimator": illumination_estimator,
    "ig_msa": ig_msa,
    "feed_forward": feed_forward,
    "igab": igab,
    "test_script": partial(toolbox.test_script, make=retinexformer),
    "train_steps": partial(toolbox.train_steps, make=retinexformer),
    **toolbox.UNITS,
}
