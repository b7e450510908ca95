"""What a benchmark measures: read from flags and from files, and refused where it cannot be meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.data.pairs import Pair
from tapetum.errors import InputError, UsageError
from tapetum.evaluation.benchmark.plan import (
    Data,
    Model,
    Plan,
    Split,
    check_models,
    chosen_protocols,
    find_pictures,
    parse_model,
    prediction_part,
)
from tapetum.evaluation.benchmark.stored import name_of
from tapetum.evaluation.protocols import PROTOCOLS, get_protocol


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("default", Model("default")),
        ("x.onnx:label=mine", Model("x.onnx", label="mine")),
        (r"C:\x.onnx", Model(r"C:\x.onnx")),
        (
            "dednet:weights=a/b.safetensors,device=cpu,steps=5,eta=0.5,sampler=ddim",
            Model("dednet", Path("a/b.safetensors"), "cpu", {"steps": 5, "eta": 0.5, "sampler": "ddim"}),
        ),
    ],
)
def test_models_of_flags(text: str, model: Model) -> None:
    assert parse_model(text) == model


def test_titles() -> None:
    assert (
        parse_model("lightendiffusion:weights=runs/best.safetensors,steps=5").title == "lightendiffusion:best:steps=5"
    )
    assert Model("some/x.onnx").title == "x"
    assert Model("gamma", label="Γ").title == "Γ"


def test_engines_name_the_device_that_auto_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's predictions are not taken for a processor's: the engine is in the name of the store."""
    assert Model("default").engine == "onnx:auto", "the processor, always"
    assert Model("default", device="cuda:1").engine == "torch:cuda:1"
    assert Model("gamma").engine == "numpy:auto"
    torch = pytest.importorskip("torch")
    for found in ("mps", "cpu"):
        monkeypatch.setattr("tapetum.engines.torch.find_device", lambda device, found=found: torch.device(found))
        assert Model("retinexformer", Path("x")).engine == f"torch:{found}"


