"""What tests of several folders share: the command line, a model, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# a busy machine is no failure: no example has a deadline, here and on a continuous-integration machine alike
settings.register_profile("tapetum", deadline=None)
settings.load_profile("tapetum")


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
