"""Plots as inline SVG in percent of the page's width: they need nothing from outside, and texts stay legible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tapetum.evaluation.benchmark.results import LEVEL, Table
from tapetum.evaluation.report import better, decimals, title_of


def strips(table: Table, measure: str) -> str:
    """A row for each model: a dot for each picture, the mean, and its interval."""
    values = [row.values[measure] for row in table.rows]
    ends = [end for line in table.lines for end in (line.summary.means[measure].low, line.summary.means[measure].high)]
    ticks = nice_ticks(min([*values, *ends]), max([*values, *ends]))
    low, high = ticks[0], ticks[-1]

    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    digits = decimals(measure)
    rows = []
    for line in table.lines:
        mean = line.summary.means[measure]
        own = [row for row in table.rows if row.model == line.summary.model]
        dots = "".join(  # spread up and down, so that they hide each other less
            f'<circle cx="{at(row.values[measure])}" cy="{20 + i * 7 % 11 * 6}%" r="2.5">'
            f"<title>{escape(row.name)}: {row.values[measure]:.{digits}f}</title></circle>"
            for i, row in enumerate(own)
        )
        grid = "".join(f'<line class="grid" x1="{at(tick)}" x2="{at(tick)}" y1="0" y2="100%"/>' for tick in ticks)
        interval = f'<line class="interval" x1="{at(mean.low)}" x2="{at(mean.high)}" y1="50%" y2="50%"/>'
        tip = f"<title>{escape(line.summary.model)}: {escape(mean.text(digits))}</title>"
        centre = f'<circle class="mean" cx="{at(mean.value)}" cy="50%" r="5.5">{tip}</circle>'
        rows.append(
            f'<span class="who">{escape(line.summary.model)}</span><svg class="strip" role="img" '
            f'aria-label="{escape(line.summary.model)} {escape(mean.text(digits))}">{grid}<g class="dots">{dots}</g>'
            f'{interval}{centre}</svg><span class="num">{mean.value:.{digits}f}</span>'
        )
    labels = "".join(f'<span style="left:{at(tick)}">{tick:g}</span>' for tick in ticks)
    axis = f'<span></span><span class="axis" aria-hidden="true">{labels}</span><span></span>'
    way = {"higher": "higher is better", "lower": "lower is better"}.get(better(measure), "neither way is better")
    caption = f"{escape(title_of(measure, table.measures))} <small>{way}</small>"
    return (
        f'<figure class="chart"><figcaption>{caption}</figcaption>'
        f'<div class="strips">{"".join(rows)}{axis}</div></figure>'
    )


def quality_by_time(table: Table, measure: str) -> str:
    """A numbered point for each model: what it achieves, and how long it takes; names stand below, for there is no room
    beside points on a telephone. "" where fewer than two have a time."""
    points = [
        (line.summary.model, line.summary.seconds, line.summary.means[measure].value)
        for line in table.lines
        if line.summary.seconds
    ]
    if len(points) < 2:
        return ""
    logs = [math.log10(seconds) for _, seconds, _ in points]
    first, last = math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
    ticks = nice_ticks(min(value for *_, value in points), max(value for *_, value in points))

    def x(seconds: float) -> float:
        return 9 + 85 * (math.log10(seconds) - first) / (last - first)

    def y(value: float) -> float:
        return 86 - 80 * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = []
    for tick in ticks:
        at = f"{y(tick):.1f}%"
        parts.append(f'<line class="grid" x1="9%" x2="97%" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" x="8%" y="{at}" dy=".35em" text-anchor="end">{tick:g}</text>')
    for power in range(first, last + 1):
        at = f"{x(10**power):.1f}%"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="6%" y2="86%"/>')
        parts.append(f'<text class="tick" x="{at}" y="94%" text-anchor="middle">{10.0**power:g} s</text>')
    keys = []
    places = [(x(seconds), y(value)) for _, seconds, value in points]
    for number, ((model, seconds, value), (left, top), (right, down)) in enumerate(
        zip(points, places, beside(places), strict=True), 1
    ):
        kind = f"s{(number - 1) % COLOURS}"
        tip = f"<title>{escape(model)}: {value:.{decimals(measure)}f}, {seconds:.3f} s</title>"
        parts.append(f'<circle class="dot {kind}" cx="{left:.1f}%" cy="{top:.1f}%" r="5.5">{tip}</circle>')
        parts.append(
            f'<text class="number {kind}" x="{left:.1f}%" y="{top:.1f}%" dx="{right}" dy="{down + 4}" '
            f'text-anchor="middle">{number}</text>'
        )
        keys.append(f'<i class="{kind}"><b>{number}</b>{escape(_short(model))}</i>')
    title = escape(title_of(measure, table.measures))
    caption = f"{title} by time <small>seconds for a picture, logarithmic</small>"
    return (
        f'<figure class="chart"><figcaption>{caption}</figcaption>'
        f'<svg class="scatter" role="img" aria-label="{title} by time">{"".join(parts)}</svg>'
        f'<p class="legend numbered">{"".join(keys)}</p></figure>'
    )


_WIDTHS, _HEIGHT = range(280, 1200, 40), 250  # pixels that a chart may have
_ROOM = (15, 13)  # of a number
_SIDES = tuple((13 * x, 13 * y) for x, y in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)))
_SIDES += ((0, -27), (0, 27), (27, 0), (-27, 0))


def beside(points: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Where the number of each point is written, in pixels from it: where it hides no other point or number in any
    width, or the fewest. ``points``: in percent of the chart."""
    taken = [(*point, 0, 0) for point in points]
    found = []
    for x, y in points:
        others = [other for other in taken if other != (x, y, 0, 0)]

        def hidden(side: tuple[int, int], x: float = x, y: float = y, others: Any = others) -> int:
            near = [o for o in others if abs((y - o[1]) * _HEIGHT / 100 + side[1] - o[3]) < _ROOM[1]]
            return sum(abs((x - o[0]) * width / 100 + side[0] - o[2]) < _ROOM[0] for o in near for width in _WIDTHS)

        side = min(_SIDES, key=hidden)
        taken.append((x, y, *side))
        found.append(side)
    return found


