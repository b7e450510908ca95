"""DED-Net (submitted to The Visual Computer). See README.md in this folder."""

from tapetum.methods.contract import Method
from tapetum.methods.dednet.checkpoint import recognise
from tapetum.methods.dednet.network import DEDNet, DEDNetConfig
from tapetum.methods.retinexformer.objective import PixelObjective

METHOD = Method(
    name="dednet",
    title="DED-Net: multi-scale feature enhancement framework (submitted to The Visual Computer)",
    network=DEDNet,
    config=DEDNetConfig,
    configs={
        "lol1": DEDNetConfig(),
        "lol2s": DEDNetConfig(),
        "paper": DEDNetConfig(ffn="separable"),
        "narrow": DEDNetConfig(n_feat=8, ffn="separable"),
        "tiny": DEDNetConfig(n_feat=4, num_blocks=(1, 1, 1), ffn="separable"),
    },
    recognise=recognise,
    objective=PixelObjective,
)

__all__ = ["METHOD", "DEDNet", "DEDNetConfig"]
