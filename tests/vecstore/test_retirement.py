"""Retiring a space: refused while it serves, and then gone from searches but not from history."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError

N, PAIRS, DIM = 120, 60, 6


def world(store, *, chained=False):
    """Return a collection whose items are all in v1 and half of them in v2 (and some in v3)."""
    rng = np.random.default_rng(3)
    latent = rng.standard_normal((N, 5))
    vectors = {name: latent @ rng.standard_normal((5, DIM)) for name in ("v1", "v2", "v3")}
    ids = [f"{n:03}" for n in range(N)]
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=DIM, model="one")
    docs.create_space("v2", dim=DIM, model="two", supersedes="v1")
    docs.upsert(ids=ids, vectors=vectors["v1"], space="v1")
    docs.add_vectors(ids=ids[:PAIRS], vectors=vectors["v2"][:PAIRS], space="v2")
    docs.fit_translator(source="v1", target="v2", family="ridge")
    if chained:
        docs.create_space("v3", dim=DIM, model="three", supersedes="v2")
        docs.add_vectors(ids=ids[20:PAIRS], vectors=vectors["v3"][20:PAIRS], space="v3")
        docs.fit_translator(source="v2", target="v3", family="ridge")
    return docs, ids, vectors


def test_a_space_with_the_only_vector_of_items_is_not_retired_unless_forced(place):
    with place.open() as store:
        docs, ids, vectors = world(store)
        version = docs.version
        with pytest.raises(InvalidArgumentError, match=f"{N - PAIRS} of {N} items unserved"):
            docs.retire_space("v1")
        assert docs.version == version
        done = docs.retire_space("v1", force=True)
        assert (done.vectors, done.unserved, done.version) == (N, N - PAIRS, version + 1)
        assert docs.version == version + 1
        assert list(docs.spaces) == ["v2"]
        plan = docs.explain(space="v2")
        assert len(plan.unserved) == N - PAIRS
        assert docs.search(vectors["v2"][7], k=1).ids == [ids[7]]


def test_a_retired_space_leaves_the_files_of_the_version_and_history_keeps_it(place):
    with place.open() as store:
        docs, ids, vectors = world(store)
        docs.add_vectors(
            ids=ids[PAIRS:], vectors=vectors["v2"][PAIRS:], space="v2", on_existing="skip"
        )
        before = docs.latest()
        record = before.snapshot.space("v1")
        size = sum(f.file.size for f in before.snapshot.state.files if f.space_id == record.id)
        done = docs.retire_space("v1")
        assert (done.unserved, done.bytes) == (0, size)
        assert done.translators == tuple(t.id for t in before.translators)
        assert docs.translators == ()
        now = docs.latest().snapshot
        assert not [f for f in now.state.files if f.space_id == record.id]
        assert now.retired["v1"].retired_version == docs.version
        query = vectors["v1"][3]
        for call in (
            lambda: docs.search(query, space="v1"),
            lambda: docs.add_vectors(ids=ids[:1], vectors=query[None], space="v1"),
            lambda: docs.upsert(ids=["new"], vectors=query[None], space="v1"),
            lambda: docs.fit_translator(source="v1", target="v2"),
            lambda: docs.switch_space("v1"),
            lambda: docs.build_index(space="v1", kind="flat"),
            lambda: docs.retire_space("v1"),
        ):
            with pytest.raises(NotFoundError, match="retired in version"):
                call()
        with pytest.raises(AlreadyExistsError):
            docs.create_space("v1", dim=DIM)
        assert before.search(query, space="v1", k=1).ids == [ids[3]]
        old = docs.at(before.version)
        assert old.search(query, space="v1", k=1).ids == [ids[3]]
        assert list(old.spaces) == ["v1", "v2"]
    with place.open() as store:
        docs = store.collection("docs")
        assert list(docs.spaces) == ["v2"]
        docs.create_space("v3", dim=DIM, supersedes="v1")
        assert docs.spaces["v3"].generation == 2
        docs.drop_space("v1")
        assert docs.latest().snapshot.retired == {}


def test_the_default_space_is_not_retired(store):
    docs, *_ = world(store)
    docs.switch_space("v1")
    with pytest.raises(InvalidArgumentError, match="default"):
        docs.retire_space("v1", force=True)
    docs.switch_space("v2")
    docs.retire_space("v1", force=True)
    with pytest.raises(NotFoundError, match="retired or dropped"):
        docs.rollback_space()


def test_chains_through_a_retired_space_still_serve(store):
    docs, _ids, vectors = world(store, chained=True)
    docs.switch_space("v3")
    before = docs.search(vectors["v3"][90], k=5)
    done = docs.retire_space("v2")
    assert (done.unserved, done.translators) == (0, ())
    after = docs.search(vectors["v3"][90], k=5)
    assert {hit.provenance.space for hit in after} <= {"v1", "v3"}
    assert len(docs.explain().unserved) == 0
    assert set(before.ids) & set(after.ids)


def test_items_reached_only_through_a_space_count_as_unserved(store):
    docs, _ids, _vectors = world(store, chained=True)
    docs.drop_translator(docs.translators[0].id)  # nothing leads from v1 any more
    docs.switch_space("v3")
    with pytest.raises(InvalidArgumentError, match="20 of 120 items unserved"):
        docs.retire_space("v2")


def test_the_indexes_of_a_retired_space_go_with_it(store):
    docs, _ids, _vectors = world(store)
    docs.build_index(space="v1", kind="flat")
    kept = docs.build_index(space="v2", kind="flat")
    docs.retire_space("v1", force=True)
    assert [index.id for index in docs.indexes] == [kept.id]


def test_a_writer_that_prepared_for_a_retired_space_is_refused(place):
    with place.open() as store, place.open() as other:
        docs, ids, vectors = world(store)
        theirs = other.collection("docs")
        assert "v1" in theirs.spaces
        docs.retire_space("v1", force=True)
        with pytest.raises(NotFoundError, match="retired"):
            theirs.add_vectors(
                ids=ids[:2], vectors=vectors["v1"][:2], space="v1", on_existing="replace"
            )
