"""The report as one HTML file that needs nothing from outside, and asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources

from tapetum.evaluation.benchmark.charts import quality_by_time, significance, strips
from tapetum.evaluation.benchmark.downstream import Downstream
from tapetum.evaluation.benchmark.examples import ERROR_SCALE, examples_of
from tapetum.evaluation.benchmark.measuring import Task
from tapetum.evaluation.benchmark.parts import sheet, text_table
from tapetum.evaluation.benchmark.results import LEVEL, Line, Results, Table
from tapetum.evaluation.benchmark.statistics import too_few
from tapetum.evaluation.benchmark.stored import About
from tapetum.evaluation.benchmark.tables import SEEN_NOTE, cost_cells, extent, facts_lines, missing
from tapetum.evaluation.report import better, decimals, title_of
from tapetum.evaluation.robustness.section import section as robustness_section

# nothing may be loaded but what is in the file; the browser itself sees to that
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(results: Results, tasks: Sequence[Task]) -> str:
    """The whole file."""
    facts = results.facts
    title = escape(facts["title"])
    sections, examples = [], []
    for number, table in enumerate(results.tables):
        sections.append(_section(number, table, results))
        examples.append(examples_of(table, tasks, len(results.tables)))
    more, links = "", ""
    if results.robustness is not None:
        more, links = robustness_section(results.robustness), '<a href="#robustness">How results hold</a>'
    for study in results.downstream:
        more += _downstream(study)
        links += f'<a href="#{study.name}">{escape(study.title)}</a>'
    data = json.dumps(examples).replace("<", "\\u003c")
    lead = f"{len(results.abouts)} models, {', '.join(escape(d['name']) for d in facts['data'])}"
    chips = [
        facts["date"],
        f"commit {facts['commit']}" if facts["commit"] else "",
        f"tapetum {facts['versions']['tapetum']}",
    ]
    only = f"the first {facts['limit']} pictures of each split only" if facts["limit"] else ""
    nav = "".join(
        f'<a href="#t{number}">{escape(_heading(table, results))}</a>' for number, table in enumerate(results.tables)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
<div class="bar"><h1>{title}</h1><button id="theme" type="button" aria-label="Light or dark">◐</button></div>
<p class="lead">{lead}</p>
<p class="chips">{"".join(f"<span>{escape(chip)}</span>" for chip in [*chips, only] if chip)}</p>
<nav>{nav}{links}<a href="#facts">How it was measured</a></nav>
</header>
<main>
{"".join(sections)}
{more}
{_failures(results)}
<section id="facts"><h2>How it was measured</h2><dl>{_facts(results)}</dl></section>
</main>
<noscript><p>The pictures need JavaScript, which is in this file; the figures do not.</p></noscript>
<script type="application/json" id="examples">{data}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (resources.files("tapetum.evaluation.benchmark") / name).read_text(encoding="utf-8")


def _heading(table: Table, results: Results) -> str:
    several = len(results.facts["protocols"]) > 1
    return f"{table.split}, {table.protocol}" if several else table.split


def _section(number: int, table: Table, results: Results) -> str:
    first = table.measures[0]
    charts = "".join(strips(table, measure) for measure in table.measures[:4])
    more = "".join(strips(table, measure) for measure in table.measures[4:])
    matrices = "".join(
        f"<h4>{escape(title_of(measure, table.measures))}</h4>{matrix}"
        for measure in table.measures
        if (matrix := significance(table, measure))
    )
    note = f"Mean difference, row less column; coloured where p &lt; {LEVEL}. {_TEST}"
    hidden = ""
    if more:
        hidden += f'<details><summary>More measures</summary><div class="charts">{more}</div></details>'
    if matrices:
        hidden += f'<details><summary>Which differences are significant</summary><p class="note">{note}</p>{matrices}'
        hidden += "</details>"
    return f"""<section id="t{number}">
