"""Training end to end on small pictures: it learns, it writes what it says, and it resumes exactly."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tapetum.data.pairs import pairs_of_folders
from tapetum.data.pictures import load_rgb
from tapetum.errors import TapetumError, UsageError
from tapetum.evaluation.seen import check_seen
from tapetum.imaging import Picture, write_picture
from tapetum.training.callbacks import MovingAverage
from tapetum.training.module import BAD_STEPS, TrainingModule
from tapetum.training.module import scores as scores_of
from tapetum.training.recipe import load_recipe
from tapetum.training.run import train
from tapetum.weights.loading import load_model, read_state_dict, read_weights


@pytest.fixture
def recipe_file(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        ramp = np.linspace(40, 220, 48)[:, None, None] * np.ones((48, 56, 3))
        picture = np.clip(ramp + rng.normal(0, 20, (1, 1, 3)) + rng.normal(0, 5, ramp.shape), 0, 255)
        for side, factor in (("low", 0.2), ("high", 1.0)):
            (tmp_path / "data" / side).mkdir(parents=True, exist_ok=True)
            write_picture(Picture((picture * factor).astype(np.uint8)), tmp_path / "data" / side / f"{i}.png")
    recipe = {
        "name": "small",
        "method": "twilight",
        "config": "tiny",
        "data": {
            "root": str(tmp_path / "data"),
            "patch": 32,
            "batch": 2,
            "crop": 0.8,
            "mixup": 1.2,
            "sources": [
                {
                    "name": "pairs",
                    "pictures": {"layout": "folders", "low": "low", "target": "high"},
                    "hold_out": 0.34,
                },
                {"name": "dark", "kind": "darken", "noise": 0.5, "pictures": {"layout": "pictures", "folder": "high"}},
            ],
        },
        "optimiser": {"name": "adamw", "rate": 3e-3, "clip_norm": 1.0},
        "schedule": {"kind": "cosine_restarts", "periods": [12], "warmup": 2},
        "run": {
            "steps": 12,
            "ema": 0.5,
            "validate_every": 6,
            "save_every": 4,
            "log_every": 2,
            "threads": 1,
            "devices": 1,
            "folder": str(tmp_path / "runs"),
        },
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_it_learns_and_writes_what_it_says(recipe_file, tmp_path, capsys):
    weights = train(load_recipe(recipe_file, ["run.steps=60", "schedule.periods=[60]", "run.validate_every=20"]))
    folder = tmp_path / "runs" / "small"
    assert weights == folder / "weights.safetensors"
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert len(list((folder / "samples").glob("pairs-*.jpg"))) == 2 * 3  # pictures x validations
    with (folder / "logs" / "part-0" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    scores = [float(r["val/pairs/psnr"]) for r in rows if r.get("val/pairs/psnr")]
    lows, targets = (load_rgb(tmp_path / "data" / s / "0.png") for s in ("low", "high"))
    assert scores[-1] > scores_of(lows, targets)["psnr"] + 3
    best = read_weights(folder / "weights-best.safetensors")
    assert "folder" not in json.loads(best.metadata["tapetum.provenance"])["recipe"]["run"]  # a path of this machine
    assert json.loads(best.metadata["tapetum.provenance"])["validation"]["val/psnr"] == pytest.approx(
        max(scores), abs=2e-3
    )
    network = load_model(weights)
    assert network.config == load_model(weights, method="twilight").config
    printed = capsys.readouterr().out
    assert "step 60/60" in printed
    assert "validation at 60" in printed


def test_resumed_is_the_same_as_uninterrupted(recipe_file, tmp_path):
    whole = train(load_recipe(recipe_file, [f"run.folder={tmp_path}/whole"]))
    # the schedule belongs to all 12 steps; the first run just ends early
    train(load_recipe(recipe_file, [f"run.folder={tmp_path}/parts", "run.steps=8"]))
    parts = train(load_recipe(recipe_file, [f"run.folder={tmp_path}/parts"]))
    logs = sorted((tmp_path / "parts" / "small" / "logs").glob("*/metrics.csv"))
    assert [p.parent.name for p in logs] == ["part-0", "part-1"]
    a, b = read_state_dict(whole), read_state_dict(parts)
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=0, rtol=0)


def test_stopped_while_it_validates_and_resumed(recipe_file, tmp_path, monkeypatch):
    """The average stands in the weights' place then: a checkpoint must not take one for the other."""
    changes = ["run.validate_every=4", "run.save_every=3"]
    whole = train(load_recipe(recipe_file, [f"run.folder={tmp_path}/whole", *changes]))
    stopped = [f"run.folder={tmp_path}/stopped", *changes]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "validation_step", lambda *_: (_ for _ in ()).throw(TapetumError("no power")))
        with pytest.raises(TapetumError, match="no power"):
            train(load_recipe(recipe_file, stopped))
    last = torch.load(tmp_path / "stopped" / "small" / "checkpoints" / "last.ckpt", weights_only=False)
    assert last["global_step"] == 4
    resumed = train(load_recipe(recipe_file, stopped))
    a, b = read_state_dict(whole), read_state_dict(resumed)
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=0, rtol=0)


