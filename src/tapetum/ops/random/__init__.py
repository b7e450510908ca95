"""Random numbers that the processor and the GPU draw alike: Poisson counts, and draws that know their place."""

from tapetum.ops.random.poisson import poisson_of_normal
from tapetum.ops.random.position import PositionNoise

__all__ = ["PositionNoise", "poisson_of_normal"]
