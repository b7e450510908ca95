"""Runs RAW networks over pictures with a reference: made ones, SID's and ELD's; figures by ratio and iterations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tapetum.data.pictures import load_rgb
from tapetum.data.raw_cache import RawCache
from tapetum.data.raw_noise.cameras import CameraNoise
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import GeneratorDraws, add_noise, parameters_of_draws
from tapetum.data.raw_samples import ratio_and_gain
from tapetum.data.raw_sets import RawPair
from tapetum.data.unprocessing import draw_development, unprocess
from tapetum.evaluation.raw import Protocol, centre_crop, evaluate_picture
from tapetum.evaluation.report import Row
from tapetum.methods.exposurediffusion.exposure import correct_illuminance, position_draw
from tapetum.methods.exposurediffusion.network import Backbone
from tapetum.metrics.packed import psnr_packed, ssim_packed

SID_CROP = 512
NOISY = "noisy"
"""What the table calls the amplified picture as it came."""


@dataclass(frozen=True)
class RawCase:
    """One dark picture with its reference, packed.

    Attributes:
        low: amplified by the ratio and clipped, ``(4, h, w)``; target: the same shape; both in [0, 1].
        gain: K, as the process counts photons.
    """

    name: str
    scene: str
    low: NDArray[np.float32]
    target: NDArray[np.float32]
    ratio: float
    gain: float


def made_cases(
    pictures: Sequence[Path], camera: CameraNoise, noise: NoiseModel, ratios: Sequence[float], iso: float, seed: int = 0
) -> Iterator[RawCase]:
    """Ordinary photographs, unprocessed, with the noise of a camera at one ISO speed.

    The noise has the scales that the camera's card gives on average at that speed. The same seed makes the same cases.
    """
    for index, path in enumerate(pictures):
        clean = unprocess(load_rgb(path), draw_development(np.random.default_rng([seed, index])))
        for ratio in ratios:
            rng = np.random.default_rng([seed, index, round(ratio * 1000)])
            shape = camera.shapes[int(rng.integers(len(camera.shapes)))]
            gain = camera.gain_at(iso)
            parameters = parameters_of_draws(camera, float(np.log(gain)), ratio, 0.0, 0.0, 0.0, shape)
            draws = GeneratorDraws(torch.Generator().manual_seed(int(rng.integers(2**63))))
            noisy = add_noise(torch.from_numpy(clean), noise, parameters, draws).clamp(0, 1).numpy()
            yield RawCase(path.stem, path.stem, noisy, clean, ratio, gain)


def real_cases(
    pairs: Sequence[RawPair], camera: CameraNoise, cameras: Mapping[str, CameraNoise], cache: RawCache, crop: int | None
) -> Iterator[RawCase]:
    """Pairs of a data set, levelled as published.

    Args:
        camera: of pairs that do not say theirs; cameras: by the names of those that do.
        crop: side of the centre that is measured; None: all.

    Raises:
        InputError: a file cannot be read, does not say its ISO speed, or the pictures of a pair differ in size.
    """
    for pair in pairs:
        short, long = cache.get(pair.low), cache.get(pair.target)
        ratio, gain = ratio_and_gain(pair, short, long, cameras.get(pair.camera, camera))
        low, target = np.clip(short.part() * np.float32(ratio), 0, 1), long.part()
        if crop is not None:
            low, target = centre_crop(low, crop, crop), centre_crop(target, crop, crop)
        yield RawCase(pair.name, pair.scene, low, target, ratio, gain)


def measure(
    networks: Mapping[str, Backbone],
    cases: Iterable[RawCase],
    iterations: Sequence[int],
    protocol: Protocol,
    seed: int = 0,
    chop: bool = False,
) -> Iterator[Row]:
    """PSNR and SSIM of every network and number of iterations, and of the noisy pictures themselves.

    By the protocol "reference" the noisy picture's brightness is fitted to the truth, too.

    Args:
        networks: by the name that the table gives them, on the device that they shall run on.
    """
    for case in cases:
        split = f"x{case.ratio:.4g}"
        target = torch.from_numpy(case.target)[None]
        noisy = torch.from_numpy(case.low)[None]
        shown = correct_illuminance(noisy, target)[0] if protocol == "reference" else noisy
        yield Row(NOISY, split, case.name, case.scene, _scores(shown[0].numpy(), case.target))
        for name, network in networks.items():
            device = next(network.parameters()).device
            for count in iterations:
                begin = time.perf_counter()
                measured = evaluate_picture(
                    network,
                    noisy.to(device),
                    target.to(device),
                    case.ratio,
                    case.gain,
                    count,
                    draw=position_draw(seed),
                    protocol=protocol,
                    chop=chop,
                )
                seconds = time.perf_counter() - begin
                values = {"psnr": measured.psnr, "ssim": measured.ssim}
                yield Row(f"{name}, {calls(count)}", split, case.name, case.scene, values, seconds)


def calls(iterations: int) -> str:
    """How the table tells the number of calls of the network."""
    return "1 call" if iterations == 0 else f"{iterations + 1} calls"


def _scores(enhanced: NDArray[np.float32], target: NDArray[np.float32]) -> dict[str, float]:
    return {"psnr": psnr_packed(enhanced, target), "ssim": ssim_packed(enhanced, target)}
