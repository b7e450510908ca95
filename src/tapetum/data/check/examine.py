"""Looks at every file once: can it be read, do the sizes agree, are the two aligned; and what is kept to find twins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.listing import Listing, Member, Read
from tapetum.data.check.matching import SKETCH
from tapetum.data.check.problems import Problem
from tapetum.data.check.registration import LONGEST, Registration, register
from tapetum.data.check.sketch import grey, ranks
from tapetum.errors import InputError


@dataclass(frozen=True)
class Examined:
    """What is known of one member after its files were read.

    Attributes:
        member: which.
        size: height, width of the target.
        low, target: digests of the decoded pixels ("" where there is no dark picture).
        sketch: ``(h, w)`` ranks of the target's brightness, with ``SKETCH`` pixels on the longer side.
        registration: of the dark picture and the target, where both can be read and have one size.
        problems: what is wrong with it.
    """

    member: Member
    size: tuple[int, int]
    low: str
    target: str
    sketch: NDArray[np.float32]
    registration: Registration | None
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """As a pair, to train or to test with."""
        return not any(problem.kind in ("unreadable", "size") for problem in self.problems)


@dataclass(frozen=True)
class Unreadable:
    """A member of whose target nothing can be known."""

    member: Member
    problems: list[Problem]


@dataclass(frozen=True)
class _File:
    size: tuple[int, int]
    digest: str
    grey: NDArray[np.float32]


def examine(listing: Listing) -> Iterator[Examined | Unreadable]:
    """Every member, in order; one picture at a time is in memory."""
    targets: dict[Path, _File] = {}  # a target of many dark pictures is read once, as long as they follow each other
    for member in listing.members:
        problems: list[Problem] = []
        if member.target not in targets:
            targets.clear()
            target = _read(member, member.target, listing.read, problems)
            if target is not None:
                targets[member.target] = target
        target = targets.get(member.target)
        low = _read(member, member.low, listing.read, problems) if member.low is not None else None
        if target is None:
            yield Unreadable(member, problems)
            continue
        registration = None
        if low is not None and low.size != target.size:
            sizes = " and ".join("x".join(map(str, size)) for size in (low.size, target.size))
            problems.append(Problem("size", member.name, f"height x width are {sizes}"))
        elif low is not None:
            registration = register(ranks(low.grey), ranks(target.grey), max(target.size))
            problems += _misplaced(member, registration)
        sketch = ranks(grey(target.grey[..., None], SKETCH))
        digest = low.digest if low is not None else ""
        yield Examined(member, target.size, digest, target.digest, sketch, registration, problems)


def _read(member: Member, path: Path, read: Read, problems: list[Problem]) -> _File | None:
    try:
        pixels = read(path)
    except InputError as error:
        problems.append(Problem("unreadable", member.name, str(error)))
        return None
    return _File(pixels.shape[:2], digest_of(pixels), grey(pixels, LONGEST))


def _misplaced(member: Member, found: Registration) -> Sequence[Problem]:
    if not found.is_related:
        text = (
            f"no pair, or darker than its noise: the dark picture shows nothing of the target ({found.confidence:.2f})"
        )
        return [Problem("unrelated", member.name, text)]
    if found.is_aligned:
        return []
    text = (
        f"target shifted by {found.across:+.1f} px across, {found.down:+.1f} px down "
        f"(agreement {found.confidence:.2f}, without the shift {found.in_place:.2f})"
    )
    return [Problem("misaligned", member.name, text)]


def digest_of(pixels: NDArray[Any]) -> str:
    """Of the decoded pixels and their shape: the same in any lossless file."""
    head = f"{pixels.dtype.str}{pixels.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()
