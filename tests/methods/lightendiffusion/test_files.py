"""LightenDiffusion's files: published ones load, stages are told apart, and what would run code is refused."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tapetum.errors import UsageError, WeightsError
from tapetum.methods.lightendiffusion import (
    METHOD,
    STAGE1,
    LightenDiffusion,
    LightenDiffusionConfig,
    Stage1,
    Stage1Config,
    load_stage1,
)
from tapetum.methods.registry import create_model
from tapetum.weights.loading import load_model, recognise, save_model

Seeded = Callable[..., LightenDiffusion]


def as_published(network: LightenDiffusion, average: LightenDiffusion) -> dict[str, Any]:
    """What the published training writes."""
    options = argparse.Namespace(device=torch.device("cpu"), model=argparse.Namespace(ch=32), seed=230)
    return {
        "step": 2000,
        "epoch": 3,
        "state_dict": {f"module.{key}": value for key, value in network.state_dict().items()},
        "optimizer": torch.optim.Adam(network.parameters()).state_dict(),
        "ema_helper": dict(average.state_dict()),
        "params": options,
        "config": options,
    }


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return list(mine) == list(other) and all(torch.equal(mine[key], other[key]) for key in mine)


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_the_published_training_load(legacy: bool, tmp_path: Path, seeded: Seeded) -> None:
    network, average, path = seeded(), seeded(seed=1), tmp_path / "model_latest.pth.tar"
    torch.save(as_published(network, average), path, _use_new_zipfile_serialization=not legacy)
    assert same(load_model(path), network)
    assert same(load_model(path, "lightendiffusion", ema=True), average)
    assert same(create_model("lightendiffusion", weights=path), network)


@pytest.mark.parametrize("wrap", ["bare", "model", "module", "state_dict"])
def test_published_first_stages_load(wrap: str, tmp_path: Path, seeded: Seeded) -> None:
    network, path = seeded(), tmp_path / "stage1_weight.pth.tar"
    state: dict[str, Any] = dict(network.decom.state_dict())
    if wrap == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save(state if wrap in ("bare", "module") else {wrap: state}, path)
    assert same(load_model(path, "lightendiffusion_stage1"), network.decom)
    other = seeded(seed=1)
    kept = other.Unet.conv_in.weight.clone()
    load_stage1(other, path)
    assert same(other.decom, network.decom)
    assert torch.equal(other.Unet.conv_in.weight, kept)


def test_the_first_stage_of_a_whole_model_is_taken(tmp_path: Path, seeded: Seeded) -> None:
    network, other = seeded(), seeded(seed=1)
    save_model(network, tmp_path / "whole.safetensors", {})
    save_model(network.decom, tmp_path / "one.safetensors", {})
    for name in ("whole", "one"):
        METHOD.begin(other, tmp_path / f"{name}.safetensors")  # type: ignore[misc]
        assert same(other.decom, network.decom)
        assert {p.requires_grad for p in other.decom.parameters()} == {False}
        assert {p.requires_grad for p in other.Unet.parameters()} == {True}
        other = seeded(seed=2)


def test_stages_are_told_apart(tmp_path: Path, seeded: Seeded) -> None:
    network = seeded()
    torch.save({"model": network.decom.state_dict()}, tmp_path / "one.pth")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "two.pth")
    torch.save({"state_dict": network.Unet.state_dict(prefix="Unet.")}, tmp_path / "half.pth")
    with pytest.raises(
        WeightsError, match=r"one\.pth: holds weights of lightendiffusion_stage1, not of lightendiffusion"
    ):
        create_model("lightendiffusion", weights=tmp_path / "one.pth")
    with pytest.raises(
        WeightsError, match=r"two\.pth: holds weights of lightendiffusion, not of lightendiffusion_stage1"
    ):
        create_model("lightendiffusion_stage1", weights=tmp_path / "two.pth")
    with pytest.raises(WeightsError, match=r"half\.pth: a noise predictor of LightenDiffusion without its first stage"):
        load_model(tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"half\.pth: holds no first stage of LightenDiffusion"):
        load_stage1(network, tmp_path / "half.pth")
    wide = Stage1(Stage1Config(16))
    save_model(wide, tmp_path / "wide.safetensors", {})
    with pytest.raises(
        WeightsError, match=r"does not fit the first stage of this lightendiffusion: 144 of another shape"
    ):
        load_stage1(network, tmp_path / "wide.safetensors")
    bare = {k: v for k, v in network.state_dict().items() if not k.startswith("decom.retinex.conv1_1")}
    torch.save(bare, tmp_path / "short.pth")
    with pytest.raises(WeightsError, match=r"8 missing: decom\.retinex\.conv1_1"):
        load_model(tmp_path / "short.pth")
    unconditional = network.state_dict() | {"Unet.conv_in.weight": torch.zeros(32, 3, 3, 3)}
    with pytest.raises(WeightsError, match=r"without a condition, .*\(32, 3, 3, 3\)"):
        recognise(unconditional)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


def test_what_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeded: Seeded) -> None:
    monkeypatch.chdir(tmp_path)
    content = as_published(seeded(), seeded())
    content["config"] = argparse.Namespace(hook=Evil())
    torch.save(content, "evil.pth.tar")
    with pytest.raises(WeightsError, match="refused: it holds Python objects beside tensors"):
        load_model("evil.pth.tar")
    assert not Path("evil").exists()


VARIANTS = [
    LightenDiffusionConfig(),
    LightenDiffusionConfig(ch=32, ch_mult=(2, 3, 2), num_res_blocks=3, resamp_with_conv=False, ctdn_channels=24),
    LightenDiffusionConfig(ch=32, ch_mult=(2,), num_res_blocks=1, ctdn_channels=8),
    LightenDiffusionConfig(ch=96, ch_mult=(1, 2, 2, 1, 1), ctdn_channels=32),
]


@pytest.mark.parametrize("config", VARIANTS, ids=lambda c: f"{c.ch}x{c.ch_mult}")
def test_recognised_from_keys_and_shapes(config: LightenDiffusionConfig) -> None:
    with torch.device("meta"):
        state = LightenDiffusion(config).state_dict()
    method, found = recognise(state)
    assert (method.name, found) == ("lightendiffusion", config)


def test_a_tensor_of_any_shape_may_have_a_known_name(seeded: Seeded) -> None:
    with torch.device("meta"):
        states = [(METHOD, seeded().state_dict()), (STAGE1, seeded().decom.state_dict())]
    for method, state in states:
        for key in list(state):
            if not key.endswith("weight"):
                continue
            for shape in ((), (8,), (0, 0), (1, 2, 3, 4, 5)):
                with contextlib.suppress(UsageError):  # nothing else may come out: the file is a stranger's
                    method.recognise(state | {key: torch.zeros(shape)})