@pytest.mark.parametrize("where", ["between steps", "in a step", "while it validates"])
def test_stopped_by_ctrl_c_and_resumed(recipe_file, tmp_path, monkeypatch, where):
    """The first one waits for the step; a second one is at once, and half a step is not kept."""
    changes = ["run.save_every=3", "run.validate_every=4"]
    whole = train(load_recipe(recipe_file, [f"run.folder={tmp_path}/whole", *changes]))
    stopped = [f"run.folder={tmp_path}/stopped", *changes]
    with monkeypatch.context() as patch:
        if where == "in a step":
            update = MovingAverage.on_train_batch_end

            def interrupted(average, trainer, *args):
                if trainer.global_step == 5:  # after the optimiser's fifth step, before the average's
                    raise KeyboardInterrupt
                update(average, trainer, *args)

            patch.setattr(MovingAverage, "on_train_batch_end", interrupted)
        else:
            method = "training_step" if where == "between steps" else "validation_step"
            inner = getattr(TrainingModule, method)

            def pressed(module, *args):
                if module.global_step == 4:
                    os.kill(os.getpid(), signal.SIGINT)
                return inner(module, *args)

            patch.setattr(TrainingModule, method, pressed)
        with pytest.raises(KeyboardInterrupt):
            train(load_recipe(recipe_file, stopped))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    last = torch.load(tmp_path / "stopped" / "small" / "checkpoints" / "last.ckpt", weights_only=False)
    assert last["global_step"] == {"between steps": 5, "in a step": 3, "while it validates": 4}[where]
    resumed = train(load_recipe(recipe_file, stopped))
    a, b = read_state_dict(whole), read_state_dict(resumed)
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=0, rtol=0)


def test_the_average_of_a_short_training_is_not_what_it_began_with(recipe_file, tmp_path):
    averages = [
        read_state_dict(train(load_recipe(recipe_file, [f"run.folder={tmp_path}/{ema}", f"run.ema={ema}"])))
        for ema in (0.0, 0.9999)
    ]
    first = [f"run.folder={tmp_path}/first", "run.ema=0", "run.steps=1"]
    began = read_state_dict(train(load_recipe(recipe_file, first)))
    key = max(began, key=lambda name: (began[name] - averages[0][name]).abs().mean().item())
    behind = (averages[0][key] - averages[1][key]).norm() / (averages[0][key] - began[key]).norm()
    assert 0.01 < behind < 0.6  # with a constant decay it would be 0.999


@pytest.mark.slow
def test_killed_and_resumed(recipe_file, tmp_path):
    whole = train(load_recipe(recipe_file, [f"run.folder={tmp_path}/whole", "run.steps=400", "run.save_every=10"]))
    command = [sys.executable, "-m", "tapetum", "train", str(recipe_file)]
    command += [f"run.folder={tmp_path}/killed", "run.steps=400", "run.save_every=10"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "killed" / "small" / "checkpoints" / "last.ckpt"
    while not last.is_file():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "small" / "weights.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stdout
    a, b = (read_state_dict(p) for p in (whole, tmp_path / "killed" / "small" / "weights.safetensors"))
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=0, rtol=0)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(recipe_file, tmp_path, sent):
    command = [sys.executable, "-m", "tapetum", "train", str(recipe_file), "run.steps=100000", "run.save_every=10"]
    process = subprocess.Popen([*command, f"run.folder={tmp_path}"], stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "small" / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(sent)
        said = process.communicate(timeout=60)[1].splitlines()
    finally:
        process.kill()  # what did not stop would train for ever
    assert said[-1] == "stopped: the same command goes on from the last checkpoint"
    assert process.returncode == 130


def test_training_can_begin_with_weights(recipe_file, tmp_path):
    first = train(load_recipe(recipe_file, ["run.steps=2"]))
    changes = ["name=second", "run.steps=1", "optimiser.rate=1e-12", f"weights={first}"]
    second = train(load_recipe(recipe_file, changes))
    a, b = read_state_dict(first), read_state_dict(second)
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=1e-6, rtol=0)
    with pytest.raises(UsageError, match=r"nothing\.safetensors"):
        train(load_recipe(recipe_file, ["name=third", "weights=nothing.safetensors"]))


