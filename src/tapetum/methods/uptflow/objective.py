"""How UPT-Flow learns: the likelihood of the normal picture, given the dark one. (Its program was never published.)"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import cast

import torch
from torch import Tensor, nn

from tapetum import losses
from tapetum.errors import TapetumError, UsageError
from tapetum.methods.contract import Examination
from tapetum.methods.uptflow.examination import LEVELS, dequantised, examine
from tapetum.methods.uptflow.invertible import ActNorm, LogDeterminant, gaussian_log_density, never_begun
from tapetum.methods.uptflow.network import UPTFlow

log = logging.getLogger(__name__)

Losses = dict[str, Tensor]
PATIENCE = 50  # so many bad steps in a row are a divergence


def bits_per_pixel(latent: Tensor, log_det: Tensor, levels: int = LEVELS) -> Tensor:
    """Negative log-likelihood ``(B,)``, of a latent ``(B, 192, h, w)`` and its own log-determinant ``(B,)``.

    As published: log(levels) is subtracted once for each pixel, not for each of its three values. The noise alone has
    15 bits per pixel, so nothing can be below -10 on average.
    """
    pixels = 64 * latent.shape[2] * latent.shape[3]
    log_density = gaussian_log_density(latent).sum(dim=(1, 2, 3))
    return -(log_det - math.log(levels) * pixels + log_density) / (math.log(2) * pixels)


def bits_per_dimension(bits: Tensor, levels: int = LEVELS) -> Tensor:
    """From :func:`bits_per_pixel`: bits for each of a pixel's values, told apart in ``levels`` levels; 0 is the least
    that is possible, log2(levels) what a uniform law takes."""
    return (bits + 2 * math.log2(levels)) / 3


@dataclass
class Watch:
    """Whether a training goes well, from its bits per dimension step by step.

    Attributes:
        tolerance: bits per dimension above the best average that mean that it diverges; from half of it on, and
            wherever the likelihood is no number, it is not healthy.
        healthy: whether the last step was.
    """

    tolerance: float
    healthy: bool = True
    _fast: float = math.nan
    _slow: float = math.inf
    _best: float = math.inf
    _bad: int = 0
    _warned: bool = False

    def tell(self, bits: float) -> None:
        """One more step.

        Raises:
            TapetumError: it has diverged for ``PATIENCE`` steps.
        """
        if math.isfinite(bits):
            self._fast = bits if math.isnan(self._fast) else 0.9 * self._fast + 0.1 * bits
            self._slow = self._fast if math.isinf(self._slow) else 0.99 * self._slow + 0.01 * bits
            self._best = min(self._best, self._slow)
        excess = self._fast - self._best if math.isfinite(bits) else math.inf
        self.healthy = excess <= self.tolerance / 2
        self._bad = self._bad + 1 if excess > self.tolerance else 0
        now = f"{self._fast:.2f} bits per dimension" if math.isfinite(excess) else "not a number"
        if self.healthy:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning("uptflow: the likelihood gets worse: %s, at best it was %.2f on average", now, self._best)
        if self._bad >= PATIENCE:
            best = f"{self._best:.2f} bits per dimension" if math.isfinite(self._best) else "no number"
            raise TapetumError(
                f"uptflow: the training diverged: for {PATIENCE} steps the likelihood has been {now}, at best it was "
                f"{best} on average; lower optimiser.rate or set optimiser.clip_norm, and begin under another "
                "name=..., with weights=weights-good.safetensors of this run's folder if that was written"
            )


class FlowObjective(nn.Module):
    """Negative log-likelihood of the normal picture under a standard normal latent; nothing else, as published.

    Args:
        pixel: weight of the mean absolute error of the picture decoded at temperature 0 (0 as published).
        brightness_free, gradient: ours, for short trainings: that error's, of :func:`tapetum.losses.partly_free`.
        log_scale_limit: largest magnitude of an ActNorm's log-scale, and of what multiplies a coupling's prediction:
            they are cut to it before each step, so that no channel's gain explodes (a constant channel of the first
            batch would begin with 1e6). None: no guard, as published.
        tolerance: of :class:`Watch`.

    Attributes:
        watch: how training goes; ``healthy`` tells whether its weights are worth keeping. A checkpoint keeps it: what
            has diverged is not well again because it was resumed.

    Raises:
        UsageError: a value out of range.
    """

    def __init__(
        self,
        pixel: float = 0.0,
        brightness_free: float = 0.0,
        gradient: float = 0.0,
        log_scale_limit: float | None = 8.0,
        tolerance: float = 2.0,
    ) -> None:
        super().__init__()
        self.pixel = losses.number("pixel", pixel)
        self._error = losses.freed(losses.l1, brightness_free, gradient)
        self.limit = None if log_scale_limit is None else losses.number("log_scale_limit", log_scale_limit, least=1.0)
        self.watch = Watch(losses.number("tolerance", tolerance, least=0.1))

    @property
    def healthy(self) -> bool:
        """See :class:`Watch`."""
        return self.watch.healthy

    def get_extra_state(self) -> Tensor:
        """The watch, for checkpoints."""
        return torch.tensor([float(value) for value in astuple(self.watch)], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of :meth:`get_extra_state`."""
        for each, value in zip(fields(self.watch), state.tolist(), strict=True):
            setattr(self.watch, each.name, type(getattr(self.watch, each.name))(value))

    def forward(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1]. Draws from torch's global generator.

        The first call initialises every ActNorm on this batch (of several processes: on that of the first).

        Returns:
            "loss"; "bits_per_dimension"; with ``pixel`` also "nll" and "pixel".

        Raises:
            UsageError: values that are not finite. TapetumError: the training diverged.
        """
        flow = cast("UPTFlow", network)
        low, target = batch["low"], batch["target"]
        noisy = dequantised(target, torch.rand_like(target))
        if never_begun_while_training(flow):
            self._begin(flow, low, noisy)
        elif self.limit is not None:
            limit_log_scales(flow, self.limit)
        conditions = flow.conditions(low)
        nll = negative_log_likelihood(flow, noisy, conditions).mean()
        bits = bits_per_dimension(nll.detach())
        self._look(bits, batch)
        if not self.pixel:
            return {"loss": nll, "bits_per_dimension": bits}
        latent = torch.zeros_like(noisy).flatten(1).unflatten(1, (-1, noisy.shape[2] // 8, noisy.shape[3] // 8))
        pixel = self._error(flow.decode(latent, conditions).clamp(0, 1), target)
        loss = nll + self.pixel * pixel
        return {"loss": loss, "bits_per_dimension": bits, "nll": nll.detach(), "pixel": pixel.detach()}

    def examine(self, network: nn.Module, low: Tensor, target: Tensor | None) -> Examination:
        """See :func:`tapetum.methods.uptflow.examination.examine`."""
        return examine(cast("UPTFlow", network), low, target)

    def _begin(self, flow: UPTFlow, low: Tensor, noisy: Tensor) -> None:
        with torch.no_grad():
            flow.encode(noisy, flow.conditions(low))
            if self.limit is not None:
                limit_log_scales(flow, self.limit)
            if _several():
                # statistics of its own batch would give every process other weights
                for norm in _norms(flow):
                    torch.distributed.broadcast(norm.bias, 0)
                    torch.distributed.broadcast(norm.logs, 0)

    def _look(self, bits: Tensor, batch: Mapping[str, Tensor]) -> None:
        value = bits.item()
        if not math.isfinite(value):
            for name in ("low", "target"):
                if not batch[name].isfinite().all():
                    raise UsageError(f"uptflow: a training picture ({name}) holds values that are not numbers")
        if _several():  # all processes judge alike, or those that go on would wait for ever
            mean = bits.clone()
            torch.distributed.all_reduce(mean)
            value = mean.item() / torch.distributed.get_world_size()
        self.watch.tell(value)


def _several() -> bool:
    """Whether this process is one of several that learn together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def negative_log_likelihood(flow: UPTFlow, image: Tensor, conditions: list[Tensor]) -> Tensor:
    """Bits per pixel ``(B,)`` of a dequantised picture ``(B, 3, H, W)``."""
    log_det = LogDeterminant()
    latent = flow.encode(image, conditions, log_det)
    return bits_per_pixel(latent, log_det.total())


def never_begun_while_training(flow: UPTFlow) -> bool:
    """Whether an ActNorm may still have to be initialised: asks the device at most until the first step is done."""
    norms = _norms(flow)
    if not flow.training or all(norm.begun for norm in norms):
        return False
    if never_begun(flow) is not None:
        return True
    for norm in norms:
        norm.begun = True
    return False


@torch.no_grad()
def limit_log_scales(flow: UPTFlow, limit: float) -> None:
    """Cuts the log-scales of ActNorms, and three times the ``logs`` of the couplings' last layers, to +- ``limit``."""
    norms = [norm.logs for norm in _norms(flow)]
    gains = [p for name, p in flow.named_parameters() if name.endswith(".model.5.logs")]
    for group, bound in ((norms, limit), (gains, limit / 3)):
        for values in group:
            values.clamp_(-bound, bound)


def _norms(flow: UPTFlow) -> list[ActNorm]:
    return [module for module in flow.flowUpsamplerNet.modules() if isinstance(module, ActNorm)]
