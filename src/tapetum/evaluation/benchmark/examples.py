"""Pictures for the report: of each table the hardest, the median and the easiest one, as every model makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.errors import InputError
from tapetum.evaluation.benchmark.charts import curve
from tapetum.evaluation.benchmark.measuring import Image, Task, pictures
from tapetum.evaluation.benchmark.parts import data_uri
from tapetum.evaluation.benchmark.plan import measured
from tapetum.evaluation.benchmark.results import Table
from tapetum.evaluation.benchmark.stored import open_store
from tapetum.evaluation.report import better, decimals, title_of

ERROR_SCALE = 0.3
"""Mean absolute error of a pixel that is drawn as the brightest."""
_COLOURS = np.array([(8, 8, 24), (70, 20, 110), (160, 44, 96), (226, 92, 42), (250, 175, 40), (252, 255, 180)], float)
_HEADINGS = {
    "worst": "hardest for all models together",
    "median": "in the middle for all models together",
    "best": "easiest for all models together",
}
_BINS = 64
_MANY = 120  # pictures in one report; beyond, they are smaller
_WIDTHS = (640, 360)


def examples_of(table: Table, tasks: Sequence[Task], tables: int) -> list[dict[str, Any]]:
    """What the page's script shows; pictures are data URIs.

    Args:
        tasks: all of the benchmark.
        tables: how many there are in the report.
    """
    by_name = {t.pair.name: t for t in tasks if t.split.name == table.split and t.protocol == table.protocol}
    width = _WIDTHS[3 * (len(table.lines) + 2) * tables > _MANY]
    found = []
    for what, name in chosen(table).items():
        try:
            example = _example(what, name, table, by_name[name], width)
        except InputError:  # gone since it was measured: nothing to show
            continue
        if example["models"]:
            found.append(example)
    return found


def chosen(table: Table) -> dict[str, str]:
    """ "worst", "median", "best": names of the pictures by the mean of all models' first measure."""
    measure = table.measures[0]
    values: dict[str, list[float]] = {}
    for row in table.rows:
        values.setdefault(row.name, []).append(row.values[measure])
    order = sorted(values, key=lambda name: (float(np.mean(values[name])), name))
    if better(measure) == "lower":
        order.reverse()
    median = order[len(order) // 2]
    # of few pictures one may be several of these: it is shown once
    places = {median: "median", order[-1]: "best", order[0]: "worst"}
    return {what: name for what in ("worst", "median", "best") for name, its in places.items() if its == what}


def _example(what: str, name: str, table: Table, task: Task, width: int) -> dict[str, Any]:
    low, target = pictures(task.split, task.pair, measured(task.protocol, (), False))
    models = []
    for line in table.lines:
        place = task.predictions[line.summary.model]
        stored = None if isinstance(place, str) else open_store(Path(place[0])).get(place[1])
        row = next((row for row in table.rows if row.model == line.summary.model and row.name == name), None)
        if stored is None or row is None:
            continue
        figures = [
            (title_of(measure, table.measures), f"{row.values[measure]:.{decimals(measure)}f}")
            for measure in table.measures
        ]
        models.append(
            {
                "title": line.summary.model,
                "after": data_uri(stored.enhanced, width),
                "error": data_uri(error_map(stored.enhanced, target), min(width, 400)),
                "curve": curve(histogram(stored.enhanced)),
                "figures": figures,
            }
        )
    return {
        "heading": f"{_HEADINGS[what]}, by their mean {title_of(table.measures[0], table.measures)}",
        "name": name,
        "width": low.shape[1],
        "height": low.shape[0],
        "low": data_uri(low, width),
        "target": data_uri(target, width),
        "curves": [curve(histogram(low)), curve(histogram(target))],
        "scale": ERROR_SCALE,
        "models": models,
    }


def error_map(enhanced: Image, target: Image) -> NDArray[np.uint8]:
    """``(H, W, 3)``: mean absolute difference over the channels, from black (0) to light yellow (``ERROR_SCALE``)."""
    error = np.abs(enhanced - target).mean(axis=2) / ERROR_SCALE
    position = np.clip(error, 0, 1) * (len(_COLOURS) - 1)
    channels = [np.interp(position, np.arange(len(_COLOURS)), _COLOURS[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=2)).astype(np.uint8)


def histogram(image: Image) -> list[float]:
    """Shares of grey values (0.299 R + 0.587 G + 0.114 B) in 64 bins from 0 to 1."""
    grey = np.clip(image @ np.array([0.299, 0.587, 0.114], np.float32), 0, 1)
    counts, _ = np.histogram(grey, _BINS, (0.0, 1.0))
    return (counts / grey.size).tolist()
