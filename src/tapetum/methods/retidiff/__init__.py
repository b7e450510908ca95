"""Reti-Diff (ICLR 2025): two stages and a decomposition, three entries of the registry. See README.md here."""

import dataclasses
from functools import partial

from tapetum.methods.contract import Method
from tapetum.methods.retidiff.checkpoint import (
    begin,
    begin_stage1,
    complete,
    recognise,
    recognise_decomposition,
    recognise_stage1,
    tie,
)
from tapetum.methods.retidiff.decomposition import Decomposer, Decomposition, DecompositionConfig
from tapetum.methods.retidiff.network import TASKS, RetiDiff, RetiDiffConfig
from tapetum.methods.retidiff.objective import DecompositionObjective, Stage1Objective, Stage2Objective
from tapetum.methods.retidiff.stage1 import Priors, Stage1, Stage1Config

_NARROW = RetiDiffConfig(
    n_encoder_res=2,
    dim=16,
    num_blocks=(1, 1, 1, 1),
    num_refinement_blocks=1,
    n_feat=16,
    prior=64,
    auxiliary=True,
    teacher=True,
)
_TINY = dataclasses.replace(_NARROW, n_encoder_res=1, dim=8, n_feat=8, prior=32)

CONFIGS = {
    "published": RetiDiffConfig(),
    "training": RetiDiffConfig(auxiliary=True, teacher=True),
    "stage2": RetiDiffConfig(auxiliary=True, decomposition=False),
    "interface": RetiDiffConfig(decomposition=False),
    "narrow": _NARROW,
    "tiny": _TINY,
}
STAGE1_CONFIGS = {
    "published": Stage1Config(decomposition=False),
    "training": Stage1Config(),
    "narrow": _NARROW.stage1,
    "tiny": _TINY.stage1,
}

METHOD = Method(
    name="retidiff",
    title="Reti-Diff: Retinex-based latent diffusion, low light, under water, backlight (ICLR 2025)",
    network=RetiDiff,
    config=RetiDiffConfig,
    configs=CONFIGS,
    recognise=partial(recognise, named=CONFIGS.values()),
    objective=Stage2Objective,
    remap=tie,
    after="retidiff_stage1",
    begin=begin,
    average=True,
    complete=complete,
)

STAGE1 = Method(
    name="retidiff_stage1",
    title="Reti-Diff, stage 1: restores with priors that see the target (does not enhance by itself)",
    network=Stage1,
    config=Stage1Config,
    configs=STAGE1_CONFIGS,
    recognise=partial(recognise_stage1, named=STAGE1_CONFIGS.values()),
    objective=Stage1Objective,
    remap=tie,
    after="retidiff_decomposition",
    begin=begin_stage1,
    average=True,
    complete=complete,
)

DECOMPOSITION = Method(
    name="retidiff_decomposition",
    title="Reti-Diff, decomposition into reflectance and illumination (does not enhance)",
    network=Decomposition,
    config=DecompositionConfig,
    configs={
        "pair": DecompositionConfig(),
        "published": DecompositionConfig(pair=False),
        "tiny": DecompositionConfig(),
    },
    recognise=recognise_decomposition,
    objective=DecompositionObjective,
    complete=complete,
)

__all__ = [
    "DECOMPOSITION",
    "METHOD",
    "STAGE1",
    "TASKS",
    "Decomposer",
    "Decomposition",
    "DecompositionConfig",
    "DecompositionObjective",
    "Priors",
    "RetiDiff",
    "RetiDiffConfig",
    "Stage1",
    "Stage1Config",
    "Stage1Objective",
    "Stage2Objective",
    "complete",
]
