"""Indexes that are due: where a scan of the rows that none has takes longer than an index would."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.tuning import advice

DIM = 16
EVEN = 300
"""Rows from which an index is taken to be faster, in these tests."""


@pytest.fixture(autouse=True)
def break_even(monkeypatch):
    monkeypatch.setattr(advice, "BREAK_EVEN", EVEN * DIM)


@pytest.fixture
def docs(place):
    with place.open() as store:
        made = store.create_collection("docs")
        made.create_space("v1", dim=DIM)
        made.create_space("v2", dim=DIM)
        yield made


def write(docs, first, count, space="v1"):
    vectors = np.random.default_rng(first).standard_normal((count, DIM))
    ids = [f"{space}-{n}" for n in range(first, first + count)]
    return docs.upsert(ids=ids, vectors=vectors, space=space).version


def test_a_space_is_due_from_the_break_even_on_and_not_again_before_as_many_rows_more(docs):
    write(docs, 0, EVEN - 1)
    assert docs.update_indexes() == ()
    assert docs.indexes == ()  # a write builds nothing by itself
    write(docs, EVEN - 1, 1)
    told = []
    [made] = docs.update_indexes(progress=lambda *state: told.append(state))
    assert (made.space, made.rows, made.report["chosen"]) == ("v1", EVEN, True)
    assert told[-1] == ("v1", EVEN, EVEN)
    write(docs, EVEN, EVEN - 1)
    assert docs.update_indexes() == ()
    docs.compact(dead_share=0)  # changes no row's version
    assert docs.update_indexes() == ()
    write(docs, 2 * EVEN - 1, 1)
    [again] = docs.update_indexes()
    assert again.rows == 2 * EVEN
    assert docs.indexes == (again,)


def test_rows_that_were_replaced_count_as_new_and_deleted_ones_do_not(docs):
    write(docs, 0, 2 * EVEN)
    docs.update_indexes()
    write(docs, 0, EVEN)
    assert len(docs.update_indexes()) == 1
    write(docs, 0, EVEN)
    docs.delete(ids=["v1-0"])
    assert docs.update_indexes() == ()


def test_only_spaces_that_were_written_to_since_a_version_are_looked_at(docs):
    write(docs, 0, EVEN)
    version = docs.version
    write(docs, 0, EVEN, space="v2")
    assert [made.space for made in docs.update_indexes(since=version)] == ["v2"]
    assert docs.update_indexes(since=docs.version) == ()
    assert [made.space for made in docs.update_indexes()] == ["v1"]


def test_an_index_that_somebody_chose_is_built_again_as_it_was(docs):
    write(docs, 0, EVEN)
    docs.build_index(space="v1", kind="ivf_flat", parameters={"nlist": 7, "nprobe": 7})
    write(docs, EVEN, EVEN)
    [made] = docs.update_indexes()
    assert (made.kind, made.parameters["nlist"], made.report) == ("ivf_flat", 7, {})
    docs.build_index(space="v1", kind="ivf_flat", recall=0.8)
    write(docs, 2 * EVEN, EVEN)
    [made] = docs.update_indexes()
    assert (made.kind, made.report["target"], made.report["chosen"]) == ("ivf_flat", 0.8, False)
    docs.build_index(space="v1", recall=0.9, memory_limit=10**8)
    write(docs, 3 * EVEN, EVEN)
    [made] = docs.update_indexes()
    report = made.report
    assert (report["target"], report["memory_limit"], report["chosen"]) == (0.9, 10**8, True)


def test_an_index_that_outgrew_its_memory_limit_stays(docs):
    write(docs, 0, EVEN)
    kept = docs.build_index(space="v1", memory_limit=EVEN * DIM * 4 + EVEN * 290)
    assert kept.kind == "hnsw"
    limit = min(c.memory for c in _candidates(2 * EVEN)) - 1
    kept = docs.build_index(space="v1", memory_limit=limit)
    write(docs, EVEN, EVEN)
    assert docs.update_indexes() == ()
    assert docs.indexes == (kept,)


def _candidates(rows):
    from vecstore.tuning.candidates import candidates

    return candidates(rows, DIM, None)
