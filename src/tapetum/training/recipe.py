"""Recipes: everything a training needs, in one strictly validated YAML file.

An unknown key, a wrong type or a missing path is refused with one line that says where: a recipe that is read is meant.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tapetum.data.layouts import LAYOUTS
from tapetum.data.raw_noise.cameras import CARD_SUFFIXES, get_camera
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.resize import Sized, longest, scaled, square
from tapetum.errors import UsageError
from tapetum.methods.registry import HOMES
from tapetum.strict_yaml import Section, apply, read_mapping, validate
from tapetum.training.sections import Cosine, CosineRestarts, Linear, MultiStep, Vibrate
from tapetum.weights.registry import NAMED_WEIGHTS


class SplitList(Section):
    """Pairs listed in a split file (LOL v1's ``splits.json``)."""

    layout: Literal["split"]
    file: str
    key: str


class CsvList(Section):
    """Pairs listed in a table with the columns scene, low, normal."""

    layout: Literal["csv"]
    file: str
    folder: str


class FolderList(Section):
    """Pairs of two folders, matched by file stem; ``scenes`` is a split file that numbers their scenes."""

    layout: Literal["folders"]
    low: str
    target: str
    scenes: str | None = None
    prefix: str = ""


class PictureList(Section):
    """Single pictures of one folder."""

    layout: Literal["pictures"]
    folder: str


class DataSetList(Section):
    """The training split of one of the field's data sets, as it lies on disk; names: ``tapetum.data.layouts``."""

    layout: Literal["data_set"]
    name: str
    folder: str

    @model_validator(mode="after")
    def _known(self) -> DataSetList:
        if self.name not in LAYOUTS:
            raise ValueError(f"unknown data set {self.name!r}, choose from {', '.join(LAYOUTS)}")
        return self


class SidList(Section):
    """Pairs of SID's Sony part; see ``tapetum.data.raw_sets.sid_pairs``."""

    layout: Literal["sid"]
    folder: str
    list: str = "train"
    bursts: Literal["listed", "all"] = "listed"


class EldList(Section):
    """Pairs of ELD; see ``tapetum.data.raw_sets.eld_pairs``."""

    layout: Literal["eld"]
    folder: str
    cameras: Annotated[tuple[str, ...], Field(min_length=1)]
    ratios: Annotated[tuple[Literal[1, 10, 100, 200], ...], Field(min_length=1)] = (100, 200)


class RawSection(Section):
    """How RAW samples are made; see ``tapetum.data.raw_samples``."""

    noise: str = "P+G+r+u"
    """Noise model of kind: raw-synthetic."""
    cameras: Annotated[tuple[str, ...], Field(min_length=1)] = ("SonyA7S2",)
    """Whose noise, or whose gains by ISO speed (kind: raw-pairs, its first where the pictures do not say theirs):
    published names, or cards of ``tapetum raw calibrate``."""
    ratio: tuple[Annotated[float, Field(ge=1)], float] = (20.0, 300.0)
    in_stops: bool = False
    """Ratios are drawn evenly in stops (by their logarithm), which makes small ones as frequent as large ones."""
    gain: tuple[Annotated[float, Field(gt=0)], float] | Literal["camera"] = (0.1, 30.0)
    """Range of K, or what the cameras' cards cover."""
    lengthen: bool = False
    """kind: raw-pairs: adds drawn photons to the short exposures, for ratios down to 100."""
    cache: str | None = None
    """Folder of decoded mosaics; null: ``~/.cache/tapetum/raw``."""

    @model_validator(mode="after")
    def _sound(self) -> RawSection:
        try:
            NoiseModel.parse(self.noise)
            for camera in self.cameras:
                if Path(camera).suffix.lower() not in CARD_SUFFIXES:
                    get_camera(camera)
        except UsageError as error:
            raise ValueError(str(error)) from None
        for name in ("ratio", "gain"):
            value = getattr(self, name)
            if value != "camera" and value[0] > value[1]:
                raise ValueError(f"{name}: a range from the smaller to the larger number, got {list(value)}")
        return self


OneList = Annotated[SplitList | CsvList | FolderList | PictureList | DataSetList, Field(discriminator="layout")]


class UnpairedLists(Section):
    """Dark and normal pictures that have nothing to do with each other.

    Each side is a folder, or a list of folders and of the lists above; of a list of pairs, ``low`` takes the lows and
    ``normal`` the targets.
    """

    layout: Literal["unpaired"]
    low: Annotated[list[OneList], Field(min_length=1)]
    normal: Annotated[list[OneList], Field(min_length=1)]

    @field_validator("low", "normal", mode="before")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        entries = value if isinstance(value, list) else [value]
        return [{"layout": "pictures", "folder": entry} if isinstance(entry, str) else entry for entry in entries]


class ResizeSection(Section):
    """Pictures are resized as they are read, bicubic; one of the three."""

    square: Annotated[int, Field(ge=8)] | None = None
    """To this side, whatever the proportions."""
    longest: Annotated[int, Field(ge=8)] | None = None
    """The longer side to this, where it is larger."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Both sides by this factor, then to the next multiple of 8."""

    @model_validator(mode="after")
    def _one(self) -> ResizeSection:
        if sum(value is not None for value in (self.square, self.longest, self.scale)) != 1:
            raise ValueError("resize takes one of square, longest, scale")
        return self

    @property
    def sized(self) -> Sized:
        if self.square is not None:
            return square(self.square)
        return longest(self.longest) if self.longest is not None else scaled(self.scale or 1.0)


class SourceSection(Section):
    """One source of samples; see ``tapetum.data.patches.Source``."""

    name: str
    pictures: Annotated[
        SplitList | CsvList | FolderList | PictureList | DataSetList | UnpairedLists | SidList | EldList,
        Field(discriminator="layout"),
    ]
    kind: Literal[
        "pairs", "identity", "darken", "backlight", "exposures", "lows", "unpaired", "raw-synthetic", "raw-pairs"
    ] = "pairs"
    """Beside the kinds of a ``Source``: "exposures" draws two exposures of one view, the target being one; "lows" the
    same without the target."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    noise: Annotated[float, Field(ge=0)] = 0.0
    stops: tuple[float, float] = (1.0, 5.0)
    gain: Annotated[float, Field(ge=0)] = 0.0
    low_key: Annotated[float, Field(ge=0)] = 0.0
    shrink: Annotated[int, Field(ge=1, le=8)] = 1
    stride: Annotated[int, Field(ge=1)] = 1
    """Corners of patches are multiples of this: the sliding window of the Retinexformer toolbox."""
    resize: ResizeSection | None = None
    highlights: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Training leaves out pairs whose low has a tenth of its pixels brighter than this: they are not underexposed."""
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the scenes kept for validation."""
    validate_at_most: Annotated[int, Field(ge=0)] = 16
    """Pictures of the kept scenes that are really validated with, evenly chosen."""
    raw: RawSection | None = None
    """Of the kinds raw-synthetic and raw-pairs, whose options beside it are only weight, stride, shrink (of sRGB
    pictures), hold_out and validate_at_most."""

    @model_validator(mode="after")
    def _identity_stays(self) -> SourceSection:
        if self.low_key and self.kind != "identity":
            raise ValueError(f"low_key is for kind: identity, source {self.name} is {self.kind}")
        if self.kind == "identity" and (self.noise or self.gain):
            raise ValueError(f"source {self.name}: kind: identity has neither noise nor gain")
        return self

    @property
    def is_raw(self) -> bool:
        return self.kind.startswith("raw-")

    @model_validator(mode="after")
    def _raw_alike(self) -> SourceSection:
        where = f"source {self.name}: kind: {self.kind}"
        if not self.is_raw:
            if self.raw is not None or isinstance(self.pictures, (SidList, EldList)):
                raise ValueError(f"{where} takes neither raw: nor RAW pictures, kind: raw-synthetic or raw-pairs does")
            return self
        photographs = () if self.kind == "raw-pairs" else (PictureList, SplitList, CsvList)
        known = (SidList, EldList, *photographs)
        if not isinstance(self.pictures, known):
            layouts = "pictures, split or csv (sRGB), sid or eld" if photographs else "sid or eld"
            raise ValueError(f"{where} takes pictures of layout: {layouts}, not {self.pictures.layout}")
        fields = type(self).model_fields  # not what is set: a recipe that was written out sets all
        names = ("noise", "gain", "low_key", "stops", "resize", "highlights")
        unused = [name for name in names if getattr(self, name) != fields[name].default]
        if unused:
            raise ValueError(f"{where} has no {unused[0]} of its own, see raw:")
        return self

    @model_validator(mode="after")
    def _unpaired_alike(self) -> SourceSection:
        if (self.kind == "unpaired") != isinstance(self.pictures, UnpairedLists):
            raise ValueError(
                f"source {self.name}: kind: unpaired and pictures of layout: unpaired go together, "
                f"these are {self.kind} and {self.pictures.layout}"
            )
        if self.kind in ("exposures", "lows") and isinstance(self.pictures, PictureList):
            raise ValueError(f"source {self.name}: kind: {self.kind} needs lists of pairs, not layout: pictures")
        return self


class PhaseSection(Section):
    """See ``DataSection.progressive``."""

    after: Annotated[int, Field(ge=1)]
    patch: Annotated[int, Field(ge=16)]
    batch: Annotated[int, Field(ge=1)]


class DataSection(Section):
    root: str = "."
    patch: Annotated[int, Field(ge=16)] | None = 128
    """Side in pixels; null: whole pictures."""
    batch: Annotated[int, Field(ge=1)] = 8
    progressive: list[PhaseSection] = Field(default_factory=list)
    """Later sizes: from step ``after`` on another ``patch`` and ``batch``."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    colours: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Parameter of mixup's Beta distribution (used with probability one half), 0: off."""
    workers: Annotated[int, Field(ge=0)] = 0
    sources: Annotated[list[SourceSection], Field(min_length=1)]

    @property
    def is_raw(self) -> bool:
        return self.sources[0].is_raw

    @property
    def patches(self) -> list[int]:
        """Every size of patch; none where pictures are whole."""
        return [] if self.patch is None else [self.patch, *(phase.patch for phase in self.progressive)]

    @model_validator(mode="after")
    def _phases_in_order(self) -> DataSection:
        steps = [phase.after for phase in self.progressive]
        if steps != sorted(set(steps)):
            raise ValueError(f"progressive: after must rise from phase to phase, got {steps}")
        if steps and (self.patch is None or self.is_raw):
            raise ValueError("progressive needs a patch, and sources that are not RAW")
        return self

    @model_validator(mode="after")
    def _one_domain(self) -> DataSection:
        if len({source.is_raw for source in self.sources}) > 1:
            raise ValueError("RAW sources and others do not mix: a network has one kind of pictures")
        unused = {"crop": 1.0, "mixup": 0.0}
        for name, off in unused.items():
            if self.is_raw and getattr(self, name) != off:
                raise ValueError(f"RAW sources have no {name}")
        return self


class OptimiserSection(Section):
    name: Literal["adam", "adamw"] = "adam"
    rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(ge=0)] = 0.0


