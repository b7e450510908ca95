"""What MambaLLIE is trained, read and scored with."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum import losses, metrics
from tapetum.data import augmentation, layouts
from tapetum.data.arrays import load_array, prepare_array
from tapetum.data.pairs import Pair, pairs_of_folders
from tapetum.errors import InputError
from tapetum.imaging import Picture, write_picture
from tapetum.metrics.pictures import as_uint8, cut_border
from tapetum.training import schedules

from ..case import Case, CaseError, Taken

Outputs = dict[str, Any]

LOSS_TYPES = {"L1Loss": "l1", "MSELoss": "mse", "CharbonnierLoss": "charbonnier"}


def with_gradients(
    case: Case, module: nn.Module, call: Callable[..., Tensor], names: Sequence[str], prefix: str
) -> Outputs:
    """y of ``call(*inputs)`` and, where the case has them, the gradients of ``sum(y * loss_weight)``."""
    inputs = [case.tensor(name).requires_grad_() for name in names]
    y = call(*inputs)
    outputs: Outputs = {"y": y}
    if any(name.startswith("grad") for name in case.outputs):
        parameters = dict(module.named_parameters())
        leaves = [*inputs, *parameters.values()]
        given = torch.autograd.grad((y * case.tensor("loss_weight")).sum(), leaves)
        outputs |= {f"grad_{prefix}{name}": grad for name, grad in zip(names, given, strict=False)}
        outputs |= {f"grad/{key}": grad for key, grad in zip(parameters, given[len(names) :], strict=True)}
    case.inputs.ignore("loss_weight")
    return outputs


def loss_functions(case: Case) -> Outputs:
    """Each by its name: [grad] loss reduction, then in any order a weight map, a factor (x0.5) and an eps."""
    usual = case.config.get("charbonnier_eps", 1e-12)
    case.inputs.ignore("target", *(name for name in case.inputs if name.startswith("weight")))
    outputs: Outputs = {}
    for name in case.outputs:
        loss, reduction, *rest = name.removeprefix("grad_").split("_")
        options = {kind: text for text in rest for kind in ("weight", "x", "eps") if text.startswith(kind)}
        if len(options) != len(rest) or loss not in ("l1", "mse", "charbonnier", "tv"):
            raise CaseError(f"no loss {name!r}")
        pred = case.tensor("pred").requires_grad_()
        eps = float(options.get("eps", f"eps{usual}").removeprefix("eps"))
        value = _loss(case, loss, reduction, options.get("weight"), pred, eps)
        value = value * float(options.get("x", "x1").removeprefix("x"))
        outputs[name] = torch.autograd.grad(value.sum(), pred)[0] if name.startswith("grad_") else value
    return outputs


def _loss(case: Case, loss: str, reduction: str, weight: str | None, pred: Tensor, eps: float) -> Tensor:
    if loss == "tv":
        if reduction != "mean" or weight:
            raise CaseError("the total variation has the reduction mean, and no weight map")
        return losses.total_variation(pred)
    options: dict[str, Any] = {"reduction": reduction}
    if weight:
        options["weight"] = case.tensor(weight)
    if loss == "charbonnier":
        options["eps"] = eps**0.5  # officially added under the root as it is
    return getattr(losses, loss)(pred, case.tensor("target"), **options)


def mixup(case: Case) -> Outputs:
    lam, permutation = case.config["lam"], torch.tensor(case.config["permutation"])
    return {name: augmentation.mixup(case.tensor(name), lam, permutation) for name in case.outputs}


def learning_rates(case: Case) -> Outputs:
    config = case.config
    bases = config["base_lr"]
    rate = SCHEDULES[config["type"]]
    warm = config.get("warmup_iter", -1)

    def at(iteration: int, base: float) -> float:
        return schedules.warm_up(iteration, base, warm, rate(config, iteration, base))

    iterations = [int(i) for i in case.inputs["iteration"]]
    if isinstance(bases, list):  # one for each group of parameters
        return {"lr": [[at(i, base) for base in bases] for i in iterations]}
    return {"lr": [at(i, bases) for i in iterations]}


def _cyclic(config: Taken, iteration: int, base: float) -> float:
    return schedules.cosine_restart_cyclic(
        iteration, base, config["periods"], config.get("restart_weights", [1]), config.get("eta_mins", [0])
    )


def _one_minimum(config: Taken, iteration: int, base: float) -> float:
    periods = config["periods"]
    weights = config.get("restart_weights", [1] * len(periods))
    return schedules.cosine_restart_cyclic(iteration, base, periods, weights, [config.get("eta_min", 0)] * len(periods))


def _multi_step(config: Taken, iteration: int, base: float) -> float:
    return schedules.multi_step(
        iteration,
        base,
        config["milestones"],
        config.get("gamma", 0.1),
        config.get("restarts", (0,)),
        config.get("restart_weights", (1,)),
    )


SCHEDULES: dict[str, Callable[[Taken, int, float], float]] = {
    "CosineAnnealingRestartCyclicLR": _cyclic,
    "CosineAnnealingRestartLR": _one_minimum,
    "MultiStepLR": _multi_step,
    "MultiStepRestartLR": _multi_step,
}


def to_image(case: Case) -> Outputs:
    return {"image_bgr": as_uint8(case.inputs["x"][0].transpose(1, 2, 0))[..., ::-1]}


def measures(case: Case) -> Outputs:
    """Each by its name: the measure, then in any order "y" and "borderN"; "dark_quirk" names the inputs."""
    usual = case.config.get("crop_border", 0)
    flipped = case.config.get("channel_order", "BGR") == "BGR"
    case.inputs.ignore(*case.inputs)
    outputs: Outputs = {}
    for name in case.outputs:
        measure, *rest = name.removesuffix("_dark_quirk").split("_")
        borders = [int(text.removeprefix("border")) for text in rest if re.fullmatch(r"border\d+", text)]
        on_luma = "y" in rest
        if measure not in ("psnr", "ssim") or len(borders) + on_luma != len(rest):
            raise CaseError(f"no measure {name!r}")
        border = borders[0] if borders else usual if isinstance(usual, int) else 0
        prefix = "dark_" if name.endswith("_dark_quirk") else ""
        a, b = (case.inputs[prefix + side].astype(np.uint8) for side in ("a", "b"))
        a, b = (cut_border(image[..., ::-1] if flipped else image, border) for image in (a, b))
        if measure == "ssim":
            outputs[name] = (metrics.ssim_y_valid_uint8 if on_luma else metrics.ssim_gaussian_valid_uint8)(a, b)
            continue
        outputs[name] = (metrics.psnr_y_uint8 if on_luma else metrics.psnr_rgb_uint8)(a, b)
        if not on_luma and a.max() <= 1:
            # officially the peak is then 1: a slip that only these cases know
            outputs[name] -= 20 * np.log10(255)
    return outputs


def npy_frame(case: Case) -> Outputs:
    array = case.inputs["array"].astype(np.uint8)
    sizes = {f"resized_{width}x{height}": (width, height) for width, height in case.config.get("sizes", [])}
    sizes["no_resize"] = (array.shape[1], array.shape[0])
    return {name: prepare_array(array, *size).transpose(2, 0, 1) for name, size in sizes.items()}


# horizontal flip, vertical flip, transposition, in that order -> the mode of augmentation.geometric
MODES = {"000": 0, "010": 1, "110": 4, "100": 5, "001": 3, "101": 2, "011": 6, "111": 7}


def geometric_augmentation(case: Case) -> Outputs:
    outputs: Outputs = {}
    for name in case.outputs:
        kind, side, flags = name.split("_")
        image = case.inputs[side].transpose(1, 2, 0)
        if kind == "paired":
            turned = augmentation.geometric(image, MODES[flags])
        else:
            turned = augmentation.flips(image, flags[0] == "1", flags[1] == "1")
        outputs[name] = turned.transpose(2, 0, 1)
    return outputs


def dataset(case: Case) -> Outputs:
    """Samples in order and what is read of the first; the lists are compared here."""
    config, content = case.config, case.content
    kind = config["type"]
    if kind not in LISTS:
        raise CaseError(f"no data set {kind!r} (there are {', '.join(LISTS)})")
    if "io_backend" in config and config["io_backend"]["type"] != "disk":
        raise CaseError(f"files lie on a disk here, not in {config['io_backend']['type']}")
    config.ignore("name", "gt_size", "padding", "interval_list", "random_reverse", "border_mode")
    config.ignore("cache_keys", "use_shuffle", "use_flip", "use_hflip", "use_rot", "scale", "task", "color", "N_frames")
    if kind != "PairedImageDataset":
        config.ignore("filename_tmpl", "testing_dir", "train_size")
    if config.get("cache_data", True) is not True and kind != "PairedImageDataset":
        raise CaseError("cache_data must be true")
    outputs: Outputs = {}
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for path in {*content["tree"], *content.get("texts", {})}:
            _write(root / path, path, content)
        for phase, expected in content["expected"].items():
            pairs = _listed(config, f"{root.as_posix()}/", phase, expected)
            listed = [_entry(pairs, i, root, wanted, config) for i, wanted in enumerate(expected[: len(pairs)])]
            if len(pairs) != len(expected) or listed != expected:
                raise AssertionError(f"{case.name}, {phase}: lists {listed} ({len(pairs)}), published {expected}")
            for name in case.outputs:
                match = re.fullmatch(rf"{re.escape(phase)}_(lq|gt)_(\d+)", name)
                if match:
                    pair = pairs[int(match[2])]
                    image = _read(pair.low if match[1] == "lq" else pair.target, config)
                    outputs[name] = image.transpose(2, 0, 1)
    return outputs


def _listed(config: Taken, root: str, phase: str, expected: list[dict[str, Any]]) -> list[Pair]:
    try:
        return LISTS[config["type"]](config, root, "train" if phase == "train" else "test")
    except InputError:
        if expected:
            raise
        return []  # a phase without a sample is an error of ours


def _write(file: Path, path: str, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if path in content.get("texts", {}):
        file.write_text(content["texts"][path], encoding="utf-8")
        return
    shape = content["array_shape"]
    array = np.random.default_rng(zlib.crc32(path.encode())).integers(0, 256, shape, dtype=np.uint8)
    if file.suffix == ".npy":
        np.save(file, array)
    elif file.suffix == ".png":
        write_picture(Picture(np.ascontiguousarray(array[..., ::-1])), file)
    else:
        file.touch()


def _read(file: Path, config: Taken) -> np.ndarray:
    if file.suffix == ".npy":
        width, height = config["train_size"]
        return load_array(file, width, height)
    return layouts.read_picture_file(file)


def _entry(pairs: list[Pair], i: int, root: Path, wanted: dict[str, Any], config: Taken) -> dict[str, Any]:
    """What the case says of a sample, of ours."""
    pair = pairs[i]
    entry: dict[str, Any] = {
        "lq": pair.low.relative_to(root).as_posix(),
        "gt": pair.target.relative_to(root).as_posix(),
    }
    if "idx" in wanted or "border" in wanted:
        clip = [other for other in pairs if other.scene == pair.scene]
        place, half = clip.index(pair), config["N_frames"] // 2
        entry["idx"] = f"{place}/{len(clip)}"
        entry["border"] = int(place < half or place >= len(clip) - half)
    if "folder" in wanted:
        entry["folder"] = pair.scene
    return entry


def _paired(config: Taken, root: str, split: layouts.Split) -> list[Pair]:
    lows, targets = (r if isinstance(r, list) else [r] for r in (config["dataroot_lq"], config["dataroot_gt"]))
    low_name = config.get("filename_tmpl", "{}")
    return [
        pair
        for low, target in zip(lows, targets, strict=True)
        for pair in pairs_of_folders(Path(root + low), Path(root + target), low_name=low_name)
    ]


def _sdsd(config: Taken, root: str, split: layouts.Split) -> list[Pair]:
    test = (config.get("testing_dir") or "").split(",")
    return layouts.sdsd_clips(Path(root + config["dataroot_lq"]), Path(root + config["dataroot_gt"]), test, split)


def _smid(config: Taken, root: str, split: layouts.Split) -> list[Pair]:
    target = root + config["dataroot_gt"]
    test_list = layouts.smid_test_list(target)
    return layouts.smid_scenes(Path(root + config["dataroot_lq"]), Path(target), test_list, split)


def _sid(config: Taken, root: str, split: layouts.Split) -> list[Pair]:
    return layouts.sid_scenes(Path(root + config["dataroot_lq"]), Path(root + config["dataroot_gt"]), split)


LISTS: dict[str, Callable[[Taken, str, layouts.Split], list[Pair]]] = {
    "PairedImageDataset": _paired,
    "Dataset_SDSDImage": _sdsd,
    "Dataset_SMIDImage": _smid,
    "Dataset_SIDImage": _sid,
}
UNITS: dict[str, Callable[[Case], Outputs]] = {
    "losses": loss_functions,
    "mixup": mixup,
    "lr_schedule": learning_rates,
    "to_image": to_image,
    "metrics": measures,
    "npy_frame": npy_frame,
    "geometric_augmentation": geometric_augmentation,
    "dataset": dataset,
}
