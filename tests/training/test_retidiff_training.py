"""Reti-Diff's stages as a training: one after the other, stopped and resumed, and what is refused before it begins."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tapetum.errors import UsageError, WeightsError
from tapetum.imaging import Picture, write_picture
from tapetum.methods.registry import get_method
from tapetum.training.recipe import load_recipe
from tapetum.training.run import train, train_stages
from tapetum.training.stages import load_stages
from tapetum.weights.loading import load_model, read_state_dict, read_weights, save_model

STAGES = ("decomposition", "stage1", "priors", "stage2")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The weights of every stage, trained for one step."""
    folder = written(tmp_path_factory.mktemp("stages"))
    train_stages(load_stages(folder / "all.yaml", ["run.steps=1", "run.validate_every=9"]))
    return {stage: str(folder / "runs" / f"all-{stage}" / "weights.safetensors") for stage in STAGES}


def written(tmp_path: Path) -> Path:
    """A folder with a recipe for each stage, all.yaml, and their pictures."""
    rng = np.random.default_rng(0)
    for i in range(6):
        ramp = np.linspace(40, 220, 48)[None, :, None] * np.ones((40, 48, 3))
        for folder, light in (("low", 0.2), ("high", 1.0)):
            noisy = np.clip(light * ramp + rng.normal(0, 5, ramp.shape), 0, 255).astype(np.uint8)
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write_picture(Picture(noisy), tmp_path / "data" / folder / f"{i}.png")
    pictures = {"layout": "folders", "low": "low", "target": "high"}
    common = {
        "config": "tiny",
        "data": {
            "root": str(tmp_path / "data"),
            "patch": 16,
            "batch": 2,
            "sources": [{"name": "pairs", "pictures": pictures, "hold_out": 0.34}],
        },
        "optimiser": {"name": "adamw", "rate": 1e-3},
        "schedule": {"kind": "multi_step", "milestones": []},
        "run": {
            "steps": 2,
            "ema": 0.5,
            "validate_every": 2,
            "save_every": 1,
            "log_every": 1,
            "samples": 1,
            "threads": 1,
            "devices": 1,
            "folder": str(tmp_path / "runs"),
        },
    }
    methods = ("retidiff_decomposition", "retidiff_stage1", "retidiff", "retidiff")
    for stage, method in zip(STAGES, methods, strict=True):
        recipe: dict[str, Any] = {**common, "name": stage, "method": method}
        if method == "retidiff":
            recipe["objective"] = {"phase": "prior" if stage == "priors" else "joint"}
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump(recipe))
    stages = {"name": "all", "stages": {stage: f"{stage}.yaml" for stage in STAGES}}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    return tmp_path


def test_all_stages_by_one_command(place: Path) -> None:
    last = train_stages(load_stages(place / "all.yaml"))
    folders = [place / "runs" / f"all-{stage}" for stage in STAGES]
    decomposition, stage1, priors, stage2 = (read_state_dict(folder / "weights.safetensors") for folder in folders)
    assert last == folders[-1] / "weights.safetensors"
    # what is learned in one stage is kept in all that follow
    for key in decomposition:
        if key.startswith("decom_low."):
            assert all(torch.equal(decomposition[key], state[key]) for state in (stage1, priors, stage2)), key
    # the prior phase changes extractors and denoisers alone, the joint one the transformer, too
    moved = {key for key in priors if not torch.equal(priors[key], stage2[key])}
    transformer = [key for key in stage1 if key.startswith("G.")]
    assert all(torch.equal(stage1[key], priors[key]) for key in transformer)
    assert sum(key in moved for key in transformer) > len(transformer) / 2
    assert any(key.startswith("rex_condition.") for key in moved)
    # the teacher is the first stage's, and never moves
    for key in stage1:
        if key.startswith(("E_rex.", "E_img.")):
            assert torch.equal(stage1[key], stage2[f"teacher.{key}"]), key
    told = json.loads(read_weights(last).metadata["tapetum.provenance"])
    assert told["begun_with"]["provenance"]["recipe"]["name"] == "all-priors"


def test_stopped_in_the_joint_phase_and_resumed_is_the_same_as_uninterrupted(place: Path) -> None:
    whole = train_stages(load_stages(place / "all.yaml"))
    parts = [f"run.folder={place}/parts"]
    recipes = load_stages(place / "all.yaml", parts)
    for recipe in recipes[:3]:
        train(recipe)
    train(load_stages(place / "all.yaml", [*parts, "stage2.run.steps=1"])[3])
    torch.rand(5)
    resumed = read_state_dict(train_stages(recipes))
    for key, value in read_state_dict(whole).items():
        assert torch.equal(value, resumed[key]), key


