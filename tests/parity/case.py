"""A parity case: read from its two files, run through its method's adapter, compared.

Strict on purpose: an option, an input or an output that the adapter does not deal with is a failure, never skipped.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import nn

from .fill import fill_state

HERE = Path(__file__).parent
Arrays = dict[str, NDArray[np.float32]]
ONE_LEVEL = "allowed_fraction_one_level"  # of 8-bit pictures: this part of the values may be off by 1/255


class CaseError(Exception):
    """The case asks for something that the adapter, or the network, does not have."""


class Taken(Mapping[str, Any]):
    """A mapping that knows which entries nobody looked at. Nested dicts are wrapped too."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = {k: Taken(v) if isinstance(v, dict) else v for k, v in entries.items()}
        self._seen: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._seen.add(key)
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def ignore(self, *keys: str) -> None:
        """Entries that are known, and say nothing to this unit."""
        self._seen.update(keys)

    def unseen(self) -> list[str]:
        nested = [
            f"{k}.{n}" for k, v in self._entries.items() if k in self._seen and isinstance(v, Taken) for n in v.unseen()
        ]
        return sorted(set(self._entries) - self._seen) + nested


@dataclass(frozen=True)
class Case:
    """One JSON file, and the tensors beside it."""

    path: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Case:
        return cls(path, json.loads(path.read_text(encoding="utf-8")))

    @property
    def method(self) -> str:
        return self.content.get("method", self.path.parent.name)

    @property
    def name(self) -> str:
        return f"{self.method}-{self.path.stem}"

    @property
    def unit(self) -> str:
        usual = "network" if self.is_full_manifest else self.content.get("component", "")
        return self.content.get("unit", usual)

    @property
    def is_full_manifest(self) -> bool:
        return self.path.stem.startswith("full_manifest_")

    @property
    def is_facts(self) -> bool:
        """Tables: nothing is called, the adapter holds ours against them."""
        return not self.is_full_manifest and "component" not in self.content and "unit" not in self.content

    @cached_property
    def config(self) -> Taken:
        return Taken(self.content.get("config", {}))

    @cached_property
    def inputs(self) -> Taken:
        return Taken(self._tensors("input"))

    @cached_property
    def outputs(self) -> Arrays:
        return self._tensors("output")

    @cached_property
    def probes(self) -> Arrays:
        return self._tensors("probe")

    def tensor(self, name: str) -> torch.Tensor:
        """An input as a tensor."""
        return torch.from_numpy(self.inputs[name].copy())

    def load_into(self, module: nn.Module) -> nn.Module:
        """Loads the weights strictly, both directions, counts the parameters; returns the module in eval mode."""
        self.check_manifest(module)
        state = {key: torch.from_numpy(value.copy()) for key, value in self._weights().items()}
        for alias, source in self.content.get("aliases", {}).items():
            if source in state:
                state[alias] = state[source]
        kept = set(self.content["manifest"]) - set(state)
        missing = kept - set(self.content.get("buffers", ()))  # which the constructor computes
        if missing and self.content["weights"] == "file":
            raise CaseError(f"the case ships no weight {min(missing)}")
        module.load_state_dict(module.state_dict() | state if kept else state)
        return module.eval()

    def check_manifest(self, module: nn.Module) -> None:
        """Raises CaseError unless keys, shapes and the number of parameters are the manifest's."""
        wanted = {key: tuple(shape) for key, shape in self.content["manifest"].items()}
        ours = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        if wanted != ours:
            differing = sorted(key for key in wanted.keys() | ours.keys() if wanted.get(key) != ours.get(key))
            lines = [f"  {key}: published {wanted.get(key)}, ours {ours.get(key)}" for key in differing[:10]]
            raise CaseError("\n".join([f"{len(differing)} keys differ from the manifest:", *lines]))
        our_buffers = set(ours) - {key for key, _ in module.named_parameters(remove_duplicate=False)}
        if set(self.content.get("buffers", our_buffers)) != our_buffers:
            raise CaseError(f"the manifest's buffers are {self.content['buffers']}, ours {sorted(our_buffers)}")
        count = self.content.get("parameters")
        ours_count = sum(p.numel() for p in module.parameters())
        if count is not None and count != ours_count:
            raise CaseError(f"published {count} parameters, ours {ours_count}")
        tensors = self.content.get("tensors", len(ours))
        if tensors != len(ours):
            raise CaseError(f"published {tensors} tensors, ours {len(ours)}")

    def _weights(self) -> Arrays:
        weights = self.content["weights"]
        if weights == "file":
            return self._tensors("weight")
        unknown = set(weights) - {"fill", "overrides"}
        if unknown or weights.get("fill") != "v1":
            raise CaseError(f"weights {weights!r}: only the fill rule v1 is known")
        return fill_state(self.content["manifest"], weights.get("overrides", {}))

    def _tensors(self, kind: str) -> Arrays:
        return {key.removeprefix(f"{kind}/"): t for key, t in self._file.items() if key.startswith(f"{kind}/")}

    @cached_property
    def _file(self) -> Arrays:
        file = self.path.with_suffix(".safetensors")
        if not file.is_file():
            raise CaseError(f"{file} is missing")
        return load_file(file)


