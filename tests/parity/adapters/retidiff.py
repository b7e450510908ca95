"""Reti-Diff."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum import metrics
from tapetum.data import augmentation
from tapetum.data.resize import longest, resize_bicubic, scaled
from tapetum.evaluation.protocols import pad_bottom_right
from tapetum.methods.blocks.attention import AttentionMatrices
from tapetum.methods.retidiff import (
    Decomposer,
    Decomposition,
    DecompositionConfig,
    RetiDiff,
    RetiDiffConfig,
    Stage1,
    Stage1Config,
    Stage1Objective,
    Stage2Objective,
)
from tapetum.methods.retidiff.config import SIZE_MULTIPLE, GuidedConfig
from tapetum.methods.retidiff.diffusion import Denoiser, LatentDiffusion, schedule
from tapetum.methods.retidiff.extractors import RetinexExtractor, RGBExtractor
from tapetum.methods.retidiff.layers import (
    Block,
    ChannelNorm,
    CrossAttention,
    Downsample,
    FeedForward,
    SelfAttention,
    Upsample,
)
from tapetum.methods.retidiff.objective import distillation
from tapetum.methods.retidiff.rgformer import AuxiliaryDecoder, RGformer
from tapetum.methods.retidiff.stage1 import Priors
from tapetum.metrics.pictures import as_uint8
from tapetum.training import schedules

from ..case import Case, CaseError, Taken
from .probes import keep_output

Outputs = dict[str, Any]
PRIOR = 256
SHARED = ("n_encoder_res", "dim", "num_refinement_blocks", "ffn_expansion_factor", "bias", "LayerNorm_type")
STAGE2 = ("n_denoise_res", "linear_start", "linear_end", "timesteps")
STAGES = ("patch_embed", "encoder_level1", "latent", "decoder_level1", "img_refinement")


def network(case: Case) -> nn.Module:
    """Of a full manifest."""
    if not len(case.config):
        return Decomposition(DecompositionConfig(pair=False))
    if "timesteps" in case.config:
        return RetiDiff(stage2_config(case.config, auxiliary="G.decom.decom.0.weight" in case.content["manifest"]))
    return Stage1(stage1_config(case.config))


def _shared(config: Taken) -> dict[str, Any]:
    if (config["inp_channels"], config["out_channels"]) != (3, 3):
        raise CaseError("Reti-Diff restores pictures of 3 channels")
    sizes = {name: tuple(config[name]) for name in ("num_blocks", "heads")}
    return {"n_encoder_res": 0} | {name: config[name] for name in SHARED if name in config} | sizes


def stage1_config(config: Taken, decomposition: bool = False) -> Stage1Config:
    return Stage1Config(**_shared(config), decomposition=decomposition)


def stage2_config(config: Taken, auxiliary: bool, decomposition: bool = False) -> RetiDiffConfig:
    process = {name: config[name] for name in STAGE2}
    return RetiDiffConfig(**_shared(config), **process, auxiliary=auxiliary, decomposition=decomposition)


class Parts(nn.Module):
    """Networks under the names by which a case prefixes their keys."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


@torch.no_grad()
def decomnet(case: Case) -> Outputs:
    maps = case.load_into(Decomposer())(case.tensor("x"))
    return {"R": maps[:, :3], "L": maps[:, 3:]}


@torch.no_grad()
def aux_decoder(case: Case) -> Outputs:
    image, maps = case.load_into(AuxiliaryDecoder(case.config["dim"]))(case.tensor("x"))
    return {"image": image, "maps": maps}


@torch.no_grad()
def extractor(case: Case, kind: type[RGBExtractor] | type[RetinexExtractor], names: tuple[str, ...]) -> Outputs:
    module = case.load_into(kind(len(names), 64, case.config["n_encoder_res"], PRIOR))
    probes: Outputs = {}
    for place, name in {"E.0": "first_conv", "E_R.0": "first_conv_R", "E_I.0": "first_conv_I"}.items():
        if f"{place}.weight" in module.state_dict():
            keep_output(module.get_submodule(place), probes, f"probe/{name}")
    return {"z": module(*(case.tensor(name) for name in names))} | probes


@torch.no_grad()
def denoiser(case: Case) -> Outputs:
    timesteps = case.config["timesteps"]
    module = case.load_into(Denoiser(PRIOR, case.config["n_denoise_res"], timesteps))
    return {f"x0_t{t}": module(case.tensor("x"), t, case.tensor("c")) for t in range(timesteps)}


@torch.no_grad()
def layernorm(case: Case) -> Outputs:
    return {"y": case.load_into(ChannelNorm(case.config["dim"], case.config["LayerNorm_type"]))(case.tensor("x"))}


@torch.no_grad()
def resampler(case: Case, kind: type[Downsample] | type[Upsample]) -> Outputs:
    return {"y": case.load_into(kind(case.config["n_feat"]))(case.tensor("x"))}


