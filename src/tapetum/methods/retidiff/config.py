"""What both stages of Reti-Diff have in common: sizes of the RGformer and of the extractors."""

from __future__ import annotations

from dataclasses import dataclass

from tapetum.errors import InputError, UsageError
from tapetum.methods.retidiff.layers import NormType

SIZE_MULTIPLE = 8  # three halvings

Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class GuidedConfig:
    """Hyper-parameters, named as in the published option files where these have them.

    Attributes:
        n_encoder_res: residual blocks of an extractor.
        dim: channels of the RGformer at full resolution, doubled at each halving.
        num_blocks: RG blocks at full size (up and down, each), half, quarter and eighth size.
        num_refinement_blocks: refinement blocks after them.
        heads: of the attention at these sizes.
        ffn_expansion_factor: width inside a feed-forward layer, in units of its channels.
        bias: whether the convolutions of the blocks have one.
        LayerNorm_type: "WithBias", or "BiasFree".
        n_feat: width of the extractors; 64 as published.
        prior: numbers of a prior; 256 as published.
        decomposition: whether the decomposition networks are in it. Published files keep them apart.

    Raises:
        UsageError: a value that no network can have.
    """

    n_encoder_res: int = 5
    dim: int = 64
    num_blocks: Four = (3, 3, 3, 3)
    num_refinement_blocks: int = 3
    heads: Four = (1, 2, 4, 8)
    ffn_expansion_factor: float = 2.66
    bias: bool = False
    LayerNorm_type: NormType = "WithBias"
    n_feat: int = 64
    prior: int = 256
    decomposition: bool = True

    def __post_init__(self) -> None:
        if self.dim < 4 or self.dim % 4:
            raise UsageError(f"retidiff: dim must be a multiple of 4, got {self.dim}")
        if self.prior < 4 or self.prior % 4:
            raise UsageError(f"retidiff: prior must be a multiple of 4, got {self.prior}")
        if len(self.num_blocks) != 4 or min(*self.num_blocks, self.num_refinement_blocks) < 1:
            raise UsageError(
                "retidiff: num_blocks must be four numbers from 1 up, and num_refinement_blocks at least 1, got "
                f"{self.num_blocks} and {self.num_refinement_blocks}"
            )
        if len(self.heads) != 4 or min(self.heads) < 1:
            raise UsageError(f"retidiff: heads must be four numbers from 1 up, got {self.heads}")
        # at full size the decoder is twice as wide as the encoder; its heads divide both
        for level, heads in enumerate(self.heads):
            if (self.dim << level) % heads:
                raise UsageError(
                    f"retidiff: heads {heads} do not divide the {self.dim << level} channels of their level"
                )
        if self.ffn_expansion_factor * self.dim < 1:
            raise UsageError(f"retidiff: ffn_expansion_factor is too small, got {self.ffn_expansion_factor}")
        if self.LayerNorm_type not in ("WithBias", "BiasFree"):
            raise UsageError(f"retidiff: LayerNorm_type must be WithBias or BiasFree, got {self.LayerNorm_type!r}")
        if self.n_encoder_res < 0 or self.n_feat < 1:
            raise UsageError(
                f"retidiff: n_encoder_res must be at least 0 and n_feat 1, got {self.n_encoder_res} and {self.n_feat}"
            )

    @property
    def receptive_field(self) -> int:
        """How far, in pixels, the RGformer sees to each side, priors and attention matrices being given.

        Two depth-wise convolutions in each block; embedding, output, and the convolutions before and after a change of
        size with the shift of up to a cell that it brings.
        """
        blocks = sum(2 * count * 2 << level for level, count in enumerate(self.num_blocks[:3]))
        bottom = 2 * self.num_blocks[3] * 8
        resampling = sum((1 << level) + (2 << level) + (2 << level) for level in range(3))
        return blocks + bottom + 2 * self.num_refinement_blocks + 2 + resampling


def check_size(*shape: int) -> None:
    """Raises InputError unless height and width are multiples of 8."""
    height, width = shape[-2:]
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE or not height or not width:
        raise InputError(f"retidiff: sides must be multiples of {SIZE_MULTIPLE}, got {height}x{width}: pad the picture")
