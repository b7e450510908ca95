"""``tapetum info``: what is installed, and what this computer offers."""

from __future__ import annotations

import platform
import sys
from typing import Annotated, Any

import typer

from tapetum.cli.console import DONE, print_json, print_table

PACKAGES = ("numpy", "onnxruntime", "pyvips", "torch", "lightning", "onnx", "safetensors")


def info(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Print versions, devices and memory: what a report of a fault should say."""
    facts = collect()
    if as_json:
        print_json(facts)
    else:
        show(facts)
    raise typer.Exit(DONE)


def collect() -> dict[str, Any]:
    import onnxruntime
    import pyvips

    from tapetum import __version__
    from tapetum.machine import available_cores, free_memory

    return {
        "tapetum": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: version_of(name) for name in PACKAGES},
        "libvips": ".".join(str(pyvips.version(part)) for part in range(3)),
        "onnxruntime_providers": onnxruntime.get_available_providers(),
        "torch_devices": torch_devices(),
        "cores": available_cores(),
        "free_memory_gb": round(free_memory() / 1e9, 1),
        "installed_in": sys.prefix,
    }


def version_of(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_devices() -> list[str]:
    try:
        import torch
    except ModuleNotFoundError:
        return []
    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return ["cpu", *names]


def show(facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        if isinstance(value, dict):
            for package, version in value.items():
                table.add_row(package, version or "not installed")
        else:
            table.add_row(name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
    print_table(table)