def test_training_can_begin_with_a_smaller_network(recipe_file, tmp_path):
    """Nothing is learnt at this rate: the larger network computes what the smaller one does."""
    common = ["method=mamballie", "optimiser.rate=1e-12", "run.steps=1", "run.ema=0"]
    small = "config={nf: 4, depths: [0, 0, 1, 1, 0, 1], d_state: 2}"
    first = train(load_recipe(recipe_file, [*common, small]))
    changes = [*common, "name=second", "config={nf: 4, depths: [0, 1, 1, 2, 1, 1], d_state: 2}", "weights=run:small"]
    with pytest.raises(UsageError, match=r"depths \(0, 0, 1, 1, 0, 1\) instead of"):
        train(load_recipe(recipe_file, changes))
    second = train(load_recipe(recipe_file, [*changes, "grow=true"]))
    low = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(load_model(second)(low), load_model(first)(low), atol=1e-6, rtol=0)
    with pytest.raises(UsageError, match=r"weights\.safetensors: has more blocks"):
        train(load_recipe(recipe_file, [*common, small, "name=third", "weights=run:second", "grow=true"]))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["grow=true"], "grow: networks of twilight do not grow"),
        (["grow=true", "method=mamballie"], "grow: it needs the weights of a smaller network"),
        (["grow=true", "method=mamballie", "weights=default"], "holds weights of twilight, not of mamballie"),
    ],
)
def test_what_cannot_grow_is_said(recipe_file, changes, says):
    with pytest.raises(UsageError, match=says):
        train(load_recipe(recipe_file, changes))


def test_weights_of_a_run_lie_where_its_folder_is(recipe_file, tmp_path):
    first = train(load_recipe(recipe_file, ["run.steps=1"]))
    changes = ["name=second", "run.steps=1", "weights=run:small"]
    assert load_recipe(recipe_file, changes).weights == str(first)
    train(load_recipe(recipe_file, changes))
    assert load_recipe(recipe_file, [*changes, "run.folder=else"]).weights == str(
        Path("else/small/weights.safetensors")
    )


def test_a_checkpoint_says_what_it_was_trained_on(recipe_file, tmp_path):
    train(load_recipe(recipe_file, ["run.steps=2", "run.save_every=2"]))
    checkpoint = tmp_path / "runs" / "small" / "checkpoints" / "last.ckpt"
    told = json.loads(read_weights(checkpoint).metadata["tapetum.provenance"])
    of_file = json.loads(
        read_weights(tmp_path / "runs" / "small" / "weights.safetensors").metadata["tapetum.provenance"]
    )
    assert told["trained_on"] == of_file["trained_on"]
    assert told["recipe"] == of_file["recipe"]
    pairs = {"part": pairs_of_folders(tmp_path / "data" / "low", tmp_path / "data" / "high")}
    with pytest.raises(UsageError, match="was trained on scenes of part"):
        check_seen([("mine", "twilight", checkpoint)], pairs)
    assert check_seen([("mine", "twilight", checkpoint)], pairs, allow=True)


def test_missing_pictures_are_said_first(recipe_file, tmp_path):
    with pytest.raises(UsageError, match="source pairs: nowhere/low: no such folder of pictures"):
        train(load_recipe(recipe_file, ["data.root=nowhere"]))
    assert not (tmp_path / "runs").exists()


def test_another_recipe_does_not_go_on_in_the_same_folder(recipe_file, tmp_path):
    few = ["run.steps=2", "run.save_every=1"]
    train(load_recipe(recipe_file, few))
    with pytest.raises(UsageError, match=r"runs/small holds a training whose optimiser differs: .*--restart"):
        train(load_recipe(recipe_file, [*few, "optimiser.rate=1e-5"]))
    train(load_recipe(recipe_file, [*few, "optimiser.rate=1e-5"]), resume=False)


def test_a_step_without_a_finite_gradient_is_left_out(recipe_file, tmp_path):
    module = TrainingModule(load_recipe(recipe_file), tmp_path)
    optimiser = module.configure_optimizers()
    before = {k: v.clone() for k, v in module.network.state_dict().items()}

    def step(value):
        for parameter in module.network.parameters():
            parameter.grad = torch.full_like(parameter, value)
        module.configure_gradient_clipping(optimiser, 1.0)
        optimiser.step()

    step(float("nan"))
    assert all(torch.equal(v, before[k]) for k, v in module.network.state_dict().items())
    step(1e-3)
    assert not any(torch.equal(p, before[k]) for k, p in module.network.named_parameters())
    for _ in range(BAD_STEPS - 1):
        step(float("inf"))
    with pytest.raises(TapetumError, match=r"gradient has not been finite for 50 steps .* lower optimiser\.rate"):
        step(float("inf"))


def test_an_unknown_key_of_the_objective_is_named(recipe_file, tmp_path):
    with pytest.raises(UsageError, match=r"objective\.gradeint: unknown key, twilight has brightness_free, gradient"):
        TrainingModule(load_recipe(recipe_file, ["objective={gradeint: 1}"]), tmp_path)
