"""Measures of an enhanced picture, most of them against its target, each in a named convention.

Pictures are ``(H, W, 3)`` RGB, uint8 or floating in [0, 1]. A function for each convention, here and by its name from
:func:`get`; :class:`Means` gathers them over pictures. NumPy only, but for those whose measure is a network
(:mod:`tapetum.metrics.perceptual`).
"""

from __future__ import annotations

from tapetum.metrics.ciede2000 import ciede2000_uint8
from tapetum.metrics.contrast import contrast_rms_gray601
from tapetum.metrics.entropy import entropy_gray601_uint8
from tapetum.metrics.gt_mean import gt_mean_gray601, gt_mean_gray601_rgb, gt_mean_mean
from tapetum.metrics.hue import hue_shift_lab
from tapetum.metrics.loe import loe_low_50, loe_low_share, loe_target_50
from tapetum.metrics.mae import mae
from tapetum.metrics.means import HIGHEST_DB, Means, score
from tapetum.metrics.perceptual import dists, lpips_alex, lpips_vgg
from tapetum.metrics.psnr import psnr_float, psnr_float_validation, psnr_rgb_uint8, psnr_y_uint8
from tapetum.metrics.registry import Measure, correction, corrections, get, names
from tapetum.metrics.ssim import (
    ssim_3d_uint8,
    ssim_gaussian_valid_uint8,
    ssim_uniform7_uint8,
    ssim_y_uint8,
    ssim_y_valid_uint8,
)
from tapetum.metrics.uciqe import uciqe_lab100
from tapetum.metrics.uiqm import uiqm_plain
from tapetum.metrics.without_target import musiq, niqe

__all__ = [
    "HIGHEST_DB",
    "Means",
    "Measure",
    "ciede2000_uint8",
    "contrast_rms_gray601",
    "correction",
    "corrections",
    "dists",
    "entropy_gray601_uint8",
    "get",
    "gt_mean_gray601",
    "gt_mean_gray601_rgb",
    "gt_mean_mean",
    "hue_shift_lab",
    "loe_low_50",
    "loe_low_share",
    "loe_target_50",
    "lpips_alex",
    "lpips_vgg",
    "mae",
    "musiq",
    "names",
    "niqe",
    "psnr_float",
    "psnr_float_validation",
    "psnr_rgb_uint8",
    "psnr_y_uint8",
    "score",
    "ssim_3d_uint8",
    "ssim_gaussian_valid_uint8",
    "ssim_uniform7_uint8",
    "ssim_y_uint8",
    "ssim_y_valid_uint8",
    "uciqe_lab100",
    "uiqm_plain",
]
