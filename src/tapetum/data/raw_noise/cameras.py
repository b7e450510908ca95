"""What is known about cameras' noise: the five published ones, and cards that ``tapetum raw calibrate`` writes.

Scales are in digital numbers (DN) of the file; the gain K is DN per photo-electron. Source of the five cameras and of
the law that joins their scales: Wei et al., "A physics-based noise formation model for extreme low-light raw
denoising", CVPR 2020 (ELD). No torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tapetum.errors import InputError, UsageError, os_reason, require

CARD_SUFFIXES = (".yaml", ".yml", ".json")
CARD_FORMAT = "tapetum-camera-noise 1"


@dataclass(frozen=True)
class Scale:
    """``log(scale) = slope * log(K) + bias + sigma * N(0, 1)``: one kind of noise over a camera's gains."""

    slope: float
    bias: float
    sigma: float

    def at(self, gain: float, normal: float = 0.0) -> float:
        """The scale in DN at a gain; ``normal``: a standard normal draw, or 0 for the median."""
        return math.exp(self.slope * math.log(gain) + self.bias + self.sigma * normal)


@dataclass(frozen=True)
class Measurement:
    """What was measured at one ISO speed; all in DN but ``shape``."""

    iso: float
    gain: float
    gaussian: float
    tukey: float
    shape: float
    row: float


@dataclass(frozen=True)
class CameraNoise:
    """Noise of one camera.

    Attributes:
        name: as recipes and the command line call it.
        gain: K by ISO speed, in rising order. Between two of them a straight line holds, and beyond the outer two the
            line through the last two; a single one is proportional to the ISO.
        gaussian: standard deviation of the read noise taken as Gaussian (g; all of it, rows too).
        tukey: scale of the read noise taken as Tukey-lambda distributed, without that of rows (G).
        row: standard deviation of the noise that a row of the mosaic shares (r).
        shapes: values of Tukey's lambda, one of which is drawn for each picture.
        models: names that files of this camera have in their EXIF data.
        measured: what the card was made of, for people.
    """

    name: str
    gain: tuple[tuple[float, float], ...]
    gaussian: Scale
    tukey: Scale
    row: Scale
    shapes: tuple[float, ...]
    models: tuple[str, ...] = ()
    measured: tuple[Measurement, ...] = ()

    def gain_at(self, iso: float) -> float:
        """K at an ISO speed.

        Raises:
            UsageError: no positive number, or the card's line says nothing positive there.
        """
        if not (math.isfinite(iso) and iso > 0):
            raise UsageError(f"the ISO speed must be a positive number, got {iso}")
        points = self.gain if len(self.gain) > 1 else ((0.0, 0.0), *self.gain)
        right = next((i for i, (at, _) in enumerate(points[1:-1], 1) if iso <= at), len(points) - 1)
        (iso_a, a), (iso_b, b) = points[right - 1], points[right]
        gain = a + (iso - iso_a) / (iso_b - iso_a) * (b - a)
        if gain <= 0:
            raise UsageError(
                f"{self.name}: its line of gains is not positive at ISO {iso:g}; calibrate it nearer to that"
            )
        return gain

    @property
    def gain_range(self) -> tuple[float, float]:
        """The smallest and the largest K that was measured."""
        gains = [gain for _, gain in self.gain]
        return min(gains), max(gains)


@cache
def published_cameras() -> Mapping[str, CameraNoise]:
    """The five cameras of the published noise models, by name, in the published order."""
    file = resources.files("tapetum.data.raw_noise") / "cameras.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    cameras = [_camera(entry, "cameras.json") for entry in content["cameras"]]
    return {camera.name: camera for camera in cameras}


def get_camera(name: str | Path) -> CameraNoise:
    """A published camera by its name, or anybody's by its card.

    Raises:
        UsageError: an unknown name (the text lists those there are), or a file that is no card.
        InputError: the card cannot be read.
    """
    known = published_cameras()
    if str(name) in known:
        return known[str(name)]
    if Path(name).suffix.lower() in CARD_SUFFIXES:
        return read_card(Path(name))
    raise UsageError(
        f"unknown camera {str(name)!r}: choose from {', '.join(known)}, or name a card (.yaml) that "
        "'tapetum raw calibrate' wrote"
    )


