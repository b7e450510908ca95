"""Channel attention over all positions (MST++'s S-MSA), optionally guided by illumination (Retinexformer's IG-MSA).

Its matrices are the only thing in these networks that sees the whole picture. They are therefore also what a tile must
be told: :class:`AttentionMatrices` hands them in and out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttentionMatrices:
    """The attention matrices of one forward pass, in the order in which the blocks ask for them.

    Args:
        given: ``(B, K)`` or ``(1, K)``, the flattened matrices of an earlier pass, which are used instead of the
            picture's own; None: every block computes its own.
        use_given: a bool scalar tensor, for graphs that must hold both ways (ONNX): chooses at run time. None: given
            ones are used.
    """

    def __init__(self, given: Tensor | None = None, use_given: Tensor | None = None) -> None:
        self._given = given
        self._use_given = use_given
        self._position = 0
        self._used: list[Tensor] = []

    def take(self, heads: int, width: int, compute: Callable[[], Tensor]) -> Tensor:
        """The next matrices ``(B, heads, width, width)``, given or computed."""
        if self._given is None:
            matrices = compute()
        else:
            size = heads * width * width
            end = self._position + size
            matrices = self._given[:, self._position : end].unflatten(1, (heads, width, width))
            if self._use_given is not None:
                matrices = torch.where(self._use_given, matrices, compute())
            self._position = end
        self._used.append(matrices)
        return matrices

    def flat(self) -> Tensor:
        """All matrices that were used, ``(B, K)``."""
        return torch.cat([matrices.flatten(1) for matrices in self._used], dim=1)


class AttentionNetwork(nn.Module):
    """A network of which only the attention matrices see the whole picture: a subclass implements ``_run``."""

    def forward(self, low: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] -> ``(B, C', H, W)``, not clamped; H and W are multiples of the size multiple.

        Args:
            context: ``(B, K)`` or ``(1, K)`` from :meth:`measure`, used instead of the picture's own.
        """
        return self._run(low, AttentionMatrices(context))

    def measure(self, low: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, K)``: the attention matrices of all blocks, in the order of the forward pass."""
        matrices = AttentionMatrices()
        self._run(low, matrices)
        return matrices.flat()

    def forward_and_measure(self, low: Tensor, context: Tensor, use_context: Tensor) -> tuple[Tensor, Tensor]:
        """Both in one pass, for graphs that are exported once: ``use_context`` (bool, scalar) chooses at run time."""
        matrices = AttentionMatrices(context, use_context)
        return self._run(low, matrices), matrices.flat()

    def _run(self, low: Tensor, matrices: AttentionMatrices) -> Tensor:
        raise NotImplementedError


class ChannelAttention(nn.Module):
    """Multi-head attention between channels: its cost is linear in the number of positions.

    Per head, with Q, K, V one row per channel and Y the guidance: ``softmax(rescale * K^ Q^T) (V * Y)``, where ``^``
    is a row divided by its norm over all positions. A positional branch of the un-gated V is added.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.rescale = nn.Parameter(torch.ones(heads, 1, 1))
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.pos_emb = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        )

    def forward(self, x: Tensor, guidance: Tensor | None, matrices: AttentionMatrices) -> Tensor:
        """x and guidance ``(B, H, W, C)`` -> ``(B, H, W, C)``. Without guidance V itself is used."""
        head_width = x.shape[-1] // self.heads
        attention = matrices.take(self.heads, head_width, lambda: self._attention(x))
        values = self.to_v(x)
        gated = values if guidance is None else values * guidance
        return self._project(attention, gated) + self._positional(values)

    def _attention(self, x: Tensor) -> Tensor:
        """``(B, H, W, C) -> (B, heads, C/heads, C/heads)``: rows are channels of K, softmax over channels of Q."""
        tokens = x.flatten(1, 2)
        queries, keys = self._normalised(self.to_q(tokens)), self._normalised(self.to_k(tokens))
        return (self.rescale * (keys.transpose(-2, -1) @ queries)).softmax(dim=-1)

    def _normalised(self, tokens: Tensor) -> Tensor:
        """``(B, N, C) -> (B, heads, N, C/heads)``, each channel divided by its norm over the N positions."""
        return F.normalize(tokens, dim=1).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _project(self, attention: Tensor, gated: Tensor) -> Tensor:
        """``proj`` of the attended values. The two matrices are multiplied first: one pass over the pixels, not two."""
        by_head = self.proj.weight.unflatten(1, (self.heads, -1)).transpose(0, 1)  # (heads, C, C/heads)
        combined = (by_head @ attention).transpose(1, 2).flatten(2)  # (B, C, C)
        projected = gated.flatten(1, 2) @ combined.transpose(1, 2) + self.proj.bias
        return projected.unflatten(1, gated.shape[1:3])

    def _positional(self, values: Tensor) -> Tensor:
        return self.pos_emb(values.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
