"""MambaLLIE. Its data sets, measures and schedule: mamballie_toolbox.py."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tapetum.evaluation.protocols import self_ensemble
from tapetum.methods.mamballie import MambaLLIE, MambaLLIEConfig, MambaLLIEObjective
from tapetum.methods.mamballie.network import (
    GlobalThenLocalBlock,
    Group,
    LocallyEnhancedScan,
    SelectiveKernels,
)
from tapetum.ops.selective_scan import cross_merge, cross_scan, selective_scan

from ..case import Case, CaseError, Taken
from . import mamballie_toolbox
from .probes import keep_output

Outputs = mamballie_toolbox.Outputs


def network(case: Case) -> nn.Module:
    """Of a full manifest."""
    return mamballie(case.config)


def mamballie(config: Taken) -> MambaLLIE:
    """Left out options have the defaults of the published constructor."""
    config.ignore("img_size", "patch_size", "num_layer", "type")
    nf = config.get("nf", 32)
    return MambaLLIE(
        MambaLLIEConfig(
            nf=nf,
            embed_dim=config.get("embed_dim", nf),
            depths=tuple(config.get("depths", (1, 2, 2, 2, 2, 2))),
            d_state=config.get("d_state", 32),
            mlp_ratio=config.get("mlp_ratio", 2.0),
        )
    )


@torch.no_grad()
def whole(case: Case) -> Outputs:
    net = case.load_into(mamballie(case.config))
    probes: dict[str, Tensor] = {}
    for k in range(1, 7):
        before, group = net.get_submodule(f"conv_first_{k}"), net.get_submodule(f"VSSB_{k}")
        keep_output(before, probes, f"in{k}")
        keep_output(group, probes, f"stage{k}")
        net.get_submodule(f"conv_first_{k}_fea").register_forward_hook(partial(_keep_light, probes, k))
    low = case.tensor("x")
    y = net(low)
    outputs: Outputs = {"y": y, "y_clamped": y.clamp(0, 1)}
    if "self_ensemble" in case.outputs:
        outputs["self_ensemble"] = self_ensemble(lambda batch: net(torch.from_numpy(batch)).numpy())(low.numpy())
    return outputs | {f"probe/{name}": value for name, value in probes.items()}


def _keep_light(probes: dict[str, Tensor], k: int, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    probes.setdefault(f"prior{k}", inputs[0])
    probes.setdefault(f"illum{k}", output)


@torch.no_grad()
def glssb(case: Case) -> Outputs:
    config = case.config
    depth = config.get("depth", 1)
    group = Group(config["dim"], depth, config["d_state"], _ratio(config))
    group = case.load_into(group)
    assert isinstance(group, Group)
    x, light = case.tensor("x"), case.tensor("illum")
    for i, block in enumerate(group):
        if f"dropout_mask_{i}" in case.inputs:
            block.dropout = Masked(case.tensor(f"dropout_mask_{i}"))
    probes: Outputs = {}
    for i, block in enumerate(group):
        x, light = block(x, light)
        probes |= {f"probe/x_after_{i}": x, f"probe/illum_after_{i}": light}
    return {"x": x, "illum": light, **probes}


class Masked(nn.Module):
    """A dropout whose mask, ``(B, H W, D)``, is given."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask.transpose(1, 2).reshape(x.shape)


def lessm(case: Case) -> Outputs:
    config = case.config
    dim, ratio = config["dim"], _ratio(config)
    module = LocallyEnhancedScan(dim, config["d_state"], ratio)
    for name, ours in (("d_inner", dim * ratio), ("dt_rank", module.dt_projs_weight.shape[2])):
        if config.get(name, ours) != ours:
            raise CaseError(f"{name} of {dim} channels is {ours} here, the case wants {config[name]}")
    case.load_into(module)
    probes: Outputs = {}
    module.out_norm.register_forward_hook(partial(_keep_norm, probes))

    def call(x: Tensor, d: Tensor) -> Tensor:
        probes["probe/local_bias"] = module.local_bias(d)
        return module(x.permute(0, 3, 1, 2), d).permute(0, 2, 3, 1)

    return mamballie_toolbox.with_gradients(case, module, call, ("x", "d"), "input_") | probes


