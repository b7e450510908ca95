"""Trainings in stages: one command, exact resume, the second stage on unpaired pictures with the first one frozen."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tapetum.errors import UsageError
from tapetum.imaging import Picture, read_picture, write_picture
from tapetum.methods.lightendiffusion import Stage2Objective
from tapetum.methods.registry import create_model
from tapetum.training.recipe import load_recipe
from tapetum.training.run import train, train_stages
from tapetum.training.stages import load_stages
from tapetum.weights.loading import read_state_dict, read_weights, save_model
from tapetum.weights.registry import sha256_of


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Recipes both.yaml, first.yaml and second.yaml, and their pictures."""
    rng = np.random.default_rng(0)

    def picture(folder: str, name: str, light: float, height: int = 32, width: int = 48) -> None:
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        ramp = light * np.linspace(40, 220, width)[None, :, None] * np.ones((height, width, 3))
        noisy = np.clip(ramp + rng.normal(0, 5, ramp.shape), 0, 255).astype(np.uint8)
        write_picture(Picture(noisy), tmp_path / "data" / folder / f"{name}.png")

    for i in range(6):
        picture("low", str(i), 0.2)
        picture("high", str(i), 1.0)
    for i in range(3):
        picture("dark", str(i), 0.1, 40, 33)
    for i in range(5):
        picture("day", str(i), 0.9, 64 + i, 16)
    run = {
        "steps": 4,
        "ema": 0.5,
        "validate_every": 2,
        "save_every": 2,
        "log_every": 1,
        "samples": 1,
        "threads": 1,
        "devices": 1,
        "folder": str(tmp_path / "runs"),
    }
    common = {
        "config": "tiny",
        "optimiser": {"rate": 1e-3},
        "schedule": {"kind": "cosine_restarts", "periods": [4]},
        "run": run,
    }
    pairs = {"layout": "folders", "low": "low", "target": "high"}
    recipes: dict[str, Any] = {
        "first": {
            **common,
            "name": "first",
            "method": "lightendiffusion_stage1",
            "objective": {"cross": 1.0, "decomposition_trains": "ctdn"},
            "data": {
                "root": str(tmp_path / "data"),
                "patch": 16,
                "batch": 2,
                "sources": [{"name": "pairs", "kind": "exposures", "pictures": pairs, "hold_out": 0.34}],
            },
        },
        "second": {
            **common,
            "name": "second",
            "method": "lightendiffusion",
            "data": {
                "root": str(tmp_path / "data"),
                "patch": 16,
                "batch": 3,
                "sources": [
                    {
                        "name": "unpaired",
                        "kind": "unpaired",
                        "pictures": {"layout": "unpaired", "low": [pairs, "dark"], "normal": "day"},
                        "hold_out": 0.34,
                    }
                ],
            },
        },
        "both": {"name": "both", "stages": {"one": "first.yaml", "two": "second.yaml"}},
    }
    for name, recipe in recipes.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def change(file: Path, **values: Any) -> None:
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **values}))


def test_one_recipe_is_one_stage(place: Path) -> None:
    assert load_stages(place / "first.yaml", ["run.steps=7"]) == [load_recipe(place / "first.yaml", ["run.steps=7"])]


def test_changes_reach_all_stages_or_one(place: Path) -> None:
    changes = ["name=mine", "run.steps=7", "two.run.steps=9", "one.optimiser.rate=0.5", "one.weights=w.pth"]
    one, two = load_stages(place / "both.yaml", changes)
    assert (one.name, two.name) == ("mine-one", "mine-two")
    assert (one.run.steps, two.run.steps) == (7, 9)
    assert (one.optimiser.rate, two.optimiser.rate) == (0.5, 1e-3)
    assert one.weights == "w.pth"
    assert two.weights == str(place / "runs" / "mine-one" / "weights.safetensors")


