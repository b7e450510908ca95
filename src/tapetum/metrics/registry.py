"""Every measure by its name, with what a table must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tapetum.errors import UsageError, nearest
from tapetum.metrics.ciede2000 import ciede2000_uint8
from tapetum.metrics.contrast import contrast_rms_gray601
from tapetum.metrics.entropy import entropy_gray601_uint8
from tapetum.metrics.gt_mean import gt_mean_gray601, gt_mean_gray601_rgb, gt_mean_mean
from tapetum.metrics.hue import hue_shift_lab
from tapetum.metrics.loe import loe_low_50, loe_low_share, loe_target_50
from tapetum.metrics.mae import mae
from tapetum.metrics.perceptual import dists, lpips_alex, lpips_vgg, prepare_dists, prepare_lpips
from tapetum.metrics.pictures import Image
from tapetum.metrics.psnr import psnr_float, psnr_float_validation, psnr_rgb_uint8, psnr_y_uint8
from tapetum.metrics.ssim import (
    ssim_3d_uint8,
    ssim_gaussian_valid_uint8,
    ssim_uniform7_uint8,
    ssim_y_uint8,
    ssim_y_valid_uint8,
)
from tapetum.metrics.uciqe import uciqe_lab100
from tapetum.metrics.uiqm import uiqm_plain
from tapetum.metrics.without_target import musiq, niqe, prepare


@dataclass(frozen=True)
class Measure:
    """A measure as a table needs it. Called as ``measure(enhanced, target, low) -> float``.

    Attributes:
        compute: takes the enhanced picture and, unless ``against`` is "nothing", the one it is compared with.
        unit: of the value; "" where it has none.
        better: which values are; "neither" where the measure says how a picture is, not how good it is.
        decimals: worth printing.
        source: who defined it.
        against: the picture that the enhanced one is compared with.
        prepare: ``prepare(download)`` raises UsageError where an optional package or its weights are missing; with
            ``download`` it fetches the weights. None: nothing is needed.
    """

    name: str
    compute: Callable[..., float]
    unit: str
    better: Literal["higher", "lower", "neither"]
    decimals: int
    source: str
    against: Literal["target", "low", "nothing"] = "target"
    prepare: Callable[[bool], object] | None = None

    @property
    def needs_target(self) -> bool:
        return self.against == "target"

    def __call__(self, enhanced: Image, target: Image | None = None, low: Image | None = None) -> float:
        """Raises ValueError where the picture to compare with is not given, or the pictures do not fit the measure."""
        if self.against == "nothing":
            return self.compute(enhanced)
        other = target if self.needs_target else low
        if other is None:
            what = "a target picture" if self.needs_target else "the dark picture"
            raise ValueError(f"{self.name} compares with {what}, and there is none")
        return self.compute(enhanced, other)


_WANG = "Wang et al., IEEE TIP 2004"
_ORDER = "Wang et al., IEEE TIP 2013"
_MEASURES = {
    measure.name: measure
    for measure in (
        Measure("psnr_rgb_uint8", psnr_rgb_uint8, "dB", "higher", 2, "on written files"),
        Measure("psnr_float", psnr_float, "dB", "higher", 2, "Retinexformer's test script"),
        Measure("psnr_float_validation", psnr_float_validation, "dB", "higher", 2, "BasicSR's validation"),
        Measure("psnr_y_uint8", psnr_y_uint8, "dB", "higher", 2, "BasicSR's test_y_channel"),
        Measure("ssim_gaussian_valid_uint8", ssim_gaussian_valid_uint8, "", "higher", 4, _WANG),
        Measure("ssim_uniform7_uint8", ssim_uniform7_uint8, "", "higher", 4, f"{_WANG}, as scikit-image's default"),
        Measure("ssim_y_uint8", ssim_y_uint8, "", "higher", 4, f"{_WANG}, as Retinexformer's toolbox"),
        Measure("ssim_y_valid_uint8", ssim_y_valid_uint8, "", "higher", 4, f"{_WANG}, as MambaLLIE's toolbox"),
        Measure("ssim_3d_uint8", ssim_3d_uint8, "", "higher", 4, f"{_WANG}, as Retinexformer's toolbox"),
        Measure("mae", mae, "", "lower", 4, "mean absolute error"),
        Measure("ciede2000_uint8", ciede2000_uint8, "", "lower", 2, "Sharma et al., Color Res. Appl. 2005"),
        Measure("hue_shift_lab", hue_shift_lab, "degrees", "lower", 2, "mean angle of CIELab hues, by chroma"),
        Measure("loe_low_50", loe_low_50, "pixels", "lower", 1, _ORDER, "low"),
        Measure("loe_target_50", loe_target_50, "pixels", "lower", 1, "Guo et al., IEEE TIP 2017"),
        Measure("loe_low_share", loe_low_share, "", "lower", 4, f"{_ORDER}, over all pairs", "low"),
        Measure("entropy_gray601_uint8", entropy_gray601_uint8, "bit", "neither", 3, "Shannon, 1948", "nothing"),
        Measure("contrast_rms_gray601", contrast_rms_gray601, "", "neither", 4, "Peli, JOSA A 1990", "nothing"),
        Measure("uciqe_lab100", uciqe_lab100, "", "higher", 4, "Yang and Sowmya, IEEE TIP 2015", "nothing"),
        Measure("uiqm_plain", uiqm_plain, "", "higher", 4, "Panetta et al., IEEE JOE 2016", "nothing"),
        Measure(
            "lpips_alex",
            lpips_alex,
            "",
            "lower",
            4,
            "Zhang et al., CVPR 2018",
            prepare=lambda download: prepare_lpips("alex", download),
        ),
        Measure(
            "lpips_vgg",
            lpips_vgg,
            "",
            "lower",
            4,
            "Zhang et al., CVPR 2018",
            prepare=lambda download: prepare_lpips("vgg", download),
        ),
        Measure(
            "niqe",
            niqe,
            "",
            "lower",
            2,
            "Mittal et al., IEEE SPL 2013",
            "nothing",
            prepare=lambda download: prepare("niqe", download),
        ),
        Measure(
            "musiq",
            musiq,
            "",
            "higher",
            2,
            "Ke et al., ICCV 2021",
            "nothing",
            prepare=lambda download: prepare("musiq", download),
        ),
        Measure("dists", dists, "", "lower", 4, "Ding et al., IEEE TPAMI 2020", prepare=prepare_dists),
    )
}
_CORRECTIONS = {f.__name__: f for f in (gt_mean_gray601_rgb, gt_mean_gray601, gt_mean_mean)}


def names() -> list[str]:
    """Names that :func:`get` takes."""
    return list(_MEASURES)


def get(name: str) -> Measure:
    """The measure of that name. Raises UsageError for an unknown one; the text names the nearest and all others."""
    if name not in _MEASURES:
        raise UsageError(f"unknown metric {name!r}{nearest(name, _MEASURES)}: choose from {', '.join(_MEASURES)}")
    return _MEASURES[name]


def corrections() -> list[str]:
    """Names that :func:`correction` takes."""
    return list(_CORRECTIONS)


def correction(name: str) -> Callable[[Image, Image], Image]:
    """A GT-mean variant, ``(enhanced, target) -> enhanced``. Raises UsageError for an unknown name."""
    if name not in _CORRECTIONS:
        near = nearest(name, _CORRECTIONS)
        raise UsageError(f"unknown correction {name!r}{near}: choose from {', '.join(_CORRECTIONS)}")
    return _CORRECTIONS[name]
