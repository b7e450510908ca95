"""Which methods there are, and how one is made. Adding a method: a folder beside this file and a line in ``HOMES``."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.errors import UsageError, nearest, require

if TYPE_CHECKING:
    from torch import nn

    from tapetum.methods.contract import Method

# name -> "module:attribute" of its Method. A table of names, so that listing imports nothing.
HOMES = {
    "twilight": "tapetum.methods.twilight:METHOD",
    "retinexformer": "tapetum.methods.retinexformer:METHOD",
    "mst_plus_plus": "tapetum.methods.retinexformer:MST_PLUS_PLUS",
    "mamballie": "tapetum.methods.mamballie:METHOD",
    "dednet": "tapetum.methods.dednet:METHOD",
    "lightendiffusion": "tapetum.methods.lightendiffusion:METHOD",
    "lightendiffusion_stage1": "tapetum.methods.lightendiffusion:STAGE1",
    "exposurediffusion": "tapetum.methods.exposurediffusion:METHOD",
    "retidiff": "tapetum.methods.retidiff:METHOD",
    "retidiff_stage1": "tapetum.methods.retidiff:STAGE1",
    "retidiff_decomposition": "tapetum.methods.retidiff:DECOMPOSITION",
    "uptflow": "tapetum.methods.uptflow:METHOD",
}
RAW_METHODS = ("exposurediffusion",)
"""Those whose pictures are packed mosaics (``Properties.domain``), known without importing any."""
STAGES = {
    "lightendiffusion_stage1": "lightendiffusion",
    "retidiff_stage1": "retidiff",
    "retidiff_decomposition": "retidiff",
}
"""Those that are only trained on the way to another method, and that one: alone they enhance nothing."""
CLASSICAL_METHODS = ("gamma", "histeq", "clahe", "lime")
"""Those without a network and weights (:mod:`tapetum.methods.classical`), known without importing any."""


def list_methods() -> list[str]:
    """Names of the methods that are networks, without importing any."""
    return list(HOMES)


def list_models() -> list[str]:
    """Names that ``Enhancer`` takes: the bundled weights, the methods, then those without a network."""
    from tapetum.weights.registry import NAMED_WEIGHTS

    return [*NAMED_WEIGHTS, *HOMES, *CLASSICAL_METHODS]


def check_known(model: str, without: Collection[str] = (), more: str = "") -> None:
    """Raises UsageError for a name that no model has; the text names the nearest and all others, and ``more``.

    Args:
        without: models that are not offered, though known.
    """
    known = list_models()
    if model not in known:
        offered = [name for name in known if name not in without]
        raise UsageError(f"unknown model {model!r}{nearest(model, offered)}: choose from {', '.join(offered)}{more}")


def is_raw(model: str) -> bool:
    """Whether a method, or bundled weights of one, take RAW mosaics."""
    from tapetum.weights.registry import NAMED_WEIGHTS

    return (NAMED_WEIGHTS[model].method if model in NAMED_WEIGHTS else model) in RAW_METHODS


def check_enhances(name: str) -> None:
    """Raises UsageError for a method that is but a stage of another one's training."""
    if name in STAGES:
        whole = STAGES[name]
        raise UsageError(f"{name} is a stage of the training of {whole} and enhances nothing alone: choose {whole}")


def get_method(name: str) -> Method:
    """The method's description. Needs the ``torch`` extra.

    Raises:
        UsageError: no such method; the text lists those there are.
        MissingExtraError: torch is not installed.
    """
    if name not in HOMES:
        raise UsageError(f"unknown method {name!r}: choose from {', '.join(HOMES)}")
    require("torch", "torch", f"the method {name}")
    module, attribute = HOMES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def make_config(method: Method, config: Any = None) -> Any:
    """A configuration from None (the default one), a published name, a dict of fields, or an instance.

    Raises:
        UsageError: unknown name or field, or a value of another type.
    """
    if config is None:
        return next(iter(method.configs.values()))
    if isinstance(config, method.config):
        return config
    if isinstance(config, str):
        if config not in method.configs:
            raise UsageError(f"unknown config {config!r} of {method.name}: choose from {', '.join(method.configs)}")
        return method.configs[config]
    if isinstance(config, dict):
        known = [f.name for f in dataclasses.fields(method.config)]
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise UsageError(f"unknown config field {unknown[0]!r} of {method.name}: choose from {', '.join(known)}")
        return _validated(method, config)
    raise UsageError(f"config of {method.name} must be a name, a dict or a {method.config.__name__}, got {config!r}")


def _validated(method: Method, fields: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        # as JSON, where a list may stand for a tuple, but nothing else for something else
        return TypeAdapter(method.config).validate_json(json.dumps(fields, default=repr), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"config of {method.name}: {where}: {first['msg']}, got {first['input']!r:.80}") from None


def create_model(name: str, config: Any = None, weights: str | Path | None = None) -> nn.Module:
    """A network, ready to use in eval mode.

    Args:
        name: a method ("retinexformer"), or a bundled model ("default"), which brings its own config and weights.
        config: None for the default (or, with ``weights``, what the file says), a published configuration's name,
            a dict of fields, or an instance of the method's config.
        weights: None for fresh weights, or a file (safetensors, or a published ``.pth``), loaded strictly; with a
            bundled model's name one for its method.

    Raises:
        UsageError: unknown name or configuration; WeightsError: the file does not fit.
    """
    from tapetum.weights.registry import NAMED_WEIGHTS

    if name in NAMED_WEIGHTS:
        entry = NAMED_WEIGHTS[name]
        name, weights = entry.method, entry.verified_path() if weights is None else weights
    elif name in CLASSICAL_METHODS:
        raise UsageError(f"{name} is no network: use it through Enhancer({name!r})")
    else:
        check_known(name)
    method = get_method(name)
    if weights is None:
        return method.network(make_config(method, config)).eval()
    from tapetum.weights.loading import load_model

    return load_model(weights, method=name, config=None if config is None else make_config(method, config))
