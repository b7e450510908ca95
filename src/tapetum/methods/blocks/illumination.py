"""The illumination estimator of Retinexformer (Cai et al., ICCV 2023, section 3.1), which DED-Net shares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ESTIMATOR_RADIUS = 2


class IlluminationEstimator(nn.Module):
    """Estimates how a picture must be lit up, and a feature that guides its restoration.

    The paper draws the middle convolution 9x9 depth-wise; the published weights are 5x5 in 4 groups.

    Args:
        width: channels of the feature; a multiple of 4.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, width, 1)
        self.depth_conv = nn.Conv2d(width, width, 5, padding=2, groups=4)
        self.conv2 = nn.Conv2d(width, 3, 1)

    def forward(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 3, H, W)`` in [0, 1] -> feature ``(B, width, H, W)``, map ``(B, 3, H, W)``, unbounded."""
        with_mean = torch.cat([low, low.mean(dim=1, keepdim=True)], dim=1)
        feature = self.depth_conv(self.conv1(with_mean))
        return feature, self.conv2(feature)
