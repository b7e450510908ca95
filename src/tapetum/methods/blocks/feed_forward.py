"""Feed-forward layers of the guided attention blocks. Channels-last in and out; the convolutions run channels-first."""

from __future__ import annotations

from torch import Tensor, nn


class DepthwiseFeedForward(nn.Module):
    """Retinexformer's and MST++'s: 1x1 to ``mult`` times the width, depth-wise 3x3, 1x1 back; GELU between, no bias."""

    def __init__(self, width: int, mult: int = 4) -> None:
        super().__init__()
        hidden = width * mult
        self.net = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.GELU(),
            nn.Conv2d(hidden, width, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C) -> (B, H, W, C)``."""
        return self.net(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Normed(nn.Module):
    """``fn`` of the layer-normalised input (over the channels)."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C) -> (B, H, W, C)``."""
        return self.fn(self.norm(x))
