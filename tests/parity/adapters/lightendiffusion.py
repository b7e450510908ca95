"""LightenDiffusion."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tapetum.evaluation.protocols import pad_bottom_right
from tapetum.methods.lightendiffusion import LightenDiffusion, LightenDiffusionConfig, Stage1, Stage1Config
from tapetum.methods.lightendiffusion.network import to_latent
from tapetum.methods.lightendiffusion.noise_predictor import (
    Attention,
    DownSample,
    NoisePredictor,
    ResidualBlock,
    UpSample,
    embed_time,
)
from tapetum.methods.lightendiffusion.objective import (
    Draws,
    Latents,
    Stage2Objective,
    antithetic,
    combined,
    decomposed,
    pseudo_target,
)
from tapetum.methods.lightendiffusion.process import Diffusion, Sampling, make_betas
from tapetum.methods.lightendiffusion.stage1 import CrossAttention, SelfAttention, UpSampling, initial_retinex
from tapetum.methods.lightendiffusion.stage1 import ResidualBlock as CtdnResidualBlock
from tapetum.metrics.pictures import as_uint8

from ..case import Case, CaseError, Taken
from .probes import keep_output

Outputs = dict[str, Any]
PUBLISHED_MULTIPLE = 64  # what the published evaluation pads to, whatever the number of levels


def network(case: Case) -> nn.Module:
    """Of a full manifest; one without a noise predictor is of stage 1."""
    if "model" in case.config:
        return LightenDiffusion(config_of(case.config))
    return Stage1(Stage1Config(case.config["ctdn_channels"]))


def config_of(config: Taken) -> LightenDiffusionConfig:
    model = config["model"]
    if (model["in_channels"], model["out_ch"], model["conditional"]) != (3, 3, True):
        raise CaseError("LightenDiffusion predicts the noise of 3 channels under a condition of 3 channels")
    diffusion = config["diffusion"]
    process = ("beta_schedule", "beta_start", "beta_end", "num_diffusion_timesteps", "num_sampling_timesteps")
    return LightenDiffusionConfig(
        ch=model["ch"],
        ch_mult=tuple(model["ch_mult"]),
        num_res_blocks=model["num_res_blocks"],
        dropout=model["dropout"],
        resamp_with_conv=model["resamp_with_conv"],
        ctdn_channels=config["ctdn_channels"],
        **{name: diffusion[name] for name in process},
    )


class Part(nn.Module):
    """Some parts of a whole network, under their own keys."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


@torch.no_grad()
def restore(case: Case) -> Outputs:
    net = case.load_into(LightenDiffusion(config_of(case.config)))
    assert isinstance(net, LightenDiffusion)
    low = case.tensor("low")
    height, width = low.shape[2:]
    padded = torch.from_numpy(pad_bottom_right(low.numpy(), PUBLISHED_MULTIPLE, PUBLISHED_MULTIPLE))
    calls: list[tuple[Tensor, Tensor, Tensor]] = []
    hook = net.Unet.register_forward_hook(partial(_keep_call, calls))
    latent, skips = net.decom.encode(padded)
    restored = net.restore_latent(latent, case.tensor("noise"))
    hook.remove()
    whole = net(padded, noise=case.tensor("noise"))
    assert torch.equal(whole, net.decom.decode(restored, skips))  # the probes are of what was judged
    out = whole[:, :, :height, :width]
    inputs, times, predicted = zip(*calls, strict=True)
    states = [x[:, 3:] for x in inputs]
    a = net.diffusion.alphas_bar[int(times[-1][0])]
    probes = {
        "cond": inputs[0][:, :3],
        "timesteps": [float(t[0]) for t in times],
        "eps_first": predicted[0],
        "eps_last": predicted[-1],
        "x0_unclamped": (states[-1] - predicted[-1] * (1 - a).sqrt()) / a.sqrt(),
        "low_fea": latent,
        "pred_fea": restored,
        "image_uint8": _half_up(out.permute(0, 2, 3, 1).numpy()),
    }
    probes |= {f"x_after_{n}_steps": state for n, state in enumerate(states) if n}
    return {"pred_x": out} | _as_probes(probes)


@torch.no_grad()
def noise_predictor(case: Case) -> Outputs:
    config = config_of(case.config)
    unet = NoisePredictor(config.ch, config.ch_mult, config.num_res_blocks, config.dropout, config.resamp_with_conv)
    case.load_into(Part(Unet=unet))
    probes: dict[str, Tensor] = {}
    for place, module in unet.named_modules():
        keep_output(module, probes, _probe_name(place, config.num_res_blocks))
    return {"eps": unet(case.tensor("x"), case.tensor("t"))} | _as_probes(probes)


