"""``tapetum models``: what can be used by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from tapetum.cli.console import DONE, print_json, print_table


def models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the models: bundled weights, and the methods to train or to load weights into."""
    rows = list_rows()
    if as_json:
        print_json({"models": rows})
    else:
        show(rows)
    raise typer.Exit(DONE)


def list_rows() -> list[dict[str, Any]]:
    """One entry per name; the parameters of a method are those of its default configuration, and known only where torch
    is installed."""
    from tapetum.methods.registry import HOMES
    from tapetum.weights.registry import NAMED_WEIGHTS

    bundled = [
        {
            "name": entry.name,
            "method": entry.method,
            "parameters": count_stored(entry.path),
            "licence": entry.licence,
            "weights": str(entry.onnx),
        }
        for entry in NAMED_WEIGHTS.values()
    ]
    methods = [
        {"name": name, "method": name, "parameters": count_parameters(name), "licence": None, "weights": None}
        for name in HOMES
    ]
    return bundled + methods


def count_stored(path: Path) -> int:
    """Numbers in a safetensors file, by its header alone: the length of a JSON object, then the object."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def count_parameters(name: str) -> int | None:
    from tapetum.errors import MissingExtraError
    from tapetum.methods.registry import create_model

    try:
        return sum(parameter.numel() for parameter in create_model(name).parameters())
    except MissingExtraError:
        return None


def show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("name", "method", "parameters", "licence", "weights", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    table.columns[4].overflow = "fold"
    for row in rows:
        parameters = f"{row['parameters']:,}" if row["parameters"] is not None else "(needs tapetum[torch])"
        weights = row["weights"] or "none bundled: train it, or give --weights"
        table.add_row(row["name"], row["method"], parameters, row["licence"] or "-", weights)
    print_table(table)
