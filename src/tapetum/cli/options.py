"""Options that several commands have. Those that models leave to their user are here for all models: what each has, it
declares itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

USUAL_SUFFIX = "-enhanced"  # of results beside their source

Steps = Annotated[int | None, typer.Option(metavar="N", help="Steps of a model that samples.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Another seed, other noise. Default: 0.")]
Eta = Annotated[float | None, typer.Option(metavar="X", help="Noise that each step adds.")]
Sampler = Annotated[str | None, typer.Option(metavar="NAME", help="How a model samples.")]
Spacing = Annotated[str | None, typer.Option(metavar="NAME", help="Which steps a model visits.")]
Temperature = Annotated[float | None, typer.Option(metavar="X", help="How far samples differ; 0: not at all.")]
Iterations = Annotated[int | None, typer.Option(metavar="N", help="Iterations of a model that has them.")]
Task = Annotated[str | None, typer.Option(metavar="NAME", help="What the picture suffers from.")]
Samples = Annotated[int | None, typer.Option(metavar="K", help="Draw K results; the output is their mean.")]


def given(**options: Any) -> dict[str, Any]:
    """Those that the command line names."""
    return {name: value for name, value in options.items() if value is not None}


def text(options: dict[str, Any]) -> str:
    """``steps=5,seed=1``."""
    return ",".join(f"{name}={value}" for name, value in options.items())
