"""The report in a real browser: it works, it asks for nothing, and no name in it does harm."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tapetum.evaluation.benchmark import charts
from tapetum.evaluation.benchmark.charts import beside, curve, curves, nice_ticks, quality_by_time
from tapetum.evaluation.benchmark.examples import ERROR_SCALE, error_map, histogram
from tapetum.evaluation.benchmark.measuring import Outcome
from tapetum.evaluation.benchmark.page import _table, _verdict
from tapetum.evaluation.benchmark.results import Results, tabulate
from tapetum.evaluation.benchmark.stored import About
from tapetum.evaluation.report import Row

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Opens a page in a browser without a window: its document after its scripts ran."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of these browsers is installed: {', '.join(BROWSERS)}")
    profile = tmp_path_factory.mktemp("profile")

    def run(page: Path, *options: str) -> str:
        base = [program, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        done = subprocess.run([*base, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return run


@pytest.fixture(scope="module")
def dom(browse: Any, finished: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The document after the second column was sorted twice and another model was chosen in the first example."""
    steps = """
    document.body.dataset.loaded = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
    const button = document.querySelectorAll("table.sortable th button")[1];
    const order = () => [...document.querySelectorAll("table.sortable")[0].tBodies[0].rows]
      .map((row) => Number(row.cells[1].dataset.value));
    button.click(); document.body.dataset.down = order().join(" ");
    button.click(); document.body.dataset.up = order().join(" ");
    const example = document.querySelector(".example");
    const before = example.querySelector(".after").src;
    example.querySelectorAll(".pick input")[1].click();
    document.body.dataset.changed = before !== example.querySelector(".after").src;
    const cut = example.querySelector(".stage input");
    cut.value = 20; cut.dispatchEvent(new Event("input"));
    document.body.dataset.cut = example.querySelector(".stage").style.getPropertyValue("--cut");
    document.getElementById("theme").click();
    """
    html = (finished.out / "report.html").read_text(encoding="utf-8")
    page = tmp_path_factory.mktemp("page") / "steps.html"
    page.write_text(html.replace("</body>", f"<script>addEventListener('load', () => {{{steps}}})</script></body>"))
    return browse(page, "--dump-dom", "--virtual-time-budget=3000")


def attribute(dom: str, name: str) -> str:
    found = re.search(rf'\bdata-{name}="([^"]*)"', dom)
    assert found is not None, f"no data-{name}"
    return found.group(1)


def test_scripts_ran_without_error(dom: str) -> None:
    assert attribute(dom, "ready") == "yes"
    assert "data-error=" not in dom


def test_sorting_by_a_click(dom: str) -> None:
    down, up = ([float(value) for value in attribute(dom, name).split()] for name in ("down", "up"))
    assert len(down) == 3
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert 'aria-sort="ascending"' in dom


def test_sliders_and_models(dom: str) -> None:
    assert attribute(dom, "changed") == "true"
    assert attribute(dom, "cut") == "20%"
    assert attribute(dom, "loaded") == "true"
    assert attribute(dom, "theme") in ("light", "dark")
    assert dom.count('class="example"') == 6, "worst, median and best for each of two protocols"


def test_a_name_that_is_html_is_text(dom: str, finished: Any) -> None:
    html = (finished.out / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "<b>A & B" not in html
    assert '<img src="x"' not in dom
    assert re.search(r"<title>([^<]*)</title>", dom).group(1) == "&lt;/title&gt;&lt;b&gt;A &amp; B"  # type: ignore[union-attr]


def test_nothing_is_asked_for(finished: Any) -> None:
    html = (finished.out / "report.html").read_text(encoding="utf-8")
    visible = html.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|<link|<iframe", re.sub(r"data:image/webp;base64,[^\"]+", "", visible)
    )
    addresses = set(re.findall(r'(?:src|href)="([^"]*)"', html))
    assert {a for a in addresses if not a.startswith("data:image/webp;base64,")} <= {
        "#t0",
        "#t1",
        "#facts",
        "#robustness",
    }
    assert "default-src 'none'" in html, "and the browser would not load it"


def test_how_results_hold(dom: str, finished: Any) -> None:
    """A line for each model in every chart, a row of pictures for each and for the dark ones."""
    held = dom.partition('id="robustness"')[2].partition("</section>")[0]
    assert held.count('class="series') == 6 * 3
    assert held.count("<circle") == 3 * (3 * 6 + 3 * 5)
    assert held.count("<img") == (3 + 1) * 6
    for model in finished.plan.models:  # a browser writes quotes in its own way
        assert f"<b>{escape(model.title, quote=False)}</b>" in held


def test_what_a_reader_must_know_is_said(finished: Any) -> None:
    html = (finished.out / "report.html").read_text(encoding="utf-8")
    facts = finished.results.facts
    for text in (facts["date"], facts["machine"], facts["versions"]["numpy"], "eval15", "strict", facts["gt_mean"]):
        assert text in html, text


@pytest.mark.parametrize("size", ["1200,2000", "400,2000"])
def test_it_is_drawn(browse: Any, finished: Any, tmp_path: Path, size: str) -> None:
    picture = tmp_path / "shot.png"
    browse(finished.out / "report.html", f"--screenshot={picture}", f"--window-size={size}", "--hide-scrollbars")
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[0] == 2000
    assert len(np.unique(pixels[::3, ::3].reshape(-1, 3), axis=0)) > 300, "pictures, not a blank page"


MODELS = ("default", "mamballie-lolv1", "dednet-lolv1", "uptflow-lolv1", "gamma", "lightendiffusion-unpaired")


