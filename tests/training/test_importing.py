"""Option files of the projects become our recipes; what has no effect is said once, what is unknown is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")

from tapetum.errors import UsageError
from tapetum.methods.registry import HOMES
from tapetum.training.importing import Imported, import_options, write_recipe
from tapetum.training.recipe import Recipe, list_recipes, load_recipe

FILES = Path(__file__).parent / "option_files"  # written after the key tables and the values of the projects

MAMBA, MAMBA_LOL, RETINEX = "mamballie/SID", "mamballie/LOLv2_real", "retinexformer/LOL_v1"

OURS = {
    "retinexformer/LOL_v1": "retinexformer-lolv1",
    "retinexformer/LOL_v2_real": "retinexformer-lolv2-real",
    "retinexformer/LOL_v2_synthetic": "retinexformer-lolv2-synthetic",
    "retinexformer/SID": "retinexformer-sid",
    "retinexformer/SMID": "retinexformer-smid",
    "retinexformer/SDSD_indoor": "retinexformer-sdsd-indoor",
    "retinexformer/SDSD_outdoor": "retinexformer-sdsd-outdoor",
    "retinexformer/FiveK": "retinexformer-fivek",
    "retinexformer/NTIRE": "retinexformer-ntire",
    "retinexformer/MST_Plus_Plus_NTIRE_4x1800": "mst-plus-plus-ntire-4x1800",
    "retinexformer/MST_Plus_Plus_NTIRE_8x1150": "mst-plus-plus-ntire-8x1150",
    "mamballie/LOLv2_real": "mamballie-lolv2-real",
    "mamballie/LOLv2_syn": "mamballie-lolv2-synthetic",
    "mamballie/SMID": "mamballie-smid",
    "mamballie/SDSD_indoor": "mamballie-sdsd-indoor",
    "mamballie/SDSD_outdoor": "mamballie-sdsd-outdoor",
    "mamballie/SID": "mamballie-sid",
    "dednet/lol1": "dednet-lolv1",
    "dednet/lol2s": "dednet-lolv2-synthetic",
}


def imported_recipe(imported: Imported, folder: Path) -> Recipe:
    write_recipe(imported, "options.yml", folder / "imported.yaml")
    return load_recipe(folder / "imported.yaml")


@pytest.fixture
def changed(tmp_path):
    """Imports an option file with changes: dotted keys to values; ``...`` removes the key."""

    def run(name: str, method: str | None = None, /, **changes: object) -> Imported:
        content = yaml.safe_load((FILES / f"{name}.yml").read_text(encoding="utf-8"))
        for place, value in changes.items():
            section, *rest = place.split("__")
            where = content
            while rest:
                where = where[section]
                section, *rest = rest
            if value is ...:
                del where[section]
            else:
                where[section] = value
        path = tmp_path / "options.yml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return import_options(path, method)

    return run


# --- whole files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "name"), OURS.items(), ids=OURS)
def test_an_imported_file_is_the_bundled_recipe(file, name, tmp_path):
    if name not in list_recipes():
        pytest.skip(f"no recipe {name} in this version")
    imported = import_options(FILES / f"{file}.yml", "dednet" if file.startswith("dednet") else None)
    theirs, ours = imported_recipe(imported, tmp_path), load_recipe(name)
    for part in ("method", "config", "weights", "objective", "optimiser", "schedule"):
        assert getattr(theirs, part) == getattr(ours, part), part
    for part in ("root", "patch", "crop", "colours", "mixup"):
        assert getattr(theirs.data, part) == getattr(ours.data, part), part
    assert theirs.data.batch * int(theirs.run.devices) == ours.data.batch * int(ours.run.devices)
    for part in ("steps", "seed", "ema", "precision", "validate_every"):
        assert getattr(theirs.run, part) == getattr(ours.run, part), part
    assert [(s.pictures, s.kind, s.hold_out > 0) for s in theirs.data.sources] == [
        (s.pictures, s.kind, s.hold_out > 0) for s in ours.data.sources
    ]


MAMBALLIE = {  # section 6 of the specification: patch, batch in all, steps, cycles, second beta, validation every
    "LOLv2_real": (128, 8, 300_000, [46_000, 104_000], 0.999, 1000),
    "LOLv2_syn": (128, 16, 300_000, [92_000, 208_000], 0.999, 1000),
    "SMID": (256, 2, 300_000, [92_000, 208_000], 0.999, 2000),
    "SDSD_indoor": (256, 4, 150_000, [46_000, 104_000], 0.99, 1000),
    "SDSD_outdoor": (256, 4, 150_000, [46_000, 104_000], 0.99, 1000),
    "SID": (256, 8, 300_000, [92_000, 208_000], 0.99, 10_000),
}


@pytest.mark.parametrize("name", MAMBALLIE)
def test_mamballie_files_say_what_was_published(name, tmp_path):
    recipe = imported_recipe(import_options(FILES / "mamballie" / f"{name}.yml"), tmp_path)
    patch, batch, steps, periods, beta, every = MAMBALLIE[name]
    assert (recipe.method, recipe.config) == ("mamballie", "published")
    assert (recipe.data.patch, recipe.data.batch * int(recipe.run.devices)) == (patch, batch)
    assert (recipe.run.steps, recipe.run.validate_every, recipe.run.seed) == (steps, every, 10)
    assert recipe.optimiser.model_dump() == {
        "name": "adam", "rate": 2e-4, "betas": (0.9, beta), "weight_decay": 0, "clip_norm": 0,
    }  # fmt: skip
    assert recipe.schedule.model_dump() == {
        "kind": "cosine_restarts", "periods": periods, "weights": [1, 1], "minima": [3e-4, 1e-6], "warmup": 0,
    }  # fmt: skip
    assert recipe.data.mixup == 1.2


def test_every_ignored_key_is_said_once():
    notes = import_options(FILES / "mamballie" / "SMID.yml").notes
    places = [note.split(": ")[0] for note in notes]
    assert sorted(places) == sorted([
        "network_g.img_size", "train.use_grad_clip", "datasets.val",
        *(f"datasets.train.{key}" for key in (
            "name", "cache_data", "N_frames", "interval_list", "random_reverse", "border_mode", "cache_keys", "padding",
            "use_shuffle", "dataset_enlarge_ratio", "prefetch_mode", "mini_batch_sizes", "iters", "gt_sizes",
        )),
        "val.save_img", "val.pbar", "val.suffix", "val.metrics",
        "logger.use_tb_logger", "logger.wandb", "dist_params.backend", "dist_params.port",
    ])  # fmt: skip
    assert not [note for note in notes if "unknown" in note or "\n" in note]


def test_what_the_files_leave_open_is_said():
    def notes(file: str) -> str:
        return "\n".join(import_options(FILES / f"{file}.yml").notes)

    assert "the cycles end at 150000 of 300000 iterations" in notes("mamballie/LOLv2_real")
    assert "the cycles end" not in notes("mamballie/LOLv2_syn")
    assert "dataroot_lq: is the folder of the targets" in notes("retinexformer/FiveK")
    assert "gt_size: has no effect" in notes("retinexformer/SID")
    assert "gt_size: has no effect" not in notes("mamballie/SID")
    assert "inside the first 512 rows and columns" in notes("retinexformer/SMID")
    assert "datasets.val: not used: validation pictures are split off the training set" in notes("retinexformer/LOL_v1")


# --- DED-Net ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "ours"), [("lol1", "lolv1"), ("lol2s", "lolv2-synthetic")])
def test_dednet_files_train_like_retinexformer(file, ours, tmp_path):
    imported = import_options(FILES / "dednet" / f"{file}.yml", "dednet")
    assert not [note for note in imported.notes if note.startswith("network_g")]
    recipe, like = imported_recipe(imported, tmp_path), load_recipe(f"retinexformer-{ours}")
    assert (recipe.method, recipe.config) == ("dednet", file)
    assert (recipe.optimiser, recipe.schedule, recipe.data) == (like.optimiser, like.schedule, like.data)
    assert (recipe.run.steps, recipe.run.seed, recipe.run.validate_every) == (150_000, 100, 1000)


def test_a_method_that_is_not_there_yet(monkeypatch):
    monkeypatch.delitem(HOMES, "dednet", raising=False)
    with pytest.raises(UsageError, match=r"DED-Net \(dednet\) is not among the methods of this version yet: there are"):
        import_options(FILES / "dednet" / "lol1.yml", "dednet")


def test_a_file_cannot_tell_dednet_from_retinexformer():
    imported = import_options(FILES / "dednet" / "lol1.yml")
    assert imported.recipe["method"] == "retinexformer"
    assert "it may be DED-Net's (--method dednet)" in imported.notes[0]
    assert not [n for n in import_options(FILES / "dednet" / "lol1.yml", "retinexformer").notes if "DED" in n]


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (MAMBA, {"network_g__norm_layer": "LayerNorm"},
         r"network_g.norm_layer: unknown key, choose from type, nf, depths, d_state, mlp_ratio, embed_dim, img_size"),
        ("retinexformer/SID", {"network_g__nf": 40},
         r"network_g.nf: unknown key, choose from type, n_feat, stage, num_blocks, in_channels, out_channels"),
        ("retinexformer/SID", {"train__optim_g__momentum": 0.9},
         r"train.optim_g.momentum: unknown key, choose from type, lr, betas, weight_decay"),
        (MAMBA, {"train__scheduler__eta_min": 0.0},
         r"train.scheduler.eta_min: unknown key, choose from type, periods, restart_weights, eta_mins"),
        (MAMBA, {"network_g__type": "Restormer"},
         r"network_g.type: unknown network 'Restormer', choose from MambaLLIE, RetinexFormer, MST_Plus_Plus"),
        (MAMBA, {"network_g__embed_dim": 32}, r"network_g.embed_dim: must be equal to nf, got 32"),
        (MAMBA, {"network_g__mlp_ratio": 1.5}, r"network_g: .*mlp_ratio must be a whole number"),
        (MAMBA, {"network_g__depths": [1, 2]}, r"network_g: .*depths"),
        ("retinexformer/SID", {"network_g__in_channels": 4}, r"network_g.in_channels: must be 3, got 4"),
        ("retinexformer/SID", {"network_g__n_feat": ...}, r"network_g: .*n_feat must be a multiple of 4, got 31"),
        ("retinexformer/MST_Plus_Plus_NTIRE_8x1150", {"network_g__n_feat": ...}, r"network_g.n_feat: is missing"),
        (MAMBA, {"train__optim_g__type": "AdamW"}, r"unknown optimiser 'AdamW', choose from Adam$"),
        (MAMBA, {"train__optim_g__lr": ...}, r"train.optim_g.lr: is missing"),
        (MAMBA, {"train__optim_g__lr": "fast"}, r"train.optim_g.lr: must be a number, got 'fast'"),
        (MAMBA, {"train__optim_g__lr": float("nan")}, r"train.optim_g.lr: must be a number, got nan"),
        (MAMBA, {"train__optim_g": 3}, r"train.optim_g: must be a section of keys and values, got 3"),
        (MAMBA, {"train__total_iter": 1.5}, r"train.total_iter: must be a whole number, got 1.5"),
        (MAMBA, {"train__total_iter": 0}, r"no valid recipe: run.steps: .*greater than or equal to 1, got 0"),
        (MAMBA, {"train__scheduler__restart_weights": [1]},
         r"scheduler.restart_weights: must have as many entries as periods \(2\), got 1"),
        (MAMBA, {"train__scheduler__type": "LinearLR"}, r"unknown schedule 'LinearLR', choose from Cos"),
        ("retinexformer/SID", {"train__scheduler__type": "CosineAnnealingWarmupRestarts"}, r"without a schedule"),
        (MAMBA, {"train__pixel_opt__type": "GANLoss"}, r"unknown loss 'GANLoss', choose from L1Loss"),
        (MAMBA, {"train__pixel_opt__reduction": "none"}, r"train.pixel_opt: .*reduction"),
        (MAMBA, {"train__pixel_opt": ...}, r"train.pixel_opt: is missing"),
        (MAMBA, {"datasets__train": ...}, r"datasets.train: one training set is needed, there are 0"),
        (MAMBA, {"datasets__train__type": "REDSDataset"}, r"datasets.train.type: no recipe can read 'REDSDat"),
        (MAMBA, {"datasets__train__io_backend": {"type": "lmdb"}}, r"io_backend.type: .*not from lmdb"),
        (MAMBA, {"datasets__train__dataroot_lq": "data/other"}, r"Dataset_SIDImage reads .../short_sid2"),
        (MAMBA, {"datasets__train__dataroot_lq": ...}, r"dataroot_lq: must be a folder"),
        (RETINEX, {"datasets__train__dataroot_lq": "data/LOLv1/Train/target"}, r"dataroot_lq: is dataroot_gt as well"),
        (MAMBA_LOL, {"datasets__train__dataroot_lq": ["a", "b"]}, r"as many folders as dataroot_gt \(1\)"),
        (MAMBA, {"datasets__train__task": "CAR"}, r"datasets.train.task: recipes know pairs"),
        (MAMBA, {"scale": 2}, r"scale: must be 1"),
        (MAMBA, {"network_g": ...}, r"has no network_g section"),
        (MAMBA, {"train__mixing_augs__mixup": "often"}, r"mixup: must be true or false, got 'often'"),
        ("mamballie/test_LOLv2_real", {}, r"tests and does not train: tapetum evaluate .* --model mamballie"),
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
        (MAMBA, {"train__perceptual_opt": {"type": "PerceptualLoss"}}, "train.perceptual_opt", "never adds it"),
        (MAMBA, {"wramup": 5}, "wramup", "unknown key: left out"),
        (MAMBA, {"use_amp": True}, "use_amp", "unknown key: left out"),
        (MAMBA, {"manual_seed": ...}, "manual_seed", "always have a seed"),
        (MAMBA, {"num_gpu": 0}, "num_gpu", "the processor"),
        (MAMBA, {"name": "a_debug_run"}, "name", "every 8 iterations"),
        (MAMBA, {"find_unused_parameters": True}, "find_unused_parameters", "ignored"),
        (MAMBA, {"path__strict_load_g": False}, "path.strict_load_g", "always load strictly"),
        (MAMBA, {"path__param_key_g": "params_ema"}, "path.param_key_g", "tapetum weights import --ema"),
        (MAMBA, {"path__resume_state": "a/5.state"}, "path.resume_state", "cannot be resumed"),
        (MAMBA, {"train__mixing_augs__use_identity": False}, "train.mixing_augs.use_identity", "every other"),
        (MAMBA, {"datasets__train__use_hflip": False}, "datasets.train.use_hflip", "always flip"),
        (MAMBA, {"datasets__train__train_size": [480, 256]}, "datasets.train.train_size", "960 x 512"),
        (MAMBA, {"datasets__val_2": {}}, "datasets.val_2", "not used"),
        (MAMBA_LOL, {"datasets__train__meta_info_file": "a.txt"}, "datasets.train.meta_info_file", "every"),
        (MAMBA_LOL, {"datasets__train__filename_tmpl": "low{}"}, "datasets.train.filename_tmpl", "rename"),
        (MAMBA_LOL, {"datasets__train__mean": [0.5]}, "datasets.train.mean", "left out"),
        (MAMBA_LOL, {"datasets__train__color": "y"}, "datasets.train.color", "RGB"),
        (RETINEX, {"train__use_grad_clip": ...}, "train.use_grad_clip", "taken for true"),
        (RETINEX, {"train__pixel_opt__loss_weight": 2}, "train.pixel_opt.loss_weight", "no other than 1"),
        (RETINEX, {"train__pixel_opt__reduction": "sum"}, "train.pixel_opt.reduction", "no other than mean"),
        (RETINEX, {"train__scheduler": {"type": "LinearLR", "end": 1}}, "train.scheduler.end", "ignored"),
    ],
)  # fmt: skip
def test_what_is_said(file, change, place, says, changed):
    notes = [note for note in changed(file, **change).notes if note.startswith(f"{place}: ")]
    assert len(notes) == 1
    assert says in notes[0]


@pytest.mark.parametrize(
    ("scheduler", "kind", "rates"),
    [
        ({"type": "CosineAnnealingRestartLR", "periods": [4, 4], "restart_weights": [1, 0.5], "eta_min": 1e-4},
         "cosine_restarts", {1: 2e-4, 3: 1.5e-4, 5: 1e-4, 7: 1.25e-4, 9: 1e-4}),
        ({"type": "MultiStepLR", "milestones": [2, 4], "gamma": 0.5}, "multi_step", {1: 2e-4, 3: 1e-4, 5: 5e-5}),
        ({"type": "MultiStepRestartLR", "milestones": [2], "restarts": [0, 4], "restart_weights": [1, 0.5]},
         "multi_step", {1: 2e-4, 3: 2e-5, 5: 1e-4}),
        ({"type": "TrueCosineAnnealingLR", "T_max": 4, "eta_min": 0}, "cosine", {1: 2e-4, 3: 1e-4, 5: 0}),
        ({"type": "LinearLR"}, "linear", {1: 2e-4, 75_001: 1e-4}),
        ({"type": "VibrateLR"}, "vibrate", {1: 2e-5}),
    ],
)  # fmt: skip
def test_every_schedule(scheduler, kind, rates, changed, tmp_path):
    recipe = imported_recipe(changed(RETINEX, train__scheduler=scheduler), tmp_path)
    assert recipe.schedule.kind == kind
    assert {step: recipe.schedule.rate(step, 2e-4, 150_000) for step in rates} == pytest.approx(rates)


def test_the_rates_of_the_published_schedule(tmp_path):
    recipe = imported_recipe(import_options(FILES / "mamballie" / "SDSD_indoor.yml"), tmp_path)
    rates = {1: 2e-4, 46_000: 3e-4, 46_001: 3e-4, 46_002: 2e-4, 150_000: 1e-6}
    assert {i: recipe.schedule.rate(i, 2e-4, recipe.run.steps) for i in rates} == pytest.approx(rates, rel=1e-5)


def test_values_that_published_files_leave_at_their_defaults(changed, tmp_path):
    imported = changed(
        RETINEX, train__ema_decay=0.999, train__warmup_iter=500, train__use_grad_clip=False,
        path__pretrain_network_g="first.pth", manual_seed=7, num_gpu="auto", train__mixing_augs={"mixup": False},
        train__optim_g={"type": "AdamW", "lr": "1e-3"}, train__pixel_opt={"type": "PSNRLoss", "toY": True},
        network_g={"type": "RetinexFormer", "n_feat": 16.0, "num_blocks": [1, 1.0, 2]},
    )  # fmt: skip
    recipe = imported_recipe(imported, tmp_path)
    assert (recipe.run.ema, recipe.schedule.warmup, recipe.run.seed, recipe.run.devices) == (0.999, 500, 7, "auto")
    assert (recipe.weights, recipe.data.mixup, recipe.objective) == ("first.pth", 0, {"loss": "psnr_y"})
    # what the official constructors and optimisers take where a file says nothing
    assert recipe.config == {"n_feat": 16, "stage": 3, "num_blocks": [1, 1, 2]}
    assert recipe.optimiser.model_dump() == {
        "name": "adamw", "rate": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.01, "clip_norm": 0,
    }  # fmt: skip


def test_other_networks_of_mamballie(changed):
    # the constructor's defaults are those of the paper's table
    assert changed(MAMBA, network_g={"type": "MambaLLIE"}).recipe["config"] == "paper"
    config = changed(MAMBA, network_g__nf=24, network_g__embed_dim=24).recipe["config"]
    assert config == {"nf": 24, "depths": [1, 2, 2, 2, 2, 1], "d_state": 32, "mlp_ratio": 2}
    loss = {"type": "CharbonnierLoss", "loss_weight": 2.0, "reduction": "sum"}
    objective = changed(MAMBA, train__pixel_opt=loss).recipe["objective"]
    assert objective == {"loss": "charbonnier", "weight": 2, "reduction": "sum"}


def test_folders_of_no_known_data_set(changed, tmp_path):
    roots = {"datasets__train__dataroot_lq": "/data/night/low", "datasets__train__dataroot_gt": "/data/night/high"}
    recipe = imported_recipe(changed(RETINEX, **roots), tmp_path)
    (source,) = recipe.data.sources
    assert source.pictures.model_dump() == {
        "layout": "folders", "low": "/data/night/low", "target": "/data/night/high", "scenes": None, "prefix": "",
    }  # fmt: skip


def test_several_folders_are_several_sources(changed, tmp_path):
    roots = {
        "datasets__train__dataroot_lq": ["d/LOLv2/Real_captured/Train/Low", "d/LOLv2/Synthetic/Train/Low"],
        "datasets__train__dataroot_gt": ["d/LOLv2/Real_captured/Train/Normal", "d/LOLv2/Synthetic/Train/Normal"],
    }
    imported = changed(MAMBA_LOL, **roots)
    recipe = imported_recipe(imported, tmp_path)
    assert recipe.data.root == "d"
    assert [(s.name, s.pictures.model_dump()["name"]) for s in recipe.data.sources] == [
        ("lol_v2_real_1", "lol_v2_real"), ("lol_v2_synthetic_2", "lol_v2_synthetic"),
    ]  # fmt: skip
    assert any("the same share of the samples" in note for note in imported.notes)


def test_a_sliding_window(changed, tmp_path):
    change = {"datasets__train__type": "Dataset_PairedImage_Slide", "datasets__train__stride": 32}
    recipe = imported_recipe(changed(RETINEX, **change), tmp_path)
    assert recipe.data.sources[0].stride == 32


def test_progressive_patches(changed, tmp_path):
    stages = {"mini_batch_sizes": [8, 5], "iters": [46_000, 104_000], "gt_sizes": [128, 160], "gt_size": 384}
    recipe = imported_recipe(changed(RETINEX, **{f"datasets__train__{k}": v for k, v in stages.items()}), tmp_path)
    assert (recipe.data.patch, recipe.data.batch) == (128, 8)
    assert [phase.model_dump() for phase in recipe.data.progressive] == [{"after": 46_000, "patch": 160, "batch": 5}]


def test_clips_have_one_size(changed):
    stages = {"mini_batch_sizes": [8, 5], "iters": [46_000, 104_000], "gt_sizes": [128, 160], "gt_size": 384}
    imported = changed("retinexformer/SMID", **{f"datasets__train__{key}": value for key, value in stages.items()})
    assert "progressive" not in imported.recipe["data"]
    assert [note for note in imported.notes if note.startswith("datasets.train.gt_sizes: recipes have one size for")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an option file is a mapping of keys to values, this is NoneType"),
        (b"- 1\n", "this is list"),
        (b"name: [1\nb: 2", "line 2: not valid YAML"),
        (b"name: !!float many\n", "not valid YAML"),
        (b"name: !!python/object:os.system {}\n", "line 1: not valid YAML"),
        (b"[" * 5000, "not valid YAML"),
        (b"a: \x00", "not valid YAML"),
        (b"\x89PNG\r\n\x1a\n\xff", "not a text file in UTF-8"),
        (b"name: small\nmethod: twilight\n", "has no network_g section"),
        (b"network_g: {}\n", "network_g.type: is missing"),
        (b"? [a, b]\n: 1\nnetwork_g: {type: MambaLLIE}\n", "not valid YAML|tests and does not train"),
    ],
)  # fmt: skip
def test_files_that_are_no_option_files(content, says, tmp_path):
    path = tmp_path / "options.yml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        import_options(path)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match=r"absent.yml: cannot be read \(No such file"):
        import_options(tmp_path / "absent.yml")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tapetum, tmp_path):
    source = FILES / "retinexformer" / "LOL_v1.yml"
    target = tmp_path / "mine.yaml"
    result = tapetum("recipe", "import", source, "-o", target)
    assert (result.code, result.out) == (0, "")
    lines = result.err.splitlines()
    assert lines[-1] == f"written: {target}"
    assert all(line.startswith("LOL_v1.yml: ") for line in lines[:-1])
    assert len(lines) - 1 == len(import_options(source).notes) == len(set(lines)) - 1
    assert tapetum("train", target, "--dry-run").code == 0
    again = tapetum("recipe", "import", source, "-o", target)
    assert (again.code, "--overwrite" in again.err) == (2, True)
    assert tapetum("recipe", "import", source, "-o", target, "--overwrite").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_command_writes_beside_the_file_and_nothing_when_it_refuses(tapetum, tmp_path):
    path = tmp_path / "bad.yml"
    path.write_text((FILES / "mamballie" / "SMID.yml").read_text(encoding="utf-8").replace("nf: 48", "nff: 48"))
    result = tapetum("recipe", "import", path)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "network_g.nff: unknown key, choose from type, nf" in result.err
    path.write_text((FILES / "mamballie" / "SMID.yml").read_text(encoding="utf-8"), encoding="utf-8")
    assert tapetum("recipe", "import", path).code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.yaml", "bad.yml"]
    failed = tapetum("recipe", "import", path, "-o", tmp_path / "absent" / "out.yaml")
    assert (failed.code, len(failed.errors)) == (2, 1)


def test_the_command_never_replaces_the_option_file(tapetum, tmp_path):
    path = tmp_path / "options.yaml"
    path.write_bytes((FILES / "mamballie" / "SMID.yml").read_bytes())
    before = path.read_bytes()
    result = tapetum("recipe", "import", path, "--overwrite")
    assert (result.code, path.read_bytes()) == (2, before)
    assert "is the option file itself: -o OUT" in result.err


def test_the_recipes_are_listed(tapetum):
    assert tapetum("recipe", "list").out.split() == list_recipes()
