"""Whatever lies in a folder of photographs: one clear line each, the rest is done, and the exit codes say so."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

WIDTH, HEIGHT = 64, 48


def picture_bytes(kind: str, tmp_path: Path, **options: Any) -> bytes:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8)
    path = tmp_path / f"source.{kind}"
    Image.fromarray(pixels).save(path, **options)
    data = path.read_bytes()
    path.unlink()
    return data


def bomb() -> bytes:
    """A PNG that says it has 100000 x 100000 pixels and carries a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def animation(kind: str, tmp_path: Path) -> bytes:
    frames = [Image.new("RGB", (32, 24), (shade, shade, 9)) for shade in (10, 40, 80)]
    path = tmp_path / f"source.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    data = path.read_bytes()
    path.unlink()
    return data


def camera_raw(tmp_path: Path) -> bytes:
    return b"II*\0\x10\0\0\0CR\x02\0" + b"\0" * 200


REFUSED: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "zero-byte": ("empty.jpg", lambda p: b"", "empty"),
    "text": ("notes.jpg", lambda p: b"buy milk\n" * 20, "not a picture"),
    "not-an-image": ("noise.png", lambda p: bytes(range(256)) * 9, "not a picture"),
    "only-a-magic": ("magic.jpg", lambda p: b"\xff\xd8\xff", "damaged"),
    "bomb": ("bomb.png", lambda p: bomb(), "million pixels, more than the limit of 200 million"),
    "animated-gif": ("moving.gif", lambda p: animation("gif", p), "animation"),
    "animated-webp": ("moving.webp", lambda p: animation("webp", p), "animation"),
    "camera-raw": ("shot.cr2", camera_raw, "RAW"),
    **{
        f"{kind}-cut-at-{share}": (
            f"cut.{kind}",
            lambda p, kind=kind, share=share: (lambda d: d[: max(12, int(len(d) * share))])(picture_bytes(kind, p)),
            "",
        )
        for kind in ("jpg", "png", "tif", "webp")
        for share in (0.02, 0.3, 0.6, 0.95)
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unusable_file_is_one_line_and_the_rest_is_done(case, tmp_path, tapetum, model, save):
    name, make, words = REFUSED[case]
    bad = tmp_path / name
    bad.write_bytes(make(tmp_path))
    good = save("good.jpg")
    result = tapetum("enhance", bad, good, "-o", tmp_path / "out", "--model", model, "--json")
    assert result.code == 1
    (line,) = result.errors
    assert name in line
    assert words in line
    assert "Traceback" not in result.err
    assert (result.json["done"], result.json["failed"]) == (1, 1)
    assert os.listdir(tmp_path / "out") == ["good.jpg"]


def grey() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 90, (HEIGHT, WIDTH), np.uint8))


def rgb() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8))


def glass() -> Image.Image:
    picture = rgb().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


# name of the file -> how it is made, and the mode that the result must have
USABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "one.png": (lambda p: rgb().crop((0, 0, 1, 1)).save(p), "RGB"),
    "one.jpg": (lambda p: rgb().crop((0, 0, 1, 1)).save(p), "RGB"),
    "thin.png": (lambda p: Image.new("RGB", (5000, 1), (30, 20, 10)).save(p), "RGB"),
    "tall.png": (lambda p: Image.new("RGB", (1, 5000), (30, 20, 10)).save(p), "RGB"),
    "grey.jpg": (lambda p: grey().save(p), "L"),
    "grey.png": (lambda p: grey().save(p), "L"),
    "palette.png": (lambda p: rgb().quantize(16).save(p), "RGB"),
    "palette.gif": (lambda p: rgb().quantize(16).save(p), "RGB"),
    "ink.jpg": (lambda p: rgb().convert("CMYK").save(p), "RGB"),
    "ink.tif": (lambda p: rgb().convert("CMYK").save(p), "RGB"),
    "glass.png": (lambda p: glass().save(p), "RGBA"),
    "glass.webp": (lambda p: glass().save(p, lossless=True), "RGBA"),
    "deep.png": (lambda p: Image.fromarray(np.arange(3000, dtype=np.uint16).reshape(50, 60)).save(p), "I;16"),
    "really-a-png.jpg": (lambda p: rgb().save(p, format="PNG"), "RGB"),
    "\N{SNOWMAN}\N{CAMERA} nächtlich 夜.png": (lambda p: rgb().save(p), "RGB"),
    "with [brackets] %d & 'quotes'.jpg": (lambda p: rgb().save(p), "RGB"),
    "-looks-like-an-option.jpg": (lambda p: rgb().save(p), "RGB"),
    "n" * 240 + ".jpg": (lambda p: rgb().save(p), "RGB"),
}  # fmt: skip


