"""Demand is what searches return: counted without waiting, written for good, summed over all."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vecstore.rows import RowSet
from vecstore.upgrade import demand as module
from vecstore.upgrade import notes
from vecstore.upgrade.demand import Demand

hits = hnp.arrays(
    np.int64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.integers(-1, 12),
)


def oracle(batches):
    total: dict[int, float] = {}
    for batch in batches:
        for row in batch.tolist():
            for rank, row_id in enumerate(row, start=1):
                if row_id >= 0:
                    total[row_id] = total.get(row_id, 0.0) + 1 / np.log2(rank + 1)
    return total


def of_batches(batches):
    """Count hits of several searches, each an array of shape (queries, k)."""
    rows = [batch.ravel() for batch in batches]
    ranks = [np.tile(np.arange(1, b.shape[1] + 1), b.shape[0]) for b in batches]
    none = [np.empty(0, np.int64)]
    return Demand.of_hits(np.concatenate(rows or none), np.concatenate(ranks or none))


def as_dict(demand):
    return dict(zip(demand.row_ids.tolist(), demand.weights.tolist(), strict=True))


@given(st.lists(hits, max_size=4), st.integers(0, 4))
def test_hits_weigh_as_in_ndcg_and_parts_add_up(batches, cut):
    expected = oracle(batches)
    parts = [of_batches(batches[:cut]), of_batches(batches[cut:])]
    merged = Demand.merged([Demand.from_bytes(part.to_bytes()) for part in parts])
    assert as_dict(merged) == pytest.approx(expected)
    asked = np.arange(-1, 20)
    np.testing.assert_allclose(merged.of(asked), [expected.get(row, 0.0) for row in asked.tolist()])
    live = RowSet.of([2, 3, 5])
    alive = {row: weight for row, weight in expected.items() if row in (2, 3, 5)}
    assert as_dict(Demand.merged(parts, live=live)) == pytest.approx(alive)


def test_of_too_many_rows_the_least_wanted_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    once = np.array([[5], [6], [7], [8]])
    kept = of_batches([once, once[1:], once[2:], once[2:3]])
    assert kept.row_ids.tolist() == [6, 7, 8]


def filled(store, name="docs"):
    docs = store.create_collection(name)
    docs.create_space("v1", dim=4)
    vectors = np.random.default_rng(0).standard_normal((40, 4))
    docs.upsert(ids=[f"{n}" for n in range(40)], vectors=vectors)
    return docs, vectors


def counted(docs):
    return as_dict(docs._notes.demand())


def test_demand_survives_a_restart_and_adds_up_over_handles(place):
    with place.open() as store, place.open() as other:
        docs, vectors = filled(store)
        theirs = other.collection("docs")
        expected = [docs.search(vectors[:5], k=7).row_ids, docs.search(vectors[3:4], k=2).row_ids]
        expected.append(theirs.search(vectors[:9], k=3).row_ids)
        expected.append(np.array(docs.search(vectors[0], k=4)._result.row_ids))
    with place.open() as store:
        docs = store.collection("docs")
        assert counted(docs) == pytest.approx(oracle(expected))
        # Read twice, counted once.
        assert counted(docs) == pytest.approx(oracle(expected))


def test_searching_commits_no_version_and_older_versions_ask_for_nothing(store):
    docs, vectors = filled(store)
    version = docs.version
    docs.at(version).search(vectors[:5], k=3)
    docs.latest().search(vectors[:5], k=3)
    docs.flush()
    assert counted(docs) == {}
    docs.search(vectors[:5], k=3)
    docs.flush()
    assert len(counted(docs)) > 0
    assert docs.refresh().version == version


def test_the_demand_of_rows_that_died_is_forgotten(place):
    with place.open() as store:
        docs, vectors = filled(store)
        docs.search(vectors[:1], k=40)
        docs.delete([f"{n}" for n in range(30)])
        docs.upsert(ids=["35"], vectors=vectors[:1])
        assert sorted(counted(docs)) == [30, 31, 32, 33, 34, 36, 37, 38, 39]


def test_parts_are_folded_by_several_writers_without_counting_twice(place):
    with place.open() as store:
        docs, vectors = filled(store)
        handles = [place.open() for _ in range(3)]
        barrier = threading.Barrier(3)

        def ask(handle):
            own = handle.collection("docs")
            barrier.wait()
            for _ in range(8):
                own.search(vectors[:2], k=3)
                own.flush()

        threads = [threading.Thread(target=ask, args=(handle,)) for handle in handles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for handle in handles:
            handle.close()
        one = oracle([docs.latest().search(vectors[:2], k=3).row_ids])
        assert counted(docs) == pytest.approx({row: 24 * weight for row, weight in one.items()})
        assert len(docs._catalog.demand.read(docs._record.id)) < 24


def test_a_catalog_that_refuses_costs_no_search_and_no_count(store, monkeypatch):
    docs, vectors = filled(store)
    from vecstore.errors import StorageError

    found = docs.search(vectors[:3], k=4).row_ids
    real = docs._catalog.demand.replace

    def refuse(*_arguments, **_options):
        raise StorageError("the disk is full")

    monkeypatch.setattr(type(docs._catalog.demand), "replace", refuse)
    docs.flush()
    found = [found, docs.search(vectors[:3], k=4).row_ids]
    monkeypatch.undo()
    assert real is not None
    assert counted(docs) == pytest.approx(oracle(found))


def test_long_counting_is_summed_in_memory_and_written_in_the_background(store, monkeypatch):
    monkeypatch.setattr(module, "_PENDING_CELLS", 20)
    docs, vectors = filled(store)
    found = [docs.search(vectors[n : n + 1], k=6).row_ids for n in range(30)]
    found.append(docs.search(vectors[:5], k=6).row_ids)  # more than may wait at once
    assert docs._notes._demand._cells <= 20
    docs.flush()
    monkeypatch.setattr(notes, "_FLUSH_S", 0.0)
    found.append(docs.search(vectors[:1], k=6).row_ids)
    for thread in threading.enumerate():
        if thread.name == "vecstore-notes":
            thread.join()
    parts = docs._catalog.demand.read(docs._record.id)
    assert as_dict(Demand.merged(list(map(Demand.from_bytes, parts.values())))) == pytest.approx(
        oracle(found)
    )


def waiting():
    return [thread for thread in threading.enumerate() if thread.name == "vecstore-notes"]


@pytest.mark.parametrize("how", ["close", "fail", "drop"])
def test_nothing_is_written_after_the_store_was_closed(place, monkeypatch, how):
    with place.open() as store:
        docs, vectors = filled(store)
        docs.search(vectors[:3], k=4)
        assert len(waiting()) == 1
        if how == "drop":
            store.drop_collection("docs")
        elif how == "fail":

            def refuse():
                raise OSError("the disk is full")

            monkeypatch.setattr(docs, "flush", refuse)
            with pytest.raises(OSError, match="full"):
                store.close()
            monkeypatch.undo()
        else:
            store.close()
        for thread in waiting():
            thread.join(timeout=5)  # a timer that was cancelled ends at once
        docs._notes.add("space", np.ones((1, 4), np.float32), np.array([[1, 2]]))
        assert not waiting()
