"""``tapetum enhance`` with a RAW method, and ``tapetum raw evaluate``, from files without a header and photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

WIDTH, HEIGHT, WHITE, BLACK = 60, 44, 16383, 512


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tapetum.methods.exposurediffusion import METHOD
    from tapetum.weights.loading import save_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = METHOD.network(METHOD.configs["tiny"])
    return save_model(network, tmp_path_factory.mktemp("weights") / "tiny.safetensors", {})


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A dark headerless mosaic, with its geometry beside it."""
    rng = np.random.default_rng(0)
    mosaic = rng.poisson(60, (HEIGHT, WIDTH)) + BLACK
    path = tmp_path / "night.raw"
    mosaic.astype("<u2").tofile(path)
    geometry = {"width": WIDTH, "height": HEIGHT, "pattern": "GRBG", "bits": 14, "black": BLACK, "white": WHITE}
    shot = {"make": "Sony", "model": "ILCE-7SM2", "iso": 1600}
    Path(f"{path}.json").write_text(json.dumps({**geometry, **shot}))
    return path


@pytest.fixture
def arguments(weights: Path) -> list[str]:
    return ["--model", "exposurediffusion", "--weights", str(weights), "--device", "cpu"]


def test_mosaic_is_enhanced_and_developed(tapetum, night, arguments, tmp_path) -> None:
    for name in ("out.png", "again.png"):
        given = ["enhance", night, *arguments, "--ratio", "20", "--gain", "1.5", "-o", tmp_path / name, "--json"]
        result = tapetum(*given)
        assert result.code == 0, result.err
    assert result.json["options"] == {"iterations": 2, "seed": 0}
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (WIDTH, HEIGHT)
    other = tapetum(
        "enhance", night, *arguments, "--ratio", "20", "--gain", "1.5", "--seed", "9", "-o", tmp_path / "o.png"
    )
    assert other.code == 0
    assert (tmp_path / "out.png").read_bytes() != (tmp_path / "o.png").read_bytes()


def test_dng_holds_what_the_enhancer_gave(tapetum, night, arguments, weights, tmp_path) -> None:
    pytest.importorskip("rawpy")
    from tapetum.imaging.raw import Geometry, read_headerless, read_raw
    from tapetum.raw_enhancer import RawEnhancer

    out = tmp_path / "out.dng"
    assert tapetum("enhance", night, *arguments, "--ratio", "100", "--gain", "1.5", "-o", out).code == 0
    raw = read_headerless(night, Geometry(WIDTH, HEIGHT, "GRBG", 14, BLACK, WHITE))
    expected = RawEnhancer("exposurediffusion", "cpu", weights=weights).picture(raw, 100, 1.5)
    written = read_raw(out)
    assert written.pattern == "GRBG"
    assert np.array_equal(written.mosaic, expected.mosaic)


def test_gain_follows_from_camera_and_iso(tapetum, night, arguments, tmp_path) -> None:
    from tapetum.data.raw_noise.cameras import get_camera

    gain = get_camera("SonyA7S2").gain_at(1600)
    outputs = []
    for i, given in enumerate((["--camera", "SonyA7S2"], ["--gain", str(gain)])):
        outputs.append(tmp_path / f"{i}.png")
        assert tapetum("enhance", night, *arguments, "--ratio", "50", *given, "-o", outputs[-1]).code == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("given", "code", "complaint"),
    [
        (["--ratio", "0"], 2, "ratio must be above 0"),
        (["--ratio", "0.5", "--gain", "1"], 2, "--ratio must be 1 or more (--ev 0 or more), got 0.5"),
        (["--gain", "-1"], 2, "--gain must be above 0, got -1"),
        (["--gain", "nan"], 2, "--gain must be above 0, got nan"),
        (["--camera", "Box"], 2, "unknown camera 'Box': choose from CanonEOS5D4"),
        (["--camera", "SonyA7S2", "--gain", "1"], 2, "--camera and --gain say the same thing in two ways"),
        (["--developer", "libraw"], 2, "--developer libraw is for developed pictures"),
        (["--strength", "0.5"], 2, "--strength is for developed pictures"),
        (["--steps", "3"], 2, "has no option steps: it has iterations, seed"),
    ],
)
def test_what_cannot_be(tapetum, night, arguments, tmp_path, given, code, complaint) -> None:
    result = tapetum("enhance", night, *arguments, *given, "-o", tmp_path / "out.png")
    assert result.code == code
    assert complaint in result.err
    assert not (tmp_path / "out.png").exists()


