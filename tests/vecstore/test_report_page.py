"""The report in a real browser: what a reader sees, in light and dark, wide and on a phone."""

from __future__ import annotations

import io
import os
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.vecstore.report_examples import assessment, options
from tests.vecstore.test_report import HOSTILE
from tests.vecstore.upgrade_examples import planted
from vecstore.upgrade.assessment import Pictures
from vecstore.upgrade.report import write_report

VIEWS = {
    "light": (1280, "light"), "dark": (1280, "dark"),
    "phone": (390, "light"), "phone-dark": (390, "dark"), "tablet": (768, "light"),
}  # fmt: skip

# Every run of text with the colour of its letters and of the ground that it stands on.
TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility()) continue;
    if (['title', 'desc'].includes(parent.localName)) continue;
    const style = getComputedStyle(parent);
    let ground = parent;
    while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)')
      ground = ground.parentElement;
    found.push({
      text: walker.currentNode.data.trim().slice(0, 40),
      ink: parent instanceof SVGElement ? style.fill : style.color,
      ground: getComputedStyle(ground).backgroundColor,
      size: parent.getBoundingClientRect().height,
      drawn: parent instanceof SVGElement,
    });
  }
  return found;
}"""

# Every chart that is shown: its box, and of each series the boxes and the colour of its marks.
CHARTS = """() => [...document.querySelectorAll('svg[role=img]')].filter(s => s.checkVisibility())
  .map(svg => ({
    id: svg.id, box: svg.getBoundingClientRect().toJSON(),
    name: svg.querySelector('title').textContent,
    series: [...svg.querySelectorAll('[data-series]')].map(group => ({
      name: group.dataset.series,
      ink: getComputedStyle(group.querySelector('.mark')).stroke === 'none'
        ? getComputedStyle(group.querySelector('.mark')).fill
        : getComputedStyle(group.querySelector('.mark')).stroke,
      opacity: Number(getComputedStyle(group.querySelector('.mark')).opacity),
      marks: [...group.querySelectorAll('.mark')].map(m => m.getBoundingClientRect().toJSON()),
    })),
  }))"""


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "expected chromium on the PATH, found none: run `make browser`"
    # Chromium refuses to build its sandbox as root, as containers run their tests.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(assessment(), tmp_path_factory.mktemp("report") / "out.html")


def opened(browser, file, view, *, height=800):
    """Open a report; also return what it complained of and asked for."""
    width, scheme = VIEWS[view]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    noise = []
    page.on("console", lambda message: noise.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: noise.append(f"error: {error}"))
    page.on("request", lambda request: noise.append(f"request: {request.url}"))
    page.goto(file.as_uri())
    return page, noise


@pytest.fixture(scope="module", params=VIEWS)
def seen(request, browser, report):
    page, noise = opened(browser, report, request.param)
    yield page, noise, request.param
    page.close()


def pixels(shot: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=np.int64)


def rgb(colour: str) -> np.ndarray:
    return np.array([float(v) for v in colour[colour.index("(") + 1 : -1].split(",")[:3]])


def contrast(one, other) -> float:
    def luminance(colour):
        c = np.asarray(colour) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [
            0.2126, 0.7152, 0.0722,
        ]  # fmt: skip

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def ground_of(image: np.ndarray) -> np.ndarray:
    """Return the most frequent colour."""
    packed, counts = np.unique(image @ [1 << 16, 1 << 8, 1], return_counts=True)
    most = int(packed[counts.argmax()])
    return np.array([most >> 16, most >> 8 & 255, most & 255])


def test_the_page_is_quiet_and_asks_for_nothing_but_itself(seen, report):
    _, noise, _ = seen
    assert noise == [f"request: {report.as_uri()}"]


def test_the_page_is_painted_on_the_ground_of_its_scheme(seen):
    page, _, view = seen
    image = pixels(page.screenshot(full_page=True))
    ground = ground_of(image)
    assert (ground.mean() < 60) == view.endswith("dark")
    assert (ground.mean() > 200) != view.endswith("dark")
    inked = (np.abs(image - ground).max(axis=2) > 60).mean()
    assert 0.01 < inked < 0.5


def test_nothing_is_wider_than_the_screen(seen):
    page, _, view = seen
    assert page.evaluate("document.documentElement.scrollWidth") == VIEWS[view][0]
    over = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => e.checkVisibility()
             && !e.closest('.scroll table, pre')
             && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML)"""
    )
    assert over == []


