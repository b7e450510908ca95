"""What is tried on good photographs: the points of every curve, as named objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tapetum.evaluation.protocols import PROTOCOLS


@dataclass(frozen=True)
class Spoiling:
    """How a good photograph is spoiled before it is enhanced, in this order.

    Attributes:
        stops: exposure taken away, in powers of two.
        iso: the ISO speed at which ``CAMERA`` adds its noise to the dark picture; None: no noise.
        quality: of a JPEG that it is stored in at last; None: stored without loss.
    """

    stops: float = 0.0
    iso: float | None = None
    quality: int | None = None


@dataclass(frozen=True)
class Point:
    """One place on a curve: the photograph spoiled so, enhanced by that protocol.

    Attributes:
        label: at the axis.
    """

    label: str
    spoiling: Spoiling
    protocol: str = "strict"


@dataclass(frozen=True)
class Probe:
    """A property, and the points at which it is looked at.

    Attributes:
        axis: what its points differ in.
        against: the protocol of the result, for the same dark picture, that results are compared with; None: they are
            compared with the good photograph.
    """

    name: str
    title: str
    axis: str
    points: tuple[Point, ...]
    against: str | None = None


CAMERA = "SonyA7S2"
"""Its card (:mod:`tapetum.data.raw_noise.cameras`) says how much noise an ISO speed has."""

DARK = Spoiling(stops=3.0, iso=1600.0)
"""What all but exposure is looked at with."""

PROBES = (
    Probe(
        "exposure",
        "Exposure",
        "EV, at ISO 1600",
        tuple(Point(f"-{stops}", replace(DARK, stops=float(stops))) for stops in range(1, 7)),
    ),
    Probe(
        "iso",
        "ISO speed",
        "ISO, at -3 EV",
        tuple(Point(str(iso), replace(DARK, iso=float(iso))) for iso in (400, 1600, 6400, 25600, 102400)),
    ),
    Probe(
        "jpeg",
        "JPEG quality",
        "quality, at -3 EV and ISO 1600",
        tuple(Point(str(quality), replace(DARK, quality=quality)) for quality in (95, 85, 70, 50, 30)),
    ),
    Probe(
        "tiles",
        "Tiles",
        "pixels to a side, at -3 EV and ISO 1600",
        tuple(Point(str(p.tile), DARK, p.name) for p in PROTOCOLS.values() if p.tile and p.name != "untiled"),
        "untiled",
    ),
    Probe("twice", "Enhanced twice", "at -3 EV and ISO 1600", (Point("twice", DARK, "twice"),), "strict"),
    Probe("keep", "Good photographs", "as they are", (Point("kept", Spoiling()),)),
)