@pytest.mark.parametrize(
    ("models", "text"),
    [
        ([Model("defualt")], r"unknown model 'defualt', perhaps default: choose from"),
        ([Model("gamma"), Model("gamma")], "two models would be called gamma in the report: give one a label"),
        (
            [Model("retinexformer")],
            r"retinexformer is a method without bundled weights: give it a file",
        ),
        ([Model("retinexformer", Path("none.pth"))], "none.pth: no such file of weights"),
        ([Model("none.onnx")], "none.onnx: no such file"),
        ([Model("gamma", Path(__file__))], "gamma is no network: it takes no weights"),
        ([Model("exposurediffusion")], "works on camera RAW"),
        ([Model("lightendiffusion_stage1")], "enhances nothing alone: choose lightendiffusion"),
        ([], "name a model"),
    ],
)
def test_models_that_cannot_be_meant(models: list[Model], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        check_models(models)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ({"protocols": ("strikt",)}, "unknown protocol 'strikt', perhaps strict: choose from strict, "),
        ({"metrics": ("ciede",)}, "unknown metric 'ciede', perhaps ciede2000_uint8"),
        ({"gt_mean": "mean"}, "unknown correction 'mean'"),
        ({"protocols": ()}, "name a protocol"),
    ],
)
def test_protocols_that_cannot_be_meant(plan: dict, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        chosen_protocols(Plan((), (), **plan))


def test_data_that_cannot_be_meant(tmp_path: Path, pairs: Path) -> None:
    def refused(kind: type[Exception], text: str, *data: Data) -> None:
        with pytest.raises(kind, match=text):
            find_pictures(Plan((), data))

    refused(UsageError, "name pictures to measure on")
    refused(InputError, "no such folder", Data(tmp_path / "none"))
    refused(InputError, "no test pictures in a known layout", Data(tmp_path))
    refused(UsageError, "has no split 'evol15'", Data(pairs, ("evol15",)))
    refused(UsageError, "unknown data set layout 'lolv1', perhaps lol_v1", Data(pairs, layout="lolv1"))
    refused(UsageError, "would be called '.* eval15' in the report", Data(pairs), Data(pairs))
    with pytest.raises(UsageError, match=r"gamma leaves out 'LOL eval1', perhaps LOL eval15: there is only LOL eval15"):
        find_pictures(Plan((Model("gamma", leave_out=("LOL eval1",)),), (Data(pairs, label="LOL"),)))
    refused(UsageError, "one folder, or the two folders", Data(low=tmp_path))
    refused(UsageError, "one folder, or the two folders", Data(pairs, low=tmp_path, target=tmp_path))
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    refused(InputError, "holds no picture", Data(low=tmp_path / "low", target=tmp_path / "high"))
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "low" / "1.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "high" / "2.png")
    refused(InputError, r"no picture named 1\.\* \(2 without a partner\)", Data(tmp_path))


def test_splits_have_names(pairs: Path) -> None:
    plan = Plan((), (Data(pairs, label="LOL"), Data(low=pairs / "eval15" / "low", target=pairs / "eval15" / "high")))
    assert [(split.name, len(split.pairs)) for split in find_pictures(plan)] == [("LOL eval15", 7), ("low", 7)]


def test_protocols_share_predictions_only_where_they_agree(pairs: Path) -> None:
    parts = {name: prediction_part(protocol) for name, protocol in PROTOCOLS.items()}
    assert parts["strict"] == parts["retidiff_low_light"]
    assert parts["retinexformer_test_script"] == parts["dednet_test_script"]
    different = (
        "strict",
        "retinexformer_test_script",
        "uptflow_test_script",
        "retidiff_underwater",
        "retidiff_backlit",
        "untiled",
        "tiled_128",
        "twice",
    )
    assert len({parts[name] for name in different}) == len(different)
    low, target = (pairs / "eval15" / side / "a.png" for side in ("low", "high"))
    names = {
        name_of(Pair("a", low, target, "a"), Split("s", (), layout), get_protocol(protocol))
        for layout in (None, "sid")
        for protocol in ("strict", "retidiff_underwater")
    }
    assert len(names) == 4


YAML = """
models:
  - gamma
  - {name: clahe, label: equalised}
data:
  - FOLDER
metrics: [mae]
"""


@pytest.fixture
def file(tmp_path: Path, pairs: Path) -> Path:
    pytest.importorskip("pydantic")
    pytest.importorskip("yaml")
    path = tmp_path / "b.yaml"
    path.write_text(YAML.replace("FOLDER", str(pairs)))
    return path


def test_a_file(file: Path, pairs: Path) -> None:
    from tapetum.evaluation.benchmark.config import load_plan

    assert load_plan(file) == Plan(
        (Model("gamma"), Model("clahe", label="equalised")), (Data(pairs),), metrics=("mae",)
    )
    changed = load_plan(file, ["limit=2", "protocols=[strict, uptflow_test_script]", "models.1.options={steps: 3}"])
    assert (changed.limit, changed.protocols) == (2, ("strict", "uptflow_test_script"))
    assert changed.models[1].options == {"steps": 3}


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("metric=[mae]", r"b\.yaml: metric: unknown key, perhaps metrics"),
        ("models.1.wieghts=x", r"b\.yaml: models\.1\.wieghts: unknown key, perhaps weights"),
        ("limit=0", r"b\.yaml: limit: .*greater than or equal to 1"),
        ("models=[]", r"b\.yaml: models: .*at least 1"),
        ("data=lol", r"b\.yaml: data: .*valid list"),
        ("limit", "write key=value"),
    ],
)
def test_a_file_that_cannot_be_meant(file: Path, override: str, text: str) -> None:
    from tapetum.evaluation.benchmark.config import load_plan

    with pytest.raises(UsageError, match=text):
        load_plan(file, [override])


def test_the_file_of_make_benchmark_is_sound() -> None:
    pytest.importorskip("pydantic")
    pytest.importorskip("yaml")
    from tapetum.evaluation.benchmark.config import load_plan
    from tapetum.methods.registry import CLASSICAL_METHODS, is_raw
    from tapetum.weights.registry import NAMED_WEIGHTS

    plan = load_plan(Path(__file__).parents[3] / "benchmarks" / "benchmark.yaml")
    check_models(plan.models)
    dark = [entry for name, entry in NAMED_WEIGHTS.items() if not is_raw(name) and entry.task in (None, "low-light")]
    bundled = {entry.name for entry in dark}
    assert {model.name for model in plan.models} == {*bundled, *CLASSICAL_METHODS}
    assert [protocol.name for protocol in chosen_protocols(plan)] == ["strict"]
