"""A whole benchmark: right figures, nothing made twice, nothing lost."""

from __future__ import annotations

import csv
import json
import re
import shutil
import tracemalloc
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tapetum.data.layouts import read_picture_file
from tapetum.data.pairs import Pair, pairs_of_folders
from tapetum.enhancer import Enhancer
from tapetum.errors import InputError, TapetumWarning, UsageError
from tapetum.evaluation.benchmark import making
from tapetum.evaluation.benchmark.charts import significance
from tapetum.evaluation.benchmark.measuring import Outcome, Task, measure_all
from tapetum.evaluation.benchmark.plan import Data, Model, Photographs, Plan, Split
from tapetum.evaluation.benchmark.predicting import Job, Work, work
from tapetum.evaluation.benchmark.results import Results, tabulate
from tapetum.evaluation.benchmark.runner import run, what_was_seen
from tapetum.evaluation.benchmark.stored import Prediction, open_store
from tapetum.evaluation.protocols import get_protocol
from tapetum.evaluation.report import Row
from tapetum.evaluation.robustness import run as robustness
from tapetum.evaluation.run import by_enhancer, measure_pairs


def figures(results: Results) -> list[Any]:
    """Everything but times, memory and where it was measured."""
    return [
        (t.protocol, t.split, t.measures, t.comparisons, [(r.model, r.name, r.scene, r.values) for r in t.rows])
        for t in results.tables
    ]


