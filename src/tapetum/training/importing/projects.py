"""What the option files of the projects say: one table each.

All four projects train with the toolbox BasicSR, or what became of it; networks, optimisers, schedules, losses, and
which keys have no effect, are each project's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network that ``network_g.type`` can name.

    Attributes:
        method: ours.
        fields: keys that our config has under the same name, with the defaults of the official constructor (which are
            not those of the published files); a key with the default None must be in the file.
        fixed: keys with one possible value.
        equal: keys that must have the value of another one.
        without_effect: keys that the official constructor takes and does not use.
    """

    method: str
    fields: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    equal: Mapping[str, str] = field(default_factory=dict)
    without_effect: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """Whose option file it is.

    Attributes:
        title: for people.
        networks: by ``network_g.type``.
        optimisers: ``train.optim_g.type`` to our name.
        schedules: names of ``train.scheduler.type``.
        losses: ``train.pixel_opt.type`` to the loss of our objective.
        clip_norm: what ``use_grad_clip: true`` means; 0: nothing at all.
        progressive: the training loop crops once more, to the sizes in ``gt_sizes``.
        amp: ``use_amp`` is known.
        config_names: by data set, the name of its configuration among equal ones.
        ignored: keys without effect, by dotted place, and why; of the project alone (all share :data:`IGNORED`).
    """

    title: str
    networks: Mapping[str, Network]
    optimisers: Mapping[str, str]
    schedules: tuple[str, ...]
    losses: Mapping[str, str]
    clip_norm: float = 0.0
    progressive: bool = False
    amp: bool = False
    config_names: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)


_LOADER = "a matter of the loader, without influence on the numbers"
_UNREAD = "the official readers never use it"
_VALIDATION = "validation is tapetum's own: whole pictures split off the training set, plain and GT-mean PSNR"
_LOG = "CSV and TensorBoard logs are always written"

IGNORED = {
    "find_unused_parameters": "every parameter of these networks is used",
    "dist_params": "Lightning starts the processes",
    "datasets.train.name": "a name for display",
    "datasets.train.cache_data": "an index of files, not a cache",
    "datasets.train.N_frames": "a sample is one frame, whatever it says",
    "datasets.train.interval_list": _UNREAD,
    "datasets.train.random_reverse": _UNREAD,
    "datasets.train.border_mode": _UNREAD,
    "datasets.train.cache_keys": _UNREAD,
    "datasets.train.padding": _UNREAD,
    "datasets.train.use_shuffle": "training pictures are always drawn at random",
    "datasets.train.dataset_enlarge_ratio": "pictures are drawn at random from an endless sequence",
    "datasets.train.prefetch_mode": _LOADER,
    "datasets.train.num_prefetch_queue": _LOADER,
    "datasets.train.pin_memory": _LOADER,
    "datasets.train.persistent_workers": _LOADER,
    "path.ignore_resume_networks": "tapetum resumes from its own checkpoints",
    "val.save_img": "samples are always written; their number is run.samples",
    "val": _VALIDATION,
    "logger.use_tb_logger": _LOG,
    "logger.wandb": _LOG,
}

_PROGRESSIVE = "progressive training is Retinexformer's; this loop never reads it"

_COSINES = ("CosineAnnealingRestartCyclicLR", "CosineAnnealingRestartLR")
_STEPS = ("MultiStepLR", "MultiStepRestartLR")

MAMBALLIE = Project(
    title="MambaLLIE",
    networks={
        "MambaLLIE": Network(
            method="mamballie",
            fields={"nf": 32, "depths": [1, 2, 2, 2, 2, 2], "d_state": 32, "mlp_ratio": 2},
            equal={"embed_dim": "nf"},
            without_effect=("img_size", "patch_size", "num_layer"),
        )
    },
    optimisers={"Adam": "adam"},
    schedules=(*_COSINES, *_STEPS),
    losses={"L1Loss": "l1", "MSELoss": "mse", "CharbonnierLoss": "charbonnier"},
    ignored={
        "datasets.train.mini_batch_sizes": _PROGRESSIVE,
        "datasets.train.iters": _PROGRESSIVE,
        "datasets.train.gt_sizes": _PROGRESSIVE,
        "train.use_grad_clip": "the official loop never clips",
        "train.perceptual_opt": "the official loop builds this loss and never adds it",
    },
)

RETINEXFORMER = Project(
    title="Retinexformer",
    networks={
        "RetinexFormer": Network(
            method="retinexformer",
            fields={"n_feat": 31, "stage": 3, "num_blocks": [1, 1, 1]},
            fixed={"in_channels": 3, "out_channels": 3},
        ),
        "MST_Plus_Plus": Network(
            method="mst_plus_plus",
            fields={"n_feat": None, "stage": 1, "in_channels": 3, "out_channels": 3},
        ),
    },
    optimisers={"Adam": "adam", "AdamW": "adamw"},
    schedules=(*_COSINES, *_STEPS, "TrueCosineAnnealingLR", "LinearLR", "VibrateLR"),
    losses={"L1Loss": "l1", "MSELoss": "mse", "CharbonnierLoss": "charbonnier", "PSNRLoss": "psnr"},
    clip_norm=0.01,
    progressive=True,
    amp=True,
)

DEDNET = Project(
    title="DED-Net",
    # the published files call it RetinexFormer, as they call Retinexformer: only the reader knows which is meant
    networks={
        "RetinexFormer": Network(
            method="dednet",
            fields={"n_feat": 31, "stage": 3, "num_blocks": [1, 1, 1]},
            fixed={"in_channels": 3, "out_channels": 3},
        )
    },
    optimisers=RETINEXFORMER.optimisers,
    schedules=RETINEXFORMER.schedules,
    losses=RETINEXFORMER.losses,
    clip_norm=RETINEXFORMER.clip_norm,
    progressive=True,
    amp=True,
    config_names={"lol_v1": "lol1", "lol_v2_synthetic": "lol2s"},
)

_RETIDIFF_S1 = Network(
    method="retidiff_stage1",
    fields={
        "n_encoder_res": 6,
        "dim": 48,
        "num_blocks": [4, 6, 6, 8],
        "num_refinement_blocks": 4,
        "heads": [1, 2, 4, 8],
        "ffn_expansion_factor": 2.66,
        "bias": False,
        "LayerNorm_type": "WithBias",
    },
    fixed={"inp_channels": 3, "out_channels": 3},
)
_RETIDIFF_S2 = Network(
    method="retidiff",
    fields={**_RETIDIFF_S1.fields, "n_denoise_res": 1, "linear_start": 0.1, "linear_end": 0.99, "timesteps": 4},
    fixed=_RETIDIFF_S1.fixed,
)
RETIDIFF = Project(
    title="Reti-Diff",
    networks={
        "RetiDiffS1": _RETIDIFF_S1,
        "DiffIRS1_Cross": _RETIDIFF_S1,  # a slip of early files
        "RetiDiffS2": _RETIDIFF_S2,
        "RetiDiffS2_Interface": _RETIDIFF_S2,
        "S2_Interface": _RETIDIFF_S2,
    },
    optimisers=RETINEXFORMER.optimisers,
    schedules=RETINEXFORMER.schedules,
    losses={"L1Loss": "l1"},
    progressive=True,
    ignored={
        "train.use_grad_clip": "the official loop never clips",
        "train.recon_opt": "the official loop reads it and never uses it",
        "datasets.train.num_worker_per_gpu": "a matter of the loader, without influence on the numbers",
    },
)

PROJECTS = (MAMBALLIE, RETINEXFORMER, DEDNET, RETIDIFF)
