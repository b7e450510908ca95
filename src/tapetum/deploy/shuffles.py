"""Pixel shuffle and unshuffle as (transposed) convolutions with one-hot kernels, for export.

The same values to the last bit, but ONNX Runtime moves pixels through its convolutions faster than through
DepthToSpace and six-dimensional transposes: a tenth of the default model's time on one core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from onnxscript import opset20 as op


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``torch.onnx.export(custom_translation_table=...)``."""
    return {
        torch.ops.aten.pixel_unshuffle.default: _unshuffle,
        torch.ops.aten.pixel_shuffle.default: _shuffle,
    }


def _unshuffle(low: Any, downscale_factor: int) -> Any:
    """``(N, C, H r, W r) -> (N, C r r, H, W)``."""
    return op.Conv(low, _kernel(int(low.shape[1]), downscale_factor), strides=[downscale_factor] * 2)


def _shuffle(low: Any, upscale_factor: int) -> Any:
    """``(N, C r r, H, W) -> (N, C, H r, W r)``."""
    kernel = _kernel(int(low.shape[1]) // upscale_factor**2, upscale_factor)
    return op.ConvTranspose(low, kernel, strides=[upscale_factor] * 2)


def _kernel(channels: int, factor: int) -> Any:
    """``(C r r, C, r, r)``: channel ``c r r + i r + j`` takes pixel (i, j) of channel c."""
    shape = (channels, factor, factor, channels, factor, factor)
    kernel = np.zeros(shape, np.float32)
    c, i, j = np.indices(shape[:3])
    kernel[c, i, j, c, i, j] = 1
    return op.Constant(value=numpy_helper.from_array(kernel.reshape(-1, channels, factor, factor)))
