"""What can be wrong with a data set."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    "unpaired": "picture without its partner",
    "unreadable": "file that cannot be read",
    "size": "pair of two sizes",
    "unrelated": "doubtful pair",
    "misaligned": "pair that is shifted",
    "duplicate": "picture that is there twice",
    "leak": "test picture whose scene is in training",
}
"""Every kind of problem, and what it is, in the order in which they are told."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: one of ``KINDS``.
        where: the pair's or file's name.
        text: what was found, for people.
    """

    kind: str
    where: str
    text: str
