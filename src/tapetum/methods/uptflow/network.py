"""UPT-Flow: a conditional normalizing flow from dark to normal pictures, guided by a map of unbalanced points.

L. Xu, C. Hu, Y. Hu, X. Jing, Z. Cai, X. Lu, "UPT-Flow: Multi-scale transformer-guided normalizing flow for low-light
image enhancement", Pattern Recognition 158 (2025) 111076. sRGB in [0, 1] in, sRGB out, not clamped; sides are multiples
of 8. To enhance is to decode the latent 0 (temperature 0), or one drawn at a temperature, under what the encoder makes
of the dark picture.

Variants: window size 5 for the LOL sets and 8 for the others. Kept on purpose, for published weights: see README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.errors import InputError, UsageError
from tapetum.methods.contract import SAMPLES, SEED, Option, Properties
from tapetum.methods.uptflow.encoder import Encoder
from tapetum.methods.uptflow.flow import LEVELS, Flow
from tapetum.methods.uptflow.invertible import LogDeterminant, never_begun
from tapetum.methods.uptflow.whole_picture import WholePicture
from tapetum.ops.random import PositionNoise

STRIDE = 2**LEVELS
LATENT_CHANNELS = 3 * STRIDE**2
CHAINS = 7
TEMPERATURE = Option("temperature", 0.0, "spread of the latent that is drawn; 0: none, the published way", 0, 10)


@dataclass(frozen=True)
class UPTFlowConfig:
    """Hyper-parameters.

    Attributes:
        win_size: side of the attention windows, at all levels.
        dim: channels of the encoder at full resolution; a multiple of 2.
        depths: blocks per chain of the encoder: levels 1 to 3, bottom, then upwards 3, 2, 1.
        refinement_blocks: global blocks after the last.
        global_heads: of the attention between channels, levels 1 to 3 and bottom.
        window_heads: of the window attention, in the order of ``depths``.
        ffn_expansion: width of the hidden layers of global blocks, in units of theirs.
        K: coupling steps per level of the flow.
        extra_steps: steps per level without coupling, before them.
        hidden: width of the networks in the couplings; a multiple of 16.
        drop_path: largest share of samples for which a window branch is left out while training.

    Raises:
        UsageError: a value that no network can have.
    """

    win_size: int = 5
    dim: int = 48
    depths: tuple[int, ...] = (2,) * CHAINS
    refinement_blocks: int = 2
    global_heads: tuple[int, ...] = (2, 2, 4, 8)
    window_heads: tuple[int, ...] = (1, 2, 4, 8, 8, 4, 2)
    ffn_expansion: float = 2.66
    K: int = 8
    extra_steps: int = 2
    hidden: int = 64
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if self.win_size < 2:
            raise UsageError(f"uptflow: win_size must be at least 2, got {self.win_size}")
        if self.dim < 2 or self.dim % 2:
            raise UsageError(f"uptflow: dim must be a multiple of 2, got {self.dim}")
        for name, length in (("depths", CHAINS), ("window_heads", CHAINS), ("global_heads", 4)):
            values = getattr(self, name)
            if len(values) != length or min(values) < 1:
                raise UsageError(f"uptflow: {name} must be {length} numbers from 1 up, got {values}")
        widths = [self.dim * n for n in (1, 2, 4, 8, 4, 4, 2)]
        heads = (*self.global_heads, self.global_heads[2], self.global_heads[1], self.global_heads[0])
        for width, first, second in zip(widths, heads, self.window_heads, strict=True):
            if width % first or width % second:
                raise UsageError(f"uptflow: {width} channels cannot be split among {first} and {second} heads")
        if self.refinement_blocks < 0 or self.K < 1 or self.extra_steps < 0:
            raise UsageError(
                "uptflow: K must be at least 1, refinement_blocks and extra_steps at least 0, got "
                f"{self.K}, {self.refinement_blocks}, {self.extra_steps}"
            )
        if self.dim * self.ffn_expansion < 1:
            raise UsageError(f"uptflow: ffn_expansion is too small: {self.ffn_expansion}")
        if self.hidden < 16 or self.hidden % 16:
            raise UsageError(f"uptflow: hidden must be a multiple of 16, got {self.hidden}")
        if not 0 <= self.drop_path < 1:
            raise UsageError(f"uptflow: drop_path must be from 0 to below 1, got {self.drop_path}")


class UPTFlow(nn.Module):
    """``(B, 3, H, W)`` to the same size; see the module's text.

    Attributes:
        RRDB: the encoder. (What it and ``flowUpsamplerNet`` are called is the published files' choice.)
        flowUpsamplerNet: the flow.
    """

    def __init__(self, config: UPTFlowConfig) -> None:
        super().__init__()
        self.config = config
        self.properties = Properties(
            size_multiple=STRIDE,
            minimum_size=STRIDE,
            receptive_field=128,  # a choice: the U and 24 couplings see farther, ever less of it
            context="statistics",
            exact_tiles=False,  # windows are cut from where the tile begins
            thumbnail_size=512,
            options=(TEMPERATURE, SEED, SAMPLES),
            noise_scale=STRIDE,
            no_onnx="its latent may be drawn at random",
            # measured, windows of 5: 6.4 kB for 48, 1.7 kB for 12; windows of 8: 6.7 kB for 48
            bytes_per_pixel=(145 if config.win_size == 5 else 150) * config.dim,
        )
        self.RRDB = Encoder(
            config.dim,
            config.depths,
            config.refinement_blocks,
            config.win_size,
            config.global_heads,
            config.window_heads,
            config.ffn_expansion,
            config.drop_path,
        )
        self.flowUpsamplerNet = Flow(config.K, config.extra_steps, 6 * config.dim, config.hidden)

    def forward(
        self, low: Tensor, context: Tensor | None = None, *, temperature: float = 0.0, noise: Tensor | None = None
    ) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], sides multiples of 8 -> the same size, not clamped.

        Args:
            context: ``(B, K)`` or ``(1, K)`` from :meth:`measure`, used instead of the picture's own.
            temperature: the latent is this times ``noise``; 0: the published way, no noise is looked at.
            noise: ``(B, 192, H/8, W/8)``, or one for all. None: that of seed 0, the same for every picture. The global
                random state is never used.

        Raises:
            InputError: sides that are no such multiples.
            UsageError: a temperature below 0; noise of another shape; an ActNorm that nothing has initialised.
        """
        return self._enhance(low, WholePicture(context), temperature, noise)

    def measure(self, low: Tensor, *, temperature: float = 0.0, noise: Tensor | None = None) -> Tensor:
        """``(B, 3, H, W) -> (B, K)``: attention between channels and gates of all layers; arguments as ``forward``."""
        whole = WholePicture(keep=True)
        self._enhance(low, whole, temperature, noise)
        return whole.flat()

    def _enhance(self, low: Tensor, whole: WholePicture, temperature: float, noise: Tensor | None) -> Tensor:
        TEMPERATURE.check(temperature)
        _check_size(low)
        self.check_begun()
        latent = self._latent(low, temperature, noise)
        return self.decode(latent, self.conditions(low, whole), whole=whole)

    def conditions(self, low: Tensor, whole: WholePicture | None = None) -> list[Tensor]:
        """What the flow's three levels are conditioned on; see :class:`tapetum.methods.uptflow.encoder.Encoder`."""
        return self.RRDB(low, whole)

    def encode(self, image: Tensor, conditions: Sequence[Tensor], log_det: LogDeterminant | None = None) -> Tensor:
        """A normal picture ``(B, 3, H, W)`` -> its latent ``(B, 192, H/8, W/8)``, at least float32.

        While training, the first call initialises every ActNorm.
        """
        return self.flowUpsamplerNet(image, conditions, log_det)

    def decode(
        self,
        latent: Tensor,
        conditions: Sequence[Tensor],
        log_det: LogDeterminant | None = None,
        whole: WholePicture | None = None,
    ) -> Tensor:
        """The inverse of :meth:`encode`: ``(B, 192, h, w) -> (B, 3, 8h, 8w)``, not clamped.

        Raises:
            UsageError: while training, an ActNorm that nothing has initialised: it would be by what is decoded.
        """
        if self.training:
            self.check_begun()
        return self.flowUpsamplerNet.inverse(latent, conditions, log_det, whole)

    def noise_channels(self, *, temperature: float = 0.0) -> int:
        """Of the noise that ``forward`` wants."""
        return LATENT_CHANNELS if temperature else 0

    def check_begun(self) -> None:
        """Raises UsageError where an ActNorm was never initialised: such a network decodes nothing but rubbish."""
        name = never_begun(self)
        if name is not None:
            raise UsageError(
                f"uptflow: {name} was never initialised (all zero): these weights have not been trained for a single "
                "step; take trained ones"
            )

    def _latent(self, low: Tensor, temperature: float, noise: Tensor | None) -> Tensor:
        shape = (len(low), LATENT_CHANNELS, low.shape[2] // STRIDE, low.shape[3] // STRIDE)
        dtype = torch.promote_types(low.dtype, torch.float32)
        if temperature == 0:
            return torch.zeros(shape, device=low.device, dtype=dtype)
        if noise is None:
            noise = PositionNoise(0).normal((1, *shape[1:]))
        if tuple(noise.shape) not in (shape, (1, *shape[1:])):
            raise UsageError(f"uptflow: noise must have the shape {shape}, got {tuple(noise.shape)}")
        return temperature * noise.to(low.device, dtype).expand(shape)


def _check_size(low: Tensor) -> None:
    height, width = low.shape[2:]
    if height % STRIDE or width % STRIDE or not height or not width:
        raise InputError(f"uptflow: sides must be multiples of {STRIDE}, got {height}x{width}: pad the picture")
