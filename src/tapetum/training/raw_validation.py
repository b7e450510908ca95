"""What validation of a RAW method measures and shows: packed linear pictures, blind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tapetum.imaging.raw_view import packed_to_srgb
from tapetum.metrics.packed import psnr_packed, ssim_packed

_BEST = 100.0  # dB, so that a mean exists
_NEUTRAL = np.ones(4), np.eye(3)  # nobody knows the camera's colours here


def examine_raw(
    objective: Any, network: nn.Module, batch: dict[str, Any]
) -> tuple[dict[str, float], list[NDArray[np.float32]]]:
    """Measures and pictures of one validation picture.

    Args:
        objective: has ``predict(network, batch)``.
        batch: "low" and "target" ``(1, 4, H, W)``, "ratio" and "gain" ``(1,)``.

    Returns:
        PSNR and SSIM of the enhanced picture and of the amplified one as it came; low, enhanced and target
        ``(H, W, 3)`` in the camera's colours.
    """
    with torch.no_grad():
        enhanced = _planes(objective.predict(network, batch))
    low, target = _planes(batch["low"]), _planes(batch["target"])
    measures = {
        "psnr": min(_BEST, psnr_packed(enhanced, target)),
        "psnr_noisy": min(_BEST, psnr_packed(low, target)),
    }
    if min(target.shape[1:]) >= 7:
        measures |= {"ssim": ssim_packed(enhanced, target), "ssim_noisy": ssim_packed(low, target)}
    return measures, [packed_to_srgb(picture, *_NEUTRAL).transpose(1, 2, 0) for picture in (low, enhanced, target)]


def _planes(picture: Tensor) -> NDArray[np.float32]:
    return np.clip(picture[0].float().cpu().numpy(), 0, 1)
