"""The selective scan of state space models (Mamba, arXiv 2312.00752) and the four-direction scan of a picture (VMamba,
arXiv 2401.10166), on any machine: a plain reference, and back ends that keep the states in registers.

Design, dispatch and measured figures: ``docs/selective_scan.md``.
"""

from tapetum.ops.selective_scan.backends import available_backends
from tapetum.ops.selective_scan.interface import cross_selective_scan, selective_scan
from tapetum.ops.selective_scan.unfused import cross_merge, cross_scan

__all__ = ["available_backends", "cross_merge", "cross_scan", "cross_selective_scan", "selective_scan"]