@torch.no_grad()
def attention(case: Case, kind: type[CrossAttention] | type[SelfAttention]) -> Outputs:
    config = case.config
    module = case.load_into(kind(config["dim"], config["num_heads"], config["bias"], PRIOR))
    return {"y": module(case.tensor("x"), case.tensor("z"))}


@torch.no_grad()
def feed_forward(case: Case) -> Outputs:
    config = case.config
    module = case.load_into(FeedForward(config["dim"], config["ffn_expansion_factor"], config["bias"], PRIOR))
    return {"y": module(case.tensor("x"), case.tensor("z"))}


@torch.no_grad()
def block(case: Case, kind: type[CrossAttention] | type[SelfAttention]) -> Outputs:
    names = ("dim", "num_heads", "ffn_expansion_factor", "bias", "LayerNorm_type")
    module = case.load_into(Block(kind, *(case.config[name] for name in names), PRIOR))
    x = case.tensor("x").contiguous(memory_format=torch.channels_last)
    return {"y": module(x, case.tensor("z"), AttentionMatrices())}


@torch.no_grad()
def rgformer(case: Case) -> Outputs:
    module = case.load_into(RGformer(GuidedConfig(**_shared(case.config)), auxiliary=True))
    assert isinstance(module, RGformer)
    probes = _probed(module)
    restored = module.with_auxiliary(*(case.tensor(name) for name in ("lq", "z_rex", "z_rgb")))
    return {"enhanced": restored.enhanced, "aux_image": restored.image, "aux_maps": restored.maps} | probes


def buffers(case: Case) -> Outputs:
    return dict(schedule(*(case.config[name] for name in ("linear_start", "linear_end", "timesteps"))))


@torch.no_grad()
def diffusion(case: Case, training: bool) -> Outputs:
    config = case.config
    model = Denoiser(PRIOR, config["n_denoise_res"], config["timesteps"])
    condition = RGBExtractor(1, 64, config["n_encoder_res"], PRIOR)
    process = LatentDiffusion(model, condition, config["linear_start"], config["linear_end"])
    case.load_into(process)
    image, noise = case.tensor("x"), case.tensor("noise")
    if training:
        states = process.unrolled(image, case.tensor("z0"), noise)
        return {"z": states[-1]} | {f"step{i}": state for i, state in enumerate(states)}
    states = process.chain(condition(image), noise)
    return {"z": process.sample(image, noise)} | {f"probe/step{i}": state for i, state in enumerate(states)}


@torch.no_grad()
def stage1(case: Case, training: bool) -> Outputs:
    net = case.load_into(Stage1(stage1_config(case.config)))
    assert isinstance(net, Stage1)
    low, target = case.tensor("lq"), case.tensor("gt")
    maps = [torch.cat([case.tensor(f"{name}_R"), case.tensor(f"{name}_L")], dim=1) for name in ("lq", "gt")]
    priors = net.priors(low, target, *maps)
    outputs: Outputs = _probed(net.G) | {"probe/z_rex": priors.rex, "probe/z_rgb": priors.rgb}
    if not training:
        return {"enhanced": net.restore(low, priors)} | outputs
    restored = net.with_auxiliary(low, priors)
    return {"enhanced": restored.enhanced, "aux_image": restored.image, "aux_maps": restored.maps} | outputs


@torch.no_grad()
def stage2(case: Case, auxiliary: bool, training: bool) -> Outputs:
    net = case.load_into(RetiDiff(stage2_config(case.config, auxiliary)))
    assert isinstance(net, RetiDiff)
    low, maps = case.tensor("lq"), case.tensor("retinex_lq")
    noise = Priors(case.tensor("noise_rex"), case.tensor("noise_rgb"))
    outputs: Outputs = _probed(net.G)
    outputs |= {"probe/cond_rex": net.rex_condition(maps), "probe/cond_rgb": net.img_condition(low)}
    if not training:
        priors = net.sampled(low, maps, torch.cat(noise, dim=1))
        enhanced = net.G(low, *priors)
        outputs |= {"probe/z_rex": priors.rex, "probe/z_rgb": priors.rgb}
        return {"enhanced": enhanced, "enhanced_clamped": enhanced.clamp(0, 1)} | outputs
    chains = {
        "rex": net.rex_diffusion.unrolled(maps, case.tensor("z0_rex"), noise.rex),
        "rgb": net.img_diffusion.unrolled(low, case.tensor("z0_rgb"), noise.rgb),
    }
    restored = net.with_auxiliary(low, Priors(chains["rex"][-1], chains["rgb"][-1]))
    states = {f"z_{name}_step{i}": state for name, chain in chains.items() for i, state in enumerate(chain)}
    shown = {"enhanced": restored.enhanced, "aux_image": restored.image, "aux_maps": restored.maps}
    return shown | states | outputs


