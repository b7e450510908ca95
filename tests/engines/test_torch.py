"""The torch engine: options, device names, copies, memory errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tapetum.engines import OutOfMemory
from tapetum.engines.torch import TorchEngine
from tapetum.errors import UsageError
from tapetum.methods.contract import Properties
from tapetum.methods.registry import create_model

LOW = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)


class Failing(nn.Module):
    properties = Properties()

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, low: Tensor) -> Tensor:
        raise self.error


def tiny(method: str = "twilight") -> nn.Module:
    torch.manual_seed(0)
    return create_model(method, "tiny" if method == "twilight" else {"n_feat": 4, "num_blocks": (1, 1, 1)})


def test_runs_the_network() -> None:
    network = tiny()
    with torch.inference_mode():
        expected = network(torch.from_numpy(LOW)).numpy()
    engine = TorchEngine(network, "cpu")
    assert engine.name == "torch:cpu"
    assert np.array_equal(engine.run(LOW), expected)
    assert engine.free_memory() > 0


def test_statistics_of_the_picture_itself_change_nothing() -> None:
    engine = TorchEngine(tiny("retinexformer"), "cpu")
    statistics = engine.measure(LOW)
    assert statistics.shape[0] == 1
    assert np.abs(engine.run(LOW, statistics) - engine.run(LOW)).max() < 1e-5


@pytest.mark.parametrize(("options", "bound"), [({"channels_last": True}, 1e-5), ({"bfloat16": True}, 0.05)])
def test_options_are_close(options: dict[str, Any], bound: float) -> None:
    network = tiny()
    engine = TorchEngine(network, "cpu", **options)
    difference = np.abs(engine.run(LOW) - TorchEngine(network, "cpu").run(LOW)).max()
    assert difference < bound
    # it was used
    if "bfloat16" in options:
        assert difference > 1e-6
    else:
        weights = [p for p in engine._network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
        assert weights
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_the_module_and_global_state_stay_as_they_are() -> None:
    network = tiny().train()
    threads, grad, seed = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state()
    TorchEngine(network, "cpu", channels_last=True, bfloat16=True).run(LOW)
    assert network.training
    assert all(p.is_contiguous() for p in network.parameters())
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)
    assert torch.equal(torch.get_rng_state(), seed)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_is_recognised(error: Exception) -> None:
    with pytest.raises(OutOfMemory):
        TorchEngine(Failing(error), "cpu").run(LOW)


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="sizes differ"):
        TorchEngine(Failing(RuntimeError("sizes differ")), "cpu").run(LOW)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "cpu:x"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(UsageError, match="is not here: choose from auto, cpu"):
        TorchEngine(tiny(), device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same() -> None:
    network = tiny()
    engine = TorchEngine(network)
    assert engine.name.startswith("torch:cuda:")
    assert np.abs(engine.run(LOW) - TorchEngine(network, "cpu").run(LOW)).max() < 1e-3
    assert next(network.parameters()).device.type == "cpu"
