"""Pictures of what was found: every test picture beside its twins in training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapetum.data.check.listing import Member, Read
from tapetum.data.check.report import Leak, Report
from tapetum.imaging import Picture, shrink, write_picture
from tapetum.imaging.drawing import draw_box
from tapetum.imaging.replacing import make_folder

_SIDE = 300  # of a picture, at most
_TWINS = 4  # shown of a test picture
_ROWS = 20  # of a sheet
_GAP = 6
_TEST, _TRAINING = (200, 40, 40), (40, 110, 200)


def write_sheets(report: Report, folder: Path) -> list[Path]:
    """``leaks-1.png``, ...: a row for each leak, the test picture (red frame) and its scene's training pictures (blue).

    Returns:
        the files; none without leaks.

    Raises:
        InputError: they cannot be written.
    """
    make_folder(folder)
    files = []
    for number, begin in enumerate(range(0, len(report.leaks), _ROWS), 1):
        rows = [_row(leak, report.listing.read) for leak in report.leaks[begin : begin + _ROWS]]
        width = max(row.shape[1] for row in rows)
        sheet = np.concatenate(
            [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
        )
        files.append(folder / f"leaks-{number}.png")
        write_picture(Picture(sheet), files[-1])
    return files


def _row(leak: Leak, read: Read) -> NDArray[np.uint8]:
    shown = [_panel(leak.test, read, f"test {leak.test.name}", _TEST)]
    for member, score in list(zip(leak.training, leak.scores, strict=True))[:_TWINS]:
        alike = "" if score is None else f" {score:.2f}"
        shown.append(_panel(member, read, f"train {member.name}{alike}", _TRAINING))
    height = max(panel.shape[0] for panel in shown)
    padding = [((0, height - panel.shape[0] + _GAP), (0, _GAP), (0, 0)) for panel in shown]
    return np.concatenate([np.pad(p, pad, constant_values=255) for p, pad in zip(shown, padding, strict=True)], axis=1)


def _panel(member: Member, read: Read, text: str, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    pixels = read(member.target)
    factor = min(1.0, _SIDE / max(pixels.shape[:2]))
    small = shrink(pixels, *(max(1, round(side * factor)) for side in pixels.shape[:2]))
    scale = 255 / np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 255
    panel = np.clip(np.rint(small * scale), 0, 255).astype(np.uint8)
    panel = np.array(np.broadcast_to(panel, (*panel.shape[:2], 3)))
    draw_box(panel, (0, 0, panel.shape[1], panel.shape[0]), colour, re.sub(r"[^ -~]", "?", text))
    return panel
