"""`vecstore index build`: what is decided and measured is said, kept and shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vecstore.tuning import advice

SHOP = "shop.vecstore"


@pytest.fixture
def graphs_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "BREAK_EVEN", 1)


def test_what_was_measured_is_printed_and_kept(
    shop: Path, run: Any, json_of: Any, graphs_first: None
) -> None:
    line = ("index", "build", SHOP, "--space", "v1", "--auto", "--recall", "0.9")
    printed = run(*line).stdout
    assert "recall@10" in printed
    assert "as fast as exact search" in printed
    [kept] = json_of("index", "list", SHOP)
    report = kept["report"]
    assert report["target"] == 0.9
    assert report["reached"]
    assert f"recall@10 {report['recall']['mean']:.3f} [" in run("info", SHOP).stdout
    assert f"{report['recall']['mean']:.3f}\t" in run("index", "list", SHOP).stdout


def test_it_is_tuned_on_the_queries_that_a_service_was_asked(
    shop: Path, run: Any, json_of: Any, graphs_first: None
) -> None:
    service = (
        "import sys, numpy as np, vecstore\n"
        "with vecstore.open(sys.argv[1]) as store:\n"
        "    for query in np.random.default_rng(0).standard_normal((110, 3)):\n"
        "        store.collection('products').search(query, space='v1', k=3)\n"
    )
    subprocess.run([sys.executable, "-c", service, shop / SHOP], check=True, timeout=120)
    run("index", "build", SHOP, "--space", "v1", "--auto", "--recall", "0.9")
    [kept] = json_of("index", "list", SHOP)
    assert kept["report"]["origin"].startswith("110 recent queries of 'v1'")


@pytest.mark.parametrize("words", [(), ("--auto",), ("--kind", "auto"), ("--memory", "2GB")])
def test_few_vectors_get_no_index_and_are_told_why(
    shop: Path, run: Any, json_of: Any, words: tuple[str, ...]
) -> None:
    before = json_of("index", "list", SHOP)
    done = run("index", "build", SHOP, "--space", "v2", *words)
    assert (done.exit_code, done.stderr) == (0, "")
    why = "space v2 is searched exactly: for 40 vectors of 3 dimensions an index is no faster"
    assert done.stdout == f"{why}; nothing was built\n"
    assert json_of("index", "build", SHOP, "--space", "v2", *words) == {
        "index": None,
        "reason": why,
    }
    assert json_of("index", "list", SHOP) == before


def test_queries_of_a_file_are_those_it_is_tuned_on(
    shop: Path, json_of: Any, graphs_first: None
) -> None:
    made = json_of("index", "build", SHOP, "--space", "v2", "--queries", "queries.npy")
    assert made["index"]["report"]["origin"] == "4 given queries"


def test_an_index_built_as_it_is_has_no_report(shop: Path, run: Any, json_of: Any) -> None:
    made = json_of("index", "build", SHOP, "--space", "v1", "--kind", "hnsw")
    assert (made["index"]["report"], made["reason"]) == (None, None)
    assert "recall" not in run("info", SHOP).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--auto", "--kind", "flat"), 2),
        (("--auto", "--memory", "much"), 2),
        (("--kind", "flat", "--memory", "2GB"), 4),
        (("--param", "m=8"), 4),
        (("--auto", "--memory", "10B"), 4),
        (("--auto", "--recall", "95"), 4),
        (("--auto", "--queries", "none.npy"), 4),
    ],
)
def test_wrong_targets_have_their_exit_codes(
    shop: Path, run: Any, words: tuple[str, ...], code: int, graphs_first: None
) -> None:
    assert run("index", "build", SHOP, "--space", "v1", *words).exit_code == code


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
    [quiet] = json_of("info", SHOP)["collections"]
    assert quiet["index_advice"] == []
    monkeypatch.setattr(advice, "BREAK_EVEN", 30)
    [told] = json_of("info", SHOP)["collections"]
    [sentence] = [line for line in told["index_advice"] if "space v2" in line]
    assert "vecstore index build --space v2" in sentence
    assert not [line for line in told["index_advice"] if "space v1" in line]  # it has an index
    explained = json_of("search", SHOP, "--space", "v2", "--explain")
    assert explained["sources"][0]["index_speedup"] > 1


def test_ingest_says_which_index_it_built_and_what_it_reaches(
    shop: Path, run: Any, json_of: Any, graphs_first: None
) -> None:
    line = ("ingest", SHOP, "new.npy", "--ids", "rows", "--space", "v2")
    assert "index" not in run(*line, "--no-index").stdout
    printed = run(*line).stdout.splitlines()
    assert printed[0].startswith("4 rows written")
    assert printed[1].startswith("built hnsw index")
    assert printed[2].startswith("recall@10 1.000")
    assert json_of("ingest", SHOP, "items.parquet", "--space", "v1", "--no-index")["indexes"] == []
