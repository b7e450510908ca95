"""From a network to the picture that is scored: padding, self-ensemble, splitting, clamping, GT-mean. NumPy only.

A ``predict`` is any callable on ``(1, 3, H, W)`` float32 in [0, 1], sides multiples of what the network asks for, to
the same size: ``engine.run``, or a network wrapped in ``torch.no_grad``. The steps are those of the test script that
Retinexformer and DED-Net published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tapetum import metrics
from tapetum.data.resize import Sized, longest, resize_bicubic, square
from tapetum.errors import UsageError, nearest

Batch = NDArray[np.float32]
Picture = NDArray[np.float32]
Predict = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Protocol:
    """How a prediction is made and scored. Variants: ``dataclasses.replace(protocol, self_ensemble=True)``.

    Attributes:
        name: for the report.
        metrics: names of the measures (:mod:`tapetum.metrics`).
        split_from: pictures with a side of at least this are predicted as odd and even columns; None: never.
        self_ensemble: mean over the eight flips and rotations.
        gt_mean: name of the brightness correction by the target, or None.
        truncates: values become 8 bit by cutting off what is beyond a level, before any correction; not by rounding.
        tile: predicted by the enhancer in overlapping tiles of at most ``tile`` x ``tile`` pixels; None: whole.
        times: how often the picture is enhanced: its result, rounded to 8 bit as in a file, is the next low.
        sized: from the target's size, that at which both are predicted and measured; None: their own.
    """

    name: str
    metrics: tuple[str, ...]
    split_from: int | None = None
    self_ensemble: bool = False
    gt_mean: str | None = None
    sized: Sized | None = None
    truncates: bool = False
    tile: int | None = None
    times: int = 1

    def prepare(self, low: Picture, target: Picture) -> tuple[Picture, Picture]:
        """Both ``(H, W, 3)`` in [0, 1], of one size, at the size that is measured, by bicubic resampling that is not
        clipped."""
        if self.sized is None:
            return low, target
        height, width = self.sized(*target.shape[:2])
        if (height, width) == target.shape[:2]:
            return low, target
        return resize_bicubic(low, width, height), resize_bicubic(target, width, height)

    def restore(
        self,
        predict: Predict,
        low: NDArray[np.float32],
        size_multiple: int = 1,
        target: NDArray[np.generic] | None = None,
    ) -> NDArray[np.float32]:
        """The picture that is scored: ``(H, W, 3)`` in [0, 1], from low ``(H, W, 3)`` in [0, 1].

        Args:
            size_multiple: sides that ``predict`` takes are multiples of this.
            target: ``(H, W, 3)``, needed for GT-mean only.

        Raises:
            UsageError: GT-mean without a target.
        """
        height, width = low.shape[:2]
        step = self_ensemble(predict) if self.self_ensemble else predict
        width_multiple = size_multiple
        if self.split_from is not None and max(height, width) >= self.split_from:
            # twice the multiple, so that each half is one; the published script fails where that makes a difference
            step, width_multiple = split_columns(step), 2 * size_multiple
        batch = np.ascontiguousarray(low.transpose(2, 0, 1)[None], np.float32)
        out = step(pad_bottom_right(batch, size_multiple, width_multiple))[0, :, :height, :width]
        enhanced: NDArray[np.float32] = np.clip(np.ascontiguousarray(out.transpose(1, 2, 0)), 0, 1)
        if self.truncates:
            enhanced = (np.floor(enhanced * 255) / 255).astype(np.float32, copy=False)
        if self.gt_mean is None:
            return enhanced
        if target is None:
            raise UsageError(f"{self.gt_mean} corrects by the target picture, and there is none")
        return metrics.correction(self.gt_mean)(enhanced, target).astype(np.float32, copy=False)


WITHOUT_TARGET = ("uciqe_lab100", "uiqm_plain")
"""What is measured where there is no target."""
_STRICT = Protocol("strict", ("psnr_rgb_uint8", "ssim_gaussian_valid_uint8"))
_TEST_SCRIPT = Protocol("retinexformer_test_script", ("psnr_float", "ssim_gaussian_valid_uint8"), split_from=3000)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        _STRICT,
        _TEST_SCRIPT,
        replace(_TEST_SCRIPT, name="dednet_test_script"),  # it took over the program
        # without its LPIPS, which needs another network's weights
        Protocol("uptflow_test_script", ("psnr_rgb_uint8", "ssim_uniform7_uint8"), truncates=True),
        # Reti-Diff's test options: no self-ensemble, no GT-mean, and a size for each task
        replace(_STRICT, name="retidiff_low_light"),
        replace(_STRICT, name="retidiff_underwater", metrics=(*_STRICT.metrics, *WITHOUT_TARGET), sized=square(256)),
        replace(_STRICT, name="retidiff_backlit", sized=longest(2048)),
        # what users do beside: small memory, and the same picture once more
        replace(_STRICT, name="untiled", tile=1 << 20),
        *(replace(_STRICT, name=f"tiled_{tile}", tile=tile) for tile in (256, 192, 128)),
        replace(_STRICT, name="twice", times=2),
    )
}


def get_protocol(name: str) -> Protocol:
    """Raises UsageError for an unknown name; the text names the nearest and all others."""
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}{nearest(name, PROTOCOLS)}: choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def pad_bottom_right(batch: Batch, height_multiple: int, width_multiple: int | None = None) -> Batch:
    """``(N, C, H, W)`` to multiples, by reflection without the edge; a side too short for that repeats its edge."""
    for axis, multiple in ((2, height_multiple), (3, width_multiple or height_multiple)):
        side = batch.shape[axis]
        missing = -side % multiple
        if missing:
            widths = [(0, missing if i == axis else 0) for i in range(4)]
            batch = np.pad(batch, widths, mode="reflect" if missing < side else "edge")
    return batch


def self_ensemble(predict: Predict) -> Predict:
    """Mean of the eight outputs for flipped and turned inputs, each turned back."""

    def ensemble(batch: Batch) -> Batch:
        total = np.zeros(batch.shape, np.float64)
        for flip_rows, flip_columns, turn in product((False, True), repeat=3):
            x = batch[:, :, ::-1] if flip_rows else batch
            x = x[:, :, :, ::-1] if flip_columns else x
            x = np.rot90(x, 1, (2, 3)) if turn else x
            y = predict(np.ascontiguousarray(x))
            y = np.rot90(y, 3, (2, 3)) if turn else y
            y = y[:, :, :, ::-1] if flip_columns else y
            total += y[:, :, ::-1] if flip_rows else y
        return (total / 8).astype(np.float32)

    return ensemble


def split_columns(predict: Predict) -> Predict:
    """Odd and even columns apart, half the memory each, results interleaved. The width must be even."""

    def split(batch: Batch) -> Batch:
        out = np.empty(batch.shape, np.float32)
        for start in (0, 1):
            out[..., start::2] = predict(np.ascontiguousarray(batch[..., start::2]))
        return out

    return split
