"""What a network's parts give on their way, which cases record as ``probe/NAME``."""

from __future__ import annotations

from torch import Tensor, nn


def keep_output(part: nn.Module, probes: dict[str, Tensor], name: str) -> None:
    """From now on, ``probes[name]`` is what ``part`` gave first (of several outputs the first)."""

    def keep(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        value = output[0] if isinstance(output, tuple) else output
        probes.setdefault(name, value.clone())  # what follows may work in place

    part.register_forward_hook(keep)
