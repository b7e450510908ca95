"""Twilight: the small network behind the bundled model ``default``. See README.md in this folder."""

from tapetum.methods.contract import Method
from tapetum.methods.twilight.network import Twilight, TwilightConfig, recognise
from tapetum.methods.twilight.objective import TwilightObjective

METHOD = Method(
    name="twilight",
    title="Twilight (tapetum's own small network)",
    network=Twilight,
    config=TwilightConfig,
    configs={"default": TwilightConfig(), "tiny": TwilightConfig(width=8, middle=8, deep=8, context=8)},
    recognise=recognise,
    objective=TwilightObjective,
)

__all__ = ["METHOD", "Twilight", "TwilightConfig", "TwilightObjective"]
