"""``tapetum segment-eval`` from two folders to a table: a segmenter that finds things where they are bright enough."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")


@pytest.fixture
def night(tmp_path):
    """Pictures of a bright thing, darkened, with labels; and a network that asks whether a place is bright."""
    rng = np.random.default_rng(0)
    for number in range(3):
        top, left = rng.integers(8, 40, 2)
        labels = np.zeros((96, 128), np.uint8)
        labels[top : top + 40, left : left + 60] = 1
        bright = np.where(labels[..., None] == 1, 215.0, 60.0) + rng.normal(0, 4, (96, 128, 3))
        labels[:4] = 255
        for folder, pixels in (("rgb", bright * 0.2), ("gt", labels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / folder / f"{number}.png")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.stack([np.full((3, 1, 1), -1 / 3), np.full((3, 1, 1), 1 / 3)]).astype(np.float32)
    constants = [
        onnx.numpy_helper.from_array(weights, "w"),
        onnx.numpy_helper.from_array(np.array([0.5, -0.5], np.float32), "b"),
    ]
    node = helper.make_node("Conv", ["images", "w", "b"], ["scores"])
    images = helper.make_tensor_value_info("images", floats, [1, 3, "h", "w"])
    graph = helper.make_graph([node], "g", [images], [helper.make_tensor_value_info("scores", floats, None)], constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx"
    )
    (tmp_path / "classes.txt").write_text("ground 0 80 0\nthing 200 0 0\n")
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    given = ["--pictures", folder / "rgb", "--labels", folder / "gt", "--segmenter", folder / "net.onnx"]
    given += ["--classes", folder / "classes.txt", "--cache", folder / "cache"]
    return ["segment-eval", *map(str, given), *more]


def test_what_enhancement_does(tapetum, night):
    files = ("--csv", str(night / "t.csv"), "--json", str(night / "t.json"), "--save", str(night / "seen"))
    done = tapetum(*command(night, *files))
    assert done.code == 0, done.out + done.err
    with (night / "t.csv").open() as stream:
        rows = {(r["name"], r["class"]): r for r in csv.DictReader(stream)}
    assert float(rows["dark", "thing"]["iou"]) == 0  # nothing is bright enough
    assert float(rows["default", "thing"]["iou"]) > 0.9
    assert int(rows["dark", "mean"]["pixels"]) == 3 * 92 * 128  # the first rows do not count
    report = json.loads((night / "t.json").read_text())
    assert [each["name"] for each in report["results"]] == ["dark", "default"]
    assert report["results"][1]["mean_iou"] > report["results"][0]["mean_iou"] + 0.3
    assert sorted(p.name for p in (night / "seen").iterdir()) == ["0-default.jpg", "1-default.jpg", "2-default.jpg"]
    assert "IoU dark" in done.out + done.err
    assert len(list((night / "cache").rglob("*.png"))) == 3


def test_mistakes_are_one_line(tapetum, night):
    Image.new("L", (8, 8)).save(night / "gt" / "1.png")
    done = tapetum(*command(night))
    assert done.code == 1
    assert "1.png: 8x8 pixels, and the picture" in done.out + done.err
    (night / "gt" / "1.png").unlink()
    done = tapetum(*command(night))
    assert done.code == 1
    assert "1.png: no labels for it" in done.out + done.err
    Image.new("L", (128, 96), 255).save(night / "gt" / "1.png")
    for number in (0, 2):
        Image.new("L", (128, 96), 255).save(night / "gt" / f"{number}.png")
    done = tapetum(*command(night))
    assert done.code == 1
    assert "no pixel has a class" in done.out + done.err
    assert tapetum(*command(night, "--model", "clahe", "--weights", "x")).code == 2


def test_in_the_report_of_a_benchmark(tapetum, night):
    """The same figures in every file of the report, and the pictures in the page."""
    pytest.importorskip("pydantic")
    settings = f"pictures: {night / 'rgb'}\n  labels: {night / 'gt'}\n  segmenter: {night / 'net.onnx'}"
    data = f"data: [{{low: {night / 'rgb'}, target: {night / 'rgb'}}}]"
    file = night / "b.yaml"
    file.write_text(
        f"models: [default, gamma]\n{data}\nsegmentation:\n  {settings}\n  classes: {night / 'classes.txt'}\n"
    )
    done = tapetum("benchmark", file, "-o", night / "out", "--cache", night / "cache")
    assert done.code == 0, done.err
    found = json.loads((night / "out" / "report.json").read_text())["segmentation"]["results"]
    alone = json.loads(tapetum(*command(night, "--model", "default", "--model", "gamma", "--json", "-")).out)["results"]
    assert found == alone
    assert [each["name"] for each in found] == ["dark", "default", "gamma"]
    cell = f"{100 * found[1]['mean_iou']:.1f}"
    assert f"| default | {cell} |" in (night / "out" / "table.md").read_text()
    page = (night / "out" / "report.html").read_text().partition('id="segmentation"')[2].partition("</section>")[0]
    assert f"<td>{cell}</td>" in page
    assert page.count("<img") == 3 * 4  # dark, two models, labels
    (night / "net.onnx").unlink()
    done = tapetum("benchmark", file, "-o", night / "out", "--cache", night / "cache")
    assert done.code == 2
    assert "net.onnx: no such file" in done.err
    file.write_text(f"{file.read_text()}  normalize: imagenet\n")
    done = tapetum("benchmark", file, "-o", night / "out", "--cache", night / "cache")
    assert done.code == 2
    assert "segmentation.normalize: unknown key, perhaps normalise" in done.err
