"""The selective scan on ordinary processors, in float32 and on all threads, on machines without a compiler:
LLVM IR that this folder writes, made into machine code by llvmlite when it is first needed.
"""

from tapetum.ops.selective_scan.cpu.blocks import kernel
from tapetum.ops.selective_scan.cpu.cross import cross_backward, cross_forward
from tapetum.ops.selective_scan.cpu.kernels import Variant
from tapetum.ops.selective_scan.cpu.plain import backward, forward

__all__ = ["backward", "cross_backward", "cross_forward", "forward", "prepare"]


def prepare() -> None:
    """Raises what is wrong where llvmlite cannot make code for this machine. (This kernel is needed anyway.)"""
    kernel("forward", Variant(low_rank=True, softplus=True, rest=0))
