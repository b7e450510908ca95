"""A stopped benchmark goes on without losing what models cost; damage in what is noted of them is said and mended."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapetum.errors import TapetumWarning
from tapetum.evaluation.benchmark import making
from tapetum.evaluation.benchmark.plan import Data, Model, Plan
from tapetum.evaluation.benchmark.results import Results
from tapetum.evaluation.benchmark.runner import run
from tapetum.evaluation.benchmark.stored import About, read_about, write_about


@pytest.fixture
def go(pairs: Path, doubler: Path, tmp_path: Path) -> Callable[[], Results]:
    """Runs the same benchmark of two models once more."""
    plan = Plan((Model("gamma"), Model(str(doubler))), (Data(pairs),), ("strict", "uptflow_test_script"), limit=3)
    return lambda: run(plan, tmp_path / "out", tmp_path / "cache")


def stop_before(count: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when the message number ``count`` with this key is to be heard: it is lost."""
    usual, left = making._run, [count]

    def stopped(job: Any, heard: Callable[[dict[str, Any]], None], processes: Any) -> None:
        def some(message: dict[str, Any]) -> None:
            left[0] -= kind in message
            if not left[0]:
                raise KeyboardInterrupt
            heard(message)

        usual(job, some, processes)

    monkeypatch.setattr(making, "_run", stopped)


@pytest.mark.parametrize(
    ("count", "kind"),
    [(1, "done"), (4, "done"), (7, "about"), (9, "done"), (14, "about")],
    ids=lambda value: f"{value}",
)
def test_a_stopped_run_loses_nothing_of_a_model(
    go: Callable[[], Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, kind: str
) -> None:
    """Stopped among the pictures of one model or another, or where only what they cost is not known yet."""
    with monkeypatch.context() as patch:
        stop_before(count, kind, patch)
        with pytest.raises(KeyboardInterrupt):
            go()
    results = go()
    assert results.facts["found"] > 0 or count == 1
    for title, engine in (("gamma", "numpy:cpu"), ("doubler", "onnx:cpu")):
        about = results.abouts[title]
        assert about.engine == engine
        assert about.machine
        assert about.size == "40x56"
        assert about.peak is not None
        assert about.peak > 10e6
    assert results.abouts["gamma"].parameters == 0
    assert "predicted by: gamma: numpy:cpu on" in (tmp_path / "out" / "table.md").read_text()
    again = go()
    assert again.facts["made"] == 0
    assert again.abouts == results.abouts


def test_what_is_known_is_stored_with_each_picture(
    go: Callable[[], Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before(3, "done", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        go()
    notes = [read_about(path.parent) for path in (tmp_path / "cache").rglob("about.json")]
    (about,) = {about.engine: about for about in notes if about.engine == "numpy:cpu"}.values()
    assert about.peak is not None


DAMAGED = [
    "[1]",
    "null",
    "{",
    "[" * 100_000,
    "{}",
    '{"engine": 5, "machine": "", "peak": "x", "parameters": null, "macs": null, "size": ""}',
    '{"engine": "", "machine": "", "peak": true, "parameters": null, "macs": null, "size": ""}',
    '{"engine": "", "machine": "", "peak": -1, "parameters": null, "macs": null, "size": ""}',
    '{"engine": "", "machine": "", "peak": 1.5, "parameters": null, "macs": null, "size": ""}',
    '{"engine": "", "machine": "", "peak": null, "parameters": null, "macs": null, "size": "", "more": 1}',
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_note_is_missing_and_said_once(tmp_path: Path, content: str) -> None:
    (tmp_path / "about.json").write_text(content)
    with pytest.warns(TapetumWarning) as said:
        assert read_about(tmp_path) == About()
    assert [str(warning.message) for warning in said] == [f"{tmp_path / 'about.json'}: damaged: it is made anew"]


def test_a_note_comes_back_as_it_was(tmp_path: Path) -> None:
    for about in (About(), About("onnx:cpu", "a machine", 10**8, 7, None, "4x5")):
        write_about(about, tmp_path)
        assert read_about(tmp_path) == about


@pytest.mark.parametrize("damaged", ["one", "all"])
def test_a_damaged_note_is_made_anew(go: Callable[[], Results], tmp_path: Path, damaged: str) -> None:
    first = go()
    notes = sorted((tmp_path / "cache").rglob("about.json"))
    assert len(notes) == 4, "of two models with two ways to predict"
    hurt = notes[:1] if damaged == "one" else notes
    for path in hurt:
        path.write_text('{"engine": 5, "peak": "x"}')
    with pytest.warns(TapetumWarning, match="damaged: it is made anew") as said:
        again = go()
    assert sorted(str(w.message).partition(": ")[0] for w in said) == [str(path) for path in hurt]
    assert again.facts["made"] == (0 if damaged == "one" else 2), "another folder knows it; else one picture for each"
    assert again.facts["made"] + again.facts["found"] == 12
    for title, about in again.abouts.items():
        assert (about.engine, about.size) == (first.abouts[title].engine, "40x56")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert go().abouts == again.abouts
    assert {json.loads(path.read_text())["size"] for path in notes} == {"40x56"}
