"""Reti-Diff's files: published ones load, what they keep apart is joined, and stages begin with the right ones."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tapetum.errors import UsageError, WeightsError
from tapetum.imaging import Picture, read_picture, write_picture
from tapetum.methods.registry import create_model
from tapetum.methods.retidiff import METHOD, Decomposer, Decomposition, RetiDiff, RetiDiffConfig, Stage1, complete
from tapetum.methods.retidiff.checkpoint import begin, begin_stage1, tie
from tapetum.weights.loading import import_published, load_model, save_model

TINY = METHOD.configs["tiny"]
# as published files are, but small
SMALL = dataclasses.replace(TINY, decomposition=False, teacher=False)
CASES = Path(__file__).parents[2] / "parity" / "cases" / "retidiff"
Seeded = Callable[..., Any]
Make = Callable[..., Tensor]


def test_parts_are_shared_not_copied() -> None:
    """The second names of the manifest are the very tensors of the first."""
    content = json.loads((CASES / "full_manifest_s2.json").read_text())
    with torch.device("meta"):
        state = RetiDiff(METHOD.configs["stage2"]).state_dict(keep_vars=True)
    assert len(state) == 625
    assert len(content["aliases"]) == 124
    for second, first in content["aliases"].items():
        assert state[second] is state[first]


def published(network: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("auxiliary", [False, True])
def test_published_stage2_files(auxiliary: bool, tmp_path: Path, seeded: Seeded) -> None:
    """The moving average is taken, with or without the auxiliary decoder and a prefix; what it is, the keys tell."""
    config = dataclasses.replace(SMALL, auxiliary=auxiliary)
    raw, average = seeded(RetiDiff, config, 1), seeded(RetiDiff, config, 2)
    prefixed = {f"module.{key}": tensor for key, tensor in published(average).items()}
    torch.save({"params": published(raw), "params_ema": prefixed}, tmp_path / "net_g.pth")
    loaded = load_model(tmp_path / "net_g.pth")
    assert isinstance(loaded, RetiDiff)
    assert loaded.config == config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), average.parameters(), strict=True))
    torch.save({"params": published(raw)}, tmp_path / "net_g.pth")
    assert torch.equal(next(load_model(tmp_path / "net_g.pth").parameters()), next(raw.parameters()))


def test_names_that_differ(caplog: pytest.LogCaptureFixture, seeded: Seeded) -> None:
    """The last name in the published network's order counts, and it is said."""
    state = published(seeded(RetiDiff, SMALL))
    root = "rex_condition.E_R.2.body.0.bias"
    names = [root, root.replace("E_R", "E_I")]
    names += [name.replace("rex_condition", "rex_diffusion.condition") for name in names]
    for number, name in enumerate(names):
        state[name] = torch.full_like(state[name], float(number))
    state["img_denoise.resmlp.0.bias"] = state["img_denoise.resmlp.0.bias"] + 1
    with caplog.at_level(logging.INFO):
        tied = tie(state)
    assert all(torch.equal(tied[name], state[names[3]]) for name in names)
    assert torch.equal(tied["img_denoise.resmlp.0.bias"], state["img_diffusion.model.resmlp.0.bias"])
    assert "2 tensors differ under their names" in caplog.text
    assert "under second names: tied" in caplog.text
    network = RetiDiff(SMALL)
    network.load_state_dict(state)  # PyTorch's own loading agrees
    assert torch.equal(network.rex_condition.state_dict()["E_R.2.body.0.bias"], tied[root])
    for second in names[1:]:
        del state[second]
    assert set(tie(state)) == set(network.state_dict())  # missing second names are filled in


@pytest.mark.parametrize(("dim", "factor"), [(28, 1.03), (44, 2.01), (8, 2.0), (12, 3.7)])
def test_widths_of_feed_forward_layers_are_found(dim: int, factor: float) -> None:
    """Also where the quotient of two widths, times one of them, is rounded below the other."""
    config = dataclasses.replace(SMALL, dim=dim, ffn_expansion_factor=factor)
    with torch.device("meta"):
        state = RetiDiff(config).state_dict()
        found = METHOD.recognise(state)
        assert isinstance(found, RetiDiffConfig)
        again = RetiDiff(found).state_dict()
    assert {key: tensor.shape for key, tensor in again.items()} == {key: t.shape for key, t in state.items()}