def test_a_file_of_stages_may_change_its_recipes(place: Path) -> None:
    change(place / "both.yaml", changes=["run.steps=7", "two.run.steps=9", "data.batch=5"])
    one, two = load_stages(place / "both.yaml", ["two.run.steps=11", "one.data.batch=6"])
    assert (one.run.steps, two.run.steps) == (7, 11)
    assert (one.data.batch, two.data.batch) == (6, 5)
    change(place / "both.yaml", changes=["two.weights=x"])
    with pytest.raises(UsageError, match="two begins with the weights of the stage before"):
        load_stages(place / "both.yaml")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("weights=x", "override 'weights=x': each stage begins with weights of its own"),
        ("two.weights=x", "two begins with the weights of the stage before"),
        ("three.run.steps=1", "three: unknown key"),
        ("one.run.setps=1", r"first\.yaml: run\.setps: unknown key"),
        ("name=../x", r"both\.yaml: name: .*pattern"),
    ],
)
def test_mistakes_in_changes_are_named(place: Path, override: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        load_stages(place / "both.yaml", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ({}, "stages: .*at least 1"),
        ({"one": "nothing"}, "nothing: no such recipe file, and no bundled recipe"),
        ({"one": "both.yaml"}, r"stages\.one: both\.yaml has stages itself"),
        ({"One": "first.yaml"}, r"stages\.One.*: .*pattern"),
        (["first.yaml"], "stages: .*dictionary"),
    ],
)
def test_mistakes_in_the_list_are_named(place: Path, stages: Any, says: str) -> None:
    change(place / "both.yaml", stages=stages)
    with pytest.raises(UsageError, match=says):
        load_stages(place / "both.yaml")
    with pytest.raises(UsageError, match=r"both\.yaml: has stages, and one recipe is wanted"):
        load_recipe(place / "both.yaml")


def test_both_stages_by_one_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = train_stages(load_stages(place / "both.yaml"))
    one, two = place / "runs" / "both-one", place / "runs" / "both-two"
    assert weights == two / "weights.safetensors"
    # stage 2 leaves every tensor of stage 1 as it was, and moves all of its own
    first, second = read_state_dict(one / "weights.safetensors"), read_state_dict(weights)
    assert {k.removeprefix("decom.") for k in second if k.startswith("decom.")} == set(first)
    for key, value in first.items():
        assert torch.equal(second[f"decom.{key}"], value), key
    checkpoint = torch.load(two / "checkpoints" / "last.ckpt", weights_only=False)
    trained = checkpoint["optimizer_states"][0]["param_groups"][0]["params"]
    assert len(trained) == sum(key.startswith("Unet.") for key in second)
    told = json.loads(read_weights(weights).metadata["tapetum.provenance"])
    assert told["begun_with"]["sha256"] == sha256_of(one / "weights.safetensors")
    assert told["begun_with"]["provenance"]["recipe"]["name"] == "both-one"
    assert told["recipe"]["weights"] == "both-one/weights.safetensors"  # no folder of this machine
    assert str(place) not in json.dumps(told["recipe"]["weights"])
    # the log: the swap test of stage 1, both PSNRs
    rows = logged(one)
    for key in ("spread", "difference", "mean_low", "mean_swapped", "mean_normal", "psnr_swapped", "light_detail"):
        assert f"val/pairs/{key}" in rows
    assert {"val/psnr", "train/loss"} <= rows & logged(two)
    assert {"val/unpaired/psnr", "val/unpaired/psnr_gt_mean", "val/unpaired/psnr_reachable"} <= logged(two)
    # low, enhanced, target; then R and L of both exposures and the swapped one; or R and L of the low
    for folder, pictures in ((one, 8), (two, 5)):
        assert {read_picture(p).pixels.shape[1] for p in (folder / "samples").iterdir()} == {pictures * 48}
    # again: both are finished and stay as they are
    before = {p: p.stat().st_mtime_ns for p in (place / "runs").rglob("*") if p.is_file()}
    assert train_stages(load_stages(place / "both.yaml")) == weights
    assert {p: p.stat().st_mtime_ns for p in (place / "runs").rglob("*") if p.is_file()} == before
    assert "stage 1 of 2: both-one" in capsys.readouterr().out


def logged(folder: Path) -> set[str]:
    """Names of the columns that have a value."""
    with (folder / "logs" / "part-0" / "metrics.csv").open() as stream:
        return {key for row in csv.DictReader(stream) for key, value in row.items() if value}


