"""Enhanced pictures kept on disk by what they are made of, so that a stopped run goes on and nothing is made twice."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import mmap
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

import tapetum
from tapetum.errors import InputError, TapetumWarning, os_reason
from tapetum.imaging.replacing import make_folder, replacing
from tapetum.methods.registry import CLASSICAL_METHODS, HOMES
from tapetum.weights.registry import NAMED_WEIGHTS, sha256_of

Entry = TypeVar("Entry")

# what stands between a picture file and its enhanced picture, beside the method's own folder
_SHARED_CODE = (
    "budget.py",
    *(f"data/{name}.py" for name in ("arrays", "layouts", "pictures", "resize")),
    "engines",
    "enhancer.py",
    *(f"evaluation/{name}.py" for name in ("protocols", "run")),
    "evaluation/benchmark/predicting.py",
    "imaging/*.py",
    "machine.py",
    "methods/*.py",
    "methods/blocks",
    "ops",
    "weights/loading.py",
)
_BORROWED = {"dednet": ("methods/retinexformer/checkpoint.py",)}  # what a method has from another's folder
_RUNTIMES = {"onnx": "onnxruntime", "torch": "torch", "numpy": "numpy"}


def model_key(model: str, weights: Path | None, engine: str, **more: Any) -> str:
    """Tells models apart by their content: a SHA-256 over that of the file of weights (of one in ONNX, of those with
    its tensors, too), the method's name where the file does not say it, which engine runs it and its version, the code
    of this package that has a part in it, and ``more``, such as the options.

    Args:
        model: as ``Enhancer`` takes it.
        engine: "onnx:cpu", "torch:cuda:0" ...

    Raises:
        InputError: the file cannot be read.
    """
    file = Path(model) if model.lower().endswith(".onnx") else weights
    entry = NAMED_WEIGHTS.get(model)
    if file is not None:
        try:
            content = ",".join(sha256_of(each) for each in (file, *beside(file)))
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {os_reason(error)}") from None
    else:
        content = entry.sha256 + (entry.onnx_sha256 or "") if entry else model
    method = entry.method if entry else "" if file is not None and weights is None else model
    kind = engine.partition(":")[0]
    code = code_key("" if kind == "onnx" else method)
    versions = [_version(package) for package in (_RUNTIMES.get(kind, "numpy"), "pyvips-binary", "pyvips")]
    parts = [content, method, engine, versions, tapetum.__version__, code]
    return hashlib.sha256(json.dumps([*parts, more], sort_keys=True, default=repr).encode()).hexdigest()


_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])")


def beside(file: Path) -> list[Path]:
    """The files in which one in ONNX keeps tensors outside of itself, sorted: what ``external_data`` of a tensor says
    in protobuf's notation. Those that are not there are missed by whoever loads it. Raises OSError: it cannot be read.
    """
    if file.suffix.lower() != ".onnx" or not file.stat().st_size:
        return []
    found = set()
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _LOCATION.finditer(content):
            length = sum((digit & 0x7F) << 7 * place for place, digit in enumerate(match.group(1)))
            name = content[match.end() : match.end() + length]
            with contextlib.suppress(ValueError, OSError):  # not text, a NUL in it, or too long: no name of a file
                path = file.parent / name.decode("utf-8")
                if path.is_file():
                    found.add(path)
    return sorted(found)


@functools.cache
def code_key(method: str) -> str:
    """SHA-256 of the source files that have a part in a prediction: a version number does not change with each of
    their changes. ``method``: the name of one, "" where none of its code is run (an ONNX file)."""
    root = Path(__file__).parents[1]
    places = [*_SHARED_CODE]
    if method in HOMES:
        places.append(HOMES[method].partition(":")[0].removeprefix("tapetum.").replace(".", "/"))
        places += _BORROWED.get(method, ())
    elif method in CLASSICAL_METHODS:
        places.append("methods/classical")
    digest = hashlib.sha256()
    for place in places:
        found = root.glob(place) if "*" in place or place.endswith(".py") else (root / place).rglob("*.py")
        for path in sorted(found):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class Store(Generic[Entry]):
    """Files of a folder, each whole or not there. A damaged one counts as missing, and a warning says so.

    Args:
        folder: made when the first file is put into it.
        suffix: of the files' names.
        read: a path to what its file holds; raises InputError where it is damaged.
        write: the same back.
    """

    def __init__(
        self, folder: Path, suffix: str, read: Callable[[Path], Entry], write: Callable[[Entry, Path], None]
    ) -> None:
        self.folder = folder
        self._suffix = suffix
        self._read = read
        self._write = write

    def path(self, name: str) -> Path:
        return self.folder / f"{name}{self._suffix}"

    def get(self, name: str) -> Entry | None:
        """What is stored under a name; None where nothing is, or it is damaged."""
        path = self.path(name)
        if not path.is_file():
            return None
        try:
            return self._read(path)
        except InputError as error:
            warnings.warn(f"{error}: it is made anew", TapetumWarning, stacklevel=2)
            return None

    def put(self, name: str, entry: Entry) -> None:
        """Raises InputError: the file or its folder cannot be written."""
        make_folder(self.folder)
        self._write(entry, self.path(name))


def picture_name(path: Path) -> str:
    """The name under which what is made of a picture file is stored. Raises InputError: it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None


Arrays = Mapping[str, NDArray[Any]]


def write_arrays(arrays: Arrays, path: Path) -> None:
    """Arrays by name, exactly as they are. Raises InputError: the file cannot be written."""
    try:
        with replacing(path) as descriptor, open(descriptor, "w+b", closefd=False) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # a stub takes its keyword allow_pickle for one of ours
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {os_reason(error)}") from None


def read_arrays(path: Path) -> Arrays:
    """What :func:`write_arrays` wrote; every byte is checked. Raises InputError: the file is damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path}: damaged") from None


def bytes_below(folder: Path) -> int:
    """How much the files of a folder and its subfolders take."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # somebody else's, gone meanwhile
            continue
    return total