def _probe_name(place: str, last: int) -> str:
    """``down.0.block.1`` is "down0_block1", ``up.2.attn.2`` "up2_attn_last" where it is the last one."""
    name = re.sub(r"^(down|up)\.(\d+)\.", r"\1\2_", place)
    name = re.sub(r"(block|attn)\.(\d+)$", r"\1\2", name).replace(".", "_")
    return re.sub(rf"^(up\d+_attn){last}$", r"\1_last", name)


@torch.no_grad()
def decompose(case: Case) -> Outputs:
    stage1 = Stage1(Stage1Config(case.config["ctdn_channels"]))
    case.load_into(Part(decom=stage1))
    outputs: Outputs = {}
    probes: dict[str, Tensor] = {}
    retinex = {"retinex_conv0": "conv0", "retinex_blocks0": "blocks0", "retinex_blocks1": "blocks1"}
    for name, place in (retinex | {n: n for n in ("cross_attention", "self_attention")}).items():
        keep_output(stage1.retinex.get_submodule(place), probes, f"{name}_ch0to7")
    for name, image in zip(("low", "high"), case.tensor("images").chunk(2, dim=1), strict=True):
        latent, skips = stage1.encode(image)
        reflectance, illumination = stage1.decompose(latent)
        outputs |= {f"{name}_fea": latent, f"{name}_R": reflectance, f"{name}_L": illumination}
        if name == "low":
            probes |= {"level0_ch0": skips.half[:, :1], "level1_ch0": skips.quarter[:, :1]}
            probes |= {"level2_ch0to7": skips.eighth}
            probes["init_reflectance"], probes["init_illumination"] = initial_retinex(latent)
    return outputs | _as_probes({n: v[:, :8] for n, v in probes.items()})


@torch.no_grad()
def decode(case: Case) -> Outputs:
    stage1 = Stage1(Stage1Config(case.config["ctdn_channels"]))
    case.load_into(Part(decom=stage1))
    probes: dict[str, Tensor] = {}
    places = {"channel_up_ch0to7": "channel_up", "block_up0_ch0to7": "block_up0", "up_sampling0_ch0to3": "up_sampling0"}
    for name, place in places.items():
        keep_output(stage1.ReconNet.get_submodule(place), probes, name)
    _, skips = stage1.encode(case.tensor("low"))
    image = stage1.decode(case.tensor("pred_fea"), skips)
    return {"pred_img": image} | _as_probes({n: v[:, : 4 if n.endswith("to3") else 8] for n, v in probes.items()})


def stage2_pass(case: Case) -> Outputs:
    net = case.load_into(LightenDiffusion(config_of(case.config)))
    assert isinstance(net, LightenDiffusion)
    objective = Stage2Objective(case.config["lambda_scc"], case.config["gamma"])
    low, normal = case.tensor("images").chunk(2, dim=1)
    latents = decomposed(net.decom, low, normal)
    draws = Draws(case.tensor("draw").long(), case.tensor("e"), case.tensor("x_T"))
    net.train()
    calls: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        hook = net.Unet.register_forward_hook(partial(_keep_call, calls))
        objective.losses(net, latents, draws)
        hook.remove()
    losses = objective.losses(net, latents, draws)
    sampled = objective.sampled(net, latents.condition, draws.start)
    target = pseudo_target(latents.reflectance, latents.illumination, objective.gamma)
    parameters = dict(net.named_parameters())
    outputs: Outputs = {
        "loss": losses["loss"],
        "noise_loss": losses["noise"],
        "scc_loss": losses["consistency"],
        "noise_output": calls[0][2],
        "pred_fea": sampled,
        "reference_fea": target,
    }
    alone = Stage2Objective(1e5 * objective.consistency, objective.gamma).losses(net, latents, draws)
    unweighted = Stage2Objective(0.0, objective.gamma).losses(net, latents, draws)
    for prefix, loss in (("grad.", losses["loss"]), ("grad_scc_x1e5.", alone["loss"] - unweighted["loss"])):
        keys = [name.removeprefix(prefix) for name in case.outputs if name.startswith(prefix)]
        gradients = torch.autograd.grad(loss, [parameters[key] for key in keys], retain_graph=True)
        outputs |= {prefix + key: gradient for key, gradient in zip(keys, gradients, strict=True)}
    assert all(p.grad is None for p in net.decom.parameters())
    probes = {"low_R": latents.reflectance, "low_L": latents.illumination, "t": calls[0][1], "x_t": calls[0][0][:, 3:]}
    return outputs | _as_probes(probes | {"low_fea": (latents.condition + 1) / 2})


