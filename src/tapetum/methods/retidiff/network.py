"""Reti-Diff: a transformer that restores pictures in bad light, guided by two vectors that diffusions make of them.

C. He et al., "Reti-Diff: Illumination Degradation Image Restoration with Retinex-based Latent Diffusion Model",
ICLR 2025 (arXiv 2311.11638). sRGB in [0, 1] in, sRGB out, not clamped; sides are multiples of 8.

A small network decomposes the picture into reflectance and illumination. Two extractors look at these and at the
picture, and two latent diffusions make of what they find a Retinex prior and an RGB prior. The RGformer restores the
picture under both. The parts: decomposition.py, extractors.py, diffusion.py, rgformer.py (of layers.py); here they are
put together for use and for stage 2 of training, in stage1.py for stage 1; how they learn: objective.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from tapetum.errors import UsageError, WeightsError
from tapetum.methods.blocks.attention import AttentionMatrices
from tapetum.methods.contract import SAMPLES, SEED, Option, Properties
from tapetum.methods.retidiff.config import SIZE_MULTIPLE, GuidedConfig, check_size
from tapetum.methods.retidiff.decomposition import Decomposer
from tapetum.methods.retidiff.diffusion import Denoiser, LatentDiffusion, check_noise, visited
from tapetum.methods.retidiff.extractors import RetinexExtractor, RGBExtractor
from tapetum.methods.retidiff.rgformer import Restored, RGformer
from tapetum.methods.retidiff.stage1 import NO_DECOMPOSITION, Priors, Stage1Config, Teacher, bytes_per_pixel
from tapetum.ops.random import PositionNoise

Task = Literal["low-light", "underwater", "backlit"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True)
class RetiDiffConfig(GuidedConfig):
    """Hyper-parameters of the whole, beside those that both stages have in common.

    Attributes:
        n_denoise_res: layers of a denoiser after its first.
        linear_start, linear_end: first and last beta of the schedule, which is evenly spaced in their roots.
        timesteps: T.
        auxiliary: with the auxiliary decoder, as training writes it; it has no part in use.
        teacher: with what stage 2 learns from, as our training writes it; it has no part in use.
        task: what it was trained for; "": nobody says. Files of the published program do not.

    Raises:
        UsageError: a value that no network, or no process, can have.
    """

    n_denoise_res: int = 1
    linear_start: float = 0.1
    linear_end: float = 0.99
    timesteps: int = 4
    auxiliary: bool = False
    teacher: bool = False
    task: Literal["", "low-light", "underwater", "backlit"] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timesteps < 1 or self.n_denoise_res < 0:
            raise UsageError(
                "retidiff: timesteps must be at least 1 and n_denoise_res 0, got "
                f"{self.timesteps} and {self.n_denoise_res}"
            )
        if not 0 < self.linear_start <= self.linear_end < 1:
            raise UsageError(
                "retidiff: linear_start and linear_end must be above 0, below 1 and in this order, got "
                f"{self.linear_start} and {self.linear_end}"
            )
        if self.task not in ("", *TASKS):
            raise UsageError(f"retidiff: task must be {', '.join(TASKS)} or empty, got {self.task!r}")

    @property
    def stage1(self) -> Stage1Config:
        """Of the stage that this one learns from."""
        shared = {name: getattr(self, name) for name in Stage1Config.__dataclass_fields__}
        return Stage1Config(**shared)


class RetiDiff(nn.Module):
    """``(B, 3, H, W)`` to the same size; see the module's text.

    Attributes:
        G: the RGformer.
        img_condition, rex_condition: the extractors, which see the dark picture alone.
        img_denoise, rex_denoise: the denoisers.
        img_diffusion, rex_diffusion: the processes, each with its denoiser and extractor, which so have two names.
        decom_low: the decomposition of dark pictures.
        teacher: see :class:`tapetum.methods.retidiff.stage1.Teacher`.
    """

    def __init__(self, config: RetiDiffConfig) -> None:
        super().__init__()
        self.config = config
        self.properties = Properties(
            size_multiple=SIZE_MULTIPLE,
            minimum_size=SIZE_MULTIPLE,
            receptive_field=config.receptive_field,
            context="statistics",
            thumbnail_size=512,
            options=_options(config),
            noise_scale=0,
            no_onnx="its priors come out of a chain of chosen steps",
            bytes_per_pixel=bytes_per_pixel(config),
        )
        self.G = RGformer(config, config.auxiliary)
        shape = 1, config.n_feat, config.n_encoder_res, config.prior
        self.img_condition, self.rex_condition = RGBExtractor(*shape), RetinexExtractor(*shape)
        denoiser = config.prior, config.n_denoise_res, config.timesteps
        self.img_denoise, self.rex_denoise = Denoiser(*denoiser), Denoiser(*denoiser)
        betas = config.linear_start, config.linear_end
        self.img_diffusion = LatentDiffusion(self.img_denoise, self.img_condition, *betas)
        self.rex_diffusion = LatentDiffusion(self.rex_denoise, self.rex_condition, *betas)
        if config.decomposition:
            self.decom_low = Decomposer()
        if config.teacher:
            self.teacher = Teacher(config)

    def forward(
        self,
        low: Tensor,
        context: Tensor | None = None,
        *,
        noise: Tensor | None = None,
        steps: int | None = None,
        task: str | None = None,
    ) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], sides multiples of 8 -> the same size, not clamped.

        Args:
            context: ``(B, K)`` or ``(1, K)`` from :meth:`measure` of the whole picture: its priors and attention
                matrices. Extractors and diffusions are not run then.
            noise: ``(B, noise_channels())``, or one for all: where the Retinex chain begins, then the RGB chain. None:
                that of seed 0, the same for every picture.
            steps: of the diffusions, at most T, which is what None says.
            task: says nothing here, but is an option: what the weights are for.

        Raises:
            InputError: sides that are no such multiples. WeightsError: there is no decomposition network.
            UsageError: noise of another shape, or a number of steps that there is not.
        """
        check_size(*low.shape)
        if context is None:
            return self.G(low, *self.sampled(low, self.maps(low), noise, steps))
        size = self.config.prior
        rex, rgb, matrices = context.expand(len(low), -1).split([size, size, context.shape[1] - 2 * size], dim=1)
        return self.G(low, rex, rgb, AttentionMatrices(matrices))

    def measure(
        self, low: Tensor, *, noise: Tensor | None = None, steps: int | None = None, task: str | None = None
    ) -> Tensor:
        """``(B, 3, H, W) -> (B, K)``: the two priors, and the attention matrices in the order of the pass."""
        check_size(*low.shape)
        priors, matrices = self.sampled(low, self.maps(low), noise, steps), AttentionMatrices()
        self.G(low, *priors, matrices)
        return torch.cat([*priors, matrices.flat()], dim=1)

    def sampled(self, low: Tensor, maps: Tensor, noise: Tensor | None = None, steps: int | None = None) -> Priors:
        """The priors of pictures ``(B, 3, H, W)`` with their [R, L] ``(B, 4, H, W)``. Else as ``forward``."""
        shape = (len(low), 2 * self.config.prior)
        if noise is None:
            noise = PositionNoise(0).normal((shape[1], 1, 1)).view(1, -1)
        check_noise(noise, shape)
        # at least float32: the priors guide everything, and cost nothing
        dtype = torch.promote_types(low.dtype, torch.float32)
        with torch.autocast(low.device.type, enabled=False):
            rex, rgb = noise.to(low.device, dtype).expand(*shape).chunk(2, dim=1)
            rex = self.rex_diffusion.sample(maps.to(dtype), rex, steps)
            return Priors(rex, self.img_diffusion.sample(low.to(dtype), rgb, steps))

    def maps(self, low: Tensor) -> Tensor:
        """[R, L], ``(B, 4, H, W)``. Raises WeightsError where there is no decomposition network."""
        if not self.config.decomposition:
            raise WeightsError(NO_DECOMPOSITION)
        with torch.autocast(low.device.type, enabled=False):
            return self.decom_low(low.to(torch.promote_types(low.dtype, torch.float32)))

    def with_auxiliary(self, low: Tensor, priors: Priors) -> Restored:
        """The RGformer, and what its auxiliary decoder finds on the way."""
        check_size(*low.shape)
        return self.G.with_auxiliary(low, *priors)

    def noise_channels(self, *, steps: int | None = None, task: str | None = None) -> int:
        """Of the noise that ``forward`` wants, whatever the options.

        Raises:
            UsageError: steps that there are not. WeightsError: there is no decomposition network: said here, it is said
            before any picture is read.
        """
        if not self.config.decomposition:
            raise WeightsError(NO_DECOMPOSITION)
        visited(self.config.timesteps, self.config.timesteps if steps is None else steps)
        return 2 * self.config.prior

    def freeze_others(self) -> None:
        """Takes decomposition and teacher out of training."""
        for part in (self.decom_low, self.teacher):
            part.requires_grad_(False)


def _options(config: RetiDiffConfig) -> tuple[Option, ...]:
    tasks = (config.task,) if config.task else TASKS
    return (
        Option("steps", config.timesteps, "steps of the diffusion of the priors", 1, config.timesteps),
        Option("task", tasks[0], "what the weights were trained for", choices=tasks),
        SEED,
        SAMPLES,
    )
