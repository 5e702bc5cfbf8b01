"""`vecstore index build --auto`: what is measured is said, kept and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vecstore.tuning import advice


@pytest.fixture
def graphs_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "BREAK_EVEN", 1)


def test_what_was_measured_is_printed_and_kept(
    shop: Path, run: Any, json_of: Any, graphs_first: None
) -> None:
    line = ("index", "build", "shop.vecstore", "--space", "v1", "--auto", "--recall", "0.9")
    printed = run(*line).stdout
    assert "recall@10" in printed
    assert "as fast as exact search" in printed
    [kept] = json_of("index", "list", "shop.vecstore")
    report = kept["report"]
    assert report["target"] == 0.9
    assert report["reached"]
    assert f"recall@10 {report['recall']['mean']:.3f} [" in run("info", "shop.vecstore").stdout
    assert f"{report['recall']['mean']:.3f}\t" in run("index", "list", "shop.vecstore").stdout


def test_queries_of_a_file_are_those_it_is_tuned_on(shop: Path, json_of: Any) -> None:
    made = json_of(
        "index", "build", "shop.vecstore", "--space", "v2", "--auto", "--queries", "queries.npy"
    )
    assert made["report"]["origin"] == "4 given queries"


def test_an_index_built_as_it_is_has_no_report(shop: Path, run: Any, json_of: Any) -> None:
    assert json_of("index", "build", "shop.vecstore", "--space", "v1")["report"] is None
    assert "recall" not in run("info", "shop.vecstore").stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--auto", "--kind", "flat"), 2),
        (("--auto", "--memory", "much"), 2),
        (("--memory", "2GB"), 4),
        (("--auto", "--memory", "10B"), 4),
        (("--auto", "--recall", "95"), 4),
        (("--auto", "--queries", "none.npy"), 4),
    ],
)
def test_wrong_targets_have_their_exit_codes(
    shop: Path, run: Any, words: tuple[str, ...], code: int
) -> None:
    assert run("index", "build", "shop.vecstore", "--space", "v1", *words).exit_code == code


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("2gb", 2 * 10**9), ("1.5GiB", 1_610_612_736), ("7", 7), ("3k", 3000)],
)
def test_sizes(text: str, size: int) -> None:
    from vecstore_cli.options import SIZE

    assert SIZE.convert(text, None, None) == size


def test_info_and_explain_say_where_an_index_would_pay(
    shop: Path, run: Any, json_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [quiet] = json_of("info", "shop.vecstore")["collections"]
    assert quiet["index_advice"] == []
    monkeypatch.setattr(advice, "BREAK_EVEN", 30)
    [told] = json_of("info", "shop.vecstore")["collections"]
    [sentence] = [line for line in told["index_advice"] if "space v2" in line]
    assert "vecstore index build --space v2 --auto" in sentence
    assert not [line for line in told["index_advice"] if "space v1" in line]  # it has an index
    explained = json_of("search", "shop.vecstore", "--space", "v2", "--explain")
    assert explained["sources"][0]["index_speedup"] > 1