def test_stopped_in_either_stage_and_resumed_is_the_same_as_uninterrupted(place: Path) -> None:
    changes = ["data.sources.0.noise=0.5"]
    whole = train_stages(load_stages(place / "both.yaml", [*changes, f"run.folder={place}/whole"]))
    parts = [*changes, f"run.folder={place}/parts"]
    first, second = load_stages(place / "both.yaml", parts)
    train(load_stages(place / "both.yaml", [*parts, "one.run.steps=2"])[0])
    torch.rand(7)
    train(first)
    train(load_stages(place / "both.yaml", [*parts, "two.run.steps=2"])[1])
    torch.rand(3)
    resumed = train_stages([first, second])
    for stage in ("both-one", "both-two"):
        a, b = (
            torch.load(place / run / stage / "checkpoints" / "last.ckpt", weights_only=False)
            for run in ("whole", "parts")
        )
        same(a["current_model_state"], b["current_model_state"])
        same(a["state_dict"], b["state_dict"])
        same(a["optimizer_states"][0]["state"], b["optimizer_states"][0]["state"])
        assert a["global_step"] == b["global_step"] == 4
    same(read_state_dict(whole), read_state_dict(resumed))


def same(a: Any, b: Any) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, dict):
            same(value, b[key])
        else:
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(b[key])), key


@pytest.mark.slow
def test_killed_in_the_second_stage_and_resumed(place: Path) -> None:
    changes = ["two.run.steps=40", "run.save_every=10", "run.validate_every=20", "run.log_every=10"]
    whole = train_stages(load_stages(place / "both.yaml", [*changes, f"run.folder={place}/whole"]))
    command = [sys.executable, "-m", "tapetum", "train", str(place / "both.yaml"), *changes]
    command.append(f"run.folder={place}/killed")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = place / "killed" / "both-two" / "checkpoints" / "last.ckpt"
    while not last.is_file():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (place / "killed" / "both-two" / "weights.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stdout
    same(read_state_dict(whole), read_state_dict(place / "killed" / "both-two" / "weights.safetensors"))


def test_the_average_is_what_is_validated_sampled_and_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    examine = Stage2Objective.examine

    def spy(self: Stage2Objective, network: torch.nn.Module, *pictures: Any) -> Any:
        seen.append({key: value.clone() for key, value in network.state_dict().items()})
        return examine(self, network, *pictures)

    monkeypatch.setattr(Stage2Objective, "examine", spy)
    written = read_state_dict(train_stages(load_stages(place / "both.yaml")))
    same(written, seen[-1])
    checkpoint = torch.load(place / "runs" / "both-two" / "checkpoints" / "last.ckpt", weights_only=False)
    raw = {k.removeprefix("network."): v for k, v in checkpoint["current_model_state"].items()}
    assert any(not torch.equal(written[key], raw[key]) for key in written)


def test_a_finished_stage_without_a_checkpoint_is_passed_over(place: Path) -> None:
    changes = ["one.run.steps=1", "one.run.save_every=9", "two.run.steps=1"]
    train_stages(load_stages(place / "both.yaml", changes))
    assert not (place / "runs" / "both-one" / "checkpoints" / "last.ckpt").exists()
    before = (place / "runs" / "both-one" / "weights.safetensors").stat().st_mtime_ns
    train_stages(load_stages(place / "both.yaml", changes))
    assert (place / "runs" / "both-one" / "weights.safetensors").stat().st_mtime_ns == before


def test_stage_2_notices_that_stage_1_was_trained_on(place: Path) -> None:
    train_stages(load_stages(place / "both.yaml"))
    with pytest.raises(UsageError, match=r"both-two holds a training that began with other weights .*--restart"):
        train_stages(load_stages(place / "both.yaml", ["one.run.steps=6"]))
    with pytest.raises(UsageError, match=r"both-two holds a training that began with other weights .*--restart"):
        train_stages(load_stages(place / "both.yaml", ["one.run.steps=6", "two.run.steps=6"]))
    train_stages(load_stages(place / "both.yaml", ["one.run.steps=6"]), resume=False)


def test_begun_anew_nothing_of_the_old_training_is_left(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = train(load_recipe(place / "first.yaml"))
    with pytest.raises(UsageError, match="nowhere"):
        train(load_recipe(place / "first.yaml", ["data.root=nowhere"]), resume=False)
    assert weights.is_file()  # refused before anything is lost
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):  # killed before its first checkpoint
        train(load_recipe(place / "first.yaml"), resume=False)
    assert not weights.exists()
    assert list((place / "runs" / "first" / "checkpoints").iterdir()) == []


def test_stage_2_without_stage_1(place: Path) -> None:
    with pytest.raises(UsageError, match="lightendiffusion begins with the weights of lightendiffusion_stage1: train"):
        train(load_recipe(place / "second.yaml"))
    with pytest.raises(UsageError, match=r"lightendiffusion_stage1, and there is no gone\.safetensors: train that"):
        train(load_recipe(place / "second.yaml", ["weights=gone.safetensors"]))
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("recipe", "method", "config", "says"),
    [
        ("second", "twilight", "tiny", r"w\.safetensors: holds no first stage of LightenDiffusion"),
        (
            "second",
            "lightendiffusion_stage1",
            "narrow",
            r"w\.safetensors does not fit the first stage .*of another shape",
        ),
        (
            "second",
            "lightendiffusion",
            "narrow",
            r"w\.safetensors does not fit the first stage of this lightendiffusion",
        ),
        ("first", "lightendiffusion", "tiny", "holds weights of lightendiffusion, not of lightendiffusion_stage1"),
    ],
)
def test_weights_of_another_stage_or_method(place: Path, recipe: str, method: str, config: str, says: str) -> None:
    file = save_model(create_model(method, config), place / "w.safetensors", {})
    with pytest.raises(UsageError, match=says) as caught:
        train(load_recipe(place / f"{recipe}.yaml", [f"weights={file}"]))
    assert "\n" not in str(caught.value)


