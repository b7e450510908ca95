"""Which pictures a command line means, and where each result goes. Touches no pixels."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tapetum.cli.console import printable
from tapetum.cli.options import USUAL_SUFFIX
from tapetum.errors import InputError, UsageError
from tapetum.imaging.formats import WRITTEN, is_picture, is_raw, output_suffix, written_format


@dataclass(frozen=True)
class Job:
    """One picture to enhance.

    Attributes:
        source: the picture's file.
        output: where the enhanced picture goes.
        comparison: where the before/after picture goes, or None.
        samples: where the samples go whose mean the enhanced picture is; empty where it is no mean.
        spread: where the picture of their standard deviation goes, or None.
    """

    source: Path
    output: Path
    comparison: Path | None = None
    samples: tuple[Path, ...] = ()
    spread: Path | None = None

    @property
    def written(self) -> list[Path]:
        """Every file of the job."""
        return [*self.enhanced, *filter(None, (self.comparison,))]

    @property
    def enhanced(self) -> list[Path]:
        """Those that only the model can make."""
        return [self.output, *self.samples, *filter(None, (self.spread,))]


@dataclass(frozen=True)
class Naming:
    """How an output is named.

    Attributes:
        suffix: put behind the name when the output lies beside its source.
        ending: ".jpg" and so on for another format than the source's, else None.
        compare: also name a before/after picture.
        samples: from 2 up: also name so many samples, and the picture of their spread.
    """

    suffix: str = USUAL_SUFFIX
    ending: str | None = None
    compare: bool = False
    samples: int = 1

    def job(self, source: Path, folder: Path, suffix: str) -> Job:
        return self.with_others(source, folder / f"{source.stem}{suffix}{self.ending or output_suffix(source)}")

    def with_others(self, source: Path, output: Path, with_ending: bool = False) -> Job:
        """The job with the names of what is written beside its output; ``with_ending``: that of the output is in
        those of comparison and spread."""
        stem, ending = output.stem, output.suffix
        name = f"{stem}-{ending[1:]}" if with_ending else stem
        comparison = output.with_name(f"{name}-compare.jpg") if self.compare else None
        if self.samples < 2:
            return Job(source, output, comparison)
        samples = (output.with_name(f"{stem}-sample{number}{ending}") for number in range(1, self.samples + 1))
        return Job(source, output, comparison, tuple(samples), output.with_name(f"{name}-spread.png"))

    def source_of(self, stem: str) -> str | None:
        """The name of the picture beside which a run writes something of this name; None: this is no such name."""
        suffixes = "|".join(re.escape(suffix) for suffix in dict.fromkeys((self.suffix, USUAL_SUFFIX)))
        found = re.search(rf"({suffixes})(-sample\d+|(-\w{{3,4}})?(-compare|-spread))?$", stem)
        return None if found is None else stem[: found.start()]


def plan(
    inputs: list[str], out: str | None, naming: Naming, recursive: bool = False, mosaics: bool = False
) -> tuple[list[Job], list[tuple[str, InputError]]]:
    """The jobs of a command line, in order and without repetition, and the inputs that name nothing usable.

    Args:
        inputs: files, folders, or patterns with ``*``, ``?``, ``[...]``, ``**`` (for shells that leave them alone).
        out: None: beside each source, with ``naming.suffix``. A file name (known by its ending): for one input file.
            Otherwise a folder, in which the names, and below an input folder its subfolders, are kept.
        recursive: look into the folders of folders, too.
        mosaics: of folders take cameras' RAW files, and these only (for RAW methods, and options that only RAW has).

    Raises:
        UsageError: an output is an input, two inputs have one output, or ``out`` cannot hold the results.
    """
    if out == "":
        raise UsageError("-o is empty: give a folder, or a file for one picture")
    if out == "-":
        raise UsageError("-o -: results are files, not written to stdout: give a folder or a file (./- for that name)")
    sources: dict[str, tuple[Path, Path]] = {}  # absolute path -> source, its folder below OUT
    failures: list[tuple[str, InputError]] = []
    for text in inputs:
        try:
            found = list(find(text, recursive, naming, out, mosaics))
        except InputError as error:
            failures.append((text, error))
            continue
        for source, below in found:
            sources.setdefault(os.path.abspath(source), (source, below))
    single = len(inputs) == 1 and len(sources) == 1 and is_file(Path(inputs[0]))
    jobs = [place(source, below, out, naming, single) for source, below in sources.values()]
    jobs = told_apart(jobs, naming)
    if out is None:  # what a shell makes of *.jpg names the results of an earlier run, too
        made = {os.path.abspath(path): job for job in jobs for path in job.written}
        jobs = [job for job in jobs if made.get(os.path.abspath(job.source), job) is job]
    check(jobs)
    return jobs, failures


def place(source: Path, below: Path, out: str | None, naming: Naming, single: bool) -> Job:
    if out is None:
        return naming.job(source, source.parent, naming.suffix)
    path = Path(out)
    if (
        is_folder(path)
        or out.endswith(("/", os.sep))
        or not ((path.suffix and single) or is_picture(path) or written_format(path.suffix))
    ):
        if is_file(path):
            raise UsageError(f"-o {printable(out)} is a file, but the results need a folder")
        return naming.job(source, path / below, "")
    if not single:
        raise UsageError(f"-o {printable(out)} names one file, but there are several inputs: give a folder")
    container = written_format(path.suffix)
    if container is None:
        known = ", ".join(suffixes[0] for suffixes in WRITTEN.values())
        raise UsageError(
            f"-o {printable(out)}: cannot write this kind of file: choose {known}, or end a folder's name with /"
        )
    if naming.ending and container != written_format(naming.ending):
        raise UsageError(f"-o {printable(out)} and --format {naming.ending[1:]} contradict each other")
    return naming.with_others(source, path)


def told_apart(jobs: list[Job], naming: Naming) -> list[Job]:
    """The results night.png and night.tif may lie in one folder, but night-compare.jpg would be of both: there the
    ending comes into the name, night-png-compare.jpg."""
    stems = [os.path.abspath(job.output.with_suffix("")) for job in jobs]
    count = Counter(stems)
    return [naming.with_others(job.source, job.output, count[stem] > 1) for job, stem in zip(jobs, stems, strict=True)]


def check(jobs: list[Job]) -> None:
    """Refuse a plan that would overwrite a source or write a file twice, before anything is done."""
    sources = {same_file_key(job.source): job.source for job in jobs}
    written: dict[object, Path] = {}
    for job in jobs:
        for path in job.written:
            key = same_file_key(path)
            if key in sources:
                raise UsageError(
                    f"the output {printable(path)} is the input {printable(sources[key])}:"
                    " choose another -o or --suffix"
                )
            if key in written:
                raise UsageError(
                    f"{printable(written[key])} and {printable(job.source)} would both be written to {printable(path)}:"
                    " enhance them into two folders"
                )
            written[key] = job.source


def same_file_key(path: Path) -> object:
    """Equal for two names of one file: by inode where it exists (links, case-insensitive disks), else by name."""
    # resolved first: NEW/../night.jpg is night.jpg, though NEW is not there before we make it
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError:
        return os.path.normcase(real)
    return status.st_dev, status.st_ino


def find(text: str, recursive: bool, naming: Naming, out: str | None, mosaics: bool) -> Iterator[tuple[Path, Path]]:
    """The pictures that one argument names, each with its folder below the argument's.

    Raises:
        InputError: it names nothing, or a folder without pictures.
    """
    path = Path(text)
    if not text:  # a shell variable that was not set; never the folder one happens to be in
        raise InputError("an input is empty: give a file, a folder or a pattern")
    if is_file(path):
        yield path, Path()
    elif is_folder(path):
        kind = "camera RAW files" if mosaics else "pictures"
        hint = "" if mosaics or reads_raw() else " (camera RAW files are read with pip install 'tapetum[raw]')"
        found = walk(path, recursive, naming, out, mosaics)
        yield from checked(found, f"no {kind} in the folder {printable(path)}{hint}")
    elif glob.has_magic(text):
        matches = (Path(match) for match in sorted(glob.glob(text, recursive=True)))
        results = results_below(text, out)
        own = OwnResults(naming)
        inputs = (match for match in matches if match.is_file() and match not in own)
        pictures = (
            (match, Path()) for match in inputs if not any(os.path.realpath(p) == results for p in match.parents)
        )
        yield from checked(pictures, f"nothing matches {printable(text)}")
    else:
        raise InputError(f"no such file or folder: {printable(text)}")


def checked(found: Iterator[tuple[Path, Path]], otherwise: str) -> Iterator[tuple[Path, Path]]:
    empty = True
    for item in found:
        empty = False
        yield item
    if empty:
        raise InputError(otherwise)


def walk(top: Path, recursive: bool, naming: Naming, out: str | None, mosaics: bool) -> Iterator[tuple[Path, Path]]:
    """Pictures (by their ending) in a folder; a camera's RAW file only where its picture is not beside it, since both
    would become the same result. With ``mosaics`` RAW files only, all of them. Follows links, but enters each real
    folder once, so loops end."""
    entered = {os.path.realpath(top)}
    results = None if out is None else os.path.realpath(out)
    own = OwnResults(naming)
    for folder, subfolders, names in os.walk(top, followlinks=True):
        here = Path(folder)
        kept = []
        for name in sorted(subfolders):
            real = os.path.realpath(here / name)
            if recursive and real not in entered and real != results and not name.startswith("."):
                entered.add(real)
                kept.append(name)
        subfolders[:] = kept
        pictures = {Path(name).stem for name in names if is_picture(name)}
        for name in sorted(names):
            path = here / name
            if mosaics:
                wanted = is_raw(name)
            else:
                wanted = is_picture(name) or (is_raw(name) and path.stem not in pictures and reads_raw())
            if wanted and not name.startswith(".") and path not in own:
                yield path, here.relative_to(top)


@cache
def reads_raw() -> bool:
    """Whether camera RAW files can be read here. Where not, they are passed over in folders as other files are."""
    return find_spec("rawpy") is not None


class OwnResults:
    """Pictures that an earlier run has written beside their source, which is still there: in a walk these are no
    inputs, wherever this run's results go."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._pictures: dict[Path, set[str]] = {}

    def __contains__(self, path: Path) -> bool:
        source = self._naming.source_of(path.stem)
        if source is None:
            return False
        folder = path.parent
        if folder not in self._pictures:
            names = (file.name for file in folder.iterdir())
            self._pictures[folder] = {Path(name).stem for name in names if is_picture(name) or is_raw(name)}
        return source in self._pictures[folder]


def results_below(pattern: str, out: str | None) -> str | None:
    """The folder of results, unless a pattern begins in it: where that one comes upon it, it holds no inputs."""
    begin = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    if out is None or os.path.realpath(out) in map(os.path.realpath, (begin, *begin.parents)):
        return None
    return os.path.realpath(out)


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for the disk, or with a zero byte
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
