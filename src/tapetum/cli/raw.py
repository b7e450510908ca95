"""``tapetum raw``: camera RAW files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapetum.cli import developing, raw_calibrate, raw_evaluate
from tapetum.cli.console import DONE, print_json, printable, say
from tapetum.errors import UsageError

if TYPE_CHECKING:
    from tapetum.imaging.raw import RawPicture

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at camera RAW files, or develop them.")

app.command("evaluate")(raw_evaluate.evaluate)
app.command("calibrate")(raw_calibrate.calibrate)

Source = Annotated[Path, typer.Argument(metavar="FILE", help="A camera's RAW file, or a headerless one.")]


@app.command("info")
def info(
    file: Source,
    white_balance: developing.WhiteBalance = "camera",
    geometry: developing.GeometryFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a RAW file holds: its mosaic, levels, colours, and how it was taken."""
    from tapetum.imaging.raw import read_raw
    from tapetum.imaging.raw.options import development

    facts = facts_of(read_raw(file, options=development(white_balance=white_balance, geometry=geometry)))
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            typer.echo(printable(f"{name}: {told(value)}"))
    raise typer.Exit(DONE)


def facts_of(raw: RawPicture) -> dict[str, Any]:
    from tapetum.imaging.raw import automatic_ratio

    return {
        "make": raw.shot.make,
        "model": raw.shot.model,
        "width": raw.width,
        "height": raw.height,
        "pattern": raw.pattern,
        "black": list(raw.black),
        "white": raw.white,
        "white_balance": [round(gain, 6) for gain in raw.white_balance],
        "matrix": None if raw.matrix is None else raw.matrix.round(6).tolist(),
        "orientation": raw.orientation,
        "iso": raw.shot.iso,
        "exposure_time": raw.shot.exposure_time,
        "aperture": raw.shot.aperture,
        "focal_length": raw.shot.focal_length,
        "automatic_ratio": round(automatic_ratio(raw), 3),
    }


def told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(told(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else "unknown" if value in (None, "") else str(value)


@app.command("develop")
def develop(
    file: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A picture (.jpg, .tif, .png ...), or a .dng.")
    ],
    ev: developing.Ev = None,
    ratio: developing.Ratio = None,
    white_balance: developing.WhiteBalance = "camera",
    developer: developing.Developer = "auto",
    geometry: developing.GeometryFile = None,
    mosaic: Annotated[
        bool, typer.Option("--mosaic", help="Into a .dng: the mosaic as it is, not demosaiced colours.")
    ] = False,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, metavar="1..100", help="Of JPEG and WebP. Default: 95.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Develop a RAW file without enhancing it: to a picture, or to a DNG whose exposure and colours stay adjustable.

    A .dng holds the camera's own linear colours; --ev and --ratio are noted in it for programs to follow.
    """
    from tapetum.imaging import write_picture
    from tapetum.imaging.raw import read_developed, read_raw, write_linear, write_mosaic
    from tapetum.imaging.raw.develop import stops_of
    from tapetum.imaging.raw.options import development

    options = development(ev, ratio, white_balance, developer, geometry)
    into_dng = output.suffix.lower() == ".dng"
    if mosaic and not into_dng:
        raise UsageError("--mosaic is for a .dng: no other format holds a mosaic")
    if output.exists() and file.exists() and output.samefile(file):
        raise UsageError(f"{printable(output)}: the result would replace the RAW file itself; choose another name")
    if output.exists() and not overwrite:
        raise UsageError(f"{printable(output)} exists: --overwrite replaces it")
    if into_dng and developer != "libraw":
        raw = read_raw(file, options=options)
        (write_mosaic if mosaic else write_linear)(raw, output, ev=stops_of(raw, options.ev))
    else:
        write_picture(read_developed(file, options=options), output, quality=quality)
    say(f"written: {printable(output)}")
    raise typer.Exit(DONE)
