"""Noise of a very short exposure, on clean packed RAW: the models of ELD that ExposureDiffusion trains with.

Input and output are packed mosaics ``(..., 4, H, W)`` (R, G1, B, G2), linear, where 1 is saturation of the *reference*
exposure: a picture ``y`` becomes ``m = y * 15583 / ratio`` digital numbers (DN), is given noise there, and is amplified
back. Which kinds of noise there are: :class:`tapetum.data.raw_noise.letters.NoiseModel`. Source: Wei et al., CVPR 2020
(ELD), and the published configurations of ExposureDiffusion (Wang et al., ICCV 2023). Every random number comes from
the draws given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tapetum.data.raw_noise.cameras import CameraNoise
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.scale import SATURATION
from tapetum.data.raw_noise.tukey import tukey_quantile
from tapetum.errors import UsageError
from tapetum.ops.random import PositionNoise, poisson_of_normal

RATIOS = (20.0, 300.0)
GAINS = (0.1, 30.0)
"""Ranges of the published training; a camera's own gains are ignored there."""

_STREAMS = {"quantisation": 0, "shot": 1, "row": 2, "read": 3}
_CHUNK = 1 << 15  # values that a processor works on at once: all passes over them find them in the cache
_EDGE = 2.0**-25  # keeps a uniform number away from 0 and 1, where the quantile may be infinite


@dataclass(frozen=True)
class NoiseParameters:
    """Of one sample, or tensors ``(N, 1, 1, 1)`` of a batch's.

    Attributes:
        gain: K, DN per electron.
        ratio: amplification, reference exposure over the dark one.
        gaussian: standard deviation for ``g``, DN.
        tukey: scale for ``G``, DN.
        row: standard deviation for ``r``, DN.
        shape: Tukey's lambda for ``G``.
    """

    gain: float | Tensor
    ratio: float | Tensor
    gaussian: float | Tensor = 0.0
    tukey: float | Tensor = 0.0
    row: float | Tensor = 0.0
    shape: float | Tensor = 0.0


def draw_parameters(
    cameras: Sequence[CameraNoise],
    rng: np.random.Generator,
    ratio: tuple[float, float] = RATIOS,
    gain: tuple[float, float] | None = GAINS,
    in_stops: bool = False,
) -> NoiseParameters:
    """One sample's parameters: a camera uniformly, log K uniformly, its scales given K, a ratio, a shape.

    Args:
        ratio: range of the ratio (published: 100..300, or 20..300 where it is called continuous).
        gain: range of K; None: the range that the camera's card covers.
        in_stops: the logarithm of the ratio is drawn uniformly, instead of the ratio.
    """
    camera = cameras[int(rng.integers(len(cameras)))]
    low, high = camera.gain_range if gain is None else gain
    log_gain = float(rng.uniform(math.log(low), math.log(high)))
    least, most = ratio
    drawn_ratio = (
        math.exp(rng.uniform(math.log(least), math.log(most))) if in_stops else float(rng.uniform(least, most))
    )
    gaussian, row, tukey = (float(value) for value in rng.standard_normal(3))
    shape = camera.shapes[int(rng.integers(len(camera.shapes)))]
    return parameters_of_draws(camera, log_gain, drawn_ratio, gaussian, row, tukey, shape)


def parameters_of_draws(
    camera: CameraNoise,
    log_gain: float,
    ratio: float,
    gaussian: float,
    row: float,
    tukey: float,
    shape: float = 0.0,
) -> NoiseParameters:
    """The parameters that follow from drawn numbers; ``gaussian``, ``row``, ``tukey`` are standard normals."""
    gain = math.exp(log_gain)
    return NoiseParameters(
        gain, ratio, camera.gaussian.at(gain, gaussian), camera.tukey.at(gain, tukey), camera.row.at(gain, row), shape
    )


