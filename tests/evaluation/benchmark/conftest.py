"""Pairs of pictures, and a finished benchmark of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.evaluation.benchmark.plan import Data, Model, Photographs, Plan
from tapetum.evaluation.benchmark.results import Results
from tapetum.evaluation.benchmark.runner import run

HARMFUL = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pairs in ``ROOT/eval15/{low,high}``, one with a name that is HTML."""
    root = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[0:40, 0:56]
    for i, name in enumerate(["a", "b", "c", "d", "e", "f", HARMFUL.replace("/", "")]):
        light = 40 + 25 * np.sin(rows / (5 + i)) + 30 * (columns / 56)
        low = np.clip(light[..., None] * [1, 0.9, 0.7] + random.normal(0, 2, (40, 56, 3)), 0, 255)
        target = np.clip(low * (1.8 + 0.1 * i) + random.normal(0, 1 + i, low.shape), 0, 255)
        for side, image in (("low", low), ("high", target)):
            path = root / "eval15" / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.round().astype(np.uint8)).save(path)
    return root


@dataclass(frozen=True)
class Finished:
    """A benchmark that was run: its plan, its results, and where they and its predictions are."""

    plan: Plan
    results: Results
    out: Path
    cache: Path


@pytest.fixture(scope="session")
def finished(pairs: Path, doubler: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    models = Model("gamma"), Model("clahe", label=HARMFUL), Model(str(doubler))
    plan = Plan(models, (Data(pairs),), ("strict", "uptflow_test_script"), ("mae",), title="</title><b>A & B")
    plan = replace(plan, robustness=Photographs(pairs / "eval15" / "high", (HARMFUL.replace("/", ""),)))
    return Finished(plan, run(plan, folder / "out", folder / "cache"), folder / "out", folder / "cache")