<h2>{escape(_heading(table, results))}</h2>
<p class="sub">{extent(table)} · protocol {escape(table.protocol)}</p>
<p class="verdict">{_verdict(table)}</p>
{_table(table, results)}
<p class="note">Mean over pictures, below it the 95 % interval over scenes. <b class="best">Bold</b>: the best.
† not significantly different from the best. GT-mean figures look at the target's brightness.</p>
<h3>Pictures</h3>
<div class="examples" data-table="{number}"></div>
<h3>Every picture</h3>
<div class="charts">{charts}{quality_by_time(table, first)}</div>
{hidden}
</section>
"""


_TEST = (
    "Wilcoxon's signed-rank test over scenes, exact, two-sided; p after Holm's correction for all pairs of models in "
    "the matrix."
)


def _verdict(table: Table) -> str:
    """The table in one or two sentences."""
    first = table.measures[0]
    name = escape(title_of(first, table.measures))
    best = next((line.summary for line in table.lines if line.marks[first] == "best"), None)
    if best is None:
        return ""
    level = [escape(line.summary.model) for line in table.lines if line.marks[first] == "level"]
    text = f"<b>{escape(best.model)}</b> has the best {name}: {best.means[first].text(decimals(first))}."
    if level and too_few(table.scenes, len(table.comparisons[first]), LEVEL):
        scenes = "1 scene is" if table.scenes == 1 else f"{table.scenes} scenes are"
        text += f" {scenes} too few for any difference among {len(level) + 1} models to be significant."
    elif level:
        text += f" Not significantly different from it: {', '.join(level)}."
    corrected = next((m for m in table.measures if m.startswith(f"{first}/")), None)
    other = next((x.summary.model for x in table.lines if corrected and x.marks[corrected] == "best"), None)
    if corrected and other and other != best.model:
        text += f" With the target's brightness (GT-mean) it is <b>{escape(other)}</b>."
    return text


def _table(table: Table, results: Results) -> str:
    first = table.measures[0]
    name = title_of(first, table.measures)
    titles = [title_of(measure, table.measures) for measure in table.measures]
    ends = [f"worst {name}", f"best {name}"]
    heads = ["model", *titles, *ends, "s/picture", "peak MB", "parameters", "GMACs"]
    ways = ["", *(better(measure) for measure in table.measures)]
    taught = f'<p class="sub">{escape(SEEN_NOTE)}</p>' if any(line.seen for line in table.lines) else ""
    cells = "".join(
        f'<th scope="col"><button type="button">{escape(head)}{_ARROWS.get(ways[i] if i < len(ways) else "", "")}'
        "</button></th>"
        for i, head in enumerate(heads)
    )
    body = "".join(_row(line, table, results) for line in table.lines)
    head = f"<thead><tr>{cells}</tr></thead>"
    return f'<div class="scroll"><table class="sortable">{head}<tbody>{body}</tbody></table></div>{taught}'


_ARROWS = {"higher": "&nbsp;↑", "lower": "&nbsp;↓"}


def _row(line: Line, table: Table, results: Results) -> str:
    summary, first = line.summary, table.measures[0]
    about = results.abouts.get(summary.model, About())
    cells = []
    for measure in table.measures:
        mean, digits, mark = summary.means[measure], decimals(measure), line.marks[measure]
        dagger = " †" if mark == "level" else ""
        cells.append(
            f'<td data-value="{mean.value!r}" class="{mark}"><b>{mean.value:.{digits}f}</b>{dagger}'
            f"<small>{mean.low:.{digits}f} – {mean.high:.{digits}f}</small></td>"
        )
    for picture, value in (summary.worst[first], line.best_picture[first]):
        cells.append(f'<td data-value="{value!r}">{value:.{decimals(first)}f}<small>{escape(picture)}</small></td>')
    for value, text in zip(
        (summary.seconds, about.peak, about.parameters, about.macs), cost_cells(line, about), strict=True
    ):
        shown, _, size = text.partition(" (")
        cells.append(
            f'<td data-value="{"" if value is None else value}">{escape(shown)}'
            f"{f'<small>{escape(size[:-1])}</small>' if size else ''}</td>"
        )
    who = escape(summary.model)
    gaps = missing(line, table).strip()
    name = who + (f"<small>{gaps}</small>" if gaps else "")
    return f'<tr><th scope="row" data-value="{who}">{name}</th>{"".join(cells)}</tr>'


def _downstream(study: Downstream) -> str:
    return f"""<section id="{study.name}">
<h2>{escape(study.title)}</h2>
<p class="sub">{escape(study.note)}</p>
{text_table(study.header, study.rows)}
<h3>Pictures</h3>
{sheet(study.pictures)}
</section>
"""


def _failures(results: Results) -> str:
    if not results.failed:
        return ""
    lines = "".join(
        f"<li><b>{escape(f.model)}</b>, {escape(f.split)} {escape(f.name)} ({escape(f.protocol)}): "
        f"{escape(f.reason)}</li>"
        for f in results.failed
    )
    return f'<section class="failures"><h2>Not measured</h2><ul>{lines}</ul></section>'


def _facts(results: Results) -> str:
    lines = [
        *facts_lines(results.facts),
        ("intervals", "10,000 draws of whole scenes with replacement, 2.5th to 97.5th percentile"),
        ("significance", _TEST),
        ("error maps", f"mean absolute difference from the target over the channels, 0 to {ERROR_SCALE}"),
        ("multiply-adds", "of convolutions and matrix products in one pass, at the size given"),
    ]
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines)
