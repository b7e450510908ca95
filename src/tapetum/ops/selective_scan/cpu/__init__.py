"""The selective scan on ordinary processors: LLVM IR that this folder writes, made into machine code for the processor at
hand by llvmlite when it is first needed. Float32, threads, no compiler.
"""

from tapetum.ops.selective_scan.cpu.compiling import prepare
from tapetum.ops.selective_scan.cpu.plain import backward, forward

__all__ = ["backward", "forward", "prepare"]
