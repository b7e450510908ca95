"""``tapetum enhance`` with a RAW method: the mosaic is enhanced, then developed, or written as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.errors import InputError

if TYPE_CHECKING:
    from tapetum.cli.batch import Job
    from tapetum.imaging.raw import Development, RawPicture
    from tapetum.methods.contract import OnStep
    from tapetum.raw_enhancer import RawEnhancer


@dataclass(frozen=True)
class Photons:
    """How digital numbers become photo-electrons: the gain itself, or the camera whose table has it."""

    gain: float | None = None
    camera: str | None = None

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
        from tapetum.cli.enhance import make_folder, write_comparison
        from tapetum.imaging import write_picture
        from tapetum.imaging.raw import develop, read_raw, write_mosaic
        from tapetum.imaging.raw.develop import stops_of

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


def is_dng(path: Path) -> bool:
    return path.suffix.lower() == ".dng"