def test_a_files_own_schedule_wins(tmp_path: Path, seeded: Seeded) -> None:
    other = seeded(RetiDiff, dataclasses.replace(SMALL, timesteps=8, linear_end=0.5))
    torch.save({"params": published(other)}, tmp_path / "t8.pth")
    loaded = load_model(tmp_path / "t8.pth")
    assert isinstance(loaded, RetiDiff)
    assert (loaded.config.timesteps, loaded.config.linear_end) == (8, 0.5)
    assert torch.equal(loaded.img_diffusion.betas, other.img_diffusion.betas)
    with pytest.raises(WeightsError, match=r"of another shape: img_diffusion\.betas \(8,\) instead of \(4,\)"):
        load_model(tmp_path / "t8.pth", config=SMALL)


def test_without_its_decomposition_it_says_what_to_do(tmp_path: Path, seeded: Seeded, picture: Make) -> None:
    network = seeded(RetiDiff, SMALL)
    with pytest.raises(WeightsError, match=r"no decomposition network.*tapetum weights import FILE --with"):
        network(picture())
    with pytest.raises(WeightsError, match="no decomposition network"):
        seeded(Stage1, SMALL.stage1)(picture())


@pytest.fixture
def decomposition_files(tmp_path: Path, seeded: Seeded) -> tuple[Path, Path]:
    """One bare file, as for inference, and one wrapped as for training."""
    low, high = seeded(lambda _: Decomposer(), None, 3), seeded(lambda _: Decomposer(), None, 4)
    torch.save(low.state_dict(), tmp_path / "retinex_decomnet.pth")
    wrapped = {"epoch": 340, "state_dict": {"model_R": high.state_dict()}, "optimizer": {"lr": 0.1}}
    torch.save(wrapped, tmp_path / "init_high.pth")
    return tmp_path / "retinex_decomnet.pth", tmp_path / "init_high.pth"


def test_joining_what_published_files_keep_apart(
    tmp_path: Path, seeded: Seeded, picture: Make, run: Make, decomposition_files: tuple[Path, Path]
) -> None:
    low_file, high_file = decomposition_files
    low, high = (torch.load(low_file), torch.load(high_file)["state_dict"]["model_R"])
    stage2, stage1 = seeded(RetiDiff, SMALL), seeded(Stage1, SMALL.stage1)
    torch.save({"params_ema": published(stage2)}, tmp_path / "s2.pth")
    torch.save({"params_ema": published(stage1)}, tmp_path / "s1.pth")

    whole = load_model(import_published(tmp_path / "s2.pth", tmp_path / "s2.safetensors", joined=[low_file]))
    assert isinstance(whole, RetiDiff)
    assert torch.equal(whole.decom_low.decom[0].weight, low["decom.0.weight"])
    assert run(whole, picture()).shape == (1, 3, 16, 24)

    import_published(tmp_path / "s1.pth", tmp_path / "s1.safetensors", joined=[low_file, high_file])
    begun = RetiDiff(TINY)
    begin(begun, tmp_path / "s1.safetensors")
    assert torch.equal(begun.teacher.decom_high.decom[0].weight, high["decom.0.weight"])
    assert torch.equal(begun.G.img_output.weight, stage1.G.img_output.weight)

    pair = load_model(import_published(low_file, tmp_path / "pair.safetensors", joined=[high_file]))
    assert isinstance(pair, Decomposition)
    assert torch.equal(pair.decom_high.decom[6].bias, high["decom.6.bias"])
    first = Stage1(TINY.stage1)
    begin_stage1(first, tmp_path / "pair.safetensors")
    assert torch.equal(first.decom_low.decom[0].weight, low["decom.0.weight"])
    assert complete(seeded(RetiDiff, SMALL), [tmp_path / "pair.safetensors"]).config.decomposition

    for network, paths, says in (
        (stage1, [low_file], "takes two decomposition networks, of dark pictures and of targets, got 1"),
        (stage2, [low_file, high_file], "takes one decomposition network, got 2"),
        (whole, [low_file], "have their decomposition networks already"),
        (stage2, [tmp_path / "s1.pth"], "holds no decomposition network of Reti-Diff"),
    ):
        with pytest.raises(UsageError, match=says):
            complete(network, paths)