def test_the_rest_of_a_batch_goes_on(tapetum, night, arguments, tmp_path) -> None:
    broken = tmp_path / "broken.raw"
    broken.write_bytes(night.read_bytes()[:100])
    Path(f"{broken}.json").write_text(Path(f"{night}.json").read_text())
    result = tapetum("enhance", broken, night, *arguments, "--gain", "1.5", "-o", tmp_path / "out", "--format", "png")
    assert result.code == 1
    assert len(result.errors) == 1
    assert "broken.raw" in result.errors[0]
    assert (tmp_path / "out" / "night.png").is_file()


def test_of_a_folder_the_mosaics_are_taken(tapetum, night, arguments, tmp_path) -> None:
    """Also those beside which the camera has put a JPEG; JPEGs are none."""
    for name in ("night.jpg", "other.jpg"):
        Image.new("RGB", (20, 20)).save(tmp_path / name)
    out = tmp_path / "out"
    result = tapetum("enhance", tmp_path, *arguments, "--ratio", "20", "--gain", "1.5", "-o", out)
    assert result.code == 0, result.err
    assert [path.name for path in out.iterdir()] == ["night.jpg"]
    with Image.open(out / "night.jpg") as image:
        assert image.size == (WIDTH, HEIGHT)
    night.unlink()
    result = tapetum("enhance", tmp_path, *arguments, "--gain", "1.5", "-o", out)
    assert result.code == 1
    assert result.errors == [f"error: no camera RAW files in the folder {tmp_path}"]


def test_options_of_raw_methods_are_theirs(tapetum, tmp_path, model) -> None:
    result = tapetum("enhance", tmp_path, "--model", model, "--gain", "2")
    assert result.code == 2
    assert "--camera and --gain are for RAW methods (exposurediffusion)" in result.err


# --- evaluate ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rows, columns = np.mgrid[0:40, 0:56]
    for i in range(2):
        light = 120 + 80 * np.sin(rows / (5 + i)) * np.cos(columns / 9)
        Image.fromarray(np.repeat(light[..., None], 3, 2).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_evaluate_photographs(tapetum, weights, photographs, tmp_path) -> None:
    common = [
        "raw",
        "evaluate",
        "--weights",
        weights,
        "--pictures",
        photographs,
        "--iterations",
        "0",
        "--iterations",
        "1",
    ]
    result = tapetum(*common, "--json", "-", "--csv", tmp_path / "t.csv")
    assert result.code == 0, result.err
    rows = {(row["split"], row["model"]): row for row in result.json["results"]}
    assert result.json["protocol"] == "blind"
    assert len(rows) == 3 * 3
    noisy = [rows[f"x{ratio}", "noisy"]["means"]["psnr"]["value"] for ratio in (100, 250, 300)]
    assert noisy[0] > noisy[1] > noisy[2]
    assert rows["x100", "tiny, 2 calls"]["pictures"] == 2
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1 + 2 * 9
    again = tapetum(*common, "--json", "-")
    assert [r["means"] for r in again.json["results"]] == [r["means"] for r in result.json["results"]]
    fitted = tapetum(*common, "--json", "-", "--protocol", "reference", "--ratio", "100")
    better = {row["model"]: row["means"]["psnr"]["value"] for row in fitted.json["results"]}
    assert better["tiny, 1 call"] > rows["x100", "tiny, 1 call"]["means"]["psnr"]["value"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([], "say what to measure on: one of --pictures PATH, --sid DIR, --eld DIR"),
        (["--pictures", ".", "--ratio", "0"], "--ratio must be 1 or more, got 0"),
        (["--pictures", ".", "--camera", "Box"], "unknown camera 'Box'"),
        (["--pictures", ".", "--iterations", "-1"], "--iterations must be 0 or more, got -1"),
    ],
)
def test_evaluate_refuses(tapetum, weights, given, complaint) -> None:
    result = tapetum("raw", "evaluate", "--weights", weights, *given)
    assert result.code == 2
    assert complaint in result.err


def test_evaluate_wants_the_data_set(tapetum, weights, tmp_path) -> None:
    result = tapetum("raw", "evaluate", "--weights", weights, "--sid", tmp_path)
    assert result.code == 1
    assert "SID's Sony part has short/ and long/" in result.err
