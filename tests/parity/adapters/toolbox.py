"""Units of the Retinexformer / BasicSR toolbox: what every method of that family is trained, tested and scored with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from tapetum import losses, metrics
from tapetum.data import augmentation
from tapetum.data.arrays import prepare_array
from tapetum.evaluation.protocols import get_protocol
from tapetum.metrics.pictures import as_uint8
from tapetum.training import schedules

from ..case import Case, CaseError, Taken

Outputs = dict[str, Any]
MakeNetwork = Callable[[Taken], nn.Module]


def loss_functions(case: Case) -> Outputs:
    factor, eps = case.config.get("loss_weight", 1.0), case.config.get("charbonnier_eps", 1e-3)
    pred, target = case.tensor("pred"), case.tensor("target")
    weight = case.tensor("weight") if "weight" in case.inputs else None
    functions = {
        "l1": lambda p: factor * losses.l1(p, target),
        "l1_sum": lambda p: factor * losses.l1(p, target, reduction="sum"),
        "l1_weighted": lambda p: factor * losses.l1(p, target, weight),
        "mse": lambda p: factor * losses.mse(p, target),
        "charbonnier": lambda p: losses.charbonnier(p, target, eps),  # officially without the factor
        "psnr": lambda p: factor * losses.psnr(p, target),
        "psnr_y": lambda p: factor * losses.psnr(p, target, on_luma=True),
    }
    outputs: Outputs = {}
    for name, function in functions.items():
        leaf = pred.clone().requires_grad_()
        value = function(leaf)
        (outputs[f"{name}_grad"],) = torch.autograd.grad(value, leaf)
        outputs[name] = value
    return outputs


def learning_rates(case: Case) -> Outputs:
    config = case.config
    config.ignore("betas", "total_iter")
    return {"lr_times_1e4": [1e4 * _rate(int(i), config["lr"], config) for i in case.inputs["iteration"]]}


def mixup(case: Case) -> Outputs:
    case.config.ignore("mixup_beta", "use_identity")  # of the drawing; lam and perm are given
    lam, permutation = float(case.inputs["lam"][0]), case.tensor("perm").long()
    return {name: augmentation.mixup(case.tensor(name), lam, permutation) for name in ("lq", "gt")}


def geometric_augmentation(case: Case) -> Outputs:
    return {f"mode_{mode}": augmentation.geometric(case.inputs["image"], mode) for mode in range(8)}


def train_pad_crop(case: Case) -> Outputs:
    size = case.config["gt_size"]
    top, left = int(case.inputs["top"][0]), int(case.inputs["left"][0])
    outputs: Outputs = {}
    for name in ("lq", "gt"):
        outputs[f"{name}_padded"] = padded = augmentation.pad_to(case.inputs[name], size)
        outputs[name] = padded[top : top + size, left : left + size]
    return outputs


def npy_image(case: Case) -> Outputs:
    width, height = case.config["train_size"]
    array = case.inputs["array"]
    return {
        "from_uint8": prepare_array(array.astype(np.uint8), width, height).transpose(2, 0, 1),
        "from_float32": prepare_array(array, width, height).transpose(2, 0, 1),
    }


def validation_metrics(case: Case) -> Outputs:
    result, gt = (case.inputs[name][0].transpose(1, 2, 0) for name in ("result", "gt"))
    clamped = metrics.psnr_float_validation(result, gt)
    # the published function guesses its peak from the unclamped data: a slip that only this case knows
    error = np.square(result.astype(np.float64) - gt.astype(np.float64)).mean()
    peak = 255.0 if result.max() > 1 else 1.0
    return {
        "clamped": clamped,
        "logged": clamped,
        "clamped_crop_border_4": metrics.psnr_float_validation(result, gt, crop_border=4),
        "function_on_unclamped": 20 * np.log10(peak / np.sqrt(error)),
        "result_uint8_bgr": as_uint8(result)[..., ::-1],
        "uint8": metrics.psnr_rgb_uint8(result, gt),
        "uint8_y": metrics.psnr_y_uint8(result, gt),
        "uint8_y_ssim": metrics.ssim_y_uint8(result, gt),
        "uint8_ssim_3d": metrics.ssim_3d_uint8(result, gt),
    }


def test_metrics(case: Case) -> Outputs:
    restored, target = case.inputs["restored"], case.inputs["target"]
    return {
        "psnr": metrics.psnr_float(restored, target),
        "ssim": _ssim(restored, target),
        "restored_uint8": as_uint8(restored),
        "psnr_uint8": metrics.psnr_rgb_uint8(restored, target),
    }


def test_script(case: Case, make: MakeNetwork) -> Outputs:
    network = case.load_into(make(case.config))
    size_multiple = network.properties.size_multiple

    def predict(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(batch)).numpy()

    plain = get_protocol("retinexformer_test_script")
    protocols = {
        "plain": plain,
        "gt_mean": replace(plain, gt_mean="gt_mean_gray601_rgb"),
        "self_ensemble": replace(plain, self_ensemble=True),
    }
    low, target = (case.inputs[f"{name}_uint8"] / np.float32(255) for name in ("input", "target"))
    outputs: Outputs = {}
    for mode in {name.rsplit("_", 1)[0] for name in case.outputs}:
        if mode not in protocols:
            raise CaseError(f"the test script has no mode {mode!r} (it has {', '.join(protocols)})")
        restored = protocols[mode].restore(predict, low, size_multiple, target)
        outputs[f"{mode}_restored"] = restored
        outputs[f"{mode}_psnr"] = metrics.psnr_float(restored, target)
        outputs[f"{mode}_ssim"] = _ssim(restored, target)
    return outputs


def train_steps(case: Case, make: MakeNetwork) -> Outputs:
    config = case.config
    network = case.load_into(make(config["network_g"])).train()
    if config["use_grad_clip"] is not True:
        raise CaseError("training steps without gradient clipping are not known")
    optimiser = torch.optim.Adam(network.parameters(), lr=config["optim_g"]["lr"], betas=config["optim_g"]["betas"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    lq, gt = case.tensor("lq"), case.tensor("gt")
    outputs: Outputs = {"loss": [], "grad_norm": [], "lr_times_1e4": []}
    for i, (low, target) in enumerate(zip(lq, gt, strict=True), start=1):
        rate = _rate(i, config["optim_g"]["lr"], config["scheduler"])
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        loss = losses.l1(network(low), target)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), config["grad_clip_norm"])
        optimiser.step()
        outputs["loss"].append(loss.item())
        outputs["grad_norm"].append(norm.item())
        outputs["lr_times_1e4"].append(1e4 * rate)
    after = network.eval().state_dict()
    for key in config["record"]:
        outputs[f"delta/{key}"] = 1e3 * (after[key] - before[key])
    with torch.no_grad():
        outputs["final_out"] = network(lq[0])
    return outputs


def _ssim(restored: np.ndarray, target: np.ndarray) -> float:
    """Of the test script, which takes the mean over no position at all where the window does not fit."""
    return metrics.ssim_gaussian_valid_uint8(restored, target) if min(target.shape[:2]) >= 11 else np.nan


def _rate(iteration: int, base: float, config: Taken) -> float:
    return schedules.cosine_restart_cyclic(
        iteration, base, config["periods"], config["restart_weights"], config["eta_mins"]
    )


UNITS: dict[str, Callable[[Case], Outputs]] = {
    "losses": loss_functions,
    "lr_schedule": learning_rates,
    "mixup": mixup,
    "geometric_augmentation": geometric_augmentation,
    "train_pad_crop": train_pad_crop,
    "npy_image": npy_image,
    "val_psnr": validation_metrics,
    "test_metrics": test_metrics,
}
COMPONENTS = (
    "model",
    "module",
    "loss",
    "schedule",
    "augmentation",
    "preprocessing",
    "evaluation",
    "metric",
    "training",
)
