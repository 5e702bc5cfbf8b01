"""Search in one space equals brute force: metric, type, filter, deletes, segments, k, indexes."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore import snapshot
from vecstore.errors import InvalidArgumentError
from vecstore.testing.stores import CollectionModel, check_search

DIM = 24
ROWS = [400, 150, 1, 77]
FILTERS = {
    "none": (None, None),
    "sql": ("year >= 2010 AND lang = 'en'", lambda m: m["year"] >= 2010 and m["lang"] == "en"),
    "dictionary": (
        {"$or": [{"year": {"$lt": 2003}}, {"lang": "fr"}]},
        lambda m: m["year"] < 2003 or m["lang"] == "fr",
    ),
    "selective": ("id IN ('1-3', '0-77', '3-70')", None),
    "empty": ("year > 3000", lambda m: False),
}


def filled(store, *, metric, dtype="float32", seed=0, dim=DIM):
    """Several segments, with deletes, revisions, replaced vectors and items without any."""
    rng = np.random.default_rng(seed)
    docs, model = store.create_collection("docs"), CollectionModel()
    model.add_space(docs.create_space("v", dim=dim, metric=metric, dtype=dtype))

    def upsert(ids, vectors):
        rows = [
            {"year": int(rng.integers(1995, 2025)), "lang": str(rng.choice(["en", "fr"]))}
            for _ in ids
        ]
        given = {} if vectors is None else {"v": vectors}
        docs.upsert(ids=ids, vectors=given, metadata=rows)
        model.upsert(ids, given, None, rows)

    for part, n in enumerate(ROWS):
        upsert([f"{part}-{i}" for i in range(n)], draw(rng, n, dim))
    upsert([f"bare-{i}" for i in range(5)], None)
    upsert([f"0-{i}" for i in range(0, 400, 9)], draw(rng, 45, dim))
    gone = [f"0-{i}" for i in range(0, 400, 7)] + [f"1-{i}" for i in range(10, 30)] + ["2-0"]
    assert docs.delete(gone).rows == model.delete(gone)
    replaced = [f"3-{i}" for i in range(0, 77, 5)]
    vectors = draw(rng, len(replaced), dim)
    docs.add_vectors(ids=replaced, vectors=vectors, space="v", on_existing="replace")
    model.add_vectors(replaced, vectors, "v", "replace")
    return docs, model, rng


def draw(rng, n, dim):
    """Directions of unequal length, some of them twice."""
    vectors = rng.standard_normal((n, dim)) * rng.uniform(0.2, 3, (n, 1))
    vectors[n // 2 : n // 2 + 3] = vectors[0]
    return vectors


def predicate(name):
    if name == "selective":
        return lambda item: item.id in ("1-3", "0-77", "3-70")
    keep = FILTERS[name][1]
    return None if keep is None else lambda item: keep(item.metadata)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_search_equals_brute_force(store, metric, dtype):
    docs, model, rng = filled(store, metric=metric, dtype=dtype)
    queries = rng.standard_normal((12, DIM)).astype(np.float32)
    queries[3] = model.items["0-2"].vectors["v"]
    for name, (where, _) in FILTERS.items():
        for k in (1, 10, 5000):
            options = {"space": "v", "k": k, "where": where, "keep": predicate(name)}
            check_search(docs, model, queries[3], **options)
            check_search(docs, model, queries, **options)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_batch_of_one_is_a_single_query_with_one_more_axis(store, metric):
    docs, _, rng = filled(store, metric=metric)
    query = rng.standard_normal(DIM)
    single, batch = docs.search(query, k=7), docs.search(query[None], k=7)
    assert isinstance(single, vecstore.Hits)
    assert isinstance(batch, vecstore.SearchResult)
    assert single.ids == batch[0].ids
    assert np.array_equal(single.scores, batch[0].scores)
    assert len(batch) == 1


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_equal_scores_are_ordered_by_time_of_writing(store, metric):
    """Small integers have exact scores, so the whole order is determined."""
    rng = np.random.default_rng(5)
    docs = store.create_collection("docs")
    docs.create_space("v", dim=2, metric=metric, dtype="float16")
    ids, rows = [], []
    for part in range(6):
        names = [f"{part}-{n}" for n in range(40)]
        # Powers of two have exact unit vectors, so cosine ties are exact as well.
        axes = np.eye(2)[rng.integers(0, 2, 40)] * 2.0 ** rng.integers(0, 3, (40, 1))
        docs.upsert(ids=names, vectors=axes)
        ids += names
        rows.append(axes)
    vectors = np.concatenate(rows)
    if metric == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = np.tile([[1.0, 0.0], [0.0, 1.0]], (6, 1))
    scores = queries @ vectors.T
    if metric == "l2":
        scores = -np.square(queries[:, None] - vectors[None]).sum(axis=2)
    for k in (1, 17, 50, 240):
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        batch = docs.search(queries, k=k)
        assert batch.ids.tolist() == np.array(ids, dtype=object)[expected].tolist()
        assert np.array_equal(batch.scores, np.take_along_axis(scores, expected, axis=1))
        assert docs.search(queries[1], k=k).ids == batch[1].ids


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_float16_scores_are_within_a_thousandth_of_float32_scores(tmp_path, metric):
    answers = {}
    for dtype in ("float32", "float16"):
        with vecstore.open(tmp_path / dtype) as store:
            docs = store.create_collection("docs")
            docs.create_space("v", dim=64, metric=metric, dtype=dtype)
            rows = np.random.default_rng(1).standard_normal((500, 64))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            docs.upsert(ids=[f"{n:03}" for n in range(500)], vectors=rows)
            table = (
                docs.search(rows[:20] + 0.1, k=500)
                .to_arrow()
                .sort_by([("query", "ascending"), ("id", "ascending")])
            )
            answers[dtype] = table.column("score").to_numpy()
    scale = 1 if metric == "cosine" else 4
    np.testing.assert_allclose(answers["float16"], answers["float32"], rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_an_index_with_newer_older_and_dead_rows_gives_right_scores(store, metric, kind):
    docs, model, rng = filled(store, metric=metric)
    before = docs.version
    old = model.copy()
    docs.build_index(space="v", kind=kind, parameters={} if kind == "flat" else {"ef_search": 700})
    assert docs.explain(space="v").indexes[0].startswith(kind)
    queries = rng.standard_normal((20, DIM))
    check_search(docs, model, queries, space="v", k=10)

    new = [f"new-{i}" for i in range(60)]
    vectors = np.concatenate([queries, draw(rng, 40, DIM)])
    docs.upsert(ids=new, vectors=vectors, metadata={"year": [2020] * 60, "lang": ["en"] * 60})
    model.upsert(new, {"v": vectors}, None, [{"year": 2020, "lang": "en"}] * 60)
    again = [item.id for item in model.native("v")[20:60]]
    vectors = draw(rng, 40, DIM)
    docs.add_vectors(ids=again, vectors=vectors, space="v", on_existing="replace")
    model.add_vectors(again, vectors, "v", "replace")
    gone = [item.id for item in model.native("v")[::6]]
    docs.delete(gone)
    model.delete(gone)
    for name, (where, _) in FILTERS.items():
        for chosen in (queries, queries[0]):
            options = {"space": "v", "k": 10, "where": where, "keep": predicate(name)}
            check_search(docs, model, chosen, **options)
    check_search(docs.at(before), old, queries, space="v", k=10)
    docs.drop_index(docs.indexes[0].id)
    assert docs.explain(space="v").indexes == {}
    check_search(docs, model, queries, space="v", k=10)


def test_an_index_never_shows_an_older_version_what_came_later(store):
    """Deleted rows, replaced vectors and new rows: none of them may leak through the index."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((50, 4))
    docs, model = store.create_collection("docs"), CollectionModel()
    model.add_space(docs.create_space("v", dim=4, metric="l2"))
    ids = [f"{n}" for n in range(50)]
    docs.upsert(ids=ids, vectors=rows)
    model.upsert(ids, {"v": rows})
    first, history = docs.version, {docs.version: model.copy()}
    docs.delete(ids[:5])
    model.delete(ids[:5])
    history[docs.version] = model.copy()
    docs.add_vectors(ids=ids[10:12], vectors=rows[:2], space="v", on_existing="replace")
    model.add_vectors(ids[10:12], rows[:2], "v", "replace")
    history[docs.version] = model.copy()
    docs.upsert(ids=[f"new {n}" for n in range(10)], vectors=rows[:10])
    model.upsert([f"new {n}" for n in range(10)], {"v": rows[:10]})
    history[docs.version] = model.copy()
    docs.delete(ids[20:25])
    model.delete(ids[20:25])
    docs.build_index(space="v", kind="flat")
    for version in range(first, docs.version):
        for queries in (rows, rows[0]):
            check_search(docs.at(version), history[version], queries, space="v", k=5)
    check_search(docs, model, rows, space="v", k=5)


