"""How results hold, as tables for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapetum.evaluation.robustness.probes import CAMERA, PROBES, Probe
from tapetum.evaluation.robustness.run import HUE, LARGEST, PSNR, Robustness

PROBE = {probe.name: probe for probe in PROBES}


@dataclass(frozen=True)
class Grid:
    """A table of texts: a line for each model, behind its name a cell for each point of a probe.

    Attributes:
        title: of the property.
        what: of the figures in the cells.
    """

    title: str
    what: str
    header: list[str]
    rows: list[list[str]]


def grids(robustness: Robustness) -> list[Grid]:
    """Curves first, then what should not change anything."""
    corrected = robustness.corrected
    found = []
    for name in ("exposure", "iso", "jpeg"):
        probe = PROBE[name]
        what = f"PSNR in dB{', after GT-mean' if corrected else ''}"
        parts = [(PSNR, 2)] + ([(corrected, 2)] if corrected else [])
        found.append(Grid(probe.title, f"{what}; {probe.axis}", *_cells(robustness, [(probe, parts)])))
    probe = PROBE["exposure"]
    found.append(Grid("Hue", f"mean shift in degrees; {probe.axis}", *_cells(robustness, [(probe, [(HUE, 1)])])))
    same = [(PROBE[name], [(PSNR, 1), (LARGEST, 0)]) for name in ("tiles", "twice")] + [(PROBE["keep"], [(PSNR, 1)])]
    what = (
        "PSNR in dB and largest difference in levels, of tiles (pixels to a side) against no tiles, and of enhancing "
        "twice against once; PSNR of good photographs against themselves; 100 dB: equal"
    )
    found.append(Grid("What should stay", what, *_cells(robustness, same)))
    return found


def _cells(
    robustness: Robustness, columns: Sequence[tuple[Probe, list[tuple[str, int]]]]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows; several measures share a cell."""
    tile = {"tiles": "tiles of "}
    header = ["model", *(tile.get(p.name, "") + point.label for p, _ in columns for point in p.points)]
    rows = [[model] for model in robustness.models]
    for probe, measures in columns:
        values = [(robustness.values(probe, measure), digits) for measure, digits in measures]
        for row in rows:
            for i in range(len(probe.points)):
                figures = [(of[row[0]][i], digits) for of, digits in values]
                row.append(", ".join("-" if v is None else f"{v:.{digits}f}" for v, digits in figures))
    return header, rows


def note(robustness: Robustness) -> str:
    """What the figures are of."""
    count = len(robustness.photographs)
    return (
        f"Means over {count} good photograph{'' if count == 1 else 's'} ({', '.join(robustness.photographs)}): exposed "
        f"shorter in linear light, with photon and read noise of a {CAMERA} at that ISO speed, then enhanced and "
        "compared with what they were."
    )


def robustness_lines(robustness: Robustness) -> list[list[object]]:
    """A line for each probe, point, model and measure, below a heading."""
    lines: list[list[object]] = [["probe", "point", "model", "measure", "pictures", "mean", "low", "high"]]
    for reading in robustness.readings:
        for measure, mean in reading.means.items():
            figures = [f"{value:.6f}" for value in (mean.value, mean.low, mean.high)]
            lines.append([reading.probe, reading.point, reading.model, measure, reading.pictures, *figures])
    return lines
