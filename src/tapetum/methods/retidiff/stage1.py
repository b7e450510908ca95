"""Stage 1 of Reti-Diff: the RGformer, guided by priors that see the target. What it reaches is what stage 2 aims at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from tapetum.errors import WeightsError
from tapetum.methods.contract import Properties
from tapetum.methods.retidiff.config import SIZE_MULTIPLE, GuidedConfig, check_size
from tapetum.methods.retidiff.decomposition import Decomposer
from tapetum.methods.retidiff.extractors import RetinexExtractor, RGBExtractor
from tapetum.methods.retidiff.rgformer import Restored, RGformer

NO_DECOMPOSITION = (
    "these weights of Reti-Diff have no decomposition network, which published files keep apart: join both by "
    "`tapetum weights import FILE --with DECOMPOSITION`"
)


@dataclass(frozen=True)
class Stage1Config(GuidedConfig):
    """See :class:`tapetum.methods.retidiff.config.GuidedConfig`."""


class Priors(NamedTuple):
    """What guides the RGformer, each ``(B, P)``."""

    rex: Tensor
    rgb: Tensor


class TargetPriors(nn.Module):
    """The extractors of stage 1, which see the dark picture and its target."""

    def __init__(self, config: GuidedConfig) -> None:
        super().__init__()
        shape = 2, config.n_feat, config.n_encoder_res, config.prior
        self.E_rex = RetinexExtractor(*shape)
        self.E_img = RGBExtractor(*shape)

    def priors(self, low: Tensor, target: Tensor, low_maps: Tensor, target_maps: Tensor) -> Priors:
        """Pictures ``(B, 3, H, W)`` and their [R, L] ``(B, 4, H, W)`` -> the two priors."""
        return Priors(self.E_rex(low_maps, target_maps), self.E_img(low, target))


class Teacher(TargetPriors):
    """What stage 2 learns from: the extractors of stage 1, and the targets' decomposition. Frozen."""

    def __init__(self, config: GuidedConfig) -> None:
        super().__init__(config)
        self.decom_high = Decomposer()


class Stage1(TargetPriors):
    """``(B, 3, H, W)`` and its target to the same size; sides are multiples of 8.

    Attributes:
        G: the RGformer with its auxiliary decoder.
        decom_low, decom_high: the decomposition of dark pictures and of targets; frozen. Published files have none.
    """

    def __init__(self, config: Stage1Config) -> None:
        super().__init__(config)
        self.config = config
        self.properties = Properties(
            size_multiple=SIZE_MULTIPLE,
            minimum_size=SIZE_MULTIPLE,
            receptive_field=config.receptive_field,
            context="picture",  # priors and attention
            bytes_per_pixel=bytes_per_pixel(config),
        )
        self.G = RGformer(config, auxiliary=True)
        if config.decomposition:
            self.decom_low, self.decom_high = Decomposer(), Decomposer()

    def forward(self, low: Tensor, *, target: Tensor | None = None) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] -> the same size, not clamped.

        Args:
            target: what it should look like, of the same shape; the priors see it. None: the dark picture itself,
                which leaves nothing to enhance.

        Raises:
            InputError: sides that are no multiples of 8. WeightsError: there are no decomposition networks.
        """
        target = low if target is None else target
        return self.restore(low, self.priors(low, target, *self.maps(low, target)))

    def restore(self, low: Tensor, priors: Priors) -> Tensor:
        """The RGformer alone."""
        check_size(*low.shape)
        return self.G(low, priors.rex, priors.rgb)

    def with_auxiliary(self, low: Tensor, priors: Priors) -> Restored:
        """The RGformer, and what its auxiliary decoder finds on the way."""
        check_size(*low.shape)
        return self.G.with_auxiliary(low, priors.rex, priors.rgb)

    def maps(self, low: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """[R, L] of both, ``(B, 4, H, W)``. Raises WeightsError where there are no decomposition networks."""
        check_size(*low.shape)
        if not self.config.decomposition:
            raise WeightsError(NO_DECOMPOSITION)
        return self.decom_low(low), self.decom_high(target)

    def freeze_decomposition(self) -> None:
        """Takes the decomposition networks out of training."""
        for part in (self.decom_low, self.decom_high):
            part.requires_grad_(False)


def bytes_per_pixel(config: GuidedConfig) -> int:
    """Of one pass without gradients, measured."""
    return 1000 + 48 * config.dim
