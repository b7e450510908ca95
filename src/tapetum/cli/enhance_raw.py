"""``tapetum enhance`` with a RAW method: the mosaic is enhanced, then developed, or written as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.errors import InputError, UsageError

if TYPE_CHECKING:
    from tapetum.cli.batch import Job
    from tapetum.imaging.raw import Development, RawPicture
    from tapetum.methods.contract import OnStep
    from tapetum.raw_enhancer import RawEnhancer


@dataclass(frozen=True)
class Photons:
    """How digital numbers become photo-electrons: the gain itself, or the camera whose table has it.

    Raises:
        UsageError: both, a gain that is not positive, or an unknown camera.
    """

    gain: float | None = None
    camera: str | None = None

    def __post_init__(self) -> None:
        from tapetum.data.raw_noise.cameras import get_camera

        if self.gain is not None and self.camera is not None:
            raise UsageError("--camera and --gain say the same thing in two ways: give one of them")
        if self.gain is not None and not 0 < self.gain < math.inf:
            raise UsageError(f"--gain must be above 0, got {self.gain:g}")
        if self.camera is not None:
            get_camera(self.camera)  # one that is unknown is said before the work

    def gain_of(self, raw: RawPicture) -> float:
        from tapetum.raw_enhancer import find_gain

        return self.gain if self.gain is not None else find_gain(raw, self.camera)


@dataclass(frozen=True)
class RawWork:
    """What is done with each file."""

    enhancer: RawEnhancer
    development: Development
    photons: Photons
    max_pixels: int
    quality: int | None

    def __call__(self, job: Job, on_step: OnStep) -> None:
        """Raises InputError for what is wrong with the file."""
        from tapetum.cli.enhance import write_comparison
        from tapetum.imaging import write_picture
        from tapetum.imaging.raw import develop, read_raw, write_mosaic
        from tapetum.imaging.raw.develop import stops_of
        from tapetum.imaging.replacing import make_folder

        raw = read_raw(job.source, max_pixels=self.max_pixels, options=self.development)
        stops = stops_of(raw, self.development.ev)
        try:
            enhanced = self.enhancer.picture(raw, 2.0**stops, self.photons.gain_of(raw), on_step)
        except InputError as error:
            raise InputError(f"{job.source}: {error}") from None
        make_folder(job.output.parent)
        if job.comparison:
            write_comparison(job.comparison, develop(raw, stops), develop(enhanced))
        # Last: its presence says that the job is finished
        if is_dng(job.output):
            write_mosaic(enhanced, job.output)
        else:
            write_picture(develop(enhanced), job.output, quality=self.quality)


def check_raw(model: str, development: Development) -> None:
    """Raises UsageError: a development that a RAW method cannot begin with."""
    if development.ev != "auto" and development.ev < 0:
        ratio = 2.0**development.ev
        raise UsageError(f"{model} makes a longer exposure: --ratio must be 1 or more (--ev 0 or more), got {ratio:g}")
    if development.developer == "libraw":
        raise UsageError(f"--developer libraw is for developed pictures; {model} works on the mosaic")


def is_dng(path: Path) -> bool:
    return path.suffix.lower() == ".dng"
