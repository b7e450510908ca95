"""What the core install may import, and how soon the command line answers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "onnx", "onnxscript", "safetensors", "pydantic", "yaml", "PIL", "skimage")
# The floors that the photographer's install uses, and the names of the package itself
CORE = (
    "tapetum",
    "tapetum.errors",
    "tapetum.machine",
    "tapetum.imaging",
    "tapetum.imaging.comparison",
    "tapetum.methods.contract",
    "tapetum.methods.registry",
    "tapetum.methods.classical",
    "tapetum.metrics",
    "tapetum.weights.registry",
    "tapetum.engines",
    "tapetum.engines.onnx",
    "tapetum.engines.numpy",
    "tapetum.enhancer",
    "tapetum.data.pairs",
    "tapetum.data.layouts",
    "tapetum.evaluation.pairs",
    "tapetum.evaluation.protocols",
    "tapetum.evaluation.run",
    "tapetum.evaluation.report",
    "tapetum.evaluation.cache",
    "tapetum.evaluation.benchmark.predicting",
    "tapetum.evaluation.benchmark.runner",
    "tapetum.evaluation.detection.run",
    "tapetum.evaluation.enhanced",
    "tapetum.data.exdark",
    "tapetum.data.detection_files",
    "tapetum.data.raw_noise.calibration",
    "tapetum.data.raw_noise.letters",
    "tapetum.data.raw_cache",
    "tapetum.data.raw_sets",
    "tapetum.data.unprocessing",
    "tapetum.cli",
    "tapetum.cli.app",
    "tapetum.cli.batch",
)


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that a fresh Python has after running ``code``."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(json.loads(output.splitlines()[-1]))


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_no_torch(module):
    # typer brings pydantic itself since 0.27, so it is not ours to avoid below the command line
    allowed = {"pydantic"} if module.startswith("tapetum.cli") else set()
    assert not modules_after(f"import {module}") & set(HEAVY) - allowed


def test_the_package_alone_is_light():
    assert not modules_after("import tapetum") & {*HEAVY, "numpy", "pyvips", "onnxruntime", "typer", "rich"}


def test_help_and_version_load_nothing_heavy():
    code = "import contextlib, tapetum.cli\nwith contextlib.suppress(SystemExit): tapetum.cli.main(['{}'])"
    for option in ("--help", "--version"):
        loaded = modules_after(code.format(option))
        assert not loaded & {"numpy", "pyvips", "onnxruntime", "torch"}, option


def test_enhancing_loads_no_torch(model, tmp_path, dark):
    from PIL import Image

    Image.fromarray(dark).save(tmp_path / "dark.png")
    arguments = ["enhance", str(tmp_path / "dark.png"), "--model", model, "--compare"]
    code = f"import contextlib, tapetum.cli\nwith contextlib.suppress(SystemExit): tapetum.cli.main({arguments!r})"
    assert not modules_after(code) & {"torch", "lightning", "onnx", "PIL"}
    assert (tmp_path / "dark-enhanced-compare.jpg").exists()


def test_help_answers_soon():
    """Well under half a second of a processor's time; of the best of five."""
    resource = pytest.importorskip("resource")  # POSIX
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tapetum", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5, times
