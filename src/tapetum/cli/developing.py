"""How camera RAW files are developed, as the commands take it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Ev = Annotated[
    str | None,
    typer.Option("--ev", metavar="STOPS", help="RAW: brighten the light by so many stops, or 'auto'. Default: 0."),
]
Ratio = Annotated[
    float | None, typer.Option("--ratio", metavar="X", help="RAW: the same as an amplification: 4 is two stops.")
]
WhiteBalance = Annotated[
    str, typer.Option("--white-balance", metavar="WHICH", help="RAW: camera, daylight, or multipliers R,G,B.")
]
Developer = Annotated[
    str,
    typer.Option(metavar="NAME", help="RAW: own, libraw, or auto: own for Bayer mosaics, LibRaw for others."),
]
GeometryFile = Annotated[
    Path | None,
    typer.Option("--geometry", metavar="FILE", help="RAW: JSON or YAML that says what headerless files hold."),
]
Camera = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="RAW methods: the camera whose gain counts photons, or a card. Default: the file's own."
    ),
]
Gain = Annotated[
    float | None, typer.Option(metavar="K", help="RAW methods: the gain itself, in digital numbers per photo-electron.")
]