def stage2_losses(case: Case) -> Outputs:
    """The two losses on given tensors, by a noise predictor and a sampler that are told what to say."""
    config = case.config
    predicted = case.tensor("noise_output").requires_grad_()
    sampled = case.tensor("pred_fea").requires_grad_()
    noise, reflectance, illumination = (case.tensor(name) for name in ("e", "low_R", "low_L"))

    class Told(Stage2Objective):
        def sampled(self, network: LightenDiffusion, condition: Tensor, start: Tensor) -> Tensor:
            return sampled

    class Says(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return predicted

    net = LightenDiffusion(LightenDiffusionConfig(ch=32, ch_mult=(1,), num_res_blocks=1, ctdn_channels=8))
    net.Unet = Says()  # type: ignore[assignment]
    zeros = torch.zeros_like(noise)
    latents = Latents(zeros, zeros, reflectance, illumination)
    draws = Draws(torch.zeros(len(noise) // 2 + 1, dtype=torch.long), noise, zeros)
    losses = Told(config["lambda_scc"], config["gamma"]).losses(net, latents, draws)
    grad_predicted, grad_sampled = torch.autograd.grad(losses["loss"], [predicted, sampled])
    return {
        "loss": losses["loss"],
        "noise_loss": losses["noise"],
        "scc_loss": losses["consistency"],
        "reference_fea": pseudo_target(reflectance, illumination, config["gamma"]),
        "grad_noise_output": grad_predicted,
        "grad_pred_fea_x1e3": 1e3 * grad_sampled,
    }


def noising(case: Case) -> Outputs:
    process = diffusion_of(case.config)
    latent, reflectance, illumination = (case.tensor(f"low_{name}") for name in ("fea", "R", "L"))
    latents = combined(latent, reflectance, illumination, case.tensor("high_L"))
    t = antithetic(case.tensor("draw").long(), len(latent), process.timesteps)
    return {
        "t": t.float(),
        "cond": latents.condition,
        "x_0": latents.clean,
        "x_t": process.noised(latents.clean, case.tensor("e"), t),
        "reference_fea": pseudo_target(reflectance, illumination, case.config["gamma"]),
    }


def diffusion_of(config: Taken) -> Diffusion:
    names = ("beta_schedule", "num_diffusion_timesteps", "beta_start", "beta_end")
    return Diffusion(make_betas(*(config[name] for name in names)))


def sampler_table(case: Case) -> Outputs:
    config = case.config
    sampling = Sampling(config["num_sampling_timesteps"], config["eta"])
    table, seen = iter(case.tensor("eps")), []
    case.inputs.ignore("cond")

    def predict(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t[0]))
        return next(table)

    injected = case.tensor("step_noise") if "step_noise" in case.inputs else ()
    sample = diffusion_of(config).sample(predict, case.tensor("x_T"), sampling, injected)
    states, times = (torch.stack(values) for values in zip(*seen, strict=True))
    if next(table, None) is not None:
        raise CaseError(f"the sampler made {len(seen)} calls, the published one more")
    return {"x_0": sample, "latent": to_latent(sample), "probe/x_t": states, "probe/timesteps": times}


def schedule(case: Case) -> Outputs:
    outputs: Outputs = {}
    for name, config in case.config["schedules"].items():
        process = diffusion_of(config)
        steps = process.visited(config["num_sampling_timesteps"])
        following = [*steps[1:], -1]
        extended = torch.cat([process.alphas_bar, torch.ones(1)])
        values = {
            "betas": process.betas,
            "alphas_cumprod": process.alphas_bar,
            "timesteps": steps,
            "next_timesteps": following,
            "a_t": extended[steps],
            "a_next": extended[following],
        }
        outputs |= {f"{name}_{key}": value for key, value in values.items()}
    return outputs


def timestep_embedding(case: Case) -> Outputs:
    return {f"embedding_{d}": embed_time(case.tensor("t"), d) for d in case.config["embedding_dims"]}


@torch.no_grad()
def cross_attention(case: Case) -> Outputs:
    module = case.load_into(CrossAttention(case.config["dim"], case.config["num_heads"]))
    probes: dict[str, Tensor] = {}
    for name, place in (("q", "query"), ("k", "key"), ("v", "value")):
        keep_output(module.get_submodule(place), probes, name)
    return {"y": module(case.tensor("q_src"), case.tensor("kv_src"))} | _as_probes(probes)


@torch.no_grad()
def self_attention(case: Case) -> Outputs:
    module = case.load_into(SelfAttention(case.config["dim"], case.config["num_heads"]))
    probes: dict[str, Tensor] = {}
    keep_output(module.get_submodule("qkv_dwconv"), probes, "qkv")
    return {"y": module(case.tensor("x"))} | _as_probes(probes)


@torch.no_grad()
def ctdn_layer(case: Case, make: type[nn.Module]) -> Outputs:
    module = case.load_into(make(case.config["in_channels"], case.config["out_channels"]))
    return {"y": module(case.tensor("x"))}


@torch.no_grad()
def unet_attention(case: Case) -> Outputs:
    return {"y": case.load_into(Attention(case.config["in_channels"]))(case.tensor("x"))}


@torch.no_grad()
def unet_res_block(case: Case) -> Outputs:
    """The time comes before its SiLU, which the network applies once for all blocks."""
    config = case.config
    block = case.load_into(ResidualBlock(config["in_channels"], config["out_channels"], config["temb_channels"], 0.0))
    return {"y": block(case.tensor("x"), nn.functional.silu(case.tensor("temb")))}


@torch.no_grad()
def unet_resample(case: Case) -> Outputs:
    width = case.config["in_channels"]
    with_conv = case.load_into(Part(down=DownSample(width, True), up=UpSample(width, True)))
    x = case.tensor("x")
    return {
        "down": with_conv.get_submodule("down")(x),
        "up": with_conv.get_submodule("up")(x),
        "down_noconv": DownSample(width, False)(x),
        "up_noconv": UpSample(width, False)(x),
    }


def ema(case: Case) -> Outputs:
    """By the average that trainings here use. It begins with the first step's result; the published one, as this case,
    with what was there before. A parameter that is frozen never moves in our trainings, and neither does its average:
    its values in the case, which do, are left out."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = nn.ParameterDict({"a": case.tensor("init_a"), "frozen": case.tensor("init_frozen")})
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(case.config["mu"]))
    average.n_averaged += 1  # registered with the first values, not copied from the first update
    shadows = []
    case.inputs.ignore("frozen")
    for a in case.tensor("a"):
        with torch.no_grad():
            model["a"].copy_(a)
        average.update_parameters(model)
        shadows.append(_parameter(average.module, "a").detach().clone())
    return {"shadow_a": torch.stack(shadows), "shadow_frozen": _parameter(average.module, "frozen")}


def _parameter(module: nn.Module, name: str) -> Tensor:
    return dict(module.named_parameters())[name]


def pad_and_quantise(case: Case) -> Outputs:
    low = case.inputs["image_u8"].transpose(0, 3, 1, 2) / np.float32(255)
    result = np.clip(case.inputs["result"], 0, 1).transpose(0, 2, 3, 1)
    return {
        "padded": pad_bottom_right(low, PUBLISHED_MULTIPLE, PUBLISHED_MULTIPLE),
        "result_u8": _half_up(result),
    }


def _half_up(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """As the published program writes its files. Ours rounds exact halves to even, as everywhere in this package."""
    published = np.floor(np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    ours = as_uint8(image)
    off = published != ours
    assert (published[off] == ours[off] + 1).all()
    assert (ours[off] % 2 == 0).all()
    return published


def _keep_call(
    calls: list[tuple[Tensor, Tensor, Tensor]], module: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor
) -> None:
    calls.append((*inputs, output))


def _as_probes(values: dict[str, Tensor]) -> Outputs:
    return {f"probe/{name}": value for name, value in values.items()}


COMPONENTS = ("model", "module", "loss", "noise", "sampler", "schedule", "train", "ema", "io")
UNITS = {
    "network": network,
    "full_manifest": network,
    "restore": restore,
    "noise_predictor": noise_predictor,
    "decompose": decompose,
    "decode": decode,
    "stage2_pass": stage2_pass,
    "stage2_losses": stage2_losses,
    "noising": noising,
    "sampler_table": sampler_table,
    "schedule": schedule,
    "timestep_embedding": timestep_embedding,
    "cross_attention": cross_attention,
    "self_attention": self_attention,
    "ctdn_res_block": partial(ctdn_layer, make=CtdnResidualBlock),
    "ctdn_upsampling": partial(ctdn_layer, make=UpSampling),
    "unet_attention": unet_attention,
    "unet_res_block": unet_res_block,
    "unet_resample": unet_resample,
    "ema": ema,
    "pad_and_quantise": pad_and_quantise,
}
