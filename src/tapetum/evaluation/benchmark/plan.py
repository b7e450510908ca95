"""What a benchmark measures: models, data sets, protocols. Everything that can be wrong is said before any work."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tapetum import metrics
from tapetum.data.layouts import LAYOUTS, get_layout, read_picture_file
from tapetum.data.pairs import Pair, pairs_of_folders
from tapetum.errors import InputError, UsageError, nearest
from tapetum.evaluation.pairs import find_splits
from tapetum.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from tapetum.evaluation.run import Read
from tapetum.methods.registry import CLASSICAL_METHODS, HOMES, check_enhances, check_known, is_raw
from tapetum.weights.registry import NAMED_WEIGHTS, bundled_name

DEFAULT_GT_MEAN = "gt_mean_gray601_rgb"


@dataclass(frozen=True)
class Model:
    """What is measured.

    Attributes:
        name: as ``Enhancer`` takes it.
        weights: a file for a method.
        device: as ``Enhancer`` takes it.
        options: of the model, such as steps.
        label: its name in the report; "": made of the others.
        leave_out: names of splits that it is not measured on, since it was trained on them.
        allow_seen: measure it on scenes that it was trained on, too; it is marked there, and never the best.
    """

    name: str
    weights: Path | None = None
    device: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    leave_out: tuple[str, ...] = ()
    allow_seen: bool = False

    def __post_init__(self) -> None:
        if self.weights is None:
            object.__setattr__(self, "name", bundled_name(self.name, self.options.get("task")))

    @property
    def title(self) -> str:
        stem = Path(self.name).stem if self.name.lower().endswith(".onnx") else self.name
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return self.label or ":".join(filter(None, (stem, self.weights.stem if self.weights else "", options)))

    @property
    def engine(self) -> str:
        """The engine that will run it and the device, as far as torch is here to say what "auto" is."""
        if self.name in CLASSICAL_METHODS:
            kind = "numpy"
        elif self.name.lower().endswith(".onnx"):
            kind = "onnx"
        else:
            entry = NAMED_WEIGHTS.get(self.name)
            exported = entry is not None and entry.onnx is not None
            kind = "onnx" if exported and self.weights is None and self.device in ("auto", "cpu") else "torch"
        if (kind, self.device) == ("torch", "auto") and importlib.util.find_spec("torch"):
            from tapetum.engines.torch import find_device

            return f"{kind}:{find_device(self.device)}"  # what a processor predicted is not what a GPU does
        return f"{kind}:{self.device}"


@dataclass(frozen=True)
class Data:
    """Pairs of pictures: ``folder`` with splits or a layout, or the two folders ``low`` and ``target``."""

    folder: Path | None = None
    splits: tuple[str, ...] | None = None
    layout: str | None = None
    low: Path | None = None
    target: Path | None = None
    label: str = ""


@dataclass(frozen=True)
class Photographs:
    """Good photographs that are spoiled in known ways, to see how far results hold.

    Attributes:
        folder: of picture files.
        names: their stems; none: all of the folder.
        limit: the first so many of them.
    """

    folder: Path
    names: tuple[str, ...] = ()
    limit: int = 12


@dataclass(frozen=True)
class Detection:
    """What enhancement does for a detector; as the options of ``tapetum detect-eval``."""

    folder: Path
    detector: Path
    split: str | None = None
    classes: Path | None = None
    layout: str = "auto"
    size: int | None = None
    confidence: float = 0.005
    iou: float = 0.45
    clip: bool = False


@dataclass(frozen=True)
class Segmentation:
    """What enhancement does for a segmenter; as the options of ``tapetum segment-eval``."""

    pictures: Path
    labels: Path
    segmenter: Path
    classes: Path | None = None
    size: tuple[int, int] | None = None
    normalise: str = "none"


@dataclass(frozen=True)
class Plan:
    """All of it. ``allow_seen``: of all models, as :class:`Model` has it of one."""

    models: tuple[Model, ...]
    data: tuple[Data, ...]
    protocols: tuple[str, ...] = ("strict",)
    metrics: tuple[str, ...] = ()
    gt_mean: str = DEFAULT_GT_MEAN
    self_ensemble: bool = False
    limit: int | None = None
    title: str = "Low-light benchmark"
    allow_seen: bool = False
    robustness: Photographs | None = None
    detection: Detection | None = None
    segmentation: Segmentation | None = None


@dataclass(frozen=True)
class Split:
    """Pictures that figures are means over.

    Attributes:
        name: unique in a benchmark, such as "lol_v1 eval15".
        layout: how its files are read; None: as pictures.
        folder: of the data set, whose split file knows scenes; None: two folders.
    """

    name: str
    pairs: tuple[Pair, ...]
    layout: str | None = None
    folder: Path | None = None

    @property
    def read(self) -> Read:
        return get_layout(self.layout).read if self.layout else read_picture_file


Look = tuple[Protocol, Split]
"""Pictures, and the protocol by which they are predicted and measured."""


def check_models(models: Iterable[Model]) -> None:
    """Raises UsageError for a model that there is not, or that lacks weights, or two of one name in the report."""
    titles: set[str] = set()
    for model in models:
        _check_model(model)
        if model.title in titles:
            raise UsageError(f"two models would be called {model.title} in the report: give one a label")
        titles.add(model.title)
    if not titles:
        raise UsageError("name a model to measure")


def _check_model(model: Model) -> None:
    name = model.name
    if name.lower().endswith(".onnx"):
        if not Path(name).is_file():
            raise UsageError(f"{name}: no such file")
        if model.weights is not None:
            raise UsageError(f"{name}: an .onnx file holds its own weights")
    else:
        check_known(name)
    check_enhances(name)
    if is_raw(name):
        raise UsageError(f"{name} works on camera RAW: `tapetum raw evaluate` measures it")
    if model.weights is not None and not model.weights.is_file():
        raise UsageError(f"{model.weights}: no such file of weights")
    if name in CLASSICAL_METHODS and model.weights is not None:
        raise UsageError(f"{name} is no network: it takes no weights")
    if name in HOMES and model.weights is None:
        raise UsageError(f"{name} is a method without bundled weights: give it a file (weights=FILE)")


def chosen_protocols(plan: Plan) -> list[Protocol]:
    """The protocols with the benchmark's own measures beside theirs.

    Raises:
        UsageError: an unknown protocol, measure or correction; the nearest is suggested.
    """
    metrics.correction(plan.gt_mean)
    for name in plan.metrics:
        metrics.get(name)
    found = []
    for name in dict.fromkeys(plan.protocols):
        found.append(measured(get_protocol(name).name, plan.metrics, plan.self_ensemble))
    if not found:
        raise UsageError("name a protocol to measure by")
    return found


def measured(name: str, more: Iterable[str], self_ensemble: bool) -> Protocol:
    """A protocol by its name, with more measures."""
    known = PROTOCOLS[name]
    return replace(known, metrics=tuple(dict.fromkeys((*known.metrics, *more))), self_ensemble=self_ensemble)


def prediction_part(protocol: Protocol) -> str:
    """What of a protocol has a part in the prediction; protocols that agree in it share what is stored. What resizes
    is known by the protocol's name."""
    sized = protocol.name if protocol.sized is not None else None
    way = [protocol.split_from, protocol.self_ensemble, protocol.truncates, sized, protocol.tile, protocol.times]
    return json.dumps(way)


