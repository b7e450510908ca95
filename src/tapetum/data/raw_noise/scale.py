"""The digital numbers (DN) that the published RAW methods count in, whatever the camera. No torch."""

from __future__ import annotations

from tapetum.errors import InputError

PUBLISHED_WHITE = 16383.0
"""White level that they take for every camera, in DN: that of 14 bit."""
SATURATION = 15583.0
"""DN between black and white in the noise models and in the count of photons: 16383 - 800."""


def gain_for(gain: float, black: float, white: float) -> float:
    """The gain by which the process counts a file's photons.

    The published methods know 14-bit files only; for these the gain stays as it is. For others it makes the count what
    was measured, although the process takes every picture for one of 15583 DN.

    Args:
        gain: K, DN **of the file** per photo-electron.
        black, white: levels that the picture is normalised by, in DN.

    Raises:
        InputError: black is not below white.
    """
    if not white > black:
        raise InputError(f"black level {black:g} is not below white level {white:g}")
    return gain if white == PUBLISHED_WHITE else gain * SATURATION / (white - black)
