"""The report of an assessment as a file: complete, escaped, in one piece, legible."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

import vecstore
from tests.vecstore.report_examples import FIGURES, assessment, coverage, options
from vecstore.errors import StorageError
from vecstore.upgrade.assessment import Pictures
from vecstore.upgrade.report import render_report, write_report
from vecstore.upgrade.report.advice import advice
from vecstore.upgrade.report.axes import moments

STYLE = (Path(vecstore.__file__).parent / "upgrade/report/page.css").read_text("utf-8")
HOSTILE = "<script>alert('x')</script>\"&amp;{{ 7 * 7 }}"


class Reader(HTMLParser):
    """Reads what elements a page has and what their text is."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def figures(self) -> int:
        return sum(tag == "figure" for tag, _ in self.tags)


# ------------------------------------------------------------------ what it says


def test_the_decision_comes_first_and_every_option_is_in_the_table():
    page = render_report(assessment())
    assert page.index("<h1") < page.index("What to do next") < page.index("<table")
    text = " ".join(Reader(page).text.split())
    for _, title, quality, documents, _ in FIGURES:
        assert re.search(
            rf"{re.escape(title)}( recommended)? {quality:.3f} .*? {documents:,} ",
            text,
            re.IGNORECASE,
        ), title
    assert text.count(" recommended ") >= 1
    assert "99.7%" in text
    assert "+0.396" in text


@pytest.mark.parametrize("recommended", [figure[0] for figure in FIGURES if figure[0] != "naive"])
def test_every_recommendation_has_next_steps_that_exist(recommended):
    steps = advice(assessment(recommended=recommended))
    assert len(steps.text) > 40
    accepted = set(inspect.signature(vecstore.Collection.search).parameters)
    used = set(re.findall(r"(\w+)=", steps.python[-1]))
    assert used <= accepted
    compile("\n".join(steps.python), "steps", "exec")
    assert bool(steps.shell) == (not recommended.startswith("stay"))
    assert ("depth=" in steps.python[-1]) == recommended.startswith("cascade")
    space = "ft200" if recommended.startswith("stay") else "minilm"
    assert f"space='{space}'" in steps.python[-1]


def test_commands_take_names_as_one_word_each():
    steps = advice(assessment(collection="my docs; rm -rf /", target="v$2"))
    for line in steps.shell:
        words = shlex.split(line)
        assert "my docs; rm -rf /" in words
        assert "v$2" in words


def test_overlap_says_what_it_cannot_say():
    warning = "cannot say whether the new model is better"
    assert warning in render_report(assessment(metric="overlap"))
    assert warning not in render_report(assessment())


def test_figures_on_a_sample_are_said_to_be_higher():
    warning = "higher than it would be on the whole corpus"
    assert warning in render_report(assessment())
    assert warning not in render_report(assessment(sample=7_000))


def test_what_there_is_no_data_for_is_left_out():
    assert Reader(render_report(assessment())).figures() == 5
    assert Reader(render_report(assessment(coverage=()))).figures() == 4
    bare = Reader(render_report(assessment(coverage=(), pictures=Pictures(), seconds=0.0)))
    assert bare.figures() == 1
    assert "nan" not in bare.text.lower()


def test_one_commit_and_equal_scores_still_make_charts():
    page = render_report(
        assessment(
            coverage=coverage("ft200", "minilm")[:1],
            pictures=Pictures(
                translated_scores=[0.5, 0.5], native_scores=[0.5, 0.5],
                old=[(0.0, 0.0)] * 2, new=[(0.0, 0.0)] * 2, translated=[(0.0, 0.0)] * 2,
            ),
        )
    )  # fmt: skip
    assert Reader(page).figures() == 5
    assert not re.search(r"\bnan\b", Reader(page).text, re.IGNORECASE)


def test_moments_that_look_alike_are_labelled_once():
    start = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    assert [label for _, label in moments(start, start + timedelta(days=40))] == [
        "2 Mar", "22 Mar", "11 Apr",
    ]  # fmt: skip
    for span in (timedelta(0), timedelta(milliseconds=5)):
        assert moments(start, start + span) == [(start, "09:30:00")]


def test_a_price_is_a_column_only_where_one_is_known():
    assert ">Price<" in render_report(assessment())
    assert ">Price<" not in render_report(assessment(options=options(price=None)))


# ------------------------------------------------------------------ what it may not do


def test_names_stay_text():
    page = render_report(
        assessment(collection=HOSTILE, source=HOSTILE + "1", target=HOSTILE + "2", asked=HOSTILE,
                   family=HOSTILE)
    )  # fmt: skip
    reader = Reader(page)
    assert not any(tag == "script" for tag, _ in reader.tags)
    assert "{{ 7 * 7 }}" in reader.text
    # The collection in the commands is quoted for a shell besides.
    assert reader.text.count("<script>alert(") >= 8


def test_the_page_refers_to_nothing_outside_itself():
    reader = Reader(render_report(assessment()))
    for tag, attributes in reader.tags:
        assert tag not in {"script", "iframe", "img", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name) in {None, "data:,"}
    assert "@import" not in STYLE
    assert "url(" not in STYLE


def test_importing_the_report_does_not_load_the_template_engine():
    code = "import sys, vecstore.upgrade.report; sys.exit('jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# ------------------------------------------------------------------ the file


def test_a_report_replaces_the_older_one_and_leaves_nothing_else(tmp_path):
    file = tmp_path / "out.html"
    file.write_text("older")
    assert write_report(assessment(), file) == file
    assert file.read_text("utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


def test_a_place_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    for place in (tmp_path / "missing" / "out.html", tmp_path / "folder"):
        with pytest.raises(StorageError, match=re.escape(str(place))):
            write_report(assessment(), place)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# ------------------------------------------------------------------ colours


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: contrast ratio, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palettes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in blocks]


def test_contrast_is_computed_as_the_guidelines_do():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark", "print"])
def test_text_and_marks_stand_out_from_every_ground(palette):
    for ground in ("paper", "sunk", "wash"):
        for ink in ("ink", "soft", "accent"):
            assert contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
        for series in ("stay", "naive", "query-side", "forward", "cascade", "re-embed"):
            assert contrast(palette[series], palette[ground]) >= 3.0, (series, ground)
