"""``tapetum raw calibrate``: a camera's noise, measured from its owner's own frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapetum.cli import developing
from tapetum.cli.console import DONE, print_table, printable, progress_bar, say
from tapetum.errors import InputError, UsageError, os_reason

if TYPE_CHECKING:
    from tapetum.data.raw_noise.calibration import Frame
    from tapetum.data.raw_noise.cameras import CameraNoise
    from tapetum.imaging.raw.options import Development

_SIDE = 1024  # of the middle of a frame that is measured, packed pixels


def calibrate(
    flats: Annotated[
        list[Path], typer.Argument(metavar="FLATS...", help="RAW files of an evenly lit surface, or folders of them.")
    ],
    bias: Annotated[
        list[Path],
        typer.Option(
            "--bias", metavar="BIAS", help="A RAW file taken with the lens cap on, or a folder of them; again for more."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CARD", help="The camera's card, a .yaml.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the camera. Default: what its files say.")
    ] = None,
    geometry: developing.GeometryFile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing card.")] = False,
) -> None:
    """Measure a camera's noise: gain, read noise and its shape, row noise, and how they depend on the ISO speed.

    At each ISO speed of interest take at least 2 flat frames (a bright, even, unsharp surface at half of white; better
    2 at each of some exposures) and at least 2 bias frames (lens cap on, shortest exposure; better 8). Example:
    'tapetum raw calibrate flats/ --bias bias/ -o mine.yaml'; recipes take the card as cameras: [mine.yaml].
    """
    from tapetum.data.raw_noise.calibration import calibrate as measure
    from tapetum.data.raw_noise.cameras import card_text
    from tapetum.imaging.raw.options import development
    from tapetum.imaging.replacing import write_whole

    reading = development(geometry=geometry)
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"{printable(output)}: a card is a YAML file: choose a name ending in .yaml")
    if output.exists() and not overwrite:
        raise UsageError(f"{printable(output)} exists: --overwrite replaces it")
    if not output.parent.is_dir():
        raise InputError(f"{printable(output.parent)}: no such folder to write the card to")
    paths = [_files(flats), _files(bias)]
    twice = set(paths[0]) & set(paths[1])
    if twice:
        raise UsageError(f"{printable(min(twice))}: given as a flat frame and as a bias frame, which is it?")
    with progress_bar() as bar:
        task = bar.add_task("reading", total=sum(map(len, paths)))
        (light, models), (dark, others) = (_frames(files, reading, lambda: bar.advance(task)) for files in paths)
        models |= others
        if len(models) > 1:
            raise UsageError(f"frames of several cameras: {', '.join(sorted(models))}; calibrate one at a time")
        bar.update(task, description="measuring", completed=0, total=len({frame.iso for frame in light}))
        card = measure(name or min(models, default="camera"), light, dark, models, lambda iso: bar.advance(task))
    try:
        write_whole(card_text(card), output)
    except OSError as error:
        raise InputError(f"{printable(output)}: cannot be written: {os_reason(error)}") from None
    _show(card)
    say(f"written: {printable(output)}")
    raise typer.Exit(DONE)


def _files(given: Sequence[Path]) -> list[Path]:
    """Each file once, folders replaced by the RAW files in them: cameras and programs put others beside them."""
    from tapetum.imaging.formats import is_raw
    from tapetum.imaging.raw.headerless import sidecar_of

    files: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
            inside = [p for p in inside if is_raw(p) or sidecar_of(p)]
            if not inside:
                raise InputError(f"{printable(path)}: holds no RAW file")
            files += inside
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def _frames(paths: Sequence[Path], reading: Development, advance: Callable[[], object]) -> tuple[list[Frame], set[str]]:
    """The middles of the frames, and the names of their cameras."""
    from tapetum.data.raw_noise.calibration import Frame
    from tapetum.imaging.raw import pack_bayer, read_raw

    frames, models = [], set()
    for path in paths:
        raw = read_raw(path, options=reading)
        if raw.shot.iso is None:
            raise InputError(f"{path}: does not tell its ISO speed, which the noise depends on")
        packed = pack_bayer(raw.mosaic, raw.pattern)
        top, left = (max(0, (size - _SIDE) // 2) for size in packed.shape[1:])
        middle = packed[:, top : top + _SIDE, left : left + _SIDE].copy()
        frames.append(Frame(str(path), middle, raw.white, raw.shot.iso, raw.shot.exposure_time))
        if raw.shot.model:
            models.add(raw.shot.model.strip())
        advance()
    return frames, models


def _show(card: CameraNoise) -> None:
    from rich.table import Table

    table = Table("ISO", "K (DN/e-)", "read (DN)", "read (e-)", "Tukey scale", "lambda", "row (DN)", title=card.name)
    for m in card.measured:
        numbers = (m.gain, m.gaussian, m.gaussian / m.gain, m.tukey, m.shape, m.row)
        table.add_row(f"{m.iso:g}", *(f"{number:.4g}" for number in numbers))
    print_table(table)
    if len(card.measured) < 3:
        say("fewer than 3 ISO speeds: the card knows little of how the noise depends on them")
