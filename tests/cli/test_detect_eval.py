"""``tapetum detect-eval`` from a folder of dark pictures to a table, with a real detector that is trained here."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.data.detection import Box, LabelledPicture, write_yolo_annotation
from tapetum.data.synthesis import LINEAR_OF_BYTE, Darkening, Noise, add_noise, darken, to_srgb_bytes

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("faster_coco_eval")

SIDE = 64
STRIDE = 8
CLASSES = ("square", "disc")
PICTURES = 16


def scene(random: np.random.Generator, height: int = SIDE, width: int = SIDE) -> tuple[np.ndarray, tuple[Box, ...]]:
    """A picture with a square and a disc, or one of both, on a ground of another colour."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = random.uniform(20, 100, 3)
    boxes: list[Box] = []
    rows, columns = np.mgrid[:height, :width]
    for _ in range(random.integers(1, 3)):
        size = int(random.integers(12, 25))
        left, top = int(random.integers(0, width - size)), int(random.integers(0, height - size))
        if any(abs(b.left - left) < 26 and abs(b.top - top) < 26 for b in boxes):
            continue
        category = int(random.integers(0, 2))
        inside = (rows >= top) & (rows < top + size) & (columns >= left) & (columns < left + size)
        if category == 1:
            middle = (size - 1) / 2
            inside &= (rows - top - middle) ** 2 + (columns - left - middle) ** 2 <= (size / 2) ** 2
        image[inside] = random.uniform(140, 240, 3)
        boxes.append(Box(category, left, top, size, size))
    image += random.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), tuple(boxes)


def make_network() -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    before = 3
    for channels, stride in ((12, 2), (24, 2), (32, 2), (32, 1)):
        layers += [torch.nn.Conv2d(before, channels, 3, stride, 1), torch.nn.ReLU()]
        before = channels
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(before, 5 + len(CLASSES), 1))


def targets(boxes: tuple[Box, ...]) -> np.ndarray:
    """Per cell of the grid: x and y in it, width and height in parts of the picture, object, classes."""
    cells = SIDE // STRIDE
    truth = np.zeros((5 + len(CLASSES), cells, cells), np.float32)
    for box in boxes:
        x, y = (box.left + box.width / 2) / STRIDE, (box.top + box.height / 2) / STRIDE
        column, row = min(int(x), cells - 1), min(int(y), cells - 1)
        truth[:5, row, column] = x - column, y - row, box.width / SIDE, box.height / SIDE, 1
        truth[5 + box.category, row, column] = 1
    return truth


