"""Dark pictures of a known truth: good photographs spoiled, and kept on disk, so that predictions can be."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from tapetum.data import synthesis
from tapetum.data.pairs import Pair
from tapetum.data.pictures import load_rgb
from tapetum.data.raw_noise.cameras import get_camera
from tapetum.evaluation.benchmark.plan import Split
from tapetum.evaluation.cache import Store, picture_name
from tapetum.evaluation.robustness.probes import CAMERA, Spoiling
from tapetum.imaging import Picture, vips, write_picture
from tapetum.imaging.resize import shrink

LONGEST = 640
"""Larger photographs are shrunk until their longer side has so many pixels."""
_LEVELS = 2**14 - 1 - 512  # of the camera's 14 bits, from black to white
_BLOTCH = 0.5  # demosaicing shares noise among neighbours


def spoil(image: NDArray[np.uint8], how: Spoiling, seed: int) -> NDArray[np.uint8]:
    """A photograph ``(H, W, 3)`` as a camera would have taken it in worse conditions; the same for the same seed.

    In linear light: exposed shorter, then with photon noise and read noise as the camera's card has them at that ISO
    speed (Gaussian model, without the gains of white balance), then 8-bit sRGB, then JPEG.
    """
    if how.stops or how.iso is not None:
        linear = synthesis.darken(synthesis.LINEAR_OF_BYTE[image], synthesis.Darkening(how.stops))
        if how.iso is not None:
            linear = synthesis.add_noise(linear, noise_at(how.iso), np.random.default_rng(seed))
        image = synthesis.to_srgb_bytes(linear)
    if how.quality is not None:
        stored = vips.from_array(image).jpegsave_buffer(Q=how.quality)
        image = vips.to_array(pyvips.Image.new_from_buffer(stored, ""))
    return image


def noise_at(iso: float) -> synthesis.Noise:
    """Of ``CAMERA``: K electrons make one level, so that N electrons have a variance of K N levels."""
    camera = get_camera(CAMERA)
    gain = camera.gain_at(iso)
    return synthesis.Noise(shot=gain / _LEVELS, read=camera.gaussian.at(gain) / _LEVELS, blotch=_BLOTCH)


def name_of(how: Spoiling) -> str:
    """ "-3 EV, ISO 1600, JPEG 95"; "as it is"."""
    parts = [f"{-how.stops:g} EV" if how.stops else "", f"ISO {how.iso:g}" if how.iso is not None else ""]
    parts.append(f"JPEG {how.quality}" if how.quality is not None else "")
    return ", ".join(filter(None, parts)) or "as it is"


def make_split(files: Sequence[Path], how: Spoiling, cache: Path) -> Split:
    """The photographs spoiled so, as pairs of dark picture and good one; made where they are not in the cache.

    Raises:
        InputError: a photograph cannot be read, or the cache not be written.
    """
    store = Store(cache / "robustness", ".png", load_rgb, _write)
    pairs = []
    for file in files:
        content = picture_name(file)
        good, bad = (_entry(content, kind) for kind in (Spoiling(), how))
        for name, kind in ((good, Spoiling()), (bad, how)):
            if store.get(name) is None:
                # the seed is the picture's, so that one grain darkens from point to point
                store.put(name, spoil(_small(load_rgb(file)), kind, int(content[:12], 16)))
        pairs.append(Pair(file.stem, store.path(bad), store.path(good), file.stem))
    return Split(name_of(how), tuple(pairs))


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return image
    linear = shrink(synthesis.LINEAR_OF_BYTE[image], max(1, round(height * scale)), max(1, round(width * scale)))
    return synthesis.to_srgb_bytes(linear)


def _entry(content: str, how: Spoiling) -> str:
    parts = json.dumps([content, asdict(how), LONGEST, _code()])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """Of what makes a dark picture: another code, other pictures."""
    camera = json.dumps(asdict(get_camera(CAMERA)))
    sources = b"".join(Path(file).read_bytes() for file in (__file__, synthesis.__file__))
    return hashlib.sha256(sources + camera.encode()).hexdigest()


def _write(pixels: NDArray[np.uint8], path: Path) -> None:
    write_picture(Picture(pixels), path)