def _keep_norm(probes: Outputs, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    probes["probe/merged_plus_bias"] = inputs[0].permute(0, 2, 3, 1)
    probes["probe/normed"] = output.permute(0, 2, 3, 1)


def irsk(case: Case) -> Outputs:
    module = case.load_into(SelectiveKernels(case.config["dim"], _ratio(case.config)))
    probes: dict[str, Tensor] = {}
    places = {"expanded": "project_in", "branch3": "dwconv", "branch5": "dwconv2", "gate_logits": "dwconv3"}
    for name, place in (places | {"mixed": "dwconv4"}).items():
        keep_output(module.get_submodule(place), probes, name)
    outputs = mamballie_toolbox.with_gradients(case, module, module, ("x", "illum"), "input_")
    return outputs | {f"probe/{name}": value for name, value in probes.items()}


class LightPath(nn.Module):
    """The part of a block that the illumination feature runs through, with the block's keys."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        block = GlobalThenLocalBlock(dim, 1, ratio)
        self.conv2d = block.conv2d
        self.ss2d = nn.Module()
        self.ss2d.conv2d_2 = block.ss2d.conv2d_2


@torch.no_grad()
def local_bias(case: Case) -> Outputs:
    dim, ratio = case.config["dim"], _ratio(case.config)
    if case.config.get("groups", dim) != dim:
        raise CaseError(f"the illumination feature of {dim} channels is convolved in {dim} groups")
    path = case.load_into(LightPath(dim, ratio))
    block = GlobalThenLocalBlock(dim, 1, ratio).eval()
    block.load_state_dict(path.state_dict(), strict=False)
    light = case.tensor("illum")
    _, updated = block(torch.zeros(light.shape[0], dim, *light.shape[2:]), light)
    return {"illum_out": updated, "local_bias": block.ss2d.local_bias(updated)}


def scan(case: Case) -> Outputs:
    """The options of the config must be what the tensors of the file say."""
    config, names = case.config, ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    present = [name for name in names if name in case.inputs]
    tensors = {name: case.tensor(name).requires_grad_() for name in present}
    u, A, B = tensors["u"], tensors["A"], tensors["B"]
    groups = B.shape[1] if B.ndim == 4 else 1
    facts = {
        "batch": u.shape[0],
        "groups": groups,
        "channels_per_group": u.shape[1] // groups,
        "d_state": A.shape[1],
        "length": u.shape[2],
        "has_D": "D" in tensors,
        "has_delta_bias": "delta_bias" in tensors,
        "has_z": "z" in tensors,
        "B_C_layout": "(batch, groups, d_state, length)" if B.ndim == 4 else "(batch, d_state, length)",
    }
    for name, fact in facts.items():
        if config.get(name, fact) != fact:
            raise CaseError(f"the config says {name} {config[name]!r}, its tensors {fact!r}")
    y, state = selective_scan(**tensors, delta_softplus=config.get("delta_softplus", False), return_last_state=True)
    outputs: Outputs = {"y": y, "last_state": state}
    if any(name.startswith("grad_") for name in case.outputs):
        gradients = torch.autograd.grad((y * case.tensor("loss_weight")).sum(), list(tensors.values()))
        outputs |= {f"grad_{name}": grad for name, grad in zip(tensors, gradients, strict=True)}
    case.inputs.ignore("loss_weight")
    return outputs


@torch.no_grad()
def scan_order(case: Case) -> Outputs:
    x, ys = case.tensor("x"), case.tensor("ys")
    channels, height, width = x.shape[1:]
    for name, fact in (("channels", channels), ("height", height), ("width", width)):
        if case.config.get(name, fact) != fact:
            raise CaseError(f"the config says {name} {case.config[name]}, its tensors {fact}")
    outputs: Outputs = {"xs": cross_scan(x), "merged": cross_merge(ys, height, width).flatten(2)}
    for k, name in enumerate(("y_row", "y_col", "y_row_reversed", "y_col_reversed")):
        alone = torch.zeros_like(ys)
        alone[:, k] = ys[:, k]
        outputs[name] = cross_merge(alone, height, width).flatten(2)
    return outputs


def train_step(case: Case) -> Outputs:
    """In eval mode, as the case was made."""
    config = case.config
    net = case.load_into(mamballie(config["network"]))
    chosen = config["optimizer"]
    if chosen.get("type", "Adam") != "Adam":
        raise CaseError(f"optimizer {chosen['type']}: MambaLLIE is trained by Adam")
    optimiser = torch.optim.Adam(
        net.parameters(),
        lr=chosen["lr"],
        betas=tuple(chosen.get("betas", (0.9, 0.999))),
        eps=chosen.get("eps", 1e-8),
        weight_decay=chosen.get("weight_decay", 0),
    )
    objective = MambaLLIEObjective(
        mamballie_toolbox.LOSS_TYPES[config["loss"]["type"]],
        config["loss"].get("loss_weight", 1.0),
        config["loss"].get("reduction", "mean"),
    )
    batch = {"low": case.tensor("lq"), "target": case.tensor("gt")}
    outputs: Outputs = {"losses": []}
    for step in range(len(case.outputs["losses"])):
        optimiser.zero_grad()
        loss = objective(net, batch)["loss"]
        loss.backward()
        outputs["losses"].append(loss.item())
        if step == 0:
            # what tells the light to a group without blocks takes part in nothing
            given = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in net.named_parameters()}
            outputs |= {f"grad/{name}": grad.clone() for name, grad in given.items()}
        optimiser.step()
    return outputs


def _ratio(config: Taken) -> int:
    return int(MambaLLIEConfig(mlp_ratio=config.get("mlp_ratio", 2)).mlp_ratio)


COMPONENTS = (
    "model",
    "module",
    "loss",
    "schedule",
    "augmentation",
    "data",
    "metric",
    "postprocess",
    "training",
)
UNITS = {
    "network": whole,
    "glssb": glssb,
    "lessm": lessm,
    "irsk": irsk,
    "local_bias": local_bias,
    "selective_scan": scan,
    "cross_scan": scan_order,
    "train_step": train_step,
    **mamballie_toolbox.UNITS,
}