def find_cases(folder: Path) -> list[Case]:
    return [Case.read(path) for path in sorted(folder.rglob("*.json"))]


def run(case: Case) -> None:
    """Runs a case. Raises CaseError for what is unknown, AssertionError for numbers out of tolerance."""
    adapter = _adapter(case.method)
    if case.is_facts:
        facts = getattr(adapter, "FACTS", {})
        if case.path.stem not in facts:
            raise CaseError(f"the adapter of {case.method} has no facts {case.path.stem!r} (it has {', '.join(facts)})")
        facts[case.path.stem](case.content)
        return
    if case.unit not in adapter.UNITS:
        raise CaseError(f"the adapter of {case.method} has no unit {case.unit!r} (it has {', '.join(adapter.UNITS)})")
    if case.is_full_manifest:
        module = adapter.network(case)
        case.check_manifest(module)
        module.load_state_dict({key: torch.zeros(shape) for key, shape in case.content["manifest"].items()})
        _nothing_unseen(case.config, "option")
        return
    component = case.content["component"]
    if component not in adapter.COMPONENTS:
        raise CaseError(f"the adapter of {case.method} has no component {component!r} (of {adapter.COMPONENTS})")
    unknown = sorted({key.split("/")[0] for key in case._file} - {"weight", "input", "output", "probe"})
    if unknown:
        raise CaseError(f"the case holds tensors of an unknown kind: {unknown[0]}/")
    if not case.outputs:
        raise CaseError("the case has no output to compare with")
    got = adapter.UNITS[case.unit](case)
    _nothing_unseen(case.config, "option")
    _nothing_unseen(case.inputs, "input")
    _compare(case, got)


def _adapter(method: str) -> ModuleType:
    if not (HERE / "adapters" / f"{method}.py").is_file():
        raise CaseError(f"no adapter: tests/parity/adapters/{method}.py does not exist")
    return importlib.import_module(f"{__package__}.adapters.{method}")


def _nothing_unseen(entries: Taken, what: str) -> None:
    if entries.unseen():
        raise CaseError(f"the adapter does not know the {what} {entries.unseen()[0]!r}")


def _compare(case: Case, got: Mapping[str, Any]) -> None:
    """Every output of the file within its tolerance. Probes ("probe/NAME") only help to find the place."""
    problems = []
    for name, wanted in case.outputs.items():
        if name not in got:
            raise CaseError(f"the adapter makes no output {name!r}")
        problem = _difference(got[name], wanted, *_tolerance(case, name))
        if problem and _beyond_one_level(case, name, got[name], wanted):
            problems.append(f"output {name}: {problem}")
    if problems:
        for name, wanted in case.probes.items():
            if f"probe/{name}" in got:
                problem = _difference(got[f"probe/{name}"], wanted, *_tolerance(case, name))
                problems.append(f"probe {name}: {problem or 'agrees'}")
        raise AssertionError(f"{case.name}\n" + "\n".join(problems))


def _tolerance(case: Case, name: str) -> tuple[float, float]:
    """(atol, rtol)."""
    own = _own_tolerance(case, name)
    return own.get("atol", case.content["atol"]), own.get("rtol", case.content["rtol"])


def _beyond_one_level(case: Case, name: str, got: Any, wanted: NDArray[np.float32]) -> bool:
    """Whether more than the allowed part of an 8-bit picture is off by one level, or anything by more."""
    fraction = _own_tolerance(case, name).get(ONE_LEVEL, 0)
    if not fraction or np.shape(got) != wanted.shape:
        return True
    levels = np.abs(np.rint(np.asarray(got) * 255) - np.rint(wanted * 255))
    return levels.max() > 1 or (levels > 0).mean() > fraction


def _own_tolerance(case: Case, name: str) -> dict[str, float]:
    """The names in "tolerances" are fnmatch patterns of "output/NAME"; an exact name goes first."""
    own_rules = case.content.get("tolerances", {})
    full = f"output/{name}"
    own = (
        own_rules.get(full)
        or own_rules.get(name)
        or next((t for p, t in own_rules.items() if fnmatchcase(full, p)), {})
    )
    if set(own) - {"atol", "rtol", ONE_LEVEL}:
        raise CaseError(f"tolerances of {name}: {own!r} is not understood")
    return own


def _difference(got: Any, wanted: NDArray[np.float32], atol: float, rtol: float) -> str | None:
    ours = np.atleast_1d(got.detach().numpy() if isinstance(got, torch.Tensor) else np.asarray(got)).astype(np.float64)
    theirs = np.atleast_1d(wanted).astype(np.float64)  # a single number is written with or without a dimension
    if ours.shape != theirs.shape:
        return f"shape {ours.shape}, published {theirs.shape}"
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))  # infinities and NaN are equal to themselves
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(ours - theirs))
        excess = np.where(same, -np.inf, error - (atol + rtol * np.abs(theirs)))
    excess = np.where(np.isnan(excess), np.inf, excess)
    if (excess <= 0).all():
        return None
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    place = tuple(int(i) for i in worst)
    count = int((excess > 0).sum())
    return (
        f"{count} of {excess.size} out of tolerance, worst at {place}: {ours[worst]:.7g}, published {theirs[worst]:.7g}"
    )
