"""A packed RAW mosaic in, a longer exposure of it out: the RAW methods' enhancer. Reads nothing from disk but weights.

The network is called by tiles that fit a memory budget; the state of the exposure process, and the photons that are
drawn for it, belong to the whole picture, so that draws do not depend on the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapetum.budget import SMALLEST_TILE, Budget
from tapetum.data.raw_noise.scale import gain_for
from tapetum.engines import check_finite
from tapetum.errors import InputError, UsageError, require
from tapetum.imaging.tiles import Grid, cut, pieces, plan
from tapetum.methods.contract import choose
from tapetum.methods.registry import RAW_METHODS, is_raw

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tapetum.imaging.raw import RawPicture

LARGEST_BUDGET = 1.8e9  # bytes of a processor's memory, unless told otherwise: 24 megapixels then need less than 3 GB
LARGEST_TILE = 640 * 640  # packed pixels, where a tile is exact: larger ones are no faster


class RawEnhancer:
    """Enhances packed Bayer mosaics of any size with one RAW method.

    Args:
        model: a RAW method ("exposurediffusion", with ``weights``, or where the package carries some), or a network.
        device: "auto", "cpu", "cuda", ...: where the network runs.
        weights: a file of weights (safetensors, or a published ``.pt``).
        memory: most bytes for a tile, a number or "800MB"; None: a quarter of what is free, on a processor
            at most 1.8 GB. Beside it about 160 bytes for each packed pixel of the picture are needed.
        tile: tiles have at most ``tile`` x ``tile`` packed pixels.
        bfloat16, channels_last, compile: of the PyTorch engine.
        **options: of the method (``iterations``, ``seed``).

    Attributes:
        options: all that are in effect.

    Raises:
        UsageError: an unknown model, option or device, or a model for developed pictures; WeightsError: a file that
        does not fit; MissingExtraError: PyTorch is not installed.
    """

    def __init__(
        self,
        model: str | nn.Module,
        device: str = "auto",
        *,
        weights: str | Path | None = None,
        memory: int | float | str | None = None,
        tile: int | None = None,
        bfloat16: bool = False,
        channels_last: bool = False,
        compile: bool = False,
        **options: Any,
    ) -> None:
        self._budget = Budget(memory, tile, "packed pixels")
        require("torch", "torch", f"the model {model}" if isinstance(model, str) else "a network")
        from tapetum.engines.torch import TorchEngine
        from tapetum.methods.exposurediffusion.network import Backbone, OneCall

        if not isinstance(model, str) and weights is not None:
            raise UsageError("a network that is given as a module has its weights")
        network = _load(model, weights) if isinstance(model, str) else model
        if not isinstance(network, Backbone):
            raise UsageError(f"{type(network).__name__} is no network of a RAW method")
        self.options = choose(network.properties.options, options, "exposurediffusion")
        self._config = network.config
        self.engine = TorchEngine(
            OneCall(network), device, bfloat16=bfloat16, channels_last=channels_last, compile=compile
        )

    def __call__(
        self, packed: np.ndarray, ratio: float, gain: float, on_step: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """A longer exposure of a picture.

        Args:
            packed: ``(4, h, w)`` R, G1, B, G2 as taken: linear, black at 0, white at 1. What is outside is clipped.
            ratio: how much longer, at least 1.
            gain: K, DN per photo-electron, as :func:`tapetum.data.raw_noise.scale.gain_for` gives it.
            on_step: told after every call of the network on the whole picture: which one, and of how many.

        Returns:
            ``(4, h, w)`` float32 in [0, 1] at the longer exposure. The same for the same seed.

        Raises:
            UsageError: another shape; a ratio or gain that cannot be. InputError: values that are no picture, or too
            little memory.
        """
        import torch

        from tapetum.methods.exposurediffusion.exposure import expose, position_draw
        from tapetum.methods.exposurediffusion.network import Prediction

        if packed.ndim != 3 or packed.shape[0] != 4 or 0 in packed.shape:
            raise UsageError(f"a packed mosaic has the shape (4, height, width), got {packed.shape}")
        if not np.isfinite(packed).all():
            raise InputError("the mosaic holds values that are no numbers (NaN or infinite)")
        if abs(ratio - round(ratio)) < 1e-6 * ratio:
            ratio = round(ratio)  # the process cuts off what is behind the point: 99.9999999 is 100
        seed, iterations = self.options["seed"], self.options["iterations"]

        def predict(network_input: Tensor) -> Prediction:
            clean = torch.from_numpy(self._predict(network_input[0].numpy()))[None]
            return Prediction(clean, clean)

        amplified = np.clip(packed.astype(np.float32) * np.float32(ratio), 0, 1)
        low = torch.from_numpy(amplified)[None]
        clean = low
        with torch.inference_mode():
            steps = expose(predict, self._config, low, ratio, gain, iterations, draw=position_draw(seed))
            for number, step in enumerate(steps, 1):
                clean = step.corrected
                if on_step is not None:
                    on_step(number, iterations + 1)
        return clean[0].numpy()

    def picture(
        self,
        raw: RawPicture,
        ratio: float,
        gain: float,
        on_step: Callable[[int, int], None] | None = None,
    ) -> RawPicture:
        """A longer exposure of a RAW picture, in 16 bits from black 0 to white 65535; all else stays.

        Args:
            ratio: how much longer, at least 1.
            gain: K of the camera at the picture's ISO, in DN **of the file** per photo-electron (:func:`find_gain`).

        Raises:
            UsageError, InputError: see :meth:`__call__`.
        """
        counted = gain_for(gain, sum(raw.black) / 4, raw.white)
        return raw.with_packed(self(raw.packed(), ratio, counted, on_step))

    def _predict(self, network_input: np.ndarray) -> np.ndarray:
        """One call on a whole picture, ``(C, h, w) -> (4, h, w)``."""
        return self._budget.run(
            self.engine,
            lambda: self._plan(*network_input.shape[1:]),
            lambda grid: self._run(network_input, grid),
        )

    def _plan(self, height: int, width: int) -> Grid:
        properties = self.engine.properties
        budget = self._budget.bytes(self.engine)
        if self._budget.memory is None and self.engine.name == "torch:cpu":
            budget = min(budget, LARGEST_BUDGET)
        limit = min(self._budget.pixels, max(budget / properties.bytes_per_pixel, SMALLEST_TILE**2))
        if properties.context != "picture":  # there, whole is best wherever it fits
            limit = min(limit, LARGEST_TILE)
        return plan(
            height,
            width,
            multiple=properties.size_multiple,
            minimum=properties.minimum_size,
            margin=properties.receptive_field,
            limit=limit,
        )

    def _run(self, network_input: np.ndarray, grid: Grid) -> np.ndarray:
        _, height, width = network_input.shape
        pixels = network_input.transpose(1, 2, 0)

        def tile(top: int, left: int) -> np.ndarray:
            part = cut(pixels, top, left, grid.tile_height, grid.tile_width)
            return self.engine.run(np.ascontiguousarray(part.transpose(2, 0, 1))[None])[0]

        result = np.empty((4, height, width), np.float32)
        for top, left, part in pieces(grid, tile):
            check_finite(part)
            out = result[:, top : top + part.shape[1], left : left + part.shape[2]]
            out[:] = part[:, : out.shape[1], : out.shape[2]]
        return result


def find_gain(raw: RawPicture, camera: str | Path | None = None, iso: float | None = None) -> float:
    """K of a picture's camera at its ISO speed, DN of the file per photo-electron.

    Args:
        camera: name of a known camera, or a card of ``tapetum raw calibrate``; None: the one that the file names.
        iso: None: the one that the file names.

    Raises:
        UsageError: no such camera. InputError: the file does not say, or its camera is not known.
    """
    from tapetum.data.raw_noise.cameras import camera_of_model, get_camera, published_cameras

    known = camera_of_model(raw.shot.model) if camera is None else get_camera(camera)
    if known is None:
        raise InputError(
            f"the gain of its camera ({raw.shot.model or 'unnamed'}) is not known: give --camera NAME (one of "
            f"{', '.join(published_cameras())}), a card that 'tapetum raw calibrate' wrote, or --gain K"
        )
    speed = raw.shot.iso if iso is None else iso
    if speed is None:
        raise InputError("it does not say its ISO speed: give the gain by --gain K")
    return known.gain_at(speed)


def _load(model: str, weights: str | Path | None) -> nn.Module:
    from tapetum.weights.loading import load_named

    if not is_raw(model):
        raise UsageError(f"{model!r} is no RAW method: choose from {', '.join(RAW_METHODS)}")
    return load_named(model, weights)
