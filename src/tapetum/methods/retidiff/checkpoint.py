"""Published files of Reti-Diff: stage 1, stage 2 with and without its auxiliary decoder, and a decomposition network.

Which one it is, and its configuration, is read from keys and shapes alone. Extractors, denoisers and shared blocks are
stored under two names each; they are tied, and where the two differ the later one counts, as in the published program.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tapetum.errors import UsageError, WeightsError
from tapetum.methods.retidiff.config import GuidedConfig
from tapetum.methods.retidiff.decomposition import WIDTH, Decomposition, DecompositionConfig
from tapetum.methods.retidiff.network import RetiDiff, RetiDiffConfig
from tapetum.methods.retidiff.stage1 import Stage1, Stage1Config

log = logging.getLogger(__name__)

_EMBEDDING = "G.patch_embed.proj.weight"
_STAGE1 = ("E_img.E.0.weight", "E_rex.E_R.0.weight")
_STAGE2 = ("img_condition.E.0.weight", "rex_condition.E_R.0.weight", "img_diffusion.betas")
_LOW, _HIGH, _TEACHER = "decom_low.", "decom_high.", "teacher."

State = Mapping[str, Tensor]
Config = TypeVar("Config", bound=GuidedConfig)


def recognise(state: State, named: Iterable[RetiDiffConfig]) -> RetiDiffConfig | None:
    """The configuration of a stage-2 network, or None where the keys are another method's."""
    if not all(key in state for key in (_EMBEDDING, *_STAGE2)):
        return None
    betas = state["img_diffusion.betas"]
    shared = _shared(state, "img_condition")
    if shared is None or betas.ndim != 1 or not len(betas):
        return None
    ends = {}
    if not betas.is_meta:
        ends = {"linear_start": round(betas[0].item(), 6), "linear_end": round(betas[-1].item(), 6)}
    found = {
        **shared,
        **ends,
        "n_denoise_res": _count(state, r"img_denoise\.resmlp\.(\d+)\.resmlp\.0\.weight"),
        "timesteps": len(betas),
        "auxiliary": "G.decom.decom.0.weight" in state,
        "teacher": f"{_TEACHER}E_img.E.0.weight" in state,
    }
    return _named(RetiDiffConfig(**found), named)


def recognise_stage1(state: State, named: Iterable[Stage1Config]) -> Stage1Config | None:
    """The configuration of a stage-1 network, or None where the keys are another method's."""
    if not all(key in state for key in (_EMBEDDING, *_STAGE1)):
        return None
    shared = _shared(state, "E_img")
    return None if shared is None else _named(Stage1Config(**shared), named)


def recognise_decomposition(state: State) -> DecompositionConfig | None:
    """One decomposition network, or a pair, and nothing else; None for other keys."""
    prefixes = {key.partition("decom.")[0] for key in state}
    for pair, wanted in ((False, {""}), (True, {_LOW, _HIGH})):
        first = f"{max(wanted)}decom.0.weight"
        if prefixes == wanted and first in state and state[first].shape == (WIDTH, 3, 3, 3):
            return DecompositionConfig(pair)
    return None


def tie(state: State) -> dict[str, Tensor]:
    """All names of every tensor that has several, with the same values.

    Where they differ, the last name counts (``E_I`` before ``E_R``, ``*_diffusion`` before the others). A name that is
    missing gets what another has. Says so in the log.
    """
    tied = dict(state)
    others, differing = 0, []
    for root in dict.fromkeys(map(_root, state)):
        names = _names(root)
        if len(names) == 1:
            continue
        present = [name for name in names if name in state]
        others += len(names) - 1
        counting = state[present[-1]]
        if any(not _same(state[name], counting) for name in present[:-1]):
            differing.append(root)
        tied |= dict.fromkeys(names, counting)
    if others:
        log.info("Reti-Diff stores %d tensors under second names: tied to the first", others)
    if differing:
        log.warning("%d tensors differ under their names (%s ...): the last name counts", len(differing), differing[0])
    return tied


