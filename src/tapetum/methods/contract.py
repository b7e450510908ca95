"""What a method declares about itself, so that whoever runs it need not guess. No torch: the core install reads it.

A network is an ``nn.Module`` built as ``Network(config)`` with

* ``config``: its frozen dataclass, and ``properties``: a :class:`Properties`;
* ``forward(low, context=None) -> enhanced``: ``(N, C, H, W)`` to the same size, sRGB in [0, 1] (RAW methods: packed
  linear ``(N, 4, H, W)``). No hidden padding, no I/O, no device moves. ``context=None`` means: take what the method
  must know of the whole picture from ``low`` itself, as published. A network whose ``context`` is "none" or
  "picture" has no second argument;
* only where ``properties.context == "statistics"``: ``measure(low) -> (N, K)``, the global statistics of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


@dataclass(frozen=True)
class Properties:
    """What must be known to run a network on pictures of any size.

    Attributes:
        domain: "srgb" ``(N, 3, H, W)`` in [0, 1], or "raw" ``(N, 4, H, W)`` packed linear.
        size_multiple: height and width must be multiples of this.
        minimum_size: smallest height and width (after padding).
        receptive_field: how far, in pixels, an output pixel sees to each side (the local part only, where there is a
            context, and a choice where that is "picture"); tiles overlap by it.
        context: what the network must know of the whole picture when it is shown one tile. "none": nothing.
            "thumbnail": the whole picture, shrunk by area averaging to ``thumbnail_size`` square, ``(N, C, T, T)``.
            "statistics": a vector ``(N, K)`` that the network's ``measure`` takes from the whole picture, shrunk so
            that its longer side is at most ``thumbnail_size``. "picture": all of it. Nothing stands in for
            the rest then, ``forward`` has no second argument, and a tile is only near: the method's card says how near.
        exact_tiles: False where a tile is only near, although it is given its context: the card says how near.
        thumbnail_size: T above.
        deterministic: False where the result depends on random numbers (then an explicit generator is taken).
        default_steps: sampling steps of an iterative method, else None.
        bytes_per_pixel: working memory of one forward pass (float32) per pixel of the tile, measured; sizes the tiles.
    """

    domain: Literal["srgb", "raw"] = "srgb"
    size_multiple: int = 1
    minimum_size: int = 1
    receptive_field: int = 0
    context: Literal["none", "thumbnail", "statistics", "picture"] = "none"
    exact_tiles: bool = True
    thumbnail_size: int = 0
    deterministic: bool = True
    default_steps: int | None = None
    bytes_per_pixel: int = 1000

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Properties:
        """Raises ValueError when the text holds other fields than ours."""
        values = json.loads(text)
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown properties: {', '.join(sorted(unknown))}")
        return cls(**values)


@dataclass(frozen=True)
class Method:
    """One method of the registry: what its folder offers.

    Attributes:
        name: as the registry and the command line call it.
        title: for people, with the paper's venue.
        network: the ``nn.Module`` class, called as ``network(config)``.
        config: the frozen dataclass of its hyper-parameters.
        configs: every published configuration by name; the first is the default.
        objective: class of how it learns, called as ``objective(**options)``; an instance is called as
            ``objective(network, batch)`` and returns a dict of scalar tensors with at least the key "loss".
        recognise: from a state dict with clean keys (wrappers removed) its configuration, or None where
            the keys are another method's. May raise WeightsError for a known but unsupported variant.
        remap: where published keys differ from ours: a pure function on the state dict.
    """

    name: str
    title: str
    network: Callable[..., nn.Module]
    config: type
    configs: dict[str, Any]
    recognise: Callable[[Mapping[str, Tensor]], Any | None]
    objective: Callable[..., Any] | None = None
    remap: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = field(default=dict)
