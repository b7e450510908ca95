"""What methods declare: options with their ranges, and properties that survive as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.errors import UsageError
from tapetum.methods.contract import SAMPLES, SEED, Option, Properties, choose

STEPS = Option("steps", 20, "steps", 1, 1000)
ETA = Option("eta", 0.0, "noise", 0, 1)
SAMPLER = Option("sampler", "ddim", "how", choices=("ddim", "plms", "dpm"))
HEAT = Option("temperature", 1.0, "spread", 0)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        (STEPS, 0, "steps must be a whole number from 1 to 1000, got 0"),
        (STEPS, 1001, "got 1001"),
        (STEPS, 2.5, "got 2.5"),
        (STEPS, True, "got True"),
        (STEPS, "5", "got '5'"),
        (ETA, -0.1, "eta must be a number from 0 to 1, got -0.1"),
        (ETA, float("nan"), "got nan"),
        (HEAT, float("inf"), "temperature must be a number from 0 up, got inf"),
        (SAMPLER, "euler", "sampler must be ddim, plms or dpm, got 'euler'"),
        (SAMPLER, 3, "got 3"),
        (SEED, -1, "seed must be a whole number from 0 to 18446744073709551615, got -1"),
        (SEED, 2**64, "got 18446744073709551616"),
        (SAMPLES, 0, "samples must be a whole number from 1 to 1000, got 0"),
    ],
)
def test_a_wrong_value_is_one_clear_line(option: Option, value: Any, words: str) -> None:
    with pytest.raises(UsageError) as error:
        option.check(value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@given(st.integers(1, 1000), st.floats(0, 1))
def test_right_values_have_the_type_of_the_option(steps: int, eta: float) -> None:
    chosen = choose((STEPS, ETA, SAMPLER), {"steps": steps, "eta": eta, "sampler": None}, "m")
    assert chosen == {"steps": steps, "eta": eta, "sampler": "ddim"}
    assert isinstance(ETA.check(1), float)


def test_an_unknown_option_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"^m has no option temperature: it has steps, seed$"):
        choose((STEPS, SEED), {"temperature": 1.0}, "m")
    with pytest.raises(UsageError, match=r"^m has no option steps: it has none$"):
        choose((), {"steps": 1}, "m")
    assert choose((), {"steps": None}, "m") == {}


def test_properties_survive_as_json() -> None:
    properties = Properties(
        size_multiple=8, noise_scale=8, options=(STEPS, ETA, SAMPLER, SEED), iterative=True, no_onnx="!"
    )
    assert Properties.from_json(properties.to_json()) == properties


def test_files_of_earlier_versions_are_understood() -> None:
    text = json.dumps({"size_multiple": 4, "deterministic": True, "default_steps": None})
    assert Properties.from_json(text) == Properties(size_multiple=4)
    with pytest.raises(ValueError, match="unknown properties: colour"):
        Properties.from_json('{"colour": 1}')


def test_options_have_no_onnx_form() -> None:
    with pytest.raises(ValueError, match="an ONNX file has no inputs for options"):
        Properties(options=(STEPS,))


def test_tiles_lie_on_the_noise() -> None:
    with pytest.raises(ValueError, match="size_multiple 4 is no multiple of noise_scale 8"):
        Properties(size_multiple=4, noise_scale=8)