class RunSection(Section):
    steps: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 100
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of torch on the processor (0: torch decides). One is often the fastest on a busy machine."""
    validate_every: Annotated[int, Field(ge=1)] = 1000
    save_every: Annotated[int, Field(ge=1)] = 500
    log_every: Annotated[int, Field(ge=1)] = 100
    samples: Annotated[int, Field(ge=0)] = 6
    """Validation pictures written at each validation (low, enhanced, target side by side)."""
    devices: int | Literal["auto"] = "auto"
    nodes: Annotated[int, Field(ge=1)] = 1
    folder: str = "runs"


WEIGHTS = "weights.safetensors"
"""What a training writes in the end, in its folder."""

RecipeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Recipe(Section):
    name: RecipeName
    method: str
    config: str | dict[str, Any] | None = None
    weights: str | None = None
    """File of weights to begin with, the name of bundled ones, or ``run:NAME`` for what the recipe NAME has written
    into the same ``run.folder``; null: fresh ones. A method that is a later stage of a training needs the file of the
    stage before."""
    grow: bool = False
    """Whether ``weights`` are those of a network with fewer blocks, which this one begins as."""
    objective: dict[str, Any] = Field(default_factory=dict)
    data: DataSection
    optimiser: OptimiserSection = OptimiserSection()
    schedule: Annotated[CosineRestarts | Cosine | MultiStep | Linear | Vibrate, Field(discriminator="kind")]
    run: RunSection

    @model_validator(mode="before")
    @classmethod
    def _weights_by_name(cls, content: Any) -> Any:
        weights, run = (content.get(key) for key in ("weights", "run")) if isinstance(content, dict) else (None, None)
        if isinstance(weights, str) and weights in NAMED_WEIGHTS:
            return {**content, "weights": str(NAMED_WEIGHTS[weights].verified_path())}
        if not (isinstance(weights, str) and weights.startswith("run:") and isinstance(run, dict)):
            return content
        folder = run.get("folder", RunSection.model_fields["folder"].default)
        return {**content, "weights": str(Path(str(folder), weights.removeprefix("run:"), WEIGHTS))}

    @model_validator(mode="after")
    def _known_method(self) -> Recipe:
        if self.method not in HOMES:
            raise ValueError(f"method: unknown {self.method!r}, choose from {', '.join(HOMES)}")
        return self


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("tapetum") / "recipes"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(source: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe by file path or by the name of one that comes with the package.

    Args:
        overrides: ``key=value`` with dotted keys (``run.steps=500``, ``data.sources.0.weight=2``); values are YAML.

    Raises:
        UsageError: unknown recipe, unknown key, wrong type; one line that says where.
    """
    path = find_recipe(source)
    content = read_recipe(path)
    if "stages" in content:
        raise UsageError(f"{path}: has stages, and one recipe is wanted: take one of {content['stages']}")
    for override in overrides or []:
        apply(content, override)
    return validate(path, content, Recipe)


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe given by path or by the name of a bundled one. Raises UsageError where there is none."""
    path = Path(source)
    if path.is_file():
        return path
    bundled = resources.files("tapetum") / "recipes" / f"{source}.yaml"
    if not bundled.is_file():
        raise UsageError(
            f"{source}: no such recipe file, and no bundled recipe (there are {', '.join(list_recipes())})"
        )
    return Path(str(bundled))


def read_recipe(path: Path) -> dict[str, Any]:
    """What a recipe file holds, not yet validated. Raises UsageError where it is no YAML mapping."""
    return read_mapping(path, "a recipe")
