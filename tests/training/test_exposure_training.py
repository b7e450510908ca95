"""A RAW method trains, validates and resumes: networks, loss weights and optimiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tapetum.training.recipe import Recipe, load_recipe
from tapetum.training.run import train
from tapetum.weights.loading import load_model


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Four photographs made RAW, one of them held out."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows, columns = np.mgrid[0:48, 0:64]
    for i in range(4):
        light = 120 + 90 * np.sin(rows / (4 + i)) * np.cos(columns / 7)
        Image.fromarray(np.repeat(light[..., None], 3, 2).astype(np.uint8)).save(folder / f"{i}.png")
    content = {
        "name": "toy",
        "method": "exposurediffusion",
        "config": "tiny",
        "objective": {"iterations": 2},
        "data": {
            "root": str(tmp_path),
            "patch": 16,
            "batch": 2,
            "sources": [
                {
                    "name": "made",
                    "kind": "raw-synthetic",
                    "pictures": {"layout": "pictures", "folder": "pictures"},
                    "hold_out": 0.25,
                    "raw": {"noise": "P+G+r+u", "ratio": [100, 100], "gain": [1.0, 1.0]},
                }
            ],
        },
        "optimiser": {"rate": 2e-3},
        "schedule": {"kind": "multi_step", "milestones": [], "restarts": [0, 3], "weights": [1.0, 0.5]},
        "run": {"steps": 6, "validate_every": 3, "save_every": 1, "log_every": 1, "folder": str(tmp_path / "runs")},
    }
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def checkpoint(recipe: Recipe) -> dict[str, torch.Tensor]:
    file = Path(recipe.run.folder) / recipe.name / "checkpoints" / "last.ckpt"
    return torch.load(file, map_location="cpu", weights_only=False)


def test_resumed_is_the_same_as_uninterrupted(recipe: Path) -> None:
    whole = load_recipe(recipe)
    train(whole)
    parts = [load_recipe(recipe, ["name=parts", f"run.steps={steps}"]) for steps in (2, 6)]
    for part in parts:
        train(part)
    first, second = checkpoint(whole), checkpoint(parts[1])
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    # the weights of the steps have been learned, and their moments kept
    assert (first["state_dict"]["objective.loss_weights"] != 1 / 3).all()
    optimisers = [c["optimizer_states"][0] for c in (first, second)]
    last = max(optimisers[0]["state"])
    assert optimisers[0]["state"][last]["exp_avg"].shape == (2,)
    assert torch.equal(optimisers[0]["state"][last]["exp_avg"], optimisers[1]["state"][last]["exp_avg"])
    assert optimisers[0]["param_groups"][0]["lr"] == pytest.approx(1e-3)


def test_writes_weights_and_samples(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = load_recipe(recipe, ["run.steps=3"])
    file = train(chosen)
    folder = Path(chosen.run.folder) / "toy"
    assert load_model(file).config == load_model(folder / "weights-best.safetensors").config
    assert list((folder / "samples").glob("made-*.jpg"))
    told = capsys.readouterr().out
    assert "made/psnr " in told
    assert "made/psnr_noisy " in told


def test_loss_decreases(recipe: Path) -> None:
    changes = ["run.steps=60", "run.validate_every=60", "optimiser.rate=5e-3", "schedule.weights=[1, 1]"]
    chosen = load_recipe(recipe, changes)
    train(chosen)
    (table,) = (Path(chosen.run.folder) / "toy" / "logs" / "part-0").glob("metrics.csv")
    lines = [line.split(",") for line in table.read_text().splitlines()]
    column = lines[0].index("train/loss")
    losses = [float(line[column]) for line in lines[1:] if line[column]]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