def train_s1_step(case: Case) -> Outputs:
    case.config.ignore("lr")
    published = stage1_config(case.config)
    parts = case.load_into(Parts(net_g=Stage1(published), decom_low=Decomposer(), decom_high=Decomposer()))
    net = Stage1(stage1_config(case.config, decomposition=True))
    net.load_state_dict(_without_prefix(parts.state_dict(), "net_g."))
    net.freeze_decomposition()
    losses = Stage1Objective()(net, {"low": case.tensor("lq"), "target": case.tensor("gt")})
    terms = {f"l_{name}": losses[name] for name in ("pix", "recon_out", "recon_in")}
    return terms | _gradients(case, net, losses["loss"])


def train_s2_step(case: Case) -> Outputs:
    config = case.config
    config.ignore("lr_encoder", "lr_sr", "gamma_encoder", "gamma_sr", "lr_decay_encoder", "lr_decay_sr")
    published = stage2_config(config, auxiliary=True)
    parts = case.load_into(
        Parts(
            net_g=RetiDiff(published),
            net_S1=Stage1(stage1_config(config)),
            decom_low=Decomposer(),
            decom_high=Decomposer(),
        )
    )
    net = RetiDiff(RetiDiffConfig(**(published.__dict__ | {"decomposition": True, "teacher": True})))
    whole = _without_prefix(parts.state_dict(), "net_g.")
    teacher = {f"teacher.{k}": v for k, v in _without_prefix(whole, "net_S1.").items()}
    wanted = net.state_dict()
    missing = set(wanted) - set(whole) - set(teacher)
    assert not missing, missing
    net.load_state_dict({key: (whole | teacher)[key] for key in wanted})
    net.freeze_others()
    phase = "prior" if config["current_iter"] < config["encoder_iter"] else "joint"
    objective = Stage2Objective(phase, 1.0, config["kd_opt"]["loss_weight"], config["kd_opt"]["temperature"])
    objective.check(net)
    batch = {"low": case.tensor("lq"), "target": case.tensor("gt")}
    losses = objective.losses(net, batch, Priors(case.tensor("noise_rex"), case.tensor("noise_rgb")))
    return {f"l_{name}": loss for name, loss in losses.items()} | _gradients(case, net, losses["loss"])


def _without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items()}


def _gradients(case: Case, net: nn.Module, loss: Tensor) -> Outputs:
    loss.backward()
    parameters = dict(net.named_parameters(remove_duplicate=False))
    gradients = {key: parameters[key].grad for key in case.config["grad_keys"]}
    ordered = [parameters[key].grad for key in case.config["grad_order"]]
    norms = [0.0 if gradient is None else gradient.norm().item() for gradient in ordered]
    return {f"grad/{key}": gradient for key, gradient in gradients.items()} | {"grad_norms": norms}


def kd_loss(case: Case) -> Outputs:
    kl, l1 = distillation(
        case.tensor("student"), case.tensor("teacher"), case.config["temperature"], case.config["loss_weight"]
    )
    return {"kl": kl, "l1": l1}


def lr_stage1(case: Case) -> Outputs:
    config = case.config
    names = ("lr", "periods", "restart_weights", "eta_mins")
    return {"lr": [schedules.cosine_restart_cyclic(i, *(config[name] for name in names)) for i in config["iterations"]]}


