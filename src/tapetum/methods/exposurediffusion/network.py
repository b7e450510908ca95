"""ExposureDiffusion: the two kinds of network that its exposure process calls.

Y. Wang et al., "ExposureDiffusion: Learning to Expose for Low-light Image Enhancement", ICCV 2023 (arXiv 2307.07710).
A network sees the present state of the exposure (and how many photons it stands for) and predicts the clean picture at
the reference's exposure. Packed linear RAW in and out: four channels R, G1, B, G2 in [0, 1]. What is done with the
predictions is in exposure.py.

Kept on purpose, for the published weights: NAFNet pads with zeros and its channel attention has the whole (padded)
picture for a window; the photon channels are counts divided by 15583, whatever the camera's white.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.errors import InputError, UsageError
from tapetum.methods.contract import SEED, Option, Properties
from tapetum.methods.exposurediffusion.exposure import expose
from tapetum.ops.random.poisson import poisson_of_normal

CHANNELS = 4  # of a packed Bayer mosaic
DEFAULT_ITERATIONS = 2  # the published iter_num: three calls of the network
_MOST_ITERATIONS = 50
_NO_ONNX = "its exposure process draws photons between the calls of its network"
_UNET_WIDTHS = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class ExposureDiffusionConfig:
    """Hyper-parameters, named as in the published programs.

    Attributes:
        backbone: "unet" (that of SID, of fixed width) or "nafnet".
        width: channels of the NAFNet at full resolution ("nf").
        enc_blk_nums, middle_blk_num, dec_blk_nums: blocks of the NAFNet's levels, from full resolution downwards, at
            the bottom, and upwards again.
        with_photon: the network sees the photon counts, too.
        concat_origin: it sees the dark picture in every step.
        adaptive_res_and_x0: it predicts a clean picture, a residual and the mask that mixes them.
        resid: UNet without the adaptive layer: it predicts what is to be taken away from its input.
        iter_num: steps of exposure after the first prediction where nothing else is asked for. It changes no weight.

    Raises:
        UsageError: a value that no network can have.
    """

    backbone: Literal["unet", "nafnet"] = "unet"
    width: int = 16
    enc_blk_nums: tuple[int, ...] = ()
    middle_blk_num: int = 1
    dec_blk_nums: tuple[int, ...] = ()
    with_photon: bool = True
    concat_origin: bool = False
    adaptive_res_and_x0: bool = True
    resid: bool = False
    iter_num: int = DEFAULT_ITERATIONS

    def __post_init__(self) -> None:
        if self.backbone not in ("unet", "nafnet"):
            raise UsageError(f"exposurediffusion: backbone must be unet or nafnet, got {self.backbone!r}")
        if self.backbone == "unet" and self._nafnet_fields() != (16, (), 1, ()):
            raise UsageError("exposurediffusion: width and *_blk_num* are of the backbone nafnet; a unet has none")
        if self.width < 1 or min((self.middle_blk_num, *self.enc_blk_nums, *self.dec_blk_nums)) < 0:
            raise UsageError("exposurediffusion: width must be at least 1, and no number of blocks negative")
        if not 0 <= self.iter_num <= _MOST_ITERATIONS:
            raise UsageError(f"exposurediffusion: iter_num must be 0 to {_MOST_ITERATIONS}, got {self.iter_num}")
        if len(self.enc_blk_nums) != len(self.dec_blk_nums):
            raise UsageError(
                f"exposurediffusion: enc_blk_nums and dec_blk_nums must have one entry for each level, got "
                f"{len(self.enc_blk_nums)} and {len(self.dec_blk_nums)}"
            )
        if self.resid and (self.backbone != "unet" or self.adaptive_res_and_x0 or self.network_channels != CHANNELS):
            raise UsageError(
                "exposurediffusion: resid is for a unet without with_photon, concat_origin and adaptive_res_and_x0"
            )

    def _nafnet_fields(self) -> tuple[int, tuple[int, ...], int, tuple[int, ...]]:
        return self.width, self.enc_blk_nums, self.middle_blk_num, self.dec_blk_nums

    @property
    def options(self) -> tuple[Option, ...]:
        """What is left to the user."""
        told = "steps of exposure after the first prediction"
        return Option("iterations", self.iter_num, told, 0, _MOST_ITERATIONS), SEED

    @property
    def network_channels(self) -> int:
        """Channels of the first convolution's input."""
        return CHANNELS * (1 + self.with_photon + self.concat_origin)

    @property
    def head_channels(self) -> int:
        """Channels of the last convolution's output."""
        return 2 * CHANNELS + 1 if self.adaptive_res_and_x0 else CHANNELS


