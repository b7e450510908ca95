"""MambaLLIE (NeurIPS 2024). See README.md in this folder."""

from tapetum.methods.contract import Method
from tapetum.methods.mamballie.checkpoint import grow, recognise
from tapetum.methods.mamballie.network import MambaLLIE, MambaLLIEConfig
from tapetum.methods.mamballie.objective import MambaLLIEObjective

METHOD = Method(
    name="mamballie",
    title="MambaLLIE: implicit Retinex-aware enhancement with a global-then-local state space (NeurIPS 2024)",
    network=MambaLLIE,
    config=MambaLLIEConfig,
    configs={
        "published": MambaLLIEConfig(),
        "paper": MambaLLIEConfig(nf=32, depths=(1, 2, 2, 2, 2, 2)),
        "narrow": MambaLLIEConfig(nf=16, depths=(0, 0, 1, 1, 0, 1), d_state=4, dropout=0),
        "narrow-deep": MambaLLIEConfig(nf=16, depths=(0, 1, 2, 2, 1, 1), d_state=4, dropout=0),
        "tiny": MambaLLIEConfig(nf=4, depths=(1, 1, 1, 1, 1, 1), d_state=2),
    },
    recognise=recognise,
    grow=grow,
    objective=MambaLLIEObjective,
)

__all__ = ["METHOD", "MambaLLIE", "MambaLLIEConfig", "MambaLLIEObjective"]
