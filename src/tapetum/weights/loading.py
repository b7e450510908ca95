"""Files of weights: reading them safely, recognising what they hold, loading them strictly, writing our own.

Ours are safetensors with the method, its configuration and provenance in the metadata. Published ``.pth``/``.pt`` files
go through ``torch.load(weights_only=True)`` only: a pickle that would run code is refused before it does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import tapetum
from tapetum.errors import UsageError, WeightsError
from tapetum.imaging.replacing import write_whole
from tapetum.methods.contract import Method
from tapetum.methods.registry import HOMES, get_method, make_config
from tapetum.weights.registry import NAMED_WEIGHTS, bundled_name, sha256_of

log = logging.getLogger(__name__)

_LISTED = 10  # differences named in an error; the rest is counted
# What the field wraps a state dict in. "params" before its moving average: that is what the published
# test scripts take by default, and only some methods ask for the average.
_WRAPPERS = ("params", "params_ema", "state_dict", "netG", "model", "model_R")
_NESTED = 2  # wrappers in each other, at most: Reti-Diff's decomposition is under state_dict, model_R
_AVERAGES = ("params_ema", "ema_helper")
# Beside tensors some trainings pickle their options. These hold values, and run nothing when they are read.
_HARMLESS = [argparse.Namespace, torch.device]


CHECKPOINT_METADATA = "tapetum"
"""Where a checkpoint of ours has what the metadata of our safetensors say."""


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Attributes:
        state: tensors by clean key, without wrappers, a leading ``module.``, or what a checkpoint of training adds.
        entry: the wrapper that the tensors were in ("params", "params_ema", "state_dict", ...), or "".
        metadata: texts of a safetensors file, or of a checkpoint of our training; else empty. Ours are under
            ``tapetum.*``.
    """

    state: dict[str, Tensor]
    entry: str
    metadata: dict[str, str]


def read_weights(path: str | Path, *, ema: bool = False) -> WeightsFile:
    """Read a safetensors, ``.pth`` or ``.pt`` file; what it is, is seen from its content.

    Args:
        ema: take the moving average (``params_ema``, ``ema_helper``) where the file holds both.

    Raises:
        WeightsError: no such file, empty, cut off, no file of tensors, or a pickle that wants to do more than that.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not start:
        raise WeightsError(f"{path}: the file is empty; download it again")
    if start[4:9] == b"\0\0\0\0{":  # asked first: the length before it may begin like the others
        content, metadata = _read_safetensors(path)
    elif start[:2] in (b"PK", b"\x80\x02"):
        content = _read_pickle(path)
        told = content.get(CHECKPOINT_METADATA) if isinstance(content, Mapping) else None
        metadata = {k: v for k, v in told.items() if isinstance(v, str)} if isinstance(told, Mapping) else {}
    else:
        raise WeightsError(f"{path}: {_describe(start)}, not a file of weights (.safetensors, .pth, .pt)")
    state, entry = _unwrap(content, path, ema)
    return WeightsFile(state, entry, metadata)


def read_state_dict(path: str | Path, *, ema: bool = False) -> dict[str, Tensor]:
    """Tensors by clean key; see :func:`read_weights`."""
    return read_weights(path, ema=ema).state


def recognise(state: Mapping[str, Tensor]) -> tuple[Method, Any]:
    """The method and configuration of a state dict with clean keys.

    Raises:
        WeightsError: no registered method has such keys; or a known variant that is not supported.
    """
    for name in HOMES:
        method = get_method(name)
        try:
            config = method.recognise(state)
        except WeightsError:
            raise
        except UsageError as error:
            raise WeightsError(f"weights of a configuration that cannot be ({error})") from None
        except (IndexError, ValueError, ZeroDivisionError):  # what reading sizes off odd shapes ends in
            raise WeightsError(f"weights with the keys of {name}, and tensors of shapes that it cannot have") from None
        if config is not None:
            return method, config
    raise WeightsError(
        f"weights of an unknown method ({len(state)} tensors: {_listed(state)}){_nearest(state)}; known: "
        f"{', '.join(HOMES)}"
    )


def _nearest(state: Mapping[str, Tensor]) -> str:
    """What to say of the method whose keys most of these are, as where a few are missing; "" where there is none."""
    shared: dict[str, tuple[int, list[str]]] = {}
    for name in HOMES:
        method = get_method(name)
        with torch.device("meta"):
            own = method.network(make_config(method, None)).state_dict()
        shared[name] = sum(key in own for key in state), [key for key in own if key not in state]
    name, (count, missing) = max(shared.items(), key=lambda item: item[1][0])
    if 2 * count < len(state) or not missing:
        return ""
    return f", {count} of them of {name}, which in its default configuration also has {_listed(missing)}"


def load_model(path: str | Path, method: str | None = None, config: Any = None, *, ema: bool = False) -> nn.Module:
    """The network that a file of weights is for, with its weights, in eval mode on the processor.

    Args:
        method: name of the method it must be; None: whichever it is.
        config: the configuration it must have (as :func:`tapetum.methods.registry.make_config` takes it); None: read
            from the file.
        ema: see :func:`read_weights`. Some methods' published programs take the average anyway, and so does this.

    Raises:
        WeightsError: not a file of weights, another method's, or keys and shapes that do not match.
        UsageError: unknown method or configuration.
    """
    wanted = None if method is None else get_method(method)
    file = read_weights(path, ema=ema)
    try:
        found, found_config = _identify(file)
    except WeightsError as error:
        if wanted is None or config is None:
            raise WeightsError(f"{path}: {error}") from None
        found, found_config = wanted, None  # the caller knows; a strict load says what differs
    if found.average and not ema:
        file = read_weights(path, ema=True)
    if wanted is not None and found.name != wanted.name:
        raise WeightsError(f"{path}: holds weights of {found.name}, not of {wanted.name}")
    chosen = make_config(found, found_config if config is None else config)
    state = file.state if "tapetum.method" in file.metadata else found.remap(file.state)
    complaint = f"{path} does not fit {found.name}{_differing(found_config, chosen)}"
    with torch.device("meta"):  # no memory: a damaged file may ask for a network of any size
        check_fits(found.network(chosen), state, complaint)
    network = found.network(chosen)
    load_strictly(network, state, complaint)
    return network.eval()


def _differing(found: Any, chosen: Any) -> str:
    """What a file's configuration has otherwise than the one that is wanted; "" where it cannot be known."""
    if type(found) is not type(chosen):
        return ""
    theirs, ours = dataclasses.asdict(found), dataclasses.asdict(chosen)
    names = [f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if theirs[key] != ours[key]]
    return f", having {_listed(names)}" if names else ""


