"""What a picture is called wherever its data set lies, so that weights can say on which pictures they were trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

TRAINED_ON = "trained_on"
"""In the provenance of weights: :func:`digests` of all pictures that their training used, also to validate."""

# folders that tell a pair's pictures apart, not the pairs
_SIDES = frozenset({"low", "high", "input", "target", "normal", "gt", "lq", "hq", "output"})
_FOLDERS = 2  # above the picture that its name is made with: the data set, and the split


def place_of(path: Path) -> str:
    """``lolv1/our485/10`` of ``/data/LOL_v1/our485/low/10.png``: of both pictures of a pair, and in any notation."""
    return "/".join((*_folders(path.parent), path.stem))


def folder_place(folder: Path) -> str:
    """The beginning of :func:`place_of` of a folder's pictures."""
    return "/".join(_folders(folder))


def digest_of_place(place: str) -> str:
    """12 hexadecimal digits: names of folders are nobody's business."""
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def digests(paths: Iterable[Path]) -> list[str]:
    """Of the pictures' places, sorted; of both pictures of a pair there is one."""
    return sorted({digest_of_place(place_of(path)) for path in paths})


def _folders(folder: Path) -> list[str]:
    parts = [part for part in folder.resolve().parts if part != folder.anchor]
    kept = [part for part in parts if part.lower() not in _SIDES]
    return [re.sub(r"[^a-z0-9]", "", part.lower()) or part for part in kept[-_FOLDERS:]]
