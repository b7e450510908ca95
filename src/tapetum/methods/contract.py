"""What a method declares about itself, so that whoever runs it need not guess. No torch: the core install reads it.

A network is an ``nn.Module`` built as ``Network(config)`` with

* ``config``: its frozen dataclass, and ``properties``: a :class:`Properties`;
* ``forward(low, context=None) -> enhanced``: ``(N, C, H, W)`` to the same size, sRGB in [0, 1] (RAW methods: packed
  linear ``(N, 4, H, W)``). No hidden padding, no I/O, no device moves. ``context=None`` means: take what the method
  must know of the whole picture from ``low`` itself, as published. A network whose ``context`` is "none" or
  "picture" has no second argument;
* only where ``properties.context == "statistics"``: ``measure(low) -> (N, K)``, the global statistics of a picture.

A method that leaves choices to its user declares them (``properties.options``). ``forward`` and ``measure`` then take
each as a keyword of its name, the declared value being its default; only "seed" and "samples" are the enhancer's own
business. Where ``properties.noise_scale`` is not None the network has ``noise_channels(**options) -> int``, and both
take the keyword ``noise``: standard normal, ``(N, noise_channels, H / noise_scale, W / noise_scale)``, or
``(N, noise_channels)`` where ``noise_scale`` is 0. ``noise=None`` means: noise of its own that is the same each time,
or none, so that ``forward(low)`` is repeatable. Where ``properties.iterative``, both take ``on_step`` and call
``on_step(step, steps)`` after each step, counted from 1. What that raises (Ctrl-C) ends the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tapetum.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

OnStep = Callable[[int, int], None]
"""``(step, steps)``: called after each step of a loop, with its number, counted from 1, and how many there are."""


class Place(NamedTuple):
    """Where a part of a picture lies: its first row and column, and the whole picture's height and width."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Option:
    """A choice that a method leaves to its user at inference.

    Attributes:
        name: as Python and the command line call it.
        default: the value where none is given. Its type is the option's: int, float or str.
        help: what it does, in a few words.
        minimum, maximum: the range of a number, both ends included; None: no bound.
        choices: what a text may be.
    """

    name: str
    default: int | float | str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What may be given, for people: "a whole number from 1 to 1000", "ddim or dpm"."""
        if isinstance(self.default, str):
            return " or ".join(filter(None, (", ".join(self.choices[:-1]), self.choices[-1])))
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        if self.maximum is None:
            return kind if self.minimum is None else f"{kind} from {self.minimum} up"
        return f"{kind} {'up' if self.minimum is None else f'from {self.minimum}'} to {self.maximum}"

    def check(self, value: Any) -> Any:
        """``value``, of the option's type. Raises UsageError where it is none that is allowed."""
        if not (value in self.choices if isinstance(self.default, str) else self._in_range(value)):
            raise UsageError(f"{self.name} must be {self.allowed}, got {value!r}")
        return type(self.default)(value)

    def _in_range(self, value: Any) -> bool:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not (whole or (isinstance(value, float) and isinstance(self.default, float) and math.isfinite(value))):
            return False
        number: Any = value
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)


SEED = Option("seed", 0, "which random numbers are drawn", 0, 2**64 - 1)
SAMPLES = Option("samples", 1, "how many results are drawn of each picture", 1, 1000)
OF_THE_ENHANCER = (SEED.name, SAMPLES.name)
"""Names of the options that networks are not told: their noise is drawn for them."""


