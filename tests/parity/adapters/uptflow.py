"""UPT-Flow."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tapetum import metrics
from tapetum.evaluation.protocols import get_protocol, pad_bottom_right
from tapetum.methods.uptflow import UPTFlow, UPTFlowConfig
from tapetum.methods.uptflow.blocks import Double, GlobalBlock, Halve, LeFF, WindowBlock
from tapetum.methods.uptflow.coupling import (
    SCALE_FLOOR,
    AttentionGates,
    CouplingNetwork,
    CrossCoupling,
    NormedConv,
)
from tapetum.methods.uptflow.encoder import balanced_points, conditions
from tapetum.methods.uptflow.flow import FlowStep
from tapetum.methods.uptflow.invertible import (
    ActNorm,
    InvertibleConv,
    LogDeterminant,
    ScaledConv,
    Split,
    Squeeze,
    gaussian_log_density,
)
from tapetum.methods.uptflow.objective import bits_per_pixel, dequantised
from tapetum.methods.uptflow.whole_picture import WholePicture
from tapetum.training.recipe import MultiStep
from tapetum.training.schedules import warm_up

from ..case import Case, CaseError, Taken
from .probes import keep_output

Outputs = dict[str, Any]


def network(case: Case) -> nn.Module:
    """Of a full manifest."""
    return uptflow(case.config)


def uptflow(config: Taken) -> UPTFlow:
    fixed = {"L": 3, "cond_channels": 6 * config["dim"], "coupling_eps": SCALE_FLOOR, "quant": 32, "upt_threshold": 0.1}
    for name, value in fixed.items():
        if config[name] != value:
            raise CaseError(f"{name} is {value}, the case wants {config[name]}")
    return UPTFlow(
        UPTFlowConfig(
            win_size=config["win_size"],
            dim=config["dim"],
            depths=tuple(config["depths"]),
            refinement_blocks=config["refinement_blocks"],
            global_heads=tuple(config["global_heads"]),
            window_heads=tuple(config["window_heads"]),
            ffn_expansion=config["ffn_expansion"],
            K=config["K"],
            extra_steps=config["extra_steps"],
            hidden=config["hidden"],
        )
    )


def loaded(case: Case) -> UPTFlow:
    return cast("UPTFlow", case.load_into(uptflow(case.config)))


# --- whole networks ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def whole(case: Case) -> Outputs:
    net = loaded(case)
    low = case.tensor("low")
    probes: dict[str, Tensor] = {}
    for name, module in net.RRDB.named_children():
        if name != "patch_embed":
            keep_output(module, probes, name)  # layers that go down and up are used for the features first
    for number, layer in enumerate(net.flowUpsamplerNet.layers):
        keep_output(layer, probes, f"encode_layer{number:02}")
    given = net.conditions(low)
    names = {name: value for name, value in probes.items() if not name.startswith("encode_")}
    probes = {f"encoder.{name}": value for name, value in names.items()}
    probes |= {f"condition_level{level}": value for level, value in enumerate(given, 1)}
    log_det = LogDeterminant()
    z = net.encode(dequantised(case.tensor("gt"), case.tensor("noise")), given, log_det)
    own = log_det.total()
    pixels = low.shape[2] * low.shape[3]
    back = LogDeterminant()
    round_trip = net.decode(z, given, back)
    torch.testing.assert_close(back.total(), -own, atol=2e-2, rtol=1e-5)  # no case stores it
    heat = case.config["heat"]
    from_eps = net.decode(heat * case.tensor("eps"), given)
    zero = net(low)
    torch.testing.assert_close(net(low, temperature=heat, noise=case.tensor("eps")), from_eps)
    return {
        "upt_map": balanced_points(low),
        "z": z,
        "nll": bits_per_pixel(z, own),
        "logdet": own - np.log(32) * pixels,
        "image_heat0": zero,
        "image_heat0_clamped": zero.clamp(0, 1),
        "image_from_eps": from_eps,
        "image_roundtrip": round_trip,
    } | {f"probe/{name}": value for name, value in probes.items()}


@torch.no_grad()
def enhance(case: Case) -> Outputs:
    net = loaded(case)
    low = case.inputs["image"].astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    padded = torch.from_numpy(pad_bottom_right(low, 8))
    out = net(padded)[:, :, : low.shape[2], : low.shape[3]]
    return {"image": out, "image_clamped": out.clamp(0, 1)}


# --- likelihood -------------------------------------------------------------------------------------------------------


def nll(case: Case) -> Outputs:
    quant, gt, z = case.config["quant"], case.tensor("gt"), case.tensor("z")
    own = case.tensor("flow_logdet")
    bits = bits_per_pixel(z, own, quant)
    return {
        "dequantised": dequantised(gt, case.tensor("noise"), quant),
        "logdet_total": own - np.log(quant) * gt.shape[2] * gt.shape[3],
        "nll": bits,
        "loss": bits.mean(),
    }


def nll_gradient(case: Case) -> Outputs:
    net = loaded(case)
    wanted = case.config["gradients_of"]
    log_det = LogDeterminant()
    noisy = dequantised(case.tensor("gt"), case.tensor("noise"))
    z = net.encode(noisy, net.conditions(case.tensor("low")), log_det)
    loss = bits_per_pixel(z, log_det.total()).mean()
    loss.backward()
    gradients = {name: cast("Tensor", p.grad) for name, p in net.named_parameters()}
    buffers = {name for name, _ in net.named_buffers()}
    norms = [gradients[key].norm() for key in case.content["manifest"] if key not in buffers]
    outputs: Outputs = {f"grad/{name}": gradients[name] for name in wanted}
    return outputs | {"loss": loss, "probe/grad_norm_all": torch.stack(norms)}


def gaussian_logp(case: Case) -> Outputs:
    x, mean, logs = (case.tensor(name) for name in ("x", "mean", "logs"))
    densities = {"logp_unit": gaussian_log_density(x), "logp": gaussian_log_density(x, mean, logs)}
    return {name: value.flatten(1).sum(dim=1) for name, value in densities.items()}


def learning_rates(case: Case) -> Outputs:
    """The published warm-up stops one step short of the rate, and keeps what it has reached: see the recipes."""
    config = case.config
    base, warmup, total = config["lr"], config["warmup"], config["iterations"]
    schedule = MultiStep(
        kind="multi_step", milestones=[round(rel * total) - 1 for rel in config["lr_steps_rel"]], gamma=config["gamma"]
    )
    reached = base * (warmup - 1) / warmup
    iterations = [int(i) for i in case.inputs["iteration"]]
    rates = [warm_up(i, reached, warmup - 1, schedule.rate(i, reached, total)) for i in iterations]
    return {"lr_times_1e4": [1e4 * rate for rate in rates]}


# --- the encoder's layers ---------------------------------------------------------------------------------------------


@torch.no_grad()
def upt_map(case: Case) -> Outputs:
    if (case.config["upt_threshold"], case.config["upt_eps"]) != (0.1, 1e-4):
        raise CaseError("the map's constants are 0.1 and 0.0001")
    return {"upt_map": balanced_points(case.tensor("low"))}


@torch.no_grad()
def global_block(case: Case) -> Outputs:
    config = case.config
    block = case.load_into(GlobalBlock(config["dim"], config["heads"], config["ffn_expansion"]))
    return {"y": block(case.tensor("x"), WholePicture())}


@torch.no_grad()
def window_block(case: Case) -> Outputs:
    config = case.config
    block = case.load_into(WindowBlock(config["dim"], config["heads"], config["win_size"], config["shift"]))
    return {"y": block(case.tensor("x"), case.tensor("map_features"), WholePicture())}


@torch.no_grad()
def leff(case: Case) -> Outputs:
    if case.config["mlp_ratio"] != 4:
        raise CaseError("LeFF's hidden layers have four times the width")
    return {"y": case.load_into(LeFF(case.config["dim"]))(case.tensor("x"), WholePicture())}


@torch.no_grad()
def resampling(case: Case, make: type[nn.Module]) -> Outputs:
    return {"y": case.load_into(make(case.config["dim"]))(case.tensor("x"))}


def condition_concat(case: Case) -> Outputs:
    case.config.ignore("dim")
    features = [case.tensor(f"fea_up{i}") for i in (2, 1, 0)]
    return {f"condition_level{i}": c for i, c in enumerate(conditions(features, case.tensor("cat_f")), 1)}


# --- the flow's layers ------------------------------------------------------------------------------------------------


def squeeze(case: Case) -> Outputs:
    if case.config["factor"] != 2:
        raise CaseError("squeezing is by 2")
    return {"y": Squeeze()(case.tensor("x")), "x_from_y": Squeeze().inverse(case.tensor("y"))}


@torch.no_grad()
def invertible(case: Case, layer: nn.Module, *condition: Tensor) -> Outputs:
    """Forward and inverse, of independent tensors; in train mode the first forward initialises."""
    net = cast("Any", case.load_into(layer))
    net.train(case.config.get("train", False))
    forth, back = LogDeterminant(), LogDeterminant()
    y = net(case.tensor("x"), *condition, log_det=forth)
    outputs: Outputs = {"y": y, "logdet": forth.total()}
    net.eval()
    if "y" in case.inputs:
        outputs |= {"x_from_y": net.inverse(case.tensor("y"), *condition, log_det=back), "logdet_reverse": back.total()}
        outputs["x_roundtrip"] = net.inverse(y, *condition)
    return outputs | {f"after/{key}": value for key, value in net.state_dict().items()}


def actnorm(case: Case) -> Outputs:
    return invertible(case, ActNorm(case.config["channels"]))


def invconv(case: Case) -> Outputs:
    return invertible(case, InvertibleConv(case.config["channels"]))


def affine(case: Case) -> Outputs:
    config = case.config
    _check_floor(config)
    layer = CrossCoupling(config["channels"], config["cond_channels"], config["hidden"])
    return invertible(case, layer, case.tensor("cond"))


def flow_step(case: Case) -> Outputs:
    config = case.config
    _check_floor(config)
    if not config["coupling"]:
        config.ignore("cond_channels", "hidden")
        if "cond" in case.inputs:
            case.inputs.ignore("cond")
        return invertible(case, FlowStep(config["channels"]))
    return invertible(
        case, FlowStep(config["channels"], config["cond_channels"], config["hidden"]), case.tensor("cond")
    )


def _check_floor(config: Taken) -> None:
    if config.get("coupling_eps", SCALE_FLOOR) != SCALE_FLOOR:
        raise CaseError(f"the smallest scale of a coupling is {SCALE_FLOOR}")


@torch.no_grad()
def coupling_net(case: Case) -> Outputs:
    config = case.config
    net = CouplingNetwork(config["in_channels"], config["out_channels"], config["hidden"])
    case.load_into(net)
    x = case.tensor("x")
    raw = net.predict(x, None, WholePicture())
    joined = net.predict(x[:, 5:], x[:, :5], WholePicture())  # half of z comes first
    torch.testing.assert_close(joined, raw)
    shift, scale = net(x, None, WholePicture())
    torch.testing.assert_close(shift, raw[:, 0::2])
    torch.testing.assert_close(scale, (raw[:, 1::2] + 2).sigmoid() + SCALE_FLOOR)
    return {"y": raw}


@torch.no_grad()
def convolution(case: Case, make: type[nn.Module]) -> Outputs:
    config = case.config
    return {
        "y": case.load_into(make(config["in_channels"], config["out_channels"], config["kernel"]))(case.tensor("x"))
    }


@torch.no_grad()
def cbam(case: Case) -> Outputs:
    if case.config["reduction"] != 16:
        raise CaseError("the channel gate divides by 16")
    return {"y": case.load_into(AttentionGates(case.config["channels"]))(case.tensor("x"), WholePicture())}


@torch.no_grad()
def split2d(case: Case) -> Outputs:
    config = case.config
    layer = Split(config["channels"], config["consume_ratio"], config["cond_channels"])
    case.load_into(layer)
    forth, back = LogDeterminant(), LogDeterminant()
    z1, eps = layer(case.tensor("x"), log_det=forth)
    x = layer.inverse(case.tensor("z1"), case.tensor("eps"), log_det=back)
    return {"z1": z1, "eps": eps, "logdet": forth.total(), "x_from_z1_eps": x, "logdet_reverse": back.total()}


# --- pictures and scores ----------------------------------------------------------------------------------------------


def preprocess(case: Case) -> Outputs:
    multiple = case.config["pad_multiple"]
    low = case.inputs["image"].astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    padded = pad_bottom_right(low, multiple)
    levels = np.rint(padded[0].transpose(1, 2, 0) * 255)
    return {"padded": levels, "tensor": padded, "upt_map": balanced_points(torch.from_numpy(padded))}


def postprocess_metrics(case: Case) -> Outputs:
    config = case.config
    if (config["data_range"], config["ssim_window"]) != (255, 7):
        raise CaseError("8-bit pictures, and a window of 7")
    height, width = config["height"], config["width"]
    protocol = get_protocol("uptflow_test_script")
    prediction, reference = case.inputs["prediction"], case.inputs["reference"].astype(np.uint8)
    low = np.zeros((height, width, 3), np.float32)
    outputs: Outputs = {}
    # their correction is switched off; ours (gt_mean_mean) is taken of the cut, clamped picture
    factor = reference.astype(np.float64).mean() / 255 / prediction.astype(np.float64).mean()
    for prefix, gain in (("", 1.0), ("gtmean_", factor)):
        scaled = prediction * np.float32(gain)
        image = protocol.restore(lambda batch, scaled=scaled: scaled, low, 8)
        psnr, ssim = (metrics.get(name)(image, reference) for name in protocol.metrics)
        outputs |= {f"{prefix}image": np.rint(image * 255), f"{prefix}psnr": psnr, f"{prefix}ssim": ssim}
    return outputs | {"gtmean_factor": factor}


COMPONENTS = ("model", "pipeline", "loss", "module", "preprocess", "metric", "schedule")
UNITS = {
    "network": whole,
    "enhance": enhance,
    "nll": nll,
    "nll_gradient": nll_gradient,
    "gaussian_logp": gaussian_logp,
    "lr_schedule": learning_rates,
    "upt_map": upt_map,
    "global_block": global_block,
    "window_block": window_block,
    "leff": leff,
    "downsample": partial(resampling, make=Halve),
    "upsample": partial(resampling, make=Double),
    "condition_concat": condition_concat,
    "squeeze": squeeze,
    "actnorm": actnorm,
    "invconv": invconv,
    "affine": affine,
    "flow_step": flow_step,
    "coupling_net": coupling_net,
    "conv_actnorm": partial(convolution, make=NormedConv),
    "conv_zeros": partial(convolution, make=ScaledConv),
    "cbam": cbam,
    "split2d": split2d,
    "preprocess": preprocess,
    "postprocess_metrics": postprocess_metrics,
}