@pytest.mark.parametrize("width", [1280, 400])
def test_it_has_room(browse: Any, tmp_path: Path, width: int) -> None:
    """No word of a model's name is broken, nothing of a chart is outside of its card or on other names; and on a screen
    the table fits into its card."""
    plain = {"psnr_rgb_uint8": 20.0, "ssim_gaussian_valid_uint8": 0.8}
    values = plain | {f"{name}/gt_mean_gray601_rgb": value for name, value in plain.items()}
    outcomes, abouts = [], {}
    for i, model in enumerate(MODELS):  # the second to fourth are nearly the same
        seconds, shift = (0.02, 0.9, 0.95, 1.0, 0.001, 0.2)[i], 0.1 * (i if i in (1, 2, 3) else 20 * i)
        for name in ("our485/1", "our485/2"):
            row = Row(model, "s", name, name, {key: value + shift for key, value in values.items()}, seconds)
            outcomes.append(Outcome("strict", model, "s", name, row))
        abouts[model] = About("torch:cpu", "", 1_034_000_000, 2_016_621, 33_720_000_000, "400x600")
    (table,) = tabulate(outcomes, MODELS, {"s": {"our485/1": "1", "our485/2": "2"}})
    body = _table(table, Results({}, [table], abouts, [])) + quality_by_time(table, "psnr_rgb_uint8")
    script = """
    const said = document.body.dataset, box = (node) => node.getBoundingClientRect();
    const scroll = document.querySelector(".scroll"), card = box(document.querySelector("section"));
    said.wide = scroll.scrollWidth > scroll.clientWidth;
    said.broken = [...document.querySelectorAll("tbody th")].flatMap((head) => {
      const text = head.firstChild, words = [...text.data.matchAll(/[^-]+/g)];
      return words.filter((word) => {
        const range = document.createRange();
        range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);
        return range.getClientRects().length > 1;
      });
    }).join(" ");
    const texts = [...document.querySelectorAll(".scatter text, .legend i")].map(box);
    const dots = [...document.querySelectorAll(".scatter circle")].map(box);
    said.texts = texts.length;
    said.outside = [...texts, ...dots].filter((b) => b.left < card.left || b.right > card.right).length;
    const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
    const ink = ({left, right, top, bottom}) => ({left, right, top: top + 3, bottom: bottom - 3}); // of digits
    const numbers = [...document.querySelectorAll("text.number")].map(box).map(ink);
    said.hidden = numbers.filter((n) => [...numbers, ...dots].some((o) => o !== n && !apart(n, o))).length;
    """
    css = (Path(charts.__file__).parent / "page.css").read_text()
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><style>{css}</style><body><main><section>{body}</section></main>"
        f"<script>addEventListener('load', () => {{{script}}})</script></body>",
        encoding="utf-8",
    )
    dom = browse(page, "--dump-dom", f"--window-size={width},2000", "--hide-scrollbars", "--virtual-time-budget=3000")
    assert int(attribute(dom, "texts")) > 2 * len(MODELS)
    assert [attribute(dom, name) for name in ("broken", "outside", "hidden")] == ["", "0", "0"]
    assert attribute(dom, "wide") == ("false" if width > 1000 else "true")


@given(st.lists(st.tuples(st.integers(9, 94), st.integers(6, 86)), min_size=1, max_size=12))
def test_numbers_beside_points(points: list[tuple[int, int]]) -> None:
    found = beside(points)
    assert len(found) == len(points)
    if len(points) == 1:
        assert found == [(13, 0)]


def test_the_examples_say_of_whom_they_are_hardest(finished: Any) -> None:
    html = (finished.out / "report.html").read_text(encoding="utf-8")
    for text in ("hardest", "in the middle", "easiest"):
        assert html.count(f'"heading": "{text} for all models together, by their mean PSNR"') == 2


def test_error_map() -> None:
    target = np.full((2, 3, 3), 0.5, np.float32)
    dark, bright = error_map(target, target), error_map(target + ERROR_SCALE, target)
    assert dark.shape == (2, 3, 3)
    assert dark.max() < 30
    assert bright.max() > 250
    assert np.array_equal(bright, error_map(target + 0.5, target)), "beyond the scale it stays"


def test_histogram() -> None:
    image = np.zeros((4, 4, 3), np.float32)
    image[:2] = 1
    shares = histogram(image)
    assert shares[0] == shares[-1] == 0.5
    assert sum(shares) == 1
    assert curve(shares).startswith("M0,0.0L4,60.0")


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_ticks(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert ticks[0] <= low + 1e-6 * max(1, abs(low))
    assert ticks[-1] >= low + span - 1e-6 * max(1, abs(low) + span)
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(("models", "scenes", "few"), [(2, 5, True), (2, 6, False), (5, 8, True), (5, 9, False)])
def test_too_few_scenes_are_said(models: int, scenes: int, few: bool) -> None:
    """By how many models there are, whose pairs Holm's correction is for; equal ones are never told apart."""
    names, titles = [f"p{i}" for i in range(scenes)], [f"m{i}" for i in range(models)]
    rows = [Row(title, "s", name, name, {"psnr_rgb_uint8": 20.0}) for title in titles for name in names]
    outcomes = [Outcome("strict", row.model, "s", row.name, row) for row in rows]
    (table,) = tabulate(outcomes, titles, {"s": {name: name for name in names}})
    text = f"{scenes} scenes are too few for any difference among {models} models to be significant."
    assert (text in _verdict(table)) is few


def test_curves_have_gaps_where_a_value_is_missing() -> None:
    drawn = curves("Q", "higher is better", ["a", "b", "c"], {"one": [1.0, None, 3.0], "two": [1.0, 2.0, 3.0]})
    one, two = drawn.split('<g class="series')[1:]
    assert (one.count("<circle"), one.count("<line")) == (2, 0)
    assert (two.count("<circle"), two.count("<line")) == (3, 2)
    assert curves("Q", "", ["a"], {"one": [None]}) == ""