def find_pictures(plan: Plan) -> list[Split]:
    """The splits of all data sets, in their order.

    Raises:
        InputError: no such folder, no pictures, or a picture without its partner.
        UsageError: no such split or layout, or two splits of one name.
    """
    splits: list[Split] = []
    for data in plan.data:
        for name, pairs in _pairs_of(data).items():
            if not pairs:
                raise InputError(f"{data.folder or data.low}: holds no pictures{f' in {name}' if name else ''}")
            splits.append(Split(name, tuple(pairs[: plan.limit]), data.layout, data.folder))
    if not splits:
        raise UsageError("name pictures to measure on")
    names = [split.name for split in splits]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two data sets would be called {twice!r} in the report: give one a label")
    for model in plan.models:
        for name in model.leave_out:
            if name not in names:
                near = nearest(name, names)
                raise UsageError(f"{model.title} leaves out {name!r}{near}: there is only {', '.join(names)}")
    return splits


def _pairs_of(data: Data) -> dict[str, list[Pair]]:
    if (data.low is None) != (data.target is None) or (data.folder is None) == (data.low is None):
        raise UsageError("a data set is one folder, or the two folders low and target")
    if data.low is not None and data.target is not None:
        if data.splits or data.layout:
            raise UsageError("splits and layout belong to the folder of a data set, not to low and target")
        return {data.label or data.low.resolve().name: pairs_of_folders(data.low, data.target)}
    assert data.folder is not None
    label = data.label or data.folder.resolve().name
    if data.layout is not None:
        if data.layout not in LAYOUTS:
            near = nearest(data.layout, LAYOUTS)
            raise UsageError(f"unknown data set layout {data.layout!r}{near}: choose from {', '.join(LAYOUTS)}")
        if data.splits not in (None, ("test",)):
            raise UsageError("with a layout the split is test")
        return {f"{label} test": LAYOUTS[data.layout].pairs(data.folder, "test")}
    found = find_splits(data.folder, list(data.splits) if data.splits else None)
    return {label if name == label else f"{label} {name}": pairs for name, pairs in found.items()}


def parse_model(text: str) -> Model:
    """A model as flags name it: ``NAME``, ``FILE.onnx``, or with settings ``NAME:weights=FILE,steps=5,label=mine``.

    Raises:
        UsageError: a setting without a value.
    """
    found = re.fullmatch(r"(.+?):(\w+=.*)", text)  # a Windows path has a colon, too
    name, rest = found.groups() if found else (text, "")
    settings: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise UsageError(f"--model {text}: write settings as NAME:weights=FILE,steps=5, not {part!r}")
        settings[key.strip()] = value
    weights = settings.pop("weights", None)
    device, label = settings.pop("device", "auto"), settings.pop("label", "")
    options = {key: _value(value) for key, value in settings.items()}
    return Model(name, Path(weights) if weights else None, device, options, label)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
