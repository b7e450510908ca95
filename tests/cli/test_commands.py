"""The other commands: models, info, weights, export, train, evaluate; and what they say."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import pyvips
from PIL import Image

import tapetum as package


def test_version_and_help(tapetum):
    assert tapetum("--version").out == f"tapetum {package.__version__}\n"
    help_text = tapetum("--help").out
    for command in ("enhance", "models", "weights", "export", "train", "evaluate", "info"):
        assert f"  {command} " in help_text
    assert "--strength" in tapetum("enhance", "--help").out


def test_no_command_and_unknown_command(tapetum):
    assert tapetum().code == 2
    result = tapetum("enhence")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "enhence" in result.err


def test_models_lists_every_name(tapetum):
    rows = {row["name"]: row for row in tapetum("models", "--json").json["models"]}
    assert list(rows) == package.list_models()
    pytest.importorskip("torch")
    for name, row in rows.items():
        if row["method"] == "classical":
            assert row["parameters"] == 0
            continue
        network = package.create_model(name)
        assert row["parameters"] == sum(parameter.numel() for parameter in network.parameters()), name
    text = tapetum("models").out
    assert all(name in text for name in rows)


def test_info(tapetum):
    facts = tapetum("info", "--json").json
    assert facts["tapetum"] == package.__version__
    assert facts["cores"] >= 1
    assert "CPUExecutionProvider" in facts["onnxruntime_providers"]
    assert facts["libvips"] in tapetum("info").out


def test_import_and_inspect_weights(tmp_path, tapetum):
    torch = pytest.importorskip("torch")
    from tapetum.methods.registry import create_model

    network = create_model("retinexformer")
    file = tmp_path / "published.pth"
    torch.save({"params": {f"module.{key}": value for key, value in network.state_dict().items()}}, file)
    facts = tapetum("weights", "inspect", file, "--json").json
    assert facts["method"] == "retinexformer"
    result = tapetum("weights", "import", file)
    assert result.code == 0
    target = tmp_path / "published.safetensors"
    assert tapetum("weights", "inspect", target, "--json").json["method"] == "retinexformer"
    again = tapetum("weights", "import", file)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert tapetum("weights", "import", file, "--overwrite").code == 0
    source = tmp_path / "dark.png"
    Image.fromarray(np.full((24, 32, 3), 20, np.uint8)).save(source)
    assert tapetum("enhance", source, "--model", "retinexformer", "--weights", target).code == 0


def test_export_refuses_early(tmp_path, tapetum):
    (tmp_path / "there.onnx").write_bytes(b"kept")
    result = tapetum("export", "twilight", tmp_path / "there.onnx")
    assert result.code == 2
    assert (tmp_path / "there.onnx").read_bytes() == b"kept"
    assert tapetum("export", "twilight", tmp_path / "out.pth").code == 2
    assert tapetum("export", "dusk", tmp_path / "out.onnx").code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["there.onnx"]


def test_export_writes_no_untrained_model(tmp_path, tapetum):
    pytest.importorskip("torch")
    for name, words in (
        ("mst_plus_plus", "without bundled weights"),
        ("retidiff_stage1", "is a stage of the training"),
    ):
        result = tapetum("export", name, tmp_path / "out.onnx")
        assert (result.code, len(result.errors)) == (2, 1)
        assert words in result.err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prints_the_whole_recipe(tapetum, tmp_path):
    yaml = pytest.importorskip("yaml")
    result = tapetum("train", "default", "run.steps=7", f"run.folder={tmp_path}", "--dry-run")
    assert result.code == 0
    recipe = yaml.safe_load(result.out)
    assert recipe["run"]["steps"] == 7
    assert list(tmp_path.iterdir()) == []
    # what was printed is a recipe
    (tmp_path / "again.yaml").write_text(result.out)
    assert tapetum("train", tmp_path / "again.yaml", "--dry-run").out == result.out
    result = tapetum("train", "default", "data.root=nowhere", "--dry-run")
    assert (result.code, yaml.safe_load(result.out)["data"]["root"]) == (0, "nowhere")
    assert [line for line in result.err.splitlines() if line.startswith("note: ")]
    assert "nowhere" in result.err


@pytest.fixture
def pairs(tmp_path, dark):
    """A data set of three scenes, the targets twice as light as the dark pictures, plus some noise."""
    random = np.random.default_rng(3)
    for side in ("low", "high"):
        (tmp_path / "set" / "eval15" / side).mkdir(parents=True)
    for i in range(3):
        low = np.roll(dark, 9 * i, axis=1)
        noise = random.normal(0, i + 1, low.shape)
        target = np.clip(low.astype(float) * 2 + noise, 0, 255).round().astype(np.uint8)
        Image.fromarray(low).save(tmp_path / "set" / "eval15" / "low" / f"{i}.png")
        Image.fromarray(target).save(tmp_path / "set" / "eval15" / "high" / f"{i}.png")
    return tmp_path / "set"


def test_evaluate_prints_and_writes_what_it_measured(tmp_path, tapetum, doubler, pairs):
    result = tapetum(
        "evaluate", "--data", pairs, "--model", doubler, "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json",
        "--pictures", tmp_path / "looks",
    )  # fmt: skip
    assert result.code == 0, result.err
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].split(",")[:5] == ["model", "split", "name", "scene", "psnr_rgb_uint8"]
    values = [float(line.split(",")[4]) for line in lines[1:]]
    assert len(values) == 3
    # noise of 1, 2 and 3 levels, rounded: mean squared error s^2 + 1/12 (less where the target was clipped)
    expected = [10 * np.log10(255**2 / (s**2 + 1 / 12)) for s in (1, 2, 3)]
    assert values == pytest.approx(expected, abs=0.3)
    (entry,) = json.loads((tmp_path / "t.json").read_text())["results"]
    mean = entry["means"]["psnr_rgb_uint8"]
    assert mean["value"] == pytest.approx(np.mean(values), abs=1e-5)
    assert mean["low"] < mean["value"] < mean["high"]
    assert f"{mean['value']:.2f} [{mean['low']:.2f}, {mean['high']:.2f}]" in result.out
    assert len(list((tmp_path / "looks").glob("*.jpg"))) == 3


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_evaluate_says_at_once_what_it_cannot_write(option, tmp_path, tapetum, doubler, pairs):
    result = tapetum("evaluate", "--data", pairs, "--model", doubler, option, tmp_path / "absent" / "t.csv")
    assert (result.code, result.out) == (2, "")
    assert result.errors == [f"error: {tmp_path / 'absent' / 't.csv'}: there is no folder {tmp_path / 'absent'}"]


def test_evaluate_stored_predictions(tmp_path, tapetum, pairs, doubler):
    stored = tmp_path / "stored"
    made = tapetum("enhance", pairs / "eval15" / "low", "-o", stored, "--model", doubler)
    assert made.code == 0
    by_model = tapetum("evaluate", "--data", pairs, "--model", doubler, "--json", "-").json
    by_files = tapetum("evaluate", "--data", pairs, "--predictions", stored, "--json", "-").json
    for measure, mean in by_model["results"][0]["means"].items():
        assert by_files["results"][0]["means"][measure] == pytest.approx(mean), measure
    assert by_files["results"][0]["seconds"] is None
    shutil.copy(stored / "1.png", stored / "1.jpg")
    result = tapetum("evaluate", "--data", pairs, "--predictions", stored)
    assert (result.code, result.errors) == (1, [f"error: {stored}: 1.jpg and 1.png have one name: which is meant?"])
    (stored / "1.jpg").unlink()
    (stored / "1.png").unlink()
    result = tapetum("evaluate", "--data", pairs, "--predictions", stored)
    assert result.code == 1
    assert "no prediction named 1.*" in result.err


def test_evaluate_says_where_depths_differ(tmp_path, tapetum, pairs):
    shutil.copytree(pairs / "eval15" / "low", tmp_path / "stored")
    deep = pyvips.Image.new_from_array(np.full((48, 64, 3), 9000, np.uint16))
    deep.copy(interpretation="rgb16").pngsave(str(tmp_path / "stored" / "1.png"))
    result = tapetum("evaluate", "--data", pairs, "--predictions", tmp_path / "stored")
    warned = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    text = "16 bit, rounded to 8 for the measures; its low has 8 (the first such picture of eval15)"
    assert warned == [f"warning: {tmp_path / 'stored' / '1.png'}: {text}"]
    assert result.code == 0


def test_evaluate_what_must_stay_as_it_is(tmp_path, tapetum, doubler, save):
    save("good/a.png"), save("good/b.png", np.zeros((20, 20, 3), np.uint8))
    result = tapetum("evaluate", "--keep", tmp_path / "good", "--model", doubler, "--json", "-")
    (entry,) = result.json["results"]
    assert entry["means"].keys() == {"psnr_keep"}
    assert entry["worst"]["psnr_keep"][0] == "a.png"
    assert entry["worst"]["psnr_keep"][1] < 20, "doubled"
    assert entry["means"]["psnr_keep"]["value"] == pytest.approx((entry["worst"]["psnr_keep"][1] + 100) / 2)


def test_evaluate_without_targets(tmp_path, tapetum, doubler, pairs):
    low = pairs / "eval15" / "low"
    enhanced = tapetum("evaluate", "--unpaired", low, "--model", doubler, "--csv", tmp_path / "t.csv")
    assert enhanced.code == 0, enhanced.err
    assert "compare with figures of tapetum only" in enhanced.out
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "model,split,name,scene,uciqe_lab100,uiqm_plain,seconds"
    assert len(lines) == 4
    stored = tapetum("evaluate", "--unpaired", low, "--predictions", low, "--json", "-").json  # as they are
    assert stored["protocol"] == "unpaired"
    plain = stored["results"][0]["means"]
    means = {name: np.mean([float(line.split(",")[i]) for line in lines[1:]]) for i, name in ((4, "uciqe_lab100"),)}
    assert means["uciqe_lab100"] > plain["uciqe_lab100"]["value"], "twice as bright: more contrast"
    Image.fromarray(np.zeros((9, 40, 3), np.uint8)).save(low / "0.png")
    small = tapetum("evaluate", "--unpaired", low, "--predictions", low)
    assert (small.code, small.err.count("\n")) == (1, 1)
    assert "0.png: UIQM needs pictures of at least 10 x 10, got 9 x 40" in small.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--data ROOT"),
        (["--unpaired", "x", "--data", "{set}"], 2, "--unpaired DIR"),
        (["--unpaired", "x", "--protocol", "retidiff_underwater"], 2, "it has no --protocol"),
        (["--unpaired", "missing"], 1, "no such folder"),
        (["--low", "x"], 2, "belong together"),
        (["--data", "missing"], 1, "no such folder"),
        (["--data", "{set}", "--split", "eval16"], 2, "no split 'eval16': choose from eval15"),
        (["--data", "{set}", "--protocol", "lenient"], 2, "unknown protocol 'lenient': choose from strict"),
        (["--data", "{set}", "--protocol", "stict"], 2, "unknown protocol 'stict', perhaps strict: choose from"),
        (["--data", "{set}", "--model", "clhae"], 2, "unknown model 'clhae', perhaps clahe: choose from"),
        (["--data", "{set}", "--gt-mean", "generous"], 2, "unknown correction 'generous': choose from"),
        (["--data", "{set}", "--gt-mean", "gt_mean_maen"], 2, "'gt_mean_maen', perhaps gt_mean_mean: choose from"),
        (["--data", "{set}", "--layout", "lol_v9"], 2, "unknown data set layout"),
        (["--data", "{set}", "--model", "default", "--predictions", "x"], 2, "--predictions takes the place"),
        (["--data", "{set}/eval15/low"], 1, "no test pictures in a known layout"),
    ],
)
def test_evaluate_wrong_usage(arguments, code, words, tapetum, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = tapetum("evaluate", *(argument.format(set=pairs) for argument in arguments))
    assert result.code == code
    assert len(result.err.splitlines()) == 1
    assert words in result.err


def test_evaluate_refuses_unpaired_and_unequal_pictures(tapetum, pairs, doubler):
    target = pairs / "eval15" / "high" / "2.png"
    Image.fromarray(np.zeros((40, 64, 3), np.uint8)).save(target)
    result = tapetum("evaluate", "--data", pairs, "--model", doubler)
    assert result.code == 1
    assert "2.png has 64x48 pixels, and its target " in result.err
    target.unlink()
    result = tapetum("evaluate", "--data", pairs, "--model", doubler)
    assert result.code == 1
    assert "no picture named 2.*" in result.err