def begin_stage1(network: Stage1, path: str | Path) -> None:
    """Stage 1 begins: the decomposition networks of a file, frozen. A whole stage-1 file serves, too.

    Raises:
        WeightsError: another method's file, one without both networks.
    """
    from tapetum.weights.loading import load_strictly, read_state_dict

    if not network.config.decomposition:
        raise UsageError("retidiff_stage1: training needs decomposition: true in the recipe's config")
    state = read_state_dict(path, ema=True)
    parts = {prefix: _part(state, prefix) for prefix in (_LOW, _HIGH)}
    if not all(parts.values()):
        raise WeightsError(
            f"{path}: holds no pair of decomposition networks (decom_low.*, decom_high.*), which stage 1 begins with: "
            "train retidiff_decomposition, or join two published files by `tapetum weights import LOW --with HIGH`"
        )
    for prefix, part in parts.items():
        load_strictly(network.get_submodule(prefix[:-1]), part, f"{path} does not fit {prefix[:-1]}")
    network.freeze_decomposition()


def begin(network: RetiDiff, path: str | Path) -> None:
    """Stage 2 begins: G of a stage-1 file, whose extractors and decomposition become what it learns from, frozen.

    Of a whole stage-2 file that has them, they are frozen only.

    Raises:
        WeightsError: another method's file, or one without what stage 2 learns from.
        UsageError: a network without places for it.
    """
    from tapetum.weights.loading import load_strictly, read_state_dict

    config = network.config
    if not (config.auxiliary and config.decomposition and config.teacher):
        raise UsageError("retidiff: training needs auxiliary, decomposition and teacher: true in the recipe's config")
    state = read_state_dict(path, ema=True)
    if all(key in state for key in _STAGE2):
        if not _part(state, _TEACHER):
            raise WeightsError(
                f"{path}: a stage-2 file without the stage-1 teacher that training needs: begin with a file of "
                "retidiff_stage1, or with one that our own training of stage 2 wrote"
            )
        network.freeze_others()
        return
    if not all(key in state for key in _STAGE1):
        raise WeightsError(f"{path}: holds no stage 1 of Reti-Diff (G.*, E_rex.*, E_img.*), which stage 2 begins with")
    if not (_part(state, _LOW) and _part(state, _HIGH)):
        raise WeightsError(
            f"{path}: a stage-1 file without its decomposition networks, which published files keep apart: join "
            "them by `tapetum weights import FILE --with LOW --with HIGH`"
        )
    state = tie(state)
    places: dict[nn.Module, dict[str, Tensor]] = {
        network.G: _part(state, "G."),
        network.decom_low: _part(state, _LOW),
        network.teacher: {key: tensor for key, tensor in state.items() if key.startswith(("E_rex.", "E_img.", _HIGH))},
    }
    for place, part in places.items():
        load_strictly(place, part, f"{path} does not fit stage 2 of this retidiff")
    network.freeze_others()


def complete(network: nn.Module, paths: Sequence[str | Path]) -> nn.Module:
    """A network with the decomposition networks that published files keep apart.

    Args:
        network: a stage 2 (which takes one file: that of dark pictures), or a stage 1 or a single decomposition network
            (of dark pictures, then of targets, or one file with both).

    Raises:
        WeightsError: files that hold something else. UsageError: too few, too many, or a network that has them.
    """
    pieces = [piece for path in paths for piece in _decompositions(path)]
    config: Any = getattr(network, "config", None)
    state = network.state_dict()
    if isinstance(network, Decomposition) and not config.pair:
        pieces.insert(0, {f"decom.{key.removeprefix('decom.')}": tensor for key, tensor in state.items()})
        state, config = {}, DecompositionConfig()
    elif isinstance(network, RetiDiff | Stage1) and not config.decomposition:
        config = dataclasses.replace(config, decomposition=True)
    else:
        raise UsageError("these weights have their decomposition networks already: nothing is to be joined with them")
    wanted = [_LOW] if isinstance(network, RetiDiff) else [_LOW, _HIGH]
    # a pair for a network that needs one: that of dark pictures
    given = pieces[:1] if len(paths) == 1 and len(wanted) == 1 else pieces
    if len(given) != len(wanted):
        count = (
            "one decomposition network"
            if len(wanted) == 1
            else "two decomposition networks, of dark pictures and of targets"
        )
        raise UsageError(f"{type(network).__name__} takes {count}, got {len(given)}")
    for prefix, piece in zip(wanted, given, strict=True):
        state |= {prefix + key: tensor for key, tensor in piece.items()}
    whole = type(network)(config)
    whole.load_state_dict(state)
    return whole.eval()


