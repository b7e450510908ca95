"""How RAW files are to be developed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tapetum.errors import UsageError

DEVELOPERS = ("auto", "own", "libraw")
_LARGEST_EV = 20.0

WhiteBalance = Literal["camera", "daylight"] | tuple[float, float, float]


@dataclass(frozen=True)
class Development:
    """How RAW files are developed.

    Attributes:
        ev: stops by which the linear light is multiplied before the tone curve; "auto": found from the picture.
        white_balance: "camera" (as shot), "daylight", or multipliers of R, G, B.
        developer: "own", "libraw", or "auto": our own for Bayer mosaics, LibRaw for all others (X-Trans, Foveon ...).
        geometry: a file that says what headerless files hold (:mod:`tapetum.imaging.raw.headerless`), or None.

    Raises:
        UsageError: impossible values.
    """

    ev: float | Literal["auto"] = 0.0
    white_balance: WhiteBalance = "camera"
    developer: Literal["auto", "own", "libraw"] = "auto"
    geometry: Path | None = None

    def __post_init__(self) -> None:
        if self.ev != "auto" and not -_LARGEST_EV <= self.ev <= _LARGEST_EV:
            raise UsageError(f"ev must be auto, or stops from -{_LARGEST_EV:g} to {_LARGEST_EV:g}, got {self.ev}")
        if self.developer not in DEVELOPERS:
            raise UsageError(f"developer must be one of {', '.join(DEVELOPERS)}, got {self.developer!r}")
        if isinstance(self.white_balance, tuple):
            if len(self.white_balance) != 3 or not all(0 < gain < math.inf for gain in self.white_balance):
                raise UsageError(f"white balance must be three numbers above 0, got {self.white_balance}")
        elif self.white_balance not in ("camera", "daylight"):
            raise UsageError(f"white balance must be camera, daylight or R,G,B, got {self.white_balance!r}")

    @property
    def needs_raw(self) -> bool:
        """Whether it asks for what only camera RAW files can be given. A geometry does not: it is said for the
        headerless ones among other files."""
        return replace(self, geometry=None) != Development()


def development(
    ev: str | None = None,
    ratio: float | None = None,
    white_balance: str = "camera",
    developer: str = "auto",
    geometry: Path | None = None,
    otherwise: float | Literal["auto"] = 0.0,
) -> Development:
    """From the texts of a command line.

    Args:
        ev: a number of stops, or "auto". ratio: the same as an amplification (100: 100 times the light).
        white_balance: "camera", "daylight" or "R,G,B".
        otherwise: the exposure where neither is given.

    Raises:
        UsageError: impossible values, or both ev and ratio.
    """
    if ev is not None and ratio is not None:
        raise UsageError("--ev and --ratio say the same thing in two ways: give one of them")
    stops = otherwise
    if ratio is not None:
        stops = ev_of_ratio(ratio)
    elif ev is not None:
        try:
            stops = "auto" if ev == "auto" else float(ev)
        except ValueError:
            raise UsageError(f"--ev must be a number of stops or auto, got {ev!r}") from None
    balance: WhiteBalance | str = white_balance
    if "," in white_balance:
        try:
            red, green, blue = (float(gain) for gain in white_balance.split(","))
        except ValueError:
            raise UsageError(f"--white-balance must be camera, daylight or R,G,B, got {white_balance!r}") from None
        balance = red, green, blue
    return Development(stops, balance, developer, geometry)  # type: ignore[arg-type]  # it checks them itself


def ev_of_ratio(ratio: float) -> float:
    """Stops of an amplification. Raises UsageError where it is not above 0."""
    if not 0 < ratio < math.inf:
        raise UsageError(f"ratio must be above 0 (1 leaves the exposure, 100 is 100 times the light), got {ratio:g}")
    return math.log2(ratio)
