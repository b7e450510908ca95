"""Published files, one for each stage. Which configuration they hold is read from keys and shapes alone."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from tapetum.errors import WeightsError
from tapetum.methods.lightendiffusion.network import LightenDiffusion, LightenDiffusionConfig
from tapetum.methods.lightendiffusion.stage1 import Stage1Config

_STAGE1 = "decom."
_STAGE1_KEYS = ("ReconNet.pyramid.convs.0.weight", "retinex.conv0.weight")
_PREDICTOR_KEYS = ("Unet.temb.dense.0.weight", "Unet.conv_in.weight")


def recognise(state: Mapping[str, Tensor], named: Iterable[LightenDiffusionConfig]) -> LightenDiffusionConfig | None:
    """The configuration of a whole LightenDiffusion, or None where the keys are another method's.

    Nothing in a file tells the process it was trained with: that of the configuration in ``named`` whose layers it
    has, else the published one.

    Raises:
        WeightsError: a noise predictor without the first stage, or one that is not conditional.
    """
    if not all(key in state for key in _PREDICTOR_KEYS):
        return None
    inner = {key.removeprefix(_STAGE1): tensor for key, tensor in state.items() if key.startswith(_STAGE1)}
    stage1 = recognise_stage1(inner)
    if stage1 is None:
        raise WeightsError("a noise predictor of LightenDiffusion without its first stage (no decom.*)")
    if state["Unet.conv_in.weight"].shape[1:2] != (6,):
        raise WeightsError(
            "a LightenDiffusion without a condition, which cannot enhance (Unet.conv_in.weight has the shape "
            f"{tuple(state['Unet.conv_in.weight'].shape)})"
        )
    (*_, ch), widths = (1, *state["Unet.temb.dense.0.weight"].shape), _level_widths(state)
    if ch < 1 or any(width % ch for width in widths):
        return None
    found = LightenDiffusionConfig(
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=1 + max(_indices(state, r"Unet\.down\.0\.block\.(\d+)\.norm1\.weight"), default=0),
        resamp_with_conv=len(widths) == 1 or "Unet.down.0.downsample.conv.weight" in state,
        ctdn_channels=stage1.ctdn_channels,
    )
    return next((config for config in named if _layers(config) == _layers(found)), found)


def recognise_stage1(state: Mapping[str, Tensor]) -> Stage1Config | None:
    """The configuration of a first stage alone, or None where the keys are another method's."""
    if not all(key in state for key in _STAGE1_KEYS):
        return None
    shape = state[_STAGE1_KEYS[0]].shape
    return Stage1Config(shape[0]) if len(shape) == 4 else None


def load_stage1(network: LightenDiffusion, path: str | Path) -> None:
    """Put the first stage of a file, its own or a whole model's (published, or ours), into ``network``, strictly.

    Raises:
        WeightsError: no file of weights, another method's, or another width.
    """
    from tapetum.weights.loading import load_strictly, read_state_dict

    state = read_state_dict(path)
    inner = {key.removeprefix(_STAGE1): tensor for key, tensor in state.items() if key.startswith(_STAGE1)} or state
    if recognise_stage1(inner) is None:
        raise WeightsError(f"{path}: holds no first stage of LightenDiffusion (ReconNet.*, retinex.*)")
    load_strictly(network.decom, inner, f"{path} does not fit the first stage of this lightendiffusion")


def begin(network: LightenDiffusion, path: str | Path) -> None:
    """Stage 2 begins: the first stage of a file, frozen. Raises as :func:`load_stage1`."""
    load_stage1(network, path)
    network.freeze_stage1()


def _layers(config: LightenDiffusionConfig) -> tuple[object, ...]:
    """What keys and shapes tell; see ``recognise``. With one level nothing is sampled down."""
    whole = dataclasses.asdict(config)
    return tuple(whole[name] for name in ("ch", "ch_mult", "num_res_blocks", "resamp_with_conv", "ctdn_channels"))


def _level_widths(state: Mapping[str, Tensor]) -> list[int]:
    pattern = r"Unet\.down\.(\d+)\.block\.0\.norm2\.weight"
    shapes = [state[f"Unet.down.{i}.block.0.norm2.weight"].shape for i in _indices(state, pattern)]
    return [shape[0] for shape in shapes if len(shape) == 1]


def _indices(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted(int(match[1]) for match in (re.fullmatch(pattern, key) for key in state) if match)