@pytest.mark.parametrize(
    ("recipe", "weights", "says"),
    [
        ("stage1", None, "retidiff_stage1 begins with the weights of retidiff_decomposition: train that first"),
        ("priors", None, "retidiff begins with the weights of retidiff_stage1: train that first and give weights=FILE"),
        ("stage2", "absent.safetensors", r"retidiff_stage1, and there is no absent\.safetensors: train that first"),
        ("stage2", "decomposition", "holds no stage 1 of Reti-Diff"),
        ("stage1", "stage2", "holds no pair of decomposition networks"),
    ],
)
def test_weights_of_the_wrong_stage(
    place: Path, files: dict[str, str], recipe: str, weights: str | None, says: str
) -> None:
    change = [] if weights is None else [f"weights={files.get(weights, weights)}"]
    with pytest.raises((UsageError, WeightsError), match=says) as caught:
        train(load_recipe(place / f"{recipe}.yaml", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parts", [{}, {"auxiliary": True}, {"auxiliary": True, "decomposition": False}])
def test_a_teacher_that_is_not_there(place: Path, parts: dict[str, bool]) -> None:
    """A stage-2 file without its teacher, as all published ones are, cannot be trained on."""
    from tapetum.methods.registry import create_model
    from tapetum.weights.loading import save_model

    config = {"n_encoder_res": 1, "dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "n_feat": 8}
    save_model(create_model("retidiff", {**config, "prior": 32, **parts}), place / "bare.safetensors", {})
    says = r"bare\.safetensors: a stage-2 file without the stage-1 teacher that training needs: begin with a file of"
    with pytest.raises(WeightsError, match=says) as caught:
        train(load_recipe(place / "stage2.yaml", [f"weights={place}/bare.safetensors"]))
    assert "\n" not in str(caught.value)


def test_resumed_with_another_stage_of_the_same_name(place: Path, files: dict[str, str]) -> None:
    train(load_recipe(place / "decomposition.yaml", ["run.steps=1", "run.validate_every=9", "name=one"]))
    says = r"runs.one holds a training of retidiff_decomposition, and recipe one trains retidiff_stage1: choose another"
    with pytest.raises(UsageError, match=says):
        train(load_recipe(place / "stage1.yaml", ["name=one", f"weights={files['decomposition']}"]))


def test_resumed_with_the_other_phase(place: Path, files: dict[str, str]) -> None:
    change = [f"weights={files['stage1']}", "run.steps=1", "run.validate_every=9", "name=one"]
    train(load_recipe(place / "priors.yaml", change))
    with pytest.raises(UsageError, match="holds a training whose objective differs: choose another name"):
        train(load_recipe(place / "stage2.yaml", change))


@pytest.mark.parametrize(
    ("task", "source", "says"),
    [
        ("underwater", "data_set", "config.task of retidiff is underwater, but source pairs is low-light: change one"),
        ("backlit", "data_set", "is backlit, but source pairs is low-light"),
        ("low-light", "backlight", "is low-light, but source pairs is backlit"),
        ("underwater", "darken", "is underwater, but source pairs is low-light"),
    ],
)
def test_pictures_of_another_task(place: Path, task: str, source: str, says: str) -> None:
    kinds = {
        "data_set": {"name": "pairs", "pictures": {"layout": "data_set", "name": "lol_v1", "folder": "."}},
        "backlight": {"name": "pairs", "kind": "backlight", "pictures": {"layout": "pictures", "folder": "high"}},
        "darken": {"name": "pairs", "kind": "darken", "pictures": {"layout": "pictures", "folder": "high"}},
    }
    content = yaml.safe_load((place / "stage2.yaml").read_text())
    content["data"]["sources"] = [kinds[source]]
    content["config"] = {"auxiliary": True, "teacher": True, "task": task}
    (place / "wrong.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=rf"^recipe stage2: .*{says}"):
        train(load_recipe(place / "wrong.yaml"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.patch=20", r"data\.patch is 20: retidiff_stage1 with this config needs a multiple of 8"),
        ("data.progressive=[{after: 1, patch: 36, batch: 1}]", r"data\.patch is 36: .* needs a multiple of 8"),
        ("data.sources.0.pictures.low=tiny", r"tiny.0\.png: 48x6, smaller than a window of 8x8: take it out"),
        ("data.sources.0.pictures={layout: data_set, name: uieb, folder: .}",
         r"source pairs: .*train.lq: no such folder of pictures; uieb is .*train,test.*holds high, low"),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit(place: Path, override: str, says: str) -> None:
    (place / "data" / "tiny").mkdir()
    for i in range(6):
        write_picture(Picture(np.zeros((6, 48, 3), np.uint8)), place / "data" / "tiny" / f"{i}.png")
    with pytest.raises(UsageError, match=says) as caught:
        train_stages(load_stages(place / "all.yaml", [f"stage1.{override}"]))
    assert "\n" not in str(caught.value)
    assert not (place / "runs").exists(), "refused before the first stage begins"


def test_a_stage_before_of_another_task(place: Path, files: dict[str, str]) -> None:
    told = json.loads(read_weights(files["stage1"]).metadata["tapetum.provenance"])
    told["recipe"]["data"]["sources"][0]["kind"] = "backlight"
    network = load_model(files["stage1"])
    save_model(network, place / "backlit.safetensors", told)
    content = yaml.safe_load((place / "priors.yaml").read_text())
    content["config"] = {**dataclasses.asdict(get_method("retidiff").configs["tiny"]), "task": "low-light"}
    (place / "wrong.yaml").write_text(yaml.safe_dump(content))
    says = r"config\.task is low-light, but .*backlit\.safetensors was trained with pictures that are backlit: train"
    with pytest.raises(UsageError, match=says):
        train(load_recipe(place / "wrong.yaml", [f"weights={place}/backlit.safetensors"]))


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_all_stages_by_two_processes_and_resumed(place: Path) -> None:
    """Every parameter that learns in a phase has a gradient there, which two processes wait for."""

    def trained(folder: str, *changes: str) -> dict[str, torch.Tensor]:
        changes = ("run.devices=2", f"run.folder={folder}", *changes)
        command = [sys.executable, "-m", "tapetum", "train", "all.yaml", *changes]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return read_state_dict(place / folder / "all-stage2" / "weights.safetensors")

    whole = trained("whole")
    trained("parts", "stage2.run.steps=1")
    for key, value in trained("parts").items():
        torch.testing.assert_close(value, whole[key], rtol=0, atol=0, msg=key)
