"""Draws the validation curves of trainings as an SVG picture.

    python scripts/draw_curve.py runs/NAME [runs/NAME ...] -o curve.svg [--measure val/psnr]

Every log that a training left (``logs/part-*/metrics.csv``) is read, so that resumed ones are whole.
"""

from __future__ import annotations

import argparse
import csv
from html import escape
from pathlib import Path

COLOURS = ("#2f6fbb", "#c4622d", "#3d8b4f", "#8a5aa8")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 48, 40, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of trainings")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .svg file to write")
    parser.add_argument("--measure", action="append", help="column of the logs; again for more")
    options = parser.parse_args()
    lines = {
        f"{run.name} {measure.removeprefix('val/')}": read(run, measure)
        for run in options.runs
        for measure in options.measure or ["val/psnr"]
    }
    for name, points in lines.items():
        if len(points) < 2:
            parser.error(f"{name}: fewer than two values in its logs")
    options.output.write_text(drawing(lines), encoding="utf-8")


def read(run: Path, measure: str) -> list[tuple[int, float]]:
    """Step and value, a step that was done twice once."""
    found: dict[int, float] = {}
    for log in sorted(run.glob("logs/part-*/metrics.csv"), key=lambda path: int(path.parent.name.rpartition("-")[2])):
        with log.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row.get(measure):
                    found[int(row["step"]) + 1] = float(row[measure])
    return sorted(found.items())


def drawing(lines: dict[str, list[tuple[int, float]]]) -> str:
    steps = [step for points in lines.values() for step, _ in points]
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if high - low < 1 else (low, high)
    last = max(steps)

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - 16) * step / last
        return across, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low)

    parts = []
    for k in range(5):
        value, step = low + (high - low) * k / 4, last * k / 4
        x, y = place(step, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 16}" stroke="#8884"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{step:,.0f}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 4}" y="{14 + 14 * number}" fill="{colour}">{escape(name)}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>')
    style = 'font-family="sans-serif" font-size="12" fill="#777"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {style}>{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    main()