def test_what_is_wanted_is_k_or_limit_within_bounds(store):
    docs, _, rng = filled(store, metric="cosine")
    query = rng.standard_normal(DIM)
    assert len(docs.search(query)) == 10
    assert docs.search(query, limit=3).ids == docs.search(query, k=3).ids
    with pytest.raises(InvalidArgumentError, match="two names of one argument"):
        docs.search(query, k=1, limit=1)
    for wrong in (0, -1, 100_001, 2.5, "3", True):
        with pytest.raises(InvalidArgumentError, match="expected"):
            docs.search(query, k=wrong)


def test_hits_carry_their_item_and_plain_numbers(store):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=2, metric="l2")
    docs.upsert(
        ids=["a", "b"],
        vectors=[[0, 0], [3, 4]],
        documents=["first", None],
        metadata=[{"n": 1}, {"n": 2}],
    )
    hits = docs.search([0, 0], k=5)
    assert [hit.id for hit in hits] == hits.ids == ["a", "b"]
    assert [(hit.score, hit.distance) for hit in hits] == [(0.0, 0.0), (-25.0, 25.0)]
    assert [(hit.document, hit.metadata) for hit in hits] == [("first", {"n": 1}), (None, {"n": 2})]
    assert hits[-1].id == "b"
    assert [hit.id for hit in hits[:1]] == ["a"]
    with pytest.raises(IndexError):
        hits[2]
    batch = docs.search([[0, 0], [3, 4]], k=1)
    assert batch.ids.tolist() == [["a"], ["b"]]
    assert [h.ids for h in batch[0:2]] == [["a"], ["b"]]
    with pytest.raises(IndexError):
        batch[2]
    table = docs.search([[0, 0]], k=3).to_arrow()
    assert table.to_pylist()[1] == {
        "query": 0,
        "rank": 2,
        "id": "b",
        "score": -25.0,
        "distance": 25.0,
        "provenance": "native",
        "space": "v",
    }


