"""Search across model generations: every live item once, in the ranking space's scores."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecstore
from vecstore.catalog import TranslatorRecord
from vecstore.definitions import add_translator
from vecstore.errors import (
    InvalidArgumentError,
    NoRouteError,
    SpaceMismatchError,
    UnpairedRowsError,
    UnsupportedOperationError,
)
from vecstore.search.views import unit_rows
from vecstore_translators import AffineTranslator, dump

N, OLD, NEW = 300, 12, 16


def plant(docs, source, target, weight, bias=None):
    """Store a known affine map as a translator of the collection, and return it."""
    bias = np.zeros(np.shape(weight)[1]) if bias is None else bias
    translator = AffineTranslator(weight, bias)
    folder = f"data/{docs._record.directory}/translators/{len(docs.translators)}"
    files = {
        name: docs._root.write(
            f"{folder}/{name}", lambda sink, content=content: sink.write(content)
        )
        for name, content in dump(translator, card={}).items()
    }
    record = TranslatorRecord(
        source=source, target=target, family="planted", files=files, report={}
    )
    spaces = tuple(docs.spaces[name].space for name in (source, target))
    docs._commit(add_translator(record, spaces))
    return translator, record.id


def two_generations(
    store, *, metric="cosine", seed=0, covered=0, n=N, name="docs", dtype="float32"
):
    """n items in v1, ``covered`` of them in v2 as well, and a planted forward map with bias."""
    rng = np.random.default_rng(seed)
    docs = store.create_collection(name)
    docs.create_space("v1", dim=OLD, metric=metric, model="old", dtype=dtype)
    docs.create_space("v2", dim=NEW, metric=metric, model="new", supersedes="v1", dtype=dtype)
    old, new = rng.standard_normal((n, OLD)), rng.standard_normal((n, NEW))
    ids = [f"{i:03}" for i in range(n)]
    for part in np.array_split(np.arange(n), 3):
        docs.upsert(
            ids=[ids[i] for i in part],
            vectors=old[part],
            space="v1",
            documents=[f"text {i}" for i in part],
            metadata={"n": part},
        )
    weight, bias = rng.standard_normal((OLD, NEW)), 0.5 * rng.standard_normal(NEW)
    translator, identity = plant(docs, "v1", "v2", weight, bias)
    if covered:
        docs.add_vectors(ids=ids[:covered], vectors=new[:covered], space="v2")
    queries = rng.standard_normal((12, NEW)).astype(np.float32)
    return docs, ids, old, new, queries, translator, identity


def true_scores(queries, vectors, metric):
    """Return scores in float64; a zero vector, which has no direction, scores zero."""
    queries, vectors = np.asarray(queries, np.float64), np.asarray(vectors, np.float64)
    if metric == "l2":
        return -np.square(queries[:, None] - vectors[None]).sum(axis=2)
    if metric == "cosine":
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return queries @ vectors.T


def translated(old, translator, metric):
    """Return F(x) in float64 of what a space of this metric stores of x."""
    old = np.asarray(old, np.float64)
    if metric == "cosine":
        old = old / np.linalg.norm(old, axis=1, keepdims=True)
    old = old.astype(np.float32).astype(np.float64)
    return old @ translator.weight.astype(np.float64) + translator.bias


def assert_scores(result, truth, ids, rtol=2e-5):
    """Every hit has its true score, and no better one is missing."""
    number = {name: i for i, name in enumerate(ids)}
    scale = np.abs(truth[np.isfinite(truth)]).max()
    for query, hits in enumerate(result):
        own = truth[query, [number[name] for name in hits.ids]]
        best = -np.sort(-truth[query])[: len(hits)]
        np.testing.assert_allclose(hits.scores, own, rtol=0, atol=rtol * scale)
        np.testing.assert_allclose(hits.scores, best, rtol=0, atol=rtol * scale)


METRICS = pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])


# Exactness at both ends


@METRICS
def test_without_coverage_it_is_the_search_over_translated_vectors_bit_for_bit(store, metric):
    docs, ids, old, _, queries, translator, _ = two_generations(store, metric=metric)
    twin = store.create_collection("twin")
    space = twin.create_space("v2", dim=NEW, metric=metric)
    stored = docs.spaces["v1"].space.prepare(old)
    for part in np.array_split(np.arange(N), 3):
        images = translator.translate(stored[part])
        if metric == "cosine":
            images = unit_rows(images)
        assert np.array_equal(space.prepare(images), images)
        twin.upsert(ids=[ids[i] for i in part], vectors=images)
    for batch in (queries, queries[:1]):
        for k in (1, 10, 2 * N):
            ours, theirs = docs.search(batch, space="v2", k=k), twin.search(batch, k=k)
            assert np.array_equal(ours.ids, theirs.ids)
            assert np.array_equal(ours.scores, theirs.scores)


@METRICS
def test_with_full_coverage_it_is_the_search_in_one_space_bit_for_bit(store, metric):
    docs, ids, _, new, queries, _, _ = two_generations(store, metric=metric, covered=N)
    twin = store.create_collection("twin")
    twin.create_space("v2", dim=NEW, metric=metric)
    twin.upsert(ids=ids, vectors=new)
    for batch in (queries, queries[:1]):
        for k in (1, 10, 2 * N):
            for execution in (None, "rewrite", "fold", "rescore", "query"):
                ours = docs.search(batch, space="v2", k=k, execution=execution)
                theirs = twin.search(batch, k=k)
                assert np.array_equal(ours.ids, theirs.ids)
                assert np.array_equal(ours.scores, theirs.scores)
    assert {p.kind for p in ours.provenance(0)} == {"native"}


# The three executions of a forward map


@METRICS
@pytest.mark.parametrize("covered", [0, 70, 299])
@pytest.mark.parametrize("execution", ["rewrite", "fold", "rescore"])
def test_every_execution_scores_by_the_forward_map(store, metric, covered, execution):
    docs, ids, old, new, queries, translator, identity = two_generations(
        store, metric=metric, covered=covered
    )
    images = translated(old, translator, metric)
    truth = true_scores(queries, np.concatenate([new[:covered], images[covered:]]), metric)
    for batch in (slice(0, 12), slice(4, 5)):
        result = docs.search(queries[batch], space="v2", k=25, execution=execution, rescore_depth=N)
        assert_scores(result, truth[batch], ids)
        for query, hits in enumerate(result):
            for hit, provenance in zip(hits, result.provenance(query), strict=True):
                assert hit.provenance == provenance
                if int(hit.id) < covered:
                    assert provenance == vecstore.Provenance(kind="native", space="v2")
                else:
                    assert (provenance.kind, provenance.space) == ("translated", "v1")
                    assert provenance.translators == (identity,)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(["cosine", "ip", "l2"]),
    dims=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    bias=st.sampled_from([0.0, 0.3, 3.0]),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_rewrite_and_fold_agree(tmp_path_factory, seed, metric, dims, bias, dtype):
    """To 1e-5 of the sizes of the products that make up a score.

    Under cosine both divide by |F(x)|: where F nearly annihilates x, what is left is rounding
    error in both, and the bound grows with the cancellation.
    """
    rng = np.random.default_rng(seed)
    old = rng.standard_normal((40, dims[0]))
    weight = rng.standard_normal(dims) / np.sqrt(dims[0])
    offset = bias * rng.standard_normal(dims[1])
    if metric != "cosine" and dims[0] <= dims[1]:
        # A row whose image is exactly zero: small integers make the cancellation exact.
        weight = np.eye(*dims)
        old[7] = rng.integers(1, 4, dims[0])
        offset = -np.pad(old[7], (0, dims[1] - dims[0]))
    queries = rng.standard_normal((9, dims[1]))
    with vecstore.open(tmp_path_factory.mktemp("fold")) as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=dims[0], metric=metric, dtype=dtype)
        target = "cosine" if seed % 2 else metric
        docs.create_space("v2", dim=dims[1], metric=target, supersedes="v1")
        docs.upsert(ids=[f"{i}" for i in range(40)], vectors=old, space="v1")
        translator, _ = plant(docs, "v1", "v2", weight, offset)
        tables = [
            docs.search(queries, space="v2", k=40, execution=execution)
            .to_arrow()
            .sort_by([("query", "ascending"), ("id", "ascending")])
            for execution in ("rewrite", "fold")
        ]
        stored = docs.get([f"{i}" for i in range(40)], spaces=["v1"])
        x = np.stack([item.vectors["v1"] for item in stored]).astype(np.float64)
    left, right = (table.column("score").to_numpy().reshape(9, 40) for table in tables)
    order = np.argsort([f"{i}" for i in range(40)])
    image = np.linalg.norm(x @ translator.weight + translator.bias, axis=1)
    parts = np.linalg.norm(x, axis=1) * np.linalg.norm(translator.weight) + np.linalg.norm(offset)
    lengths = np.linalg.norm(queries, axis=1)[:, None]
    if target == "cosine":
        scale = np.divide(parts, image, out=np.ones_like(parts), where=image > 0)[None]
    elif target == "ip":
        scale = lengths * parts
    else:
        scale = (lengths + parts) ** 2
    assert (np.abs(left - right) <= 1e-5 * np.maximum(scale[:, order], 1)).all()


def test_an_image_without_direction_scores_zero_in_every_execution(store):
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=2, metric="ip")
    docs.create_space("v2", dim=2, metric="cosine", supersedes="v1")
    docs.upsert(ids=["zero", "one"], vectors=[[1, 2], [3, 2]], space="v1")
    plant(docs, "v1", "v2", np.eye(2), [-1.0, -2.0])
    for execution in ("rewrite", "fold"):
        for queries in ([[1, 0]], [[1, 0]] * 9):
            hits = docs.search(queries, space="v2", execution=execution)[0]
            assert hits.ids == ["one", "zero"]
            np.testing.assert_allclose(hits.scores, [1, 0], atol=1e-6)


@METRICS
def test_rescore_converges_to_rewrite_with_depth(store, metric):
    docs, _, old, _, queries, translator, _ = two_generations(store, metric=metric)
    rewrite = docs.search(queries, space="v2", k=10)
    overlaps = []
    for depth in (10, 30, 100, N):
        rescored = docs.search(queries, space="v2", k=10, execution="rescore", rescore_depth=depth)
        same = [set(a.ids) & set(b.ids) for a, b in zip(rescored, rewrite, strict=True)]
        overlaps.append(np.mean([len(s) / 10 for s in same]))
        truth = true_scores(queries, translated(old, translator, metric), metric)
        for query, hits in enumerate(rescored):
            own = truth[query, [int(name) for name in hits.ids]]
            np.testing.assert_allclose(hits.scores, own, rtol=1e-4, atol=1e-4)
    assert overlaps == sorted(overlaps)
    assert overlaps[-1] == 1.0
    np.testing.assert_allclose(rescored.scores, rewrite.scores, rtol=1e-5, atol=1e-5)


def test_an_index_over_a_translated_view_gives_the_same_scores(store):
    docs, ids, old, _, queries, translator, _ = two_generations(store)
    truth = true_scores(queries, translated(old, translator, "cosine"), "cosine")
    for execution in ("rewrite", "fold"):
        docs.build_index(space="v1", into="v2", execution=execution, kind="flat")
        result = docs.search(queries, space="v2", k=15, execution=execution)
        assert result.plan.indexes == {0: f"flat over {N} rows"}
        assert_scores(result, truth, ids)
    docs.upsert(ids=["300"], vectors=old[:1], space="v1")
    result = docs.search(queries, space="v2", k=N + 1)
    assert all("300" in hits.ids for hits in result)


def test_filters_apply_to_every_source(store):
    docs, ids, old, new, queries, translator, _ = two_generations(store, covered=100)
    images = translated(old, translator, "cosine")
    truth = true_scores(queries, np.concatenate([new[:100], images[100:]]), "cosine")
    keep = (np.arange(N) % 2 == 1) & (np.arange(N) > 50)
    truth[:, ~keep] = -np.inf
    for execution in ("rewrite", "fold", "rescore"):
        result = docs.search(
            queries,
            space="v2",
            k=500,
            where="n % 2 = 1 AND n > 50",
            execution=execution,
            rescore_depth=N,
        )
        assert [len(hits) for hits in result] == [keep.sum()] * 12
        assert_scores(result, truth, ids)


# The planner


@settings(max_examples=15)
@given(data=st.data())
def test_every_live_item_is_served_by_exactly_one_source(tmp_path_factory, data):
    subset = st.sets(st.integers(0, 29))
    with vecstore.open(tmp_path_factory.mktemp("plan")) as store:
        docs = store.create_collection("docs")
        older = None
        for name in ("v1", "v2", "v3"):
            docs.create_space(name, dim=2, supersedes=older)
            older = name
        docs.upsert(ids=[f"{i}" for i in range(30)], documents=[""] * 30)
        native = {}
        for name in ("v1", "v2", "v3"):
            native[name] = data.draw(subset)
            if native[name]:
                chosen = [f"{i}" for i in native[name]]
                docs.add_vectors(ids=chosen, vectors=np.ones((len(chosen), 2)), space=name)
        maps = data.draw(st.sets(st.sampled_from([("v1", "v2"), ("v2", "v3"), ("v3", "v1")])))
        for source, target in sorted(maps):
            plant(docs, source, target, np.eye(2))
        gone = data.draw(subset)
        docs.delete([f"{i}" for i in gone])
        alive = set(range(30)) - gone
        with_query = data.draw(st.sets(st.sampled_from(["v1", "v2"])))
        expected = servable(native, maps, with_query) & alive
        asked = {"space": "v3", "query_spaces": ["v3", *sorted(with_query)], "allow_partial": True}
        if not expected and any(native[name] & alive for name in native):
            with pytest.raises(NoRouteError, match="no translator joins"):
                docs.explain(**asked)
            return
        plan = docs.explain(**asked)
        served = [set(source.rows.to_array().tolist()) for source in plan.sources]
        assert sum(map(len, served)) == len(set().union(*served))
        assert set().union(*served) == expected
        assert set(plan.unserved.to_array().tolist()) == alive - expected
        assert not native["v3"] & alive or served[0] == native["v3"] & alive
        assert plan.live == len(alive)


def servable(native, maps, with_query):
    """Return which items some source serves in v3: native, by a query of their own, or a map."""
    found = set(native["v3"])
    for name in ("v1", "v2"):
        if name in with_query or path(maps, name, "v3") or path(maps, "v3", name):
            found |= native[name]
    return found


def path(maps, source, target):
    seen, frontier = {source}, {source}
    while frontier:
        frontier = {t for s, t in maps if s in frontier} - seen
        seen |= frontier
    return target in seen


def test_an_upsert_drops_the_vectors_of_every_space(store):
    docs, ids, old, *_ = two_generations(store, covered=100)
    assert (docs.spaces["v1"].native, docs.spaces["v2"].native) == (N, 100)
    docs.upsert(ids=ids[:10], vectors=old[10:20], space="v1")
    assert (docs.spaces["v1"].native, docs.spaces["v2"].native) == (N, 90)
    assert set(docs.get(ids[0], spaces=["v1", "v2"]).vectors) == {"v1"}
    docs.upsert(ids=ids[20:25])
    assert (docs.spaces["v1"].native, docs.spaces["v2"].native) == (N - 5, 85)
    plan = docs.explain(space="v2")
    assert [len(s.rows) for s in plan.sources] == [85, 210]
    assert len(plan.unserved) == 5
    assert docs.spaces["v2"].coverage == 85 / N
    docs.delete(ids[30:40])
    assert docs.spaces["v2"].coverage == 75 / (N - 10)


def test_a_chain_of_translators_is_one_map_and_names_its_parts(store):
    rng = np.random.default_rng(3)
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=5)
    docs.create_space("v2", dim=7, supersedes="v1")
    docs.create_space("v3", dim=4, supersedes="v2")
    old = rng.standard_normal((50, 5))
    ids = [f"{i}" for i in range(50)]
    docs.upsert(ids=ids, vectors=old, space="v1")
    first, one = plant(docs, "v1", "v2", rng.standard_normal((5, 7)), rng.standard_normal(7))
    second, two = plant(docs, "v2", "v3", rng.standard_normal((7, 4)), rng.standard_normal(4))
    queries = rng.standard_normal((9, 4))
    images = translated(old, first, "cosine") @ second.weight + second.bias
    truth = true_scores(queries, images, "cosine")
    for execution in ("rewrite", "fold", "rescore"):
        result = docs.search(queries, space="v3", k=8, execution=execution)
        assert_scores(result, truth, ids)
        assert result[0][0].provenance.translators == (one, two)
    docs.add_vectors(ids=ids[:10], vectors=rng.standard_normal((10, 7)), space="v2")
    sources = docs.explain(space="v3").sources
    assert [(s.space.space.name, len(s.route), len(s.rows)) for s in sources] == [
        ("v2", 1, 10),
        ("v1", 2, 40),
    ]
    _, three = plant(docs, "v1", "v3", rng.standard_normal((5, 4)))
    routes = [s.route[0].id for s in docs.explain(space="v3").sources if len(s.route) == 1]
    assert three in routes, "a direct fit is preferred to a chain"


def test_an_index_over_a_chain_of_translators_is_kept_by_every_catalog(place):
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=2)
        docs.create_space("v2", dim=2, supersedes="v1")
        docs.create_space("v3", dim=2, supersedes="v2")
        docs.upsert(ids=["a", "b"], vectors=np.eye(2), space="v1")
        plant(docs, "v1", "v2", np.eye(2))
        plant(docs, "v2", "v3", np.eye(2))
        docs.build_index(space="v1", into="v3", kind="flat")
        assert docs.explain(space="v3").indexes == {0: "flat over 2 rows"}
        assert docs.search([1, 0.1], space="v3").ids == ["a", "b"]


@METRICS
def test_a_query_side_map_asks_the_old_space_with_the_translated_query(store, metric):
    rng = np.random.default_rng(1)
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=OLD, metric=metric)
    docs.create_space("v2", dim=NEW, metric=metric, supersedes="v1")
    old, queries = rng.standard_normal((N, OLD)), rng.standard_normal((9, NEW))
    ids = [f"{i:03}" for i in range(N)]
    docs.upsert(ids=ids, vectors=old, space="v1")
    weight, bias = rng.standard_normal((NEW, OLD)), rng.standard_normal(OLD)
    translator, identity = plant(docs, "v2", "v1", weight, bias)
    truth = true_scores(translated(queries, translator, metric), old, metric)
    result = docs.search(queries, space="v2", k=20)
    assert result.plan.sources[0].kind == "query"
    assert_scores(result, truth, ids)
    assert result[0][0].provenance == vecstore.Provenance(
        kind="translated", space="v1", translators=(identity,)
    )
    plant(docs, "v1", "v2", rng.standard_normal((OLD, NEW)))
    assert docs.explain(space="v2").sources[0].kind == "forward"
    assert docs.explain(space="v2", execution="query").sources[0].kind == "query"
    again = docs.search(queries, space="v2", k=20, execution="query")
    assert np.array_equal(again.ids, result.ids)
    assert np.array_equal(again.scores, result.scores)


def test_native_vectors_of_another_query_beat_a_translator(store):
    docs, ids, old, new, queries, _, _ = two_generations(store, covered=100)
    asked = {"v1": np.random.default_rng(9).standard_normal((12, OLD)), "v2": queries}
    plan = docs.explain(query_spaces=["v1", "v2"])
    assert plan.target.space.name == "v2"
    assert [(s.kind, s.space.space.name, len(s.rows)) for s in plan.sources] == [
        ("native", "v2", 100),
        ("native", "v1", 200),
    ]
    result = docs.search(asked, k=N)
    old_truth = true_scores(asked["v1"], old, "cosine")
    new_truth = true_scores(asked["v2"], new, "cosine")
    for query, hits in enumerate(result):
        assert sorted(hits.ids) == ids
        spaces = {hit.id: hit.provenance for hit in hits}
        assert all(p.kind == "native" and not p.translators for p in spaces.values())
        assert {name for name, p in spaces.items() if p.space == "v2"} == set(ids[:100])
        numbers = np.array([int(name) for name in hits.ids])
        mine = numbers < 100
        np.testing.assert_allclose(hits.scores[mine], new_truth[query, numbers[mine]], atol=1e-6)
        # Foreign scores are brought to the ranking space's scale by an increasing line.
        foreign = old_truth[query, numbers[~mine]]
        assert (np.diff(foreign) <= 1e-6).all()
        slope, intercept = np.polyfit(foreign, hits.scores[~mine], 1)
        assert slope > 0
        np.testing.assert_allclose(hits.scores[~mine], slope * foreign + intercept, atol=1e-5)
    assert docs.search(asked, space="v1", k=5).plan.target.space.name == "v1"
    single = docs.search({name: rows[0] for name, rows in asked.items()}, k=7)
    assert single.ids == result[0].ids[:7]


def test_the_query_in_the_other_space_alone_is_an_ordinary_search_there(store):
    docs, _, _, _, queries, _, _ = two_generations(store)
    asked = np.random.default_rng(9).standard_normal((12, OLD))
    both = docs.search({"v1": asked, "v2": queries}, k=20)
    alone = docs.search(asked, space="v1", k=20)
    assert np.array_equal(both.ids, alone.ids)
    assert np.array_equal(both.scores, alone.scores)


def test_a_generation_that_cannot_be_reached_is_refused_by_name(store):
    docs, ids, _, _, queries, _, identity = two_generations(store, covered=40)
    docs.drop_translator(identity)
    for search in (docs.search, docs.latest().search):
        with pytest.raises(NoRouteError, match=r"260 items .*'v1'.*fit_translator.*allow_partial"):
            search(queries, space="v2")
    partial = docs.search(queries, space="v2", k=500, allow_partial=True)
    assert [len(hits) for hits in partial] == [40] * 12
    assert len(partial.plan.unserved) == 260
    asked = {"v1": np.ones((12, OLD)), "v2": queries}
    assert [len(hits) for hits in docs.search(asked, k=500)] == [N] * 12
    docs.create_space("other", dim=3)
    docs.upsert(ids=["apart"], vectors=[[1, 2, 3]], space="other")
    assert docs.search([1, 2, 3], space="other").ids == ["apart"], "not of one lineage"
    docs.delete(ids[:40])
    with pytest.raises(NoRouteError, match="no translator joins"):
        docs.search(queries, space="v2", allow_partial=True)


def test_a_dropped_space_takes_its_translators_along(store):
    docs, *_ = two_generations(store, covered=40)
    version = docs.version
    docs.drop_space("v2")
    assert docs.translators == ()
    assert list(docs.spaces) == ["v1"]
    assert len(docs.at(version).search(np.ones(NEW), space="v2", k=500)) == N


def test_what_cannot_be_executed_is_refused(store):
    docs, *_, queries, _, _ = two_generations(store)
    with pytest.raises(InvalidArgumentError, match="rewrite, fold, rescore, query"):
        docs.search(queries, space="v2", execution="magic")
    docs.create_space("v3", dim=NEW, metric="l2", supersedes="v2")
    plant(docs, "v1", "v3", np.ones((OLD, NEW)))
    with pytest.raises(UnsupportedOperationError, match="side='queries'"):
        docs.search(queries, space="v3", execution="rescore")


# Cascade


class LookUp:
    """An encoder that knows the texts' vectors by heart and counts what it is asked."""

    revision, profile = None, vecstore.EncodingProfile()

    def __init__(self, vectors, name="new", dim=NEW):
        self.vectors, self.name, self.dim = vectors, name, dim
        self.asked = []

    def encode_documents(self, texts):
        self.asked += texts
        return np.stack([self.vectors[int(text.split()[1])] for text in texts])

    def encode_queries(self, texts):
        raise AssertionError("a cascade embeds documents only")