def test_a_whole_file_is_trained_on(place: Path) -> None:
    network = create_model("lightendiffusion", "tiny")
    file = save_model(network, place / "w.safetensors", {})
    changes = ["run.steps=1", "optimiser.rate=1e-12", "run.validate_every=1", f"weights={file}"]
    trained = read_state_dict(train(load_recipe(place / "second.yaml", changes)))
    for key, value in network.state_dict().items():
        torch.testing.assert_close(trained[key], value, atol=1e-6, rtol=0)


def test_stages_that_do_not_follow_are_refused_before_the_first_begins(place: Path) -> None:
    says = "both-two cannot begin with the weights of both-one: .*of another shape"
    with pytest.raises(UsageError, match=says) as caught:
        train_stages(load_stages(place / "both.yaml", ["two.config=narrow", "two.data.patch=32"]))
    assert "\n" not in str(caught.value)
    change(place / "both.yaml", stages={"one": "second.yaml", "two": "first.yaml"})
    with pytest.raises(UsageError, match="both-one: lightendiffusion begins with the weights of"):
        train_stages(load_stages(place / "both.yaml"))
    change(place / "both.yaml", stages={"one": "first.yaml", "two": "second.yaml"})
    with pytest.raises(UsageError, match="source unpaired: nowhere: no such folder"):
        train_stages(load_stages(place / "both.yaml", ["two.data.sources.0.pictures.low=nowhere", "two.data.root=."]))
    assert not (place / "runs").exists()


@pytest.mark.parametrize(("steps", "says"), [(0, "from 1 up, got 0"), (101, "steps must be from 1 to 100, got 101")])
def test_steps_of_the_training_sampler(place: Path, steps: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        train_stages(load_stages(place / "both.yaml", [f"two.objective.steps={steps}"]))
    assert not (place / "runs").exists()


def test_a_patch_that_the_network_cannot_take(place: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.patch is 20: lightendiffusion_stage1 with this config needs .* of 8"):
        train(load_recipe(place / "first.yaml", ["data.patch=20"]))


def test_dark_pictures_without_any_reference(place: Path) -> None:
    """Two plain folders: nothing can be scored, so there is no best, but there are pictures."""
    train(load_recipe(place / "first.yaml"))
    weights = f"weights={place}/runs/first/weights.safetensors"
    changes = [weights, "data.sources.0.pictures.low=dark", "data.sources.0.pictures.normal=[day, high]"]
    train(load_recipe(place / "second.yaml", changes))
    folder = place / "runs" / "second"
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"last.ckpt"}
    assert not any(key.startswith("val/") for key in logged(folder))
    assert {read_picture(p).pixels.shape for p in (folder / "samples").iterdir()} == {(40, 4 * 33, 3)}
