"""Reti-Diff's option files: one recipe for stage 1, two phases for stage 2."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tapetum.errors import UsageError
from tapetum.imaging import Picture, write_picture
from tapetum.methods.registry import create_model
from tapetum.training.importing import Imported, files_of, import_options, write_recipe
from tapetum.training.recipe import Recipe, load_recipe
from tapetum.training.stages import load_stages
from tapetum.weights.loading import read_state_dict

FILES = Path(__file__).parent / "option_files" / "retidiff"  # written after the key table of the specification
S1, S2 = "llie_S1", "llie_S2"
OURS = {"llie": "retidiff-lolv1", "uie": "retidiff-uieb", "backlit": "retidiff-baid"}


@pytest.fixture
def changed(tmp_path):
    """Imports an option file with changes: dotted keys to values; ``...`` removes the key."""

    def run(name: str, /, **changes: object) -> Imported:
        content = yaml.safe_load((FILES / f"{name}.yml").read_text(encoding="utf-8"))
        for place, value in changes.items():
            *sections, last = place.split("__")
            where = content
            for section in sections:
                where = where.setdefault(section, {})
            if value is ...:
                del where[last]
            else:
                where[last] = value
        path = tmp_path / "options.yml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return import_options(path)

    return run


def recipes(imported: Imported, folder: Path) -> list[Recipe]:
    write_recipe(imported, "options.yml", folder / "mine.yaml")
    return load_stages(folder / "mine.yaml")


# --- whole files ------------------------------------------------------------------------------------------------------


def same_training(theirs: Recipe, ours: Recipe) -> None:
    for part in ("method", "objective", "optimiser", "schedule"):
        assert getattr(theirs, part) == getattr(ours, part), part
    for part in ("root", "patch", "batch", "progressive", "mixup", "crop", "colours"):
        assert getattr(theirs.data, part) == getattr(ours.data, part), part
    for part in ("steps", "seed", "ema", "precision", "validate_every", "save_every", "log_every"):
        assert getattr(theirs.run, part) == getattr(ours.run, part), part
    (their_source,), (our_source,) = theirs.data.sources, ours.data.sources
    assert their_source.pictures == our_source.pictures
    assert (their_source.resize, their_source.hold_out) == (our_source.resize, our_source.hold_out)


@pytest.mark.parametrize("task", OURS)
def test_stage_1_is_the_bundled_recipe(task, tmp_path):
    (theirs,) = recipes(import_options(FILES / f"{task}_S1.yml"), tmp_path)
    ours = load_stages(OURS[task])[1]
    same_training(theirs, ours)
    assert theirs.config == ours.config == "training"


@pytest.mark.parametrize("task", OURS)
def test_both_phases_of_stage_2_are_the_bundled_recipes(task, tmp_path):
    theirs = recipes(import_options(FILES / f"{task}_S2.yml"), tmp_path)
    ours = load_stages(OURS[task])[2:]
    assert [recipe.run.steps for recipe in theirs] == [99_999, 300_001]
    for their, our in zip(theirs, ours, strict=True):
        same_training(
            their, our.model_copy(update={"objective": {k: v for k, v in our.objective.items() if v != "joint"}})
        )
        assert their.config == our.config
    assert theirs[0].weights == "experiments/S1/models/net_g_300000.pth"
    assert theirs[1].weights == f"runs/{theirs[0].name}/weights.safetensors"


def test_every_key_without_effect_is_said_once():
    notes = import_options(FILES / "llie_S2.yml").notes
    places = [note.split(": ")[0] for note in notes]
    assert sorted(places) == sorted([
        "pretrain_decomnet_low", "pretrain_decomnet_high", "datasets.val_0", "train.scheduler.type",
        *(f"datasets.train.{key}" for key in ("name", "use_shuffle", "dataset_enlarge_ratio")),
        "path.ignore_resume_networks", "dist_params.backend", "dist_params.port", "val.save_img", "val.window_size",
        "val.pbar", "val.batch_size", "val.metrics", "logger.use_tb_logger", "logger.wandb",
        "datasets.train.prefetch_mode", "val.suffix",
    ])  # fmt: skip
    assert not [note for note in notes if "unknown" in note or "\n" in note]


def test_a_file_that_only_tests():
    with pytest.raises(UsageError, match=r"tests and does not train: tapetum evaluate .* --model retidiff --weights"):
        import_options(FILES / "test_llie.yml")


# --- keys -------------------------------------------------------------------------------------------------------------


def test_what_the_constructor_has_where_a_file_says_nothing(changed):
    config = changed(S1, network_g={"type": "DiffIRS1_Cross"}).recipe["config"]
    assert config == {"n_encoder_res": 6, "dim": 48, "num_blocks": [4, 6, 6, 8], "num_refinement_blocks": 4}
    config = changed(S1, network_g={"type": "RetiDiffS1", "dim": 32.0, "LayerNorm_type": "BiasFree"}).recipe["config"]
    assert (config["dim"], config["LayerNorm_type"]) == (32, "BiasFree")


def test_folders_of_no_data_set_have_no_task(changed, tmp_path):
    folders = {"datasets__train__dataroot_gt": "a/high", "datasets__train__dataroot_lq": "a/low"}
    imported = changed(S2, **folders)
    assert imported.recipe["config"] == "training"
    assert imported.recipe["data"]["sources"][0]["pictures"] == {
        "layout": "folders",
        "low": "a/low",
        "target": "a/high",
    }


def test_losses_and_their_weights(changed):
    imported = changed(S2, train__pixel_opt__loss_weight=2, train__kd_opt={"loss_weight": 0.5, "temperature": 0.3})
    assert imported.recipe["objective"] == {"pixel": 2, "distillation": 0.5, "temperature": 0.3}
    assert imported.before["objective"] == {**imported.recipe["objective"], "phase": "prior"}
    assert changed(S1, train__pixel_opt__loss_weight=2).recipe["objective"] == {"pixel": 2}


@pytest.mark.parametrize(
    ("change", "steps", "milestones"),
    [
        ({"train__encoder_iter": 1}, [400_000], [[80_000, 160_000, 240_000, 320_000]]),
        ({"train__encoder_iter": 0}, [400_000], [[79_999, 159_999, 239_999, 319_999, 399_999]]),
        ({"train__encoder_iter": ...}, [400_000], [[79_999, 159_999, 239_999, 319_999, 399_999]]),
        ({"train__encoder_iter": 301, "train__lr_decay_encoder": 100, "train__total_iter": 500}, [300, 200],
         [[99, 199, 299], []]),
    ],
)  # fmt: skip
def test_where_the_joint_phase_begins(change, steps, milestones, changed, tmp_path):
    found = recipes(changed(S2, **change), tmp_path)
    assert [recipe.run.steps for recipe in found] == steps
    assert [recipe.schedule.model_dump()["milestones"] for recipe in found] == milestones


def test_the_phases_may_have_rates_of_their_own(changed, tmp_path):
    first, second = recipes(changed(S2, train__lr_encoder=1e-3, train__lr_sr="5e-4"), tmp_path)
    assert (first.optimiser.rate, second.optimiser.rate) == (1e-3, 5e-4)


def test_an_earlier_set_of_files(changed, tmp_path):
    """Section 7.5: other patches, and the joint phase from 45,000 on."""
    sizes = {"gt_sizes": [128, 160, 192, 224, 256], "gt_size": 256, "mini_batch_sizes": [4, 4, 2, 2, 1],
             "iters": [65_000, 35_000, 39_000, 33_000, 24_000], "batch_size_per_gpu": 4}  # fmt: skip
    train = {"total_iter": 200_000, "encoder_iter": 45_000, "gamma_encoder": 0.9, "gamma_sr": 0.9,
             "lr_decay_encoder": 5000, "lr_decay_sr": 5000}  # fmt: skip
    change = {f"datasets__train__{key}": value for key, value in sizes.items()}
    first, second = recipes(changed(S2, **change, **{f"train__{key}": value for key, value in train.items()}), tmp_path)
    assert (first.run.steps, second.run.steps) == (44_999, 155_001)
    assert first.data.progressive == []
    phases = [(phase.after, phase.patch, phase.batch) for phase in second.data.progressive]
    assert phases == [(20_001, 160, 4), (55_001, 192, 2), (94_001, 224, 2), (127_001, 256, 1)]
    assert first.schedule.rate(5000, 2e-4, first.run.steps) == pytest.approx(1.8e-4)


@pytest.mark.parametrize(
    ("kind", "more", "resize"),
    [
        ("chaos", {}, {"square": 512}),
        ("BAID", {}, {"longest": 2048}),
        ("scale_and_crop", {"datasets__train__scale_rate": 0.5}, {"scale": 0.5}),
    ],
)
def test_preparations(kind, more, resize, changed):
    imported = changed(S1, datasets__train__dataset_type=kind, **more)
    assert imported.recipe["data"]["sources"][0]["resize"] == resize


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (S2, {"network_S1": ...}, "network_S1: is missing: stage 2 learns from a stage-1 network"),
        (S2, {"network_S1__type": "RetiDiffS2"}, r"network_S1.type: must be a stage-1 network \(Reti.*'RetiDiffS2'"),
        (S2, {"network_S1__dim": 48}, r"network_S1.dim: must be equal to network_g.dim \(64\), got 48"),
        (S2, {"network_S1__n_feat": 48}, r"network_S1.n_feat: unknown key"),
        (S2, {"network_g__n_feat": 48}, r"network_g.n_feat: unknown key, choose from type"),
        (S2, {"network_g__inp_channels": 4}, r"inp_channels: must be"),
        (S1, {"network_g__timesteps": 4}, r"network_g.timesteps: unknown key"),
        (S1, {"network_g__type": "RetiDiffS2_Interface"}, "RetiDiffS2_Interface is for use alone: RetiDiffS2"),
        (S1, {"model_type": "RetiDiff_S2Model"}, "model_type: RetiDiff_S2Model does not train RetiDiffS1"),
        (S2, {"model_type": "RetiDiff_S1Model"}, "model_type: RetiDiff_S1Model does not train RetiDiffS2"),
        (S1, {"network_g__heads": [1, 2, 4]}, "network_g: .*heads"),
        (S1, {"train__pixel_opt__type": "MSELoss"}, "unknown loss 'MSELoss', choose from L1Loss"),
        (S1, {"train__pixel_opt__reduction": "sum"}, "no other than mean"),
        (S1, {"datasets__train__dataset_type": "crop_or_resize"}, "it cannot succeed"),
        (S1, {"datasets__train__dataset_type": "scale_and_crop"}, "scale_rate: is missing"),
        (S1, {"datasets__train__dataset_type": "squash"}, "unknown preparation 'squash', choose from chaos"),
        (S1, {"datasets__train__type": "UnPairedDataset"}, "no recipe can read 'UnPairedDataset'"),
        (S1, {"datasets__train__dataroot_lq": None}, "dataroot_lq: must be a folder"),
        (S1, {"datasets__train__iters": ...}, "iters: is missing, and gt_sizes needs it"),
        (S1, {"datasets__train__iters": [5]}, "gt_sizes: must have as many entries as mini_batch_sizes and iters"),
        (S1, {"train__scheduler__type": "CosineAnnealingWarmupRestarts"}, "without a schedule behind it"),
        (S2, {"train__encoder_iter": 400_000}, r"encoder_iter: the joint phase would begin after the end \(400000\)"),
        (S2, {"train__lr_decay_sr": 0}, "lr_decay_sr: must be at least 1, got 0"),
        (S2, {"train__kd_opt__temperature": "warm"}, "temperature: must be a number"),
        (S2, {"train__kd_opt__type": "MSELoss"}, "kd_opt.type: unknown loss 'MSELoss', choose from KDLoss"),
    ],
)  # fmt: skip
def test_what_is_refused(file, change, says, changed):
    with pytest.raises(UsageError, match=says) as caught:
        changed(file, **change)
    assert "\n" not in str(caught.value)
    assert "options.yml: " in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change", "place", "says"),
    [
        (S1, {"train__perceptual_opt": {"type": "PerceptualLoss"}}, "train.perceptual_opt", "no such loss"),
        (S1, {}, "pretrain_decomnet_low", "import LOW.pth --with HIGH.pth -o OUT.safetensors` joins"),
        (S1, {}, "pretrain_decomnet_low", "`tapetum train ... weights=OUT.safetensors` begins with it"),
        (S2, {}, "pretrain_decomnet_high", "import S1.pth --with LOW.pth --with HIGH.pth -o OUT.safetensors` joins"),
        (S2, {}, "pretrain_decomnet_high", "`tapetum train ... priors.weights=OUT.safetensors` begins with it"),
        (S2, {"train__encoder_iter": 0}, "pretrain_decomnet_high", "`tapetum train ... weights=OUT.safetensors` b"),
        (S2, {"path__pretrain_network_S1": "other.pth"}, "path.pretrain_network_S1", "left out: the teacher"),
        (S2, {"path__pretrain_network_g": ...}, "path.pretrain_network_S1", "the transformer begins with this file"),
        (S2, {"path__param_key_g": "params"}, "path.param_key_g", "the average"),
        (S2, {"train__warmup_iter": 50}, "train.warmup_iter", "without effect in stage 2"),
        (S2, {"train__use_grad_clip": True}, "train.use_grad_clip", "never clips"),
    ],
)
def test_what_is_said(file, change, place, says, changed):
    notes = [note for note in changed(file, **change).notes if note.startswith(f"{place}: ")]
    assert len(notes) == 1
    assert says in notes[0]


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_command_writes_three_files_for_two_phases(tapetum, tmp_path):
    target = tmp_path / "mine.yaml"
    result = tapetum("recipe", "import", FILES / "llie_S2.yml", "-o", target)
    assert (result.code, result.out) == (0, "")
    names = ["mine-priors.yaml", "mine-stage2.yaml", "mine.yaml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(name in result.err.splitlines()[-1] for name in names)
    target.unlink()
    again = tapetum("recipe", "import", FILES / "llie_S2.yml", "-o", target)
    assert (again.code, len(again.errors)) == (2, 1)
    assert "mine-priors.yaml exists: --overwrite replaces it" in again.err
    assert not target.exists()
    assert tapetum("recipe", "import", FILES / "llie_S2.yml", "-o", target, "--overwrite").code == 0


def test_one_phase_is_one_file():
    assert files_of(import_options(FILES / "llie_S1.yml"), Path("a.yaml")) == [Path("a.yaml")]
    assert load_recipe("retidiff-stage1").method == "retidiff_stage1"


def test_what_the_notes_tell_to_do_trains_both_stages(tapetum, changed, tmp_path):
    """From option files and published-like files of decomposition networks to one step of stage 1, then of stage 2."""
    rng = np.random.default_rng(0)
    for side in ("low", "high"):
        (tmp_path / "data" / side).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            write_picture(Picture(pixels), tmp_path / "data" / side / f"{i}.png")
    for name in ("LOW", "HIGH"):
        torch.save(create_model("retidiff_decomposition", {"pair": False}).state_dict(), tmp_path / f"{name}.pth")
    sizes = {"dim": 8, "num_blocks": [1] * 4, "num_refinement_blocks": 1, "n_encoder_res": 1}
    small = {f"network_g__{key}": value for key, value in sizes.items()}
    small |= {f"datasets__train__dataroot_{key}": f"data/{side}" for key, side in (("lq", "low"), ("gt", "high"))}
    small |= {"datasets__train__gt_size": 16, "datasets__train__gt_sizes": [16], "datasets__train__iters": [2]}
    small |= {"datasets__train__mini_batch_sizes": [1], "datasets__train__batch_size_per_gpu": 1}
    small |= {"train__total_iter": 3}
    changes = {S1: {"train__scheduler": {"type": "MultiStepLR", "milestones": [1]}}, S2: {"train__encoder_iter": 2}}
    changes[S2] |= {f"network_S1__{key}": value for key, value in sizes.items()}
    for file, given in ((S1, "S1"), (S2, "S2")):
        imported = changed(file, **small, **changes[file])
        write_recipe(imported, "options.yml", tmp_path / f"{given}.yaml")
        note = next(note for note in imported.notes if note.startswith("pretrain_decomnet_low"))
        joining, training = re.findall(r"`tapetum ([^`]*)`", note)
        there = {name: tmp_path / name for name in ("LOW.pth", "HIGH.pth", "S1.pth")}
        join = [there.get(word, word) for word in joining.replace("OUT", f"{tmp_path}/{given}").split()]
        result = tapetum(*join)
        assert result.code == 0, result.err
        change = training.split()[-1].replace("OUT", f"{tmp_path}/{given}")
        fast = (f"data.root={tmp_path}", f"run.folder={tmp_path}/runs", "run.validate_every=9", "data.workers=0")
        result = tapetum("train", tmp_path / f"{given}.yaml", change, *fast)
        assert result.code == 0, result.err
        state = read_state_dict(next((tmp_path / "runs").glob("*/weights.safetensors")))
        torch.save({k: v for k, v in state.items() if not k.startswith("decom_")}, tmp_path / "S1.pth")
    assert len(list((tmp_path / "runs").glob("*/weights.safetensors"))) == 3
