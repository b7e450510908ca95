"""ONNX Runtime: runs the files that :mod:`tapetum.deploy.export` writes. NumPy and ONNX Runtime only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.engines import Extras, OutOfMemory
from tapetum.errors import UsageError, WeightsError
from tapetum.imaging.resize import shrink
from tapetum.machine import available_cores, free_memory
from tapetum.methods.contract import Properties

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# What the runtime's messages say where an allocation failed; it has no exception type of its own for that.
_ALLOCATION_FAILED = ("bad_alloc", "bad allocation", "failed to allocate memory", "out of memory")


class OnnxEngine:
    """An exported network in ONNX Runtime.

    Args:
        path: a file that ``tapetum export`` wrote.
        device: "auto" (the processor), "cpu", or "cuda", "cuda:1" where ONNX Runtime was built with it.
        threads: cores to use; None: all that this process may use.

    Raises:
        WeightsError: no such file, no ONNX file, or not written by our export.
        UsageError: a device that this ONNX Runtime does not have.
    """

    def __init__(self, path: str | Path, device: str = "auto", threads: int | None = None) -> None:
        self._origin = path, device, threads
        self._session, self.name = open_session(*self._origin)
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            self.properties = Properties.from_json(metadata["tapetum.properties"])
        except KeyError:
            raise WeightsError(f"{path}: not written by `tapetum export` (it declares no tapetum.properties)") from None
        except (ValueError, TypeError) as error:
            raise WeightsError(f"{path}: written by another version of tapetum ({error})") from None
        self.metadata = {k: v for k, v in metadata.items() if k.startswith("tapetum.")}

    def __getstate__(self) -> dict[str, Any]:
        """To be pickled or copied: a session cannot be, and is opened anew from the file."""
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._session, self.name = open_session(*self._origin)

    def run(self, low: np.ndarray, context: np.ndarray | None = None, extras: Extras | None = None) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`. A file has no options."""
        inputs = {"low": low}
        if self.properties.context == "thumbnail":
            inputs["thumbnail"] = self._thumbnail(low) if context is None else context
        elif self.properties.context == "statistics":
            inputs |= self._statistics(context)
        return self._call("enhanced", inputs)

    def measure(self, low: np.ndarray, extras: Extras | None = None) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`."""
        return self._call("statistics_out", {"low": low} | self._statistics(None))

    def analyse(self, pixels: np.ndarray) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`: networks are given other contexts."""
        raise NotImplementedError

    def noise_channels(self, options: Mapping[str, Any]) -> int:
        """See :class:`tapetum.engines.Engine`."""
        return 0

    def free_memory(self) -> int:
        """See :class:`tapetum.engines.Engine`; of main memory, for ONNX Runtime does not tell a GPU's."""
        return free_memory()

    def _thumbnail(self, low: np.ndarray) -> np.ndarray:
        size = self.properties.thumbnail_size
        return np.stack([shrink(image.transpose(1, 2, 0), size, size).transpose(2, 0, 1) for image in low])

    def _statistics(self, context: np.ndarray | None) -> dict[str, np.ndarray]:
        if context is None:
            (declared,) = [value for value in self._session.get_inputs() if value.name == "statistics"]
            unused = np.zeros((1, declared.shape[1]), np.float32)
            return {"statistics": unused, "use_statistics": np.array(False)}
        return {"statistics": context, "use_statistics": np.array(True)}

    def _call(self, output: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return _guarded(lambda: self._session.run([output], inputs)[0])


def open_session(path: str | Path, device: str = "auto", threads: int | None = None) -> tuple[Any, str]:
    """ONNX Runtime's session for a file, and where it runs ("onnx:cpu"); arguments as :class:`OnnxEngine`'s.

    Raises:
        WeightsError: no such file, or no ONNX file that can be run.
        UsageError: a device that this ONNX Runtime does not have.
    """
    import onnxruntime

    kind, _, index = ("cpu" if device == "auto" else device).partition(":")
    wrong_index = index != "" and (kind == "cpu" or not index.isdecimal())
    if _PROVIDERS.get(kind) not in onnxruntime.get_available_providers() or wrong_index:
        offered = [k for k, provider in _PROVIDERS.items() if provider in onnxruntime.get_available_providers()]
        raise UsageError(f"the ONNX engine has no device {device!r} here: choose from {', '.join(offered)}")
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    provider = (_PROVIDERS[kind], {"device_id": index} if index else {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Measured (benchmarks/enhancer.py): without the memory pattern a run takes 290 instead of 500 bytes per pixel and
    # no longer; without the arena it takes a third more time. Threads that spin while they wait cost core-seconds only.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # the runtime's exceptions have no common base but this
        raise WeightsError(f"{path}: no ONNX file that can be run ({_first_line(error)})") from None
    if _PROVIDERS[kind] not in session.get_providers():  # built with it, and its libraries or the device are missing
        raise UsageError(f"the ONNX engine cannot use device {device!r} here: ONNX Runtime fell back to the processor")
    return session, f"onnx:{kind}" + (f":{index}" if index else "")


def _guarded(call: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        return call()
    except MemoryError as error:
        raise OutOfMemory(_first_line(error)) from None
    except Exception as error:  # as above
        if any(words in str(error).lower() for words in _ALLOCATION_FAILED):
            raise OutOfMemory(_first_line(error)) from None
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
