"""What tests of several folders share: the command line, a model, pictures."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# a busy machine is no failure: no example has a deadline, here and on a continuous-integration machine alike
settings.register_profile("tapetum", deadline=None)
settings.load_profile("tapetum")


@pytest.fixture(scope="session", autouse=True)
def hears_ctrl_c() -> None:
    """Tests that run in the background are started with SIGINT ignored, and so would be what they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured (``record_property("note", text)``)."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "note":
                terminalreporter.line(str(value))


@dataclass(frozen=True)
class Result:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def tapetum(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command line in this process, through the real entry."""
    from tapetum.cli import main

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Result(end.value.code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def make_lively() -> Callable[..., Any]:
    """Calls what makes a network, and shakes its weights so that no branch rests at its neutral start."""

    def make(network: Callable[[], Any], seed: int = 0, by: float = 0.05) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = network()
            with torch.no_grad():
                for parameter in made.parameters():
                    parameter.add_(torch.randn_like(parameter) * by)
        return made.eval()

    return make


@pytest.fixture(scope="session")
def doubler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose results are known, as our export would write it: every sample doubled, clipped to 1."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    from tapetum.methods.contract import Properties

    shape = ["batch", 3, "height", "width"]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["low", "two"], ["doubled"]),
            helper.make_node("Clip", ["doubled", "zero", "one"], ["enhanced"]),
        ],
        "doubler",
        [helper.make_tensor_value_info("low", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("enhanced", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32(value), name) for name, value in (("two", 2), ("zero", 0), ("one", 1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"tapetum.properties": Properties(bytes_per_pixel=100).to_json()})
    path = tmp_path_factory.mktemp("models") / "doubler.onnx"
    onnx.save(model, path)
    return path


@dataclass(frozen=True)
class Sampled:
    """A method that works in steps from noise: the name under which it is registered, a file of weights, a network."""

    name: str
    weights: Path
    network: Any


@pytest.fixture
def sampled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Sampled:
    """A small method with options, registered for the time of a test as "sampled".

    Each step blurs what there is and draws it to the picture; each but the first adds noise of its own, scaled by eta.
    It sees 8 * steps + 8 pixels far, which it declares for the 4 steps of its default.
    """
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    from tapetum.methods import registry
    from tapetum.methods.contract import SAMPLES, SEED, Method, Option, Properties
    from tapetum.weights.loading import save_model

    @dataclass(frozen=True)
    class Config:
        width: int = 3

    class Network(torch.nn.Module):
        def __init__(self, config: Config) -> None:
            super().__init__()
            self.config = config
            self.properties = Properties(
                size_multiple=16,
                minimum_size=16,
                receptive_field=40,
                options=(
                    Option("steps", 4, "steps of the sampler", 1, 50),
                    Option("eta", 0.0, "noise that each step adds", 0, 1),
                    Option("temperature", 1.0, "how far samples differ", 0),
                    SEED,
                    SAMPLES,
                ),
                noise_scale=8,
                iterative=True,
                no_onnx="it is sampled in a loop",
                bytes_per_pixel=200,
            )
            self.gain = torch.nn.Parameter(torch.full((config.width,), 2.0))

        def noise_channels(self, *, steps: int = 4, eta: float = 0.0, temperature: float = 1.0) -> int:
            return 0 if temperature == 0 else 3 if eta == 0 else 3 * steps

        def forward(self, low, *, noise=None, on_step=None, steps=4, eta=0.0, temperature=1.0):
            channels = self.noise_channels(steps=steps, eta=eta, temperature=temperature)
            size = (low.shape[0], channels, low.shape[2] // 8, low.shape[3] // 8)
            if noise is None:
                noise = torch.randn(size, generator=torch.Generator().manual_seed(0))
            assert noise.shape == size, "the noise that was asked for"
            small = functional.avg_pool2d(low, 8)
            draws = noise.split(3, 1) if channels else (torch.zeros_like(small),)
            state = draws[0] * temperature
            for step in range(steps):
                # at the edges as inside of the picture: a tile's edge is far enough from what is kept of it
                padded = functional.pad(state, (1, 1, 1, 1), mode="replicate")
                state = 0.9 * functional.avg_pool2d(padded, 3, 1) + 0.1 * small
                if eta and step:
                    state = state + eta * temperature * draws[step]
                if on_step is not None:
                    on_step(step + 1, steps)
            large = functional.interpolate(state, scale_factor=8, mode="nearest")
            return low * self.gain[:, None, None] + 0.5 * large

    def recognise(state):
        return Config() if list(state) == ["gain"] else None

    method = Method("sampled", "A method of the tests", Network, Config, {"only": Config()}, recognise)
    monkeypatch.setitem(registry.HOMES, "sampled", "tapetum_test_sampled:METHOD")
    monkeypatch.setitem(sys.modules, "tapetum_test_sampled", SimpleNamespace(METHOD=method))
    network = Network(Config()).eval()
    path = tmp_path_factory.mktemp("sampled") / "sampled.safetensors"
    save_model(network, path, {})
    return Sampled("sampled", path, network)


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> str:
    """What people run: the bundled default, wherever the package carries one."""
    from tapetum.weights.registry import NAMED_WEIGHTS

    return "default" if "default" in NAMED_WEIGHTS else str(request.getfixturevalue("doubler"))


@pytest.fixture(scope="session")
def dark() -> NDArray[np.uint8]:
    """A smooth dark picture with some noise, ``(48, 64, 3)``."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[0:48, 0:64]
    light = 20 + 25 * np.sin(rows / 9) ** 2 + 30 * (columns / 64)
    return np.clip(light[..., None] * [1, 0.9, 0.7] + random.normal(0, 3, (48, 64, 3)), 0, 255).astype(np.uint8)
