"""Training by two processes, as on two devices: they learn as one, and resume exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

import tapetum
from tapetum.imaging import Picture, write_picture
from tapetum.methods.uptflow import FlowObjective
from tapetum.weights.loading import load_model, read_state_dict

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this torch has no torch.distributed")


def one_rank(rank: int, folder: str) -> None:
    """One step of a flow on a batch of its own; its weights are written."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    network = tapetum.create_model("uptflow", "tiny").train()
    generator = torch.Generator().manual_seed(rank)
    low, target = torch.rand(2, 2, 3, 32, 32, generator=generator)
    FlowObjective()(network, {"low": low * 0.3, "target": target})
    torch.save(network.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_every_process_begins_with_the_first_ones_statistics(tmp_path: Path) -> None:
    spawn(one_rank, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    begun = [key for key in first if key.endswith("actnorm.bias")]
    assert begun
    assert all(first[key].any() for key in begun)
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=0, msg=key)


@pytest.mark.slow
def test_resumed_by_two_is_the_same_as_uninterrupted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(6):
        picture = np.clip(rng.normal(128, 20, (1, 1, 3)) + rng.normal(0, 30, (48, 56, 3)), 0, 255)
        for side, factor in (("low", 0.2), ("high", 1.0)):
            (tmp_path / "data" / side).mkdir(parents=True, exist_ok=True)
            write_picture(Picture((picture * factor).astype(np.uint8)), tmp_path / "data" / side / f"{i}.png")
    recipe = {
        "name": "small",
        "method": "uptflow",
        "config": "tiny",
        "data": {
            "root": str(tmp_path / "data"),
            "patch": 32,
            "batch": 2,
            "sources": [
                {
                    "name": "pairs",
                    "pictures": {"layout": "folders", "low": "low", "target": "high"},
                    "hold_out": 0.34,
                }
            ],
        },
        "optimiser": {"name": "adam", "rate": 1e-3, "clip_norm": 1.0},
        "schedule": {"kind": "cosine_restarts", "periods": [6]},
        "run": {"steps": 6, "ema": 0.5, "validate_every": 3, "save_every": 2, "threads": 1, "devices": 2},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))

    def train(folder: str, *changes: str) -> dict[str, Tensor]:
        command = [sys.executable, "-m", "tapetum", "train", "small.yaml", f"run.folder={folder}", *changes]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("weights.safetensors") + done.stderr.count("weights.safetensors") == 1
        load_model(tmp_path / folder / "small" / "weights.safetensors", method="uptflow")
        return read_state_dict(tmp_path / folder / "small" / "weights.safetensors")

    whole = train("whole")
    train("parts", "run.steps=4")
    parts = train("parts")
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=0, msg=key)
