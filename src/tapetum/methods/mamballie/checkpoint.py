"""Which configuration a published file holds, read from keys and shapes alone; the weights of a smaller network in a
larger one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from tapetum.errors import WeightsError
from tapetum.methods.mamballie.network import GlobalThenLocalBlock, MambaLLIE, MambaLLIEConfig


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


def grow(network: MambaLLIE, smaller: MambaLLIE) -> None:
    """Makes ``network`` compute what ``smaller`` does, which has no more blocks in any group, and is like it otherwise.

    Its further blocks come after those of the smaller network in their groups. What they would add is zero: their last
    layers are, and learn first.

    Raises:
        WeightsError: ``smaller`` has more blocks in a group, or differs in anything but the number of blocks.
    """
    depths, before = network.config.depths, smaller.config.depths
    if replace(smaller.config, depths=depths) != network.config:
        raise WeightsError(f"only blocks can be added, and {smaller.config} differs otherwise from {network.config}")
    if any(had > has for had, has in zip(before, depths, strict=True)):
        raise WeightsError(f"has more blocks ({before}) than the network that it is to grow into ({depths})")
    for k, had in enumerate(before, 1):
        for block in list(network.get_submodule(f"VSSB_{k}").children())[had:]:
            assert isinstance(block, GlobalThenLocalBlock)
            for last in (block.ss2d.out_proj, block.ffn.project_out):
                nn.init.zeros_(last.weight)
                if last.bias is not None:
                    nn.init.zeros_(last.bias)
    network.load_state_dict(smaller.state_dict(), strict=False)