def choose(options: Sequence[Option], given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The value of every option: what is given (None: nothing is), else the default.

    Raises:
        UsageError: an option that ``model`` has not, or a value that is not allowed.
    """
    known = {option.name: option for option in options}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in known:
            raise UsageError(
                f"{model} has no option {name}: " + (f"it has {', '.join(known)}" if known else "it has none")
            )
    return {name: option.check(given[name]) if name in given else option.default for name, option in known.items()}


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
            that its longer side is at most ``thumbnail_size``. "picture": all of it. ``forward`` has no
            second argument then, and a tile is only near: the method's card says how near. With a ``thumbnail_size``
            tiles are brought to the brightness of the whole picture, enhanced in small (its longer side at most
            that), by :class:`tapetum.imaging.surroundings.Surroundings`.
            "pixels": an array that the engine's ``analyse`` takes from all pixels as they are (methods without a
            network); a tile is told its place, and is what it is in the whole.
        exact_tiles: False where a tile is only near, although it is given its context: the card says how near.
        thumbnail_size: T above.
        options: what its user may choose.
        noise_scale: of the random numbers that the network works from. Above 0: they are a field with one position per
            ``noise_scale`` x ``noise_scale`` pixels. 0: one vector for the whole picture. None: there are none.
        iterative: whether it works in steps, and tells when each is done.
        no_onnx: why it has no ONNX form, to stand in brackets. None: it has one.
        bytes_per_pixel: working memory of one forward pass (float32) per pixel of the tile, measured; sizes the tiles.
        parts_from, bytes_beyond: where ``forward`` itself works on large pictures part by part: pixels beyond so many
            take only ``bytes_beyond`` each. 0: it does not.
    """

    domain: Literal["srgb", "raw"] = "srgb"
    size_multiple: int = 1
    minimum_size: int = 1
    receptive_field: int = 0
    context: Literal["none", "thumbnail", "statistics", "picture", "pixels"] = "none"
    exact_tiles: bool = True
    thumbnail_size: int = 0
    options: tuple[Option, ...] = ()
    noise_scale: int | None = None
    iterative: bool = False
    no_onnx: str | None = None
    bytes_per_pixel: int = 1000
    parts_from: int = 0
    bytes_beyond: int = 0

    def __post_init__(self) -> None:
        if self.options and self.no_onnx is None:
            raise ValueError("an ONNX file has no inputs for options: no_onnx must say so")
        if self.noise_scale and self.size_multiple % self.noise_scale:
            raise ValueError(f"size_multiple {self.size_multiple} is no multiple of noise_scale {self.noise_scale}")

    def working_memory(self, pixels: int) -> int:
        """Bytes that one forward pass takes on a tile of so many pixels."""
        beyond = max(0, pixels - self.parts_from) if self.parts_from else 0
        return (pixels - beyond) * self.bytes_per_pixel + beyond * self.bytes_beyond

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Properties:
        """Raises ValueError when the text holds other fields than ours."""
        values = {name: value for name, value in json.loads(text).items() if name not in _FORMER}
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown properties: {', '.join(sorted(unknown))}")
        options = (Option(**{**option, "choices": tuple(option["choices"])}) for option in values.pop("options", ()))
        return cls(**values, options=tuple(options))


_FORMER = ("deterministic", "default_steps")  # fields that files of earlier versions hold; options say it better


@dataclass(frozen=True)
class Examination:
    """What an objective has to show of one validation picture, beside what the network makes of it.

    Attributes:
        enhanced: what is compared with the target, ``(1, 3, H, W)``; None: what the network makes of the low.
        measures: for the log, by name.
        pictures: for the sample pictures, in this order: ``(1, 3, h, w)`` in [0, 1], of any size.
    """

    enhanced: Tensor | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    pictures: Sequence[Tensor] = ()


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
            ``objective(network, batch)`` and returns a dict of scalar tensors with at least the key "loss". Where it
            has ``examine(network, low, target)``, validation asks it for an :class:`Examination` of each picture
            ``(1, 3, H, W)``, sides cut to multiples of the network's; target is None where there is none. Where it has
            ``check(network)``, that raises UsageError for options that do not fit the network, before training begins.
            Where it has a bool ``healthy``, the weights of steps at which that is true are kept beside the last ones.
        recognise: from a state dict with clean keys (wrappers removed) its configuration, or None where
            the keys are another method's. May raise WeightsError for a known but unsupported variant.
        remap: where published keys differ from ours: a pure function on the state dict.
        after: where training comes in stages, each a method of its own: the name of the one before this.
        begin: ``begin(network, path)`` puts the weights of the stage before into a fresh network, and freezes what does
            not learn any more. Raises WeightsError where the file holds something else.
        grow: ``grow(network, smaller)`` puts the weights of a network that has fewer blocks into a fresh one, whose
            further blocks then hand on what they are given: the two compute the same. Raises WeightsError where they
            differ otherwise.
        average: whether published programs take the moving average where a file has both.
        complete: where published files keep a part apart: ``complete(network, paths)`` makes a whole network of one
            that was loaded and files of that part. Raises WeightsError, UsageError.
    """

    name: str
    title: str
    network: Callable[..., nn.Module]
    config: type
    configs: dict[str, Any]
    recognise: Callable[[Mapping[str, Tensor]], Any | None]
    objective: Callable[..., Any] | None = None
    remap: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = field(default=dict)
    after: str | None = None
    begin: Callable[..., None] | None = None
    grow: Callable[[Any, Any], None] | None = None
    average: bool = False
    complete: Callable[..., nn.Module] | None = None
