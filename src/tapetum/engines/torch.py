"""PyTorch: runs a method's module eagerly, with autocast, or compiled. Changes nothing global."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.engines import Extras, OutOfMemory
from tapetum.errors import UsageError
from tapetum.machine import free_memory
from tapetum.methods.contract import Properties


class TorchEngine:
    """A network of the contract (``methods/contract.py``) in PyTorch.

    Args:
        network: the module. It is copied where it must be changed (moved, set to eval mode, made channels_last).
        device: "auto" takes CUDA, else Apple's MPS, else the processor; or what ``torch.device`` takes.
        bfloat16: autocast to bfloat16.
        channels_last: keep pictures and weights in that memory format.
        compile: run through ``torch.compile``; the first run of each size is slow.

    Raises:
        UsageError: an unknown or absent device, or a module that is not of the contract.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str = "auto",
        *,
        bfloat16: bool = False,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        properties = getattr(network, "properties", None)
        if not isinstance(properties, Properties):
            name = type(network).__name__
            raise UsageError(f"{name} declares no properties: tapetum.methods.contract says what a network needs")
        self.properties = properties
        self._device = find_device(device)
        self.name = f"torch:{self._device}"
        self._bfloat16 = bfloat16
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._network = _prepare(network, self._device, channels_last)
        self._forward: Any = torch.compile(self._network) if compile else self._network

    def run(self, low: np.ndarray, context: np.ndarray | None = None, extras: Extras | None = None) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`."""
        return self._call(self._forward, low, context, extras)

    def measure(self, low: np.ndarray, extras: Extras | None = None) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`."""
        return self._call(cast("Any", self._network).measure, low, None, extras)

    def analyse(self, pixels: np.ndarray) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`: networks are given other contexts."""
        raise NotImplementedError

    def noise_channels(self, options: Mapping[str, Any]) -> int:
        """See :class:`tapetum.engines.Engine`."""
        return cast("Any", self._network).noise_channels(**options)

    def free_memory(self) -> int:
        """See :class:`tapetum.engines.Engine`."""
        if self._device.type == "cuda":
            # what PyTorch has set aside but does not use is free for the next run, too
            unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
            return torch.cuda.mem_get_info(self._device)[0] + unused
        return free_memory()

    def _call(self, function: Any, low: np.ndarray, context: np.ndarray | None, extras: Extras | None) -> np.ndarray:
        cast_to = torch.autocast(self._device.type, torch.bfloat16) if self._bfloat16 else contextlib.nullcontext()
        try:
            with torch.inference_mode(), cast_to:
                inputs = [self._tensor(low).contiguous(memory_format=self._format)]
                if context is not None:
                    inputs.append(self._tensor(context))
                result: Tensor = function(*inputs, **self._keywords(extras or Extras()))
                return result.float().contiguous().cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            text = str(error).splitlines()[0] if str(error) else "out of memory"
        # outside the except clause, whose traceback would keep the tensors of the failed run alive
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(text)

    def _keywords(self, extras: Extras) -> dict[str, Any]:
        """What the network takes by name, as ``methods/contract.py`` has it."""
        keywords = dict(extras.options)
        if self.properties.noise_scale is not None:
            keywords["noise"] = None if extras.noise is None else self._tensor(extras.noise)
        if self.properties.iterative:
            keywords["on_step"] = extras.on_step
        return keywords

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def find_device(device: str) -> torch.device:
    """The one that a user means. Raises UsageError: it is unknown, or not here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found).cpu()  # "meta" has no numbers to give back
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"device {device!r} is not here: choose from auto, {', '.join(_devices())}") from None
    if found.type == "cuda" and found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return found


def _devices() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def _prepare(network: nn.Module, device: torch.device, channels_last: bool) -> nn.Module:
    tensors = [*network.parameters(), *network.buffers()]
    if network.training or channels_last or any(t.device != device for t in tensors):
        network = copy.deepcopy(network).eval().to(device)
        if channels_last:
            network = cast("Any", network).to(memory_format=torch.channels_last)
    return network


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
