"""What the commands that measure models have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.cli import options
from tapetum.cli.console import print_json, printable, say
from tapetum.errors import UsageError

if TYPE_CHECKING:
    from tapetum.evaluation.enhanced import EnhancedCache


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
    write_csv: Callable[[Path], None],
    csv: Path | None,
    json: Path | None,
) -> None:
    """What was measured: ``content`` as JSON where that is to be printed, else by ``show``; then the files."""
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


def write_lines(lines: Sequence[Sequence[str]], path: Path) -> None:
    """As CSV. Raises InputError: it cannot be written."""
    from csv import writer
    from io import StringIO

    from tapetum.evaluation.report import write_text

    text = StringIO()
    writer(text, lineterminator="\n").writerows(lines)
    write_text(text.getvalue(), path)


def kept(model: str, weights: Path | None, device: str, cache: Path | None) -> EnhancedCache:
    """What a model makes of picture files, kept in a cache."""
    from tapetum.enhancer import Enhancer
    from tapetum.evaluation.cache import default_cache, model_key
    from tapetum.evaluation.enhanced import EnhancedCache

    enhancer = Enhancer(model, device, weights=weights)
    return EnhancedCache(cache or default_cache(), model_key(model, weights, enhancer.engine.name), enhancer)