@pytest.mark.parametrize("name", USABLE)
def test_an_unusual_file_is_enhanced(name, tmp_path, tapetum, model):
    make, mode = USABLE[name]
    source = tmp_path / "in" / name
    source.parent.mkdir()
    make(source)
    result = tapetum("enhance", source, "-o", tmp_path / "out", "--model", model)
    assert (result.code, result.errors) == (0, [])
    (output,) = (tmp_path / "out").iterdir()
    assert output.stem == source.stem
    with Image.open(source) as before, Image.open(output) as after:
        after.load()
        assert (after.size, after.mode) == (before.size, mode)


def test_sixteen_bit_colour_stays_so(tmp_path, tapetum, model, dark):
    from tapetum.imaging import Picture, read_picture, write_picture

    deep = dark.astype(np.uint16) * 257 + 3
    for name in ("deep.tif", "deep.png"):
        write_picture(Picture(deep), tmp_path / name)
        result = tapetum("enhance", tmp_path / name, "-o", tmp_path / "out", "--model", model)
        assert (result.code, result.errors) == (0, [])
        pixels = read_picture(tmp_path / "out" / name).pixels
        assert pixels.dtype == np.uint16
        assert (pixels % 257).any(), "an 8-bit picture in 16-bit clothes"


def test_a_float_picture_with_nan_and_inf_is_mended_with_one_warning(tmp_path, tapetum, model):
    pixels = np.random.default_rng(0).random((HEIGHT, WIDTH), np.float32) * 0.3
    pixels[3, 4], pixels[5, 6], pixels[7, 8] = np.nan, np.inf, -np.inf
    Image.fromarray(pixels).save(tmp_path / "odd.tif")
    result = tapetum("enhance", tmp_path / "odd.tif", "-o", tmp_path / "out", "--model", model)
    assert result.code == 0
    (line,) = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert "3 samples are not finite" in line
    with Image.open(tmp_path / "out" / "odd.tif") as after:
        assert np.isfinite(np.asarray(after)).all()


def test_names_that_no_disk_holds(tmp_path, tapetum, model, save):
    good = save("good.jpg")
    result = tapetum("enhance", tmp_path / ("x" * 400 + ".jpg"), good, "-o", tmp_path / "out", "--model", model)
    assert result.code == 1
    assert len(result.errors) == 1
    assert (tmp_path / "out" / "good.jpg").exists()
    # 250 characters are allowed, the ones of the default suffix are then too many: said, not half written
    long = save("n" * 246 + ".jpg")
    result = tapetum("enhance", long, "--model", model)
    assert result.code == 1
    assert "cannot be written: file name too long" in result.errors[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.jpg", long.name, "out"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there a name may be any bytes")
