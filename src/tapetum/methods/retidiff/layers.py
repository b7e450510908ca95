"""Blocks of Reti-Diff's RGformer: attention between channels and a gated feed-forward layer, both guided by a prior.

Equal to the published formulas, but computed otherwise. Layer normalisation, the prior's modulation and the 1x1
convolution after them are linear maps between channels: they are one matrix, made anew for each picture. Pixels lie
channels last, and where no gradient is wanted they are worked on some rows at a time, which stay in the processor's
cache: at full size the features inside a feed-forward layer are 680 channels wide. No row is computed twice. The
attention needs of queries and keys only their products, so these are summed up over the rows, and the attention matrix
and the projection after it are multiplied before any pixel sees them. Where the attention matrices are given, queries
and keys are not computed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.methods.blocks.attention import AttentionMatrices

NormType = Literal["WithBias", "BiasFree"]

_EPSILON = 1e-5  # of the layer normalisation
_SMALLEST_NORM = 1e-12
_BAND = 1 << 20  # numbers of a band's widest feature; it is to stay in the cache
_LEAST_ROWS = 4  # of a band, which takes two rows over from the one before


Pixelwise = Callable[[Tensor], Tensor]
"""``(B, H, W, C) -> (B, H, W, C')``, pixel by pixel."""


@dataclass(frozen=True)
class Layer:
    """A map of pixels ``(B, H, W, C)`` with one depth-wise 3x3 convolution in it; it can be had some rows at a time.

    Attributes:
        before: to the features that are convolved.
        kernels, bias: of the convolution, ``(C', 1, 3, 3)`` and ``(C',)``.
        after: what becomes of them.
    """

    before: Pixelwise
    kernels: Tensor
    bias: Tensor | None
    after: Pixelwise = lambda features: features

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.after(self._convolved(self.before(pixels), 1))

    def bands(self, pixels: Tensor, rows: int) -> Iterator[Tensor]:
        """The result, ``rows`` rows or so at a time; at least 2."""
        height, kept = pixels.shape[1], None
        for top in range(0, height, rows):
            features = self.before(pixels[:, top : top + rows])
            border = torch.zeros_like(features[:, :1])
            last = [border] if top + rows >= height else []
            features = torch.cat([border if kept is None else kept, features, *last], dim=1)
            kept = features[:, -2:]
            yield self.after(self._convolved(features, (0, 1)))

    def _convolved(self, features: Tensor, padding: int | tuple[int, int]) -> Tensor:
        x = features.permute(0, 3, 1, 2)
        return F.conv2d(x, self.kernels, self.bias, padding=padding, groups=len(self.kernels)).permute(0, 2, 3, 1)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel, biased variance.

    "BiasFree" divides by the deviation without taking the mean away, and has no bias: so the published weights want it.
    """

    def __init__(self, channels: int, kind: NormType) -> None:
        super().__init__()
        self.kind = kind
        self.body = _Affine(channels, kind == "WithBias")

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        y = self.normalised(x.permute(0, 2, 3, 1)) * self.body.weight
        return (y if self.body.bias is None else y + self.body.bias).permute(0, 3, 1, 2)

    def normalised(self, pixels: Tensor) -> Tensor:
        """``(B, H, W, C)`` without the weight and bias after it."""
        if self.kind == "WithBias":
            return F.layer_norm(pixels, pixels.shape[-1:], eps=_EPSILON)
        return pixels * (pixels.var(dim=-1, unbiased=False, keepdim=True) + _EPSILON).rsqrt()


class _Affine(nn.Module):
    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None


class Guided(nn.Module):
    """A layer on normalised pixels that a prior modulates: x (1 + m), m a linear map of the prior."""

    def after(self, norm: ChannelNorm | None, modulation: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the prior and the norm's own weight and bias do to a normalised pixel: factor and summand ``(B, C)``."""
        factor = 1 + modulation
        if norm is None:
            return factor, None
        weight, bias = norm.body.weight, norm.body.bias
        return factor * weight, None if bias is None else factor * bias


class CrossAttention(Guided):
    """RG-MCA: queries from the reflectance's three quarters of the channels, keys and values from the illumination's.

    Args:
        channels: C, a multiple of 4 and of ``heads``.
        prior: numbers of the Retinex prior, of which three quarters tell of the reflectance.
    """

    def __init__(self, channels: int, heads: int, bias: bool, prior: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.sizes = [channels - channels // 4, channels // 4]
        self.prior_sizes = [prior - prior // 4, prior // 4]
        self.kernel_R = nn.Sequential(nn.Linear(self.prior_sizes[0], self.sizes[0], bias=False))
        self.kernel_I = nn.Sequential(nn.Linear(self.prior_sizes[1], self.sizes[1], bias=False))
        self.q_R = nn.Conv2d(self.sizes[0], channels, 1, bias=bias)
        self.q_dwconv = _depthwise(channels, bias)
        self.kv_I = nn.Conv2d(self.sizes[1], 2 * channels, 1, bias=bias)
        self.kv_dwconv = _depthwise(2 * channels, bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The layer alone: ``(B, C, H, W)``, prior ``(B, P)`` -> ``(B, C, H, W)``."""
        return _alone(self, x, z)

    def layers(self, z: Tensor, norm: ChannelNorm | None) -> tuple[Layer, Layer]:
        """What makes queries and keys, and what makes values, of normalised pixels ``(B, H, W, C)``."""
        reflectance, illumination = z.split(self.prior_sizes, dim=1)
        modulation = torch.cat([self.kernel_R(reflectance), self.kernel_I(illumination)], dim=1)
        factor, summand = self.after(norm, modulation)
        channels = self.project_out.in_channels
        of_reflectance, of_illumination = slice(0, self.sizes[0]), slice(self.sizes[0], None)
        query = _layer(self.q_R, self.q_dwconv, factor, summand, of_reflectance)
        key = _layer(self.kv_I, self.kv_dwconv, factor, summand, of_illumination, slice(0, channels))
        value = _layer(self.kv_I, self.kv_dwconv, factor, summand, of_illumination, slice(channels, None))
        return _joined(query, key), value


class SelfAttention(Guided):
    """MDTA: queries, keys and values from all channels, modulated by the RGB prior. Arguments: see CrossAttention."""

    def __init__(self, channels: int, heads: int, bias: bool, prior: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.kernel = nn.Sequential(nn.Linear(prior, channels, bias=False))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.qkv_dwconv = _depthwise(3 * channels, bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The layer alone: ``(B, C, H, W)``, prior ``(B, P)`` -> ``(B, C, H, W)``."""
        return _alone(self, x, z)

    def layers(self, z: Tensor, norm: ChannelNorm | None) -> tuple[Layer, Layer]:
        """What makes queries and keys, and what makes values, of normalised pixels ``(B, H, W, C)``."""
        factor, summand = self.after(norm, self.kernel(z))
        split = 2 * self.project_out.in_channels
        both = _layer(self.qkv, self.qkv_dwconv, factor, summand, outputs=slice(0, split))
        return both, _layer(self.qkv, self.qkv_dwconv, factor, summand, outputs=slice(split, None))


class FeedForward(Guided):
    """DFA: 1x1 to 2h channels, depth-wise 3x3, the first half gates the second, 1x1 back.

    Args:
        expansion: h = floor(C * expansion).
    """

    def __init__(self, channels: int, expansion: float, bias: bool, prior: int) -> None:
        super().__init__()
        self.hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * self.hidden, 1, bias=bias)
        self.dwconv = _depthwise(2 * self.hidden, bias)
        self.project_out = nn.Conv2d(self.hidden, channels, 1, bias=bias)
        self.kernel = nn.Sequential(nn.Linear(prior, channels, bias=False))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The layer alone: ``(B, C, H, W)``, prior ``(B, P)`` -> ``(B, C, H, W)``."""
        return self.layer(z, None)(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def layer(self, z: Tensor, norm: ChannelNorm | None) -> Layer:
        """What is done with normalised pixels ``(B, H, W, C)``."""
        back = self.project_out.weight.flatten(1)

        def gated(features: Tensor) -> Tensor:
            gate, value = features.chunk(2, dim=-1)
            return F.linear(F.gelu(gate) * value, back, self.project_out.bias)

        inner = _layer(self.project_in, self.dwconv, *self.after(norm, self.kernel(z)))
        return replace(inner, after=gated)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)).

    Args:
        attention: :class:`CrossAttention` (RG block) or :class:`SelfAttention` (refinement block).
    """

    def __init__(
        self,
        attention: type[CrossAttention] | type[SelfAttention],
        channels: int,
        heads: int,
        expansion: float,
        bias: bool,
        norm: NormType,
        prior: int,
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, norm)
        self.attn = attention(channels, heads, bias, prior)
        self.norm2 = ChannelNorm(channels, norm)
        self.ffn = FeedForward(channels, expansion, bias, prior)

    def forward(self, x: Tensor, z: Tensor, matrices: AttentionMatrices) -> Tensor:
        """``(B, C, H, W)`` in the memory format channels_last, prior ``(B, P)`` -> the same."""
        x = _attend(self.attn, x, z, self.norm1, matrices)
        return _added(x, _normalised(self.norm2, self.ffn.layer(z, self.norm2)))


class Blocks(nn.ModuleList):
    """Blocks one after the other, with the same prior."""

    def forward(self, x: Tensor, z: Tensor, matrices: AttentionMatrices) -> Tensor:
        """As :class:`Block`."""
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self:
            x = cast("Block", block)(x, z, matrices)
        return x


class Downsample(nn.Module):
    """Half the size, twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
            nn.PixelUnshuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, 2 C, H/2, W/2)``."""
        return self.body(x)


class Upsample(nn.Module):
    """Twice the size, half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C/2, 2 H, 2 W)``."""
        return self.body(x)


def _attend(
    attention: CrossAttention | SelfAttention, x: Tensor, z: Tensor, norm: ChannelNorm, matrices: AttentionMatrices
) -> Tensor:
    """x + attention(norm(x))."""
    query_key, value = (_normalised(norm, layer) for layer in attention.layers(z, norm))
    weights = matrices.take(
        attention.heads,
        x.shape[1] // attention.heads,
        lambda: _weights(attention, x, query_key),
    )
    return _added(x, replace(value, after=_projection(attention, weights)))


def _alone(attention: CrossAttention | SelfAttention, x: Tensor, z: Tensor) -> Tensor:
    query_key, value = attention.layers(z, None)
    weights = _weights(attention, x, query_key)
    value = replace(value, after=_projection(attention, weights))
    return value(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _weights(attention: CrossAttention | SelfAttention, x: Tensor, query_key: Layer) -> Tensor:
    """The attention matrices ``(B, heads, C/heads, C/heads)``: a row for each channel of the queries.

    Queries and keys are divided by their norms over all pixels, which can as well be done to their products.
    """
    products, squares = [], []
    for pixels in _bands(x, query_key):
        # (B, N, 2, heads, C/heads)
        both = pixels.flatten(1, 2).unflatten(-1, (2, attention.heads, -1))
        if both.dtype == torch.float16:  # whose largest number a sum over all pixels exceeds
            both = both.float()
        query, key = both.unbind(2)
        with torch.autocast(x.device.type, enabled=False):
            products.append((query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)).float())
        squares.append(both.float().square().sum(dim=1))
    product = torch.stack(products).sum(dim=0)
    # the root comes last: that of a black picture's zero has no finite gradient
    query_norm, key_norm = torch.stack(squares).sum(dim=0).clamp(min=_SMALLEST_NORM**2).sqrt().unbind(1)
    cosine = product / (query_norm[..., :, None] * key_norm[..., None, :])
    return (cosine * attention.temperature).softmax(dim=-1)


def _projection(attention: CrossAttention | SelfAttention, weights: Tensor) -> Pixelwise:
    """Attended values, projected: two matrices that are one."""
    by_head = attention.project_out.weight.flatten(1).unflatten(1, (attention.heads, -1)).transpose(0, 1)
    matrix = (by_head @ weights).transpose(1, 2).flatten(2).transpose(1, 2)  # (B, C, C), a column for each output
    bias = attention.project_out.bias
    return lambda values: _through(values, matrix, None if bias is None else bias.expand(len(matrix), 1, -1))


def _depthwise(channels: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=bias)


def _layer(
    pointwise: nn.Conv2d,
    depthwise: nn.Conv2d,
    factor: Tensor,
    summand: Tensor | None,
    inputs: slice = slice(None),
    outputs: slice = slice(None),
) -> Layer:
    """The modulation, a 1x1 and a depth-wise convolution, of some input channels for some output channels.

    Args:
        factor, summand: ``(B, C)``, applied to normalised pixels of C channels.
        inputs: which of the C channels ``pointwise`` sees.
        outputs: which of the convolutions' channels are wanted.
    """
    weight = pointwise.weight.flatten(1)[outputs]
    matrix = (weight * factor[:, None, inputs]).transpose(1, 2)
    bias = None if pointwise.bias is None else pointwise.bias[outputs].expand(len(matrix), 1, -1)
    if summand is not None:
        constant = (summand[:, inputs] @ weight.T)[:, None]
        bias = constant if bias is None else constant + bias
    kernels = depthwise.weight[outputs]
    kernel_bias = None if depthwise.bias is None else depthwise.bias[outputs]
    return Layer(lambda pixels: _through(pixels[..., inputs], matrix, bias), kernels, kernel_bias)


def _joined(first: Layer, second: Layer) -> Layer:
    """Both on the same pixels, the first one's channels first."""
    biases = [layer.bias for layer in (first, second) if layer.bias is not None]
    return Layer(
        lambda pixels: torch.cat([first.before(pixels), second.before(pixels)], dim=-1),
        torch.cat([first.kernels, second.kernels]),
        torch.cat(biases) if biases else None,
    )


def _normalised(norm: ChannelNorm, layer: Layer) -> Layer:
    return replace(layer, before=lambda pixels: layer.before(norm.normalised(pixels)))


def _through(pixels: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """``(B, H, W, C)`` times ``(B, C, O)``, plus ``(B, 1, O)`` -> ``(B, H, W, O)``."""
    if len(matrix) == 1:  # faster than a batch of one
        return F.linear(pixels, matrix[0].T, None if bias is None else bias[0, 0])
    flat = pixels.flatten(1, 2)
    result = flat @ matrix if bias is None else torch.baddbmm(bias, flat, matrix)
    return result.unflatten(1, pixels.shape[1:3])


def _added(x: Tensor, layer: Layer) -> Tensor:
    """x + layer(x), ``(B, C, H, W)``; see :func:`_bands`."""
    if torch.is_grad_enabled():
        return x + layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    result, top = torch.empty_like(x), 0
    for part in _bands(x, layer):
        rows = slice(top, top + part.shape[1])
        torch.add(x[:, :, rows], part.permute(0, 3, 1, 2), out=result[:, :, rows])
        top += part.shape[1]
    return result


def _bands(x: Tensor, layer: Layer) -> Iterator[Tensor]:
    """``layer`` of ``(B, C, H, W)``: ``(B, rows, W, C')``, some rows at a time where no gradient is wanted."""
    pixels = x.permute(0, 2, 3, 1)
    rows = max(_BAND // (len(layer.kernels) * x.shape[0] * x.shape[3]), _LEAST_ROWS)
    if torch.is_grad_enabled() or rows >= x.shape[2]:
        yield layer(pixels)
    else:
        yield from layer.bands(pixels, rows)
