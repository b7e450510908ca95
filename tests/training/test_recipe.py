"""Recipes are validated strictly, and every mistake is one line that says where."""

import pytest
import yaml

from tapetum.errors import UsageError
from tapetum.training.recipe import list_recipes, load_recipe
from tapetum.training.stages import load_stages

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
    assert [r.name.removeprefix(name) for r in recipes] in ([""], ["-stage1", "-stage2"])
    # a stage has the same name, folder and weights, whether it is run by itself or with the others
    assert recipes == [load_recipe(r.name) for r in recipes]


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
