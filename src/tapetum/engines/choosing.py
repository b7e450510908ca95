"""Which engine runs a model: by its name, its file, or the network itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.errors import UsageError, require
from tapetum.methods.registry import CLASSICAL_METHODS, STAGES, check_enhances, check_known
from tapetum.weights.registry import NAMED_WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from tapetum.engines import Engine


def make_engine(
    model: str | Path | nn.Module,
    device: str,
    weights: str | Path | None,
    engine: str,
    torch_options: dict[str, bool],
) -> Engine:
    """The engine for a model, of which nothing heavy is imported before it is needed.

    Args:
        model, device, weights, engine: as of :class:`tapetum.Enhancer`.
        torch_options: of :class:`tapetum.engines.torch.TorchEngine`; a model that runs elsewhere takes none.

    Raises:
        UsageError, WeightsError, MissingExtraError: as of :class:`tapetum.Enhancer`.
    """
    if isinstance(model, str | Path) and str(model) in CLASSICAL_METHODS:
        return _classical(str(model), device, weights, engine, torch_options)
    if engine not in ("auto", "onnx", "torch"):
        raise UsageError(f"engine must be auto, onnx or torch, got {engine!r}")
    options_given = [name for name, value in torch_options.items() if value]

    def for_onnx(what: str) -> None:
        if options_given:
            raise UsageError(f"{options_given[0]} is an option of the torch engine, and {what} runs in ONNX Runtime")

    if isinstance(model, str | Path):
        name = str(model)
        if name.lower().endswith(".onnx"):
            if engine == "torch" or weights is not None:
                raise UsageError(f"{name}: an .onnx file holds its own weights and runs in the onnx engine only")
            for_onnx(name)
            from tapetum.engines.onnx import OnnxEngine

            return OnnxEngine(name, device)
        check_known(name, without=STAGES, more=", or an .onnx file")
        check_enhances(name)
        entry = NAMED_WEIGHTS.get(name)
        wants_torch = engine == "torch" or weights is not None or bool(options_given) or device not in ("auto", "cpu")
        if entry is not None and (engine == "onnx" or (entry.onnx is not None and not wants_torch)):
            if weights is not None:
                raise UsageError("the onnx engine takes no weights: export them with `tapetum export` first")
            for_onnx(name)
            from tapetum.engines.onnx import OnnxEngine

            return OnnxEngine(entry.verified_onnx(), device)
        if engine == "onnx":
            raise UsageError(f"the onnx engine runs bundled models and .onnx files: first `tapetum export {name} OUT`")
        require("torch", "torch", f"the model {name}")
        from tapetum.weights.loading import load_named

        network = load_named(name, weights)
    else:
        network = model
        if engine == "onnx" or weights is not None:
            raise UsageError("a network that is given as a module has its weights and runs in the torch engine only")
    from tapetum.engines.torch import TorchEngine

    return TorchEngine(network, device, **torch_options)


def _classical(
    name: str, device: str, weights: str | Path | None, engine: str, torch_options: dict[str, bool]
) -> Engine:
    given = [option for option, value in {"weights": weights, **torch_options}.items() if value]
    if given:
        raise UsageError(f"{name} is no network: it takes no {given[0]}")
    if engine not in ("auto", "numpy"):
        raise UsageError(f"{name} is no network: it runs in the numpy engine, not in {engine!r}")
    from tapetum.engines.numpy import NumpyEngine
    from tapetum.methods.classical import METHODS

    return NumpyEngine(METHODS[name], device)
