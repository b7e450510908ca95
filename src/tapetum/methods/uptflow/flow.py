"""The conditional normalizing flow: a picture to a latent of as many numbers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from tapetum.methods.uptflow.coupling import CrossCoupling
from tapetum.methods.uptflow.invertible import ActNorm, InvertibleConv, LogDeterminant, Squeeze
from tapetum.methods.uptflow.whole_picture import WholePicture

LEVELS = 3


class Flow(nn.Module):
    """Three levels, each a squeeze, ``extra_steps`` steps without and ``K`` with a coupling. No level splits.

    Args:
        condition_channels: of the conditions of all levels.
        hidden: width of the networks in the couplings.
    """

    def __init__(self, K: int, extra_steps: int, condition_channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.level_length = 1 + extra_steps + K
        for level in range(1, LEVELS + 1):
            channels = 3 * 4**level
            self.layers.append(Squeeze())
            self.layers.extend(FlowStep(channels) for _ in range(extra_steps))
            self.layers.extend(FlowStep(channels, condition_channels, hidden) for _ in range(K))

    def forward(
        self,
        image: Tensor,
        conditions: Sequence[Tensor],
        log_det: LogDeterminant | None = None,
        whole: WholePicture | None = None,
    ) -> Tensor:
        """Encodes ``(B, 3, H, W)``, sides multiples of 8, into ``(B, 192, H/8, W/8)``."""
        for number, layer in enumerate(self.layers):
            if isinstance(layer, FlowStep):
                image = layer(image, conditions[number // self.level_length], log_det, whole)
            else:
                image = layer(image)
        return image

    def inverse(
        self,
        latent: Tensor,
        conditions: Sequence[Tensor],
        log_det: LogDeterminant | None = None,
        whole: WholePicture | None = None,
    ) -> Tensor:
        """Decodes ``(B, 192, h, w)`` into ``(B, 3, 8h, 8w)``."""
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            if isinstance(layer, FlowStep):
                latent = layer.inverse(latent, conditions[number // self.level_length], log_det, whole)
            else:
                latent = cast("Squeeze", layer).inverse(latent)
        return latent


class FlowStep(nn.Module):
    """ActNorm, invertible 1x1 convolution and, where there is a condition, the cross-coupling layer."""

    def __init__(self, channels: int, condition_channels: int = 0, hidden: int = 0) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.invconv = InvertibleConv(channels)
        self.affine = CrossCoupling(channels, condition_channels, hidden) if condition_channels else None

    def forward(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        log_det: LogDeterminant | None = None,
        whole: WholePicture | None = None,
    ) -> Tensor:
        """x ``(B, C, h, w)``, condition ``(B, D, h, w)`` -> ``(B, C, h, w)``."""
        x = self.invconv(self.actnorm(x, log_det), log_det)
        if self.affine is not None:
            assert condition is not None
            x = self.affine(x, condition, log_det, whole)
        return x

    def inverse(
        self,
        y: Tensor,
        condition: Tensor | None = None,
        log_det: LogDeterminant | None = None,
        whole: WholePicture | None = None,
    ) -> Tensor:
        """The same shapes."""
        if self.affine is not None:
            assert condition is not None
            y = self.affine.inverse(y, condition, log_det, whole)
        return self.actnorm.inverse(self.invconv.inverse(y, log_det), log_det)