def test_wide_tables_scroll_inside_their_box(browser, report):
    page, _ = opened(browser, report, "phone")
    scrolled = page.evaluate(
        """() => { const box = document.querySelector('.scroll'); box.scrollLeft = 9999;
             const name = box.querySelector('tbody th').getBoundingClientRect();
             const end = box.querySelector('tbody tr').lastElementChild.getBoundingClientRect();
             return [box.scrollLeft, name.left, end.right, box.getBoundingClientRect().right]; }"""
    )
    page.close()
    assert scrolled[0] > 50
    assert scrolled[1] >= 0
    assert scrolled[2] <= scrolled[3] + 1


def test_all_text_contrasts_with_its_ground(seen):
    page, _, _ = seen
    texts = page.evaluate(TEXTS)
    assert len(texts) > 120
    assert sum(text["drawn"] for text in texts) > 30
    weak = [t for t in texts if contrast(rgb(t["ink"]), rgb(t["ground"])) < 4.5]
    assert weak == []


@pytest.mark.parametrize(
    "place", ["h1", ".reason", ".facts .meaning", ".chosen .badge", "td small", "pre code",
              "section .note", ".legend li"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_are_painted_with_contrast(browser, report, place, scheme):
    page = browser.new_page(
        viewport={"width": 1280, "height": 800}, color_scheme=scheme, device_scale_factor=3
    )
    page.goto(report.as_uri())
    image = pixels(page.locator(place).first.screenshot())
    page.close()
    ground = ground_of(image)
    best = max(contrast(colour, ground) for colour in np.unique(image.reshape(-1, 3), axis=0))
    assert best >= 4.5


def test_every_series_of_every_chart_is_painted_in_its_colour_inside_it(seen):
    page, _, view = seen
    charts = {chart["id"]: chart for chart in page.evaluate(CHARTS)}
    width = "narrow" if view.startswith("phone") else "wide"
    assert set(charts) == {f"quality-{width}", "calibration", "coverage", "before", "after"}
    counts = {
        name: {series["name"]: len(series["marks"]) for series in chart["series"]}
        for name, chart in charts.items()
    }
    assert counts == {
        f"quality-{width}": {
            "stay": 2, "naive": 1, "query-side": 1, "forward": 2, "cascade": 4, "re-embed": 2,
        },
        "calibration": {"forward": 400},
        "coverage": {"stay": 4, "re-embed": 5},
        "before": {"stay": 300, "re-embed": 300},
        "after": {"forward": 300, "re-embed": 300},
    }  # fmt: skip
    for name, chart in charts.items():
        image = pixels(page.locator(f"#{name}").screenshot())
        ground, box = ground_of(image), chart["box"]
        assert box["width"] > 300
        for series in chart["series"]:
            for mark in series["marks"]:
                assert mark["width"] > 1.5 or mark["height"] > 1.5
                assert box["left"] - 1 <= mark["left"] <= mark["right"] <= box["right"] + 1
                assert box["top"] - 1 <= mark["top"] <= mark["bottom"] <= box["bottom"] + 1
            painted = series["opacity"] * rgb(series["ink"]) + (1 - series["opacity"]) * ground
            near = np.abs(image - painted).max(axis=2) < 24
            assert contrast(painted, ground) > (3 if series["opacity"] == 1 else 2)
            # More than whiskers have, whose colour is the same: 12 pixels high, 1.5 wide.
            least = 16 if name.startswith("quality") else 5
            assert near.sum() > least * min(len(series["marks"]), 40), (name, series["name"])


LABELS = """() => [...document.querySelectorAll('svg[role=img]')].filter(s => s.checkVisibility())
  .map(svg => [...svg.querySelectorAll('text')].map(label => {
    const box = label.getBoundingClientRect();
    return [label.textContent, box.left, box.top, box.right, box.bottom]; }))"""


def meeting(page) -> list[tuple[str, str]]:
    """Return the pairs of labels that overlap, of all charts that are shown."""
    found = []
    for chart in page.evaluate(LABELS):
        for i, (one, left, top, right, bottom) in enumerate(chart):
            for other, left2, top2, right2, bottom2 in chart[i + 1 :]:
                beside = right <= left2 or right2 <= left
                # Boxes of letters have room above and below.
                if not (beside or bottom <= top2 + 3 or bottom2 <= top + 3):
                    found.append((one, other))
    return found


def test_labels_in_the_charts_do_not_meet(seen):
    assert meeting(seen[0]) == []


@pytest.mark.parametrize("view", ["light", "phone"])
@pytest.mark.parametrize(
    ("items", "pairs", "recommended"),
    [(7_000, 0, "cascade@20+lexical"), (2_000_000, 500, "stay+lexical"), (900, 500, "re-embed")],
    ids=["pairs-there", "large", "small"],
)
def test_any_sizes_make_a_chart_whose_bands_lie_apart(
    browser, tmp_path, view, items, pairs, recommended
):
    sized = assessment(
        items=items, options=options(items=items, pairs=pairs), recommended=recommended
    )
    page, _ = opened(browser, write_report(sized, tmp_path / "out.html"), view)
    bands = page.evaluate(
        """() => [...document.querySelectorAll('.band')].filter(b => b.checkVisibility())
             .map(b => [b.getBoundingClientRect().left, b.getBoundingClientRect().right])"""
    )
    chart = next(c for c in page.evaluate(CHARTS) if c["id"].startswith("quality"))
    labels = meeting(page)
    page.close()
    assert len(bands) == len({o.cost.documents for o in sized.options})
    assert all(end < start for (_, end), (start, _) in pairwise(sorted(bands)))
    assert labels == []
    assert len(chart["series"]) == 6
    for series in chart["series"]:
        for mark in series["marks"]:
            middle = (mark["left"] + mark["right"]) / 2
            assert any(start < middle < end for start, end in bands)
            assert chart["box"]["left"] <= mark["left"] <= mark["right"] <= chart["box"]["right"]


def test_the_recommendation_is_read_without_scrolling(browser, report):
    page, _ = opened(browser, report, "light")
    for place in ("h1", ".reason", ".facts", "#next"):
        box = page.locator(place).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800
    assert page.locator("h1").inner_text() == "Translate, cascade of 50, and words"
    assert page.locator("tr.chosen th").inner_text().split("\n")[0].startswith("Translate, cascade")
    page.close()


def test_charts_have_names_and_descriptions_for_those_who_do_not_see_them(browser, report):
    page, _ = opened(browser, report, "light")
    for name in (
        "Quality against embedding cost", "Score calibration", "Coverage over time",
        "Before translation", "After translation",
    ):  # fmt: skip
        assert page.get_by_role("img", name=name).count() == 1, name
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("columnheader").count() == 8
    assert page.get_by_role("rowheader").count() == 12
    page.close()


def test_paper_is_white_and_holds_the_whole_table(browser, report):
    page, _ = opened(browser, report, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 680, "height": 1000})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(
        """() => document.querySelector('table').getBoundingClientRect().right <= innerWidth"""
    )
    page.close()


def test_hostile_names_are_read_as_text_and_run_nothing(browser, tmp_path):
    hostile = assessment(collection=HOSTILE, source="x" * 300, target=HOSTILE)
    page, noise = opened(browser, write_report(hostile, tmp_path / "out.html"), "phone")
    assert len(noise) == 1
    assert HOSTILE in page.locator(".subject").inner_text()
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


def test_a_report_without_pictures_and_history_is_a_page_too(browser, tmp_path):
    bare = assessment(pictures=Pictures(), coverage=(), recommended="stay")
    page, noise = opened(browser, write_report(bare, tmp_path / "out.html"), "light")
    assert len(noise) == 1
    assert [chart["id"] for chart in page.evaluate(CHARTS)] == ["quality-wide"]
    assert page.locator("h1").inner_text() == "Keep the old model"
    page.close()


@pytest.mark.parametrize("judged", [True, False], ids=["judged", "documents-ask"])
def test_a_measured_assessment_is_a_page_that_shows_its_figures(browser, store, tmp_path, judged):
    data = planted(n=300, queries=60)
    docs = data.write(store, pairs=120)
    asked = {"queries": data.queries(), "qrels": data.qrels} if judged else {}
    found = docs.assess_upgrade(
        source="v1", target="v2", encoder=data.encoder(), family="ridge", price=0.1, **asked
    )
    page, noise = opened(browser, write_report(found, tmp_path / "out.html"), "light")
    assert len(noise) == 1
    chosen = found.option(found.recommendation.option)
    assert page.locator("h1").inner_text().lower() == chosen.title
    rows = page.locator("tbody tr").all_inner_texts()
    assert len(rows) == len(found.options) == (14 if judged else 7)
    for row, option in zip(rows, found.options, strict=True):
        assert f"{option.quality.mean:.3f}" in row
    text = page.locator("main").inner_text()
    assert f"{found.embedded} vectors were made for it" in text
    assert found.asked in text
    charts = {chart["id"]: chart for chart in page.evaluate(CHARTS)}
    assert set(charts) == {"quality-wide", "calibration", "coverage", "before", "after"}
    assert len(charts["after"]["series"][0]["marks"]) == min(found.sample, 300)
    assert meeting(page) == []
    page.close()
