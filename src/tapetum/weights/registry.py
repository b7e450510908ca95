"""Named weights: the files that the package carries. No torch here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapetum.errors import UsageError, WeightsError

FOLDER = Path(__file__).parent / "files"
MANIFEST = "manifest.json"
_HEADER = 1 << 27  # bytes of a safetensors header, at most


@dataclass(frozen=True)
class NamedWeights:
    """Weights that the package carries under a name.

    Attributes:
        name: as ``Enhancer`` and the command line take it.
        method: the method's name in the registry.
        path: the safetensors file.
        onnx: the same network, exported; None where it has no ONNX form, and runs in PyTorch only.
        sha256, onnx_sha256: of the two files.
        licence: under which the weights may be used.
        card: where they come from, what they are for, what was measured.
        parameters: how many the network has, tables and other things that are not learnt aside.
        task: what they were trained for, of a method with tasks.
    """

    name: str
    method: str
    path: Path
    onnx: Path | None
    sha256: str
    onnx_sha256: str | None
    licence: str
    card: str
    parameters: int
    task: str | None = None

    def verified_path(self) -> Path:
        """The safetensors file. Raises WeightsError where it is missing or damaged."""
        return _verified(self.path, self.sha256)

    def verified_onnx(self) -> Path:
        """The ONNX file. Raises WeightsError where there is none, or it is missing or damaged."""
        if self.onnx is None or self.onnx_sha256 is None:
            raise WeightsError(f"{self.name} has no ONNX form: it runs in the torch engine")
        return _verified(self.onnx, self.onnx_sha256)


def read_manifest(folder: Path) -> dict[str, NamedWeights]:
    """Named weights of a folder, from its ``manifest.json``: name -> the fields of :class:`NamedWeights`, with file
    names for ``path`` and ``onnx`` (null where there is none). A folder without a manifest has none.

    Raises:
        WeightsError: the manifest is damaged.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        return {
            name: NamedWeights(
                **{
                    **entry,
                    "name": name,
                    "path": folder / entry["path"],
                    "onnx": None if entry["onnx"] is None else folder / entry["onnx"],
                }
            )
            for name, entry in json.loads(text).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder / MANIFEST}: damaged ({error}); install tapetum again") from None


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def stored_header(path: Path) -> dict[str, Any]:
    """Of a safetensors file: the length of a JSON object, then the object. Raises ValueError where it is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _HEADER:
            raise ValueError("no safetensors file")
        return json.loads(file.read(length))


def bundled_name(model: str, task: object = None) -> str:
    """A method's name as that of its bundled weights, the first that are for ``task``; any other name as it is.

    Raises:
        UsageError: the method has weights for other tasks only.
    """
    own = [entry for entry in NAMED_WEIGHTS.values() if entry.method == model]
    if model in NAMED_WEIGHTS or not own:
        return model
    tasks = dict.fromkeys(entry.task for entry in own if entry.task is not None)
    for entry in own:
        if task is None or not tasks or entry.task == task:
            return entry.name
    told = ", ".join(tasks)
    raise UsageError(f"{model} has bundled weights for {told} only: give a file for {task} (--weights FILE)")


def _verified(path: Path, expected: str) -> Path:
    if not path.is_file():
        raise WeightsError(f"{path}: the bundled file is missing; install tapetum again")
    if sha256_of(path) != expected:
        raise WeightsError(f"{path}: the bundled file is damaged (its SHA-256 differs); install tapetum again")
    return path


NAMED_WEIGHTS: dict[str, NamedWeights] = read_manifest(FOLDER)
