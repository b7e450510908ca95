"""The selective scan on GPUs, in float32, through Triton. Needs the package triton, which torch's CUDA builds bring.

With ``TRITON_INTERPRET=1`` in the environment Triton's interpreter runs the kernels on the processor, step by step: for
tests of what they compute, not for use.
"""

from __future__ import annotations

import os

import torch

from tapetum.ops.selective_scan.triton.launch import backward, cross_backward, cross_forward, forward

__all__ = ["DEVICE", "backward", "cross_backward", "cross_forward", "forward", "prepare"]

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


def prepare() -> None:
    """Raises where the kernels could not run."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("there is no CUDA device")