@METRICS
def test_a_cascade_ranks_its_shortlist_natively_and_commits_it_once(store, metric):
    docs, ids, old, new, queries, translator, _ = two_generations(store, metric=metric, covered=50)
    encoder, before = LookUp(new), docs.version
    images = translated(old, translator, metric)
    mixed = true_scores(queries, np.concatenate([new[:50], images[50:]]), metric)
    native = true_scores(queries, new, metric)
    result = docs.search(queries, space="v2", k=5, encoder=encoder, depth=30)
    shortlists = np.argsort(-mixed, axis=1, kind="stable")[:, :30]
    for query, hits in enumerate(result):
        best = shortlists[query][np.argsort(-native[query, shortlists[query]])[:5]]
        assert [int(name) for name in hits.ids] == best.tolist()
        np.testing.assert_allclose(hits.scores, native[query, best], rtol=1e-5, atol=1e-5)
        assert {p.kind for p in result.provenance(query)} == {"native"}
    missing = np.unique(shortlists[shortlists >= 50])
    assert sorted(encoder.asked) == sorted(f"text {i}" for i in missing)
    assert result.embedded == len(missing)
    assert docs.version == before + 1
    assert docs.spaces["v2"].native == 50 + len(missing)
    kept = docs.get([ids[i] for i in missing], spaces=["v2"])
    expected = docs.spaces["v2"].space.prepare(new[missing])
    np.testing.assert_allclose([i.vectors["v2"] for i in kept], expected, atol=1e-6)
    again = docs.search(queries, space="v2", k=5, encoder=LookUp(new), depth=5)
    assert docs.spaces["v2"].native == 50 + len(missing) + again.embedded
    assert docs.versions()[before + 1].operation == "add vectors to v2"