class Exported(torch.nn.Module):
    """The network with boxes in pixels, in one of the usual layouts."""

    def __init__(self, network: torch.nn.Module, layout: str) -> None:
        super().__init__()
        self.network = network
        self.layout = layout
        cells = SIDE // STRIDE
        rows, columns = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        self.register_buffer("corners", torch.stack([columns, rows]).float() * STRIDE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raw = self.network(images).sigmoid()
        places = torch.cat([raw[:, :2] * STRIDE + self.corners, raw[:, 2:4] * SIDE], dim=1)
        if self.layout == "objectness":
            return torch.cat([places, raw[:, 4:]], dim=1).flatten(2).transpose(1, 2)
        return torch.cat([places, raw[:, 5:] * raw[:, 4:5]], dim=1).flatten(2)


@pytest.fixture(scope="module")
def detectors(tmp_path_factory) -> dict[str, Path]:
    """A detector that was trained on well-lit pictures for a few seconds, in two layouts."""
    folder = tmp_path_factory.mktemp("detectors")
    random = np.random.default_rng(3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make_network()
        scenes = [scene(random) for _ in range(256)]
        images = torch.from_numpy(np.stack([s[0] for s in scenes])).permute(0, 3, 1, 2).float() / 255
        truths = torch.from_numpy(np.stack([targets(s[1]) for s in scenes]))
        optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
        steps = 300
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, steps)
        for _ in range(steps):
            chosen = torch.from_numpy(random.integers(0, len(scenes), 16))
            raw, truth = network(images[chosen]), truths[chosen]
            there = truth[:, 4:5]
            entropy = torch.nn.functional.binary_cross_entropy_with_logits
            loss = (
                entropy(raw[:, 4:5], there) * 4 + (entropy(raw[:, 5:], truth[:, 5:], reduction="none") * there).mean()
            )
            loss = loss + ((raw[:, :4].sigmoid() - truth[:, :4]).abs() * there).sum() / there.sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        network.eval()
        files = {}
        for layout in ("objectness", "classes"):
            files[layout] = folder / f"{layout}.onnx"
            example = (torch.zeros(1, 3, SIDE, SIDE),)
            torch.onnx.export(Exported(network, layout).eval(), example, files[layout], dynamo=True, verbose=False)
    return files


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of a night, four stops too dark, with YOLO text."""
    random = np.random.default_rng(11)
    place = tmp_path_factory.mktemp("night")
    (place / "images" / "test").mkdir(parents=True)
    (place / "labels" / "test").mkdir(parents=True)
    (place / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    for index in range(PICTURES):
        image, boxes = scene(random, 48, 64)
        linear = darken(LINEAR_OF_BYTE[image], Darkening(4))
        dark = to_srgb_bytes(add_noise(linear, Noise(2e-4, 1e-3), np.random.default_rng(index)))
        path = place / "images" / "test" / f"{index:02}.png"
        Image.fromarray(dark).save(path)
        write_yolo_annotation(LabelledPicture(path, 64, 48, boxes), place / "labels" / "test" / f"{index:02}.txt")
    return place


@pytest.fixture
def command(tapetum, folder, detectors, tmp_path):
    """Runs detect-eval on the dark pictures, with a cache of its own."""

    def run(*arguments, data=folder, detector=detectors["objectness"]):
        options = () if "--cache" in arguments else ("--cache", tmp_path / "cache")
        return tapetum("detect-eval", data, "--detector", detector, *options, *arguments)

    return run


def means(report) -> dict[str, float]:
    return {result["name"]: result["scores"][-1]["ap50"] for result in report["results"]}


def test_dark_and_enhanced_side_by_side(command, model, doubler, tmp_path, record_property):
    """The whole way: a table, its files, and pictures with boxes."""
    result = command(
        *("--split", "test", "--model", model, "--model", doubler),
        *("--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json"),
        *("--pictures", tmp_path / "seen", "--examples", "3"),
    )
    assert result.code == 0, result.err
    assert "16 pictures (test), layout objectness, input 64x64" in result.err
    report = json.loads((tmp_path / "a.json").read_text())
    name = Path(model).stem
    assert [r["name"] for r in report["results"]] == ["dark", name, "doubler"]
    figures = means(report)
    record_property("note", "detector of shapes, AP50 of 16 pictures: " + json.dumps(figures))
    assert figures["dark"] < 0.2
    if name == "default":
        assert figures["default"] > figures["dark"] + 0.2
    lines = result.out.splitlines()
    assert lines[0].split()[:4] == ["class", "objects", "AP50", "dark"]
    assert [line.split()[0] for line in lines[1:]] == [*CLASSES, "mean"]
    assert lines[-1].split()[2] == f"{100 * figures['dark']:.1f}"
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [(r["name"], r["class"]) for r in rows[:3]] == [("dark", "square"), ("dark", "disc"), ("dark", "mean")]
    assert len(rows) == 9
    assert float(rows[5]["ap50"]) == pytest.approx(figures[name], abs=1e-6)
    seen = sorted(path.name for path in (tmp_path / "seen").iterdir())
    assert seen == sorted(f"{stem}-{each}.jpg" for stem in ("00", "05", "10") for each in (name, "doubler"))
    with Image.open(tmp_path / "seen" / f"00-{name}.jpg") as picture:
        assert picture.width > 2 * 64
        assert picture.height == 48


def test_in_the_report_of_a_benchmark(tapetum, command, model, folder, detectors, dark, tmp_path):
    """The same figures as alone, in every file of the report, with boxes in the page's pictures."""
    pytest.importorskip("pydantic")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(dark).save(tmp_path / "pictures" / "a.png")
    file = tmp_path / "b.yaml"
    settings = f"{{folder: {folder}, split: test, detector: {detectors['objectness']}}}"
    data = f"{{low: {tmp_path / 'pictures'}, target: {tmp_path / 'pictures'}}}"
    file.write_text(f"models: [{model}]\ndata: [{data}]\ndetection: {settings}\n")
    done = tapetum("benchmark", file, "-o", tmp_path / "out", "--cache", tmp_path / "cache")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())["detection"]
    alone = json.loads(command("--split", "test", "--model", model, "--json", "-").out)
    assert report == alone
    best = means(report)[Path(model).stem]
    assert f"| {Path(model).stem} | {100 * best:.1f} |" in (tmp_path / "out" / "table.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text().partition('id="detection"')[2].partition("</section>")[0]
    assert page.count("<img") == 2 * 4
    file.write_text(file.read_text().replace(f"[{model}]", f"[{{name: {model}, label: dark}}]"))
    done = tapetum("benchmark", file, "-o", tmp_path / "out", "--cache", tmp_path / "cache")
    assert done.code == 2
    assert "no model may be called dark" in done.err


def test_other_layouts_of_one_network_agree(command, detectors):
    """Boxes with objectness, and scores that contain it, are the same detections."""
    reports = [command("--json", "-", "--limit", "4", detector=path).json for path in detectors.values()]
    assert [report["detector"]["layout"] for report in reports] == ["objectness", "classes"]
    first, second = (report["results"][1]["scores"][-1] for report in reports)
    assert first["found"] == second["found"] > 0
    assert first["ap50_95"] == pytest.approx(second["ap50_95"], abs=1e-3)


def test_the_detector_finds_what_is_lit(command, tmp_path, record_property):
    """What the figures are to be measured against: the same scenes before they were darkened."""
    random = np.random.default_rng(11)
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    (tmp_path / "classes.txt").write_text("square\ndisc\n")
    for index in range(PICTURES):
        image, boxes = scene(random, 48, 64)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        labelled = LabelledPicture(tmp_path / "images" / f"{index}.png", 64, 48, boxes)
        write_yolo_annotation(labelled, tmp_path / "labels" / f"{index}.txt")
    figures = means(command("--json", "-", data=tmp_path).json)
    record_property("note", f"detector of shapes, AP50 of the same scenes when lit: {figures['dark']:.3f}")
    assert figures["dark"] > 0.4


def test_a_stopped_run_goes_on(command, doubler, folder, tmp_path):
    """Pictures that are enhanced stay so; others are known by their content and that of the model."""
    cache = tmp_path / "kept"
    arguments = ("--model", doubler, "--cache", cache, "--json", "-")
    command(*arguments, "--limit", "5")
    first = {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")}
    assert len(first) == 5
    whole = command(*arguments)
    second = {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")}
    assert len(second) == PICTURES
    assert {path: second[path] for path in first} == first
    assert command(*arguments).json == whole.json
    copy = tmp_path / "other.onnx"
    copy.write_bytes(doubler.read_bytes())
    command("--model", copy, "--cache", cache, "--limit", "3")  # the same content under another name
    assert len(list(cache.rglob("*.png"))) == PICTURES


def test_a_detector_that_knows_more(command, tmp_path):
    """Its classes are given by name: in another order, with some that the data set has not."""
    names = tmp_path / "names.txt"
    names.write_text("disc\nsquare\n")
    plain, swapped = command("--json", "-").json, command("--json", "-", "--classes", names).json
    found = [{score["name"]: score["found"] for score in r["results"][1]["scores"]} for r in (plain, swapped)]
    assert found[0]["square"] != found[0]["disc"]
    assert (found[1]["square"], found[1]["disc"]) == (found[0]["disc"], found[0]["square"])


@pytest.fixture
def data(tmp_path) -> Path:
    """One picture of ExDark's kind, with its twelve classes."""
    place = tmp_path / "exdark"
    for part in ("ExDark/Car", "ExDark_Annno/Car"):
        (place / part).mkdir(parents=True)
    Image.fromarray(np.full((48, 64, 3), 30, np.uint8)).save(place / "ExDark/Car/2015_02500.png")
    (place / "ExDark_Annno/Car/2015_02500.png.txt").write_text("% bbGt version=3\nCar 4 4 20 30 0 0 0 0 0 0 0\n")
    (place / "imageclasslist.txt").write_text(
        "Name | Class | Light | In/Out | Train/Val/Test\n2015_02500.png 5 1 2 3\n"
    )
    return place


def one_line(result, code: int, *words: str) -> None:
    assert result.code == code, result.err
    (line,) = result.errors
    assert line == result.err.strip()
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("Lorry 4 4 20 30", ("2015_02500.png.txt, line 2", "unknown class 'Lorry'")),
        ("Car 50 4 20 30", ("2015_02500.png.txt, line 2", "lies outside of the picture, which has 64x48 pixels")),
    ],
)
def test_bad_annotations(tapetum, command, data, annotation, words, tmp_path):
    (data / "ExDark_Annno/Car/2015_02500.png.txt").write_text(f"% bbGt version=3\n{annotation} 0 0 0 0 0 0 0\n")
    one_line(command(data=data), 1, *words)
    one_line(tapetum("labels", "convert", data, tmp_path / "x.json"), 1, *words)
    assert not (tmp_path / "x.json").exists()


def test_a_split_with_missing_pictures(tapetum, command, data, tmp_path):
    with (data / "imageclasslist.txt").open("a") as file:
        file.write("2015_02501.jpg 5 1 2 3\n")
    words = ("imageclasslist.txt: 1 of the 2 pictures of test are not in", "the first is 2015_02501.jpg")
    one_line(command("--split", "test", data=data), 1, *words)
    one_line(tapetum("labels", "convert", data, tmp_path / "yolo", "--split", "test"), 1, *words)


def test_another_number_of_classes(command, data):
    words = (
        "objectness.onnx: outputs (1, 64, 7) are those of a detector with 2 classes and objectness",
        "12 are wanted",
    )
    one_line(command(data=data), 2, *words)


def test_an_unknown_layout(command, doubler, data):
    """A network that is no detector: the line says the shapes."""
    one_line(command(data=data, detector=doubler), 2, "outputs (1, 3, 640, 640) have no known layout (objectness,")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layout", "yolo"), "unknown layout 'yolo'"),
        (("--layout", "classes"), "are not of the layout classes with 2 classes"),
        (("--size", "100"), "must be a multiple of 32"),
        (("--size", "96"), "takes pictures of 64x64 pixels only, not 96x96"),
        (("--split", "tset"), "unknown split 'tset'"),
        (("--model", "nothing"), "unknown model 'nothing'"),
        (("--model", "default", "--model", "x.onnx", "--weights", "w"), "--weights fits one --model"),
        (("--csv", "no/such/file.csv"), "there is no folder"),
        (("--detector-device", "tpu"), "no device 'tpu'"),
        (("--confidence", "2"), "--confidence"),
    ],
)
def test_wrong_usage(command, arguments, words):
    one_line(command(*arguments), 2, words)


