"""LPIPS (Zhang et al., CVPR 2018) and DISTS (Ding et al., IEEE TPAMI 2020), as torchmetrics (Apache-2.0) computes them.

Their networks stand on torchvision's, whose weights are fetched from download.pytorch.org once, and only where
:func:`prepare_lpips` or :func:`prepare_dists` is told to. Both pictures are rounded to 8 bit first. The extra is
``perceptual``; nothing of it is imported before it is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.errors import UsageError, os_reason, require
from tapetum.metrics.pictures import Image, as_uint8, check

_EXTRA = "perceptual"
_BACKBONES = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights"}
_SHORTEST = {"alex": 63, "vgg": 16}  # below that a layer of the network has nothing left


def lpips_alex(enhanced: Image, target: Image) -> float:
    """On AlexNet, version 0.1: the one that most papers give. Lower is better.

    Raises:
        ValueError: a side is shorter than 63. UsageError: as :func:`prepare_lpips`.
    """
    return _compare("alex", "LPIPS", enhanced, target, lambda: prepare_lpips("alex"))


def lpips_vgg(enhanced: Image, target: Image) -> float:
    """On VGG-16, version 0.1. Lower is better.

    Raises:
        ValueError: a side is shorter than 16. UsageError: as :func:`prepare_lpips`.
    """
    return _compare("vgg", "LPIPS", enhanced, target, lambda: prepare_lpips("vgg"))


def dists(enhanced: Image, target: Image) -> float:
    """On VGG-16, at the pictures' own size (the paper's figures: at 256 to the shorter side). Lower is better.

    Raises:
        ValueError: a side is shorter than 16. UsageError: as :func:`prepare_dists`.
    """
    return _compare("vgg", "DISTS", enhanced, target, prepare_dists)


@lru_cache(maxsize=2)
def _lpips(backbone: str) -> Any:
    require("torchvision", _EXTRA, "LPIPS")
    image = require("torchmetrics.image.lpip", _EXTRA, "LPIPS")
    return image.LearnedPerceptualImagePatchSimilarity(net_type=backbone, normalize=True).eval()


@lru_cache(maxsize=1)
def _dists() -> Any:
    require("torchvision", _EXTRA, "DISTS")
    return require("torchmetrics.image.dists", _EXTRA, "DISTS").DeepImageStructureAndTextureSimilarity().eval()


def prepare_lpips(backbone: Literal["alex", "vgg"], download: bool = False) -> Any:
    """The network, ready; fetched before where ``download`` says so.

    Raises:
        MissingExtraError: the extra is not installed.
        UsageError: the weights are not there and not to be fetched, or cannot be.
    """
    _find_weights(f"lpips_{backbone}", backbone, download)
    return _lpips(backbone)


def prepare_dists(download: bool = False) -> Any:
    """As :func:`prepare_lpips`."""
    _find_weights("dists", "vgg", download)
    return _dists()


def _find_weights(measure: str, backbone: str, download: bool) -> None:
    for module in ("torch", "torchmetrics", "torchvision"):
        require(module, _EXTRA, measure)
    import torch

    models = require("torchvision.models", _EXTRA, measure)
    url: str = getattr(models, _BACKBONES[backbone]).DEFAULT.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if file.is_file():
        return
    if not download:
        raise UsageError(
            f"{measure} needs {file.name}, which is not in {file.parent}: put it there ({url}), "
            "or let --download fetch it"
        )
    try:
        torch.hub.load_state_dict_from_url(url, progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # the second: of another content than its name says
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{measure}: {url} cannot be fetched: {reason}") from None


def _compare(backbone: str, measure: str, enhanced: Image, target: Image, prepare: Any) -> float:
    check(enhanced, target)
    height, width = enhanced.shape[:2]
    if min(height, width) < _SHORTEST[backbone]:
        shortest = _SHORTEST[backbone]
        raise ValueError(f"{measure} needs pictures of at least {shortest} x {shortest}, got {height} x {width}")
    network = prepare()
    import torch

    def tensor(image: Image) -> torch.Tensor:
        planes = as_uint8(image).transpose(2, 0, 1)[None]
        return torch.from_numpy(np.divide(planes, np.float32(255), dtype=np.float32))

    with torch.inference_mode():
        value = float(network(tensor(enhanced), tensor(target)))
    network.reset()  # it gathers means of its own
    if not math.isfinite(value):
        raise ValueError(f"{measure} of these pictures is no number")
    return value