class Draws(Protocol):
    """Where random numbers come from. ``kind`` tells what they are for; shapes are ``(..., C, H, W)``."""

    def below(self, rows: int) -> Draws | None:
        """The draws for the part of the picture below so many rows; None: it must be drawn as a whole."""
        ...

    def uniform(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor: ...
    def normal(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor: ...
    def poisson(self, mean: Tensor) -> Tensor: ...
    def tukey(self, like: Tensor, shape: float | Tensor) -> Tensor: ...


class GeneratorDraws:
    """From torch's generator, which must be on the picture's device: one part of the picture after the other, and for
    each in the order of the model's steps."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def below(self, rows: int) -> GeneratorDraws:
        return self

    def uniform(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.rand(tuple(shape), generator=self.generator, dtype=like.dtype, device=like.device)

    def normal(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self.generator, dtype=like.dtype, device=like.device)

    def poisson(self, mean: Tensor) -> Tensor:
        return poisson_of_normal(mean, self.normal("shot", mean, mean.shape))

    def tukey(self, like: Tensor, shape: float | Tensor) -> Tensor:
        return _tukey(self.uniform("read", like, like.shape), shape)


class PositionDraws:
    """Keyed by the place in the picture: a tile gets the whole picture's noise (:class:`PositionNoise`).

    Args:
        seed: one whole number, or one for each item of the batch.
        origin: row and column of the tile in the whole packed picture.
    """

    def __init__(self, seed: int | Sequence[int], origin: tuple[int, int] = (0, 0)) -> None:
        self.seed = seed
        self.origin = origin

    def below(self, rows: int) -> PositionDraws:
        return PositionDraws(self.seed, (self.origin[0] + rows, self.origin[1]))

    def uniform(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor:
        return self._noise(kind).uniform(shape, like.device).to(like.dtype)

    def normal(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor:
        return self._noise(kind).normal(shape, like.device).to(like.dtype)

    def poisson(self, mean: Tensor) -> Tensor:
        return self._noise("shot").poisson(mean)

    def tukey(self, like: Tensor, shape: float | Tensor) -> Tensor:
        return _tukey(self.uniform("read", like, like.shape), shape)

    def _noise(self, kind: str) -> PositionNoise:
        top, left = self.origin
        # rows of the mosaic run over both channels of a packed row, and have one value each
        origin = (2 * top, 0) if kind == "row" else (top, left)
        return PositionNoise(self.seed, _STREAMS[kind], origin)


class GivenDraws:
    """Numbers that were drawn before, such as a parity case's; one that is missing raises KeyError.

    Args:
        uniform: U(0, 1), for quantisation.
        poisson: counts, or a function of their mean.
        shot_normal, read_normal: standard normals, as the picture.
        row_normal: standard normals, one for each row of the mosaic.
        read_tukey: unit Tukey-lambda draws.
    """

    def __init__(self, **numbers: Any) -> None:
        self._poisson = numbers.pop("poisson", None)
        names = {"uniform": "quantisation", "shot_normal": "shot", "row_normal": "row"}
        names |= {"read_normal": "read", "read_tukey": "tukey"}
        self._numbers = {names[name]: value for name, value in numbers.items()}

    def below(self, rows: int) -> None:
        return None

    def uniform(self, kind: str, like: Tensor, shape: Sequence[int]) -> Tensor:
        return self._numbers[kind].reshape(tuple(shape))

    normal = uniform

    def poisson(self, mean: Tensor) -> Tensor:
        if self._poisson is None:
            raise KeyError("poisson")
        given: Any = self._poisson
        return given if isinstance(given, Tensor) else given(mean)

    def tukey(self, like: Tensor, shape: float | Tensor) -> Tensor:
        return self._numbers["tukey"]


def add_noise(clean: Tensor, model: NoiseModel, parameters: NoiseParameters, draws: Draws) -> Tensor:
    """The amplified noisy picture of a clean one. Not clipped: values below black are as real as those above.

    Args:
        clean: ``(4, H, W)`` or ``(N, 4, H, W)``, float, 0..1; not modified.
        parameters: numbers, or tensors that broadcast over the items.

    Raises:
        UsageError: another shape, or a gain or ratio that is not positive.
    """
    if clean.ndim not in (3, 4) or clean.shape[-3] != 4 or not clean.is_floating_point():
        raise UsageError(f"noise goes on packed RAW (4, height, width), got {tuple(clean.shape)} {clean.dtype}")
    for name in ("gain", "ratio"):
        value = getattr(parameters, name)
        if not bool(torch.as_tensor(value > 0).all()):
            raise UsageError(f"the {name} must be positive, got {value}")
    height = clean.shape[-2]
    rows = max(1, _CHUNK * height // max(1, clean.numel()))
    if clean.device.type != "cpu" or rows >= height or draws.below(0) is None:
        return _noisy(clean, model, parameters, draws)
    noisy = torch.empty_like(clean)
    for top in range(0, height, rows):
        part = draws.below(top)
        assert part is not None
        noisy[..., top : top + rows, :] = _noisy(clean[..., top : top + rows, :], model, parameters, part)
    return noisy


def _noisy(clean: Tensor, model: NoiseModel, parameters: NoiseParameters, draws: Draws) -> Tensor:
    scale = SATURATION / parameters.ratio
    z = clean * scale
    if model.quantisation:
        z.add_(draws.uniform("quantisation", z, z.shape)).sub_(0.5).clamp_(min=0)
    if model.shot == "poisson":
        z = draws.poisson(z / parameters.gain).mul_(parameters.gain)
    elif model.shot == "gaussian":
        z = z + draws.normal("shot", z, z.shape) * (z * parameters.gain).clamp(min=1e-10).sqrt()
    if model.rows:
        z.add_(_rows(z, draws) * parameters.row)
    if model.read == "gaussian":
        z.add_(draws.normal("read", z, z.shape) * parameters.gaussian)
    elif model.read == "tukey":
        z.add_(draws.tukey(z, parameters.shape) * parameters.tukey)
    return z.div_(scale)


def _rows(packed: Tensor, draws: Draws) -> Tensor:
    """Standard normals ``(..., 4, H, 1)``: channels 0 and 1 share the even rows of the mosaic, 2 and 3 the odd ones."""
    *items, _, height, _ = packed.shape
    rows = draws.normal("row", packed, (*items, 1, 2 * height, 1)).reshape(*items, height, 2)
    even, odd = rows.unbind(-1)
    return torch.stack((even, even, odd, odd), dim=-2)[..., None]


def _tukey(uniform: Tensor, shape: float | Tensor) -> Tensor:
    return tukey_quantile(uniform.clamp_(_EDGE, 1 - 2 * _EDGE), shape)