class Prediction(NamedTuple):
    """What a network says. The last three are None without the adaptive layer; they have the padded size.

    Attributes:
        clean: the picture at the reference's exposure, ``(B, 4, H, W)`` in [0, 1].
        head: the last convolution's output.
        mask: how much of ``out`` there is in ``clean``, ``(B, 1, H, W)`` in [0, 1].
        out: the picture predicted as such, not clipped.
        by: the picture predicted by way of a residual, clipped.
    """

    clean: Tensor
    head: Tensor
    mask: Tensor | None = None
    out: Tensor | None = None
    by: Tensor | None = None


class Backbone(nn.Module):
    """What both networks share: the head's meaning, and ``forward``, which runs the exposure process."""

    config: ExposureDiffusionConfig
    properties: Properties

    def forward(
        self,
        low: Tensor,
        *,
        ratio: Tensor | float = 100.0,
        gain: Tensor | float = 1.0,
        iterations: int | None = None,
        noise: Tensor | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """The exposure process, without a reference: what is done with a picture whose truth nobody knows.

        Args:
            low: the dark picture at the reference's brightness (amplified, clipped): ``(B, 4, H, W)`` in [0, 1].
            ratio: by which it was amplified, at least 1; one for all, or ``(B,)``.
            gain: K, DN per photo-electron; one for all, or ``(B,)``.
            iterations: the network is called once more than that; None: the configuration's ``iter_num``.
            noise: standard normals ``(B, noise_channels(iterations), H, W)`` by which photons are drawn; None: their
                mean is taken, and chance has no part.
            on_step: told after every call: which one, and of how many.

        Returns:
            The picture at the reference's exposure, ``(B, 4, H, W)`` in [0, 1].
        """
        iterations = self.config.iter_num if iterations is None else iterations
        fields = iter(() if noise is None else noise.split(CHANNELS, dim=1))

        def draw(mean: Tensor) -> Tensor:
            return mean if noise is None else poisson_of_normal(mean, next(fields))

        clean = low
        steps = expose(self.predict, self.config, low, ratio, gain, iterations, draw=draw)
        for number, step in enumerate(steps, 1):
            clean = step.corrected
            if on_step is not None:
                on_step(number, iterations + 1)
        return clean

    def noise_channels(self, *, iterations: int | None = None) -> int:
        """Normals wanted at every place of the picture."""
        return CHANNELS * (self.config.iter_num if iterations is None else iterations)

    def predict(self, network_input: Tensor) -> Prediction:
        """One call: ``(B, network_channels, H, W)``; the present state are its first four channels."""
        raise NotImplementedError

    def _mixed(self, head: Tensor, state: Tensor, height: int, width: int) -> Prediction:
        """Section 3.3 of the paper: clean picture and residual by a mask; cut to the picture's size."""
        if not self.config.adaptive_res_and_x0:
            naf = self.config.backbone == "nafnet"
            plain = head + state if naf else state - head if self.config.resid else head
            return Prediction(plain.clamp(0, 1)[..., :height, :width], head)
        mask = head[:, :1].sigmoid()
        out, residual = head[:, 1 : 1 + CHANNELS], head[:, 1 + CHANNELS :]
        by = (residual + state).clamp(0, 1)
        clean = out.clamp(0, 1) * mask + by * (1 - mask)
        return Prediction(clean[..., :height, :width].clamp(0, 1), head, mask, out, by)


class UNet(Backbone):
    """The U-shaped network of SID: five levels, leaky ReLU after every 3x3 convolution. Sides: multiples of 16."""

    def __init__(self, config: ExposureDiffusionConfig) -> None:
        super().__init__()
        self.config = config
        # two 3x3 convolutions at each of five levels down and four up, and the rest of a cell of 16 to either side
        reach = sum(2 * 2**level for level in range(5)) + sum(2 * 2**level for level in range(4)) + 16
        self.properties = Properties(
            domain="raw",
            size_multiple=16,
            minimum_size=16,
            receptive_field=reach,
            options=config.options,
            noise_scale=1,
            iterative=True,
            no_onnx=_NO_ONNX,
            bytes_per_pixel=1260,
        )
        widths = (config.network_channels, *_UNET_WIDTHS)
        for level in range(1, 6):
            self._add_pair(level, widths[level - 1], widths[level])
        for stage in range(6, 10):
            inside, outside = _UNET_WIDTHS[10 - stage], _UNET_WIDTHS[9 - stage]
            self.add_module(f"upv{stage}", nn.ConvTranspose2d(inside, outside, 2, stride=2))
            self._add_pair(stage, inside, outside)
        self.conv10_1 = nn.Conv2d(_UNET_WIDTHS[0], config.head_channels, 1)

    def _add_pair(self, stage: int, inside: int, outside: int) -> None:
        self.add_module(f"conv{stage}_1", nn.Conv2d(inside, outside, 3, padding=1))
        self.add_module(f"conv{stage}_2", nn.Conv2d(outside, outside, 3, padding=1))

    def predict(self, network_input: Tensor) -> Prediction:
        """See :meth:`Backbone.predict`.

        Raises:
            InputError: sides that are not multiples of 16.
        """
        height, width = network_input.shape[2:]
        if height % 16 or width % 16:
            raise InputError(f"exposurediffusion: a unet takes sides that are multiples of 16, got {height}x{width}")
        x, skips = network_input, []
        for level in range(1, 6):
            x = self._pair(level, x if level == 1 else F.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for stage in range(6, 10):
            x = self._pair(stage, torch.cat([self.get_submodule(f"upv{stage}")(x), skips.pop()], dim=1))
        return self._mixed(self.conv10_1(x), network_input[:, :CHANNELS], height, width)

    def _pair(self, stage: int, x: Tensor) -> Tensor:
        for number in (1, 2):
            x = F.leaky_relu(self.get_submodule(f"conv{stage}_{number}")(x), 0.2)
        return x


class NAFNet(Backbone):
    """NAFNet (ECCV 2022) without its global residual. Pads any size with zeros, right and at the bottom."""

    def __init__(self, config: ExposureDiffusionConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.enc_blk_nums)
        per_level = zip(config.enc_blk_nums, config.dec_blk_nums, strict=True)
        reach = 2 + sum(sum(pair) * 2**level + 2**level for level, pair in enumerate(per_level))
        self.properties = Properties(
            domain="raw",
            size_multiple=2**levels,
            minimum_size=2**levels,
            receptive_field=reach + config.middle_blk_num * 2**levels,
            context="picture",  # what it pools over
            options=config.options,
            noise_scale=1,
            iterative=True,
            no_onnx=_NO_ONNX,
            bytes_per_pixel=560 + 40 * config.width,
        )
        width = config.width
        self.intro = nn.Conv2d(config.network_channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, config.head_channels, 3, padding=1)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.middle_blks = _blocks(width * 2**levels, config.middle_blk_num)
        self.ups, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, count in enumerate(config.enc_blk_nums):
            inside = width * 2**level
            self.encoders.append(_blocks(inside, count))
            self.downs.append(nn.Conv2d(inside, 2 * inside, 2, stride=2))
        for level, count in zip(reversed(range(levels)), config.dec_blk_nums, strict=True):
            inside = width * 2 ** (level + 1)
            self.ups.append(nn.Sequential(nn.Conv2d(inside, 2 * inside, 1, bias=False), nn.PixelShuffle(2)))
            self.decoders.append(_blocks(inside // 2, count))

    def predict(self, network_input: Tensor) -> Prediction:
        """See :meth:`Backbone.predict`; any size."""
        height, width = network_input.shape[2:]
        multiple = 2 ** len(self.encoders)
        padded = F.pad(network_input, (0, -width % multiple, 0, -height % multiple))
        x, skips = self.intro(padded), []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for blocks, up in zip(self.decoders, self.ups, strict=True):
            x = blocks(up(x) + skips.pop())
        return self._mixed(self.ending(x), padded[:, :CHANNELS], height, width)


class NAFBlock(nn.Module):
    """A gated convolution with channel attention, then a gated feed-forward layer; nothing is activated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1 = ChannelNorm(channels)
        self.norm2 = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        gated = _gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(gated * self.sca(gated))
        return x + self.gamma * self.conv5(_gate(self.conv4(self.norm2(x))))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel, biased variance."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        centred = x - x.mean(dim=1, keepdim=True)
        scale = (centred.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()
        return centred * scale * self.weight[:, None, None] + self.bias[:, None, None]


class OneCall(nn.Module):
    """One call of a network as a module, for an engine: ``(B, network_channels, H, W) -> (B, 4, H, W)``."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network
        self.properties = replace(network.properties, options=(), noise_scale=None, iterative=False)

    def forward(self, network_input: Tensor) -> Tensor:
        return self.network.predict(network_input).clean


def make_network(config: ExposureDiffusionConfig) -> Backbone:
    """The network of a configuration, with fresh weights."""
    return {"unet": UNet, "nafnet": NAFNet}[config.backbone](config)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second