def camera_of_model(model: str) -> CameraNoise | None:
    """The published camera whose files carry this model name in their EXIF data, if any."""
    return next((c for c in published_cameras().values() if model.strip() in (c.name, *c.models)), None)


def read_card(path: Path) -> CameraNoise:
    """A camera's card, strictly: every key is known and every value of its type.

    Raises:
        InputError: the file cannot be read; UsageError: it is no card, and says what is wrong with it.
    """
    yaml: Any = require("yaml", "raw", "a camera's card")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        problem = getattr(error, "problem", None) or "not text"
        mark = getattr(error, "problem_mark", None)
        raise UsageError(f"{path}{f', line {mark.line + 1}' if mark else ''}: no camera card ({problem})") from None
    if not isinstance(content, dict) or content.pop("format", None) != CARD_FORMAT:
        raise UsageError(f"{path}: no camera card: it must begin with 'format: {CARD_FORMAT}'")
    return _camera(content, str(path))


def card_text(camera: CameraNoise) -> str:
    """The card's file, YAML. :func:`read_card` gives the camera back."""
    yaml: Any = require("yaml", "raw", "a camera's card")
    content = {"format": CARD_FORMAT, **asdict(camera)}
    content["gain"] = {(int(iso) if iso == int(iso) else iso): gain for iso, gain in camera.gain}
    for name in ("shapes", "models", "measured"):
        content[name] = list(content[name])
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _camera(content: dict[str, Any], where: str) -> CameraNoise:
    _check_keys(content, CameraNoise, where, optional=("models", "measured"))
    name, models = content["name"], content.get("models", [])
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{where}: name must be a text, got {name!r:.60}")
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise UsageError(f"{where}: models must be a list of texts, got {models!r:.60}")
    scales = {}
    for key in ("gaussian", "tukey", "row"):
        place = f"{where}: {key}"
        _check_keys(content[key], Scale, place)
        scales[key] = Scale(**{k: _number(v, f"{place}.{k}", k == "sigma") for k, v in content[key].items()})
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not shapes:
        raise UsageError(f"{where}: shapes must be a list of at least one number, got {shapes!r:.60}")
    measured = content.get("measured", [])
    if not isinstance(measured, list):
        raise UsageError(f"{where}: measured must be a list, got {measured!r:.60}")
    return CameraNoise(
        name=name,
        gain=_gains(content["gain"], where),
        **scales,
        shapes=tuple(_number(shape, f"{where}: shapes") for shape in shapes),
        models=tuple(models),
        measured=tuple(_measurement(entry, f"{where}: measured.{i}") for i, entry in enumerate(measured)),
    )


def _gains(content: Any, where: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{where}: gain must map ISO speeds to gains, got {content!r:.60}")
    points = []
    for iso, gain in content.items():
        text = iso if isinstance(iso, (int, float)) else _parsed(iso)
        points.append((_number(text, f"{where}: gain, an ISO speed"), _number(gain, f"{where}: gain.{iso}")))
    if any(value <= 0 for point in points for value in point):
        raise UsageError(f"{where}: gain: ISO speeds and gains must be positive")
    if len({iso for iso, _ in points}) < len(points):
        raise UsageError(f"{where}: gain names an ISO speed twice")
    return tuple(sorted(points))


def _parsed(text: Any) -> Any:
    """JSON's keys are texts."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def _measurement(content: Any, where: str) -> Measurement:
    _check_keys(content, Measurement, where)
    return Measurement(**{key: _number(value, f"{where}.{key}", key != "shape") for key, value in content.items()})


def _check_keys(content: Any, kind: type, where: str, optional: tuple[str, ...] = ()) -> None:
    known = [f.name for f in fields(kind)]
    if not isinstance(content, dict):
        raise UsageError(f"{where} must have the keys {', '.join(known)}, got {content!r:.60}")
    unknown = [key for key in content if key not in known]
    if unknown:
        raise UsageError(f"{where}: unknown key {str(unknown[0])!r:.60}, there are {', '.join(known)}")
    missing = [key for key in known if key not in content and key not in optional]
    if missing:
        raise UsageError(f"{where}: {missing[0]} is missing")


def _number(value: Any, where: str, positive: bool = False) -> float:
    """``positive``: zero is allowed, too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"{where} must be a number, got {value!r:.60}")
    if positive and value < 0:
        raise UsageError(f"{where} must not be negative, got {value}")
    return float(value)
