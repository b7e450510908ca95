"""tapetum: low-light image enhancement.

    import tapetum
    tapetum.enhance("night.jpg", "night-enhanced.jpg")

Nothing heavy is imported here: names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapetum.enhancer import Enhancer as Enhancer
    from tapetum.enhancer import enhance as enhance
    from tapetum.methods.registry import create_model as create_model
    from tapetum.methods.registry import list_models as list_models

__version__ = "0.1.0"

_HOMES = {
    "Enhancer": "tapetum.enhancer",
    "enhance": "tapetum.enhancer",
    "create_model": "tapetum.methods.registry",
    "list_models": "tapetum.methods.registry",
}

__all__ = ["Enhancer", "__version__", "create_model", "enhance", "list_models"]  # loaded lazily, below


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tapetum' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
