"""A whole benchmark: predictions that are missing are made, all are measured, and the report is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from tapetum.checkout import commit
from tapetum.data.pairs import Pair
from tapetum.errors import InputError, UsageError
from tapetum.evaluation.benchmark import facts
from tapetum.evaluation.benchmark.downstream import Study, loads_of, studies
from tapetum.evaluation.benchmark.making import Made, make_predictions
from tapetum.evaluation.benchmark.measuring import Outcome, Task, measure_all, tasks_of
from tapetum.evaluation.benchmark.page import page
from tapetum.evaluation.benchmark.plan import Plan, Split, check_models, chosen_protocols, find_pictures
from tapetum.evaluation.benchmark.results import Results, as_dict, tabulate
from tapetum.evaluation.benchmark.tables import markdown, pictures_csv, table_csv
from tapetum.evaluation.depths import warn_of_depths
from tapetum.evaluation.protocols import Protocol
from tapetum.evaluation.report import csv_text, write_json, write_text
from tapetum.evaluation.robustness import run as robustness
from tapetum.evaluation.robustness.tables import robustness_lines
from tapetum.evaluation.seen import check_seen, seen_counts
from tapetum.imaging.replacing import make_folder

Step = Callable[[str, int, int], None]
"""``(what, done, total)``: how far the work is."""


def run(
    plan: Plan,
    out: Path,
    cache: Path,
    jobs: int = 1,
    step: Step = lambda what, done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Results:
    """Runs a plan and writes ``report.html``, ``table.md``, ``table.csv``, ``pictures.csv`` and ``report.json``; and
    ``robustness.csv`` where the plan asks for that.

    Args:
        out: folder, made where it is missing; files of these names in it are replaced.
        cache: folder of predictions. What is there is not made again, so that a stopped run goes on.
        jobs: processes at a time; results do not depend on it.
        step: told how far it is.
        tell: told lines for people.

    Raises:
        UsageError: a plan that cannot be meant, or an ``out`` that is no folder.
        InputError: no such pictures, or a file cannot be written, or nothing at all could be measured.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, and the report is a folder: choose another name")
    check_models(plan.models)
    protocols = chosen_protocols(plan)
    splits = find_pictures(plan)
    photographs = [] if plan.robustness is None else robustness.find_photographs(plan.robustness, plan.limit)
    programs = studies(plan)
    seen, taught = what_was_seen(plan, splits, photographs)
    for line in seen:
        tell(line)
    for split in splits:
        warn_of_depths(split.name, split.pairs)
    for folder in (out, cache):
        make_folder(folder)
    looks = [(protocol, split) for protocol in protocols for split in splits]
    made = make_predictions(plan, looks, cache, jobs, lambda done, all_: step("predict", done, all_), tell)
    tasks = tasks_of(plan, looks, cache, made)
    outcomes: list[Outcome] = []
    for done, found in enumerate(measure_all(tasks, jobs), 1):
        outcomes += found
        step("measure", done, len(tasks))
    failures = [outcome for outcome in outcomes if outcome.row is None]
    if len(failures) == len(outcomes):
        reason = failures[0].reason if failures else "every model leaves out every split"
        raise InputError(f"nothing could be measured: {reason}")
    scenes = {split.name: {pair.name: pair.scene for pair in split.pairs} for split in splits}
    tables = tabulate(outcomes, [model.title for model in plan.models], scenes, taught)
    held = None
    if photographs:
        try:
            held = robustness.examine(
                plan, photographs, cache, jobs, lambda done, all_: step("examine", done, all_), tell
            )
            made.add(held.predictions)
        except InputError as error:  # what was measured before is not lost for it
            failures.append(Outcome("-", "all models", "photographs", "-", None, str(error)))
    found = []
    loads = loads_of(plan.models, cache) if programs else {}
    for study in programs:
        total, watched = study.pictures * len(loads), count()

        def track(work: Iterable[Any], study: Study = study, total: int = total, watched: Any = watched) -> Any:
            for each in work:
                yield each
                step(study.name, next(watched) + 1, total)

        try:
            found.append(study(loads, track))
        except InputError as error:
            failures.append(Outcome("-", "all models", study.name, "-", None, str(error)))
    its_facts = facts_of(plan, splits, protocols, jobs, made) | {"seen": seen}
    results = Results(its_facts, tables, made.abouts, failures, held, found)
    write(results, tasks, out)
    return results


def what_was_seen(
    plan: Plan, splits: Sequence[Split], photographs: Sequence[Path]
) -> tuple[list[str], set[tuple[str, str]]]:
    """Lines for people (:func:`tapetum.evaluation.seen.check_seen`); title and split where a model saw scenes of it.

    Raises:
        UsageError: it saw some, and the plan does not allow it.
    """
    lines: list[str] = []
    taught: set[tuple[str, str]] = set()
    spoiled = [Pair(path.stem, path, path, path.stem) for path in photographs]
    for model in plan.models:
        by_folder: dict[Path | None, dict[str, Sequence[Pair]]] = {}
        for split in splits:
            if split.name not in model.leave_out:
                by_folder.setdefault(split.folder, {})[split.name] = split.pairs
        if spoiled:
            by_folder.setdefault(None, {})["the good photographs"] = spoiled
        for folder, its in by_folder.items():
            allow = plan.allow_seen or model.allow_seen
            lines += check_seen([(model.title, model.name, model.weights)], its, folder, allow)
            if allow:  # else it would have been refused
                taught |= {(model.title, name) for name in seen_counts(model.name, model.weights, its, folder) or ()}
    return list(dict.fromkeys(lines)), taught


def facts_of(
    plan: Plan, splits: Sequence[Split], protocols: Sequence[Protocol], jobs: int, made: Made
) -> dict[str, Any]:
    engines = {title: f"{about.engine} on {about.machine}" for title, about in made.abouts.items() if about.engine}
    return {
        "title": plan.title,
        "date": facts.now(),
        "commit": commit(),
        "versions": facts.versions(),
        "machine": facts.machine(),
        "jobs": jobs,
        "limit": plan.limit,
        "data": [
            {"name": s.name, "pictures": len(s.pairs), "scenes": len({pair.scene for pair in s.pairs})} for s in splits
        ],
        "protocols": [protocol.name for protocol in protocols],
        "self_ensemble": plan.self_ensemble,
        "gt_mean": plan.gt_mean,
        "left_out": [{"model": m.title, "split": name} for m in plan.models for name in m.leave_out],
        "engines": engines,
        "made": made.made,
        "found": made.found,
    }


def write(results: Results, tasks: Sequence[Task], out: Path) -> None:
    """Raises InputError: a file cannot be written."""
    write_json(as_dict(results), out / "report.json")
    write_text(markdown(results), out / "table.md")
    write_text(table_csv(results), out / "table.csv")
    write_text(pictures_csv(results), out / "pictures.csv")
    if results.robustness is not None:
        write_text(csv_text(robustness_lines(results.robustness)), out / "robustness.csv")
    write_text(page(results, tasks), out / "report.html")
