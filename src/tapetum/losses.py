"""Losses that objectives share: functions of ``(pred, target)``, tensors ``(B, C, H, W)``, to a scalar tensor.

As the Retinexformer / BasicSR toolbox defines them; its ``loss_weight`` is a factor that the caller multiplies by.
``reduction`` "none" gives the loss of every number instead of a scalar.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tapetum.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]
Reduction = Literal["mean", "sum", "none"]


def l1(pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """Absolute error. See :func:`mse` for ``weight``."""
    return _reduce((pred - target).abs(), weight, reduction)


def mse(pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """Squared error.

    Args:
        weight: ``(B, C, H, W)`` or ``(B, 1, H, W)``, multiplies the error; "mean" is then the weighted mean.
    """
    return _reduce((pred - target).square(), weight, reduction)


def charbonnier(
    pred: Tensor,
    target: Tensor,
    eps: float = 1e-3,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """``sqrt(difference^2 + eps^2)``. See :func:`mse` for ``weight``."""
    return _reduce(((pred - target).square() + eps**2).sqrt(), weight, reduction)


def total_variation(pred: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in a column plus that of neighbours in a row."""
    rows, columns = pred.diff(dim=2), pred.diff(dim=3)
    return rows.abs().mean() + columns.abs().mean()


def at_brightness(pred: Tensor, target: Tensor) -> Tensor:
    """Each picture of ``pred`` times what gives it the mean of its target, 0.25 to 4 (GT-mean made differentiable)."""
    mean = pred.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
    return pred * (target.mean((1, 2, 3), keepdim=True) / mean).clamp(0.25, 4.0)


def number(name: str, value: object, least: float = 0.0, most: float = math.inf) -> float:
    """An objective's option, as a recipe gives it. Raises UsageError: no finite number from ``least`` to ``most``."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most or value == math.inf:
        wanted = f"from {least:g} up" if most == math.inf else f"from {least:g} to {most:g}"
        raise UsageError(f"objective.{name} must be a number {wanted}, got {value!r}")
    return float(value)


def freed(loss: Loss, brightness_free: float, gradient: float) -> Loss:
    """:func:`partly_free` with a recipe's options of these names. Raises UsageError, as :func:`number`."""
    free = number("brightness_free", brightness_free, most=1.0)
    return partial(partly_free, loss, free=free, gradient=number("gradient", gradient))


def partly_free(loss: Loss, pred: Tensor, target: Tensor, free: float, gradient: float) -> Tensor:
    """``loss``, the share ``free`` of it at the target's brightness, and ``gradient`` times the
    :func:`total_variation` of the difference there: how bright a photographer wanted a picture is partly chance, and a
    short training would spend most of itself on it. With 0 and 0 it is ``loss``.
    """
    if not free and not gradient:
        return loss(pred, target)
    matched = at_brightness(pred, target)
    return (1 - free) * loss(pred, target) + free * loss(matched, target) + gradient * total_variation(matched - target)


def psnr(pred: Tensor, target: Tensor, on_luma: bool = False, reduction: Reduction = "mean") -> Tensor:
    """Minus the PSNR (peak 1), up to ``1e-8`` in the logarithm: ``10 log10(MSE)`` of each sample.

    Args:
        on_luma: compare ``Y = (65.481 R + 128.553 G + 24.966 B + 16) / 255`` instead of RGB.
        reduction: over the samples, of which each has one number.
    """
    if on_luma:
        pred, target = _luma(pred), _luma(target)
    error = (pred - target).square().mean(dim=(1, 2, 3))
    return _reduce(10 / math.log(10) * (error + 1e-8).log(), None, reduction)


def ssim(pred: Tensor, target: Tensor) -> Tensor:
    """1 minus the structural similarity (Wang et al., IEEE TIP 2004), of pictures in [0, 1]: Gaussian window of 11 taps
    and sigma 1.5 where it fits, mean over positions, channels and samples. The measure ``ssim_gaussian_valid_uint8``,
    without its rounding to 8 bits. Not below float32, whatever the autocast is.

    Raises:
        ValueError: a side is shorter than the window.
    """
    if min(pred.shape[2:]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11, got {pred.shape[2]} x {pred.shape[3]}")
    with torch.autocast(pred.device.type, enabled=False):
        a, b = (x if x.dtype == torch.float64 else x.float() for x in (pred, target))
        taps = torch.exp(-0.5 * (torch.arange(-5, 6, device=a.device, dtype=a.dtype) / 1.5).square())
        taps = taps / taps.sum()
        planes = torch.cat([a, b, a * a + b * b, a * b]).flatten(0, 1)[:, None]
        planes = F.conv2d(F.conv2d(planes, taps.view(1, 1, 11, 1)), taps.view(1, 1, 1, 11))
        mean_a, mean_b, squares, product = planes.chunk(4)
        means, both = mean_a * mean_b, mean_a.square() + mean_b.square()
        c1, c2 = 0.01**2, 0.03**2
        similarity = (2 * means + c1) * (2 * (product - means) + c2) / ((both + c1) * (squares - both + c2))
        return 1 - similarity.mean()


def _luma(rgb: Tensor) -> Tensor:
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=rgb.dtype, device=rgb.device).view(1, 3, 1, 1)
    return ((rgb * weights).sum(dim=1, keepdim=True) + 16) / 255


def _reduce(error: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if reduction == "none":
        return error if weight is None else error * weight
    if weight is None:
        return error.mean() if reduction == "mean" else error.sum()
    if reduction == "sum":
        return (error * weight).sum()
    return (error * weight).sum() / weight.expand_as(error).sum()