def lr_stage2(case: Case) -> Outputs:
    """Two recipes, each with its own steps; a rate of 0 where a phase does not run."""
    config = case.config
    switch, iterations = config["encoder_iter"], config["iterations"]
    every, joint_every = config["lr_decay_encoder"], config["lr_decay_sr"]
    # published rates fall in the iteration whose number is a multiple, not after it
    falls = [n * every - 1 for n in range(1, switch // every + 1)]
    joint_falls = [n * joint_every for n in range(1, max(iterations) // joint_every + 1)]
    prior = [schedules.multi_step(i, config["lr_encoder"], falls, config["gamma_encoder"]) for i in iterations]
    after = [max(i - switch + 1, 1) for i in iterations]
    joint = [schedules.multi_step(i, config["lr_sr"], joint_falls, config["gamma_sr"]) for i in after]
    first = np.array(iterations) < switch
    return {"lr_encoder_phase": np.where(first, prior, 0), "lr_joint_phase": np.where(first, 0, joint)}


def transforms(case: Case) -> Outputs:
    config, image = case.config, case.inputs["image"]
    size = config["gt_size"]
    outputs: Outputs = {f"augment{mode}": augmentation.geometric(image, mode) for mode in range(8)}
    outputs["pad"] = augmentation.pad_to(image, config["pad_size"])
    outputs["resize"] = resize_bicubic(image, size, size)
    outputs["resize_b"] = resize_bicubic(case.inputs["image_b"], size, size)
    long = case.inputs["image_long"]
    for name, array, rule in (("scale8", image, scaled(config["scale_rate"])), ("long_edge_2048", long, longest(2048))):
        height, width = rule(*array.shape[:2])
        outputs[name] = resize_bicubic(array, width, height)
    return outputs


def postprocess(case: Case) -> Outputs:
    return {"image_u8_rgb": as_uint8(case.tensor("x")[0].permute(1, 2, 0).numpy())}


def picture_metrics(case: Case) -> Outputs:
    enhanced, target = (case.inputs[name].astype(np.uint8)[..., ::-1] for name in ("img", "img2"))
    outputs: Outputs = {}
    for border in case.config["crop_borders"]:
        suffix = f"_crop{border}" if border else ""
        inner = slice(border, -border or None)
        a, b = (np.ascontiguousarray(each[inner, inner]) for each in (enhanced, target))
        outputs |= {
            f"psnr_rgb{suffix}": metrics.psnr_rgb_uint8(a, b),
            f"psnr_y{suffix}": metrics.psnr_y_uint8(a, b),
            f"ssim_rgb{suffix}": metrics.ssim_gaussian_valid_uint8(a, b),
            f"ssim_y{suffix}": metrics.ssim_y_valid_uint8(a, b),
        }
    return outputs


@torch.no_grad()
def pipeline(case: Case) -> Outputs:
    if case.config["window_size"] != SIZE_MULTIPLE:
        raise CaseError(f"Reti-Diff pads to multiples of {SIZE_MULTIPLE}")
    published = stage2_config(case.config, auxiliary=False)
    parts = case.load_into(Parts(net_g=RetiDiff(published), decom_low=Decomposer()))
    net = RetiDiff(RetiDiffConfig(**(published.__dict__ | {"decomposition": True})))
    net.load_state_dict(_without_prefix(parts.state_dict(), "net_g."))
    image = case.inputs["image_u8_rgb"].transpose(2, 0, 1)[None] / np.float32(255)
    height, width = image.shape[2:]
    padded = torch.from_numpy(pad_bottom_right(image, SIZE_MULTIPLE, SIZE_MULTIPLE))
    noise = torch.cat([case.tensor("noise_rex"), case.tensor("noise_rgb")], dim=1)
    enhanced = net(padded, noise=noise)[..., :height, :width]
    maps = net.maps(padded)
    probes = {"probe/padded": padded, "probe/R": maps[:, :3], "probe/L": maps[:, 3:]}
    return {"enhanced": enhanced, "enhanced_clamped": enhanced.clamp(0, 1)} | probes


def _probed(former: RGformer) -> Outputs:
    probes: Outputs = {}
    for name in STAGES:
        keep_output(former.get_submodule(name), probes, f"probe/{name}")
    return probes


COMPONENTS = ("model", "module", "loss", "sampler", "schedule", "metric", "preprocess", "postprocess", "pipeline")
UNITS = {
    "network": network,
    "decomnet": decomnet,
    "aux_decoder": aux_decoder,
    "prior_rgb_s1": partial(extractor, kind=RGBExtractor, names=("x", "gt")),
    "prior_rgb_s2": partial(extractor, kind=RGBExtractor, names=("x",)),
    "prior_rex_s1": partial(extractor, kind=RetinexExtractor, names=("x", "gt")),
    "prior_rex_s2": partial(extractor, kind=RetinexExtractor, names=("x",)),
    "denoiser": denoiser,
    "layernorm": layernorm,
    "downsample": partial(resampler, kind=Downsample),
    "upsample": partial(resampler, kind=Upsample),
    "rg_mca": partial(attention, kind=CrossAttention),
    "mdta": partial(attention, kind=SelfAttention),
    "dfa_ffn": feed_forward,
    "rg_block": partial(block, kind=CrossAttention),
    "rgb_block": partial(block, kind=SelfAttention),
    "rgformer": rgformer,
    "schedule": buffers,
    "diffusion_sample": partial(diffusion, training=False),
    "diffusion_train": partial(diffusion, training=True),
    "s1_eval": partial(stage1, training=False),
    "s1_train": partial(stage1, training=True),
    "s2_eval": partial(stage2, auxiliary=True, training=False),
    "s2_train": partial(stage2, auxiliary=True, training=True),
    "s2i_eval": partial(stage2, auxiliary=False, training=False),
    "train_s1_step": train_s1_step,
    "train_s2_step": train_s2_step,
    "kd_loss": kd_loss,
    "lr_stage1": lr_stage1,
    "lr_stage2": lr_stage2,
    "transforms": transforms,
    "postprocess": postprocess,
    "metrics": picture_metrics,
    "pipeline": pipeline,
}
