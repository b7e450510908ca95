"""LightenDiffusion (ECCV 2024): two stages, two files of weights, two entries of the registry. See README.md here."""

from functools import partial

from tapetum.methods.contract import Method
from tapetum.methods.lightendiffusion.checkpoint import begin, load_stage1, recognise, recognise_stage1
from tapetum.methods.lightendiffusion.examination import swap_test
from tapetum.methods.lightendiffusion.network import LightenDiffusion, LightenDiffusionConfig
from tapetum.methods.lightendiffusion.objective import Stage1Objective, Stage2Objective
from tapetum.methods.lightendiffusion.process import Sampling
from tapetum.methods.lightendiffusion.stage1 import Stage1, Stage1Config

CONFIGS = {
    "unsupervised": LightenDiffusionConfig(),
    "narrow": LightenDiffusionConfig(ch_mult=(1, 1, 1), num_res_blocks=1, ctdn_channels=16, num_sampling_timesteps=4),
    "tiny": LightenDiffusionConfig(
        ch=32,
        ch_mult=(2, 2),
        num_res_blocks=1,
        ctdn_channels=8,
        num_diffusion_timesteps=100,
        num_sampling_timesteps=2,
    ),
}

METHOD = Method(
    name="lightendiffusion",
    title="LightenDiffusion: unsupervised enhancement with latent-Retinex diffusion (ECCV 2024)",
    network=LightenDiffusion,
    config=LightenDiffusionConfig,
    configs=CONFIGS,
    recognise=partial(recognise, named=CONFIGS.values()),
    objective=Stage2Objective,
    after="lightendiffusion_stage1",
    begin=begin,
)

STAGE1 = Method(
    name="lightendiffusion_stage1",
    title="LightenDiffusion, stage 1: encoder, decoder, decomposition (reconstructs, does not enhance)",
    network=Stage1,
    config=Stage1Config,
    configs={name: config.stage1 for name, config in CONFIGS.items()},
    recognise=recognise_stage1,
    objective=Stage1Objective,
)

__all__ = [
    "METHOD",
    "STAGE1",
    "LightenDiffusion",
    "LightenDiffusionConfig",
    "Sampling",
    "Stage1",
    "Stage1Config",
    "Stage1Objective",
    "Stage2Objective",
    "load_stage1",
    "swap_test",
]
