"""ExposureDiffusion: networks, process, training, evaluation; and the RAW noise, data and pictures around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from tapetum.evaluation.raw import Protocol, evaluate_picture
from tapetum.methods.exposurediffusion import Backbone, ExposureDiffusionConfig, ExposureObjective, expose
from tapetum.methods.exposurediffusion.exposure import Draw, correct_illuminance, equal_schedule
from tapetum.methods.exposurediffusion.network import ChannelNorm, NAFBlock, make_network
from tapetum.methods.exposurediffusion.objective import LOSSES

from ..case import Case, CaseError, Taken

Outputs = dict[str, Any]


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
    outputs: Outputs = {"final": steps[-1].corrected, "schedule": equal_schedule(int(ratio), iterations)}
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
    counts: Iterator[Tensor] = iter([case.tensor(f"poisson_count_{i}") for i in range(steps)])

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
    if config["adaptive_loss"]:
        outputs["grad_loss_weight"] = objective.loss_weights.grad
    optimiser.step()
    if config["adaptive_loss"]:
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
    case.inputs.ignore(*case.inputs)
    raise CaseError(f"inputs {list(case.inputs)} outputs {list(case.outputs)}")


def padding_and_crop(case: Case) -> Outputs:
    crop = case.config["crop"]
    if case.config["scale"] != 16:
        raise CaseError("pictures are padded to multiples of 16")
    raise CaseError(f"inputs {list(case.inputs)} outputs {list(case.outputs)}")


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