def test_files_that_are_no_detectors(command, tmp_path):
    one_line(command(detector=tmp_path / "none.onnx"), 2, "none.onnx: no such file")
    (tmp_path / "text.onnx").write_text("no")
    one_line(command(detector=tmp_path / "text.onnx"), 2, "text.onnx: no ONNX file that can be run")


def test_without_the_extra(command, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    one_line(command(), 2, "detect-eval needs faster_coco_eval", "pip install 'tapetum[detect]'")


def test_labels_convert(tapetum, data, tmp_path):
    """ExDark's own annotations become what trainers take."""
    done = tapetum("labels", "convert", data, tmp_path / "test.json", "--split", "test")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[0] == "test: 1 pictures, 1 boxes of 12 classes"
    content = json.loads((tmp_path / "test.json").read_text())
    assert content["images"][0]["file_name"] == "ExDark/Car/2015_02500.png"
    assert content["annotations"][0]["bbox"] == [4, 4, 20, 30]
    assert content["categories"][4]["name"] == "Car"
    assert tapetum("labels", "convert", data, tmp_path / "yolo", "--split", "test").code == 0
    x, y, width, height = (4 + 10) / 64, (4 + 15) / 48, 20 / 64, 30 / 48
    text = (tmp_path / "yolo/labels/test/2015_02500.txt").read_text()
    assert text == f"4 {x:.8f} {y:.8f} {width:.8f} {height:.8f}\n"


def test_labels_convert_refuses(tapetum, data, tmp_path):
    arguments = ("labels", "convert", data)
    one_line(tapetum(*arguments, tmp_path / "a.json", "--split", "test", "--split", "val"), 2, "give one --split")
    one_line(tapetum(*arguments, data), 2, "the data set itself")
    one_line(tapetum("labels", "convert", tmp_path / "nowhere", tmp_path / "x"), 1, "no such folder of a data set")
    one_line(tapetum(*arguments, tmp_path / "out.txt"), 2, "choose a name ending in .json, or a folder")
    for name, there in (("a.json", "a.json"), ("yolo", "yolo/mine.txt")):
        (tmp_path / there).parent.mkdir(exist_ok=True)
        (tmp_path / there).write_text("mine")
        one_line(tapetum(*arguments, tmp_path / name), 2, "exists: --overwrite replaces it")
        assert (tmp_path / there).read_text() == "mine"
        assert tapetum(*arguments, tmp_path / name, "--overwrite").code == 0
    data_yaml = (tmp_path / "yolo" / "data.yaml").read_text()
    assert "train: images/all\nval: images/all\n" in data_yaml
