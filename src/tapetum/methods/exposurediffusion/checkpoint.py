"""Which configuration a published file holds: read from keys and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tapetum.errors import WeightsError
from tapetum.methods.exposurediffusion.network import CHANNELS, ExposureDiffusionConfig

_UNET_KEYS = ("conv1_1.weight", "conv5_2.weight", "upv6.weight", "conv10_1.weight")
_NAFNET_KEYS = ("intro.weight", "ending.weight")


def recognise(state: Mapping[str, Tensor]) -> ExposureDiffusionConfig | None:
    """The configuration of an ExposureDiffusion file, or None where the keys are another method's.

    Eight input channels are taken for picture and photons, as in every published file. Whether a network without the
    adaptive layer predicts the picture or what is to be taken away from it (``resid``), keys do not say.

    Raises:
        WeightsError: a network of this kind, but for other pictures than packed Bayer mosaics.
    """
    if all(key in state for key in _UNET_KEYS):
        inside, outside = _channels(state, "conv1_1.weight", "conv10_1.weight")
        return ExposureDiffusionConfig("unet", **_seen(inside, outside))
    if all(key in state for key in _NAFNET_KEYS) and any(key.startswith("middle_blks.") for key in state):
        inside, outside = _channels(state, "intro.weight", "ending.weight")
        return ExposureDiffusionConfig(
            "nafnet",
            width=state["intro.weight"].shape[0],
            enc_blk_nums=_levels(state, "encoders"),
            middle_blk_num=_count(state, "middle_blks."),
            dec_blk_nums=_levels(state, "decoders"),
            **_seen(inside, outside),
        )
    return None


def _channels(state: Mapping[str, Tensor], first: str, last: str) -> tuple[int, int]:
    if state[first].ndim != 4 or state[last].ndim != 4:
        raise WeightsError(f"an ExposureDiffusion network whose {first} or {last} is no convolution")
    return state[first].shape[1], state[last].shape[0]


def _seen(inside: int, outside: int) -> dict[str, Any]:
    """What a number of input channels and of output channels means."""
    if inside not in (CHANNELS, 2 * CHANNELS, 3 * CHANNELS) or outside not in (CHANNELS, 2 * CHANNELS + 1):
        raise WeightsError(
            f"an ExposureDiffusion network from {inside} to {outside} channels: packed Bayer mosaics have "
            "4, 8 or 12 and 4 or 9 (X-Trans networks are not supported)"
        )
    return {
        "with_photon": inside > CHANNELS,
        "concat_origin": inside > 2 * CHANNELS,
        "adaptive_res_and_x0": outside > CHANNELS,
    }


def _levels(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    return tuple(_count(state, f"{name}.{level}.") for level in range(_count(state, f"{name}.")))


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbers follow the prefix: 0, 1, ..."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})
