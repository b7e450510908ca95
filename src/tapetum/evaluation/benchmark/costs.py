"""What a model costs: the parameters and multiply-adds of its network, and the memory of a process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.enhancer import Enhancer
from tapetum.evaluation.benchmark.plan import Model
from tapetum.methods.registry import CLASSICAL_METHODS
from tapetum.weights.registry import NAMED_WEIGHTS


def costs(model: Model, enhancer: Enhancer, height: int, width: int) -> tuple[int | None, int | None]:
    """Parameters, and multiply-adds of one pass at a size (padded to what the network asks for). None: not known.

    Multiply-adds are of convolutions and matrix products, counted by PyTorch while the network runs once; other
    operators, such as a selective scan, are not in them. A file in ONNX is counted as the network that it says it is.
    Without PyTorch only the parameters of a bundled model are known, and there is nothing to count in classical ones.
    """
    if model.name in CLASSICAL_METHODS:
        return 0, None
    try:
        from torch.utils.flop_counter import FlopCounterMode
    except ModuleNotFoundError:
        entry = NAMED_WEIGHTS.get(model.name)
        return (entry.parameters if entry is not None and model.weights is None else None), None
    counted = enhancer if enhancer.engine.name.startswith("torch") else _in_torch(enhancer)
    if counted is None:
        return None, None
    network: Any = counted.engine._network  # type: ignore[attr-defined]  # the engine's own business otherwise
    properties = counted.engine.properties
    sides = (max(side, properties.minimum_size) for side in (height, width))
    height, width = (-(-side // properties.size_multiple) * properties.size_multiple for side in sides)
    with FlopCounterMode(display=False) as counter:
        counted.predict(np.full((1, 3, height, width), 0.2, np.float32))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2 or None


def _in_torch(enhancer: Enhancer) -> Enhancer | None:
    """The network that an ONNX file says it is, with fresh weights, on which nothing here depends."""
    from tapetum.methods.registry import create_model

    metadata: dict[str, str] = getattr(enhancer.engine, "metadata", {})
    if "tapetum.method" not in metadata or "tapetum.config" not in metadata:
        return None
    return Enhancer(create_model(metadata["tapetum.method"], json.loads(metadata["tapetum.config"])), "cpu")


def peak_memory() -> int | None:
    """Bytes of resident memory that this process had at most; None where the system does not say."""
    try:  # Linux: getrusage would count the memory of the process that started this one, too
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
