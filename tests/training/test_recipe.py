"""Recipes are validated strictly, and every mistake is one line that says where."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from tapetum.errors import UsageError
from tapetum.methods.registry import get_method, make_config
from tapetum.training.recipe import find_recipe, list_recipes, load_recipe, read_recipe
from tapetum.training.stages import load_stages
from tapetum.weights.registry import NAMED_WEIGHTS

SMALL = {
    "name": "small",
    "method": "twilight",
    "config": "tiny",
    "data": {"patch": 32, "sources": [{"name": "a", "pictures": {"layout": "pictures", "folder": "x"}}]},
    "schedule": {"kind": "cosine_restarts", "periods": [10]},
    "run": {"steps": 10},
}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.mark.parametrize("name", list_recipes())
def test_bundled_recipes_are_valid(name):
    recipes = load_stages(name)
    content = read_recipe(find_recipe(name))
    stages = content.get("stages", {"": name})
    assert [r.name for r in recipes] == [f"{name}-{stage}" if stage else name for stage in stages]
    if all(place == f"{name}-{stage}" for stage, place in stages.items()) and "changes" not in content:
        # a stage has the same name, folder and weights, whether it is run by itself or with the others
        assert recipes == [load_recipe(r.name) for r in recipes]


RETIDIFF = {
    "retidiff-lolv1": ("lol_v1", "low-light"),
    "retidiff-lolv2-real": ("lol_v2_real", "low-light"),
    "retidiff-lolv2-synthetic": ("lol_v2_synthetic", "low-light"),
    "retidiff-sid": ("sid", "low-light"),
    "retidiff-uieb": ("uieb", "underwater"),
    "retidiff-lsui": ("lsui", "underwater"),
    "retidiff-baid": ("baid", "backlit"),
}


@pytest.mark.parametrize("name", RETIDIFF)
def test_retidiff_is_trained_for_each_task_as_published(name):
    decomposition, stage1, priors, stage2 = load_stages(name)
    data_set, task = RETIDIFF[name]
    for recipe in (decomposition, stage1, priors, stage2):
        assert recipe.data.sources[0].pictures.name == data_set
        assert (recipe.data.sources[0].resize is not None) == (task == "underwater")
    assert priors.config == stage2.config == {"auxiliary": True, "teacher": True, "task": task}
    assert priors.run.steps + stage2.run.steps == 400_000
    sizes = [(phase.after, phase.patch, phase.batch) for phase in stage1.data.progressive]
    assert sizes == [(92_000, 256, 4), (172_000, 320, 2), (210_000, 384, 2), (243_000, 464, 1), (276_000, 512, 1)]
    # stage 2 counts its patches and its rates from the first iteration of both phases (section 7.2 of the spec.)
    iterations = [priors.run.steps + phase.after for phase in stage2.data.progressive]
    assert iterations == [150_000, 210_000, 260_000, 320_000, 360_000]
    published = {
        1: 2e-4, 59_999: 2e-4, 60_000: 2e-5, 99_999: 2e-5, 100_000: 2e-4, 179_999: 2e-4, 180_000: 1e-4, 260_000: 5e-5,
        339_999: 5e-5, 340_000: 2.5e-5, 400_000: 2.5e-5,
    }  # fmt: skip
    for iteration, expected in published.items():
        recipe = priors if iteration < 100_000 else stage2
        step = iteration if recipe is priors else iteration - priors.run.steps
        assert recipe.schedule.rate(step, recipe.optimiser.rate, recipe.run.steps) == pytest.approx(expected), iteration
    rates = {1: 2e-4, 46_001: 2.275e-4, 92_001: 2.55e-4, 92_002: 2e-4, 300_000: 1e-6}
    schedule = stage1.schedule
    assert {i: schedule.rate(i, 2e-4, 300_000) for i in rates} == pytest.approx(rates, rel=1e-4)


@pytest.mark.parametrize(("name", "task"), [("retidiff-narrow", "low-light"), ("retidiff-backlit-narrow", "backlit")])
def test_the_narrow_retidiff_is_one_network_in_all_stages(name, task):
    _, stage1, priors, stage2 = load_stages(name)
    method = get_method("retidiff")
    wanted = dataclasses.replace(method.configs["narrow"], task=task)
    assert stage1.config == "narrow"
    assert make_config(method, priors.config) == make_config(method, stage2.config) == wanted


@pytest.mark.parametrize(("name", "method"), [("mine", "retinexformer"), ("archive", "lightendiffusion")])
def test_the_recipes_that_the_docs_show_are_whole(tmp_path, name, method):
    shown = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"```yaml\n(# {name}\.yaml\n.*?)```", shown, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    assert load_recipe(tmp_path / "mine.yaml").method == method


def test_bundled_weights_can_be_begun_with(small):
    recipe = load_recipe(small, ["weights=mamballie-lolv1"])
    assert recipe.weights == str(NAMED_WEIGHTS["mamballie-lolv1"].path)


def test_overrides_reach_any_depth(small):
    recipe = load_recipe(small, ["run.steps=5", "data.sources.0.weight=2.5", "optimiser.betas=[0.8, 0.9]"])
    assert (recipe.run.steps, recipe.data.sources[0].weight, recipe.optimiser.betas) == (5, 2.5, (0.8, 0.9))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("{kind: cosine, t_max: 4, minimum: 0.5}", [1.0, 0.75, 0.5]),
        ("{kind: multi_step, milestones: [2], gamma: 0.5, restarts: [0, 4], weights: [1, 0.25]}", [1.0, 0.5, 0.25]),
        ("{kind: cosine_restarts, periods: [4, 4], minima: [0.5, 0]}", [1.0, 0.75, 0.5]),
        ("{kind: linear}", [1.0, 0.8, 0.6]),
    ],
)
def test_every_schedule_can_be_written(small, schedule, rates):
    recipe = load_recipe(small, [f"schedule={schedule}"])
    assert [recipe.schedule.rate(i, 1.0, recipe.run.steps) for i in (1, 3, 5)] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("run.setps=5", "run.setps: unknown key"),
        ("run.steps=many", "run.steps: .*valid integer.*got 'many'"),
        ("run.steps=0", "run.steps: .*greater than or equal to 1, got 0"),
        ("method=foo", "unknown 'foo', choose from twilight"),
        ("data.sources=[]", "data.sources: .*at least 1 item"),
        ("data.sources.3.weight=1", "data.sources has entries 0 to 0"),
        ("data.sources.0.pictures.layout=zip", "data.sources.0.pictures: .*'zip'"),
        ("run.steps.more=1", "run.steps is a value, not a section"),
        ("run.steps", "write key=value"),
        ("schedule.minima=[1, 2]", "minima must have as many entries as periods"),
        ("schedule={kind: multi_step, milestones: [1], weights: []}", "weights must have as many entries as restarts"),
        ("schedule.kind=magic", "schedule: .*'magic'"),
        ("data.sources.0.low_key=1", "low_key is for kind: identity, source a is pairs"),
        ("data.sources.0={name: k, kind: identity, gain: 1, pictures: {layout: pictures, folder: x}}", "neither noise"),
        ("data.sources.0.kind=unpaired", "source a: kind: unpaired and pictures of layout: unpaired go together"),
        ("data.sources.0.pictures={layout: unpaired, low: a, normal: b}", "go together, these are pairs and unpaired"),
        ("data.sources.0.pictures={layout: unpaired, low: a}", "normal: is missing"),
        ("data.sources.0.pictures={layout: unpaired, low: [], normal: b}", "low: .*at least 1 item"),
        ("data.sources.0.pictures={layout: unpaired, low: [{layout: x}], normal: b}", "low.0: .*'x'"),
        ("data.sources.0.kind=lows", "kind: lows needs lists of pairs, not layout: pictures"),
        ("data.sources.0.highlights=2", "highlights: .*less than or equal to 1, got 2"),
        ("run.seed=-1", "run.seed: .*greater than or equal to 0"),
        ("name=../evil", "name: .*pattern"),
        ("name=..", "name: .*pattern"),
    ],
)
def test_mistakes_are_named(small, override, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_recipe(small, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a recipe is a mapping"),
        ("- 1\n- 2\n", "a recipe is a mapping of keys to values, this is list"),
        ("name: [1\nb: 2", "line 2: not valid YAML"),
        ("name: a\nrun:\n  steps: 1\n  steps: 2\n", "line 4: not valid YAML .the key 'steps' is given twice"),
        ("name: x\n", "method: is missing"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, text, says):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=says) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_unknown_recipe_lists_those_there_are():
    with pytest.raises(UsageError, match=r"no bundled recipe .*default"):
        load_recipe("nothing")
