"""What the commands that measure models have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.cli import options
from tapetum.cli.console import print_json, printable, say
from tapetum.errors import UsageError

if TYPE_CHECKING:
    from tapetum.evaluation.enhanced import Load


def check_one_model(models: Sequence[str], weights: Path | None, chosen: dict[str, Any] | None = None) -> None:
    fitted = [*(["weights"] if weights is not None else []), *(chosen or {})]
    if fitted and len(models) > 1:
        raise UsageError(f"--{fitted[0]} fits one --model")


def check_folders(*files: Path | None) -> None:
    """Of files to be written: said before the work, not after it."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise UsageError(f"{printable(file)}: there is no folder {printable(file.parent)}")


def tell(
    content: Any,
    show: Callable[[], None],
    json: Path | None,
    csv: Path | None = None,
    write_csv: Callable[[Path], None] = lambda path: None,
) -> None:
    """What was found: ``content`` as JSON where that is to be printed, else by ``show``; then the files."""
    from tapetum.evaluation.report import write_json

    if json == Path("-"):
        print_json(content)
    else:
        show()
    if csv is not None:
        write_csv(csv)
        say(f"written: {printable(csv)}")
    if json not in (None, Path("-")):
        write_json(content, json)
        say(f"written: {printable(json)}")


def named(model: str, weights: Path | None, chosen: dict[str, Any] | None = None) -> str:
    """The name that the table gives a model: ``lightendiffusion:best:steps=5``."""
    name = Path(model).stem if model.lower().endswith(".onnx") else model
    return ":".join(filter(None, (name, weights.stem if weights else "", options.text(chosen or {}))))


def with_weights(models: Sequence[str], weights: Path | None, task: str | None = None) -> list[str]:
    """Names of methods as those of their bundled weights, where no file is given."""
    from tapetum.weights.registry import bundled_name

    return list(models) if weights else [bundled_name(name, task) for name in models]


def write_lines(lines: Sequence[Sequence[str]], path: Path) -> None:
    """As CSV. Raises InputError: it cannot be written."""
    from tapetum.evaluation.report import csv_text, write_text

    write_text(csv_text(lines), path)


def dark_and_enhanced(models: Sequence[str], weights: Path | None, device: str, cache: Path | None) -> dict[str, Load]:
    """Ways to load a picture file by their names: as it is, and as each model makes it, kept in a cache.

    Raises:
        UsageError: two of one name.
    """
    from tapetum.data.pictures import load_rgb
    from tapetum.evaluation.enhanced import DARK, load_enhanced
    from tapetum.machine import cache_folder

    models = with_weights(models, weights)
    names = [named(name, weights) for name in models]
    if len({DARK, *names}) <= len(names):
        raise UsageError(f"models need names that differ, and none may be called {DARK}: {', '.join(names)}")
    loads: dict[str, Load] = {DARK: load_rgb}
    for name, model in zip(names, models, strict=True):
        loads[name] = load_enhanced(model, weights, device, cache or cache_folder())
    return loads