def test_pictures_of_another_task_are_not_measured(tapetum: Callable[..., Any], tmp_path: Path, seeded: Seeded) -> None:
    for side in ("lq", "hq"):
        (tmp_path / "UIEB" / "test" / side).mkdir(parents=True)
        write_picture(Picture(np.full((16, 16, 3), 40, np.uint8)), tmp_path / "UIEB" / "test" / side / "0.png")
    config = dataclasses.replace(METHOD.configs["tiny"], task="backlit")
    save_model(seeded(RetiDiff, config), tmp_path / "backlit.safetensors", {})
    given = ("--data", tmp_path / "UIEB", "--layout", "uieb", "--model", "retidiff")
    result = tapetum("evaluate", *given, "--weights", tmp_path / "backlit.safetensors")
    assert (result.code, len(result.errors)) == (2, 1)
    assert "retidiff:backlit was trained for backlit pictures, those of uieb are underwater" in result.err
    config = dataclasses.replace(config, task="underwater")
    save_model(seeded(RetiDiff, config), tmp_path / "under.safetensors", {})
    assert tapetum("evaluate", *given, "--weights", tmp_path / "under.safetensors").code == 0


def test_on_the_command_line(
    tapetum: Callable[..., Any], tmp_path: Path, seeded: Seeded, decomposition_files: tuple[Path, Path]
) -> None:
    """A published pair of files becomes one, and that enhances; without the other file, one line says what to do."""
    low_file, _ = decomposition_files
    torch.save({"params_ema": published(seeded(RetiDiff, SMALL))}, tmp_path / "s2.pth")
    write_picture(Picture(np.full((9, 13, 3), 40, np.uint8)), tmp_path / "night.png")
    joined = tapetum("weights", "import", tmp_path / "s2.pth", "--with", low_file)
    assert joined.code == 0
    assert "tensors under second names: tied to the first" in joined.err.splitlines()[0]
    enhance = ["enhance", tmp_path / "night.png", "--model", "retidiff", "--device", "cpu", "-o", tmp_path / "out.png"]
    alone = tapetum(*enhance, "--weights", tmp_path / "s2.pth")
    assert alone.code == 2
    assert len(alone.errors) == 1
    assert "join both by `tapetum weights import FILE --with DECOMPOSITION`" in alone.errors[0]
    whole = ["--weights", tmp_path / "s2.safetensors"]
    assert "task must be low-light, underwater or backlit" in tapetum(*enhance, *whole, "--task", "fog").errors[0]
    done = tapetum(*enhance, *whole, "--task", "backlit", "--seed", "3", "--steps", "2")
    assert done.code == 0, done.err
    assert read_picture(tmp_path / "out.png").pixels.shape == (9, 13, 3)


def test_joining_is_for_those_that_need_it(tmp_path: Path) -> None:
    save_model(create_model("twilight", "tiny"), tmp_path / "t.safetensors", {})
    with pytest.raises(UsageError, match="weights of twilight, which are whole"):
        import_published(tmp_path / "t.safetensors", tmp_path / "o.safetensors", joined=[tmp_path / "t.safetensors"])


def test_beginning_stages_with_the_wrong_file(tmp_path: Path, seeded: Seeded) -> None:
    """Each in one line that says what is wrong and what to do."""
    files = {name: tmp_path / f"{name}.safetensors" for name in ("s1", "s1_bare", "s2", "s2_trained", "other", "wide")}
    save_model(seeded(Stage1, TINY.stage1), files["s1"], {})
    save_model(seeded(Stage1, SMALL.stage1), files["s1_bare"], {})
    save_model(seeded(RetiDiff, dataclasses.replace(TINY, teacher=False)), files["s2"], {})
    save_model(seeded(RetiDiff, TINY), files["s2_trained"], {})
    save_model(create_model("twilight", "tiny"), files["other"], {})
    save_model(seeded(Stage1, dataclasses.replace(TINY.stage1, dim=16)), files["wide"], {})
    for name, says in (
        ("s2", "a stage-2 file without the stage-1 teacher that training needs: begin with a file of retidiff_stage1"),
        ("s1_bare", "a stage-1 file without its decomposition networks.*--with LOW --with HIGH"),
        ("other", "holds no stage 1 of Reti-Diff"),
        ("wide", "does not fit stage 2 of this retidiff: .* of another shape"),
    ):
        with pytest.raises(WeightsError, match=says):
            begin(RetiDiff(TINY), files[name])
    begin(RetiDiff(TINY), files["s1"])
    begin(RetiDiff(TINY), files["s2_trained"])
    for name in ("other", "s1_bare"):
        with pytest.raises(WeightsError, match=r"holds no pair .*: train retidiff_decomposition"):
            begin_stage1(Stage1(TINY.stage1), files[name])
    with pytest.raises(UsageError, match="auxiliary, decomposition and teacher: true"):
        begin(RetiDiff(SMALL), files["s1"])
    with pytest.raises(UsageError, match="decomposition: true"):
        begin_stage1(Stage1(SMALL.stage1), files["s1"])
