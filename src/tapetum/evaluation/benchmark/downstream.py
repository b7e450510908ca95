"""What enhancement does for other programs: a detector, a segmenter, on dark pictures and on each model's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tapetum.data import exdark, segmentation
from tapetum.data.pictures import load_rgb
from tapetum.errors import UsageError, require
from tapetum.evaluation.benchmark.parts import data_uri
from tapetum.evaluation.benchmark.plan import Detection, Model, Plan, Segmentation
from tapetum.evaluation.detection import run as detecting
from tapetum.evaluation.detection.detector import Detector, Settings
from tapetum.evaluation.enhanced import DARK, Load, load_enhanced, spread
from tapetum.evaluation.report import percent
from tapetum.evaluation.segmentation import run as segmenting
from tapetum.evaluation.segmentation.segmenter import Segmenter

_SHOWN = 4  # pictures
_WIDTH = 360


@dataclass(frozen=True)
class Downstream:
    """One program's figures.

    Attributes:
        name: "detection".
        title: of its section.
        note: what was measured, and how.
        header, rows: texts of a table; a row for the dark pictures, and one for each model.
        content: for programs.
        pictures: rows of pictures to look at: their name, and a data URI for each picture.
    """

    name: str
    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    content: Any
    pictures: list[tuple[str, list[str]]]


class Study(Protocol):
    """A program with its pictures, both found and read."""

    name: str
    pictures: int

    def __call__(self, loads: Mapping[str, Load], track: Callable[[Iterable[Any]], Iterable[Any]]) -> Downstream: ...


def studies(plan: Plan) -> list[Study]:
    """Those that a plan asks for.

    Raises:
        TapetumError: files that are missing or are not what they should be, or the extra "detect" is not installed.
    """
    found: list[Study] = []
    if plan.detection is not None:
        found.append(DetectionStudy(plan.detection, plan.limit))
    if plan.segmentation is not None:
        found.append(SegmentationStudy(plan.segmentation, plan.limit))
    if found and any(model.title == DARK for model in plan.models):
        raise UsageError(f"no model may be called {DARK} where detection or segmentation is measured: give it a label")
    return found


def loads_of(models: Sequence[Model], cache: Path) -> dict[str, Load]:
    """Ways to load a picture: as it is, and as each model makes it. Raises TapetumError: a model cannot be made."""
    loads: dict[str, Load] = {DARK: load_rgb}
    for m in models:
        loads[m.title] = load_enhanced(m.name, m.weights, m.device, cache, **m.options)
    return loads


class DetectionStudy:
    name = "detection"

    def __init__(self, settings: Detection, limit: int | None) -> None:
        require("faster_coco_eval", "detect", "detection")
        self._data = exdark.read_detection_set(settings.folder, settings.split, limit=limit, clip=settings.clip)
        knows = exdark.read_classes(settings.classes) if settings.classes else None
        how = Settings(settings.layout, settings.size, settings.confidence, settings.iou)
        self._detector = Detector(settings.detector, self._data.classes, how, knows=knows)
        self._folder = settings.folder
        self.pictures = len(self._data.pictures)

    def __call__(self, loads: Mapping[str, Load], track: Callable[[Iterable[Any]], Iterable[Any]]) -> Downstream:
        results = [detecting.evaluate(self._detector, self._data, name, load, track) for name, load in loads.items()]
        rows = []
        for result in results:
            mean = result.scores[-1]
            rows.append([result.name, *(percent(getattr(mean, measure)) for measure in detecting.HEADINGS)])
        shown = spread(self.pictures, _SHOWN)
        pictures = [(result.name, [self._draw(result, loads[result.name], i) for i in shown]) for result in results]
        height, width = self._detector.size
        note = (
            f"{self._detector.path.name} (layout {self._detector.layout}, input {width}x{height}) on {self.pictures} "
            f"pictures of {self._folder.name} ({self._data.split}); average precision in percent, mean over classes"
        )
        content = detecting.as_dict(self._data, self._detector, results)
        return Downstream(
            self.name, "Detection", note, ["pictures", *detecting.HEADINGS.values()], rows, content, pictures
        )

    def _draw(self, result: detecting.Result, load: Load, index: int) -> str:
        picture = self._data.pictures[index]
        image = load(picture.path)
        drawn = detecting.draw(image, picture, result.detections[index], self._data.classes, detecting.LEAST)
        return data_uri(drawn, _WIDTH)


class SegmentationStudy:
    name = "segmentation"

    def __init__(self, settings: Segmentation, limit: int | None) -> None:
        self._classes = segmentation.read_classes(settings.classes) if settings.classes else segmentation.CITYSCAPES
        self._items = segmentation.find_segmented(settings.pictures, settings.labels)[:limit]
        self._segmenter = Segmenter(
            settings.segmenter, len(self._classes.names), size=settings.size, normalisation=settings.normalise
        )
        self._folder = settings.pictures
        self.pictures = len(self._items)

    def __call__(self, loads: Mapping[str, Load], track: Callable[[Iterable[Any]], Iterable[Any]]) -> Downstream:
        results = [
            segmenting.evaluate(self._segmenter, self._items, self._classes, name, load, track)
            for name, load in loads.items()
        ]
        rows = [[r.name, percent(r.scores.mean_iou), percent(r.scores.accuracy)] for r in results]
        shown = [self._items[i] for i in spread(self.pictures, _SHOWN)]
        pictures = [(name, [self._draw(item, load) for item in shown]) for name, load in loads.items()]
        pictures.append(("labels", [self._draw_labels(item) for item in shown]))
        note = (
            f"{self._segmenter.path.name} on {self.pictures} pictures of {self._folder.name}; intersection over union, "
            "mean over the classes that occur, and pixels that are right, in percent"
        )
        content = segmenting.as_dict(self._items, self._segmenter, self._classes, results)
        return Downstream(
            self.name, "Segmentation", note, ["pictures", "mean IoU", "pixels right"], rows, content, pictures
        )

    def _draw_labels(self, item: segmentation.Segmented) -> str:
        labels = segmentation.read_labels(item, self._classes)
        return data_uri(segmentation.coloured(labels, self._classes.colours), _WIDTH)

    def _draw(self, item: segmentation.Segmented, load: Load) -> str:
        image = load(item.picture)
        return data_uri(segmenting.over(image, self._segmenter(image), self._classes), _WIDTH)
