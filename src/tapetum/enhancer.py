"""A picture in, a picture out: pads, tiles, runs, restores. Knows engines, not networks; reads nothing but weights."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import os
import warnings
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tapetum.budget import SMALLEST_TILE, Budget, megabytes
from tapetum.engines import Engine, Extras, check_finite
from tapetum.engines.choosing import make_engine
from tapetum.errors import TapetumWarning, UsageError
from tapetum.imaging.arrays import opened
from tapetum.imaging.colour import linear_to_srgb, srgb_to_linear
from tapetum.imaging.moments import Moments
from tapetum.imaging.resize import shrink
from tapetum.imaging.surroundings import Surroundings
from tapetum.imaging.tiles import Grid, cut, kept_between_tiles, pieces, plan
from tapetum.methods.contract import OF_THE_ENHANCER, Place, choose
from tapetum.weights.registry import bundled_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from tapetum.methods.contract import OnStep, Properties

log = logging.getLogger(__name__)

# Larger tiles are no faster, and tiles of a network that sees the rest through a thumbnail, or sees only its
# neighbourhood, give what the whole picture gives. Not so with statistics, or where a network ought to see all of the
# picture: there, whole is best wherever it fits.
LARGEST_TILE = 1200 * 1200
_FLOATS_PER_PIXEL = 8  # of a tile beside the engine's own: in, out, and copies on the way
_BLOCK = (32, 512)  # rows and columns that are blended, rounded and stored at once: little memory, and in the cache
_BLOCK_FLOATS = 3 * 14  # per pixel of a block, at most (strength)
_LUMA = (0.299, 0.587, 0.114)


class Enhancer:
    """Enhances pictures of any size with one model.

        enhancer = tapetum.Enhancer()
        brighter = enhancer(PIL.Image.open("night.jpg"))

    Args:
        model: a bundled model ("default"), a method ("retinexformer", with ``weights``, or where the package carries
            some for it, for ``task`` where it has tasks), a network of the contract
            (``create_model``'s result), a classical method ("clahe"), or the path of an ``.onnx`` file that
            ``tapetum export`` wrote.
        device: "auto", "cpu", "cuda", "cuda:1", "mps". With "auto" a bundled model runs in ONNX Runtime on the
            processor, and a method in PyTorch on the best device there is.
        weights: a file of weights for a method or a bundled model's design (safetensors, or a published ``.pth``).
        engine: "auto", "onnx" or "torch".
        memory: most bytes of working memory, beside the picture itself and its result: a number, or "800MB", "1.5GB".
            None: a quarter of what is free on the device. A budget that the smallest tiles exceed is said in a
            warning. Pictures of other types than uint8, uint16 and float32 within 0..1 are copied into one of these
            first, and colours are put together with transparency at last, which the budget does not count.
        tile: tiles have at most ``tile`` x ``tile`` pixels. None: as large as the memory allows. Neighbours overlap by
            at most half a tile: below about four times the receptive field they are farther from the whole.
        strength: 1 is the model's result, 0 the picture as it was; between, both are mixed in linear light.
        bfloat16, channels_last, compile: of the PyTorch engine (:class:`tapetum.engines.torch.TorchEngine`).
        **options: what the model leaves to its user, such as ``steps=20, seed=1``; ``tapetum models NAME`` lists them.
            None: the default. One seed draws the same noise for every picture, whatever its tiles.
            The mean of several samples takes 24 bytes for each pixel beside ``memory``.

    Attributes:
        engine: what runs the network (``engine.name``, ``engine.properties``).
        options: the value of every option that the model has.

    Raises:
        UsageError: an unknown model or device, an option that the model has not or a value that it does not allow;
        WeightsError: a file that does not fit; MissingExtraError: the model needs PyTorch and it is not installed.
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "default",
        device: str = "auto",
        *,
        weights: str | Path | None = None,
        engine: Literal["auto", "onnx", "torch"] = "auto",
        memory: int | float | str | None = None,
        tile: int | None = None,
        strength: float = 1.0,
        bfloat16: bool = False,
        channels_last: bool = False,
        compile: bool = False,
        **options: int | float | str | None,
    ) -> None:
        if not isinstance(strength, Real) or not 0 <= strength <= 1:
            raise UsageError(f"strength must be from 0 to 1, got {strength!r}")
        self._budget = Budget(memory, tile)
        self.strength = float(strength)
        torch_options = {"bfloat16": bfloat16, "channels_last": channels_last, "compile": compile}
        if isinstance(model, str) and weights is None:
            model = bundled_name(model, options.get("task"))
        self.engine: Engine = make_engine(model, device, weights, engine, torch_options)
        if self.engine.properties.domain != "srgb":
            raise UsageError(
                f"{model}: works on {self.engine.properties.domain} mosaics, not on sRGB: take "
                "tapetum.raw_enhancer.RawEnhancer, or `tapetum enhance FILE.dng --model ...`"
            )
        name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self.options = choose(self.engine.properties.options, options, name)
        # options that do not go together are refused here, not at the first picture
        drawn = self._noise_bytes_per_pixel() > 0 or self.engine.properties.noise_scale is None
        if self._samples > 1 and not drawn:
            told = ", ".join(f"{option}={value}" for option, value in self._network_options().items())
            raise UsageError(f"{name}: {self._samples} samples would all be alike, for nothing is drawn with {told}")
        if options.get("seed") is not None and not drawn:
            told = ", ".join(f"{k}={v}" for k, v in self._network_options().items() if k != "seed")
            warnings.warn(f"{name}: the seed says nothing, for nothing is drawn with {told}", TapetumWarning, 2)

    def __call__(self, image: Any, *, on_step: OnStep | None = None) -> Any:
        """The enhanced image, of the type, shape, dtype, device and PIL mode of the one given. With several samples
        (``options["samples"]``) it is their mean.

        Args:
            image: sRGB values, upright. One of

                * a PIL image. "L", "LA", "RGB", "RGBA", "I", "I;16" and "F" stay what they are; "1" comes back as "L",
                  "I;16B" as "I;16", and other modes ("P", "CMYK", ...) as "RGB". Where a colour is transparent, it
                  becomes "LA" or "RGBA".
                * a NumPy array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``: uint8, uint16, or floating
                  in 0..1 (values a little outside are clipped).
                * a tensor ``(3, H, W)`` or ``(N, 3, H, W)`` (or with one channel): uint8, or floating in 0..1.
                * a :class:`tapetum.imaging.Picture`. Floats outside of 0..1 stay as far outside as they were.

                Transparency is kept as it is. Grey pictures stay grey: the luma of the enhanced one.
            on_step: told ``(done, total)`` of each image's steps, over all tiles and samples, whenever one is done.
                What it raises ends the work.

        Raises:
            UsageError: another type, dtype or shape.
            InputError: values that are no picture (NaN, or far outside 0..1), of the image or of what the model makes
                of it; or too little memory.
        """
        pixels, rewrap = opened(image)
        return rewrap([self._mean(each, on_step) for each in pixels])

    def with_tiles(self, tile: int | None) -> Enhancer:
        """The same model, which is not loaded again, with other tiles (see ``tile`` above)."""
        other = copy.copy(self)
        other._budget = Budget(self._budget.memory, tile)
        return other

    def samples(self, image: Any, *, on_step: OnStep | None = None) -> Iterator[Any]:
        """The samples of an image one by one, each as :meth:`__call__` returns it: as many as ``options["samples"]``
        says, one where the model has no such option. The first does not depend on how many there are.

        Raises:
            as :meth:`__call__`.
        """
        pixels, rewrap = opened(image)
        for sample in range(self._samples):
            yield rewrap([self._enhance(each, sample, on_step) for each in pixels])

    def predict(self, low: np.ndarray) -> np.ndarray:
        """One run of the bare network with these options, for protocols that pad, clamp and round themselves.

        Args:
            low: ``(N, 3, H, W)`` float32 in 0..1, H and W as ``engine.properties`` asks for.

        Returns:
            the same shape, not clamped. With several samples the mean of each one clamped, as in a file.
        """
        if self._samples == 1:
            return self.engine.run(low, None, self._extras(0, 0, 0, low))
        total = np.zeros(low.shape, np.float32)
        for sample in range(self._samples):
            total += np.clip(self.engine.run(low, None, self._extras(sample, 0, 0, low)), 0, 1)
        return total / np.float32(self._samples)

    @property
    def _samples(self) -> int:
        return int(self.options.get("samples", 1))

    def _mean(self, pixels: np.ndarray, on_step: OnStep | None) -> np.ndarray:
        if self._samples == 1:
            return self._enhance(pixels, 0, on_step)
        moments = Moments()
        for sample in range(self._samples):
            moments.add(self._enhance(pixels, sample, on_step))
        return moments.mean(pixels.dtype)

    def _enhance(self, pixels: np.ndarray, sample: int, on_step: OnStep | None) -> np.ndarray:
        """``(H, W, 1)`` or ``(H, W, 3)``, uint8, uint16 or float32 in 0..1 -> the same."""
        if self.strength == 0:
            return pixels.copy()
        return self._budget.run(
            self.engine,
            lambda: self._plan(*pixels.shape[:2]),
            lambda grid: self._run(pixels, grid, sample, on_step),
        )

    def _plan(self, height: int, width: int) -> Grid:
        """The largest tiles that the budget allows."""
        properties = self.engine.properties
        budget = self._budget.bytes(self.engine)
        limit = self._budget.pixels
        if properties.context not in ("statistics", "picture"):
            limit = min(limit, LARGEST_TILE)
        smallest = min(limit, SMALLEST_TILE**2)
        limit = min(limit, max(smallest, height * width * 4))  # a finite start
        while True:
            grid = plan(
                height,
                width,
                multiple=properties.size_multiple,
                minimum=properties.minimum_size,
                margin=properties.receptive_field,
                limit=limit,
            )
            needed = _working_memory(grid, properties, self._noise_bytes_per_pixel())
            if needed <= budget:
                return grid
            if limit <= smallest:
                if self._budget.memory is not None:
                    told = f"{megabytes(budget)} of memory are too little: the smallest tiles need"
                    warnings.warn(f"{told} {megabytes(needed)}", TapetumWarning, stacklevel=2)
                return grid
            limit = max(limit * 0.8, smallest)

    def _run(self, pixels: np.ndarray, grid: Grid, sample: int, on_step: OnStep | None) -> np.ndarray:
        context = self._context(pixels, grid, sample)
        surroundings = self._surroundings(pixels, grid)
        number, runs = itertools.count(sample * grid.tiles), self._samples * grid.tiles

        def tile(top: int, left: int) -> np.ndarray:
            low = _to_float(cut(pixels, top, left, grid.tile_height, grid.tile_width))
            before = next(number)

            def tell(step: int, steps: int) -> None:
                if on_step is not None:
                    on_step(before * steps + step, runs * steps)

            extras = self._extras(sample, top, left, low, tell)
            extras = replace(extras, place=Place(top, left, *pixels.shape[:2]))
            enhanced = self.engine.run(low, context, extras)[0]
            check_finite(enhanced)
            if surroundings is not None:
                surroundings.apply(enhanced, top, left)
            if not self.engine.properties.iterative:
                tell(1, 1)
            return enhanced

        result = np.empty_like(pixels)
        for top, left, part in pieces(grid, tile):
            padded = part.shape[1:]
            ours, out = (a[top : top + padded[0], left : left + padded[1]] for a in (pixels, result))
            for rows, columns in _blocks(*out.shape[:2]):
                self._finish(ours[rows, columns], part[:, rows, columns], out[rows, columns])
            del part  # not to be kept while the next tile is computed
        return result

    def _finish(self, pixels: np.ndarray, enhanced: np.ndarray, out: np.ndarray) -> None:
        """The network's ``(3, H, W)``, which is overwritten, into ``(H, W, C)`` of the picture's dtype."""
        np.clip(enhanced, 0, 1, out=enhanced)
        if self.strength < 1:
            enhanced = _mixed(_to_float(pixels)[0], enhanced, self.strength)
        if pixels.shape[2] == 1:
            enhanced = np.tensordot(np.asarray(_LUMA, np.float32), enhanced, 1)[None]
        _quantise(enhanced, out)

    def _extras(self, sample: int, top: int, left: int, low: np.ndarray, on_step: OnStep | None = None) -> Extras:
        """What the network is told beside the part of the picture that ``low`` is."""
        options, scale = self._network_options(), self.engine.properties.noise_scale
        noise = None
        if scale is not None:
            from tapetum.ops.random import PositionNoise

            channels, seed = self.engine.noise_channels(options), int(self.options.get("seed", 0))
            origin = (top // scale, left // scale) if scale else (0, 0)
            size = (low.shape[2] // scale, low.shape[3] // scale) if scale else (1, 1)
            noise = PositionNoise(seed, sample, origin).normal((channels, *size)).numpy()
            noise = np.repeat(noise[None] if scale else noise.reshape(1, channels), low.shape[0], 0)
        return Extras(options, noise, on_step)

    def _network_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name not in OF_THE_ENHANCER}

    def _noise_bytes_per_pixel(self) -> int:
        scale = self.engine.properties.noise_scale
        if scale is None:
            return 0
        channels = self.engine.noise_channels(self._network_options())
        return -(-4 * channels // scale**2) if scale else 0

    def _context(self, pixels: np.ndarray, grid: Grid, sample: int) -> np.ndarray | None:
        """What the network must know of the whole picture, to be shown a part of it."""
        properties = self.engine.properties
        size = properties.thumbnail_size
        if properties.context == "pixels":
            return self.engine.analyse(pixels)
        if properties.context == "thumbnail":
            return _to_float(_shrink(pixels, size, size))
        if properties.context == "statistics" and not grid.whole:
            low = self._padded(self._in_small(pixels, grid))
            return self.engine.measure(low, self._extras(sample, 0, 0, low))
        return None

    def _surroundings(self, pixels: np.ndarray, grid: Grid) -> Surroundings | None:
        """What a tile is brought to the brightness of, where the network cannot be told of the whole picture."""
        properties = self.engine.properties
        if properties.context != "picture" or not properties.thumbnail_size or grid.whole:
            return None

        def enhance(small: np.ndarray) -> np.ndarray:
            height, width = small.shape[1:]
            return self.engine.run(self._padded(small.transpose(1, 2, 0)))[0, :, :height, :width]

        height, width = pixels.shape[:2]
        return Surroundings(_to_float(self._in_small(pixels, grid))[0], height, width, grid, enhance)

    def _in_small(self, pixels: np.ndarray, grid: Grid) -> np.ndarray:
        """The whole picture, its longer side at most ``thumbnail_size``: ``(H, W, C)`` float32 in 0..1."""
        height, width = pixels.shape[:2]
        # not larger than a tile, which is what there is memory for
        size = self.engine.properties.thumbnail_size
        scale = min(1.0, size / max(height, width), grid.tile_height / height, grid.tile_width / width)
        return _shrink(pixels, max(1, round(height * scale)), max(1, round(width * scale)))

    def _padded(self, small: np.ndarray) -> np.ndarray:
        """``(H, W, C)`` as a network takes it: ``(1, 3, H', W')``, reflected to a size that it allows."""
        properties = self.engine.properties
        multiple, minimum = properties.size_multiple, properties.minimum_size
        return _to_float(cut(small, 0, 0, *(-(-max(side, minimum) // multiple) * multiple for side in small.shape[:2])))


def enhance(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    quality: int | None = None,
    **options: Any,
) -> Path:
    """Enhance a picture file. Size, bit depth, metadata and colour profile stay as they are.

    Args:
        path: a picture: JPEG, PNG, TIFF, WebP and more.
        out: where to write; the suffix chooses the format (without one, that of the picture). A folder, which there
            is or which ends in a slash: in it, by the picture's name. None: beside ``night.jpg``, as
            ``night-enhanced.jpg``.
        quality: of JPEG and WebP, 1..100.
        **options: all others of :class:`Enhancer`. For many pictures make one ``Enhancer`` and use it again.

    Returns:
        the path written.

    Raises:
        InputError: the picture cannot be read, or the result not be written. UsageError: see :class:`Enhancer`.
    """
    from tapetum.imaging import output_suffix, read_picture, write_picture
    from tapetum.imaging.replacing import make_folder

    source = Path(path)
    if out is None:
        target = source.with_name(f"{source.stem}-enhanced{output_suffix(source)}")
    elif Path(out).is_dir() or str(out).endswith(("/", os.sep)):
        make_folder(Path(out))
        target = Path(out) / f"{source.stem}{output_suffix(source)}"
    else:
        target = Path(out)
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target}: the result would replace the picture itself; choose another name")
    enhancer = Enhancer(**options)
    write_picture(enhancer(read_picture(source)), target, quality=quality)
    return target


def _working_memory(grid: Grid, properties: Properties, noise_bytes: int) -> int:
    pixels = grid.tile_height * grid.tile_width
    tile = properties.working_memory(pixels) + pixels * (noise_bytes + 4 * _FLOATS_PER_PIXEL)
    return tile + 4 * 3 * kept_between_tiles(grid) + 4 * _BLOCK_FLOATS * math.prod(_BLOCK)


def _blocks(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, _BLOCK[0]):
        for left in range(0, width, _BLOCK[1]):
            yield slice(top, min(top + _BLOCK[0], height)), slice(left, min(left + _BLOCK[1], width))


def _to_float(pixels: np.ndarray) -> np.ndarray:
    """``(H, W, 1 or 3)`` -> ``(1, 3, H, W)`` float32 in 0..1, contiguous; grey is repeated."""
    height, width, _ = pixels.shape
    low = np.empty((1, 3, height, width), np.float32)
    planes = pixels.transpose(2, 0, 1)
    if pixels.dtype.kind == "u":
        np.divide(planes, np.float32(np.iinfo(pixels.dtype).max), out=low[0], dtype=np.float32)
    else:
        np.clip(planes, 0, 1, out=low[0])
    return low


def _quantise(planes: np.ndarray, out: np.ndarray) -> None:
    """``(C, H, W)`` float32 in 0..1, which is overwritten, into ``(H, W, C)`` of whatever dtype."""
    if out.dtype.kind == "u":
        planes *= np.float32(np.iinfo(out.dtype).max)
        np.rint(planes, out=planes)
    out[:] = planes.transpose(1, 2, 0)


def _shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averages, float32 in 0..1."""
    small = shrink(pixels, height, width)
    return small / np.float32(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else small


def _mixed(low: np.ndarray, enhanced: np.ndarray, strength: float) -> np.ndarray:
    share = np.float32(strength)
    linear = (1 - share) * srgb_to_linear(low) + share * srgb_to_linear(enhanced)
    return np.clip(linear_to_srgb(linear), 0, 1)