def _decompositions(path: str | Path) -> list[dict[str, Tensor]]:
    from tapetum.weights.loading import check_fits, read_state_dict

    state = read_state_dict(path, ema=True)
    found = recognise_decomposition(state)
    if found is None:
        raise WeightsError(f"{path}: holds no decomposition network of Reti-Diff (decom.0.weight and seven more)")
    with torch.device("meta"):
        check_fits(Decomposition(found), state, f"{path} does not fit a decomposition network")
    return [_part(state, _LOW), _part(state, _HIGH)] if found.pair else [dict(state)]


def _shared(state: State, extractor: str) -> dict[str, Any] | None:
    """What both stages have in common, by one of their extractors; None where shapes make no sense."""
    try:
        dim = state[_EMBEDDING].shape[0]
        first = f"{extractor}.E.0.weight"
        found = {
            "n_encoder_res": _count(state, rf"{extractor}\.E\.(\d+)\.body\.0\.weight"),
            "dim": dim,
            "num_blocks": tuple(_count(state, rf"G\.{stage}\.(\d+)\.norm1\.body\.weight") for stage in _STAGES),
            "num_refinement_blocks": _count(state, r"G\.img_refinement\.(\d+)\.norm1\.body\.weight"),
            "heads": tuple(state[f"G.{stage}.0.attn.temperature"].shape[0] for stage in _STAGES),
            "bias": "G.img_output.bias" in state,
            "LayerNorm_type": "WithBias" if "G.latent.0.norm1.body.bias" in state else "BiasFree",
            "n_feat": state[first].shape[0],
            "prior": state[f"{extractor}.mlp.0.weight"].shape[0],
            "decomposition": f"{_LOW}decom.0.weight" in state,
        }
        hidden = [state[f"G.{stage}.0.ffn.project_out.weight"].shape[1] for stage in _STAGES]
    except (KeyError, IndexError):
        return None
    widths = [dim << level for level in range(4)]
    # a quotient may be rounded so that its product with the width falls short of the hidden channels
    candidates = (GuidedConfig.ffn_expansion_factor, *((hidden[-1] + part) / max(widths[-1], 1) for part in (0, 0.5)))
    fitting = [f for f in candidates if [int(width * f) for width in widths] == hidden]
    return found | {"ffn_expansion_factor": fitting[0] if fitting else candidates[1]}


_STAGES = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")


def _named(found: Config, named: Iterable[Config]) -> Config:
    """The named configuration that differs in nothing that a file tells, else what was found."""
    told = dataclasses.asdict(found) | {"task": ""}
    return next((each for each in named if dataclasses.asdict(each) | {"task": ""} == told), found)


def _count(state: State, pattern: str) -> int:
    return len({match[1] for match in (re.fullmatch(pattern, key) for key in state) if match})


def _part(state: State, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _root(key: str) -> str:
    """The first name of a tensor."""
    key = re.sub(r"(^|\.)E_I\.(\d+\.body\.)", r"\1E_R.\2", key)
    key = re.sub(r"^(img|rex)_diffusion\.model\.", r"\1_denoise.", key)
    return re.sub(r"^(img|rex)_diffusion\.condition\.", r"\1_condition.", key)


def _names(root: str) -> list[str]:
    """All names of a tensor, in the order of the published network."""
    names = [root]
    if re.search(r"(^|\.)E_R\.\d+\.body\.", root):
        names.append(re.sub(r"(^|\.)E_R\.", r"\1E_I.", root))
    for own, inner in (("denoise", "model"), ("condition", "condition")):
        if re.match(rf"(img|rex)_{own}\.", root):
            names += [re.sub(rf"_{own}\.", f"_diffusion.{inner}.", name, count=1) for name in names]
    return names


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and (a.is_meta or b.is_meta or torch.equal(a, b))
