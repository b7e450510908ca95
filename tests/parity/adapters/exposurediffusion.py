"""ExposureDiffusion: networks, process, training, evaluation; and the RAW noise, data and pictures around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tapetum.data.raw_noise.cameras import CameraNoise, get_camera, published_cameras
from tapetum.data.raw_noise.model import (
    SATURATION,
    GeneratorDraws,
    GivenDraws,
    NoiseModel,
    NoiseParameters,
    add_noise,
    parameters_of_draws,
)
from tapetum.data.raw_noise.tukey import tukey_quantile, tukey_variance
from tapetum.data.raw_samples import lengthened, patches_of, turn
from tapetum.data.raw_sets import published_lists, sid_pairs
from tapetum.evaluation.raw import Protocol, centre_crop, evaluate_picture, pad_published
from tapetum.imaging.raw.packing import channel_sites, level, pack_bayer, pack_xtrans, unpack_bayer, unpack_xtrans
from tapetum.imaging.raw_view import packed_to_srgb, truncated
from tapetum.methods.exposurediffusion import Backbone, ExposureDiffusionConfig, ExposureObjective, expose
from tapetum.methods.exposurediffusion.exposure import Draw, correct_illuminance, equal_schedule
from tapetum.methods.exposurediffusion.network import ChannelNorm, NAFBlock, make_network
from tapetum.methods.exposurediffusion.objective import LOSSES
from tapetum.metrics.packed import psnr_packed, ssim_packed

from ..case import Case, CaseError, Taken

Outputs = dict[str, Any]
NOISE_PATTERN = "RGGB"  # the noise model's packing takes every mosaic for one of these


def network(case: Case) -> nn.Module:
    """Of a full manifest."""
    return backbone(case.config)


def backbone(config: Taken) -> Backbone:
    if (config["in_channels"], config["out_channels"]) != (4, 4):
        raise CaseError("only packed Bayer pictures of four channels")
    fields: dict[str, Any] = {}
    if config["backbone"] == "nafnet":
        fields = {name: _as_field(config[name]) for name in ("width", "enc_blk_nums", "middle_blk_num", "dec_blk_nums")}
    for name in ("with_photon", "concat_origin", "adaptive_res_and_x0", "resid"):
        fields[name] = config[name]
    return make_network(ExposureDiffusionConfig(config["backbone"], **fields))


def _as_field(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# --- networks and their parts -----------------------------------------------------------------------------------------


@torch.no_grad()
def whole(case: Case) -> Outputs:
    made = cast("Backbone", case.load_into(backbone(case.config)))
    prediction = made.predict(case.tensor("x"))
    outputs = {"head": prediction.head, "pred": prediction.clean}
    if prediction.mask is not None:
        outputs |= {"mask": prediction.mask, "out": prediction.out, "out_by_resid": prediction.by}
    return outputs


def layer_norm(case: Case) -> Outputs:
    module = case.load_into(ChannelNorm(case.config["channels"], case.config["eps"]))
    x = case.tensor("x").requires_grad_()
    y = module(x)
    (y * case.tensor("grad_out")).sum().backward()
    gradients = {f"grad_{name}": parameter.grad for name, parameter in module.named_parameters()}
    return {"y": y, "grad_x": x.grad, **gradients}


def naf_block(case: Case) -> Outputs:
    module = case.load_into(NAFBlock(case.config["channels"]))
    x = case.tensor("x").requires_grad_()
    y = module(x)
    (y * case.tensor("grad_out")).sum().backward()
    gradients = {f"grad/{name}": parameter.grad for name, parameter in module.named_parameters()}
    return {"y": y, "grad_x": x.grad, **gradients}


def illuminance_correct(case: Case) -> Outputs:
    predicted = case.tensor("predict").requires_grad_()
    corrected, gains = correct_illuminance(predicted, case.tensor("source"))
    (corrected * case.tensor("grad_out")).sum().backward()
    return {"corrected": corrected, "gain": gains, "grad_predict": predicted.grad}


# --- process, evaluation, training ------------------------------------------------------------------------------------


@torch.no_grad()
def exposure_process(case: Case) -> Outputs:
    config = case.config
    made = cast("Backbone", case.load_into(backbone(config)))
    ratio, iterations = case.tensor("ratio"), config["iter_num"]
    reference = case.tensor("target") if config["correct"] else None
    steps = list(
        expose(
            made.predict,
            made.config,
            case.tensor("x"),
            ratio,
            case.tensor("K"),
            iterations,
            draw=given_counts(case, iterations + 1),
            reference=reference,
        )
    )
    schedules = torch.stack([equal_schedule(int(each), iterations) for each in ratio])
    outputs: Outputs = {"final": steps[-1].corrected, "schedule": schedules[0] if len(ratio) == 1 else schedules}
    for i, step in enumerate(steps):
        outputs |= {f"pred_{i}": step.prediction.clean, f"poisson_mean_{i}": step.mean}
        outputs |= {f"probe/corrected_{i}": step.corrected}
    return outputs


def given_counts(case: Case, steps: int) -> Draw:
    """The counts of the case, one tensor a step; those of the last step nobody asks for."""
    config = case.config
    kind = config.get("poisson", "given")
    if kind == "mean":
        return lambda mean: mean
    if kind != "given":
        raise CaseError(f"poisson {kind!r} is unknown")
    # a schedule that has lost an exposure (batches of one picture) has a step, and counts, less
    names = [f"poisson_count_{i}" for i in range(steps)]
    counts: Iterator[Tensor] = iter([case.tensor(name) for name in names if name in case.inputs])

    def draw(mean: Tensor) -> Tensor:
        given = next(counts)
        assert given.shape == mean.shape
        return given

    return draw


def picture(case: Case) -> Outputs:
    config = case.config
    made = cast("Backbone", case.load_into(backbone(config)))
    protocol: Protocol = "reference" if config["correct"] else "blind"
    measured = evaluate_picture(
        made,
        case.tensor("x"),
        case.tensor("target"),
        float(case.inputs["ratio"][0]),
        float(case.inputs["K"][0]),
        config["iter_num"],
        draw=given_counts(case, config["iter_num"] + 1),
        protocol=protocol,
        chop=config["chop"],
    )
    outputs: Outputs = {"final_corrected": measured.enhanced[None], "PSNR": measured.psnr, "SSIM": measured.ssim}
    return outputs if config["chop"] else outputs | {"x_padded": measured.padded}


def train_step(case: Case) -> Outputs:
    config = case.config
    made = cast("Backbone", case.load_into(backbone(config))).train()
    iterations, target = config["iter_num"], case.tensor("target")
    if config["batch_size"] != len(target):
        raise CaseError("batch_size is not the batch's")
    objective = ExposureObjective(
        iterations, loss=config["loss"], auxloss=config["auxloss"], adaptive_loss=config["adaptive_loss"]
    )
    parameters = [*made.parameters(), *objective.parameters()]
    optimiser = torch.optim.Adam(parameters, config["lr"], betas=tuple(config["betas"]))
    steps = list(
        expose(
            made.predict,
            made.config,
            case.tensor("x"),
            case.tensor("ratio"),
            case.tensor("K"),
            iterations,
            draw=given_counts(case, iterations + 1),
            reference=target,
            schedule=case.tensor("schedule"),
        )
    )
    pixel, auxiliary = objective.step_losses(steps, target)
    total = objective.total(pixel, auxiliary)
    total.backward()
    outputs: Outputs = {"pixel_loss": pixel, "aux_loss": auxiliary, "loss_total": total}
    outputs |= {f"corrected_{i}": step.corrected for i, step in enumerate(steps)}
    outputs |= {f"grad/{name}": parameter.grad for name, parameter in made.named_parameters()}
    learned = config["adaptive_loss"] and iterations > 0
    if learned:
        outputs["grad_loss_weight"] = objective.loss_weights.grad
    optimiser.step()
    if learned:
        outputs["loss_weight_after"] = objective.loss_weights
    return outputs | {f"after/{name}": parameter for name, parameter in made.named_parameters()}


def loss_functions(case: Case) -> Outputs:
    outputs: Outputs = {}
    for name, function in LOSSES.items():
        predicted = case.tensor("predict").requires_grad_()
        value = function(predicted, case.tensor("target"))
        (outputs[f"grad_{name}"],) = torch.autograd.grad(1000 * value, predicted)
        outputs[name] = value
    return outputs


# --- measures and data ------------------------------------------------------------------------------------------------


def metrics(case: Case) -> Outputs:
    config = case.config
    if (config["data_range"], config["channels"]) != (255, 4):
        raise CaseError("pictures are measured in 0..255, with four channels")
    target = case.tensor("target")
    outputs: Outputs = {}
    for name in case.inputs:
        if name != "target":
            number = name.removeprefix("predict_")
            predicted = case.tensor(name)
            corrected = correct_illuminance(predicted[None], target[None])[0][0]
            for label, enhanced in (("", predicted), ("corrected_", corrected)):
                pair = enhanced.numpy(), target.numpy()
                outputs[f"psnr_ssim_{label}{number}"] = [psnr_packed(*pair), ssim_packed(*pair)]
    return outputs


def padding_and_crop(case: Case) -> Outputs:
    crop = case.config["crop"]
    if case.config["scale"] != 16:
        raise CaseError("pictures are padded to multiples of 16")
    outputs: Outputs = {"crop": centre_crop(case.inputs["crop_source"][0], crop["height"], crop["width"])[None]}
    for name in (name for name in case.inputs if name.startswith("x_")):
        number, given = name.removeprefix("x_"), case.tensor(name)
        padded, (rows, columns) = pad_published(given)
        height, width = padded.shape[2:]
        added = [columns.start, width - columns.stop, rows.start, height - rows.stop]
        outputs |= {f"padded_{number}": padded, f"left_right_top_bottom_{number}": added}
    return outputs


def raw_to_srgb(case: Case) -> Outputs:
    if case.config["gamma"] != 2.2:
        raise CaseError("the exponent is 2.2")
    given = case.inputs
    camera = given["packed"], given["white_balance"], given["ccm"]
    by_gamma = packed_to_srgb(*camera)
    by_curve = packed_to_srgb(*camera, curve=(given["crf_E"], given["crf_rgb"]))
    return {
        "gamma22_unquantised": by_gamma,
        "crf_unquantised": by_curve,
        "srgb_gamma22": truncated(by_gamma),
        "srgb_crf": truncated(by_curve),
    }


def bayer_packing(case: Case) -> Outputs:
    config, mosaic, black = case.config, case.inputs["raw"], case.inputs["black_level"]
    config.ignore("pattern_codes")
    outputs: Outputs = {}
    for pattern, codes in config["patterns"].items():
        if channel_sites(pattern) != tuple(_site(codes, code) for code in range(4)):
            raise CaseError(f"the codes of {pattern} are {codes}")
        outputs[f"packed_{pattern}"] = level(pack_bayer(mosaic, pattern), black.tolist(), config["white_level"])
    plain = pack_bayer(mosaic, NOISE_PATTERN)
    assert np.array_equal(unpack_bayer(plain, NOISE_PATTERN), mosaic)
    return {**outputs, "plain_packed": plain}


def _site(codes: list[list[int]], code: int) -> tuple[int, int]:
    return next((row, column) for row in (0, 1) for column in (0, 1) if codes[row][column] == code)


def xtrans_packing(case: Case) -> Outputs:
    plain = pack_xtrans(case.inputs["raw"])
    levelled = level(plain, [case.config["black"]], case.config["white"])
    return {"packed": levelled, "plain_packed": plain, "plain_unpacked": unpack_xtrans(plain)}


def augmentation(case: Case) -> Outputs:
    if case.config["columns"] != ["flip rows", "flip columns", "transpose"]:
        raise CaseError(f"columns {case.config['columns']}")
    rows = [[bool(bit) for bit in row] for row in case.inputs["bits"].tolist()]
    sides = {name: torch.stack([turn(case.tensor(name), *bits) for bits in rows]) for name in ("input", "target")}
    return {"input": sides["input"].clamp(0, 1), "target": sides["target"]}


def training_patches(case: Case) -> Outputs:
    config = case.config
    if config["patch"] != config["stride"]:
        raise CaseError("patches lie side by side")
    patches = np.stack(patches_of(case.inputs["packed"], config["patch"]))
    return {"patches": patches, "patches_uint16": np.rint(patches * 65535)}


def syn_noise_real_pairs(case: Case) -> Outputs:
    case.config.ignore("ratio", "K")  # as the inputs
    given, counts = case.inputs, case.tensor("poisson_count")
    low, target = case.tensor("input"), case.tensor("target")
    ratio, gain, inverse = (float(given[name][0]) for name in ("ratio", "K", "inverse_target_ratio"))

    def poisson(mean: Tensor) -> Tensor:
        torch.testing.assert_close(mean, target * SATURATION / (ratio * gain) * (ratio * inverse - 1))
        return counts

    longer, new_ratio = lengthened(low, target, ratio, gain, inverse, poisson)
    assert new_ratio == 1 / inverse
    return {"input": longer}


# --- noise ------------------------------------------------------------------------------------------------------------

_SCALES = {"g_scale": "gaussian", "G_scale": "tukey", "sigma_r": "row", "tukey_lambda": "shape"}
_DRAWS = ("uniform", "poisson_count", "shot_normal", "row_normal", "read_normal", "read_tukey")


def noise_model(case: Case) -> Outputs:
    config, given = case.config, case.inputs
    config.ignore("K", "ratio")  # as the inputs
    if config["saturation"] != SATURATION:
        raise CaseError(f"the noise models saturate at {SATURATION}")
    scales = {ours: _each(given[name]) for name, ours in _SCALES.items() if name in given}
    parameters = NoiseParameters(_each(given["K"]), _each(given["ratio"]), **scales)
    draws = {"poisson" if name == "poisson_count" else name: case.tensor(name) for name in _DRAWS if name in given}
    noisy = add_noise(case.tensor("y"), NoiseModel.parse(config["noise"]), parameters, GivenDraws(**draws))
    return {"noisy": noisy, "dataset_input": noisy.clamp(0, 1)}


def _each(numbers: NDArray[np.float32]) -> float | Tensor:
    """One number for all pictures, or one for each."""
    return float(numbers[0]) if len(numbers) == 1 else torch.from_numpy(numbers.copy())[:, None, None, None]


def noise_parameters(case: Case) -> Outputs:
    config = case.config
    config.ignore("profile", "continuous_noise")  # of the drawing
    if config["columns_draws"] != ["log_K", "n_g", "ratio", "n_r", "n_G"]:
        raise CaseError(f"columns {config['columns_draws']}")
    if config["columns_params"] != ["K", "g_scale", "ratio", "sigma_r", "G_scale"]:
        raise CaseError(f"columns {config['columns_params']}")
    outputs: Outputs = {}
    for name in case.inputs:
        camera = name.removeprefix("draws_")
        rows = [_row_of(get_camera(camera), row) for row in case.inputs[name].tolist()]
        outputs[f"params_{camera}"] = rows
    return outputs


def _row_of(camera: CameraNoise, draws: list[float]) -> list[Any]:
    """K, g_scale, ratio, sigma_r, G_scale."""
    log_gain, gaussian, ratio, row, tukey = draws
    p = parameters_of_draws(camera, log_gain, ratio, gaussian, row, tukey)
    return [p.gain, p.gaussian, p.ratio, p.row, p.tukey]


def noise_seeded(case: Case) -> Outputs:
    """The legacy stream of NumPy, which we do not offer, drawn here in the order that the case tells."""
    config = case.config
    config.ignore("rng", "draw_order_parameters", "draw_order_picture", "continuous_noise")
    camera = get_camera(config["camera"])

    def draw_row(rng: np.random.RandomState) -> list[float]:
        log_gain, gaussian = rng.uniform(np.log(0.1), np.log(30)), rng.standard_normal()
        return [log_gain, gaussian, rng.uniform(20, 300), rng.standard_normal(), rng.standard_normal()]

    rng = np.random.RandomState(config["seed"])
    rows = [_row_of(camera, draw_row(rng)) for _ in range(config["parameter_rows"])]
    rng = np.random.RandomState(config["seed"] + 1)
    log_gain, gaussian, ratio, row, tukey = draw_row(rng)
    clean = case.tensor("y")
    *_, height, _ = clean.shape
    uniform = torch.from_numpy(rng.uniform(0, 1, tuple(clean.shape)))
    shape = 0.0

    def poisson(mean: Tensor) -> Tensor:
        return torch.from_numpy(rng.poisson(mean.double().numpy()).astype(np.float64))

    class InOrder(GivenDraws):
        def normal(self, kind: str, like: Tensor, shape: Any) -> Tensor:
            assert kind == "row"
            return torch.from_numpy(rng.randn(2 * height)).reshape(tuple(shape))

        def tukey(self, like: Tensor, shape: float | Tensor) -> Tensor:
            drawn = rng.choice(camera.shapes)
            return tukey_quantile(torch.from_numpy(rng.uniform(0, 1, tuple(like.shape))), drawn)

    parameters = parameters_of_draws(camera, log_gain, ratio, gaussian, row, tukey, shape)
    draws = InOrder(uniform=uniform, poisson=poisson)
    noisy = add_noise(clean.double(), NoiseModel.parse(config["noise"]), parameters, draws)
    return {"params": rows, "noisy": noisy.float()}


def noise_statistics(case: Case) -> Outputs:
    """By rows of the JSON; the tensors repeat columns of them."""
    side, rows = case.config["side"], case.content["rows"]
    case.inputs.ignore(*case.inputs)
    for i, row in enumerate(rows):
        scales = {ours: row[name] for name, ours in _SCALES.items()}
        clean = torch.full((4, side, side), row["y"], dtype=torch.float32)
        draws = GeneratorDraws(torch.Generator().manual_seed(i))
        model, parameters = NoiseModel.parse(row["noise"]), NoiseParameters(row["K"], row["ratio"], **scales)
        noisy = add_noise(clean, model, parameters, draws).double()
        mean, variance = noisy.mean().item(), noisy.var().item()
        of_rows = unpack_bayer(noisy.numpy(), NOISE_PATTERN).mean(axis=1).var(ddof=1)
        assert abs(mean - row["expected_mean"]) <= row["mean_tolerance"], (i, mean)
        assert abs(variance / row["expected_variance"] - 1) <= row["variance_rtol"], (i, variance)
        assert abs(of_rows / row["expected_variance_of_bayer_row_means"] - 1) <= row["row_variance_rtol"], (i, of_rows)
    return {name: np.array([row[name] for row in rows], np.float32) for name in case.outputs}


def iso_to_gain(case: Case) -> Outputs:
    speeds = case.inputs["ISO"].tolist()
    cameras = [name.removeprefix("K_") for name in case.outputs]
    return {f"K_{camera}": [get_camera(camera).gain_at(iso) for iso in speeds] for camera in cameras}


def tukey_lambda(case: Case) -> Outputs:
    shapes, probability = case.inputs["lambda"].tolist(), case.tensor("q")
    quantiles = torch.stack([tukey_quantile(probability, shape) for shape in shapes])
    return {"ppf": quantiles, "variance": [tukey_variance(shape) for shape in shapes]}


# --- facts ------------------------------------------------------------------------------------------------------------


def camera_params(content: dict[str, Any]) -> None:
    """Every number of the published cameras is ours."""
    assert list(published_cameras()) == content["order"]
    for name, wanted in content["cameras"].items():
        camera = get_camera(name)
        assert list(camera.gain_range) == [wanted["Kmin"], wanted["Kmax"]]
        profile = wanted["Profile-1"]
        assert list(camera.shapes) == wanted["G_shape"]
        for theirs, ours in (("g_scale", camera.gaussian), ("G_scale", camera.tukey), ("R_scale", camera.row)):
            assert (ours.slope, ours.bias, ours.sigma) == tuple(profile[theirs][k] for k in ("slope", "bias", "sigma"))


def sid_sony_lists(content: dict[str, Any]) -> None:
    """Every published pair is ours, and its ratio."""
    ours = published_lists()
    names = {"train": "train", "val": "val", "test": "test", "paired": "paired_all", "indoor": "paired_15"}
    assert list(ours) == list(names)
    with TemporaryDirectory() as folder:
        for side in ("short", "long"):
            (Path(folder) / side).mkdir()
            for name in {row[side == "long"] for rows in ours.values() for row in rows}:
                (Path(folder) / side / name).touch()
        for name, theirs in names.items():
            pairs, wanted = sid_pairs(Path(folder), name), content[theirs]
            assert len(pairs) == content["counts"][theirs]
            for pair, (short, long, *ratio) in zip(pairs, wanted, strict=True):
                assert (pair.low.name, pair.target.name) == (short, long)
                assert not ratio or pair.ratio == float(ratio[0])


FACTS: dict[str, Callable[[dict[str, Any]], None]] = {"camera_params": camera_params, "sid_sony_lists": sid_sony_lists}

UNITS: dict[str, Callable[[Case], Outputs]] = {
    "network": whole,
    "layernorm2d": layer_norm,
    "nafblock": naf_block,
    "illuminance_correct": illuminance_correct,
    "exposure_process": exposure_process,
    "evaluate_picture": picture,
    "train_step": train_step,
    "losses": loss_functions,
    "metrics": metrics,
    "padding_and_crop": padding_and_crop,
    "raw_to_srgb": raw_to_srgb,
    "pack_bayer": bayer_packing,
    "pack_xtrans": xtrans_packing,
    "augmentation": augmentation,
    "training_patches": training_patches,
    "syn_noise_real_pairs": syn_noise_real_pairs,
    "noise_model": noise_model,
    "noise_parameters": noise_parameters,
    "noise_seeded": noise_seeded,
    "noise_statistics": noise_statistics,
    "iso_to_gain": iso_to_gain,
    "tukey_lambda": tukey_lambda,
}
COMPONENTS = (
    "model",
    "module",
    "process",
    "evaluation",
    "training",
    "loss",
    "metric",
    "noise",
    "noise_statistics",
    "data",
    "picture",
)
