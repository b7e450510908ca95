"""``tapetum raw evaluate``: figures of RAW methods, in the packed domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapetum.cli.console import DONE, print_table, printable, progress_bar
from tapetum.cli.measuring import check_folders, tell
from tapetum.errors import InputError, UsageError, require

if TYPE_CHECKING:
    from tapetum.data.raw_noise.cameras import CameraNoise
    from tapetum.evaluation.raw_run import RawCase
    from tapetum.evaluation.report import Row, Summary
    from tapetum.methods.exposurediffusion.network import Backbone


class How(str, Enum):
    """Protocols: see ``tapetum.evaluation.raw``."""

    blind = "blind"
    reference = "reference"


def evaluate(
    weights: Annotated[
        list[Path], typer.Option("--weights", metavar="FILE", help="A file of weights. May be given again.")
    ],
    pictures: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Photographs, or folders of them, that become RAW pictures with noise."),
    ] = None,
    sid: Annotated[Path | None, typer.Option(metavar="DIR", help="SID's Sony folder, with short/ and long/.")] = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="List of SID: indoor (the published figures), test, val, paired, train.")
    ] = "indoor",
    eld: Annotated[Path | None, typer.Option(metavar="DIR", help="ELD's folder, with one folder per camera.")] = None,
    camera: Annotated[
        str, typer.Option(metavar="NAME", help="Camera of the noise or of the pairs, or a calibrated card.")
    ] = "SonyA7S2",
    noise: Annotated[str, typer.Option(metavar="MODEL", help="Of made pictures: P+g, P+G+r+u ...")] = "P+G+r+u",
    iso: Annotated[float, typer.Option(metavar="N", help="Of made pictures.")] = 1600.0,
    ratio: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="May be given again. Default: 100, 250, 300; of ELD 100, 200."),
    ] = None,
    iterations: Annotated[
        list[int] | None, typer.Option(metavar="N", help="May be given again. Default: 2, which is three calls.")
    ] = None,
    protocol: Annotated[
        How, typer.Option(help="reference: brightness is fitted to the truth in every step, as published.")
    ] = How.blind,
    chop: Annotated[bool, typer.Option("--chop", help="Call the network on four quarters, as published.")] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the noise and of the photons drawn.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda ...")] = "cpu",
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of decoded RAW files. Default: the trainings' own."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first pictures.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the figures of every picture.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the table; - prints it instead.")] = None,
) -> None:
    """Measure RAW networks: PSNR and SSIM of packed pictures by ratio and number of calls, beside the noisy ones."""
    if sum(given is not None for given in (pictures, sid, eld)) != 1:
        raise UsageError("say what to measure on: one of --pictures PATH, --sid DIR, --eld DIR")
    counts = iterations or [2]
    if min(counts) < 0:
        raise UsageError(f"--iterations must be 0 or more, got {min(counts)}")
    if ratio and not min(ratio) >= 1:
        raise UsageError(f"--ratio must be 1 or more, got {min(ratio):g}")
    check_folders(csv, json)
    require("torch", "torch", "tapetum raw evaluate")

    from tapetum.data.raw_noise.cameras import get_camera
    from tapetum.evaluation.raw_run import measure

    taken_by = get_camera(camera)
    if pictures is not None:
        cases, total = made(pictures, taken_by, noise, ratio or [100.0, 250.0, 300.0], iso, seed, limit)
    else:
        cases, total = real(sid, eld, split, camera, taken_by, ratio, cache, limit)
    networks = load(weights, device)
    per_case = 1 + len(networks) * len(counts)
    with progress_bar() as bar:
        rows = measure(networks, cases, counts, protocol.value, seed, chop)
        measured = list(bar.track(rows, total=total * per_case, description="measuring"))
    report(measured, protocol.value, csv, json)
    raise typer.Exit(DONE)


def load(files: Sequence[Path], device: str) -> dict[str, Backbone]:
    """Networks by the names of their files, or of their folders where the names are alike."""
    from tapetum.methods.exposurediffusion.network import Backbone
    from tapetum.weights.loading import load_model

    networks: dict[str, Backbone] = {}
    alike = len({file.stem for file in files}) < len(files)
    for file in files:
        network = load_model(file)
        if not isinstance(network, Backbone):
            raise UsageError(f"{file}: holds no network of a RAW method")
        try:
            networks[f"{file.parent.name}/{file.stem}" if alike else file.stem] = network.to(device)
        except (RuntimeError, AssertionError):
            raise UsageError(f"device {device!r} is not here: choose cpu, or cuda where there is one") from None
    return networks


def made(
    paths: Sequence[Path],
    camera: CameraNoise,
    noise: str,
    ratios: Sequence[float],
    iso: float,
    seed: int,
    limit: int | None,
) -> tuple[Iterator[RawCase], int]:
    from tapetum.data.pictures import list_pictures
    from tapetum.data.raw_noise.letters import NoiseModel
    from tapetum.evaluation.raw_run import made_cases

    model = NoiseModel.parse(noise)
    camera.gain_at(iso)  # a speed that cannot be is said before the work
    files = [file for path in paths for file in (list_pictures(path) if path.is_dir() else [path])][:limit]
    return made_cases(files, camera, model, ratios, iso, seed), len(files) * len(ratios)


def real(
    sid: Path | None,
    eld: Path | None,
    split: str,
    name: str,
    camera: CameraNoise,
    ratios: Sequence[float] | None,
    cache: Path | None,
    limit: int | None,
) -> tuple[Iterator[RawCase], int]:
    from tapetum.data.raw_cache import RawCache
    from tapetum.data.raw_sets import eld_pairs, sid_pairs
    from tapetum.evaluation.raw_run import SID_CROP, real_cases
    from tapetum.machine import cache_folder

    if sid is not None:
        pairs, crop = sid_pairs(sid, split), SID_CROP
        if ratios is not None:
            pairs = [pair for pair in pairs if pair.ratio in ratios]
    else:
        assert eld is not None
        pairs, crop = eld_pairs(eld, [name], [round(ratio) for ratio in ratios or (100, 200)]), None
    if not pairs:
        raise InputError(f"{sid or eld}: no pair of the ratio {', '.join(f'{r:g}' for r in ratios or ())}")
    pairs = pairs[:limit]
    return real_cases(pairs, camera, {name: camera}, RawCache(cache or cache_folder() / "raw"), crop), len(pairs)


def report(rows: Sequence[Row], protocol: str, csv: Path | None, json: Path | None) -> None:
    from tapetum.evaluation.report import summarise, write_csv

    summaries = sorted(summarise(rows), key=lambda summary: float(summary.split[1:]))
    content = {"protocol": protocol, "results": [asdict(summary) for summary in summaries]}
    tell(content, lambda: show(summaries, protocol), json, csv, partial(write_csv, rows))


def show(summaries: Sequence[Summary], protocol: str) -> None:
    from rich.table import Table

    table = Table("ratio", "model", "pictures", "PSNR", "SSIM", "s/picture", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for summary in summaries:
        seconds = "-" if summary.seconds is None else f"{summary.seconds:.3f}"
        psnr, ssim = summary.means["psnr"].text(2), summary.means["ssim"].text(4)
        table.add_row(summary.split, printable(summary.model), str(summary.pictures), psnr, ssim, seconds)
    print_table(table)
    fitted = "brightness fitted to the reference" if protocol == "reference" else "nobody looks at the reference"
    typer.echo(f"protocol: {protocol} ({fitted}); packed pictures; mean [95 % bootstrap interval over scenes]")
