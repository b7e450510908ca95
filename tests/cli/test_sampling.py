"""The options of models on the command line: files, seeds, samples, steps, and what is refused."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A picture that takes several tiles where memory is small."""
    columns = np.linspace(5, 80, 400)[None, :, None] * [1, 0.8, 0.6]
    pixels = np.broadcast_to(columns, (320, 400, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "night.png")
    return tmp_path / "night.png"


@pytest.fixture
def arguments(sampled) -> list[str]:
    return ["--model", sampled.name, "--weights", str(sampled.weights), "--device", "cpu"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_seed_makes_identical_files_and_another_one_others(tmp_path, tapetum, large, arguments):
    """Also in tiles: the memory is another for each, the picture the same but for one level of rounding."""
    files = []
    for number, options in enumerate(
        (
            ["--seed", "1"],
            ["--seed", "1"],
            ["--seed", "2"],
            ["--seed", "1", "--memory", "12MB"],
            ["--seed", "1", "--memory", "12MB"],
        )
    ):
        files.append(tmp_path / "out" / f"{number}.png")
        result = tapetum("enhance", large, "-o", files[-1], *arguments, "--steps", "3", *options, "--json")
        assert result.code == 0
        chosen = {"steps": 3, "eta": 0.0, "temperature": 1.0, "seed": int(options[1]), "samples": 1}
        assert result.json["options"] == chosen
    first, again, other, tiled, tiled_again = (path.read_bytes() for path in files)
    assert first == again
    assert tiled == tiled_again
    assert first != other
    difference = np.abs(pixels(files[0]).astype(int) - pixels(files[3]))
    assert difference.max() <= 1
    assert np.abs(pixels(files[0]).astype(int) - pixels(files[2])).max() > 10


def test_a_picture_does_not_depend_on_the_batch(tmp_path, tapetum, save, arguments):
    save("in/a.png"), save("in/b.png")
    assert tapetum("enhance", tmp_path / "in", "-o", tmp_path / "both", *arguments).code == 0
    assert tapetum("enhance", tmp_path / "in" / "b.png", "-o", tmp_path / "one.png", *arguments).code == 0
    assert (tmp_path / "both" / "b.png").read_bytes() == (tmp_path / "one.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--iterations", "3"], "sampled has no option iterations: it has steps, eta, temperature, seed, samples"),
        (["--task", "underwater"], "sampled has no option task: it has steps, eta, temperature, seed, samples"),
        (["--steps", "0"], "steps must be a whole number from 1 to 50, got 0"),
        (["--samples", "0"], "samples must be a whole number from 1 to 1000, got 0"),
        (["--temperature", "-1"], "temperature must be a number from 0 up, got -1.0"),
        (["--seed", "-1"], "seed must be a whole number from 0 to 18446744073709551615, got -1"),
    ],
)
@pytest.mark.parametrize("command", ["enhance", "evaluate"])
def test_wrong_options_are_wrong_usage(command, options, line, tmp_path, tapetum, save, arguments):
    folder = save("in/a.png").parent
    inputs = [folder, "-o", tmp_path / "out"] if command == "enhance" else ["--low", folder, "--target", folder]
    result = tapetum(command, *inputs, *arguments, *options)
    assert (result.code, result.err) == (2, f"error: {line}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["enhance", "evaluate"])
def test_models_without_options_say_so(command, tapetum, save, doubler):
    folder = save("in/a.png").parent
    inputs = [folder] if command == "enhance" else ["--low", folder, "--target", folder]
    result = tapetum(command, *inputs, "--model", doubler, "--steps", "5", "--seed", "1")
    assert (result.code, result.err) == (2, f"error: {doubler} has no option steps: it has none\n")


# samples


def test_samples_mean_and_spread(tmp_path, tapetum, save, arguments):
    source = save("in/night.png")
    result = tapetum("enhance", source, "-o", tmp_path / "out", *arguments, "--samples", "3", "--compare", "--json")
    names = [f"night-sample{number}.png" for number in (1, 2, 3)]
    expected = sorted([*names, "night.png", "night-spread.png", "night-compare.jpg"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == expected
    (entry,) = result.json["files"]
    assert entry["samples"] == [str(tmp_path / "out" / name) for name in names]
    assert entry["spread"] == str(tmp_path / "out" / "night-spread.png")
    samples = np.stack([pixels(tmp_path / "out" / name) for name in names]).astype(float)
    assert samples.std(0).max() > 5
    assert np.array_equal(pixels(tmp_path / "out" / "night.png"), np.rint(samples.mean(0)))
    spread = np.minimum(np.rint(8 * samples.std(0)), 255)
    assert np.array_equal(pixels(tmp_path / "out" / "night-spread.png"), spread)
    assert tapetum("enhance", source, "-o", tmp_path / "one.png", *arguments).code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "out" / names[0]).read_bytes()


def test_samples_of_a_folder_go_on_where_they_were(tmp_path, tapetum, save, arguments):
    save("in/a.png"), save("in/b.png")
    command = ["enhance", tmp_path / "in", *arguments, "--samples", "2", "--steps", "2", "--json"]
    assert tapetum(*command).json["done"] == 2
    names = sorted(path.name for path in (tmp_path / "in").iterdir())
    assert len(names) == 2 * 5
    (tmp_path / "in" / "b-enhanced.png").unlink()
    result = tapetum(*command)
    assert [entry["status"] for entry in result.json["files"]] == ["skipped", "done"], "and no result is an input"
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == names
    assert "samples" not in result.json["files"][0]
    more = tapetum(*command, "--samples", "3")
    assert [entry["status"] for entry in more.json["files"]] == ["done", "done"], "a third sample is wanted"


def test_samples_that_would_overwrite_an_input_are_refused(tmp_path, tapetum, save, arguments):
    save("a.png"), save("a-sample2.png")
    result = tapetum("enhance", tmp_path, "-o", tmp_path / "o", *arguments, "--samples", "2")
    assert result.code == 2
    assert "would both be written to" in result.err


def test_one_line_says_where_the_samples_are(tmp_path, tapetum, save, arguments):
    result = tapetum("enhance", save("a.png"), *arguments, "--samples", "2")
    output = tmp_path / "a-enhanced.png"
    spread = tmp_path / "a-enhanced-spread.png"
    assert result.err == f"written: {output}\nwritten: its 2 samples, and their spread: {spread}\n"


# steps


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_between_two_steps(tmp_path, tapetum, save, arguments, sampled, monkeypatch):
    """Not after the picture, which may take minutes: after the step in which it came. The same command goes on."""
    from tapetum import Enhancer

    samples, seen = Enhancer.samples, []

    def pressed_at_7(self, image, on_step):
        def tell(done, total):
            seen.append((done, total))
            if done == 7 and len(seen) > 50:
                os.kill(os.getpid(), signal.SIGINT)
            on_step(done, total)

        return samples(self, image, on_step=tell)

    save("in/a.png"), save("in/b.png")
    command = ["enhance", tmp_path / "in", "-o", tmp_path / "out", *arguments, "--steps", "50", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(Enhancer, "samples", pressed_at_7)
        result = tapetum(*command)
    assert (result.code, result.json["done"], result.json["stopped"]) == (130, 1, True)
    assert seen[-1] == (7, 50)
    assert os.listdir(tmp_path / "out") == ["a.png"]
    assert [entry["status"] for entry in tapetum(*command).json["files"]] == ["skipped", "done"]


def test_steps_are_shown(tapetum, save, arguments, monkeypatch):
    """On a terminal. Rich draws at most ten times a second, so the bar is asked what it was told."""
    from rich.progress import Progress

    shown: list[tuple[str, float, float]] = []
    update = Progress.update

    def noted(self, task, **fields):
        update(self, task, **fields)
        if fields.get("visible"):
            state = self.tasks[task]
            shown.append((state.description.strip(), state.completed, state.total))

    monkeypatch.setattr(Progress, "update", noted)
    assert tapetum("enhance", save("a.png"), *arguments, "--steps", "3", "--samples", "2").code == 0
    assert shown == [("steps", done, 6) for done in range(1, 7)]


# the other commands


def test_evaluate_measures_with_options(tmp_path, tapetum, save, arguments):
    folder, target = save("in/a.png").parent, tmp_path / "quiet"
    assert tapetum("enhance", folder, "-o", target, *arguments, "--temperature", "0").code == 0
    figures = {}
    for name, options in {
        "a": ["--seed", "1"],
        "again": ["--seed", "1"],
        "other": ["--seed", "2"],
        "mean": ["--seed", "1", "--samples", "4"],
    }.items():
        result = tapetum("evaluate", "--low", folder, "--target", target, *arguments, *options, "--json", "-")
        assert result.code == 0
        (row,) = result.json["results"]
        figures[name] = row["means"]["psnr_rgb_uint8"]["value"]
        chosen = ",".join(f"{a[2:]}={b}" for a, b in zip(options[::2], options[1::2], strict=True))
        assert row["model"] == f"sampled:sampled:{chosen}"
    assert figures["a"] == figures["again"] != figures["other"]
    assert figures["mean"] > figures["a"] + 2, "noise averages out"


def test_evaluate_options_fit_one_model(tapetum, save, arguments):
    folder = save("in/a.png").parent
    command = ["evaluate", "--low", folder, "--target", folder, "--model", "default", "--model", "sampled"]
    result = tapetum(*command, "--steps", "2")
    assert (result.code, result.err) == (2, "error: --steps fits one --model\n")
    result = tapetum("evaluate", "--low", folder, "--target", folder, "--predictions", folder, "--seed", "2")
    assert result.code == 2
    assert "--predictions takes the place of --model, its options" in result.err


def test_models_list_their_options(tapetum, sampled):
    rows = {row["name"]: row for row in tapetum("models", "--json").json["models"]}
    assert [option["name"] for option in rows["sampled"]["options"]] == [
        "steps",
        "eta",
        "temperature",
        "seed",
        "samples",
    ]
    assert rows["sampled"]["options"][0] == {
        "name": "steps",
        "default": 4,
        "help": "steps of the sampler",
        "minimum": 1,
        "maximum": 50,
        "choices": [],
        "allowed": "a whole number from 1 to 50",
    }
    assert rows["default"]["options"] == rows["twilight"]["options"] == []
    # those of what the name stands for, not of the method's default configuration
    assert rows["lightendiffusion"]["options"] == rows["lightendiffusion-unpaired"]["options"]
    text = tapetum("models", "sampled").out
    assert re.search(r"--temperature +1\.0 +a number from 0 up +how far samples differ", text)
    assert tapetum("models", "default").out == "default: no options\n"
    result = tapetum("models", "nonsense")
    assert (result.code, len(result.errors)) == (2, 1)


@pytest.mark.parametrize(
    ("name", "reason"), [("sampled", "it is sampled in a loop"), ("mamballie", "its scan is no ONNX operator")]
)
def test_export_refuses_what_is_declared_to_have_no_form(name, reason, tmp_path, tapetum, sampled):
    result = tapetum("export", name, tmp_path / "x.onnx")
    assert result.code == 2
    assert result.errors == [f"error: {name}: has no ONNX form ({reason}): it runs in the torch engine only"]
    assert not list(tmp_path.glob("*.onnx"))


def test_lightendiffusion(tmp_path, tapetum, large, make_lively):
    """The real method, small, from the command line: tiles, seeds, steps."""
    pytest.importorskip("torch")
    from tapetum import Enhancer, create_model
    from tapetum.weights.loading import save_model

    network = make_lively(lambda: create_model("lightendiffusion", "tiny"), by=0.1)
    weights = save_model(network, tmp_path / "tiny.safetensors", {})
    Image.fromarray(pixels(large)[:160, :176]).save(tmp_path / "small.png")
    needed = 8 * 10**6 + 128 * 128 * network.properties.bytes_per_pixel  # a tile, and what the blocks take
    assert not Enhancer(network, memory=needed)._plan(160, 176).whole
    outputs = []
    for number, seed in enumerate((1, 1, 2)):
        outputs.append(tmp_path / f"{number}.png")
        options = ["--model", "lightendiffusion", "--weights", weights, "--steps", "2", "--seed", str(seed)]
        limits = ["--device", "cpu", "--memory", str(needed), "--json"]
        result = tapetum("enhance", tmp_path / "small.png", "-o", outputs[-1], *options, *limits)
        assert result.code == 0, result.err
        assert result.json["options"]["steps"] == 2
    together = tapetum("enhance", tmp_path / "small.png", *options, "--sampler", "dpm++", "--eta", "0.5")
    assert (together.code, together.errors) == (
        2,
        ["error: eta is an option of the ddim sampler, dpm++ injects no noise"],
    )
    first, again, other = (path.read_bytes() for path in outputs)
    assert first == again
    assert first != other