def test_a_name_that_is_not_unicode(tmp_path, tapetum, model, save):
    source = save("good.jpg").rename(os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n.jpg"))
    result = tapetum("enhance", source, "-o", f"{tmp_path}/out", "--model", model, "--json")
    assert (result.code, result.json["done"]) == (0, 1)
    assert os.listdir(bytes(tmp_path) + b"/out") == [b"caf\xe9\n.jpg"]
    assert result.json["files"][0]["output"] == f"{tmp_path}/out/caf\N{REPLACEMENT CHARACTER}\n.jpg"
    result = tapetum("enhance", f"{source}x", "--model", model)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1, "a line break in a name makes no second line"


def test_a_folder_that_cannot_be_written(tmp_path, tapetum, model, save):
    source = save("dark.jpg")
    (tmp_path / "file").write_text("not a folder")
    result = tapetum("enhance", source, "-o", tmp_path / "file" / "below", "--model", model)
    assert result.code == 1
    assert "cannot be made: not a directory" in result.errors[0]
    result = tapetum("enhance", source, "-o", tmp_path / "file", "--model", model)
    assert result.code == 2
    assert "need a folder" in result.errors[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_without_permission(tmp_path, tapetum, model, save):
    source = save("dark.jpg")
    (tmp_path / "closed").mkdir(mode=0o500)
    result = tapetum("enhance", source, "-o", tmp_path / "closed", "--model", model)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "permission denied" in result.errors[0]


@pytest.mark.parametrize("link", ["none", "symbolic", "hard"])
def test_the_output_is_never_the_input(link, tmp_path, tapetum, model, save):
    source = save("dark.png")
    before = source.read_bytes()
    target = source
    if link != "none":
        target = tmp_path / "other.png"
        (os.symlink if link == "symbolic" else os.link)(source, target)
    for options in ([], ["--overwrite"]):
        result = tapetum("enhance", source, "-o", target, "--model", model, *options)
        assert result.code == 2
        assert "is the input" in result.errors[0]
    assert source.read_bytes() == before


def test_the_input_by_way_of_a_folder_that_is_not_there_yet(tmp_path, tapetum, model, save):
    source = save("dark.png")
    before = source.read_bytes()
    result = tapetum("enhance", source, "-o", f"{tmp_path}/new/../dark.png", "--model", model, "--overwrite")
    assert result.code == 2
    assert "is the input" in result.errors[0]
    assert source.read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_empty_arguments(tmp_path, tapetum, model, save, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = save("dark.png")
    result = tapetum("enhance", "", "--model", model)  # a shell variable that was not set
    assert (result.code, result.err.splitlines()[0]) == (
        1,
        "error: an input is empty: give a file, a folder or a pattern",
    )
    result = tapetum("enhance", source, "-o", "", "--model", model)
    assert (result.code, len(result.errors)) == (2, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["dark.png"]


def test_a_folder_in_the_place_of_the_output(tmp_path, tapetum, model, save):
    source = save("dark.png")
    (tmp_path / "out" / "dark.png").mkdir(parents=True)
    result = tapetum("enhance", source, "-o", tmp_path / "out", "--model", model)
    assert result.code == 1, "it is no finished picture"
    assert "is a folder" in result.errors[0]


def test_a_float_picture_of_another_scale_is_named(tmp_path, tapetum, model):
    path = tmp_path / "counts.tif"
    Image.fromarray(np.full((12, 16), 4095, np.float32)).save(path)
    result = tapetum("enhance", path, "--model", model)
    assert result.code == 1
    assert result.errors == [
        f"error: {path}: most samples are above 1 (up to 4095): a float picture must have 0 for black and 1 for white"
    ]


@pytest.mark.parametrize(
    "options", [("--ev", "2"), ("--ratio", "4"), ("--white-balance", "daylight"), ("--developer", "libraw")]
)
def test_raw_options_are_for_raw_files(options, tmp_path, tapetum, model, save):
    result = tapetum("enhance", save("dark.png"), "--model", model, *options)
    assert result.code == 1
    (line,) = result.errors
    assert "dark.png: --ev and --ratio are for camera RAW files, as are --white-balance and --developer" in line
    assert [p.name for p in tmp_path.iterdir()] == ["dark.png"]


def test_a_geometry_is_for_the_headerless_among_the_files(tmp_path, tapetum, model, save):
    (tmp_path / "geometry.json").write_text('{"width": 8, "height": 8, "pattern": "RGGB"}')
    result = tapetum("enhance", save("dark.png"), "--model", model, "--geometry", tmp_path / "geometry.json")
    assert (result.code, result.errors) == (0, [])


def test_a_folder_into_itself(tmp_path, tapetum, model, save):
    save("a.png"), save("b.png")
    result = tapetum("enhance", tmp_path, "-o", tmp_path, "--model", model, "--overwrite")
    assert result.code == 2
    assert "is the input" in result.errors[0]


def test_two_inputs_with_one_output(tmp_path, tapetum, model, save):
    one, two = save("one/night.png"), save("two/night.png")
    result = tapetum("enhance", one, two, "-o", tmp_path / "out", "--model", model)
    assert result.code == 2
    assert "would both be written" in result.errors[0]
    assert not (tmp_path / "out").exists(), "refused before anything is done"
    # two formats that get one name, since GIF is not written
    result = tapetum("enhance", save("c.gif"), save("c.png"), "-o", tmp_path / "out", "--model", model)
    assert result.code == 2


def test_a_loop_of_folders_ends(tmp_path, tapetum, model, save):
    save("in/a.png"), save("in/deep/b.png")
    os.symlink(tmp_path / "in", tmp_path / "in" / "deep" / "again")
    os.symlink("missing", tmp_path / "in" / "broken.png")
    os.symlink(tmp_path / "in" / "self", tmp_path / "in" / "self")
    result = tapetum("enhance", tmp_path / "in", "-r", "-o", tmp_path / "out", "--model", model, "--json")
    assert result.code == 1, "the broken link fails, the rest is done"
    assert "broken.png" in result.errors[0]
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert written == ["a.png", str(Path("deep", "b.png"))]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "defualt"], "unknown model 'defualt', perhaps default: choose from"),
        (["--model", "missing.onnx"], "no such file"),
        (["--strength", "2"], "--strength"),
        (["--strength", "much"], "--strength"),
        (["--memory", "lots"], "memory must be"),
        (["--device", "quantum"], "quantum"),
        (["--format", "bmp"], "bmp"),
        (["--suffix", "a/b"], "--suffix"),
        (["--wrong-option"], "--wrong-option"),
        (["-o", "result.bmp"], "cannot write this kind of file"),
        (["-o", "result.png", "--format", "jpg"], "contradict"),
        (["-o", "-"], "results are files, not written to stdout"),
    ],
)
def test_wrong_usage(arguments, words, tmp_path, tapetum, model, save, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", model]
    result = tapetum("enhance", save("dark.jpg"), *arguments)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dark.jpg"]


def test_a_damaged_model_file(tmp_path, tapetum, save):
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x09nonsense")
    result = tapetum("enhance", save("dark.jpg"), "--model", tmp_path / "broken.onnx")
    assert (result.code, len(result.err.splitlines())) == (2, 1)


class Evil:
    """What a pickle can do: run a command when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def test_wrong_files_of_weights(tmp_path, tapetum, save):
    torch = pytest.importorskip("torch")
    from tapetum.methods.registry import create_model
    from tapetum.weights.loading import save_model

    source = save("dark.jpg")
    mark = tmp_path / "executed"
    (tmp_path / "text.pth").write_text("these are no weights\n")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save({"params": Evil(mark)}, tmp_path / "evil.pth")
    torch.save({"params": {"some.layer.weight": torch.zeros(3)}}, tmp_path / "unknown.pth")
    save_model(create_model("twilight"), tmp_path / "twilight.safetensors", {})
    cases = {
        "text.pth": "a text file",
        "empty.pth": "empty",
        "evil.pth": "refused",
        "unknown.pth": "retinexformer",
        "twilight.safetensors": "twilight",
        "missing.pth": "cannot be read",
    }
    for name, words in cases.items():
        result = tapetum("enhance", source, "--model", "retinexformer", "--weights", tmp_path / name)
        assert result.code == 2, name
        (line,) = result.err.splitlines()
        assert name in line
        assert words in line
    for command in (["weights", "inspect"], ["weights", "import"]):
        result = tapetum(*command, tmp_path / "evil.pth")
        assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert not mark.exists(), "a pickle was executed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("run.stepss=3", "run.stepss: unknown key"),
        ("run.steps=many", "run.steps:"),
        ("run.steps", "write key=value"),
        ("method=retinexfomer", "unknown 'retinexfomer'"),
    ],
)
def test_wrong_recipes(change, words, tapetum):
    pytest.importorskip("pydantic")
    result = tapetum("train", "default", change, "--dry-run")
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1


def test_wrong_paths_of_recipes(tmp_path, tapetum):
    pytest.importorskip("lightning")
    result = tapetum("train", tmp_path / "missing.yaml")
    assert result.code == 2
    assert "no such recipe" in result.err
    result = tapetum("train", "default-lolv1", f"data.root={tmp_path}", f"run.folder={tmp_path / 'runs'}")
    assert result.code == 2
    assert len(result.errors) == 1
    assert str(tmp_path) in result.errors[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="closes the streams in a shell")
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [(">&- 2>&-", 0, ""), ("> /dev/full", 1, "error: No space left on device\n")],
)
def test_streams_that_cannot_be_written(streams, code, said, tmp_path, model, save):
    one, two, out = save("a.png"), save("b.png"), tmp_path / "out"
    command = f'"{sys.executable}" -m tapetum enhance "{one}" "{two}" -o "{out}" --model "{model}" --json {streams}'
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.returncode == code
    assert result.stderr == said
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "b.png"]


def test_exit_codes_of_the_process(tmp_path, model, save):
    """The same through a process of its own: nothing but the line on stderr, nothing on stdout."""
    (tmp_path / "empty.jpg").write_bytes(b"")
    for source, code in ((save("dark.jpg"), 0), (tmp_path / "empty.jpg", 1)):
        command = [sys.executable, "-m", "tapetum", "enhance", str(source), "--model", model]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