def test_a_cascade_over_everything_is_a_full_re_embed(store):
    docs, _, _, new, queries, _, _ = two_generations(store)
    result = docs.search(queries, space="v2", k=10, encoder=LookUp(new), depth=N)
    assert docs.spaces["v2"].coverage == 1.0
    native = docs.search(queries, space="v2", k=10)
    assert np.array_equal(result.ids, native.ids)
    np.testing.assert_allclose(result.scores, native.scores, atol=1e-6)


def test_a_cascade_without_commit_or_at_a_version_changes_nothing(store):
    docs, _, _, new, queries, _, _ = two_generations(store)
    before = docs.version
    first = docs.search(queries, space="v2", encoder=LookUp(new), depth=20, commit=False)
    second = docs.at(before).search(queries, space="v2", encoder=LookUp(new), depth=20)
    assert docs.refresh().version == before
    assert docs.spaces["v2"].native == 0
    assert first.embedded == second.embedded > 0
    assert np.array_equal(first.ids, second.ids)


def test_a_cascade_leaves_items_without_a_document_to_their_translated_score(store):
    docs, ids, old, new, queries, translator, _ = two_generations(store)
    docs.upsert(ids=ids[:150], vectors=old[:150], space="v1", metadata={"n": np.arange(150)})
    encoder = LookUp(new)
    result = docs.search(queries, space="v2", k=N, encoder=encoder, depth=N)
    assert sorted(encoder.asked) == sorted(f"text {i}" for i in range(150, N))
    assert docs.spaces["v2"].native == 150
    images = translated(old, translator, "cosine")
    truth = true_scores(queries, np.concatenate([images[:150], new[150:]]), "cosine")
    assert_scores(result, truth, ids)
    for hit in result[0]:
        assert hit.provenance.kind == ("translated" if int(hit.id) < 150 else "native")
        assert hit.provenance.space == ("v1" if int(hit.id) < 150 else "v2")
    docs.upsert(ids=ids, vectors=old, space="v1")
    bare = docs.search(queries, space="v2", k=7, encoder=encoder, depth=20)
    plain = docs.search(queries, space="v2", k=7)
    assert np.array_equal(bare.ids, plain.ids)
    assert np.array_equal(bare.scores, plain.scores)


