"""The decomposition networks: a picture is a reflectance times an illumination. One for dark pictures, one for targets.

Reti-Diff takes them as given (their layout is that of URetinex-Net's initialisation module) and never says how they are
trained; :class:`tapetum.methods.retidiff.objective.DecompositionObjective` is a way of our own. R and L are rectified,
and nothing bounds them above: R reaches 2 with the published weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.methods.contract import Properties
from tapetum.methods.retidiff.rgformer import decoder

WIDTH = 32
_START = 0.35  # of the last bias: rectified outputs that begin at zero everywhere would never learn


@dataclass(frozen=True)
class DecompositionConfig:
    """Attributes:
    pair: both networks, as training of stage 1 needs them. Published files hold one.
    """

    pair: bool = True


class Decomposer(nn.Module):
    """One network: ``(B, 3, H, W)`` in [0, 1] -> [R, L], ``(B, 4, H, W)``, from 0 up. Sees 4 pixels to each side."""

    def __init__(self) -> None:
        super().__init__()
        self.decom = decoder(3, WIDTH)
        last = self.decom[-2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, _START)

    def forward(self, image: Tensor) -> Tensor:
        return self.decom(image)


class Decomposition(nn.Module):
    """Decomposes a dark picture and puts it together again: what comes out is what went in, once it has learned.

    Attributes:
        decom_low, decom_high: for dark pictures, for targets. A file of one network has neither name.
    """

    def __init__(self, config: DecompositionConfig) -> None:
        super().__init__()
        self.config = config
        self.properties = Properties(size_multiple=1, minimum_size=1, receptive_field=4, bytes_per_pixel=600)
        if config.pair:
            self.decom_low, self.decom_high = Decomposer(), Decomposer()
        else:
            self.decom = Decomposer().decom

    def forward(self, low: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] -> R L, ``(B, 3, H, W)``."""
        return product(self.decom_low(low) if self.config.pair else self.decom(low))


def product(maps: Tensor) -> Tensor:
    """R L of [R, L] ``(B, 4, H, W)``."""
    return maps[:, :3] * maps[:, 3:]


@torch.no_grad()
def dead_channels(maps: Tensor) -> float:
    """The largest share of zeros in a channel of [R, L]; 1: a channel has died, and will not learn any more."""
    return (maps == 0).float().mean(dim=(0, 2, 3)).max().item()
