"""Boxes as corners: overlap, and keeping the best of those that overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def overlaps(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of boxes ``(K, 4)`` and ``(L, 4)``, left, top, right, bottom: ``(K, L)``.

    Boxes without area overlap with nothing.
    """
    a, b = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    shared = sides.prod(axis=2)
    union = _area(a) + _area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64], limit: float, most: int
) -> NDArray[np.intp]:
    """Non-maximum suppression within each class: indices of what is kept, best first.

    Args:
        limit: a box is dropped that overlaps a better one of its class by more than this.
        most: keep no more than so many of all classes together.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        same = labels[rest] == labels[best]
        dropped = np.zeros(rest.size, bool)
        dropped[same] = overlaps(boxes[best : best + 1], boxes[rest[same]])[0] > limit
        order = rest[~dropped]
    return np.asarray(kept, np.intp)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)
