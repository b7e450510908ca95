"""``tapetum data``: data sets, before anything is trained or measured on them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapetum.cli.console import (
    DONE,
    FAILED,
    print_table,
    printable,
    progress_bar,
    say,
    unicode,
)
from tapetum.cli.measuring import check_folders, tell
from tapetum.errors import UsageError

if TYPE_CHECKING:
    from tapetum.data.check.listing import Listing
    from tapetum.data.check.report import Report
    from tapetum.data.check.truth import Score

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check data sets.")

_SHOWN = 20  # problems of a kind


@app.callback()
def data() -> None:
    """Check data sets."""


@app.command("check")
def check(
    root: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder of a data set with pairs.")] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set whose files lie in a way of their own: sid, ...")
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Training split in DIR, or without DIR a folder. Again for more."),
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Test split in DIR, or without DIR a folder.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Split file with every picture's scene: how much is found?")
    ] = None,
    clean: Annotated[
        Path | None, typer.Option("--write-clean", metavar="FILE", help="New split file without shared scenes.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for sheets: test pictures beside their twins.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the report; - prints it instead.")] = None,
) -> None:
    """Look for unreadable, unpaired, unequal, shifted and duplicate pictures, and for scenes in both training and test.

    Exit code 0: nothing is wrong; 1: something is, or nothing could be checked. Examples: 'tapetum data check lol_v1'
    and 'tapetum data check --train photos/train --test photos/test'.
    """
    check_folders(clean, None if json == Path("-") else json)
    if root is None and (layout or not (train or test)):
        raise UsageError("say what to check: a data set's DIR, or --train DIR and --test DIR")
    if layout and (train or test):
        raise UsageError("--layout knows its own splits: it takes no --train and --test")

    from tapetum.data.check.clean import check_new, write_clean
    from tapetum.data.check.report import check as check_data
    from tapetum.data.check.sheet import write_sheets
    from tapetum.data.check.truth import compare_with

    if clean is not None:
        check_new(clean)
    with progress_bar() as bar:

        def track(items: Iterable[Any], total: int, title: str) -> Iterable[Any]:
            return bar.track(items, total=total, description=title)

        report = check_data(listing_of(root, layout, train or [], test or []), track)
        scores = {} if truth is None else compare_with(report, truth)
    tell(content_of(report, scores), lambda: show(report, scores), json)
    if clean is not None:
        lengths = ", ".join(f"{name} {count}" for name, count in write_clean(report, clean).items())
        say(f"written: {printable(clean)} ({lengths})")
    if pictures is not None:
        for file in write_sheets(report, pictures):
            say(f"written: {printable(file)}")
    raise typer.Exit(DONE if report.is_clean else FAILED)


def listing_of(root: Path | None, layout: str | None, train: list[str], test: list[str]) -> Listing:
    from tapetum.data.check.listing import list_data_set, list_folders, list_layout

    if root is None:
        return list_folders([Path(name) for name in train], [Path(name) for name in test])
    return list_data_set(root, train, test) if layout is None else list_layout(root, layout)


def show(report: Report, scores: dict[str, Score]) -> None:
    from rich.table import Table

    from tapetum.data.check.problems import KINDS

    table = Table("split", "role", "pictures", "scenes", "sizes", "median shift", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for split in splits_of(report):
        shift = "-" if split["median_shift"] is None else f"{split['median_shift']:.2f} px"
        sizes = ", ".join(f"{size} ({count})" for size, count in list(split["sizes"].items())[:2])
        more = f" and {len(split['sizes']) - 2} more" if len(split["sizes"]) > 2 else ""
        table.add_row(
            printable(split["name"]), split["role"], str(split["pictures"]), str(split["scenes"]), sizes + more, shift
        )
    print_table(table)
    for kind, count in report.counts().items():
        if not count:
            continue
        typer.echo(f"\n{KINDS[kind]}: {count}")
        shown = [problem for problem in report.problems if problem.kind == kind]
        for problem in shown[:_SHOWN]:
            typer.echo(printable(f"  {problem.where}: {problem.text}"))
        if count > _SHOWN:
            typer.echo(f"  and {count - _SHOWN} more (--json FILE has all)")
    for what, score in scores.items():
        typer.echo(
            f"\n{what}: precision {share(score.precision)}, recall {share(score.recall)} "
            f"({score.right} right, {score.wrong} wrong, {score.missed} missed)"
        )
    found = ", ".join(f"{kind} {count}" for kind, count in report.counts().items() if count)
    typer.echo(f"\nproblems: {found or 'none'}")


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def splits_of(report: Report) -> list[dict[str, Any]]:
    """What is known of each role's pictures."""
    from collections import Counter
    from statistics import median

    facts = []
    for role in dict.fromkeys(report.listing.splits.values()):
        names = [name for name, its in report.listing.splits.items() if its == role]
        chosen = [(p, s) for p, s in zip(report.pictures, report.scenes, strict=True) if p.member.role == role]
        sizes = Counter(f"{p.size[1]}x{p.size[0]}" for p, _ in chosen)
        shifts = [p.registration.shift for p, _ in chosen if p.registration is not None and p.registration.is_related]
        facts.append(
            {
                "name": ", ".join(names),
                "role": role,
                "pictures": sum(member.role == role for member in report.listing.members),
                "readable": len(chosen),
                "scenes": len({scene for _, scene in chosen}),
                "sizes": dict(sizes.most_common()),
                "median_shift": median(shifts) if shifts else None,
            }
        )
    return facts


def content_of(report: Report, scores: dict[str, Score]) -> dict[str, Any]:
    return {
        "clean": report.is_clean,
        "splits": splits_of(report),
        "problems": [
            {"kind": problem.kind, "where": unicode(problem.where), "text": unicode(problem.text)}
            for problem in report.problems
        ],
        "leaks": [
            {
                "test": unicode(leak.test.name),
                "training": [
                    {"name": unicode(member.name), "agreement": score}
                    for member, score in zip(leak.training, leak.scores, strict=True)
                ],
            }
            for leak in report.leaks
        ],
        "pictures": [
            {
                "name": unicode(picture.member.name),
                "role": picture.member.role,
                "scene": scene,
                "shift": None
                if picture.registration is None
                else {
                    "across": picture.registration.across,
                    "down": picture.registration.down,
                    "confidence": picture.registration.confidence,
                },
            }
            for picture, scene in zip(report.pictures, report.scenes, strict=True)
        ],
        "truth": {
            what: {
                "right": score.right,
                "wrong": score.wrong,
                "missed": score.missed,
                "precision": score.precision,
                "recall": score.recall,
            }
            for what, score in scores.items()
        },
    }
