"""UPT-Flow (Pattern Recognition 2025). See README.md in this folder."""

from functools import partial

from tapetum.methods.contract import Method
from tapetum.methods.uptflow.checkpoint import recognise
from tapetum.methods.uptflow.network import UPTFlow, UPTFlowConfig
from tapetum.methods.uptflow.objective import FlowObjective

_LOL, _OTHER = UPTFlowConfig(win_size=5), UPTFlowConfig(win_size=8)

CONFIGS = {
    "lolv2_real": _LOL,
    "lolv2_synthetic": _LOL,
    "fivek": _OTHER,
    "smid": _OTHER,
    "sdsd_indoor": _OTHER,
    "sdsd_outdoor": _OTHER,
    "narrow": UPTFlowConfig(
        win_size=5,
        dim=12,
        depths=(1, 1, 1, 1, 1, 1, 1),
        refinement_blocks=1,
        global_heads=(1, 1, 2, 4),
        window_heads=(1, 2, 4, 8, 4, 4, 2),
        ffn_expansion=1.5,
        K=3,
        extra_steps=1,
        hidden=32,
        drop_path=0.0,
    ),
    "tiny": UPTFlowConfig(
        win_size=5,
        dim=4,
        depths=(1, 2, 1, 1, 1, 1, 1),
        refinement_blocks=1,
        global_heads=(1, 2, 2, 4),
        window_heads=(1, 2, 4, 4, 4, 2, 1),
        K=1,
        extra_steps=1,
        hidden=16,
        drop_path=0.0,
    ),
}

METHOD = Method(
    name="uptflow",
    title="UPT-Flow: normalizing flow guided by a map of unbalanced points (Pattern Recognition 2025)",
    network=UPTFlow,
    config=UPTFlowConfig,
    configs=CONFIGS,
    recognise=partial(recognise, named=CONFIGS.values()),
    objective=FlowObjective,
)

__all__ = ["METHOD", "FlowObjective", "UPTFlow", "UPTFlowConfig"]
