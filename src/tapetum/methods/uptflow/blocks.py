"""The encoder's blocks: channel attention over the whole picture, and window attention guided by a map.

The global block is Restormer's (Zamir et al., CVPR 2022), the window block Uformer's (Wang et al., CVPR 2022) with one
change that is the method's own: queries and keys come from the map of unbalanced points and not from the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.methods.uptflow.whole_picture import WholePicture

LEFF_RATIO = 4
_BAND = (
    1 << 22
)  # values of a hidden layer that are computed at once where no gradient is wanted: they stay in the cache
_APART = -100.0  # added to the logits of tokens that the cyclic shift has made neighbours


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution ``(B, C, H, W) -> (B, C', H, W)`` as one matrix product; quickest where x is channels-last."""
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution by :func:`pointwise`."""

    def __init__(self, channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(channels, out_channels, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C', H, W)``."""
        return pointwise(input, self.weight, self.bias)


class GlobalBlock(nn.Module):
    """Attention between channels, then a gated feed-forward layer, each added to its input; no biases."""

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.attn = ChannelAttention(width, heads)
        self.norm2 = ChannelNorm(width)
        self.ffn = GatedFeedForward(width, expansion)

    def forward(self, x: Tensor, whole: WholePicture) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        x = x + self.attn(self.norm1(x), whole)
        return x + self.ffn(self.norm2(x))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position. (``body`` is the published files' name for it.)"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelAttention(nn.Module):
    """Restormer's MDTA: ``softmax(temperature * Q^ K^T) V``, one row per channel, ``^`` divided by its norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Pointwise(width, 3 * width, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False)
        self.project_out = Pointwise(width, width, bias=False)

    def forward(self, x: Tensor, whole: WholePicture) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        queries, keys, values = self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        width = x.shape[1] // self.heads
        attention = whole.take((self.heads, width, width), lambda: self._attention(queries, keys))
        # the two matrices are multiplied first: one pass over the pixels, not two
        by_head = self.project_out.weight[:, :, 0, 0].unflatten(1, (self.heads, -1)).transpose(0, 1)
        combined = (by_head @ attention.to(by_head.dtype)).transpose(1, 2).flatten(2)  # (B or 1, C, C)
        tokens = values.permute(0, 2, 3, 1).flatten(1, 2)
        return (tokens @ combined.transpose(1, 2)).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)

    def _attention(self, queries: Tensor, keys: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, heads, C/heads, C/heads)``. The products are divided by the norms, not the rows."""
        q, k = (
            t.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (queries, keys)
        )
        norms = [torch.linalg.vector_norm(t, dim=2, dtype=_precise(t)).clamp(min=1e-12) for t in (q, k)]
        if q.dtype == torch.float16:  # whose largest number a sum over all pixels exceeds
            q, k = q.float(), k.float()
        with torch.autocast(q.device.type, enabled=False):
            products = (q.transpose(-2, -1) @ k) / (norms[0][..., :, None] * norms[1][..., None, :])
        return (products * self.temperature).softmax(dim=-1)


class GatedFeedForward(nn.Module):
    """Restormer's GDFN: 1x1 to two hidden layers, depth-wise 3x3, one gates the other by GELU, 1x1 back."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        hidden = int(width * expansion)
        self.project_in = Pointwise(width, 2 * hidden, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = Pointwise(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        return _spatial(x, self.project_in, self.dwconv, self._gated)

    def _gated(self, hidden: Tensor) -> Tensor:
        first, second = hidden.chunk(2, dim=1)
        return self.project_out(F.gelu(first) * second)


class WindowBlocks(nn.Module):
    """A chain of window blocks under one map; every second one has shifted windows."""

    def __init__(self, width: int, heads: int, window: int, drop: list[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            WindowBlock(width, heads, window, i % 2 * (window // 2), p) for i, p in enumerate(drop)
        )

    def forward(self, x: Tensor, guide: Tensor, whole: WholePicture) -> Tensor:
        """x and guide ``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        for block in self.blocks:
            x = block(x, guide, whole)
        return x


class WindowBlock(nn.Module):
    """Attention within windows, then LeFF, each added to its input.

    Args:
        shift: by how much the windows are shifted, cyclically.
        drop: share of samples for which a branch is left out while training.
    """

    def __init__(self, width: int, heads: int, window: int, shift: int, drop: float = 0.0) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.drop_path = DropPath(drop) if drop else nn.Identity()
        self.norm2 = nn.LayerNorm(width)
        self.mlp = LeFF(width)

    def forward(self, x: Tensor, guide: Tensor, whole: WholePicture) -> Tensor:
        """x and guide ``(B, C, H, W)`` -> ``(B, C, H, W)``."""
        x = x + self.drop_path(self._attended(x, guide))
        normed = self.norm2(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.drop_path(self.mlp(normed, whole))

    def _attended(self, x: Tensor, guide: Tensor) -> Tensor:
        """Zeros are added before the normalisation, and their tokens are not masked: as published."""
        height, width = x.shape[2:]
        missing = (0, -width % self.window, 0, -height % self.window)
        picture = self.norm1(F.pad(x, missing).permute(0, 2, 3, 1))
        guide = F.pad(guide, missing).permute(0, 2, 3, 1)
        rows, columns = picture.shape[1] // self.window, picture.shape[2] // self.window
        apart = None
        if self.shift:
            picture, guide = (t.roll((-self.shift, -self.shift), (1, 2)) for t in (picture, guide))
            apart = shift_mask(rows, columns, self.window, self.shift, x.device)
        out = self.attn(into_windows(picture, self.window), into_windows(guide, self.window), apart)
        out = from_windows(out, rows, columns)
        if self.shift:
            out = out.roll((self.shift, self.shift), (1, 2))
        return out[:, :height, :width].permute(0, 3, 1, 2)


class WindowAttention(nn.Module):
    """Attention within each window: queries and keys of the guide, values of the picture."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.ModuleDict({f"to_{n}": nn.Conv2d(width, width, 3, padding=1, groups=width) for n in "qkv"})
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        nn.init.trunc_normal_(self.proj.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)

    def forward(self, picture: Tensor, guide: Tensor, apart: Tensor | None) -> Tensor:
        """picture and guide ``(windows, w, w, C)``, apart ``(windows of one picture, w^2, w^2)`` -> as picture."""
        window, width = picture.shape[1], picture.shape[3]
        to_q, to_k, to_v = (cast("nn.Conv2d", self.qkv[f"to_{n}"]) for n in "qkv")
        scale = self.temperature.expand(self.heads, width // self.heads, 1).reshape(-1) * (width // self.heads) ** -0.5
        guide = guide.permute(0, 3, 1, 2)
        queries = F.conv2d(
            guide,
            to_q.weight * scale[:, None, None, None],
            None if to_q.bias is None else to_q.bias * scale,
            padding=1,
            groups=width,
        )
        q, k, v = (self._tokens(t) for t in (queries, to_k(guide), to_v(picture.permute(0, 3, 1, 2))))
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if apart is not None:
            bias = (bias + apart[:, None]).repeat(len(q) // len(apart), 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), scale=1.0)
        return self.proj(out.transpose(1, 2).flatten(2)).unflatten(1, (window, window))

    def _tokens(self, t: Tensor) -> Tensor:
        """``(windows, C, w, w) -> (windows, heads, w^2, C / heads)``."""
        return t.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)


class LeFF(nn.Module):
    """Uformer's locally enhanced feed-forward layer: 1x1, depth-wise 3x3, GELU, 1x1, and a gate for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = LEFF_RATIO * width
        self.conv1 = Pointwise(width, hidden)
        self.dwconv = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.GELU())
        self.conv2 = Pointwise(hidden, width)
        self.eca = ChannelGate()

    def forward(self, x: Tensor, whole: WholePicture) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        depthwise = cast("nn.Conv2d", self.dwconv[0])
        return self.eca(_spatial(x, self.conv1, depthwise, lambda hidden: self.conv2(F.gelu(hidden))), whole)


class ChannelGate(nn.Module):
    """ECA (Wang et al., CVPR 2020): each channel times a sigmoid of its mean and its neighbours' means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor, whole: WholePicture) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        gate = whole.take(x.shape[1:2], lambda: self.conv(x.mean(dim=(2, 3))[:, None])[:, 0].sigmoid())
        return x * gate[:, :, None, None].to(x.dtype)


class DropPath(nn.Dropout):
    """Leaves out whole samples of a branch while training; the others are scaled up for it."""

    def forward(self, input: Tensor) -> Tensor:
        """``(B, ...) -> (B, ...)``."""
        if not self.training:
            return input
        kept = torch.rand((len(input),) + (1,) * (input.ndim - 1), device=input.device) >= self.p
        return input * kept.to(input.dtype) / (1 - self.p)


class Halve(nn.Module):
    """``(B, C, H, W) -> (B, 2C, H/2, W/2)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Double(nn.Module):
    """``(B, C, H, W) -> (B, C/2, 2H, 2W)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def into_windows(x: Tensor, window: int) -> Tensor:
    """``(B, H, W, C) -> (B * H/w * W/w, w, w, C)``, windows row by row."""
    x = x.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return x.transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of :func:`into_windows`."""
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)


