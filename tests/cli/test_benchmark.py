"""``tapetum benchmark``: from a command line to a report, and one clear line for what is wrong."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def data(save: Any, dark: np.ndarray) -> Path:
    for i in range(2):
        save(f"set/eval15/high/{i}.png", np.minimum(dark.astype(int) * (2 + i), 255).astype(np.uint8))
        low = save(f"set/eval15/low/{i}.png")
    return low.parents[2]


def test_a_report_and_a_second_run(tapetum: Any, data: Path, tmp_path: Path) -> None:
    command = ["benchmark", "--data", data, "--model", "gamma", "--model", "clahe", "--metric", "mae"]
    command += ["--cache", tmp_path / "cache", "-o", tmp_path / "out"]
    first, second = tapetum(*command), tapetum(*command)
    assert first.code == second.code == 0, first.err + second.err
    assert first.out == second.out, "times, too, are those of when it was predicted"
    assert "set eval15: 2 pictures of 2 scenes, strict" in first.out
    for column in ("PSNR", "PSNR GT-mean", "SSIM", "SSIM GT-mean", "MAE", "MAE GT-mean", "s/picture"):
        assert column in first.out
    assert "predictions: 2 made, 0 found" in first.err, "both dark pictures are the same"
    assert "predictions: 0 made, 2 found" in second.err
    assert " MB" in second.err
    assert "report.html" in second.err
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_a_failure_is_a_line_and_exit_code_1(tapetum: Any, data: Path, save: Any, tmp_path: Path) -> None:
    save("set/eval15/high/1.png", np.zeros((20, 64, 3), np.uint8))
    command = ["benchmark", "--data", data, "--model", "gamma", "--cache", tmp_path / "cache", "-o", tmp_path / "out"]
    result = tapetum(*command)
    assert result.code == 1
    (line,) = result.errors
    assert "gamma, set eval15 1:" in line
    assert "has 64x48 pixels, and its target" in line
    assert "1.png 64x20" in line
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [failure["picture"] for failure in report["failures"]] == ["1"]
    assert report["results"][0]["models"][0]["pictures"] == 1


def test_the_table_says_what_is_not_compared(tapetum: Any, data: Path, save: Any, tmp_path: Path) -> None:
    """As the tables in files do: who lacks pictures, and who was trained on them."""
    places = tmp_path / "lol_v1" / "our485"
    places.parent.mkdir()
    (data / "eval15").rename(places)
    for side in ("low", "high"):  # names of pictures that the model was trained on
        for i in range(2):
            (places / side / f"{i}.png").rename(places / side / f"{i + 10}.png")
    save("lol_v1/our485/high/11.png", np.zeros((20, 64, 3), np.uint8))
    command = ["benchmark", "--data", places.parent, "--split", "our485", "--model", "gamma"]
    command += ["--model", "default-lolv1", "--allow-seen", "--cache", tmp_path / "cache", "-o", tmp_path / "out"]
    result = tapetum(*command)
    assert result.code == 1
    assert "gamma (1 of 2 pictures)" in result.out
    assert "default-lolv1 ‡ (1 of 2 pictures)" in result.out
    assert "‡: was trained on scenes of these pictures; shown, and not compared." in result.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "say what to measure on: --data DIR"),
        (["--data", "DATA", "--model", "gama"], 2, "unknown model 'gama', perhaps gamma"),
        (["--data", "DATA", "--metric", "pnsr_float"], 2, "unknown metric 'pnsr_float', perhaps psnr_float"),
        (["--data", "DATA", "--protocol", "stict"], 2, "unknown protocol 'stict', perhaps strict"),
        (["--data", "DATA", "--model", "gamma:steps"], 2, "unknown model 'gamma:steps'"),
        (["--data", "DATA", "--model", "gamma:steps=4"], 2, "gamma:steps=4: gamma has no option steps: it has none"),
        (["--data", "DATA", "--model", "gamma:weights="], 2, "write settings as NAME:weights=FILE,steps=5"),
        (["--data", "DATA", "--model", "gamma", "-o", "FILE"], 2, "is a file, and the report is a folder"),
        (["--data", "DATA", "--model", "gamma", "-o", "FILE/below"], 1, "cannot be made: not a directory"),
        (["--data", "DATA", "--model", "gamma", "--cache", "FILE"], 1, "cannot be made: file exists"),
        (["--data", "DATA/none"], 1, "no such folder"),
        (["--data", "DATA/eval15/low"], 1, "no test pictures in a known layout"),
        (["--data", "DATA", "--split", "test"], 2, "has no split 'test': choose from eval15"),
        (["--low", "DATA", "--target", "DATA", "--layout", "lol"], 2, "--split and --layout belong to --data"),
        (["--low", "DATA/eval15/low"], 2, "one folder, or the two folders low and target"),
        (["--low", "DATA/eval15/low", "--target", "DATA"], 1, "holds no picture"),
        (["none.yaml"], 2, "none.yaml: no such file"),
        (["none.yaml", "--model", "gamma"], 2, "none.yaml says what to measure: change it by KEY=VALUE"),
        (["--data", "DATA", "--jobs", "0"], 2, "jobs"),
    ],
)
def test_bad_input_is_one_line(
    tapetum: Any, data: Path, tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    (tmp_path / "file").write_text("mine")
    places = {"DATA": str(data), "FILE": str(tmp_path / "file")}
    heads = [part.partition("/")[0] for part in arguments]
    given = [places.get(head, head) + part[len(head) :] for head, part in zip(heads, arguments, strict=True)]
    outputs = [] if "-o" in given else ["-o", tmp_path / "out"]
    caches = [] if "--cache" in given else ["--cache", tmp_path / "cache"]
    result = tapetum("benchmark", *given, *outputs, *caches)
    assert result.code == code, result.err
    (line,) = result.errors
    assert text in line
    assert not (tmp_path / "out" / "report.html").exists()


def test_ctrl_c_is_a_line(tapetum: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapetum.evaluation.benchmark import making

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "_run", stop)
    result = tapetum("benchmark", "--data", data, "--model", "gamma", "--cache", tmp_path / "c", "-o", tmp_path / "out")
    assert result.code == 130
    assert result.err == "stopped: what was predicted is kept, and the same command goes on from there\n"


def test_a_file_with_changes(tapetum: Any, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pydantic")
    pytest.importorskip("yaml")
    (tmp_path / "b.yaml").write_text(f"models: [gamma]\ndata: [{data}]\n")
    outputs = ["--cache", tmp_path / "cache", "-o", tmp_path / "out"]
    result = tapetum("benchmark", tmp_path / "b.yaml", "limit=1", "title=Mine", *outputs)
    assert result.code == 0, result.err
    assert "1 picture of 1 scene" in result.out
    assert "<title>Mine</title>" in (tmp_path / "out" / "report.html").read_text()
    (tmp_path / "b.yaml").write_text(f"models: [gamma]\ndata: [{data}]\nlimits: 1\n")
    wrong = tapetum("benchmark", tmp_path / "b.yaml", *outputs)
    assert wrong.code == 2
    assert "limits: unknown key, perhaps limit" in wrong.err


def test_robustness_of_photographs(tapetum: Any, data: Path, tmp_path: Path) -> None:
    photographs = next(path for path in data.rglob("high"))
    outputs = ["--cache", tmp_path / "cache", "-o", tmp_path / "out"]
    result = tapetum(
        "benchmark", "--data", data, "--model", "gamma", "--limit", 1, "--robustness", photographs, *outputs
    )
    assert result.code == 0, result.err
    assert "### What should stay" in (tmp_path / "out" / "table.md").read_text()
    again = tapetum(
        "benchmark", "--data", data, "--model", "gamma", "--limit", 1, "--robustness", photographs, *outputs
    )
    assert "predictions: 0 made" in again.err
    missing = tapetum("benchmark", "--data", data, "--model", "gamma", "--robustness", tmp_path / "none", *outputs)
    assert missing.code == 1
    assert "none: no such folder of pictures" in missing.err


def test_a_file_needs_the_extra(tapetum: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
        return usual(name, *arguments, **options)

    import importlib

    import_module = importlib.import_module

    def no_yaml(name: str, package: str | None = None) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
        return import_module(name, package)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(importlib, "import_module", no_yaml)
    (tmp_path / "b.yaml").write_text("models: [gamma]\n")
    result = tapetum("benchmark", tmp_path / "b.yaml", "-o", tmp_path / "out")
    assert result.code == 2
    assert "a benchmark from a file needs yaml, which is not installed: pip install 'tapetum[torch]'" in result.err
