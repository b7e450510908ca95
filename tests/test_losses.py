from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from tapetum import losses, metrics
from tapetum.errors import UsageError


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pred, target = (torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return pred.requires_grad_(), target


@pytest.mark.parametrize(
    "loss",
    [
        losses.l1,
        losses.mse,
        losses.charbonnier,
        losses.psnr,
        partial(losses.psnr, on_luma=True),
        partial(losses.l1, reduction="sum"),
        lambda pred, target: losses.total_variation(pred),
        partial(losses.mse, weight=torch.linspace(0, 1, 40, dtype=torch.float64).view(2, 1, 4, 5)),
    ],
)
def test_gradients(loss) -> None:
    pred, target = pair()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), (pred,))


@pytest.mark.parametrize("value", ["1e-3", True, -0.1, math.nan, math.inf, None])
def test_options_of_a_recipe_that_are_no_numbers(value: object) -> None:
    with pytest.raises(UsageError, match=r"objective\.gradient must be a number from 0 up, got"):
        losses.freed(losses.l1, 0.5, value)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"objective\.brightness_free must be a number from 0 to 1, got 1\.5"):
        losses.freed(losses.l1, 1.5, 0.0)


def test_against_pytorch() -> None:
    pred, target = pair()
    for reduction in ("mean", "sum"):
        torch.testing.assert_close(
            losses.l1(pred, target, reduction=reduction), torch.nn.functional.l1_loss(pred, target, reduction=reduction)
        )
        torch.testing.assert_close(
            losses.mse(pred, target, reduction=reduction),
            torch.nn.functional.mse_loss(pred, target, reduction=reduction),
        )


def test_weight() -> None:
    pred, target = torch.zeros(1, 3, 1, 2), torch.tensor([1.0, 3.0]).expand(1, 3, 1, 2)
    per_pixel = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
    assert losses.l1(pred, target, per_pixel).item() == pytest.approx((1 + 9) / 4)
    assert losses.l1(pred, target, per_pixel.expand(1, 3, 1, 2)).item() == pytest.approx((1 + 9) / 4)
    assert losses.l1(pred, target, per_pixel, "sum").item() == pytest.approx(3 * 10)


def test_psnr_is_minus_the_psnr() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    pred = target.clone()
    pred[0] += 0.1
    pred[1] += 0.01
    assert losses.psnr(pred, target).item() == pytest.approx(-(20 + 40) / 2, abs=1e-3)
    assert losses.psnr(pred, target, reduction="sum").item() == pytest.approx(-(20 + 40), abs=2e-3)
    assert losses.psnr(pred, target, reduction="none").tolist() == pytest.approx([-20, -40], abs=1e-3)
    luma_error = 0.1 * (65.481 + 128.553 + 24.966) / 255
    assert losses.psnr(pred[:1], target[:1], on_luma=True).item() == pytest.approx(
        20 * math.log10(luma_error), abs=1e-3
    )


def test_ssim_and_psnr_and_l1_are_the_measures() -> None:
    """On 8-bit levels, in either precision; and gradients in float64."""
    random = np.random.default_rng(3)
    target = random.integers(0, 256, (23, 31, 3)).astype(np.uint8)
    smooth = np.clip(target * 0.6 + random.normal(0, 9, target.shape) + 20, 0, 255).astype(np.uint8)
    for dtype, rtol in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        a, b = (torch.from_numpy(x).permute(2, 0, 1)[None].to(dtype) / 255 for x in (smooth, target))
        assert 1 - losses.ssim(a, b).item() == pytest.approx(
            metrics.ssim_gaussian_valid_uint8(smooth, target), rel=rtol
        )
        assert losses.l1(a, b).item() == pytest.approx(metrics.mae(smooth, target), rel=rtol)
        assert -losses.psnr(a, b).item() == pytest.approx(metrics.psnr_rgb_uint8(smooth, target), abs=1e-5)


def test_ssim() -> None:
    pred, target = torch.rand(2, 2, 3, 12, 13, dtype=torch.float64)
    assert torch.autograd.gradcheck(losses.ssim, (pred.requires_grad_(), target.requires_grad_()))
    assert losses.ssim(target, target).item() == pytest.approx(0, abs=1e-12)
    with torch.autocast("cpu", torch.bfloat16):
        assert losses.ssim(pred.detach().float(), target.detach().float()).dtype == torch.float32
    half = losses.ssim(pred.detach().bfloat16(), target.detach().bfloat16())
    assert half.item() == pytest.approx(losses.ssim(pred, target).item(), abs=0.01)
    with pytest.raises(ValueError, match="at least 11 x 11, got 10 x 13"):
        losses.ssim(pred[:, :, :10], target[:, :, :10])


def test_charbonnier_of_nothing_is_eps() -> None:
    zeros = torch.zeros(1, 3, 2, 2)
    assert losses.charbonnier(zeros, zeros, eps=0.25).item() == pytest.approx(0.25)


def test_total_variation_of_a_ramp() -> None:
    ramp = torch.arange(4.0).view(1, 1, 4, 1) * 0.5 + torch.arange(5.0) * 0.25
    assert losses.total_variation(ramp).item() == pytest.approx(0.75)
    assert losses.total_variation(ramp.square()).item() != pytest.approx(0.75)


@pytest.mark.parametrize("loss", [losses.l1, losses.mse, losses.charbonnier])
def test_reductions_and_weights_go_together(loss) -> None:
    pred, target = pair()
    weight = torch.linspace(0, 1, 40, dtype=torch.float64).view(2, 1, 4, 5)
    each = loss(pred, target, reduction="none")
    assert each.shape == pred.shape
    assert loss(pred, target, reduction="sum").item() == pytest.approx(each.sum().item())
    weighted = loss(pred, target, weight=weight, reduction="none")
    assert torch.equal(weighted, each * weight)
    assert loss(pred, target, weight=weight, reduction="sum").item() == pytest.approx(weighted.sum().item())
    # a map of one channel counts three times
    expected = weighted.sum() / (3 * weight.sum())
    assert loss(pred, target, weight=weight).item() == pytest.approx(expected.item())


def test_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="got 'max'"):
        losses.l1(*pair(), reduction="max")  # type: ignore[arg-type]


def test_partly_free_of_brightness() -> None:
    """At the target's brightness nothing is lost but the plain share; without shares it is the loss itself."""
    target = torch.rand(2, 3, 8, 8) * 0.5 + 0.25
    darker = target * torch.tensor([0.5, 0.8])[:, None, None, None]
    assert losses.partly_free(losses.l1, darker, target, 0, 0) == losses.l1(darker, target)
    torch.testing.assert_close(losses.at_brightness(darker, target), target)
    expected = 0.25 * losses.l1(darker, target)
    torch.testing.assert_close(losses.partly_free(losses.l1, darker, target, 0.75, 0.5), expected)
    rough = target + torch.tensor([0.1, -0.1]).repeat(4)
    assert losses.partly_free(losses.l1, rough, target, 0, 0.5) > losses.l1(rough, target) + 0.05
