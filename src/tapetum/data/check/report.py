"""Checks a whole data set: files, pairs, duplicates, scenes, and leaks from training into tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tapetum.data.check.examine import Examined, Unreadable, examine
from tapetum.data.check.listing import Listing, Member
from tapetum.data.check.problems import KINDS, Problem
from tapetum.data.check.scenes import Twins, candidates, compare, group

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""``(items, how many, title) -> items``: shows how far the work is."""


@dataclass(frozen=True)
class Leak:
    """A test picture whose scene is also in training.

    Attributes:
        test: the test picture.
        training: its scene's training pictures, the most alike first.
        scores: agreement with each; None: known only through another picture of the scene.
    """

    test: Member
    training: list[Member]
    scores: list[float | None]


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        listing: the splits and their pictures.
        pictures: those that could be read.
        scenes: scene number, from 1, of each of ``pictures``.
        twins: pairs found to show one scene, by number in ``pictures``; one picture stands for all with its target.
        leaks: in the order of the test pictures.
        problems: everything that is wrong, by kind.
    """

    listing: Listing
    pictures: list[Examined]
    scenes: list[int]
    twins: list[Twins]
    leaks: list[Leak]
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.problems

    def counts(self) -> dict[str, int]:
        """How many problems of each kind."""
        return {kind: sum(problem.kind == kind for problem in self.problems) for kind in KINDS}


def check(listing: Listing, track: Track = lambda items, total, title: items) -> Report:
    """Reads every picture of a listing once."""
    pictures: list[Examined] = []
    problems = list(listing.problems)
    for found in track(examine(listing), len(listing.members), "reading"):
        problems += found.problems
        if not isinstance(found, Unreadable):
            pictures.append(found)
    problems += duplicates(pictures)
    same = equal_targets(pictures)
    shown = [numbers[0] for numbers in same]  # one for all that have the same target
    close = [(shown[i], shown[j]) for i, j in candidates([pictures[n] for n in shown], roles_of(pictures, same))]
    twins = [twin for twin in track(compare(pictures, close), len(close), "comparing scenes") if twin is not None]
    links = [(twin.first, twin.second) for twin in twins]
    links += [(numbers[0], other) for numbers in same for other in numbers[1:]]
    scenes = group(len(pictures), links)
    leaks = leaks_of(pictures, scenes, twins, same)
    problems += [Problem("leak", leak.test.name, leak_text(leak)) for leak in leaks]
    order = list(KINDS)
    problems.sort(key=lambda problem: order.index(problem.kind))
    return Report(listing, pictures, scenes, twins, leaks, problems)


def equal_targets(pictures: list[Examined]) -> list[list[int]]:
    """Numbers of the pictures by target: each list has the same decoded pixels."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for number, picture in enumerate(pictures):
        by_digest[picture.target].append(number)
    return list(by_digest.values())


def roles_of(pictures: list[Examined], same: list[list[int]]) -> list[set[str]]:
    return [{pictures[number].member.role for number in numbers} for numbers in same]


def duplicates(pictures: list[Examined]) -> list[Problem]:
    """Dark pictures (or single ones) that are there more than once. Several dark pictures may have one target."""
    seen: dict[str, Examined] = {}
    problems = []
    for picture in pictures:
        digest = picture.low or picture.target
        first = seen.setdefault(digest, picture)
        if first is not picture:
            text = f"the same pixels as {first.member.name} ({first.member.role})"
            problems.append(Problem("duplicate", picture.member.name, text))
    return problems


def leaks_of(pictures: list[Examined], scenes: list[int], twins: list[Twins], same: list[list[int]]) -> list[Leak]:
    scores = {(twin.first, twin.second): twin.score for twin in twins}
    shown = {number: numbers[0] for numbers in same for number in numbers}
    of_scene: dict[int, list[int]] = defaultdict(list)
    for number, picture in enumerate(pictures):
        if picture.member.role == "train":
            of_scene[scenes[number]].append(number)

    def score(one: int, two: int) -> float | None:
        first, second = sorted((shown[one], shown[two]))
        return 1.0 if first == second else scores.get((first, second))

    leaks = []
    for number, picture in enumerate(pictures):
        if picture.member.role == "test" and of_scene[scenes[number]]:
            rated = [(score(number, other), other) for other in of_scene[scenes[number]]]
            rated.sort(key=lambda item: -(item[0] or 0.0))
            training = [pictures[other].member for _, other in rated]
            leaks.append(Leak(picture.member, training, [value for value, _ in rated]))
    return leaks


def leak_text(leak: Leak) -> str:
    best = leak.scores[0]
    alike = f" (agreement {best:.2f})" if best is not None else ""
    more = f" and {len(leak.training) - 1} more" if len(leak.training) > 1 else ""
    return f"its scene is in training: {leak.training[0].name}{alike}{more}"
