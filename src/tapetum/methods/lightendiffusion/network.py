"""LightenDiffusion: latent-Retinex diffusion, conditioned on the dark picture's latent.

H. Jiang, A. Luo, X. Liu, S. Han, S. Liu, "LightenDiffusion: Unsupervised Low-Light Image Enhancement with
Latent-Retinex Diffusion Models", ECCV 2024 (arXiv 2407.08939). sRGB in [0, 1] in, sRGB out, not clamped; sides are
multiples of 8 * 2^(levels - 1), 64 as published.

Encode the dark picture; sample a latent from noise, conditioned on its own; decode that with the dark picture's skips.
CTDN (``decom.retinex``) takes part in training only. The parts: stage1.py, noise_predictor.py, process.py and
objective.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.contract import SAMPLES, SEED, OnStep, Option, Properties
from tapetum.methods.lightendiffusion import parts
from tapetum.methods.lightendiffusion.noise_predictor import GROUPS, LATENT_CHANNELS, NoisePredictor
from tapetum.methods.lightendiffusion.process import (
    BetaSchedule,
    Diffusion,
    SamplerName,
    Sampling,
    Spacing,
    make_betas,
)
from tapetum.methods.lightendiffusion.stage1 import LATENT_STRIDE, Stage1, Stage1Config, check_size
from tapetum.ops.random import PositionNoise


@dataclass(frozen=True)
class LightenDiffusionConfig:
    """Hyper-parameters, named as in the published option file.

    Attributes:
        ch: base width of the noise predictor, a multiple of 32 (its levels had better have 64 or more).
        ch_mult: widths of its levels, in units of ``ch``.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        dropout: inside its residual blocks, while training.
        resamp_with_conv: its sampling down and up has weights.
        ctdn_channels: width of encoder, decoder and CTDN; a multiple of 8.
        beta_schedule, beta_start, beta_end: see :func:`tapetum.methods.lightendiffusion.process.make_betas`.
        num_diffusion_timesteps: T.
        num_sampling_timesteps: S, steps of sampling where nothing else is asked for.

    Raises:
        UsageError: a value that no network, or no process, can have.
    """

    ch: int = 64
    ch_mult: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 2
    dropout: float = 0.0
    resamp_with_conv: bool = True
    ctdn_channels: int = 64
    beta_schedule: BetaSchedule = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    num_diffusion_timesteps: int = 1000
    num_sampling_timesteps: int = 20

    def __post_init__(self) -> None:
        if self.ch < GROUPS or self.ch % GROUPS:
            raise UsageError(f"lightendiffusion: ch must be a multiple of {GROUPS}, got {self.ch}")
        if not self.ch_mult or min(self.ch_mult) < 1:
            raise UsageError(f"lightendiffusion: ch_mult must be numbers from 1 up, got {self.ch_mult}")
        if self.num_res_blocks < 1:
            raise UsageError(f"lightendiffusion: num_res_blocks must be at least 1, got {self.num_res_blocks}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"lightendiffusion: dropout must be from 0 to below 1, got {self.dropout}")
        _ = self.stage1
        self.diffusion.visited(self.num_sampling_timesteps)

    @property
    def diffusion(self) -> Diffusion:
        """The process."""
        return Diffusion(make_betas(self.beta_schedule, self.num_diffusion_timesteps, self.beta_start, self.beta_end))

    @property
    def stage1(self) -> Stage1Config:
        """Of the first stage, which this one builds on."""
        return Stage1Config(self.ctdn_channels)


class LightenDiffusion(nn.Module):
    """``(B, 3, H, W)`` to the same size; see the module's text.

    Attributes:
        decom: the first stage, frozen while the noise predictor ``Unet`` learns.
        diffusion: the process.
    """

    def __init__(self, config: LightenDiffusionConfig) -> None:
        super().__init__()
        self.config = config
        multiple = LATENT_STRIDE * 2 ** (len(config.ch_mult) - 1)
        self.properties = Properties(
            size_multiple=multiple,
            minimum_size=multiple,
            receptive_field=128,
            context="picture",  # attention and group normalisation of the noise predictor
            options=_options(config),
            noise_scale=LATENT_STRIDE,
            iterative=True,
            no_onnx="it samples in a loop",
            bytes_per_pixel=600 + 16 * config.ctdn_channels,
            parts_from=300_000,
            bytes_beyond=3 * config.ch * config.ch_mult[0] // 4,
        )
        self.Unet = NoisePredictor(
            config.ch, config.ch_mult, config.num_res_blocks, config.dropout, config.resamp_with_conv
        )
        self.decom = Stage1(config.stage1)
        self.diffusion = config.diffusion

    def forward(
        self,
        low: Tensor,
        *,
        noise: Tensor | None = None,
        on_step: OnStep | None = None,
        steps: int | None = None,
        eta: float = 0.0,
        sampler: SamplerName = "ddim",
        spacing: Spacing = "leading",
    ) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], sides multiples of ``properties.size_multiple`` -> the same size, not clamped.

        Args:
            noise: ``(B, noise_channels, H/8, W/8)``, or one for all ``(1, ...)``: three channels for where the sampler
                begins, and three for every step but the last where noise is injected. None: that of seed 0, the same
                for every picture. The global random state is never used.
            on_step: called as ``on_step(step, steps)`` after every step, counted from 1.
            steps, eta, sampler, spacing: see :class:`tapetum.methods.lightendiffusion.process.Sampling`; steps None: as
                the configuration says.

        Raises:
            InputError: sides that are no such multiples.
            UsageError: noise of another shape, more steps than T; see also ``Sampling``.
        """
        check_size(low, self.properties.size_multiple)
        sampling = self._sampling(steps, eta, sampler, spacing)
        if torch.is_grad_enabled() or low.shape[2] * low.shape[3] <= parts.LARGEST:
            latent, skips = self.decom.encode(low)
            return self.decom.decode(self.restore_latent(latent, noise, sampling, on_step), skips)
        restored = self.restore_latent(parts.encode(self.decom, low), noise, sampling, on_step)
        return parts.decode(self.decom, restored, low)

    def restore_latent(
        self,
        latent: Tensor,
        noise: Tensor | None = None,
        sampling: Sampling | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The dark picture's latent ``(B, 3, h, w)`` in (0, 1) -> the restored one in [0, 1]. Else as ``forward``."""
        sampling = sampling or self._sampling()
        count, _, height, width = latent.shape
        channels = self._noise_channels(sampling)
        if noise is None:
            noise = PositionNoise(0).normal((1, channels, height, width))
        if tuple(noise.shape) not in ((count, channels, height, width), (1, channels, height, width)):
            wanted = (count, channels, height, width)
            raise UsageError(f"lightendiffusion: noise must have the shape {wanted}, got {tuple(noise.shape)}")
        # at least float32, under autocast, too
        dtype = torch.promote_types(latent.dtype, torch.float32)
        start, *injected = noise.to(latent.device, dtype).expand(count, -1, -1, -1).split(LATENT_CHANNELS, dim=1)
        condition = 2 * latent.to(dtype) - 1

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return self.predict_noise(condition, x, t)

        return to_latent(self.diffusion.sample(predict, start, sampling, injected, on_step))

    def predict_noise(self, condition: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The noise in ``x`` at the steps ``t`` ``(B,)``; all but ``t`` ``(B, 3, h, w)``. Never in low precision, in
        training neither: at the first step an error in the noise becomes 97 times that in the sample."""
        with torch.autocast(x.device.type, enabled=False):
            return self.Unet(torch.cat([condition, x], dim=1), t)

    def noise_channels(
        self,
        *,
        steps: int | None = None,
        eta: float = 0.0,
        sampler: SamplerName = "ddim",
        spacing: Spacing = "leading",
    ) -> int:
        """Of the noise that ``forward`` wants with these options."""
        return self._noise_channels(self._sampling(steps, eta, sampler, spacing))

    def _noise_channels(self, sampling: Sampling) -> int:
        calls = len(self.diffusion.visited(sampling.steps, sampling.spacing))
        return LATENT_CHANNELS * (calls if sampling.eta else 1)

    def _sampling(
        self,
        steps: int | None = None,
        eta: float = 0.0,
        sampler: SamplerName = "ddim",
        spacing: Spacing = "leading",
    ) -> Sampling:
        return Sampling(self.config.num_sampling_timesteps if steps is None else steps, eta, sampler, spacing)

    def freeze_stage1(self) -> None:
        """Takes the first stage out of training: its parameters ask for no gradient."""
        self.decom.requires_grad_(False)


def to_latent(sample: Tensor) -> Tensor:
    """What the process works on, about [-1, 1], as a latent in [0, 1]."""
    return ((sample + 1) / 2).clamp(0, 1)


def _options(config: LightenDiffusionConfig) -> tuple[Option, ...]:
    usual = Sampling(config.num_sampling_timesteps)
    return (
        Option("steps", usual.steps, "sampling steps", 1, config.num_diffusion_timesteps),
        Option("eta", usual.eta, "share of noise that is injected on the way (ddim only)", 0, 1),
        Option("sampler", usual.sampler, "ddim as published, dpm++ of second order", choices=get_args(SamplerName)),
        Option("spacing", usual.spacing, "of the steps: leading as published", choices=get_args(Spacing)),
        SEED,
        SAMPLES,
    )
