"""Video and RAW-rendered clips stored as ``.npy`` arrays: SID, SMID and SDSD as SNR-Net's authors published them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapetum.data.resize import resize_bilinear
from tapetum.errors import InputError

WIDTH, HEIGHT = 960, 512
"""What the published recipes train and score on."""


def load_array(path: Path, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.float32]:
    """Reads one array file; see :func:`prepare_array`.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy array ({error})") from None
    try:
        image = prepare_array(array, width, height)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if image.shape[2] != 3:
        raise InputError(f"{path}: need an array of 3 channels, got a grey one")
    return image


def prepare_array(array: NDArray[np.generic], width: int, height: int) -> NDArray[np.float32]:
    """``(H, W, 3)`` **BGR** in 0..255 -> ``(height, width, 3)`` RGB in [0, 1].

    A fourth channel is dropped; ``(H, W)`` becomes ``(height, width, 1)``. The resize comes before the division, so an
    8-bit array comes out of it in 8 bit.

    Raises:
        ValueError: another shape or type.
    """
    if isinstance(array, np.ndarray) and array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2] if isinstance(array, np.ndarray) and array.ndim == 3 else 0
    if channels not in (1, 3, 4) or array.dtype.kind not in "uif":
        raise ValueError(f"need an array H x W x 3 of numbers, got {getattr(array, 'shape', type(array).__name__)}")
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
    image = resize_bilinear(array[:, :, :3], width, height)[:, :, ::-1].astype(np.float32, order="C")
    image /= 255
    return image
