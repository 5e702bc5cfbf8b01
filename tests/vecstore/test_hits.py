"""Hits: a batch says what its queries alone say, and reads items once, when they are looked at."""

from __future__ import annotations

import numpy as np
import pytest

import vecstore
from vecstore.item_files import FEW_ROWS
from vecstore.snapshot import Snapshot

FILES, ROWS, DIM = 7, 40, 16


@pytest.fixture
def docs(tmp_path):
    rng = np.random.default_rng(0)
    with vecstore.open(tmp_path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=DIM)
        for part in range(FILES):
            docs.upsert(
                ids=[f"{part}-{n}" for n in range(ROWS)],
                vectors=rng.normal(size=(ROWS, DIM)),
                documents=[f"text {part}-{n}" for n in range(ROWS)],
                metadata={"n": list(range(ROWS))},
            )
        docs.delete([f"{part}-3" for part in range(FILES)])
        yield docs


def queries(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, DIM))


def test_the_hits_of_a_batch_are_those_of_its_queries_alone(docs):
    batch = docs.search(queries(30), k=5)
    assert batch.row_ids.size > FEW_ROWS >= 5  # so both ways of finding ids are compared
    for query, hits in zip(queries(30), batch, strict=True):
        alone = docs.search(query, k=5)
        assert alone.ids == hits.ids == [hit.id for hit in hits] == [hits[r].id for r in range(5)]
        assert [hit.document for hit in hits] == [f"text {item}" for item in alone.ids]
        assert [hit.metadata for hit in hits] == [
            {"n": int(item.partition("-")[2])} for item in alone.ids
        ]
        np.testing.assert_allclose([hit.score for hit in hits], alone.scores, rtol=1e-5)
        np.testing.assert_array_equal([hit.distance for hit in hits], hits.distances)


def test_ids_come_in_the_order_of_the_rows_asked_for_however_many(docs):
    snapshot = docs.latest().snapshot
    rows = np.random.default_rng(2).permutation(FILES * ROWS).astype(np.int64)
    expected = [f"{row // ROWS}-{row % ROWS}" for row in rows]
    for n in (0, 1, FEW_ROWS, FEW_ROWS + 1, len(rows)):
        assert snapshot.id_strings(rows[:n]) == expected[:n]
        assert n == 0 or snapshot.ids(rows[:n]).to_pylist() == expected[:n]


def test_items_are_read_when_they_are_looked_at_and_once_for_a_whole_batch(docs, monkeypatch):
    read = []
    items = Snapshot.items

    def counted(self, row_ids, columns):
        read.append(len(row_ids))
        return items(self, row_ids, columns)

    monkeypatch.setattr(Snapshot, "items", counted)
    result = docs.search(queries(30), k=5)
    assert [(hit.id, hit.score) for hits in result for hit in hits]
    assert read == []
    assert all(hit.document and hit.metadata for hits in result for hit in hits)
    assert read == [len(np.unique(result.row_ids))]


def test_a_hit_shows_its_item_when_printed(docs):
    hit = docs.search(queries(1)[0], k=1)[0]
    assert repr(f"text {hit.id}") in repr(hit)
    assert "metadata={'n': " in repr(hit)


def test_a_query_with_fewer_hits_than_asked_for_has_just_those(docs):
    hits = docs.search(queries(1)[0], k=5, where="id IN ('0-1', '6-39')")
    assert sorted(hits.ids) == sorted(hit.id for hit in hits) == ["0-1", "6-39"]
    assert len(hits) == len(hits.scores) == 2
    assert hits[-1] == hits[1]
    assert hits[0:1] == [hits[0]]
    with pytest.raises(IndexError, match="2 hits, got number 2"):
        hits[2]
