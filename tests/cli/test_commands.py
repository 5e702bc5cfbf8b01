"""Each verb does what the library's verb of that name does, on a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import vecstore

SHOP = "shop.vecstore"
Planted = dict[str, np.ndarray]


def nearest(documents: np.ndarray, query: np.ndarray, k: int) -> list[str]:
    return [f"p{row}" for row in np.argsort(-(documents @ query))[:k]]


def ids_of(found: Any, query: int = 0) -> list[str]:
    return [hit["id"] for hit in found["queries"][query]["hits"]]


# Search


def test_search_finds_what_brute_force_finds(shop: Path, json_of: Any, planted: Planted) -> None:
    query = [0.3, -0.5, 0.8]
    found = json_of("search", SHOP, "--space", "v1", "--vector", json.dumps(query), "-k", "7")
    assert ids_of(found) == nearest(planted["v1"], np.array(query), 7)
    scores = [hit["score"] for hit in found["queries"][0]["hits"]]
    unit = np.array(query) / np.linalg.norm(query)
    assert scores == pytest.approx(np.sort(planted["v1"] @ unit)[::-1][:7].tolist(), abs=1e-6)


def test_a_file_standard_input_and_an_argument_ask_the_same(
    shop: Path, json_of: Any, planted: Planted
) -> None:
    queries = planted["v2"][:4]
    lines = "".join(json.dumps(query.tolist()) + "\n" for query in queries)
    objects = "".join(
        json.dumps({"id": f"q{n}", "vector": query.tolist()}) + "\n"
        for n, query in enumerate(queries)
    )
    Path("queries.jsonl").write_text(objects)
    base = ("search", SHOP, "--space", "v2")
    from_file = json_of(*base, "--vector-file", "queries.npy")
    assert json_of(*base, "--vector-file", "-", stdin=lines) == from_file
    named = json_of(*base, "--vector-file", "queries.jsonl")
    assert [query["query"] for query in named["queries"]] == ["q0", "q1", "q2", "q3"]
    assert [query["hits"] for query in named["queries"]] == [
        q["hits"] for q in from_file["queries"]
    ]
    for number, query in enumerate(queries):
        for value, stdin in ((json.dumps(query.tolist()), None), ("-", json.dumps(query.tolist()))):
            single = json_of(*base, "--vector", value, stdin=stdin)
            assert ids_of(single) == ids_of(from_file, number)


def test_one_query_may_bring_vectors_of_several_spaces(
    shop: Path, json_of: Any, planted: Planted
) -> None:
    both = json.dumps({name: planted[name][70].tolist() for name in ("v1", "v2")})
    found = json_of("search", SHOP, "--vector", both, "--space", "v2", "-k", "80")
    hits = {hit["id"]: hit for hit in found["queries"][0]["hits"]}
    assert len(hits) == 80
    assert {hit["provenance"] for hit in hits.values()} == {"native"}
    assert hits["p70"]["space"] == "v1"
    assert hits["p7"]["space"] == "v2"


def test_like_asks_with_the_stored_vector(shop: Path, json_of: Any, planted: Planted) -> None:
    found = json_of("search", SHOP, "--space", "v1", "--like", "p7", "-k", "5")
    assert ids_of(found) == nearest(planted["v1"], planted["v1"][7], 5)
    assert ids_of(found)[0] == "p7"


def test_like_needs_a_native_vector_in_the_space(shop: Path, run: Any) -> None:
    result = run("search", SHOP, "--space", "v2", "--like", "p70")
    assert result.exit_code == 3
    assert "no native vector in space 'v2'" in result.stderr


def test_search_crosses_generations_and_says_so(shop: Path, json_of: Any, planted: Planted) -> None:
    query = json.dumps(planted["v2"][70].tolist())
    found = json_of("search", SHOP, "--space", "v2", "--vector", query, "-k", "80")
    hits = {hit["id"]: hit for hit in found["queries"][0]["hits"]}
    [translator] = json_of("translator", "list", SHOP)
    assert len(hits) == 80
    for number in range(80):
        hit = hits[f"p{number}"]
        native = number < 40
        assert hit["provenance"] == ("native" if native else "translated")
        assert hit["translators"] == ([] if native else [translator["id"]])


@pytest.mark.parametrize(
    "where", ["price < 10 AND price >= 4", '{"price": {"$lt": 10, "$gte": 4}}']
)
def test_filters_are_sql_or_json(shop: Path, json_of: Any, where: str) -> None:
    found = json_of("search", SHOP, "--space", "v1", "--like", "p1", "--where", where, "-k", "80")
    assert sorted(ids_of(found)) == [f"p{n}" for n in range(4, 10)]
    assert json_of("count", SHOP, "--where", where)["items"] == 6


def test_explain_prints_the_plan_and_needs_no_query(shop: Path, run: Any, json_of: Any) -> None:
    plan = json_of("search", SHOP, "--space", "v2", "--explain", "--execution", "fold")
    assert {(s["kind"], s["rows"], s["execution"]) for s in plan["sources"]} == {
        ("native", 40, None),
        ("forward", 40, "fold"),
    }
    assert (
        "documents translated v1 -> v2" in run("search", SHOP, "--space", "v2", "--explain").stdout
    )


# Items and time travel


def test_every_version_can_be_read(shop: Path, run: Any, json_of: Any) -> None:
    before = json_of("count", SHOP)
    assert run("delete", SHOP, "--where", "price >= 10", "--yes").exit_code == 0
    assert json_of("count", SHOP)["items"] == 10
    then = str(before["version"])
    assert json_of("count", SHOP, "--at", then)["items"] == 80
    assert json_of("get", SHOP, "p50", "--at", then)[0]["document"] == "product 50"
    assert run("get", SHOP, "p50").exit_code == 3
    old = json_of("search", SHOP, "--space", "v1", "--like", "p50", "--at", then, "-k", "1")
    assert ids_of(old) == ["p50"]
    [collection] = json_of("info", SHOP, "--at", then)["collections"]
    assert (collection["items"], collection["version"]) == (80, before["version"])


def test_get_shows_items_in_the_order_of_the_ids(
    shop: Path, json_of: Any, planted: Planted
) -> None:
    items = json_of("get", SHOP, "p3", "-", "--space", "v1", "--space", "v2", stdin="p60\np1\n")
    assert [item["id"] for item in items] == ["p3", "p60", "p1"]
    assert items[0]["metadata"] == {"price": 3.0}
    np.testing.assert_allclose(items[0]["vectors"]["v2"], planted["v2"][3], atol=1e-6)
    assert set(items[1]["vectors"]) == {"v1"}


def test_delete_ignores_ids_without_an_item(shop: Path, json_of: Any) -> None:
    assert json_of("delete", SHOP, "p1", "nobody", "--yes")["deleted"] == 1
    assert json_of("count", SHOP)["items"] == 79


def test_the_history_names_each_commit(shop: Path, json_of: Any) -> None:
    json_of("delete", SHOP, "p1", "p2", "--yes")
    history = json_of("versions", SHOP)
    assert [entry["version"] for entry in history] == sorted(e["version"] for e in history)
    assert history[-1]["rows"] == 2
    assert any("translator" in entry["operation"] for entry in history)


# Collections, spaces, translators, indexes


def test_init_makes_a_store_and_leaves_one_that_is_there(shop: Path, json_of: Any) -> None:
    assert json_of("init", "new.vecstore") == {"collections": []}
    assert json_of("init", "new.vecstore", "-c", "docs") == {"collections": ["docs"]}
    assert json_of("init", SHOP) == {"collections": ["products"]}
    assert json_of("count", SHOP)["items"] == 80


def test_collections_come_go_and_change_names(shop: Path, run: Any, json_of: Any) -> None:
    json_of("collection", "create", SHOP, "reviews")
    json_of("collection", "rename", SHOP, "products", "goods")
    assert {c["name"]: c["items"] for c in json_of("collection", "list", SHOP)} == {
        "goods": 80,
        "reviews": 0,
    }
    assert run("count", SHOP).exit_code == 2
    assert run("count", SHOP, "-c", "goods").stdout == "80\n"
    json_of("collection", "drop", SHOP, "goods", "--yes")
    assert run("count", SHOP).stdout == "0\n"


def test_a_space_is_created_as_described(shop: Path, json_of: Any) -> None:
    made = json_of(
        "space", "create", SHOP, "v3", "--dim", "5", "--metric", "l2", "--model", "m",
        "--revision", "r", "--dtype", "float16", "--supersedes", "v2", "--query-prompt", "query: ",
    )  # fmt: skip
    with vecstore.open(SHOP) as store:
        status = store.collection("products").spaces["v3"]
    assert status.generation == made["generation"] == 3
    assert status.fingerprint == made["fingerprint"]
    space = status.space
    assert (space.dim, space.metric, space.model, space.revision, space.dtype) == (
        5, "l2", "m", "r", "float16",
    )  # fmt: skip
    assert space.profile.query_prompt == "query: "
    listed = {row["name"]: row["coverage"] for row in json_of("space", "list", SHOP)}
    assert listed == {"v1": 1.0, "v2": 0.5, "v3": 0.0}


def test_dropping_a_space_drops_its_translators(shop: Path, json_of: Any) -> None:
    assert json_of("space", "drop", SHOP, "v2", "--yes")["vectors"] == 40
    assert [row["name"] for row in json_of("space", "list", SHOP)] == ["v1"]
    assert json_of("translator", "list", SHOP) == []


def test_a_fitted_translator_is_reported_listed_and_dropped(
    shop: Path, run: Any, json_of: Any
) -> None:
    report = json_of(
        "translator", "fit", SHOP, "--source", "v2", "--target", "v1", "--side", "queries",
        "--family", "procrustes", "--queries", "queries.npy",
    )  # fmt: skip
    assert report["family"] == "procrustes"
    assert report["pairs"] == 40
    assert report["quality"]["mean"] > report["shuffled_pairs"]["high"]
    assert json_of("translator", "list", SHOP)[-1]["id"] == report["id"]
    json_of("translator", "drop", SHOP, report["id"], "--yes")
    assert report["id"] not in [t["id"] for t in json_of("translator", "list", SHOP)]
    assert run("translator", "drop", SHOP, report["id"], "--yes").exit_code == 3


def test_an_index_is_built_with_its_parameters_and_used(shop: Path, run: Any, json_of: Any) -> None:
    line = ("index", "build", SHOP, "--space", "v2", "--kind", "hnsw", "--param")
    built = json_of(*line, "m=8")["index"]
    assert built["parameters"]["m"] == 8
    assert built["rows"] == 40
    plan = json_of("search", SHOP, "--space", "v2", "--explain")
    assert any(source["index"].startswith("hnsw") for source in plan["sources"])
    json_of("index", "drop", SHOP, built["id"], "--yes")
    assert built["id"] not in [index["id"] for index in json_of("index", "list", SHOP)]
    refused = run(*line, "nonsense=1")
    assert refused.exit_code == 4
    assert "nonsense" in refused.stderr


def test_sizes_are_those_of_the_files(shop: Path, json_of: Any) -> None:
    [collection] = json_of("info", SHOP)["collections"]
    on_disk = {
        kind: sum(
            f.stat().st_size for f in Path(SHOP, "data").glob(f"*/{kind}/**/*") if f.is_file()
        )
        for kind in collection["bytes"]
    }
    assert collection["bytes"] == on_disk


# Files


def test_ingest_creates_what_is_missing_only_with_a_dimension(
    shop: Path, run: Any, json_of: Any
) -> None:
    line = ("ingest", SHOP, "items.jsonl", "-c", "new", "--space", "e")
    assert run(*line).exit_code == 3
    assert [c["name"] for c in json_of("collection", "list", SHOP)] == ["products"]
    made = json_of(*line, "--dim", "3", "--metric", "ip", "--model", "m")
    assert (made["collection"], made["rows_written"]) == ("new", 6)
    assert json_of(*line, "--dim", "3", "--metric", "ip", "--model", "m")["rows_written"] == 6
    [space] = json_of("space", "list", SHOP, "-c", "new")
    assert (space["name"], space["dim"], space["metric"], space["model"]) == ("e", 3, "ip", "m")


def test_ingest_refuses_vectors_of_another_model(shop: Path, run: Any) -> None:
    refused = run("ingest", SHOP, "items.jsonl", "--space", "v1", "--dim", "3", "--model", "other")
    assert refused.exit_code == 4
    assert "old-model" in refused.stderr


def test_ingest_maps_columns(shop: Path, json_of: Any) -> None:
    rows = [{"key": 1, "emb": [1, 0, 0], "title": "one", "cost": "5", "secret": "s", "extra": True}]
    Path("odd.jsonl").write_text(json.dumps(rows[0]) + "\n")
    json_of(
        "ingest", SHOP, "odd.jsonl", "--id", "key", "--vector", "emb=v1", "--document", "title",
        "--exclude", "secret", "--rename", "cost=price", "--type", "cost=double",
    )  # fmt: skip
    [item] = json_of("get", SHOP, "1", "--space", "v1")
    assert item["document"] == "one"
    assert item["metadata"] == {"price": 5.0, "extra": True}
    assert item["vectors"] == {"v1": [1.0, 0.0, 0.0]}


def test_bad_rows_stop_the_job_or_go_to_the_rejects(shop: Path, run: Any, json_of: Any) -> None:
    line = ("ingest", SHOP, "bad.jsonl", "--space", "v1")
    stopped = run(*line)
    assert stopped.exit_code == 4
    assert "expected 3 dimensions, got 1" in stopped.stderr
    assert "6 rows of this job are committed" in stopped.stderr
    done = json_of(*line, "--on-error", "skip", "--rejects", "rejects.jsonl", "--restart")
    assert (done["rows_written"], done["rows_rejected"]) == (6, 1)
    [rejected] = map(json.loads, Path("rejects.jsonl").read_text().splitlines())
    assert rejected["row"] == 6


def test_vectors_are_attached_to_items_that_exist(shop: Path, run: Any, json_of: Any) -> None:
    np.save("more.npy", np.eye(3, dtype=np.float32))
    Path("more.txt").write_text("p40\np41\np42\n")
    line = ("ingest", SHOP, "more.npy", "--ids", "more.txt", "--space", "v2",
            "--mode", "add-vectors")  # fmt: skip
    assert json_of(*line)["rows_written"] == 3
    assert json_of("space", "list", SHOP)[1]["native"] == 43
    assert run(*line).exit_code == 4
    assert json_of(*line, "--on-existing", "skip")["rows_written"] == 3
    assert json_of("count", SHOP)["items"] == 80


def test_an_export_restores_the_items(shop: Path, run: Any, json_of: Any, planted: Planted) -> None:
    assert json_of("export", SHOP, "all.parquet")["rows"] == 80
    assert run("export", SHOP, "all.parquet").exit_code == 5
    assert run("export", SHOP, "all.parquet", "--overwrite").exit_code == 0
    assert pq.read_table("all.parquet").num_rows == 80
    run("init", "copy.vecstore", "-c", "products")
    for space in ("v1", "v2"):
        run("space", "create", "copy.vecstore", space, "--dim", "3")
    assert json_of("ingest", "copy.vecstore", "all.parquet")["rows_written"] == 80
    ids = ["p1", "p70"]
    shown = ("get", *ids, "--space", "v1", "--space", "v2")
    original, copied = (json_of("get", s, *shown[1:]) for s in (SHOP, "copy.vecstore"))
    assert original == copied


def test_an_export_to_standard_output_is_rows_and_nothing_else(shop: Path, run: Any) -> None:
    result = run("export", SHOP, "-", "--space", "v1")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(80)]
    assert "80 rows" in result.stderr
