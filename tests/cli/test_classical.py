"""Methods without a network on the command line."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tapetum.methods.registry import CLASSICAL_METHODS


@pytest.mark.parametrize("name", CLASSICAL_METHODS)
def test_enhance(name, tapetum, save, dark):
    path = save("night.png")
    result = tapetum("enhance", path, "--model", name)
    assert result.code == 0, result.err
    with Image.open(path.with_name("night-enhanced.png")) as image:
        assert np.asarray(image).mean() > dark.mean()


def test_evaluate(tapetum, save, dark, tmp_path):
    save("low/a.png"), save("target/a.png", np.minimum(dark * 2.0, 255).astype(np.uint8))
    arguments = ["--low", tmp_path / "low", "--target", tmp_path / "target", "--json", "-"]
    result = tapetum("evaluate", *arguments, "--model", "gamma", "--model", "clahe")
    assert [entry["model"] for entry in result.json["results"]] == ["gamma", "clahe"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        tapetum("enhance", "low", "-o", "stored", "--model", "clahe")
    stored = tapetum("evaluate", *arguments, "--predictions", tmp_path / "stored").json["results"][0]
    for measure, mean in result.json["results"][1]["means"].items():
        assert stored["means"][measure]["value"] == pytest.approx(mean["value"], abs=0.1 if "psnr" in measure else 1e-3)


def test_models_lists_them(tapetum):
    rows = {row["name"]: row for row in tapetum("models", "--json").json["models"]}
    for name in CLASSICAL_METHODS:
        expected = {"method": "classical", "parameters": 0, "licence": None, "weights": None, "options": []}
        assert rows[name] == {"name": name, **expected}
    assert "none needed" in tapetum("models").out
    assert tapetum("models", "clahe").out == "clahe: no options\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["enhance", "{picture}", "--model", "clahe", "--weights", "x.pth"],
            "clahe is no network: it takes no weights",
        ),
        (["enhance", "{picture}", "--model", "gamma", "--steps", "3"], "gamma has no option steps: it has none"),
        (["enhance", "{picture}", "--model", "lime", "--device", "cuda"], "lime runs on the processor only"),
        (["export", "histeq", "out.onnx"], "histeq is no network: it has no ONNX form"),
    ],
)
def test_wrong_usage(arguments, words, tapetum, save):
    picture = str(save("night.png"))
    result = tapetum(*(argument.format(picture=picture) for argument in arguments))
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert words in result.err
