"""How fast RAW noise is made: megapixels of the mosaic per second.

    python benchmarks/raw_noise.py [--cores N]

Each core makes the noise of a picture of its own, as the workers of a training's loader do, on a packed picture of 4 x
512 x 512 whose brightness spans nothing to white, for parameters from many electrons to less than one. The best of
several rounds; "per core" is by the thread's own processor time, which a busy machine changes less. Torch's own Poisson
sampler is measured beside ours. With a CUDA GPU also there.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from timing import table

from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import Draws, GeneratorDraws, NoiseParameters, PositionDraws, add_noise

SIDE, ROUNDS = 512, 5
MODELS = ("P+g", "P+G", "P+G+r", "P+G+r+u")
# (K, ratio): from many electrons in a pixel to few
PARAMETERS = ((0.1, 20.0), (1.0, 100.0), (5.0, 300.0), (30.0, 300.0))


class TorchPoisson(GeneratorDraws):
    """Shot noise by torch's own sampler."""

    def poisson(self, mean: torch.Tensor) -> torch.Tensor:
        return torch.poisson(mean, generator=self.generator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    cores = parser.parse_args().cores
    torch.set_num_threads(1)
    clean = torch.rand(4, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) ** 2
    print(f"P+G+r+u on {cores} cores, megapixels per second\n")
    rows = []
    for gain, ratio in PARAMETERS:
        electrons = 15583 / ratio / gain
        rows.append([gain, ratio, electrons, *(on_cores(clean, gain, ratio, kind, cores) for kind in KINDS.values())])
    print(table(["K", "ratio", "electrons at white", *KINDS], rows))
    print("\nModels, per core\n")
    noisy = [[name, *(per_core(clean, name, gain, ratio) for gain, ratio in PARAMETERS)] for name in MODELS]
    print(table(["model", *(f"K {gain}, ratio {ratio:g}" for gain, ratio in PARAMETERS)], noisy))
    if torch.cuda.is_available():
        print(f"\nGPU: {torch.cuda.get_device_name()}\n")
        print(table(["model", "megapixels per second"], [[name, on_gpu(clean, name)] for name in MODELS]))


def by_generator(seed: int) -> Draws:
    return GeneratorDraws(torch.Generator().manual_seed(seed))


def by_torch(seed: int) -> Draws:
    return TorchPoisson(torch.Generator().manual_seed(seed))


KINDS = {"generator": by_generator, "by place": PositionDraws, "torch.poisson": by_torch}


def parameters(gain: float, ratio: float) -> NoiseParameters:
    return NoiseParameters(gain, ratio, gaussian=3.0, tukey=2.0, row=1.0, shape=0.1)


def on_cores(clean: torch.Tensor, gain: float, ratio: float, kind: object, cores: int) -> float:
    model = NoiseModel.parse("P+G+r+u")

    def once(seed: int) -> None:
        add_noise(clean, model, parameters(gain, ratio), kind(seed))  # type: ignore[operator]

    best = float("inf")
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            list(pool.map(once, range(cores)))
            best = min(best, time.perf_counter() - begin)
    return cores * clean.numel() / best / 1e6


def per_core(clean: torch.Tensor, name: str, gain: float, ratio: float) -> float:
    noise = partial(add_noise, clean, NoiseModel.parse(name), parameters(gain, ratio), by_generator(0))
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.thread_time()
        noise()
        best = min(best, time.thread_time() - begin)
    return clean.numel() / best / 1e6


def on_gpu(clean: torch.Tensor, name: str) -> float:
    draws = GeneratorDraws(torch.Generator("cuda").manual_seed(0))
    noise = partial(add_noise, clean.cuda(), NoiseModel.parse(name), parameters(1.0, 100.0), draws)
    best = float("inf")
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        noise()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return clean.numel() / best / 1e6


if __name__ == "__main__":
    main()
