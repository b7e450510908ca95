"""``tapetum enhance``: dark pictures in, good pictures out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapetum.cli import developing, options
from tapetum.cli.console import (
    DONE,
    FAILED,
    STOPPED,
    print_json,
    printable,
    progress_bar,
    say,
    settings,
    unicode,
)
from tapetum.cli.enhance_raw import Photons, RawWork, check_raw
from tapetum.errors import TapetumError, UsageError
from tapetum.interrupts import interrupts_noted
from tapetum.methods.registry import RAW_METHODS, is_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tapetum.cli.batch import Job
    from tapetum.enhancer import Enhancer
    from tapetum.imaging import Picture
    from tapetum.imaging.raw.options import Development
    from tapetum.methods.contract import OnStep


class Format(str, Enum):
    """Formats that can be written, by their usual ending."""

    jpg = "jpg"
    png = "png"
    tif = "tif"
    webp = "webp"
    dng = "dng"


def enhance(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Pictures, folders, or patterns such as 'night/*.jpg'.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="A folder, or a file for one picture. Default: beside the input."
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into folders of folders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo pictures whose output exists.")] = False,
    strength: Annotated[
        float, typer.Option(min=0, max=1, metavar="0..1", help="0: unchanged, 1: the full effect.")
    ] = 1.0,
    compare: Annotated[bool, typer.Option("--compare", help="Also write a before/after picture.")] = False,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="One that 'tapetum models' lists, or an .onnx file.")
    ] = "default",
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of weights for the model.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Working memory, such as 1.5GB. Default: a quarter of what is free."),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Refuse larger pictures. Default: 200 million.")
    ] = None,
    format: Annotated[Format | None, typer.Option(help="Format of the results. Default: the input's.")] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, metavar="1..100", help="Of JPEG and WebP. Default: 95.")
    ] = None,
    suffix: Annotated[
        str, typer.Option(metavar="TEXT", help="Put behind the name of results beside the input.")
    ] = options.USUAL_SUFFIX,
    steps: options.Steps = None,
    seed: options.Seed = None,
    eta: options.Eta = None,
    sampler: options.Sampler = None,
    spacing: options.Spacing = None,
    temperature: options.Temperature = None,
    iterations: options.Iterations = None,
    task: options.Task = None,
    samples: options.Samples = None,
    ev: developing.Ev = None,
    ratio: developing.Ratio = None,
    white_balance: developing.WhiteBalance = "camera",
    developer: developing.Developer = "auto",
    geometry: developing.GeometryFile = None,
    camera: developing.Camera = None,
    gain: developing.Gain = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object about all pictures.")] = False,
) -> None:
    """Enhance dark pictures. Finished ones are skipped, so a stopped run goes on where it was.

    Examples: 'tapetum enhance night.jpg' writes night-enhanced.jpg; 'tapetum enhance holiday/ -r -o bright/' does a
    whole folder.
    """
    from tapetum.cli.batch import Naming, plan
    from tapetum.imaging import MAX_PIXELS
    from tapetum.imaging.raw.options import development

    if not suffix or "/" in suffix or "\\" in suffix:
        raise UsageError(f"--suffix {suffix!r}: give some characters without a folder separator, such as -enhanced")
    chosen = options.given(
        steps=steps,
        seed=seed,
        eta=eta,
        sampler=sampler,
        spacing=spacing,
        temperature=temperature,
        iterations=iterations,
        task=task,
        samples=samples,
    )
    raw = is_raw(model)
    if raw and strength != 1:
        raise UsageError(f"--strength is for developed pictures; {model} makes a longer exposure: choose --ratio")
    if not raw and (camera is not None or gain is not None):
        raise UsageError(f"--camera and --gain are for RAW methods ({', '.join(RAW_METHODS)}), {model} is none")
    exposure = development(ev, ratio, white_balance, developer, geometry, otherwise="auto" if raw else 0.0)
    photons = Photons(gain, camera)
    if raw:
        check_raw(model, exposure)
    reading = Reading(max_pixels or MAX_PIXELS, exposure)
    naming = Naming(suffix, f".{format.value}" if format else None, compare, samples or 1)
    jobs, unusable = plan(inputs, output, naming, recursive, mosaics=raw or exposure.needs_raw)
    summary = Summary()
    for text, error in unusable:
        summary.fail({"input": unicode(text), "output": None}, error)
    todo: list[Job] = []
    uncompared: list[Job] = []
    for job in jobs:
        if overwrite or not all(map(exists, job.enhanced)):
            todo.append(job)
        elif job.comparison and not exists(job.comparison):
            uncompared.append(job)
        else:
            summary.add(job, "skipped")
    begin = time.perf_counter()
    if todo:
        if raw:
            work = raw_work(model, weights, device, memory, chosen, reading, photons, quality)
            enhancer, in_steps = work.enhancer, True
        else:
            enhancer = make_enhancer(model, weights, device, memory, strength, chosen)
            work, in_steps = partial(do, enhancer, reading, quality), enhancer.engine.properties.iterative
        summary.engine, summary.options = enhancer.engine.name, enhancer.options
        run("enhancing", todo, work, summary, "done", in_steps)
    if uncompared and not summary.stopped:
        run("comparing", uncompared, lambda job, _: compare_finished(job, reading), summary, "skipped")
    summary.seconds = time.perf_counter() - begin
    if as_json:
        print_json(summary.as_dict())
    summary.tell(len(jobs) + len(unusable))
    raise typer.Exit(summary.exit_code)


def make_enhancer(
    model: str, weights: Path | None, device: str, memory: str | None, strength: float, chosen: dict[str, Any]
) -> Enhancer:
    from tapetum.enhancer import Enhancer

    return Enhancer(model, weights=weights, device=device, memory=memory, strength=strength, **chosen)


def run(
    title: str,
    jobs: list[Job],
    work: Callable[[Job, OnStep], None],
    summary: Summary,
    status: str,
    in_steps: bool = False,
) -> None:
    """Every job; one that fails is noted and the next begins. Ctrl-C or SIGTERM ends it after the picture that is under
    way, or after the step where the model works ``in_steps``, a second one at once; files are whole or not there."""
    try:
        with interrupts_noted("step" if in_steps else "picture") as interrupted, progress_bar() as bar:
            task = bar.add_task(title, total=len(jobs))
            steps = bar.add_task("  steps" if in_steps else "  tiles", visible=False)

            def on_step(done: int, total: int) -> None:
                bar.update(steps, completed=done, total=total, visible=total > 1)
                if in_steps and interrupted():
                    raise KeyboardInterrupt

            for job in jobs:
                if interrupted():
                    raise KeyboardInterrupt
                bar.update(task, description=printable(job.source.name))
                run_one(job, lambda job: work(job, on_step), summary, status)
                bar.reset(steps, visible=False)
                bar.advance(task)
    except KeyboardInterrupt:
        summary.stopped = True


def run_one(job: Job, work: Callable[[Job], None], summary: Summary, status: str) -> None:
    begin = time.perf_counter()
    try:
        work(job)
    except Exception as error:
        if not isinstance(error, TapetumError) and settings.debug:
            raise
        summary.fail({"input": unicode(job.source), "output": unicode(job.output)}, error)
    else:
        summary.add(job, status, time.perf_counter() - begin)


@dataclass(frozen=True)
class Reading:
    """How pictures are read: how large they may be, and how camera RAW files are developed."""

    max_pixels: int
    development: Development

    def picture(self, path: Path) -> Picture:
        from tapetum.errors import InputError
        from tapetum.imaging import read_picture

        picture = read_picture(path, max_pixels=self.max_pixels, development=self.development)
        if picture.format != "raw" and self.development.needs_raw:
            raise InputError(
                f"{path}: --ev and --ratio are for camera RAW files, as are --white-balance and --developer,"
                " and this is none"
            )
        return picture


def raw_work(
    model: str,
    weights: Path | None,
    device: str,
    memory: str | None,
    chosen: dict[str, Any],
    reading: Reading,
    photons: Photons,
    quality: int | None,
) -> RawWork:
    from tapetum.raw_enhancer import RawEnhancer

    enhancer = RawEnhancer(model, device, weights=weights, memory=memory, **chosen)
    return RawWork(enhancer, reading.development, photons, reading.max_pixels, quality)


def do(enhancer: Enhancer, reading: Reading, quality: int | None, job: Job, on_step: OnStep) -> None:
    from tapetum.errors import InputError
    from tapetum.imaging import write_picture
    from tapetum.imaging.replacing import make_folder

    picture = reading.picture(job.source)
    try:
        draws = enhancer.samples(picture, on_step=on_step)
        enhanced = next(draws) if not job.samples else write_samples(job, draws, quality)
    except InputError as error:
        raise InputError(f"{job.source}: {error}") from None
    make_folder(job.output.parent)
    if job.comparison:
        write_comparison(job.comparison, picture, enhanced)
    # Last: its presence says that the job is finished
    write_picture(enhanced, job.output, quality=quality)


def write_samples(job: Job, draws: Iterator[Picture], quality: int | None) -> Picture:
    """Writes each sample when it is drawn, then the picture of their spread. Returns their mean."""
    from tapetum.imaging import Picture, write_picture
    from tapetum.imaging.moments import SPREAD_GAIN, Moments
    from tapetum.imaging.replacing import make_folder

    make_folder(job.output.parent)
    moments = Moments()
    sample = None
    for path, sample in zip(job.samples, draws, strict=True):
        write_picture(sample, path, quality=quality)
        moments.add(sample.pixels)
    assert sample
    assert job.spread
    write_picture(Picture(moments.spread("uint8", SPREAD_GAIN)), job.spread)
    return sample.with_pixels(moments.mean(sample.pixels.dtype))


def compare_finished(job: Job, reading: Reading) -> None:
    """The before/after picture of an output that an earlier run has written."""
    from tapetum.errors import InputError
    from tapetum.imaging import read_picture

    before = reading.picture(job.source)
    try:
        after = read_picture(job.output, max_pixels=reading.max_pixels)
    except InputError as error:
        raise InputError(f"{error} (it is the finished output: --overwrite makes it anew)") from None
    if before.pixels.shape[:2] != after.pixels.shape[:2]:
        raise InputError(f"{job.output}: has not the size of {job.source}: --overwrite makes it anew")
    assert job.comparison
    write_comparison(job.comparison, before, after)


def write_comparison(path: Path, before: Picture, after: Picture) -> None:
    from tapetum.imaging import write_picture
    from tapetum.imaging.comparison import side_by_side

    write_picture(side_by_side({"before": before.pixels, "after": after.pixels}), path)


def exists(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name too long for the disk: writing will say so
        return False


@dataclass
class Summary:
    """What became of each picture."""

    files: list[dict[str, Any]] = field(default_factory=list)
    engine: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False

    def add(self, job: Job, status: str, seconds: float | None = None) -> None:
        entry: dict[str, Any] = {"input": unicode(job.source), "output": unicode(job.output)}
        if job.comparison and seconds is not None:  # not where there was nothing to do
            entry["comparison"] = unicode(job.comparison)
        if job.spread and status == "done":
            entry |= {"samples": [unicode(path) for path in job.samples], "spread": unicode(job.spread)}
        entry["status"] = status
        if seconds is not None:
            entry["seconds"] = round(seconds, 3)
        self.files.append(entry)

    def fail(self, entry: dict[str, Any], error: Exception) -> None:
        text = str(error)
        if not isinstance(error, TapetumError):
            text = f"{entry['input']}: unexpected {type(error).__name__}: {error} ('tapetum --debug ...' shows where)"
        self.files.append({**entry, "status": "failed", "error": printable(text)})
        say(f"error: {text}")

    def count(self, status: str) -> int:
        return sum(entry["status"] == status for entry in self.files)

    @property
    def exit_code(self) -> int:
        return STOPPED if self.stopped else FAILED if self.count("failed") else DONE

    def as_dict(self) -> dict[str, Any]:
        counts = {status: self.count(status) for status in ("done", "skipped", "failed")}
        return {
            **counts,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "engine": self.engine,
            "options": self.options,
            "files": self.files,
        }

    def tell(self, total: int) -> None:
        """Where the results are, and what failed, in a line or two on stderr."""
        done, skipped, failed = (self.count(status) for status in ("done", "skipped", "failed"))
        if self.stopped:
            say(f"stopped: {done + skipped} of {total} are done; the same command goes on from there")
            return
        if total == 1:
            for entry in self.files:
                if entry["status"] != "failed":
                    verb = "written" if entry["status"] == "done" else "skipped, it exists (--overwrite redoes it)"
                    say(f"{verb}: {entry['output']}")
                    if "samples" in entry:
                        say(f"written: its {len(entry['samples'])} samples, and their spread: {entry['spread']}")
                    if entry["status"] == "skipped" and "comparison" in entry:
                        say(f"written: {entry['comparison']}")
            return
        parts = [f"{done} done in {self.seconds:.1f} s"]
        parts += [f"{skipped} skipped (they exist; --overwrite redoes them)"] if skipped else []
        compared = sum(entry["status"] == "skipped" and "comparison" in entry for entry in self.files)
        parts += [f"{compared} before/after pictures added"] if compared else []
        parts += [f"{failed} failed"] if failed else []
        say(", ".join(parts))