@pytest.mark.parametrize("protocol", ["strict", "uptflow_test_script"])
def test_figures_are_those_of_evaluate(finished: Any, pairs: Path, doubler: Path, protocol: str) -> None:
    (table,) = [table for table in finished.results.tables if table.protocol == protocol]
    known = get_protocol(protocol)
    wanted = pairs_of_folders(pairs / "eval15" / "low", pairs / "eval15" / "high")
    for model in ("gamma", str(doubler)):
        title = Path(model).stem
        predict = by_enhancer(Enhancer(model), known)
        expected = list(measure_pairs(title, "", wanted, predict, known, read_picture_file, "gt_mean_gray601_rgb"))
        found = [row for row in table.rows if row.model == title]
        assert [row.name for row in found] == [row.name for row in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert {name: ours.values[name] for name in theirs.values} == theirs.values
            assert "mae" in ours.values


def test_plain_and_gt_mean_stand_side_by_side(finished: Any) -> None:
    measures = finished.results.tables[0].measures
    plain = ["psnr_rgb_uint8", "ssim_gaussian_valid_uint8", "mae"]
    assert measures == [name for each in plain for name in (each, f"{each}/gt_mean_gray601_rgb")]


PREDICTIONS = 42 + 3 * 21
"""Seven pictures, two ways to predict and three models; and one photograph at all points."""


def test_the_second_run_makes_nothing(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a network was made")

    monkeypatch.setattr(making, "_run", never)
    monkeypatch.setattr(Enhancer, "__init__", never)
    again = run(finished.plan, tmp_path, finished.cache)
    assert (again.facts["made"], again.facts["found"]) == (0, PREDICTIONS)
    assert figures(again) == figures(finished.results)
    assert again.abouts == finished.results.abouts, "costs are remembered, too"


def test_figures_do_not_depend_on_the_number_of_processes(finished: Any, tmp_path: Path) -> None:
    parallel = run(finished.plan, tmp_path / "out", tmp_path / "cache", jobs=3)
    assert parallel.facts["made"] == PREDICTIONS
    assert figures(parallel) == figures(finished.results)


def test_a_stopped_run_goes_on(finished: Any, tmp_path: Path) -> None:
    shutil.copytree(finished.cache, tmp_path / "cache")
    files = sorted((tmp_path / "cache").rglob("*.npz"))
    for file in files[:5]:
        file.unlink()
    files[9].write_bytes(files[9].read_bytes()[:-100])
    with pytest.warns(TapetumWarning, match="damaged: it is made anew") as said:
        again = run(finished.plan, tmp_path / "out", tmp_path / "cache")
    assert len(said) == 1
    assert (again.facts["made"], again.facts["found"]) == (6, PREDICTIONS - 6)
    assert figures(again) == figures(finished.results)


def test_a_process_that_dies_is_said(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making.sys, "executable", shutil.which("false") or pytest.skip("no program false"))
    with pytest.raises(InputError, match=r"nothing could be measured: its process ended before \(1"):
        run(Plan((Model("gamma"),), (Data(pairs),)), tmp_path / "out", tmp_path / "cache")


def test_costs(finished: Any) -> None:
    abouts = finished.results.abouts
    assert abouts["gamma"].parameters == 0
    assert abouts["doubler"].parameters is None, "it does not say what network it is"
    assert abouts["doubler"].engine == "onnx:cpu"
    assert all(about.macs is None for about in abouts.values())
    assert all(10e6 < about.peak < 2e9 for about in abouts.values())


def test_a_method_with_weights_costs_what_the_bundled_one_costs(pairs: Path, tmp_path: Path) -> None:
    """In PyTorch by a file of weights, and in ONNX Runtime: nearly the same pictures, the same network."""
    pytest.importorskip("torch")
    from tapetum.weights.registry import NAMED_WEIGHTS

    if "default" not in NAMED_WEIGHTS:
        pytest.skip("no bundled model")
    low = pairs / "eval15" / "low" / "a.png"
    said, made = [], []
    for model in (Model("default"), Model("twilight", NAMED_WEIGHTS["default"].path)):
        folder = tmp_path / model.name
        item = Work(str(low), str(low), None, "strict", str(folder), "a")
        work(Job(model, False, [item], True), said.append)
        made.append(open_store(folder).get("a"))
    bundled, weights = (message["about"] for message in said if list(message) == ["about"])
    assert bundled["engine"] == "onnx:cpu"
    assert weights["engine"].startswith("torch")
    assert bundled["parameters"] == weights["parameters"] == 119_233
    assert bundled["macs"] == weights["macs"] > 0
    assert bundled["size"] == "40x56"
    assert np.abs(made[0].enhanced - made[1].enhanced).max() < 1e-3


@pytest.fixture
def divider(tmp_path: Path) -> Path:
    """A network whose results are no numbers where the picture is black."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    from tapetum.methods.contract import Properties

    shape = ["batch", 3, "height", "width"]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("low", "enhanced")]
    graph = helper.make_graph(
        [helper.make_node("Div", ["low", "low"], ["enhanced"])], "divider", *[[v] for v in values]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"tapetum.properties": Properties(bytes_per_pixel=100).to_json()})
    onnx.save(model, tmp_path / "divider.onnx")
    return tmp_path / "divider.onnx"


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_one_failure_loses_nothing_else(divider: Path, tmp_path: Path) -> None:
    grey = np.full((20, 20, 3), 90, np.uint8)
    for name, low, target in (("black", grey * 0, grey), ("fine", grey, grey), ("size", grey, grey[:-1])):
        write(tmp_path / "low" / f"{name}.png", low)
        write(tmp_path / "target" / f"{name}.png", target)
    write(tmp_path / "low" / "torn.png", grey)
    write(tmp_path / "target" / "torn.png", grey)
    (tmp_path / "low" / "torn.png").write_bytes(b"no picture")
    plan = Plan((Model(str(divider)), Model("gamma")), (Data(low=tmp_path / "low", target=tmp_path / "target"),))
    results = run(plan, tmp_path / "out", tmp_path / "cache")
    said = {(f.model, f.name): f.reason for f in results.failures}
    assert "values that are no numbers" in said.pop(("divider", "black"))
    for model in ("divider", "gamma"):
        assert "20x20 pixels, and its target" in said.pop((model, "size"))
        assert "torn.png" in said.pop((model, "torn"))
    assert not said
    (table,) = results.tables
    assert [(line.summary.model, line.summary.pictures, line.complete) for line in table.lines] == [
        ("divider", 1, False),
        ("gamma", 2, False),
    ]
    assert not any(line.marks["psnr_rgb_uint8"] for line in table.lines), "nobody is best of what others lack"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["failures"]) == 5
    assert "(1 of 4 pictures)" in (tmp_path / "out" / "table.md").read_text()
    assert "no numbers" in (tmp_path / "out" / "report.html").read_text()
    with (tmp_path / "out" / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row["failure"]) for row in rows) == 5
    assert sum(bool(row["psnr_rgb_uint8"]) for row in rows) == 3


def test_files(finished: Any) -> None:
    names = {"report.html", "table.md", "table.csv", "pictures.csv", "report.json", "robustness.csv"}
    assert {path.name for path in finished.out.iterdir()} == names, "and nothing temporary"
    with (finished.out / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = finished.results.tables[0].lines[0].summary
    assert rows[0]["model"] == "gamma"
    assert float(rows[0]["mean"]) == pytest.approx(first.means["psnr_rgb_uint8"].value, abs=1e-6)
    assert len(rows) == sum(len(t.lines) * len(t.measures) for t in finished.results.tables)
    with (finished.out / "pictures.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 42
    report = json.loads((finished.out / "report.json").read_text())
    for fact in ("date", "commit", "versions", "machine", "data", "protocols", "gt_mean"):
        assert fact in report
    assert report["results"][0]["comparisons"]["psnr_rgb_uint8"][0]["first"] == "gamma"
    with (finished.out / "robustness.csv").open(newline="") as file:
        held = list(csv.DictReader(file))
    assert {row["model"] for row in held} == {model.title for model in finished.plan.models}
    assert len(held) == sum(len(each["means"]) for each in report["robustness"]["readings"])


def test_markdown_is_a_table_whatever_names_are(finished: Any) -> None:
    lines = (finished.out / "table.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    for _, table in groupby(lines, lambda line: line.startswith("| ")):
        assert len({line.replace("\\|", "").count("|") for line in table if line.startswith("| ")}) <= 1
    assert not any("<" in line for line in lines), "no HTML of anybody's"
    assert sum("**" in line for line in rows) >= 2


def test_the_best_is_marked(finished: Any) -> None:
    for table in finished.results.tables:
        for measure in table.measures:
            sign = -1 if measure.startswith("mae") else 1
            best = max(table.lines, key=lambda line: sign * line.summary.means[measure].value)
            assert best.marks[measure] == "best"
            others = {line.summary.model for line in table.lines if line.marks[measure] == "level"}
            level = {
                ({c.first, c.second} - {best.summary.model}).pop()
                for c in table.comparisons[measure]
                if best.summary.model in (c.first, c.second) and c.holm >= 0.05
            }
            assert others == level


def test_limit_and_an_out_that_is_a_file(finished: Any, tmp_path: Path) -> None:
    few = run(replace(finished.plan, limit=2), tmp_path / "out", finished.cache)
    assert all(table.pictures == 2 for table in few.tables)
    assert "the first 2 pictures" in (tmp_path / "out" / "table.md").read_text()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file, and the report is a folder"):
        run(finished.plan, tmp_path / "file", finished.cache)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_model_is_not_measured_on_what_it_was_trained_on(pairs: Path, tmp_path: Path) -> None:
    models = Model("gamma"), Model("clahe", leave_out=("seen eval15",))
    data = Data(pairs, label="seen"), Data(pairs, label="new")
    results = run(Plan(models, data, limit=1), tmp_path / "out", tmp_path / "cache")
    measured = {table.split: [line.summary.model for line in table.lines] for table in results.tables}
    assert measured == {"seen eval15": ["gamma"], "new eval15": ["gamma", "clahe"]}
    assert "clahe on seen eval15: trained on these scenes" in (tmp_path / "out" / "report.html").read_text()
    assert "- left out: clahe on seen eval15" in (tmp_path / "out" / "table.md").read_text()


def test_weights_that_saw_the_pictures_are_refused_unless_allowed(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "lol_v1").mkdir()
    shutil.copytree(pairs / "eval15", tmp_path / "lol_v1" / "our485")
    plan = Plan((Model("default-lolv1"),), (Data(tmp_path / "lol_v1", ("our485",)),), limit=1)
    with pytest.raises(UsageError, match=r"default-lolv1 was trained on scenes of lol_v1 our485 .*--allow-seen"):
        run(plan, tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    told: list[str] = []
    results = run(replace(plan, allow_seen=True), tmp_path / "out", tmp_path / "cache", tell=told.append)
    (line,) = results.facts["seen"]
    assert line in told
    assert "- mind: default-lolv1 was trained on scenes of" in (tmp_path / "out" / "table.md").read_text()
    left = replace(plan, models=(Model("gamma"), Model("default-lolv1", leave_out=("lol_v1 our485",))))
    assert run(left, tmp_path / "out", tmp_path / "cache").facts["seen"] == []


def test_memory_is_flat_over_the_pictures(tmp_path: Path) -> None:
    """Twenty pictures take no more than two, but for their figures."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    write(tmp_path / "a.png", pixels)
    store = open_store(tmp_path / "store")
    split = Split("s", ())

    def tasks(count: int) -> list[Task]:
        made = []
        for i in range(count):
            store.put(f"{i}", Prediction(random.random((120, 160, 3), np.float32), 0.1))
            pair = Pair(f"{i}", tmp_path / "a.png", tmp_path / "a.png", f"{i}")
            made.append(Task(split, pair, "strict", (), "gt_mean_mean", {"m": (str(store.folder), f"{i}")}))
        return made

    def peak(count: int) -> int:
        given = tasks(count)
        tracemalloc.start()
        try:
            assert all(found[0].row for found in list(measure_all(given, 1)))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is imported and kept at the first use
    assert peak(20) < peak(2) + 120 * 160 * 3 * 4, "less than one more picture"


def outcomes_of(values: dict[str, float], pictures: int = 8) -> list[Outcome]:
    """Of models that differ by the same on each picture."""
    made = []
    for model, value in values.items():
        for name in (f"p{i}" for i in range(pictures)):
            row = Row(model, "s", name, name, {"psnr_rgb_uint8": value + int(name[1:])}, None)
            made.append(Outcome("strict", model, "s", name, row))
    return made


def test_who_saw_the_scenes_is_marked_and_never_the_best() -> None:
    scenes = {"s": {f"p{i}": f"p{i}" for i in range(8)}}
    outcomes = outcomes_of({"a": 30, "b": 20, "c": 10})
    (table,) = tabulate(outcomes, ["a", "b", "c"], scenes, {("a", "s"), ("b", "another")})
    marks = {line.summary.model: (line.seen, line.marks["psnr_rgb_uint8"]) for line in table.lines}
    assert marks == {"a": (True, ""), "b": (False, "best"), "c": (False, "")}


def test_only_models_that_can_be_compared_are() -> None:
    """Others stand in the table, and neither in the matrix nor in the family that p-values are corrected for."""
    scenes = {"s": {f"p{i}": f"p{i}" for i in range(8)}}
    outcomes = outcomes_of({"taught": 30, "b": 20, "c": 10, "gaps": 5})[:-1]
    (table,) = tabulate(outcomes, ["taught", "b", "c", "gaps"], scenes, {("taught", "s")})
    assert [line.summary.model for line in table.lines] == ["taught", "b", "c", "gaps"]
    (alone,) = table.comparisons["psnr_rgb_uint8"]
    assert (alone.first, alone.second, alone.holm) == ("b", "c", alone.p)
    matrix = significance(table, "psnr_rgb_uint8")
    assert re.findall(r'<th scope="row">(\w+)<', matrix) == ["b", "c"]


def test_photographs_that_were_trained_on_are_refused(tmp_path: Path, pairs: Path) -> None:
    photograph = tmp_path / "data" / "clean" / "113009.png"  # one of BSDS500 that LightenDiffusion learnt from
    photograph.parent.mkdir(parents=True)
    shutil.copy(pairs / "eval15" / "high" / "a.png", photograph)
    spoiled = Photographs(photograph.parent)
    plan = Plan((Model("lightendiffusion-unpaired"),), (Data(pairs),), robustness=spoiled)
    says = r"lightendiffusion-unpaired was trained on scenes of the good photographs \(1 of 1 pictures\)"
    with pytest.raises(UsageError, match=says):
        run(plan, tmp_path / "out", tmp_path / "cache")
    allowed = replace(plan, models=(replace(plan.models[0], allow_seen=True),))
    lines, taught = what_was_seen(allowed, [], [photograph])
    assert len(lines) == 1
    assert taught == {("lightendiffusion-unpaired", "the good photographs")}


def test_a_late_failure_loses_nothing(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InputError("a.png: cannot be read")

    monkeypatch.setattr(robustness, "examine", fail)
    results = run(finished.plan, tmp_path / "out", finished.cache)
    assert figures(results) == figures(finished.results)
    assert [(f.split, f.reason) for f in results.failed] == [("photographs", "a.png: cannot be read")]
    assert "a.png: cannot be read" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_low_and_target_of_two_sizes_are_never_resized(pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs, tmp_path / "pairs")
    low = sorted((tmp_path / "pairs" / "eval15" / "low").iterdir())[0]
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(low)
    plan = Plan((Model("gamma"),), (Data(tmp_path / "pairs"),), ("retidiff_backlit",))
    results = run(plan, tmp_path / "out", tmp_path / "cache")
    (failure,) = results.failed
    assert "has 30x20 pixels, and its target" in failure.reason