def curves(title: str, way: str, labels: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> str:
    """A line for each model over points that stand side by side; gaps where a value is missing. "" without any value.

    Args:
        way: said beside the title.
        labels: of the points.
    """
    values = [value for its in series.values() for value in its if value is not None]
    if not values:
        return ""
    ticks = nice_ticks(min(values), max(values))

    def x(index: int) -> str:
        return f"{10 + 86 * (index + 0.5) / len(labels):.2f}%"

    def y(value: float) -> str:
        return f"{86 - 80 * (value - ticks[0]) / (ticks[-1] - ticks[0]):.2f}%"

    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="10%" x2="96%" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick" x="9%" y="{y(tick)}" dy=".35em" text-anchor="end">{tick:g}</text>')
    for index, label in enumerate(labels):
        parts.append(f'<text class="tick" x="{x(index)}" y="95%" text-anchor="middle">{escape(label)}</text>')
    keys = []
    for number, (model, its) in enumerate(series.items()):
        kind = f"s{number % COLOURS}{' dashed' if number >= COLOURS else ''}"
        drawn = []
        for index, value in enumerate(its):
            if value is None:
                continue
            if index and (last := its[index - 1]) is not None:
                drawn.append(f'<line x1="{x(index - 1)}" y1="{y(last)}" x2="{x(index)}" y2="{y(value)}"/>')
            tip = f"<title>{escape(model)}, {escape(labels[index])}: {value:.2f}</title>"
            drawn.append(f'<circle cx="{x(index)}" cy="{y(value)}" r="3.5">{tip}</circle>')
        parts.append(f'<g class="series {kind}">{"".join(drawn)}</g>')
        keys.append(f'<i class="{kind}">{escape(_short(model))}</i>')
    caption = f"{escape(title)} <small>{escape(way)}</small>"
    return (
        f'<figure class="chart"><figcaption>{caption}</figcaption><svg class="scatter" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg><p class="legend">{"".join(keys)}</p></figure>'
    )


COLOURS = 8
"""Of lines; further ones are dashed."""


def significance(table: Table, measure: str) -> str:
    """A matrix of differences, row less column, those that are significant marked. "" for one model alone."""
    found = {(c.first, c.second): (c.difference.value, c.holm) for c in table.comparisons[measure]}
    found |= {(second, first): (-value, p) for (first, second), (value, p) in found.items()}
    if not found:
        return ""
    models = [line.summary.model for line in table.lines if any(line.summary.model in pair for pair in found)]
    digits = decimals(measure)
    head = "".join(f'<th scope="col">{escape(model)}</th>' for model in models)
    body = []
    for row in models:
        cells = []
        for column in models:
            if (row, column) not in found:
                cells.append('<td class="none">·</td>')
                continue
            value, p = found[row, column]
            good = {"higher": value > 0, "lower": value < 0}.get(better(measure))
            kind = "level" if p >= LEVEL or good is None else "gain" if good else "loss"
            cells.append(f'<td class="{kind}" title="p = {p:.3g}">{value:+.{digits}f}<small>p {_p(p)}</small></td>')
        body.append(f'<tr><th scope="row">{escape(row)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def curve(shares: Sequence[float], width: int = 256, height: int = 60) -> str:
    """The path of a histogram, its highest bin as high as the plot."""
    top = max(shares) or 1.0
    step = width / (len(shares) - 1)
    points = (f"{i * step:.0f},{height - height * share / top:.1f}" for i, share in enumerate(shares))
    return "M" + "L".join(points)


def nice_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers, the first at most ``low`` and the last at least ``high``."""
    least = 1e-6 * max(1.0, abs(low), abs(high))
    if high - low < least:  # all values alike: some room around them
        low, high = low - least, high + least
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 10) for i in range(first, max(last, first + 1) + 1)]


def _p(p: float) -> str:
    return "&lt; .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
