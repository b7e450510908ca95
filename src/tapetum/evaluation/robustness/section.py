"""How results hold, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from tapetum.data.pictures import load_rgb
from tapetum.errors import InputError
from tapetum.evaluation.benchmark.charts import curves
from tapetum.evaluation.benchmark.measuring import Task
from tapetum.evaluation.benchmark.parts import data_uri, sheet, text_table
from tapetum.evaluation.benchmark.stored import open_store
from tapetum.evaluation.robustness.run import HUE, PSNR, Robustness
from tapetum.evaluation.robustness.tables import PROBE, grids, note

_WIDTH = 220  # of a picture in the sheet


def section(robustness: Robustness) -> str:
    """Curves, what should stay, one photograph over exposures, and the figures."""
    corrected = robustness.corrected
    wanted = [("exposure", PSNR, "PSNR", "higher"), ("exposure", corrected, "PSNR after GT-mean", "higher")]
    wanted += [("exposure", HUE, "Hue shift in degrees", "lower"), ("iso", PSNR, "PSNR", "higher")]
    wanted += [("iso", corrected, "PSNR after GT-mean", "higher"), ("jpeg", corrected, "PSNR after GT-mean", "higher")]
    charts = "".join(
        curves(
            f"{title} by {PROBE[name].axis.partition(',')[0]}",
            f"{PROBE[name].axis.partition(', ')[2]}; {better} is better",
            [point.label for point in PROBE[name].points],
            robustness.values(PROBE[name], measure),
        )
        for name, measure, title, better in wanted
        if measure is not None
    )
    *curved, stay = grids(robustness)
    tables = "".join(
        f"<h4>{escape(g.title)}</h4><p class='note'>{escape(g.what)}</p>{text_table(g.header, g.rows)}" for g in curved
    )
    return f"""<section id="robustness">
<h2>How results hold</h2>
<p class="sub">{escape(note(robustness))}</p>
<h3>{escape(stay.title)}</h3>
<p class="note">{escape(stay.what)}</p>
{text_table(stay.header, stay.rows)}
<h3>Curves</h3>
<div class="charts">{charts}</div>
<h3>One photograph, ever darker</h3>
{_sheet(robustness.sheet, robustness.models)}
<details><summary>The figures</summary>{tables}</details>
</section>
"""


def _sheet(tasks: Sequence[Task], models: Sequence[str]) -> str:
    """Rows of pictures: the dark ones, what each model makes of them; a column for each exposure."""
    labels = [point.label for point in PROBE["exposure"].points]
    rows = [("dark", [_source(task.pair.low) for task in tasks])]
    rows += [(model, [_prediction(task.predictions, model) for task in tasks]) for model in models]
    return sheet(rows, [f"{label} EV" for label in labels])


def _source(path: Path) -> str:
    try:
        return data_uri(load_rgb(path), _WIDTH)
    except InputError:  # gone since it was measured
        return ""


def _prediction(predictions: Mapping[str, tuple[str, str] | str], model: str) -> str:
    place = predictions[model]
    stored = None if isinstance(place, str) else open_store(Path(place[0])).get(place[1])
    return "" if stored is None else data_uri(stored.enhanced, _WIDTH)