def relative_positions(window: int) -> Tensor:
    """``(w^2, w^2)`` int64: the row of the bias table for each query and key of a window."""
    places = torch.arange(window)
    row, column = (grid.flatten() for grid in torch.meshgrid(places, places, indexing="ij"))
    down, across = (t[:, None] - t[None] + window - 1 for t in (row, column))
    return down * (2 * window - 1) + across


def shift_mask(rows: int, columns: int, window: int, shift: int, device: torch.device) -> Tensor:
    """``(rows * columns, w^2, w^2)``: a large negative number between tokens that are neighbours only by the shift."""

    def parts(count: int) -> Tensor:
        place = torch.arange(count * window, device=device)
        return (place >= (count - 1) * window).long() + (place >= count * window - shift)

    regions = 3 * parts(rows)[:, None] + parts(columns)[None]
    tokens = into_windows(regions[None, :, :, None], window).flatten(1)
    return torch.where(tokens[:, :, None] == tokens[:, None], 0.0, _APART)


def _spatial(x: Tensor, first: nn.Conv2d, depthwise: nn.Conv2d, last: Callable[[Tensor], Tensor]) -> Tensor:
    """``last(depthwise(first(x)))``, of 1x1 convolutions before and after; by bands of rows where no gradient is
    wanted: the same numbers, and no hidden layer of the whole picture."""
    batch, _, height, width = x.shape
    rows = max(8, _BAND // (batch * width * first.out_channels))
    if torch.is_grad_enabled() or rows >= height:
        return last(depthwise(first(x)))
    bands = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        above, below = int(top > 0), int(bottom < height)
        hidden = first(x[:, :, top - above : bottom + below])
        hidden = F.pad(hidden, (0, 0, 1 - above, 1 - below))
        hidden = F.conv2d(hidden, depthwise.weight, depthwise.bias, padding=(0, 1), groups=depthwise.groups)
        bands.append(last(hidden))
        del hidden
    return torch.cat(bands, dim=2)


def _precise(t: Tensor) -> torch.dtype:
    return torch.promote_types(t.dtype, torch.float32)
