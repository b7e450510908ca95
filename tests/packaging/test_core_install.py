"""The photographer's install: the package alone in a fresh environment, without torch, and a picture enhanced by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_MB = 250


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with nothing but ``pip install .``"""
    folder = tmp_path_factory.mktemp("core") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # built from a copy, as from a download: a build in the checkout would leave its traces there
    source = folder.parent / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def run(environment: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # a plain shell: no settings of the environment that these tests run in
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    variables["PATH"] = f"{environment / 'bin'}{os.pathsep}{variables['PATH']}"
    return subprocess.run(arguments, cwd=cwd, env=variables, capture_output=True, text=True, check=False)


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def test_the_core_is_small_and_has_no_torch(environment, tmp_path, record_property):
    done = run(environment, "python", "-c", "import torch", cwd=tmp_path)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    size = megabytes(environment)
    record_property("note", f"environment of the core install: {size:.0f} MB")
    assert size <= LIMIT_MB


def test_the_installed_command_enhances_a_sample(environment, tmp_path):
    shutil.copy(ROOT / "src" / "tapetum" / "assets" / "samples" / "rocket.jpg", tmp_path / "rocket.jpg")
    done = run(environment, "tapetum", "enhance", "rocket.jpg", "--compare", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "written: rocket-enhanced.jpg\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "rocket-enhanced-compare.jpg",
        "rocket-enhanced.jpg",
        "rocket.jpg",
    ]
    code = (
        "from tapetum.imaging import read_picture\n"
        "before, after = (read_picture(f'rocket{s}.jpg').pixels for s in ('', '-enhanced'))\n"
        "assert before.shape == after.shape and after.mean() > before.mean(), (before.mean(), after.mean())"
    )
    done = run(environment, "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "default"],
        ["export", "default", "out.onnx"],
        ["weights", "inspect", "x.pth"],
        ["enhance", "x.jpg", "--model", "retinexformer", "--weights", "x.pth"],
    ],
)
def test_what_needs_torch_says_so(environment, tmp_path, arguments):
    (tmp_path / "x.jpg").write_bytes((ROOT / "src" / "tapetum" / "assets" / "samples" / "rocket.jpg").read_bytes())
    done = run(environment, "tapetum", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "pip install 'tapetum[torch]'" in line


def test_what_needs_no_torch_works(environment, tmp_path):
    for arguments in (["--version"], ["--help"], ["models"], ["info"]):
        done = run(environment, "tapetum", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), arguments
