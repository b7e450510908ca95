"""Export: a network as an ONNX file that :class:`tapetum.engines.onnx.OnnxEngine` runs as PyTorch runs the network."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from tapetum.deploy.shuffles import translations
from tapetum.engines import Engine
from tapetum.engines.onnx import OnnxEngine
from tapetum.engines.torch import TorchEngine
from tapetum.errors import UsageError
from tapetum.methods.contract import Properties
from tapetum.methods.registry import CLASSICAL_METHODS, check_enhances, check_known, create_model
from tapetum.weights.loading import describe, find_named, load_model, read_weights
from tapetum.weights.registry import NAMED_WEIGHTS, bundled_name

OPSET = 20
TOLERANCE = 1e-3  # of the largest difference between both engines: a wrong graph is off by far more
_CHECKED_SIZES = ((96, 96), (64, 136), (200, 120))  # height, width; rounded up to the size multiple


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        path: the ONNX file.
        max_error: largest absolute difference to the torch engine, over all checked sizes.
    """

    path: Path
    max_error: float


def export(
    model: str | nn.Module,
    path: str | Path,
    *,
    weights: str | Path | None = None,
    provenance: dict[str, Any] | None = None,
    opset: int = OPSET,
) -> Exported:
    """Write a network as ONNX: dynamic batch, height and width; properties, method, config and provenance inside.

    Before the file is kept, its results are compared with the torch engine's at three sizes, with the picture's own
    context and with another's.

    Args:
        model: a bundled model, a method, or a network of a registered method.
        path: the file to write, ``.onnx``.
        weights: a file of weights for the method. None: the bundled ones that the name stands for.
        provenance: where the weights come from; None: what the file of weights says, as far as it says it.
        opset: of ONNX.

    Raises:
        UsageError: unknown model, or a method without bundled weights and no file; not a registered method's network;
        one that has no ONNX form; an export that differs from the network.
        WeightsError: the file of weights does not fit.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"{path}: an export is an .onnx file; choose a name that ends so")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder")
    network, known = _load(model, weights)
    metadata = describe(network, known if provenance is None else provenance)
    properties = cast("Properties", network.properties)
    _check_has_form(network, metadata["tapetum.method"])
    network = copy.deepcopy(network).cpu().eval()
    metadata["tapetum.properties"] = properties.to_json()
    temporary = path.with_name(f".{path.name[:100]}-{os.getpid()}.part")
    try:
        proto = _convert(network, properties, opset)
        _write(proto, temporary, metadata)
        error = _check(TorchEngine(network, "cpu"), OnnxEngine(temporary, "cpu"))
        if not error <= TOLERANCE:
            raise UsageError(f"{path}: not written: the exported network is off by {error:.1e}; try another opset")
        _write(proto, temporary, metadata | {"tapetum.export": json.dumps({"max_error": error, "opset": opset})})
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path, error)


def _load(model: str | nn.Module, weights: str | Path | None) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and the provenance that its file of weights has."""
    if isinstance(model, nn.Module):
        if weights is not None:
            raise UsageError("a network that is given as a module has its weights already")
        return model, {}
    if model in CLASSICAL_METHODS:
        raise UsageError(f"{model} is no network: it has no ONNX form")
    check_known(model)
    check_enhances(model)
    if weights is None and bundled_name(model) not in NAMED_WEIGHTS:
        _check_has_form(create_model(model), model)  # nobody shall look for weights in vain
    path, method = find_named(model, weights)
    text = read_weights(path).metadata.get("tapetum.provenance")
    known = json.loads(text) if text else {"weights": path.name}
    return load_model(path, method=method), known


def _check_has_form(network: nn.Module, name: str) -> None:
    reason = cast("Properties", network.properties).no_onnx
    if reason is not None:
        raise UsageError(f"{name}: has no ONNX form ({reason}): it runs in the torch engine only")


class _Thumbnail(nn.Module):
    """The signature of an exported file, for ``context == "thumbnail"``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, low: Tensor, thumbnail: Tensor) -> Tensor:
        return self.network(low, thumbnail)


class _Statistics(nn.Module):
    """The same, for ``context == "statistics"``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, low: Tensor, statistics: Tensor, use_statistics: Tensor) -> tuple[Tensor, Tensor]:
        return cast("Any", self.network).forward_and_measure(low, statistics, use_statistics)


def _convert(network: nn.Module, properties: Properties, opset: int) -> onnx.ModelProto:
    multiple = properties.size_multiple
    # sizes are multiples of the size multiple: said so, the exporter can follow the shapes through every level
    least = max(2, -(-properties.minimum_size // multiple))
    rows, columns = (torch.export.Dim(f"{name}_units", min=least, max=10**5) for name in ("height", "width"))
    batch = torch.export.Dim("batch", min=1, max=1024)
    size = {0: batch, 2: multiple * rows, 3: multiple * columns} if multiple > 1 else {0: batch, 2: rows, 3: columns}
    units = -(-max(properties.minimum_size, 64) // multiple)
    low = torch.rand(2, 3, multiple * units, multiple * (units + 1))
    if properties.context == "thumbnail":
        module, names, outputs = _Thumbnail(network), ["low", "thumbnail"], ["enhanced"]
        arguments = (low, torch.rand(2, 3, properties.thumbnail_size, properties.thumbnail_size))
        shapes: tuple[Any, ...] = (size, {0: batch})
    elif properties.context == "statistics":
        module, names = _Statistics(network), ["low", "statistics", "use_statistics"]
        outputs = ["enhanced", "statistics_out"]
        with torch.inference_mode():
            count = cast("Any", network).measure(low).shape[1]
        # one vector for the whole batch: its tiles are of one picture
        arguments = (low, torch.rand(1, count), torch.tensor(False))
        shapes = (size, {}, None)
    else:
        module, names, outputs = network, ["low"], ["enhanced"]
        arguments, shapes = (low,), (size,)
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            arguments,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=opset,
            dynamo=True,
            custom_translation_table=translations(),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _write(proto: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> None:
    # no traces of this machine's source files, which the exporter notes at every node
    del proto.metadata_props[:]
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        del graph.metadata_props[:]
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
    onnx.helper.set_model_props(proto, metadata)
    path.write_bytes(proto.SerializeToString())


def _check(ours: Engine, exported: Engine) -> float:
    """The largest absolute difference of two engines' results."""
    properties = ours.properties
    random = np.random.default_rng(0)
    multiple, minimum = properties.size_multiple, properties.minimum_size
    largest = 0.0
    for size in _CHECKED_SIZES:
        height, width = (-(-max(side, minimum) // multiple) * multiple for side in size)
        low = random.random((1, 3, height, width), np.float32) ** 2
        contexts: list[np.ndarray | None] = [None]
        if properties.context == "thumbnail":
            contexts.append(random.random((1, 3, properties.thumbnail_size, properties.thumbnail_size), np.float32))
        elif properties.context == "statistics":
            other = low[:, :, ::-1, ::-1].copy() ** 2
            contexts.append(ours.measure(other))
            largest = max(largest, _difference(ours.measure(other), exported.measure(other)))
        for context in contexts:
            largest = max(largest, _difference(ours.run(low, context), exported.run(low, context)))
    return largest


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter prints its progress and warns of its own deprecated parts."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