def test_a_cascade_survives_rows_that_die_or_gain_a_vector_while_it_embeds(store, tmp_path):
    docs, _, old, new, queries, _, _ = two_generations(store)

    class Meddler(LookUp):
        def encode_documents(self, texts):
            with vecstore.open(tmp_path / "store") as other:
                rival = other.collection("docs")
                chosen = sorted({f"{int(t.split()[1]):03}" for t in texts})
                rival.delete(chosen[:3])
                rival.upsert(ids=chosen[3:6], vectors=old[:3], space="v1")
                rival.add_vectors(ids=chosen[6:9], vectors=new[:3], space="v2")
                self.touched = chosen[:9]
            return super().encode_documents(texts)

    encoder = Meddler(new)
    result = docs.search(queries, space="v2", k=5, encoder=encoder, depth=20)
    assert docs.spaces["v2"].native == result.embedded - 6
    assert len(docs) == N - 3
    kept = docs.get(encoder.touched[6:9], spaces=["v2"])
    expected = docs.spaces["v2"].space.prepare(new[:3])
    np.testing.assert_allclose([i.vectors["v2"] for i in kept], expected, atol=1e-6)
    assert all(not i.vectors for i in docs.get(encoder.touched[3:6], spaces=["v2"]))


def test_a_wrong_encoder_is_refused_before_it_is_asked(store):
    docs, _, _, new, queries, _, _ = two_generations(store)
    for encoder, message in (
        (LookUp(new, name="new, but another"), "another"),
        (LookUp(new, dim=NEW + 1), "dimensions"),
    ):
        with pytest.raises(SpaceMismatchError, match=message):
            docs.search(queries, space="v2", encoder=encoder, depth=5)
        assert encoder.asked == []

    class Forgetful(LookUp):
        def encode_documents(self, texts):
            return super().encode_documents(texts)[:-1]

    with pytest.raises(UnpairedRowsError, match="expected"):
        docs.search(queries, space="v2", encoder=Forgetful(new), depth=5)
    with pytest.raises(InvalidArgumentError, match="depth="):
        docs.search(queries, space="v2", encoder=LookUp(new))
    with pytest.raises(UnsupportedOperationError, match="use_encoder"):
        docs.search(queries, space="v2", depth=5)
    assert docs.spaces["v2"].native == 0


