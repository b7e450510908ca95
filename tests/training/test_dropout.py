"""Chance inside a network (MambaLLIE's dropout): the same for the same seed and step, whatever came between."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tapetum.imaging import Picture, write_picture
from tapetum.methods.mamballie import MambaLLIE
from tapetum.training.module import step_seed
from tapetum.training.recipe import load_recipe
from tapetum.training.run import train
from tapetum.weights.loading import read_state_dict


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for i in range(3):
        for side in ("low", "high"):
            (tmp_path / side).mkdir(exist_ok=True)
            write_picture(Picture(random.integers(0, 255, (20, 24, 3), np.uint8)), tmp_path / side / f"{i}.png")
    recipe = {
        "name": "small",
        "method": "mamballie",
        "config": "tiny",
        "data": {
            "root": str(tmp_path),
            "patch": 16,
            "batch": 2,
            "mixup": 1.2,
            "sources": [{"name": "pairs", "pictures": {"layout": "folders", "low": "low", "target": "high"}}],
        },
        "optimiser": {"rate": 1e-3},
        "schedule": {"kind": "cosine_restarts", "periods": [2, 2], "minima": [2e-3, 1e-6]},
        "run": {"steps": 4, "save_every": 2, "threads": 1, "devices": 1, "folder": str(tmp_path / "a")},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def trained(recipe_file: Path, folder: str, *overrides: str) -> dict[str, torch.Tensor]:
    place = f"run.folder={recipe_file.parent / folder}"
    return read_state_dict(train(load_recipe(recipe_file, [place, *overrides])))


def test_one_seed_gives_one_result_and_a_resumed_run_is_the_unbroken_one(recipe_file: Path) -> None:
    unbroken = trained(recipe_file, "a")
    torch.manual_seed(123)  # whatever has been drawn before
    again = trained(recipe_file, "b", "run.seed=100")
    trained(recipe_file, "c", "run.steps=2")
    torch.rand(7)
    resumed = trained(recipe_file, "c")
    other = trained(recipe_file, "d", "run.seed=101")
    for key, value in unbroken.items():
        assert torch.equal(again[key], value), key
        assert torch.equal(resumed[key], value), key
    assert any(not torch.equal(other[key], value) for key, value in unbroken.items())


def test_dropout_takes_part(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above could pass without any dropout."""
    with_dropout = trained(recipe_file, "a")

    def without(self: MambaLLIE, mode: bool = True) -> MambaLLIE:
        super(MambaLLIE, self).train(mode)
        for module in self.modules():
            if isinstance(module, torch.nn.Dropout):
                module.training = False
        return self

    monkeypatch.setattr(MambaLLIE, "train", without)
    assert any(not torch.equal(v, with_dropout[k]) for k, v in trained(recipe_file, "b").items())


def test_seeds_of_steps_and_devices_differ() -> None:
    seeds = {step_seed(seed, step, rank) for seed in (1, 2) for step in range(20) for rank in range(4)}
    assert len(seeds) == 2 * 20 * 4
