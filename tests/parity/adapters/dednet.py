"""DED-Net. What it shares with Retinexformer is in that adapter and in toolbox.py."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tapetum.methods.blocks.attention import AttentionMatrices
from tapetum.methods.blocks.restorer import AttentionBlocks
from tapetum.methods.dednet import DEDNet, DEDNetConfig
from tapetum.methods.dednet.network import FeatureEnhancer, FeedForward, ScaleAwareAggregation

from ..case import Case, CaseError, Taken
from . import retinexformer, toolbox
from .probes import keep_output


def network(case: Case) -> nn.Module:
    """Of a full manifest."""
    return dednet(case.config)


def dednet(config: Taken) -> DEDNet:
    """Left out options have the defaults of the published constructor, which no published file uses."""
    config.ignore("type")
    if (config.get("in_channels", 3), config.get("out_channels", 3)) != (3, 3):
        raise CaseError("DED-Net lights up and restores 3 channels")
    blocks = tuple(config.get("num_blocks", (1, 1, 1)))
    return DEDNet(
        DEDNetConfig(config.get("n_feat", 31), config.get("stage", 3), blocks, config.get("ffn", "dense")),
    )


@torch.no_grad()
def whole(case: Case) -> toolbox.Outputs:
    net = case.load_into(dednet(case.config))
    stage = net.body[0]
    restorer = stage.denoiser
    probes = retinexformer.probe_restorer(restorer)
    keep_output(stage.feat_enhancer, probes, "ife_out")
    low = case.tensor("image")
    estimates = []
    stage.estimator.register_forward_hook(lambda module, inputs, output: estimates.append(output))
    restorer.register_forward_pre_hook(partial(_keep_inputs, probes))
    out = net(low)
    for name, (feature, illumination) in zip(("image", "enhanced"), estimates, strict=True):
        probes |= {f"illu_fea_{name}": feature, f"illu_map_{name}": illumination}
    return {"out": out, "out_clamped": out.clamp(0, 1)} | {f"probe/{name}": value for name, value in probes.items()}


@torch.no_grad()
def image_feature_enhancement(case: Case) -> toolbox.Outputs:
    module = case.load_into(FeatureEnhancer())
    probes: dict[str, Tensor] = {}
    for name, probe in (("scale_aware_aggregation", "aggregation"), *((n, n) for n in ("quarter_conv", "hexa_conv"))):
        keep_output(module.get_submodule(name), probes, probe)
    keep_output(module.get_submodule("ue_conv8"), probes, "ue_conv8")
    scales = iter((1, 2, 3))  # full, quarter, smallest: the order of the calls
    module.get_submodule("e_conv7").register_forward_hook(
        lambda m, i, output: probes.update({f"e_conv7_preact_{next(scales)}": output.clone()})
    )
    out = module(case.tensor("image"))
    return {"out": out} | {f"probe/{name}": value for name, value in probes.items()}


@torch.no_grad()
def scale_aware_aggregation(case: Case) -> toolbox.Outputs:
    module = case.load_into(ScaleAwareAggregation(case.config["channels"]))
    return {"out": module(case.tensor("x"), case.tensor("quarter_x"))}


@torch.no_grad()
def feed_forward(case: Case) -> toolbox.Outputs:
    config = case.config
    module = FeedForward(config["dim"], config.get("mult", 4), ffn=config.get("ffn", "dense"))
    return {"out": case.load_into(module)(case.tensor("x"))}


@torch.no_grad()
def igab(case: Case) -> toolbox.Outputs:
    config = case.config
    make = partial(FeedForward, ffn=config.get("ffn", "dense"))
    width, heads, head_width = (config[name] for name in ("dim", "heads", "dim_head"))
    if width != heads * head_width:
        raise CaseError(f"{heads} heads of {head_width} channels do not make {width} channels")
    blocks = case.load_into(AttentionBlocks(width, heads, config["num_blocks"], make))
    return {"out": blocks(case.tensor("x"), case.tensor("illu"), AttentionMatrices())}


def _keep_inputs(probes: dict[str, Tensor], module: nn.Module, inputs: tuple[Tensor, Tensor, object]) -> None:
    probes |= {"lit_up": inputs[0], "illu_fea_used": inputs[1]}


COMPONENTS = toolbox.COMPONENTS
UNITS = {
    "network": whole,
    "image_feature_enhancement": image_feature_enhancement,
    "scale_aware_aggregation": scale_aware_aggregation,
    "illumination_estimator": retinexformer.illumination_estimator,
    "ig_msa": retinexformer.ig_msa,
    "feed_forward": feed_forward,
    "igab": igab,
    "test_script": partial(toolbox.test_script, make=dednet),
    "train_steps": partial(toolbox.train_steps, make=dednet),
    **toolbox.UNITS,
}
