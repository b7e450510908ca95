"""The types a picture comes in, in a program: PIL images, NumPy arrays, tensors. Unwrapped, and wrapped up again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tapetum.errors import InputError, UsageError
from tapetum.imaging.picture import Picture

Rewrap = Callable[[list[np.ndarray]], Any]
# Floating values this far outside 0..1 are overshoot of a resampling or the like; further out, a wrong scale
_SLACK = 1.0


def opened(image: Any) -> tuple[list[np.ndarray], Rewrap]:
    """The pixels of an image, and how other pixels of the same shapes become an image like it.

    Args:
        image: see :class:`tapetum.Enhancer`.

    Returns:
        one array per picture, ``(H, W, 1)`` or ``(H, W, 3)``, uint8, uint16 or float32 in 0..1; and the function that
        takes arrays of these shapes and dtypes.

    Raises:
        UsageError: another type, dtype or shape. InputError: NaN, infinity, or values of another scale.
    """
    if isinstance(image, Picture):
        return _open_picture(image)
    if isinstance(image, np.ndarray):
        return _open_array(image)
    # asked of modules that the caller has imported, since neither PIL nor torch is needed otherwise
    pil, torch = sys.modules.get("PIL.Image"), sys.modules.get("torch")
    if pil is not None and isinstance(image, pil.Image):
        return _open_pil(image)
    if torch is not None and isinstance(image, torch.Tensor):
        return _open_tensor(image)
    raise UsageError(f"an image must be a PIL image, a NumPy array or a torch tensor, got {type(image).__name__}")


def _open_picture(picture: Picture) -> tuple[list[np.ndarray], Rewrap]:
    pixels = picture.pixels
    if pixels.dtype.kind != "f":
        return [pixels], lambda results: picture.with_pixels(results[0])
    lowest, highest = _finite_range(pixels)
    if lowest >= 0 and highest <= 1:
        return [pixels], lambda results: picture.with_pixels(results[0])
    if highest > 1 and np.count_nonzero(pixels > 1) > pixels.size / 2:
        raise InputError(
            f"most samples are above 1 (up to {highest:g}): a float picture must have 0 for black and 1 for white"
        )

    def rewrap(results: list[np.ndarray]) -> Picture:
        # highlights of a picture of high dynamic range lie above white: by as much as before, so that none is lost
        for result, row in zip(results[0], pixels, strict=True):
            result += row - np.clip(row, 0, 1)
        return picture.with_pixels(results[0])

    return [np.clip(pixels, 0, 1)], rewrap


def _open_array(array: np.ndarray) -> tuple[list[np.ndarray], Rewrap]:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise UsageError(
            "an array must have the shape (height, width), (height, width, 1), (height, width, 3) or "
            f"(height, width, 4), got {array.shape}"
        )
    colours = array[:, :, None] if array.ndim == 2 else array[:, :, :3]

    def rewrap(results: list[np.ndarray]) -> np.ndarray:
        (result,) = results
        result = result.astype(array.dtype, copy=False)
        if array.ndim == 2:
            return result[:, :, 0]
        return np.concatenate([result, array[:, :, 3:]], axis=2) if array.shape[2] == 4 else result

    return [_checked(colours)], rewrap


def _open_tensor(tensor: Any) -> tuple[list[np.ndarray], Rewrap]:
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4) or shape[-3] not in (1, 3) or 0 in shape:
        raise UsageError(f"a tensor must have the shape (3, height, width) or (N, 3, height, width), got {shape}")
    torch = sys.modules["torch"]
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "a meta" if tensor.is_meta else "a sparse"
        raise UsageError(f"a tensor must be dense and hold its values, got {kind} tensor")
    batch = tensor.detach().reshape(-1, *shape[-3:])
    if tensor.dtype.is_floating_point:  # bfloat16 is unknown to NumPy
        batch = batch.float()
    pictures = [_checked(each) for each in batch.cpu().numpy().transpose(0, 2, 3, 1)]

    def rewrap(results: list[np.ndarray]) -> Any:
        planes = np.ascontiguousarray(np.stack(results).transpose(0, 3, 1, 2))
        return torch.from_numpy(planes).reshape(shape).to(device=tensor.device, dtype=tensor.dtype)

    return pictures, rewrap


def _open_pil(image: Any) -> tuple[list[np.ndarray], Rewrap]:
    """A colour that stands for transparency (``info["transparency"]``) becomes an alpha channel, so the mode "LA" or
    "RGBA". PIL has no such modes of more than 8 bits: there it is dropped."""
    from PIL import Image

    if 0 in image.size:
        raise UsageError(f"a PIL image must have pixels, got {image.width} x {image.height}")
    mode = image.mode
    if mode in ("I;16B", "I;16L", "I;16N"):
        mode = "I;16"
    elif mode not in ("I;16", "I", "F"):
        grey = mode in ("1", "L", "LA", "La")
        mode = ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
    source = image.convert(mode) if mode != image.mode else image
    array = np.asarray(source)
    if mode == "I":  # 32-bit integers, which is how 16-bit files used to be opened
        if array.min() < 0 or array.max() > 65535:
            raise InputError('a PIL image of mode "I" must hold 16-bit values, 0 to 65535')
        array = array.astype(np.uint16)
    alpha = source.getchannel("A") if mode in ("LA", "RGBA") else None
    colours = array[:, :, None] if array.ndim == 2 else array[:, :, : array.shape[2] - (alpha is not None)]

    def rewrap(results: list[np.ndarray]) -> Any:
        result = results[0] if results[0].shape[2] == 3 else results[0][:, :, 0]
        enhanced = Image.fromarray(result.astype(np.int32) if mode == "I" else result)
        if alpha is not None:
            enhanced.putalpha(alpha)
        # here getexif() looks for the EXIF, and the caller for the profile; not every save() writes them unasked
        enhanced.info = {k: v for k, v in image.info.items() if k != "transparency"}
        return enhanced

    return [_checked(colours)], rewrap


def _checked(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind == "f":
        lowest, highest = _finite_range(pixels)
        if lowest < -_SLACK or highest > 1 + _SLACK:
            raise InputError(
                f"a floating image must have values from 0 to 1, got {lowest:g} to {highest:g}: divide them first"
            )
        # copied only where need be: the caller's memory may be full of this picture
        pixels = pixels if lowest >= 0 and highest <= 1 else np.clip(pixels, 0, 1)
        return pixels.astype(np.float32, copy=False)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"an image must be uint8, uint16 or floating in 0..1, got {pixels.dtype}: convert it first")
    return pixels


def _finite_range(pixels: np.ndarray) -> tuple[float, float]:
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError("the image holds values that are no numbers (NaN or infinity)")
    return lowest, highest
