"""Sections of a recipe: what all have in common, and the schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tapetum.strict_yaml import Section
from tapetum.training import schedules


class CosineRestarts(Section):
    """Cosine cycles of ``periods`` steps, each from the base rate (times its weight) to its minimum.

    A minimum above the base rate makes a cycle rise, as the published recipes have it.
    """

    kind: Literal["cosine_restarts"] = "cosine_restarts"
    periods: Annotated[list[int], Field(min_length=1)]
    weights: list[float] | None = None
    minima: list[float] | None = None
    warmup: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _same_length(self) -> CosineRestarts:
        for name in ("weights", "minima"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.periods):
                raise ValueError(f"{name} must have as many entries as periods ({len(self.periods)})")
        return self

    def rate(self, iteration: int, base: float, total: int) -> float:
        ones, zeros = [1.0] * len(self.periods), [0.0] * len(self.periods)
        return schedules.cosine_restart_cyclic(
            iteration, base, self.periods, self.weights or ones, self.minima or zeros
        )


class Cosine(Section):
    """A cosine that falls to ``minimum`` in ``t_max`` steps, and rises again after them."""

    kind: Literal["cosine"]
    t_max: Annotated[int, Field(ge=1)]
    minimum: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0

    def rate(self, iteration: int, base: float, total: int) -> float:
        return schedules.cosine(iteration, base, self.t_max, self.minimum)


class MultiStep(Section):
    """The rate times ``gamma`` at each milestone; at each restart anew, times its weight."""

    kind: Literal["multi_step"]
    milestones: list[int]
    gamma: Annotated[float, Field(gt=0)] = 0.1
    restarts: list[int] = Field(default_factory=lambda: [0])
    weights: list[float] = Field(default_factory=lambda: [1.0])
    warmup: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _same_length(self) -> MultiStep:
        if len(self.weights) != len(self.restarts):
            raise ValueError(f"weights must have as many entries as restarts ({len(self.restarts)})")
        return self

    def rate(self, iteration: int, base: float, total: int) -> float:
        return schedules.multi_step(iteration, base, self.milestones, self.gamma, self.restarts, self.weights)


class Linear(Section):
    """The rate falls to zero over the whole training."""

    kind: Literal["linear"]
    warmup: Annotated[int, Field(ge=0)] = 0

    def rate(self, iteration: int, base: float, total: int) -> float:
        return schedules.linear(iteration, base, total)


class Vibrate(Section):
    """The toolbox's saw-tooth schedule."""

    kind: Literal["vibrate"]
    warmup: Annotated[int, Field(ge=0)] = 0

    def rate(self, iteration: int, base: float, total: int) -> float:
        return schedules.vibrate(iteration, base, total)
