"""UPT-Flow's files and configurations: recognised with their windows, and refused where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tapetum.errors import UsageError, WeightsError
from tapetum.methods.registry import get_method, make_config
from tapetum.methods.uptflow import METHOD, UPTFlow, UPTFlowConfig
from tapetum.weights.loading import load_model, recognise

TINY = METHOD.configs["tiny"]
Shaken = Callable[..., UPTFlow]
Make = Callable[..., Tensor]


@pytest.mark.parametrize(("name", "count"), [("lolv2_real", 23_437_502), ("smid", 23_445_854)])
def test_published_configurations_are_recognised_with_their_windows(name: str, count: int) -> None:
    with torch.device("meta"):
        network = UPTFlow(METHOD.configs[name])
    state = network.state_dict()
    assert (sum(p.numel() for p in network.parameters()), len(state)) == (count, 1929)
    assert recognise(state) == (METHOD, METHOD.configs[name])


def test_a_published_file_loads_as_it_is(tmp_path: Path, shaken: Shaken, picture: Make) -> None:
    network = shaken()
    torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "LOL-real.pth")
    loaded = load_model(tmp_path / "LOL-real.pth")
    with torch.no_grad():
        assert torch.equal(loaded(picture()), network(picture()))


def test_wrong_windows_are_said(tmp_path: Path, shaken: Shaken) -> None:
    network = shaken()
    torch.save(network.state_dict(), tmp_path / "five.pth")
    wanted = make_config(METHOD, {**vars(TINY), "win_size": 8})
    says = r"five\.pth does not fit uptflow, having win_size 5 instead of 8: .*table \(81, 1\) instead of \(225, 1\)"
    with pytest.raises(WeightsError, match=says):
        load_model(tmp_path / "five.pth", "uptflow", wanted)
    state = dict(network.state_dict())
    key = "RRDB.bottlen.blocks.0.attn.relative_position_bias_table"
    with pytest.raises(WeightsError, match=r"windows of different sizes: RRDB\.\S+ has 81 rows, RRDB\.bottlen\S+ 225"):
        recognise(state | {key: torch.zeros(225, 4)})
    tables = {k: torch.zeros(80, v.shape[1]) for k, v in state.items() if k.endswith("_bias_table")}
    with pytest.raises(WeightsError, match=r"has 80 rows, which no window size has \(5 has 81, 8 has 225\)"):
        recognise(state | tables)
    encoder = {k: v for k, v in state.items() if k.startswith("RRDB.")}
    with pytest.raises(WeightsError, match=r"an encoder of UPT-Flow without its flow"):
        recognise(encoder)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"win_size": 1}, "win_size must be at least 2"),
        ({"hidden": 24}, "hidden must be a multiple of 16"),
        ({"depths": (1, 2)}, "depths must be 7 numbers"),
        ({"global_heads": (3, 2, 4, 8), "dim": 4}, "cannot be split among 3"),
        ({"drop_path": 1.0}, "drop_path must be from 0 to below 1"),
    ],
)
def test_impossible_configurations(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        UPTFlowConfig(**fields)


def test_registered() -> None:
    assert get_method("uptflow") is METHOD
