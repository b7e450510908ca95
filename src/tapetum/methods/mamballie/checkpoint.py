"""Which configuration a published file holds: read from keys and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from tapetum.methods.mamballie.network import MambaLLIEConfig


def recognise(state: Mapping[str, Tensor]) -> MambaLLIEConfig | None:
    """The configuration of a MambaLLIE file, or None where the keys are another method's.

    A file without a single block does not show ``d_state``, and needs none.

    Raises:
        UsageError: a configuration that cannot be.
    """
    first, light, last = (state.get(f"{name}.weight") for name in ("conv_first_1", "conv_first_1_fea", "out_embed"))
    if first is None or light is None or last is None or {first.ndim, light.ndim, last.ndim} != {4}:
        return None
    nf = first.shape[0]
    states = [tensor.shape[1] for key, tensor in state.items() if key.endswith(".ss2d.A_logs") and tensor.ndim == 2]
    one, two, three, four, five, six = (_depth(state, k) for k in range(1, 7))
    return MambaLLIEConfig(
        nf=nf,
        depths=(one, two, three, four, five, six),
        d_state=states[0] if states else MambaLLIEConfig.d_state,
        mlp_ratio=light.shape[0] // nf if nf else 0,
    )


def _depth(state: Mapping[str, Tensor], k: int) -> int:
    """Blocks of group k. They are counted: where one lacks in the middle, a strict load names what differs."""
    return len({match.group(1) for key in state if (match := re.match(rf"VSSB_{k}\.(\d+)\.", key))})
