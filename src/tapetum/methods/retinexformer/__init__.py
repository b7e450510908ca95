"""Retinexformer (ICCV 2023) and MST++, the two networks of its toolbox."""

from tapetum.methods.contract import Method
from tapetum.methods.retinexformer.checkpoint import recognise_mst_plus_plus, recognise_retinexformer
from tapetum.methods.retinexformer.mst_plus_plus import MSTPlusPlus, MSTPlusPlusConfig
from tapetum.methods.retinexformer.network import Retinexformer, RetinexformerConfig
from tapetum.methods.retinexformer.objective import PixelObjective

METHOD = Method(
    name="retinexformer",
    title="Retinexformer: one-stage Retinex-based transformer (ICCV 2023)",
    network=Retinexformer,
    config=RetinexformerConfig,
    configs={
        "published": RetinexformerConfig(),
        "tiny": RetinexformerConfig(n_feat=8, num_blocks=(1, 1, 1)),
    },
    recognise=recognise_retinexformer,
    objective=PixelObjective,
)

MST_PLUS_PLUS = Method(
    name="mst_plus_plus",
    title="MST++: multi-stage spectral-wise transformer (CVPR workshop 2022; NTIRE 2024)",
    network=MSTPlusPlus,
    config=MSTPlusPlusConfig,
    configs={
        "published": MSTPlusPlusConfig(),
        "single_stage": MSTPlusPlusConfig(stage=1),
        "tiny": MSTPlusPlusConfig(n_feat=8, stage=2),
    },
    recognise=recognise_mst_plus_plus,
    objective=PixelObjective,
)
