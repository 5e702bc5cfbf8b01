"""Indexes built to a target: what they promise is what exact search says of them."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.errors import DimensionMismatchError, InvalidArgumentError, NotFoundError
from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import exact_search
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index
from vecstore.rows import RowSet
from vecstore.tuning import advice, auto, candidates
from vecstore.tuning.candidates import ladder_of
from vecstore.tuning.measure import Bench
from vecstore.tuning.questions import Questions

DIM = 24


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(n, dim=DIM, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, dim))
    return unit(centres[rng.integers(40, size=n)] + 0.5 * rng.normal(size=(n, dim)))


def filled(place, n=1500, metric="cosine"):
    store = place.open()
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM, metric=metric)
    ids = [f"i{number}" for number in range(n)]
    docs.upsert(ids=ids, vectors=clustered(n), space="v1")
    return store, docs, ids


@pytest.fixture
def graphs_first(monkeypatch):
    """As if a collection of any size were beyond the break-even."""
    monkeypatch.setattr(advice, "BREAK_EVEN", 1)


def recall_of(docs, queries, space="v1"):
    """Share of the true ten, by brute force over the stored vectors."""
    ids = [f"i{number}" for number in range(len(docs))]
    vectors = np.stack([item.vectors["v1"] for item in docs.get(ids, spaces=["v1"])])
    truth = np.argsort(-(unit(queries) @ vectors.T), axis=1)[:, :10]
    found = docs.search(queries, space=space, k=10)
    return np.mean(
        [
            len({ids[n] for n in row} & set(hits.ids)) / 10
            for row, hits in zip(truth, found, strict=True)
        ]
    )


def test_auto_reaches_its_target_and_says_so_in_the_catalog(place, graphs_first):
    store, docs, _ = filled(place)
    with store:
        queries = clustered(120, seed=5)
        made = docs.build_index(space="v1", kind="auto", recall=0.97, queries=queries)
        assert made.kind == "hnsw"
        assert made.report["reached"]
        assert made.report["origin"] == "120 given queries"
        assert made.report["speedup"].keys() == {"single", "batch"}
        fresh = clustered(100, seed=6)
        assert recall_of(docs, fresh) >= 0.95
    with place.open() as again:
        [kept] = again.collection("docs").indexes
        assert kept.report == made.report
        assert kept.parameters == made.parameters
        assert recall_of(again.collection("docs"), fresh) >= 0.95


def test_nothing_is_built_or_replaced_where_a_scan_is_as_fast(store_place, monkeypatch):
    store, docs, _ = filled(store_place)
    with store:
        assert docs.build_index(space="v1") is None
        kept = docs.build_index(space="v1", kind="flat")
        assert docs.build_index(space="v1", recall=1.0, memory_limit=10) is None
        assert docs.indexes == (kept,)
        monkeypatch.setattr(advice, "BREAK_EVEN", 1500 * DIM + 1)
        assert docs.build_index(space="v1") is None
        monkeypatch.setattr(advice, "BREAK_EVEN", 1500 * DIM)
        made = docs.build_index(space="v1")
        assert made.report["reached"]
        assert made.report["chosen"]
        assert docs.indexes == (made,)


def test_memory_limits_choose_smaller_kinds(store_place, graphs_first):
    store, docs, _ = filled(store_place)
    with store:
        limits = {c.kind: c.memory for c in candidates.candidates(1500, DIM, None)}
        made = docs.build_index(space="v1", kind="auto", memory_limit=limits["hnsw"] - 1)
        assert made.kind != "hnsw"
        assert limits[made.kind] < limits["hnsw"]
        assert made.report["memory_limit"] == limits["hnsw"] - 1
        with pytest.raises(InvalidArgumentError, match="smallest"):
            docs.build_index(space="v1", kind="auto", memory_limit=100)
        assert docs.indexes == (made,)


def test_a_target_out_of_reach_gives_the_best_and_says_so(store_place, graphs_first, monkeypatch):
    monkeypatch.setattr(Bench, "tuned", lambda _, index, recall: index.tuned(_least(index)))
    store, docs, _ = filled(store_place)
    with store:
        made = docs.build_index(space="v1", kind="auto", recall=1.0)
        assert not made.report["reached"]
        tried = {line["kind"]: line["recall"] for line in made.report["tried"]}
        assert len(tried) == len(candidates.candidates(1500, DIM, None))
        assert tried[made.kind] == max(tried.values()) == made.report["recall"]["mean"]


def _least(index):
    return {name: steps[0] for name, steps in ladder_of(index.kind, index.parameters).items()}


def test_a_named_kind_is_tuned_where_a_recall_is_given(store_place):
    store, docs, _ = filled(store_place)
    with store:
        plain = docs.build_index(space="v1", kind="ivf_rabitq")
        assert plain.report == {}
        low, high = (
            docs.build_index(space="v1", kind="ivf_rabitq", recall=recall) for recall in (0.5, 1.0)
        )
        assert low.parameters["nprobe"] <= high.parameters["nprobe"]
        assert low.parameters["refine_factor"] < high.parameters["refine_factor"]
        assert low.report["recall"]["mean"] < high.report["recall"]["mean"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "auto", "recall": 0},
        {"kind": "auto", "recall": 1.01},
        {"kind": "auto", "recall": True},
        {"kind": "auto", "memory_limit": 0},
        {"kind": "auto", "memory_limit": 1.5},
        {"kind": "auto", "parameters": {"m": 8}},
        {"kind": "hnsw", "memory_limit": 10**9},
        {"kind": "hnsw", "queries": np.ones((2, DIM))},
        {"kind": "nonsense", "recall": 0.9},
        {"kind": "auto", "queries": np.ones((0, DIM))},
    ],
)
def test_wrong_targets_are_refused(store_place, arguments):
    store, docs, _ = filled(store_place, 50)
    with store:
        with pytest.raises(InvalidArgumentError):
            docs.build_index(space="v1", **arguments)
        with pytest.raises(DimensionMismatchError):
            docs.build_index(space="v1", kind="auto", queries=np.ones((2, 3)))
        with pytest.raises(NotFoundError):
            docs.build_index(space="v1", kind="auto", queries={"v9": np.ones((2, 3))})
        assert docs.indexes == ()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_hardly_any_rows_are_a_size_like_any_other(store_place, rows):
    store, docs, _ = filled(store_place, 5)
    with store:
        docs.delete(ids=[f"i{number}" for number in range(5 - rows)])
        assert docs.build_index(space="v1") is None
        made = docs.build_index(space="v1", kind="ivf_flat", recall=0.9)
        assert made.rows == rows
        assert len(docs.search(np.ones(DIM), space="v1", k=3)) == rows


# The queries that will come


def two_generations(place, n=800):
    store, docs, ids = filled(place, n)
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(DIM, DIM)))
    docs.create_space("v2", dim=DIM, supersedes="v1")
    noise = 0.3 * np.random.default_rng(4).normal(size=(n, DIM))
    docs.add_vectors(ids=ids[:300], vectors=(clustered(n) @ rotation + noise)[:300], space="v2")
    return store, docs, rotation


def test_a_translated_index_is_asked_by_documents_of_the_new_model(store_place):
    store, docs, _ = two_generations(store_place)
    with store:
        docs.fit_translator(source="v1", target="v2", family="ridge")
        made = docs.build_index(space="v1", into="v2", kind="ivf_flat", recall=0.9)
        assert made.report["origin"] == "documents of 'v2' in the place of queries"
        assert made.execution == "rewrite"


@pytest.mark.parametrize("side", ["documents", "queries"])
def test_an_index_of_old_documents_is_asked_by_translated_queries_too(store_place, side):
    store, docs, rotation = two_generations(store_place)
    with store:
        with pytest.raises(InvalidArgumentError, match="no translator"):
            docs.build_index(
                space="v1", kind="auto", queries={"v2": clustered(60, seed=8) @ rotation}
            )
        ends = ("v1", "v2") if side == "documents" else ("v2", "v1")
        docs.fit_translator(source=ends[0], target=ends[1], side=side, family="ridge")
        made = docs.build_index(space="v1", kind="ivf_flat", recall=0.9)
        assert "documents of 'v2' in the place of queries, translated" in made.report["origin"]
        given = {"v1": clustered(50, seed=7), "v2": clustered(60, seed=8) @ rotation}
        made = docs.build_index(space="v1", kind="ivf_flat", recall=0.9, queries=given)
        assert made.report["origin"] == "50 given queries and 60 given queries of 'v2', translated"
        assert made.report["queries"] == 110


def test_what_a_space_was_asked_lately_asks_before_its_documents(store_place):
    store, docs, rotation = two_generations(store_place)
    with store:
        docs.fit_translator(source="v2", target="v1", side="queries", family="ridge")
        once = clustered(1, seed=5)
        docs.search(np.repeat(once, 300, axis=0), space="v1", k=3)
        made = docs.build_index(space="v1", kind="ivf_flat", recall=0.9)
        assert "recent" not in made.report["origin"]  # one query, however often
        for query in clustered(120, seed=6):
            docs.search(query, space="v1", k=3)
        docs.search(clustered(130, seed=7) @ rotation, space="v2", k=3)
        made = docs.build_index(space="v1", kind="ivf_flat", recall=0.9)
        both = "121 recent queries of 'v1' and 130 recent queries of 'v2', translated"
        assert (made.report["origin"], made.report["queries"]) == (both, 251)
        given = docs.build_index(space="v1", kind="ivf_flat", recall=0.9, queries=clustered(40))
        assert given.report["origin"] == "40 given queries"


def test_tuning_on_queries_off_the_corpus_asks_for_more():
    vectors = clustered(3000)
    block = Block(row_ids=np.arange(3000), vectors=vectors)
    index = get_index("ivf_flat").build([block], dim=DIM, metric="ip")
    rng = np.random.default_rng(2)
    chosen = []
    for asked in (clustered(300, seed=9), unit(rng.normal(size=(300, DIM)))):
        own = np.full(300, -1)
        bench = Bench([block], Questions(vectors=asked, own=own, origin=""), metric="ip", k=10)
        tuned = bench.tuned(index, 0.95)
        assert bench.recall(tuned).mean >= 0.93
        chosen.append(tuned.parameters["nprobe"])
    assert chosen[0] < chosen[1]


def test_the_lists_of_a_graph_are_tuned_under_a_filter():
    vectors = clustered(3000)
    block = Block(row_ids=np.arange(3000), vectors=vectors)
    index = get_index("hnsw").build(
        [block], dim=DIM, metric="ip", parameters={"filter_lists": "always"}
    )
    queries = clustered(400, seed=9)
    asked = Questions(vectors=queries, own=np.full(400, -1), origin="")
    tuned = Bench([block], asked, metric="ip", k=10).tuned(index, 0.95)
    mask = np.random.default_rng(8).random(3000) < 0.1
    kept = Block(row_ids=block.row_ids, vectors=vectors, keep=mask)
    worst = exact_search(queries, [kept], 10, metric="ip")[0][:, [-1]]

    def recall(nprobe):
        parameters = {"filtered": "lists", "filter_nprobe": nprobe}
        allowed = RowSet.of_mask(mask)
        originals = Originals([block])
        scores, _ = tuned.search(
            queries, 10, allowed=allowed, parameters=parameters, originals=originals
        )
        return (scores >= worst - 1e-5).mean()

    assert index.parameters["filter_nprobe"] == 0
    assert recall(tuned.parameters["filter_nprobe"]) >= 0.93


def test_lists_keep_their_recall_under_a_filter_that_leaves_hardly_any_near_row():
    # Thirty rows around each centre: of a tenth of them, most of the ten nearest are elsewhere.
    centres = np.random.default_rng(0).normal(size=(1000, 64))

    def around(n, seed):
        rng = np.random.default_rng(seed)
        return unit(centres[rng.integers(0, 1000, n)] + 0.7 * rng.normal(size=(n, 64)))

    vectors, queries = around(30_000, 1), around(300, 2)
    block = Block(row_ids=np.arange(len(vectors)), vectors=vectors)
    asked = Questions(vectors=queries, own=np.full(len(queries), -1), origin="")
    index = get_index("ivf_flat").build([block], dim=64, metric="ip")
    tuned = Bench([block], asked, metric="ip", k=10).tuned(index, 0.95)
    assert tuned.parameters["nprobe"] < tuned.parameters["filter_nprobe"] < 100
    mask = np.random.default_rng(8).random(len(vectors)) < 0.1
    kept = Block(row_ids=block.row_ids, vectors=vectors, keep=mask)
    worst = exact_search(queries, [kept], 10, metric="ip")[0][:, [-1]]

    def recall(**parameters):
        scores, _ = tuned.search(queries, 10, allowed=RowSet.of_mask(mask), parameters=parameters)
        return (scores >= worst - 1e-5).mean()

    assert recall() >= 0.95
    assert recall(filter_nprobe=0) < 0.8


def test_a_document_that_asks_is_no_answer_to_itself():
    vectors = clustered(500)
    block = Block(row_ids=np.arange(500) + 7, vectors=vectors)
    own = np.arange(100) + 7
    questions = Questions(vectors=vectors[:100], own=own, origin="")
    bench = Bench([block], questions, metric="ip", k=1)
    lone = get_index("ivf_flat").build(
        [block], dim=DIM, metric="ip", parameters={"nlist": 60, "nprobe": 1}
    )
    truth = (vectors[50:100] @ vectors.T).astype(np.float64)
    truth[np.arange(50), np.arange(50, 100)] = -np.inf
    found = lone.search(vectors[50:100], 2)[1] - 7
    rest = np.where(found[:, 0] == np.arange(50, 100), found[:, 1], found[:, 0])
    wanted = np.mean(truth[np.arange(50), rest] >= truth.max(axis=1) - 1e-5)
    assert wanted < 1
    assert bench.recall(lone).mean == pytest.approx(wanted)


def test_what_is_expected_of_an_index_is_no_gain_below_the_break_even():
    rows = advice.BREAK_EVEN // 384
    assert advice.expected_speedup(rows, 384) == pytest.approx(1, abs=0.01)
    assert auto.checked_target("hnsw", None, None, None) is None


def test_what_was_tuned_in_batches_holds_for_single_queries():
    vectors = clustered(3000)
    block = Block(row_ids=np.arange(3000), vectors=vectors)
    queries = clustered(200, seed=9)
    asked = Questions(vectors=queries, own=np.full(200, -1), origin="")
    bench = Bench([block], asked, metric="ip", k=10)
    originals = Originals([block])
    for kind in ("ivf_pq", "ivf_rabitq", "binary"):
        tuned = bench.tuned(get_index(kind).build([block], dim=DIM, metric="ip"), 0.9)
        batch = tuned.search(queries, 10, originals=originals)[1]
        alone = [tuned.search(query[None], 10, originals=originals)[1][0] for query in queries]
        assert np.mean(batch == np.stack(alone)) > 0.98