def test_nothing_to_find_is_an_empty_answer(store):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=2)
    assert list(docs.search([1, 0])) == []
    batch = docs.search(np.ones((3, 2)), k=2)
    assert batch.scores.shape == (3, 2)
    assert np.isneginf(batch.scores).all()
    assert batch.ids.tolist() == [[None, None]] * 3
    docs.upsert(ids=["a"], vectors=[[1, 0]])
    assert docs.search(np.empty((0, 2)), k=4).scores.shape == (0, 4)
    docs.delete(["a"])
    assert list(docs.search([1, 0])) == []


def test_a_filter_is_evaluated_once_for_a_version_and_anew_for_the_next(store, monkeypatch):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=2)
    docs.upsert(ids=["a", "b", "c"], vectors=[[3, 1], [1, 3], [1, 0]], metadata={"n": [1, 2, 3]})
    asked = []
    select = snapshot.select_rows
    monkeypatch.setattr(snapshot, "select_rows", lambda *a: asked.append(a) or select(*a))
    for _ in range(3):
        assert docs.search([1, 0], where="n > 1").ids == ["c", "b"]
        assert docs.search([1, 0], where={"n": 1}).ids == ["a"]
        assert docs.search([1, 0], where={"id": "1"}).ids == []
    assert len(asked) == 3
    docs.upsert(ids=["d"], vectors=[[1, 0]], metadata={"n": [4]})
    assert set(docs.search([1, 0], where="n > 1").ids) == {"b", "c", "d"}
    docs.delete(ids=["c"])
    assert set(docs.search([1, 0], where="n > 1").ids) == {"b", "d"}
    for number in range(40):
        docs.count(where=f"n > {number}")
    assert docs.count(where="n > 1") == 2
