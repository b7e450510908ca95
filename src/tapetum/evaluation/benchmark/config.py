"""A benchmark as a strictly validated YAML file. Needs pydantic and PyYAML (extra torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from tapetum.errors import UsageError
from tapetum.evaluation.benchmark.plan import DEFAULT_GT_MEAN, Data, Detection, Model, Photographs, Plan, Segmentation
from tapetum.strict_yaml import Section, apply, read_mapping, validate


class ModelSection(Section):
    name: str
    weights: str | None = None
    device: str = "auto"
    options: dict[str, int | float | str] = Field(default_factory=dict)
    label: str = ""
    leave_out: list[str] = Field(default_factory=list)
    allow_seen: bool = False


class DataSection(Section):
    folder: str | None = None
    splits: Annotated[list[str], Field(min_length=1)] | None = None
    layout: str | None = None
    low: str | None = None
    target: str | None = None
    label: str = ""


class RobustnessSection(Section):
    folder: str
    names: list[str] = Field(default_factory=list)
    limit: Annotated[int, Field(ge=1)] = 12


class DetectionSection(Section):
    folder: str
    detector: str
    split: str | None = None
    classes: str | None = None
    layout: str = "auto"
    size: Annotated[int, Field(ge=1)] | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.005
    iou: Annotated[float, Field(ge=0, le=1)] = 0.45
    clip: bool = False


class SegmentationSection(Section):
    pictures: str
    labels: str
    segmenter: str
    classes: str | None = None
    size: tuple[int, int] | None = None
    normalise: str = "none"


class BenchmarkFile(Section):
    models: Annotated[list[ModelSection], Field(min_length=1)]
    data: Annotated[list[DataSection], Field(min_length=1)]
    protocols: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: ["strict"])
    metrics: list[str] = Field(default_factory=list)
    gt_mean: str = DEFAULT_GT_MEAN
    self_ensemble: bool = False
    limit: Annotated[int, Field(ge=1)] | None = None
    title: str = "Low-light benchmark"
    allow_seen: bool = False
    robustness: RobustnessSection | None = None
    detection: DetectionSection | None = None
    segmentation: SegmentationSection | None = None

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A model may be its name alone."""
        return [{"name": entry} if isinstance(entry, str) else entry for entry in value] if _listed(value) else value

    @field_validator("data", mode="before")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        """A data set may be its folder alone."""
        return [{"folder": entry} if isinstance(entry, str) else entry for entry in value] if _listed(value) else value


def _listed(value: Any) -> bool:
    return isinstance(value, list)


def load_plan(path: Path, overrides: list[str] | None = None) -> Plan:
    """The plan of a file; paths in it are relative to the current folder, as in a recipe.

    Args:
        overrides: ``key=value`` with dotted keys (``data.0.folder=data/lol_v1``, ``limit=2``); values are YAML.

    Raises:
        UsageError: it cannot be read, an unknown key (the nearest is suggested), a wrong type; one line says where.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    content = read_mapping(path, "a benchmark")
    for override in overrides or []:
        apply(content, override)
    file = validate(path, content, BenchmarkFile)
    models = tuple(
        Model(m.name, _path(m.weights), m.device, dict(m.options), m.label, tuple(m.leave_out), m.allow_seen)
        for m in file.models
    )
    data = tuple(
        Data(_path(d.folder), tuple(d.splits) if d.splits else None, d.layout, _path(d.low), _path(d.target), d.label)
        for d in file.data
    )
    spoiled, boxes, areas = file.robustness, file.detection, file.segmentation
    return Plan(
        models,
        data,
        tuple(file.protocols),
        tuple(file.metrics),
        file.gt_mean,
        file.self_ensemble,
        file.limit,
        file.title,
        file.allow_seen,
        Photographs(Path(spoiled.folder), tuple(spoiled.names), spoiled.limit) if spoiled is not None else None,
        Detection(**_with_paths(boxes, "folder", "detector", "classes")) if boxes is not None else None,
        Segmentation(**_with_paths(areas, "pictures", "labels", "segmenter", "classes")) if areas is not None else None,
    )


def _with_paths(section: Section, *paths: str) -> dict[str, Any]:
    fields = section.model_dump()
    return fields | {name: _path(fields[name]) for name in paths}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
