"""``tapetum enhance``: where results go, what is skipped, what is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_beside_the_input_by_default(tmp_path, tapetum, doubler, save, dark):
    result = tapetum("enhance", save("night.png"), "--model", doubler)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"written: {tmp_path / 'night-enhanced.png'}\n"
    assert np.array_equal(pixels(tmp_path / "night-enhanced.png"), np.minimum(dark.astype(int) * 2, 255))


def test_one_input_into_a_file_of_another_format(tmp_path, tapetum, doubler, save):
    result = tapetum("enhance", save("night.png"), "-o", tmp_path / "new" / "day.webp", "--model", doubler)
    assert result.code == 0
    with Image.open(tmp_path / "new" / "day.webp") as image:
        assert image.format == "WEBP"


def test_folders_keep_their_structure(tmp_path, tapetum, doubler, save):
    for name in ("in/a.png", "in/x/b.jpg", "in/x/y/c.png", "in/.hidden.png", "in/.cache/d.png"):
        save(name)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    flat = tapetum("enhance", tmp_path / "in", "-o", tmp_path / "flat", "--model", doubler)
    deep = tapetum("enhance", tmp_path / "in", "-r", "-o", tmp_path / "deep", "--model", doubler)
    assert (flat.code, deep.code) == (0, 0)
    assert files(tmp_path / "flat") == ["a.png"]
    assert files(tmp_path / "deep") == ["a.png", os.path.join("x", "b.jpg"), os.path.join("x", "y", "c.png")]


def test_patterns_that_the_shell_left_alone(tmp_path, tapetum, doubler, save):
    for name in ("in/a.png", "in/b.png", "in/c.jpg", "in/x/d.png"):
        save(name)
    inputs = tmp_path / "in" / "*.png", tmp_path / "in" / "a.png"
    assert tapetum("enhance", *inputs, "-o", tmp_path / "o", "--model", doubler).code == 0
    assert files(tmp_path / "o") == ["a.png", "b.png"], "a.png is named twice, and done once"
    result = tapetum("enhance", tmp_path / "in" / "*.gif", "--model", doubler)
    assert (result.code, len(result.errors)) == (1, 1)


def test_a_second_run_by_the_shells_pattern_or_ours(tmp_path, tapetum, doubler, save):
    save("in/a.png"), save("in/b.png")
    for _ in range(2):
        pictures = sorted((tmp_path / "in").glob("*.png"))  # as a shell expands *.png
        assert tapetum("enhance", *pictures, "--model", doubler).code == 0
    assert files(tmp_path / "in") == ["a-enhanced.png", "a.png", "b-enhanced.png", "b.png"]
    for _ in range(2):
        pattern = tmp_path / "in" / "**" / "?.png"
        assert tapetum("enhance", pattern, "-o", tmp_path / "in" / "out", "--model", doubler).code == 0
    assert files(tmp_path / "in" / "out") == ["a.png", "b.png"]
    result = tapetum("enhance", tmp_path / "in" / "?.png", "-o", tmp_path / "in", "--model", doubler)
    assert (result.code, "the output" in result.err) == (2, True)


def test_a_second_run_takes_no_result_for_an_input(tmp_path, tapetum, doubler, save):
    save("in/a.png"), save("in/b.png")
    for _ in range(2):
        assert tapetum("enhance", tmp_path / "in", "--compare", "--model", doubler).code == 0
        names = [
            "a-enhanced-compare.jpg",
            "a-enhanced.png",
            "a.png",
            "b-enhanced-compare.jpg",
            "b-enhanced.png",
            "b.png",
        ]
        assert files(tmp_path / "in") == names
    # the output folder inside of the input folder
    for _ in range(2):
        assert tapetum("enhance", tmp_path / "in", "-r", "-o", tmp_path / "in" / "out", "--model", doubler).code == 0
        assert not (tmp_path / "in" / "out" / "out").exists()


def test_results_beside_their_source_are_no_inputs_of_other_runs_either(tmp_path, tapetum, doubler, save):
    save("in/a.png"), save("in/mine-enhanced.png")  # the second is nobody's result
    for options in ([], ["-o", tmp_path / "out"], ["--suffix", "-bright"], ["--suffix", "-bright"]):
        result = tapetum("enhance", tmp_path / "in", *options, "--model", doubler, "--json")
        assert [Path(entry["input"]).name for entry in result.json["files"]] == ["a.png", "mine-enhanced.png"]
    command = ["enhance", tmp_path / "in" / "*.png", "--suffix", "-bright", "-o", tmp_path / "too", "--model", doubler]
    assert tapetum(*command).code == 0
    assert files(tmp_path / "too") == files(tmp_path / "out") == ["a.png", "mine-enhanced.png"]


def test_two_inputs_of_one_result_are_refused(tmp_path, tapetum, doubler, save):
    save("in/a.png"), save("in/a.gif")
    result = tapetum("enhance", tmp_path / "in", "--compare", "--model", doubler)
    assert (result.code, len(result.errors)) == (2, 1)
    assert "enhance them into two folders" in result.err
    assert files(tmp_path / "in") == ["a.gif", "a.png"]


def test_results_that_differ_in_their_ending_have_comparisons_of_their_own(tmp_path, tapetum, doubler, save):
    save("in/a.png"), save("in/a.tif"), save("in/b.png"), save("in/x/a.jpg")
    command = ["enhance", tmp_path / "in", "-r", "--compare", "--model", doubler]
    assert tapetum(*command, "-o", tmp_path / "out").code == 0
    comparisons = ["a-png-compare.jpg", "a-tif-compare.jpg", "b-compare.jpg", os.path.join("x", "a-compare.jpg")]
    assert files(tmp_path / "out") == sorted([*comparisons, "a.png", "a.tif", "b.png", os.path.join("x", "a.jpg")])
    for _ in range(2):  # and beside their sources they are no inputs
        assert tapetum(*command, "--json").json["failed"] == 0
        beside = {"a-enhanced-png-compare.jpg", "a-enhanced-tif-compare.jpg", "a-enhanced.png", "a-enhanced.tif"}
        assert {name for name in files(tmp_path / "in") if name.startswith("a-")} == beside


def test_and_spreads_of_their_own(tmp_path, save):
    from tapetum.cli.batch import Naming, plan

    jobs, _ = plan([str(save("a.png")), str(save("a.tif"))], str(tmp_path / "out"), Naming(samples=2))
    assert [job.spread.name for job in jobs] == ["a-png-spread.png", "a-tif-spread.png"]
    assert [job.samples[0].name for job in jobs] == ["a-sample1.png", "a-sample1.tif"]


def test_what_is_no_number_is_no_picture(tmp_path, tapetum, save):
    torch = pytest.importorskip("torch")
    from tapetum.methods.registry import create_model
    from tapetum.weights.loading import save_model

    network = create_model("retinexformer", {"n_feat": 4, "num_blocks": (1, 1, 1)})
    with torch.no_grad():
        next(network.parameters()).fill_(np.nan)
    weights = save_model(network, tmp_path / "broken.safetensors", {})
    source = save("in/night.png")
    result = tapetum("enhance", source, "--model", "retinexformer", "--weights", weights, "--device", "cpu")
    assert result.code == 1
    assert result.errors == [
        f"error: {source}: the model makes values of it that are no numbers (NaN or infinite): are its weights damaged?"
    ]
    assert files(tmp_path / "in") == ["night.png"]


def test_finished_ones_are_skipped_and_overwrite_redoes_them(tmp_path, tapetum, doubler, save):
    save("in/a.png"), save("in/b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"finished before")
    arguments = ["enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", doubler, "--json"]
    result = tapetum(*arguments)
    assert (result.json["done"], result.json["skipped"]) == (1, 1)
    assert (tmp_path / "out" / "a.png").read_bytes() == b"finished before"
    result = tapetum(*arguments)
    assert (result.code, result.json["done"], result.json["skipped"], result.json["engine"]) == (0, 0, 2, None)
    result = tapetum(*arguments, "--overwrite")
    assert (result.json["done"], result.json["skipped"]) == (2, 0)
    assert pixels(tmp_path / "out" / "a.png").shape == (48, 64, 3)


def test_strength(tmp_path, tapetum, doubler, save, dark):
    source = save("night.png")
    means = []
    for strength in (0, 0.5, 1):
        out = tmp_path / f"{strength}.png"
        assert tapetum("enhance", source, "-o", out, "--strength", str(strength), "--model", doubler).code == 0
        means.append(pixels(out).mean())
    assert means[0] == dark.mean()
    assert means[0] < means[1] < means[2]


def test_quality_and_max_pixels(tmp_path, tapetum, doubler, save):
    source = save("night.png")
    sizes = []
    for quality in (10, 95):
        out = tmp_path / f"{quality}.jpg"
        assert tapetum("enhance", source, "-o", out, "--quality", str(quality), "--model", doubler).code == 0
        sizes.append(out.stat().st_size)
    assert sizes[0] < sizes[1]
    result = tapetum("enhance", source, "--max-pixels", "3000", "--model", doubler)
    assert result.code == 1
    assert "--max-pixels" in result.errors[0]
    assert tapetum("enhance", source, "--max-pixels", "3072", "--model", doubler).code == 0


def test_comparison(tmp_path, tapetum, doubler, save, dark):
    result = tapetum("enhance", save("night.png"), "-o", tmp_path / "o", "--compare", "--model", doubler, "--json")
    (entry,) = result.json["files"]
    assert entry["comparison"] == str(tmp_path / "o" / "night-compare.jpg")
    both = pixels(tmp_path / "o" / "night-compare.jpg").astype(float)
    assert both.shape[0] == 48
    left, right = both[:24, :64], both[:24, -64:]  # above the labels
    assert abs(left - dark[:24]).mean() < 4
    assert abs(right - np.minimum(dark[:24].astype(int) * 2, 255)).mean() < 4


def test_a_missing_comparison_of_a_finished_picture_is_added(tmp_path, tapetum, doubler, save):
    sources, folder = [save("a.png"), save("b.png")], tmp_path / "o"
    command = ["enhance", *sources, "-o", folder, "--model", doubler]
    assert tapetum(*command).code == 0
    finished = (folder / "a.png").stat().st_mtime_ns
    result = tapetum(*command, "--compare")
    assert (result.code, files(folder)) == (0, ["a-compare.jpg", "a.png", "b-compare.jpg", "b.png"])
    assert "2 skipped (they exist; --overwrite redoes them), 2 before/after pictures added" in result.err
    assert (folder / "a.png").stat().st_mtime_ns == finished
    added = pixels(folder / "a-compare.jpg")
    assert tapetum(*command, "--compare", "--overwrite").code == 0
    assert np.array_equal(added, pixels(folder / "a-compare.jpg")), "the same as one written with its picture"
    (folder / "b-compare.jpg").unlink()
    entries = tapetum(*command, "--compare", "--json").json["files"]
    assert [(e["status"], "comparison" in e) for e in entries] == [("skipped", False), ("skipped", True)]
    alone = ["enhance", sources[1], "-o", folder, "--model", doubler, "--compare"]
    assert tapetum(*alone).err == f"skipped, it exists (--overwrite redoes it): {folder / 'b.png'}\n"
    (folder / "b-compare.jpg").unlink()
    assert tapetum(*alone).err.endswith(f"\nwritten: {folder / 'b-compare.jpg'}\n")


def test_a_comparison_needs_a_whole_output_of_the_same_size(tmp_path, tapetum, doubler, save, dark):
    source = save("a.png")
    save("o/a.png", dark[:10])
    result = tapetum("enhance", source, "-o", tmp_path / "o", "--compare", "--model", doubler)
    assert result.code == 1
    assert "has not the size of" in result.err
    output = tmp_path / "o" / "a.png"
    output.write_bytes(b"")
    result = tapetum("enhance", source, "-o", tmp_path / "o", "--compare", "--model", doubler)
    assert result.code == 1
    assert result.errors == [
        f"error: {output}: the file is empty (it is the finished output: --overwrite makes it anew)"
    ]
    assert files(tmp_path / "o") == ["a.png"]


def test_json_is_the_only_thing_on_stdout(tmp_path, tapetum, doubler, save):
    save("a.png")
    (tmp_path / "b.png").write_bytes(b"")
    result = tapetum("enhance", tmp_path, "--model", doubler, "--json")
    assert result.code == 1
    content = result.json
    assert {key: content[key] for key in ("done", "skipped", "failed", "stopped")} == {
        "done": 1,
        "skipped": 0,
        "failed": 1,
        "stopped": False,
    }
    assert [entry["status"] for entry in content["files"]] == ["done", "failed"]
    assert content["files"][1]["error"] in result.errors[0]


def test_a_fault_of_ours_is_one_line_and_the_rest_is_done(tmp_path, tapetum, doubler, save, monkeypatch):
    from tapetum import imaging

    read = imaging.read_picture

    def faulty(path, **options):
        if path.name == "a.png":
            raise ZeroDivisionError("division by zero")
        return read(path, **options)

    monkeypatch.setattr(imaging, "read_picture", faulty)
    save("in/a.png"), save("in/b.png")
    arguments = ["enhance", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(doubler)]
    result = tapetum(*arguments)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "unexpected ZeroDivisionError: division by zero" in result.errors[0]
    assert "Traceback" not in result.err
    assert files(tmp_path / "out") == ["b.png"]
    result = tapetum("--debug", *arguments)
    assert result.code == 1
    assert "Traceback" in result.err


def test_stopped_by_ctrl_c(tmp_path, tapetum, doubler, save, monkeypatch):
    from tapetum.cli import enhance

    do = enhance.do

    def stopped_at_b(enhancer, reading, quality, job, on_step):
        if job.source.name == "b.png":
            raise KeyboardInterrupt
        do(enhancer, reading, quality, job, on_step)

    for name in ("a", "b", "c"):
        save(f"in/{name}.png")
    arguments = ["enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", doubler, "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(enhance, "do", stopped_at_b)
        result = tapetum(*arguments)
    assert (result.code, result.json["stopped"], result.json["done"]) == (130, True, 1)
    assert "stopped: 1 of 3 are done" in result.err
    assert files(tmp_path / "out") == ["a.png"]
    result = tapetum(*arguments)
    assert (result.code, result.json["done"], result.json["skipped"]) == (0, 2, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_files(number, tmp_path, doubler, save):
    """A real process is interrupted in the middle of its work: every file is whole, none is left over."""
    big = np.random.default_rng(0).integers(0, 80, (600, 800, 3), np.uint8)
    count = 60
    source = save("in/0.png", big)
    for i in range(1, count):
        os.link(source, source.with_name(f"{i}.png"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tapetum", "enhance", source.parent, "-o", out, "--model", doubler]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not (out.is_dir() and len(list(out.glob("*.png"))) >= 2) and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    names = os.listdir(out)
    assert 2 <= len(names) < count
    assert all(name.endswith(".png") and not name.startswith(".") for name in names)
    for name in names:
        assert pixels(out / name).shape == big.shape
