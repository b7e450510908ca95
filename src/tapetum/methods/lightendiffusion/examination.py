"""What is looked at while LightenDiffusion learns, beside its losses: these can fall while the latent dies.

The decoder can copy the dark picture's skips, and then nothing that stage 2 does to the latent changes the picture. The
swap test shows that: the dark picture decoded with the normal picture's latent must become brighter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.methods.contract import Examination
from tapetum.methods.lightendiffusion.network import LightenDiffusion
from tapetum.methods.lightendiffusion.stage1 import Stage1

NEAR = 0.05
"""Deviation of a sampled latent, of their range: about what a narrow network reaches."""


@torch.no_grad()
def swap_test(stage1: Stage1, low: Tensor, normal: Tensor) -> dict[str, float]:
    """Does the latent carry the light? Pairs of a scene, ``(B, 3, H, W)`` in [0, 1], sides multiples of 8.

    Returns:
        "spread": standard deviation of the dark latent over positions (mean over pictures and channels);
        "difference": mean |F_low - F_normal|;
        "mean_low", "mean_swapped", "mean_normal": mean of D(F_low; low), of D(F_normal; low), of the normal picture.
        A latent that has died leaves mean_swapped at mean_low; one that carries the light takes it to mean_normal.
    """
    dark, skips = stage1.encode(low)
    light, _ = stage1.encode(normal)
    return {
        "spread": dark.std(dim=(2, 3)).mean().item(),
        "difference": (dark - light).abs().mean().item(),
        "mean_low": stage1.decode(dark, skips).mean().item(),
        "mean_swapped": stage1.decode(light, skips).mean().item(),
        "mean_normal": normal.mean().item(),
    }


@torch.no_grad()
def examine_stage1(stage1: Stage1, low: Tensor, target: Tensor | None) -> Examination:
    """Of a dark picture and the same scene well exposed, ``(1, 3, H, W)``, sides multiples of 8.

    Scored is what stage 2 aims at: the dark picture decoded from its own reflectance and the target's illumination.
    Measures: the swap test; "psnr_swapped" of the dark picture decoded with the target's latent, "psnr_itself" of the
    dark picture decoded as it is, "psnr_flat" of it decoded with the target's mean illumination, "psnr_near" of what is
    scored where its latent is off by NEAR, as what stage 2 samples is; "light_detail":
    gradients of the target's illumination, as a share of those of its reflectance (0: the light is free of content).
    Pictures: R and L of the low, R and L of the target, swapped.
    """
    dark, skips = stage1.encode(low)
    reflectance, illumination = stage1.decompose(dark)
    itself = stage1.decode(dark, skips)
    if target is None:
        return Examination(itself, {"psnr_itself": _psnr(itself, low)}, [reflectance, illumination])
    light, _ = stage1.encode(target)
    target_reflectance, target_illumination = stage1.decompose(light)
    swapped = stage1.decode(light, skips)
    measures = swap_test(stage1, low, target) | {
        "psnr_swapped": _psnr(swapped, target),
        "psnr_itself": _psnr(itself, low),
        "psnr_flat": _psnr(stage1.decode(reflectance * target_illumination.mean((2, 3), keepdim=True), skips), target),
        "psnr_near": _psnr(stage1.decode(_near(reflectance * target_illumination), skips), target),
        "light_detail": _detail(target_illumination) / max(_detail(target_reflectance), 1e-12),
    }
    pictures = [reflectance, illumination, target_reflectance, target_illumination, swapped.clamp(0, 1)]
    return Examination(stage1.decode(reflectance * target_illumination, skips), measures, pictures)


@torch.no_grad()
def examine_stage2(network: LightenDiffusion, low: Tensor, target: Tensor | None, gamma: float) -> Examination:
    """Of a dark picture, ``(1, 3, H, W)``, sides multiples of the network's: R and L.

    Measures, where there is a target: "psnr_pseudo" of the picture decoded from the pseudo target R L^gamma, which the
    consistency loss pulls to, and "psnr_reachable" of that from the target's illumination: as good as it gets.
    """
    stage1 = network.decom
    dark, skips = stage1.encode(low)
    reflectance, illumination = stage1.decompose(dark)
    measures = {}
    if target is not None:
        _, light = stage1.decompose(stage1.encode(target)[0])
        for name, latent in (("pseudo", reflectance * illumination**gamma), ("reachable", reflectance * light)):
            measures[f"psnr_{name}"] = _psnr(stage1.decode(latent, skips), target)
    return Examination(None, measures, [reflectance, illumination])


def _psnr(image: Tensor, target: Tensor) -> float:
    """Of the clamped image, not rounded; at most 100."""
    return min(100.0, -10 * (image.clamp(0, 1) - target).square().mean().clamp(min=1e-12).log10().item())


def _near(latent: Tensor) -> Tensor:
    """The same noise for every latent of a size."""
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0)).to(latent)
    return latent + NEAR * noise


def _detail(latent: Tensor) -> float:
    return sum(latent.diff(dim=dim).abs().mean().item() for dim in (-1, -2))
