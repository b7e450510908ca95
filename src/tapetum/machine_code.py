"""From LLVM IR to a function that can be called, for this processor or a named one. llvmlite brings what it takes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding, ir


@dataclass(frozen=True)
class Target:
    """A processor as LLVM knows it, and how many floats its vectors hold."""

    cpu: str
    features: str
    width: int


@cache
def this_machine() -> Target:
    features = binding.get_host_cpu_features()
    width = 4
    for wider, needed in ((8, ("avx2", "fma")), (16, ("avx512f", "avx512dq"))):
        width = wider if all(features.get(name) for name in needed) else width
    # some processors' tuning keeps vectors at 256 bits, where the whole loop gains from 512
    flags = features.flatten() + (",-prefer-256-bit" if width == 16 else "")
    return Target(binding.get_host_cpu_name(), flags, width)


# One engine for each module, kept as long as the process: the functions live in it.
_ENGINES: list[binding.ExecutionEngine] = []


def compile_function(module: ir.Module, name: str, target: Target) -> Callable[[Any], None]:
    """A function of the module; it takes the address of its arguments and runs without Python's lock."""
    machine = _machine(target)
    module.triple = machine.triple
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    _optimise(parsed, machine)
    engine = binding.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address(name))


def assembly(module: ir.Module, target: Target, triple: str | None = None) -> str:
    """The machine code as text, also for another kind of machine than this one."""
    machine = _machine(target, triple)
    module.triple = machine.triple
    parsed = binding.parse_assembly(str(module))
    _optimise(parsed, machine)
    return machine.emit_assembly(parsed)


def _machine(target: Target, triple: str | None = None) -> binding.TargetMachine:
    if triple is None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        chosen = binding.Target.from_triple(binding.get_process_triple())
    else:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
        chosen = binding.Target.from_triple(triple)
    return chosen.create_target_machine(cpu=target.cpu, features=target.features, opt=3, jit=triple is None)


def _optimise(module: binding.ModuleRef, machine: binding.TargetMachine) -> None:
    options = binding.create_pipeline_tuning_options(speed_level=2)
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
