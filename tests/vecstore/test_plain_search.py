"""The plain way of a search gives what the general way gives, hits and errors alike."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vecstore
from vecstore.errors import NotFoundError, VecstoreError
from vecstore.search.plain import PlainSearch

DIM, ROWS, FILES = 12, 60, 3
KINDS = ("flat", "hnsw", "sq")
METRICS = ("cosine", "ip", "l2")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Return a function that gives a collection of one metric with an index of one kind."""
    made = {}
    with vecstore.open(tmp_path_factory.mktemp("plain")) as store:

        def of(metric, kind):
            if (metric, kind) not in made:
                docs = store.create_collection(f"{metric}-{kind}")
                docs.create_space("v", dim=DIM, metric=metric)
                rng = np.random.default_rng(0)
                for part in range(FILES):
                    docs.upsert(
                        ids=[f"{part}-{n}" for n in range(ROWS // FILES)],
                        vectors=rng.standard_normal((ROWS // FILES, DIM)),
                        metadata={"n": np.arange(ROWS // FILES)},
                    )
                docs.build_index(space="v", kind=kind)
                made[metric, kind] = docs
            return made[metric, kind]

        yield of


def generally(docs, *arguments, **options):
    """Search in the general way, which an option with no effect asks for."""
    return docs.search(*arguments, allow_partial=True, **options)


def same(plain, general):
    assert plain.ids == general.ids == [hit.id for hit in plain]
    np.testing.assert_array_equal(plain.scores, general.scores)
    np.testing.assert_array_equal(plain.distances, general.distances)
    assert list(plain) == list(general)
    assert plain.plan is general.plan or str(plain.plan) == str(general.plan)
    assert (plain.embedded, plain.degraded) == (0, None)
    assert plain._result.to_arrow().equals(general._result.to_arrow())


FILTERS = {None: ROWS, "n < 0": 0, "n = 3": FILES, "n < 15": 15 * FILES, "n >= 0": ROWS}

FORMS = {
    "float32": lambda q: q,
    "scaled": lambda q: q * np.float32(3.7),
    "float64": lambda q: q.astype(np.float64),
    "float16": lambda q: q.astype(np.float16),
    "integers": lambda q: np.rint(q * 9).astype(np.int32) + 1,
    "strided": lambda q: np.repeat(q, 3)[::3],
    "reversed": lambda q: q[::-1].copy()[::-1],
    "other byte order": lambda q: q.astype(">f4"),
    "list": lambda q: q.tolist(),
    "read-only": lambda q: np.frombuffer(q.tobytes(), np.float32),
    "short": lambda q: q * np.float32(1e-17),
    "very short": lambda q: q * np.float32(1e-22),
    "long": lambda q: q * np.float32(1e17),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    form=st.sampled_from(sorted(FORMS)),
    k=st.sampled_from([1, 2, 10, ROWS, ROWS + 7, 500]),
    named=st.booleans(),
    where=st.sampled_from(list(FILTERS)),
)
def test_both_ways_give_the_same_hits(indexed, metric, kind, seed, form, k, named, where):
    docs = indexed(metric, kind)
    unit = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    query = FORMS[form](unit / np.linalg.norm(unit))
    options = {"limit": k, "space": "v"} if named else {"k": k}
    options |= {"where": where} if where else {}
    assert docs._version().plain("v" if named else None) is not None
    plain = docs.search(query, **options)
    same(plain, generally(docs, query, **options))
    assert len(plain) == min(k, FILTERS[where])
    batch = docs.search(np.array([query, query]), **options)
    assert [hits.ids for hits in batch] == [plain.ids] * 2
    assert batch.ids.shape == (2, k)


@pytest.mark.parametrize("form", ["float32", "float64", "float16", "scaled", "long"])
def test_usual_queries_take_the_plain_way_and_leave_the_callers_array_alone(
    indexed, form, monkeypatch
):
    docs = indexed("cosine", "flat")
    asked = []
    search = PlainSearch.search
    monkeypatch.setattr(
        PlainSearch, "search", lambda self, *given: asked.append(1) or search(self, *given)
    )
    query = FORMS[form](np.ones(DIM, np.float32) / np.float32(np.sqrt(DIM)))
    before = query.copy()
    docs.search(query, k=3)
    docs.latest().search(query, k=3)
    assert len(asked) == 2
    np.testing.assert_array_equal(query, before)


BAD = {
    "NaN": np.full(DIM, np.nan, np.float32),
    "one infinity": np.r_[np.inf, np.ones(DIM - 1)].astype(np.float32),
    "both infinities": np.r_[np.inf, -np.inf, np.ones(DIM - 2)],
    "too large for float32": np.full(DIM, 1e300),
    "zero": np.zeros(DIM, np.float32),
    "too long": np.full(DIM, 1e18, np.float32),
    "much too long": np.full(DIM, 1e20, np.float32),
    "another dimension": np.ones(DIM + 1, np.float32),
    "no dimension": np.float32(1),
    "three dimensions": np.ones((1, 1, DIM), np.float32),
    "complex": np.ones(DIM, complex),
    "words": np.array(["x"] * DIM),
    "objects": np.array([object()] * DIM),
    "nothing": None,
}
OPTIONS = {
    "no k": {"k": 0},
    "k of another type": {"k": 2.0},
    "k and limit": {"k": 3, "limit": 3},
    "too many": {"k": 100_001},
    "no such space": {"space": "w"},
}


def said(search, *arguments, **options):
    """Return the error of a search, or its ids."""
    try:
        return search(*arguments, **options).ids
    except (VecstoreError, TypeError, ValueError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("what", BAD)
def test_both_ways_say_the_same_of_a_bad_query(indexed, metric, what):
    docs = indexed(metric, "flat")
    expected = said(lambda *a: generally(docs, *a, k=3), BAD[what])
    assert said(docs.search, BAD[what], k=3) == expected
    if what not in (
        "zero",
        "too long",
        "much too long",
    ):  # which are vectors like others under some metrics
        assert isinstance(expected, tuple)


@pytest.mark.parametrize("what", OPTIONS)
def test_both_ways_say_the_same_of_a_bad_option(indexed, what):
    docs = indexed("l2", "flat")
    query = np.ones(DIM, np.float32)
    expected = said(lambda *a: generally(docs, *a, **OPTIONS[what]), query)
    assert isinstance(expected, tuple)
    assert said(docs.search, query, **OPTIONS[what]) == expected


def test_what_is_no_name_of_a_space_is_refused_as_in_the_general_way(indexed):
    docs = indexed("l2", "flat")
    query, space = np.ones(DIM, np.float32), docs.latest().snapshot.space("v").space
    assert docs.search(query, space=space, k=3).ids == docs.search(query, k=3).ids
    for odd in (["v"], 7):
        assert said(docs.search, query, space=odd) == said(
            lambda *a, odd=odd: generally(docs, *a, space=odd), query
        )


def vectors(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def is_plain(docs):
    return docs.latest()._opened.plain("v") is not None


def nearest(docs, query, k):
    """Rank all items by brute force."""
    items = docs.get(
        [name for b in docs.scan() for name in b.column("id").to_pylist()], spaces=["v"]
    )
    scores = {item.id: -((item.vectors["v"] - query) ** 2).sum() for item in items if item.vectors}
    return sorted(scores, key=scores.get, reverse=True)[:k]


def test_an_index_that_is_not_all_there_is_to_rank_is_no_plain_search(store):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=DIM, metric="l2")
    rows, query = vectors(30), vectors(1, seed=1)[0]
    docs.upsert(ids=[f"{n}" for n in range(20)], vectors=rows[:20])
    assert not is_plain(docs)  # without an index
    docs.build_index(space="v", kind="flat")
    assert is_plain(docs)

    def changed(plain):
        assert is_plain(docs) is plain
        assert docs.search(query, k=9).ids == nearest(docs, query, 9)

    docs.upsert(ids=["new"], vectors=query[None])
    changed(plain=False)  # a row that the index has not
    docs.build_index(space="v", kind="flat")
    changed(plain=True)
    docs.delete(["new"])
    changed(plain=False)  # a row that only the index has
    docs.build_index(space="v", kind="flat")
    changed(plain=True)
    docs.add_vectors(ids=["3"], vectors=query[None], space="v", on_existing="replace")
    changed(plain=False)  # a row that the index has with another vector
    docs.build_index(space="v", kind="flat")
    docs.create_space("w", dim=DIM, supersedes="v")
    docs.upsert(ids=["other"], vectors=rows[:1], space="w")
    assert docs.latest()._opened.plain("v") is None  # items of a space that no map joins
    docs.drop_space("w")
    assert docs.search(query, k=9).ids == nearest(docs, query, 9)


def test_a_space_that_became_ambiguous_has_to_be_named(store):
    docs = store.create_collection("docs")
    docs.create_space("v", dim=DIM)
    docs.upsert(ids=["a", "b"], vectors=vectors(2))
    docs.build_index(space="v", kind="flat")
    query = vectors(2)[1]
    assert docs.search(query, k=1).ids == ["b"]
    docs.create_space("w", dim=DIM)
    with pytest.raises(VecstoreError, match="say which space"):
        docs.search(query, k=1)
    assert docs.search(query, space="v", k=1).ids == ["b"]
    docs.switch_space("v")
    assert docs.search(query, k=1).ids == ["b"]


def test_searches_during_commits_see_whole_versions(place):
    """Every commit replaces all items, so an answer of two versions has an item twice or not."""
    n = 16
    ids = [f"{i}" for i in range(n)]
    with place.open() as store, place.open() as other:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=DIM, metric="l2")
        docs.upsert(ids=ids, vectors=vectors(n), metadata={"turn": [0] * n})
        docs.build_index(space="v", kind="flat")
        done, plain_seen, failures = threading.Event(), threading.Event(), []

        def ask():
            try:
                while not done.is_set():
                    if docs._version().plain(None) is not None:
                        plain_seen.set()
                    hits = docs.search(vectors(1, seed=3)[0], k=n + 5)
                    assert sorted(hits.ids) == sorted(ids)
                    assert len({hit.metadata["turn"] for hit in hits}) == 1
            except BaseException as error:  # noqa: BLE001 - reported by the test
                failures.append(error)

        readers = [threading.Thread(target=ask) for _ in range(2)]
        for reader in readers:
            reader.start()
        rival = other.collection("docs")
        for turn in range(1, 9):
            rival.upsert(ids=ids, vectors=vectors(n, seed=turn), metadata={"turn": [turn] * n})
            rival.build_index(space="v", kind="flat")
            assert docs.search(vectors(n, seed=turn)[5], k=1).ids == ["5"]  # seen at once
        done.set()
        for reader in readers:
            reader.join()
        assert failures == []
        assert plain_seen.is_set(), "the searches never went the plain way"


def test_a_collection_that_another_handle_dropped_is_gone_for_plain_searches_too(place):
    with place.open() as store, place.open() as other:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=DIM)
        docs.upsert(ids=["a"], vectors=vectors(1))
        docs.build_index(space="v", kind="flat")
        assert docs.search(vectors(1)[0]).ids == ["a"]
        other.drop_collection("docs")
        with pytest.raises(NotFoundError, match="dropped"):
            docs.search(vectors(1)[0])


def test_a_filter_that_lets_through_items_without_vectors_finds_those_with_some(place):
    rows, odd = vectors(40, seed=3), [f"a{n}" for n in range(1, 40, 2)]
    even = [f"a{n}" for n in range(0, 40, 2)]
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=DIM)
        docs.upsert(ids=[f"a{n}" for n in range(40)], vectors=rows, metadata={"n": range(40)})
        docs.create_space("w", dim=DIM, supersedes="v")
        docs.add_vectors(ids=even, vectors=np.roll(rows[::2], 1, axis=1) + 0.5, space="w")
        docs.build_index(space="w", kind="flat")
        assert docs._version().plain("w") is None, "the other items are ranked by another space"
        docs.delete(ids=odd)
        docs.build_index(space="w", kind="flat")
        docs.upsert(ids=["none"], documents=["only words"], metadata={"n": [1]})
        assert docs._version().plain("w") is not None
        options = {"space": "w", "where": "n < 21", "k": 40}
        plain = docs.search(rows[4], **options)
        assert sorted(plain.ids) == sorted(even[:11])
        same(plain, generally(docs, rows[4], **options))
