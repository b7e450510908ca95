"""How good the search for shared scenes is, where the scenes are known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tapetum.data.check.report import Report
from tapetum.data.pairs import scenes_of_split
from tapetum.errors import InputError


@dataclass(frozen=True)
class Score:
    """Found things against true ones.

    Attributes:
        right: found and true.
        wrong: found, but not true.
        missed: true, but not found.
    """

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float | None:
        """None where nothing was found."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """None where nothing was to be found."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None


def compare_with(report: Report, file: Path) -> dict[str, Score]:
    """Scores by what is counted: "test pictures" said to share a scene with training; "pairs in one scene" among all
    pictures, as they were grouped.

    Args:
        file: a split file with the scene of every picture.

    Raises:
        InputError: the file is no such, or does not know a picture.
    """
    truth = scenes_of_split(file, "")
    names = [picture.member.name for picture in report.pictures]
    unknown = [name for name in names if name not in truth]
    if unknown:
        raise InputError(f"{file}: does not say the scene of {unknown[0]} ({len(unknown)} unknown)")
    training = {truth[picture.member.name] for picture in report.pictures if picture.member.role == "train"}
    tests = {picture.member.name for picture in report.pictures if picture.member.role == "test"}
    true_scenes = [truth[name] for name in names]
    return {
        "test pictures": _score(
            {leak.test.name for leak in report.leaks}, {name for name in tests if truth[name] in training}
        ),
        "pairs in one scene": _score(_pairs(report.scenes), _pairs(true_scenes)),
    }


def _pairs(scenes: list[int] | list[str]) -> set[tuple[int, int]]:
    members: dict[int | str, list[int]] = {}
    for number, scene in enumerate(scenes):
        members.setdefault(scene, []).append(number)
    return {pair for numbers in members.values() for pair in combinations(numbers, 2)}


def _score(found: set, true: set) -> Score:
    return Score(len(found & true), len(found - true), len(true - found))
