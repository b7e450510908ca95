"""LightenDiffusion: latent-Retinex diffusion, conditioned on the dark picture's latent.

H. Jiang, A. Luo, X. Liu, S. Han, S. Liu, "LightenDiffusion: Unsupervised Low-Light Image Enhancement with Latent-Retinex
Diffusion Models", ECCV 2024 (arXiv 2407.08939). sRGB in [0, 1] in, sRGB out, not clamped; sides are multiples of
8 * 2^(levels - 1), 64 as published.

encode the dark picture -> sample a latent from noise, conditioned on its latent -> decode with the dark picture's skips.
CTDN (``decom.retinex``) takes part in training only. The parts: stage1.py, noise_predictor.py, process.py, objective.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.contract import Properties
from tapetum.methods.lightendiffusion.noise_predictor import GROUPS, NoisePredictor
from tapetum.methods.lightendiffusion.process import BetaSchedule, Diffusion, Progress, Sampling, make_betas, visited
from tapetum.methods.lightendiffusion.stage1 import LATENT_STRIDE, Stage1, Stage1Config, check_size


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
        make_betas(self.beta_schedule, self.num_diffusion_timesteps, self.beta_start, self.beta_end)
        visited(self.num_diffusion_timesteps, self.num_sampling_timesteps)

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
            deterministic=False,
            default_steps=config.num_sampling_timesteps,
            bytes_per_pixel=600 + 16 * config.ctdn_channels,
        )
        self.Unet = NoisePredictor(
            config.ch, config.ch_mult, config.num_res_blocks, config.dropout, config.resamp_with_conv
        )
        self.decom = Stage1(config.stage1)
        self.diffusion = Diffusion(
            make_betas(config.beta_schedule, config.num_diffusion_timesteps, config.beta_start, config.beta_end)
        )

    def forward(
        self,
        low: Tensor,
        noise: Tensor | None = None,
        *,
        sampling: Sampling | None = None,
        step_noise: Sequence[Tensor] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], sides multiples of ``properties.size_multiple`` -> the same size, not clamped.

        Args:
            noise: x_T, ``(B, 3, H/8, W/8)``, or ``(1, 3, H/8, W/8)`` for all; None: ``draw_noise`` with seed 0. The
                global random state is never used.
            sampling: None: as the configuration says, without injected noise.
            step_noise: where eta > 0, what is injected at each visited step, of ``noise``'s shape.
            progress: called as ``progress(done, of)`` after every step.

        Raises:
            InputError: sides that are no such multiples.
            UsageError: noise of another shape; see also :meth:`Diffusion.sample`.
        """
        check_size(low, self.properties.size_multiple)
        latent, skips = self.decom.encode(low)
        latent = self.restore_latent(latent, noise, sampling=sampling, step_noise=step_noise, progress=progress)
        return self.decom.decode(latent, skips)

    def restore_latent(
        self,
        latent: Tensor,
        noise: Tensor | None = None,
        *,
        sampling: Sampling | None = None,
        step_noise: Sequence[Tensor] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """The dark picture's latent ``(B, 3, h, w)`` in (0, 1) -> the restored one in [0, 1]. Else as ``forward``."""
        height, width = latent.shape[2:]
        if noise is None:
            noise = self.draw_noise(height * LATENT_STRIDE, width * LATENT_STRIDE)
        start = _like(noise, latent, "noise")
        if step_noise is not None:
            step_noise = [_like(each, latent, "step_noise") for each in step_noise]
        condition = 2 * latent.to(start.dtype) - 1

        def predict(x: Tensor, t: Tensor) -> Tensor:
            # never in low precision: at the first step an error in the noise is an error in the sample, 97 times as large
            with torch.autocast(x.device.type, enabled=False):
                return self.Unet(torch.cat([condition, x], dim=1), t)

        sampling = sampling or Sampling(self.config.num_sampling_timesteps)
        return to_latent(self.diffusion.sample(predict, start, sampling, step_noise, progress))

    def draw_noise(self, height: int, width: int, seed: int = 0) -> Tensor:
        """Noise for a picture of ``height`` x ``width`` (multiples of 8), ``(1, 3, height/8, width/8)``, on the processor.

        The same for the same seed everywhere. Tiles share one field: cut it where the tile is, at an eighth of its place.
        """
        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (1, 3, height // LATENT_STRIDE, width // LATENT_STRIDE)
        return torch.randn(shape, generator=generator, device="cpu")

    def freeze_stage1(self) -> None:
        """Takes the first stage out of training: its parameters ask for no gradient."""
        self.decom.requires_grad_(False)


def to_latent(sample: Tensor) -> Tensor:
    """What the process works on, about [-1, 1], as a latent in [0, 1]."""
    return ((sample + 1) / 2).clamp(0, 1)


def _like(noise: Tensor, latent: Tensor, what: str) -> Tensor:
    """Noise on the latent's device, one for every picture. At least float32, under autocast, too."""
    shape = tuple(latent.shape)
    if tuple(noise.shape) not in (shape, (1, *shape[1:])):
        raise UsageError(f"lightendiffusion: {what} must have the latent's shape {shape}, got {tuple(noise.shape)}")
    dtype = torch.promote_types(latent.dtype, torch.float32)
    return noise.to(latent.device, dtype).expand(shape)
