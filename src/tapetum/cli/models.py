"""``tapetum models``: what can be used by name."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapetum.cli.console import DONE, print_json, print_table
from tapetum.errors import MissingExtraError

if TYPE_CHECKING:
    from torch import nn


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Say what this one leaves to its user.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the models: bundled weights, methods to train or to load weights into, and some that need neither."""
    rows = list_rows(name)
    if as_json:
        print_json({"models": rows})
    elif name is None:
        show(rows)
    else:
        show_options(*rows)
    raise typer.Exit(DONE)


def list_rows(only: str | None = None) -> list[dict[str, Any]]:
    """One entry per name, or the one of a name. A method's parameters are those of its default configuration, its
    options those of the bundled weights that its name stands for, or else of that configuration; both are known only
    where torch is installed, as are the options of bundled weights. In ONNX these have none.

    Raises:
        UsageError: no such name.
    """
    from tapetum.methods.registry import CLASSICAL_METHODS, HOMES, check_known
    from tapetum.weights.registry import NAMED_WEIGHTS, bundled_name

    if only is not None:
        check_known(only)

    @cache
    def offered(name: str) -> list[dict[str, Any]] | None:
        return [] if NAMED_WEIGHTS[name].onnx else options_of(make(name))

    bundled = [
        {
            "name": entry.name,
            "method": entry.method,
            "parameters": entry.parameters,
            "licence": entry.licence,
            "weights": str(entry.onnx or entry.path),
            "options": offered(entry.name),
        }
        for entry in NAMED_WEIGHTS.values()
        if only in (None, entry.name)
    ]
    methods = []
    for name in HOMES:
        if only in (None, name):
            network = make(name)
            stands_for = bundled_name(name)
            options = offered(stands_for) if stands_for in NAMED_WEIGHTS else options_of(network)
            methods.append(
                {
                    "name": name,
                    "method": name,
                    "parameters": network and sum(parameter.numel() for parameter in network.parameters()),
                    "licence": None,
                    "weights": None,
                    "options": options,
                }
            )
    classical = [
        {"name": name, "method": "classical", "parameters": 0, "licence": None, "weights": None, "options": []}
        for name in CLASSICAL_METHODS
        if only in (None, name)
    ]
    return bundled + methods + classical


def make(name: str) -> nn.Module | None:
    """A bundled network, or a method's default one without values in its tensors; None where torch is not installed."""
    from tapetum.methods.registry import HOMES, create_model

    try:
        import torch

        with torch.device("meta" if name in HOMES else "cpu"):
            return create_model(name)
    except (ModuleNotFoundError, MissingExtraError):
        return None


def options_of(network: Any) -> list[dict[str, Any]] | None:
    """None: there is no network to ask."""
    return network and [{**asdict(option), "allowed": option.allowed} for option in network.properties.options]


def show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("name", "method", "parameters", "licence", "options", "weights", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for row in rows:
        parameters = f"{row['parameters']:,}" if row["parameters"] is not None else "(needs tapetum[torch])"
        missing = "none needed" if row["method"] == "classical" else bundled_with(row["name"])
        weights = "bundled" if row["weights"] else missing
        options = ", ".join(option["name"] for option in row["options"] or ()) or "-"
        table.add_row(row["name"], row["method"], parameters, row["licence"] or "-", options, weights)
    print_table(table)


def bundled_with(method: str) -> str:
    """The name of a method's bundled weights, or where else they come from."""
    from tapetum.methods.registry import STAGES
    from tapetum.weights.registry import bundled_name

    if method in STAGES:
        return f"a stage of {STAGES[method]}'s training"
    name = bundled_name(method)
    return "none bundled: train it, or give --weights" if name == method else name


def show_options(row: dict[str, Any]) -> None:
    from rich.table import Table

    if not row["options"]:
        known = row["options"] is not None
        typer.echo(f"{row['name']}: {'no options' if known else 'its options are known where torch is installed'}")
        return
    table = Table("option", "default", "allowed", "", box=None, pad_edge=False)
    for option in row["options"]:
        table.add_row(f"--{option['name']}", str(option["default"]), option["allowed"], option["help"])
    print_table(table)