# Translated caches


def cache_files(store):
    return sorted((store._root.folder / "data").glob("*/translated/*/*.arrow"))


@pytest.mark.parametrize("execution", ["rewrite", "fold"])
def test_damaged_caches_are_made_again_and_never_served(tmp_path, execution):
    with vecstore.open(tmp_path) as store:
        docs, _, _, _, queries, _, _ = two_generations(store)
        truth = docs.search(queries, space="v2", execution=execution)
        files = cache_files(store)
        assert len(files) == 3
    whole = [file.read_bytes() for file in files]

    def empty(content):
        return b""

    def cut(content):
        return content[: len(content) // 2]

    def flip_vector(content):
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 0x40
        return bytes(damaged)

    def flip_row_ids(content):
        first = [np.arange(start, start + 3, dtype=np.int64).tobytes() for start in (0, 100, 200)]
        [where] = [content.index(rows) for rows in first if rows in content]
        damaged = bytearray(content)
        damaged[where] ^= 0x01
        return bytes(damaged)

    def others(content):
        return whole[1] if content == whole[0] else whole[0]

    for damage in (empty, cut, flip_vector, flip_row_ids, others, None):
        for file, content in zip(files, whole, strict=True):
            if damage is None:
                file.unlink()
            else:
                file.write_bytes(damage(content))
        with vecstore.open(tmp_path) as store:
            result = store.collection("docs").search(queries, space="v2", execution=execution)
            assert np.array_equal(result.ids, truth.ids), damage
            assert np.array_equal(result.scores, truth.scores), damage
        assert [file.read_bytes() for file in files] == whole, "not made again"


def test_a_cache_of_another_translator_is_not_taken_for_this_one(tmp_path):
    with vecstore.open(tmp_path) as store:
        docs, _, _, _, queries, _, identity = two_generations(store)
        docs.search(queries, space="v2")
        [folder] = {file.parent for file in cache_files(store)}
        docs.drop_translator(identity)
        plant(docs, "v1", "v2", np.random.default_rng(77).standard_normal((OLD, NEW)))
        truth = docs.search(queries, space="v2")
        [other] = {file.parent for file in cache_files(store)} - {folder}
    shutil.rmtree(other)
    shutil.copytree(folder, other)
    with vecstore.open(tmp_path) as store:
        result = store.collection("docs").search(queries, space="v2")
        assert np.array_equal(result.scores, truth.scores)


def test_a_data_root_that_takes_no_caches_still_answers(tmp_path):
    with vecstore.open(tmp_path) as store:
        docs, _, _, _, queries, _, _ = two_generations(store)
        truth = docs.search(queries, space="v2")
        folder = cache_files(store)[0].parents[1]
    shutil.rmtree(folder)
    folder.write_text("a file, so that no folder can be made here, not even by root")
    with vecstore.open(tmp_path) as store:
        result = store.collection("docs").search(queries, space="v2")
        assert np.array_equal(result.ids, truth.ids)
        assert np.array_equal(result.scores, truth.scores)