def find_named(name: str, weights: str | Path | None = None) -> tuple[Path, str]:
    """The file of weights that people mean by a name and perhaps a file, and the method it must be of.

    Args:
        name: bundled weights, or a method, which without a file stands for its first bundled weights.
        weights: a file of weights for the method of that name.

    Raises:
        UsageError: no file, and a method without bundled weights; WeightsError: bundled weights that are damaged.
    """
    entry = NAMED_WEIGHTS.get(bundled_name(name) if weights is None else name)
    method = entry.method if entry else name
    if weights is not None:
        return Path(weights), method
    if entry is None:
        raise UsageError(
            f"{name} is a method without bundled weights: give a file of weights "
            "(--weights FILE, or weights= in Python)"
        )
    return entry.verified_path(), method


def load_named(name: str, weights: str | Path | None = None) -> nn.Module:
    """The network of :func:`find_named`. Raises as that does, and WeightsError as :func:`load_model` does."""
    path, method = find_named(name, weights)
    return load_model(path, method=method)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    """Load every tensor of ``state`` into ``network``, or nothing. Raises as :func:`check_fits` does."""
    check_fits(network, state, complaint)
    network.load_state_dict(dict(state))


def check_fits(network: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    """Compares keys and shapes.

    Raises:
        WeightsError: ``complaint``, and which keys are missing, unexpected or of another shape.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    found = [
        f"{len(keys)} {kind}: {_listed(keys)}"
        for kind, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if keys
    ]
    if found:
        raise WeightsError(f"{complaint}: {'; '.join(found)}")


def save_model(network: nn.Module, path: str | Path, provenance: dict[str, Any]) -> Path:
    """Write a network as safetensors, with its method, configuration and provenance in the metadata.

    Args:
        network: of a registered method.
        provenance: what is known of its origin: data, recipe, commit, metrics, licence. JSON values.

    Raises:
        UsageError: not a registered method's network; a folder that is not there or not writable.
    """
    path = Path(path)
    state = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in network.state_dict().items()}
    metadata = {"format": "pt", **describe(network, provenance)}
    try:
        write_whole(save(state, metadata), path)  # save_file makes files that only their owner can read
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error  # not str(error), which names the temporary file
        raise UsageError(f"{path}: cannot be written ({reason})") from None
    return path


def describe(network: nn.Module, provenance: dict[str, Any]) -> dict[str, str]:
    """What every file of ours says about a network: metadata texts under ``tapetum.*``."""
    return {
        "tapetum.method": method_of(network).name,
        "tapetum.config": json.dumps(dataclasses.asdict(cast("Any", network.config)), sort_keys=True),
        "tapetum.provenance": json.dumps(provenance, sort_keys=True, ensure_ascii=False),
        "tapetum.version": tapetum.__version__,
    }


def method_of(network: nn.Module) -> Method:
    """The registered method that a network is of. Raises UsageError where there is none."""
    for name in HOMES:
        method = get_method(name)
        if isinstance(getattr(network, "config", None), method.config):
            return method
    raise UsageError(f"{type(network).__name__} is no network of a registered method ({', '.join(HOMES)})")


def inspect(path: str | Path) -> dict[str, Any]:
    """What a file of weights holds, for people: file, sha256, method, config, entry, tensors, parameters, dtypes and
    metadata (without the config). ``method`` and ``config`` are None where no registered method has such keys, and
    ``note`` then says why.

    Raises:
        WeightsError: see :func:`read_weights`.
    """
    file = read_weights(path)
    facts: dict[str, Any] = {"file": str(path), "sha256": sha256_of(Path(path)), "method": None, "config": None}
    try:
        method, config = _identify(file)
        facts |= {"method": method.name, "config": dataclasses.asdict(make_config(method, config))}
    except WeightsError as error:
        facts["note"] = str(error)
    return facts | {
        "entry": file.entry,
        "tensors": len(file.state),
        "parameters": sum(tensor.numel() for tensor in file.state.values()),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in file.state.values()}),
        "metadata": {k: v for k, v in file.metadata.items() if k != "tapetum.config"},
    }


def import_published(
    path: str | Path, out: str | Path, *, ema: bool = False, joined: Sequence[str | Path] = ()
) -> Path:
    """Turn a published file into one of ours (safetensors), checked by a strict load.

    Args:
        joined: files of the part that this method's published files keep apart (``Method.complete``).

    Raises:
        WeightsError: see :func:`load_model`. UsageError: ``out`` cannot be written, or nothing can be joined.
    """
    if Path(out).suffix != ".safetensors":
        raise UsageError(f"{out}: imported weights are safetensors; choose a name that ends so")
    network = load_model(path, ema=ema)
    method = method_of(network)
    file = read_weights(path, ema=ema or method.average)
    provenance: dict[str, Any] = {
        "imported_from": Path(path).name,
        "sha256": sha256_of(Path(path)),
        "entry": file.entry,
    }
    if joined:
        if method.complete is None:
            raise UsageError(f"{path}: weights of {method.name}, which are whole: nothing is joined with them")
        network = method.complete(network, joined)
        provenance["joined"] = [{"file": Path(each).name, "sha256": sha256_of(Path(each))} for each in joined]
    if "tapetum.provenance" in file.metadata:
        provenance["provenance"] = file.metadata["tapetum.provenance"]
    return save_model(network, out, provenance)


def _identify(file: WeightsFile) -> tuple[Method, Any]:
    """The method and configuration that a file of ours names, or that the keys of another's show."""
    name = file.metadata.get("tapetum.method")
    if name is None:
        return recognise(file.state)
    if name not in HOMES:
        raise WeightsError(f"weights of the method {name!r}, which this version of tapetum does not have")
    method = get_method(name)
    try:
        return method, make_config(method, json.loads(file.metadata["tapetum.config"]))
    except (KeyError, ValueError, TypeError, UsageError) as error:
        raise WeightsError(f"weights of {name} with a configuration that is not understood ({error})") from None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: a damaged or cut off safetensors file ({_first_line(error)})") from None


def _read_pickle(path: Path) -> Any:
    try:
        # the open file, not its name: by some names torch takes it for another kind of file
        with path.open("rb") as file, torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise WeightsError(
                f"{path}: refused: it holds Python objects beside tensors, and reading these could run its code"
            ) from None
        raise WeightsError(f"{path}: a damaged or cut off PyTorch file ({_first_line(error)})") from None


def _unwrap(content: Any, path: Path, ema: bool) -> tuple[dict[str, Tensor], str]:
    entries: list[str] = []
    wrappers = dict.fromkeys((*_AVERAGES, *_WRAPPERS) if ema else _WRAPPERS)
    for _ in range(_NESTED):
        present = [name for name in wrappers if isinstance(content, Mapping) and isinstance(content.get(name), Mapping)]
        if not present:
            break
        if len(present) > 1:
            log.info("%s: taking %s (the file has %s)", path, present[0], ", ".join(present))
        entries.append(present[0])
        content = content[present[0]]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: holds {type(content).__name__}, not tensors by name")
    strangers = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strangers:
        raise WeightsError(f"{path}: holds other things than tensors: {_listed(strangers)}")
    hollow = [key for key, value in content.items() if value.untyped_storage().nbytes() < value.nbytes]
    if hollow:
        raise WeightsError(f"{path}: tensors that claim to be larger than what is stored of them: {_listed(hollow)}")
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    trained = {key: key.removeprefix("network.") for key in content if key.startswith("network.")}
    if trained and all(key in trained or key.startswith("objective.") for key in content):  # our training's checkpoint
        content = {name: content[key] for key, name in trained.items()}
    return dict(content), ".".join(entries)


def _describe(start: bytes) -> str:
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page (the download link gave a page instead of the file)"
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:
            return "a file of another kind"
    return "a text file" if b"\0" not in start else "a file of another kind"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
