"""The demo measures what exact search has measured before, on a store it really keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vecstore
from vecstore_cli.main import cli
from vecstore_cli.shapes import SHAPES

REFERENCE = {"old": (0.305, 0.405), "query": (0.361, 0.470), "full": (0.511, 0.630)}


def test_the_demo_measures_what_was_measured_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "vecstore demo --store demo.vecstore --json"
    assert line in (cli.commands["demo"].epilog or "")
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    demo = json.loads(done.stdout)
    assert set(demo) == set(SHAPES["demo"])
    methods = {method["key"]: method for method in demo["methods"]}
    assert list(methods) == ["old", "query", "forward", "cascade20", "cascade50", "full"]
    assert set(methods["old"]) == set(SHAPES["demo"]["methods"][0])

    for key, (ndcg, recall) in REFERENCE.items():
        assert methods[key]["ndcg"] == pytest.approx(ndcg, abs=0.003), key
        assert methods[key]["recall"] == pytest.approx(recall, abs=0.005), key
    assert 0.40 <= methods["forward"]["ndcg"] <= 0.42
    assert methods["cascade50"]["ndcg"] >= 0.48
    ordered = ["old", "query", "forward", "cascade20", "cascade50", "full"]
    assert [methods[key]["ndcg"] for key in ordered] == sorted(methods[k]["ndcg"] for k in ordered)
    assert demo["merged_query_side"] <= methods["query"]["ndcg"]

    shares = {key: method["share"] for key, method in methods.items()}
    assert (shares["old"], shares["query"], shares["forward"]) == (0.0, 0.125, 0.125)
    assert 0.125 < shares["cascade20"] < shares["cascade50"] < shares["full"] == 1.0
    assert all(method["milliseconds"] > 0 for method in methods.values())
    assert all(seconds > 0 for seconds in demo["seconds"].values())
    assert [t["pairs"] for t in demo["translators"]] == [500, 500]

    for example in demo["examples"]:
        assert {hit["provenance"] for hit in example["old"]} == {"native"}
        assert len(example["forward"]) == 3
    won, even, lost = demo["examples"]
    assert won["forward"][0]["id"] == even["forward"][0]["id"] or won["query"] != even["query"]
    assert won["relevant"] not in [hit["id"] for hit in won["old"]]
    assert won["forward"][0]["id"] == won["relevant"]
    assert even["old"][0]["id"] == even["forward"][0]["id"] == even["relevant"]
    assert lost["forward"][0]["id"] != lost["relevant"]
    keeps_a_half_migrated_store(tmp_path / "demo.vecstore")


def keeps_a_half_migrated_store(place: Path) -> None:
    with vecstore.open(place, create=False) as store:
        assert store.collections() == ["dictionary", "query-side", "re-embedded"]
        docs = store.collection("dictionary")
        coverage = {name: status.coverage for name, status in docs.spaces.items()}
        assert coverage == {"static256": 1.0, "minilm384": 0.125}
        queries_own = [f"{item.id}" for item in docs.get(first_ids(docs), spaces=["minilm384"])
                       if item.vectors]  # fmt: skip
        assert queries_own == [], "the queries' own definitions are no pairs"


def first_ids(docs: vecstore.Collection) -> list[str]:
    """Return the ids of the definitions that answer the queries: rows 0-399."""
    return next(iter(docs.scan(batch_rows=400))).column("id").to_pylist()


def test_the_demo_prints_one_table_for_people(shell: Any) -> None:
    done = shell("vecstore demo")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("nDCG@10" in line and "ms per query" in line for line in lines)
    for name in ("keep the old model", "query-side Procrustes", "forward translation",
                 "cascade of 20", "cascade of 50", "full re-embed"):  # fmt: skip
        assert sum(name in line and "%" in line for line in lines) == 1, name
    assert "looks precomputed vectors up" in done.stdout
    assert done.stdout.count("old model  ") >= 3
    assert "translated, static256" in done.stdout
