"""Items come back as they were written, wherever they lie: row groups, segments, later columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import vecstore.ids
from vecstore.errors import InvalidArgumentError
from vecstore.segment_cache import SegmentCache
from vecstore.snapshot import Snapshot
from vecstore.storage.items import ROWS_PER_GROUP

N = 2 * ROWS_PER_GROUP + 1500


@pytest.fixture
def docs(store):
    """Two segments: one of three row groups, one with a column that the first lacks."""
    docs = store.create_collection("docs")
    ids = np.array([f"{n:05}" for n in range(N)])
    docs.upsert(ids=ids, documents=[f"text {n}" for n in range(N)], metadata={"n": np.arange(N)})
    docs.upsert(
        ids=[f"{n:05}" for n in range(N, N + 20)],
        metadata=pa.table({"n": np.arange(N, N + 20), "late": [f"x{n}" for n in range(20)]}),
    )
    return docs


def test_scattered_items_come_in_the_order_asked_for(docs):
    chosen = np.random.default_rng(0).permutation(N + 20)[:3000]
    for _ in range(2):
        items = docs.get([f"{n:05}" for n in chosen])
        for n, item in zip(chosen, items, strict=True):
            assert item.id == f"{n:05}"
            assert item.document == (f"text {n}" if n < N else None)
            assert item.metadata == {"n": n, "late": None if n < N else f"x{n - N}"}
        # The second time around, columns are in memory because a filter decoded them.
        assert docs.count("n >= 100 AND late IS NULL AND document IS NOT NULL") == N - 100
    edge = ROWS_PER_GROUP
    assert [i.metadata["n"] for i in docs.get([f"{edge:05}", f"{edge - 1:05}"])] == [edge, edge - 1]
    assert [i.id for i in docs.get(["00007", "00007"])] == ["00007", "00007"]


@pytest.mark.parametrize("batch_rows", [1000, ROWS_PER_GROUP, 10**6])
def test_a_scan_streams_every_live_item_once_in_the_order_of_writing(docs, batch_rows):
    docs.delete(where="n % 7 = 0")
    live = [n for n in range(N + 20) if n % 7]
    batches = list(docs.scan(batch_rows=batch_rows))
    assert [n for b in batches for n in b.column("n").to_pylist()] == live
    assert all(b.num_rows == batch_rows for b in batches[:-1])
    some = list(docs.scan(where={"n": {"$lt": 50}}, batch_rows=batch_rows))
    assert [n for b in some for n in b.column("n").to_pylist()] == [n for n in live if n < 50]
    assert {tuple(b.schema.names) for b in batches} == {("id", "document", "n", "late")}


def test_hits_far_apart_carry_their_own_document(store, docs):
    docs.create_space("v", dim=2, metric="ip")
    far = [3, ROWS_PER_GROUP + 3, 2 * ROWS_PER_GROUP + 3, N + 3]
    docs.add_vectors(ids=[f"{n:05}" for n in far], vectors=[[4, 0], [3, 0], [2, 0], [1, 0]])
    hits = docs.search([1, 0])
    assert [hit.metadata["n"] for hit in hits] == far
    assert [hit.document for hit in hits] == [*(f"text {n}" for n in far[:3]), None]


def test_few_ids_are_read_from_their_groups_first_and_then_from_whole_columns(docs):
    known = docs.latest().snapshot
    rows = np.array([N + 3, 7, 0, ROWS_PER_GROUP - 1, ROWS_PER_GROUP, N - 1, 7])
    cache = SegmentCache(known.cache.root)
    for decoded in (0, 2, 2):
        fresh = Snapshot(known.state, cache)
        assert fresh.id_strings(rows) == [f"{n:05}" for n in rows]
        assert sum("id" in segment._columns for segment in cache._open.values()) == decoded


def test_ids_in_the_gaps_of_a_file_are_found_the_first_time_too(store, docs):
    docs.delete(where="n % 3 = 1")
    docs.compact()
    known = docs.latest().snapshot
    assert not all(f.contiguous for f in known.state.files if f.kind == "items")
    rows = known.live.to_array()[[0, 5, ROWS_PER_GROUP, -1]]
    expected = known.ids(rows).to_pylist()
    for _ in range(2):
        fresh = Snapshot(known.state, SegmentCache(known.cache.root))
        assert fresh.id_strings(rows) == fresh.id_strings(rows) == expected


def test_a_commit_reads_no_file_again_that_was_verified_before(store, docs):
    """What a commit and the next search cost must not grow with the files there are."""
    docs.create_space("v", dim=2, metric="ip")
    for n in range(4):
        docs.upsert(ids=[f"new {n}"], vectors=[[1, n]], space="v")
    docs.search([1, 0])
    docs.get("new 3")
    opened = {key: id(file) for key, file in docs._latest.cache._open.items()}
    docs.upsert(ids=["one more"], vectors=[[1, 9]], space="v")
    docs.delete(["new 0"])
    docs.search([1, 0])
    now = {key: id(file) for key, file in docs._latest.cache._open.items()}
    assert opened.items() <= now.items()
    assert len(now) == len(opened) + 3, "items, vectors and deletes of the two commits"
    docs.drop_space("v")
    docs.refresh()
    assert len(docs._latest.cache._open) == len(now) - 5, "dropped files are let go of"


def test_ids_are_told_apart_by_themselves_where_all_hashes_are_one(store, monkeypatch):
    monkeypatch.setattr(vecstore.ids, "hash", lambda _: 7, raising=False)
    docs = store.create_collection("alike")
    docs.create_space("v", dim=2)
    docs.upsert(ids=["a", "b", "c"], vectors=[[1, 0], [0, 1], [1, 1]])
    docs.upsert(ids=["d", "b"], vectors=[[1, 2], [2, 1]], metadata={"n": [1, 2]})
    assert [docs.get(name).metadata["n"] for name in "abcd"] == [None, 2, None, 1]
    docs.delete(["a", "z"])
    assert sorted(item.id for item in docs.get(["b", "c", "d"])) == ["b", "c", "d"]
    assert len(docs) == 3
    with pytest.raises(InvalidArgumentError, match="1 of them repeat, such as 'd'"):
        docs.upsert(ids=["d", "e", "d"], vectors=np.eye(3, 2) + 1)


def test_a_write_goes_on_where_no_thread_can_be_had(tmp_path, monkeypatch):
    started = []

    def refuse(thread):
        started.append(thread.name)
        raise RuntimeError("can't start new thread")

    with vecstore.open(tmp_path / "store") as store:
        docs = store.create_collection("docs")
        docs.create_space("v1", dim=3)
        with monkeypatch.context() as patch:
            patch.setattr("threading.Thread.start", refuse)
            docs.upsert(ids=["a", "b"], vectors=np.eye(2, 3))
        assert started[:2] == ["vecstore-write", "vecstore-write"]
        assert docs.search(np.eye(3)[1], k=1).ids == ["b"]
