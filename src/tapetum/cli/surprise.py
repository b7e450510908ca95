"""``tapetum surprise``: where a picture is unlikely to be the normal one of a dark one, as a flow sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapetum.cli.console import DONE, print_json, printable, say
from tapetum.errors import InputError, UsageError, require

if TYPE_CHECKING:
    import numpy as np

METHOD = "uptflow"


def surprise(
    dark: Annotated[Path, typer.Argument(metavar="DARK", help="The dark picture.")],
    picture: Annotated[
        Path, typer.Argument(metavar="PICTURE", help="The scene when bright: enhanced, or photographed.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MAP", help="The map to write, such as map.png.")],
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help=f"A file of weights of {METHOD}.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing map.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with the figures.")] = False,
) -> None:
    """Map how unlikely each part of a picture is, in bits per dimension: black its likeliest hundredth, white the
    least likely one. The mean tells how likely the whole is."""
    from tapetum.data.pictures import load_rgb
    from tapetum.imaging import Picture, write_picture
    from tapetum.imaging.formats import written_format
    from tapetum.imaging.replacing import make_folder

    if written_format(output.suffix) in (None, "dng"):
        raise UsageError(f"{printable(output)}: a map is a picture: choose a name ending in .png, .jpg, .tif or .webp")
    if any(output.exists() and given.exists() and output.samefile(given) for given in (dark, picture)):
        raise UsageError(f"{printable(output)}: the map would replace a picture it is of; choose another name")
    if output.exists() and not overwrite:
        raise UsageError(f"{printable(output)} exists: --overwrite replaces it")
    require("torch", "torch", "surprise")
    low, image = load_rgb(dark), load_rgb(picture)
    if low.shape != image.shape:
        sizes = " and ".join(f"{shape[1]}x{shape[0]}" for shape in (image.shape, low.shape))
        raise InputError(f"{printable(picture)}: has not the size of {printable(dark)} ({sizes})")
    bits, shown = mapped(low, image, weights, device)
    make_folder(output.parent)
    write_picture(Picture(shown), output)
    if as_json:
        print_json({"bits_per_dimension": round(bits, 4), "map": str(output)})
    say(f"written: {printable(output)} ({bits:.2f} bits per dimension)")
    raise typer.Exit(DONE)


def mapped(low: np.ndarray, image: np.ndarray, weights: Path | None, device: str) -> tuple[float, np.ndarray]:
    """Bits per dimension, and the map ``(H, W, 1)``; all pictures in uint8.

    Raises:
        UsageError: no weights, or those of an untrained flow; WeightsError: a file that does not fit; InputError: too
            little memory.
    """
    import numpy as np
    import torch

    from tapetum.engines.torch import TorchEngine, find_device
    from tapetum.imaging.tiles import cut
    from tapetum.methods.uptflow.examination import as_picture
    from tapetum.methods.uptflow.examination import surprise as unlikely
    from tapetum.weights.loading import load_named

    place = find_device(device)
    network: Any = load_named(METHOD, weights).to(place)
    network.check_begun()
    height, width = low.shape[:2]
    multiple = network.properties.size_multiple
    rows, columns = (-(-side // multiple) * multiple for side in (height, width))
    needed, free = network.properties.working_memory(rows * columns), TorchEngine(network, device).free_memory()
    if needed > free:
        raise InputError(
            f"{width}x{height} pixels need {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} are free: give a part"
        )
    padded = (torch.from_numpy(cut(each, 0, 0, rows, columns)).to(place) for each in (low, image))
    dark, normal = (each.permute(2, 0, 1)[None] / 255 for each in padded)
    with torch.no_grad():
        conditions = network.conditions(dark)
    bits = unlikely(network, conditions, normal)[..., :height, :width]
    shown = as_picture(bits)[0, :1].permute(1, 2, 0).cpu().numpy()
    return bits.mean().item(), np.rint(shown * 255).astype(np.uint8)
