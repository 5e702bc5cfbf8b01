"""Builds as jobs: cancelled or whole, beside searches and writes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from vecstore.errors import BuildCancelledError, NotFoundError
from vecstore.tuning import advice

DIM = 16


def rows(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


@pytest.fixture
def docs(place):
    with place.open() as store:
        made = store.create_collection("docs")
        made.create_space("v", dim=DIM, metric="l2")
        made.upsert(ids=[f"i{n}" for n in range(3000)], vectors=rows(3000), space="v")
        yield made


def index_files(place):
    return sorted(place.data.glob("data/*/indexes/*"))


class Gate:
    """Holds a build at its first step until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, done, total):
        self.reached.set()
        assert self.opened.wait(30)


def test_searches_and_writes_go_on_during_a_build(docs):
    gate = Gate()
    build = docs.start_index(space="v", kind="ivf_flat", progress=gate)
    assert gate.reached.wait(30)
    assert not build.done
    new = rows(1, seed=5)
    docs.upsert(ids=["new"], vectors=new, space="v")
    docs.upsert(ids=["i7"], vectors=new + 1, space="v")  # replaces what the build has read
    docs.delete(ids=["i8"])
    assert docs.search(new[0], k=1)[0].id == "new"
    assert docs.indexes == ()
    gate.opened.set()
    record = build.result(60)
    assert build.done
    assert build.progress == (3000, 3000)
    assert docs.indexes == (record,)
    assert "ivf_flat" in str(docs.explain(space="v"))
    assert docs.search(new[0], k=1)[0].id == "new"
    assert docs.search(new[0] + 1, k=1)[0].id == "i7"
    assert docs.search(rows(3000)[8], k=1)[0].id != "i8"


@pytest.mark.parametrize("arguments", [{"kind": "ivf_pq"}, {}])
def test_a_cancelled_build_leaves_everything_as_it_was(docs, place, arguments, monkeypatch):
    monkeypatch.setattr(advice, "BREAK_EVEN", 1)
    kept = docs.build_index(space="v", kind="flat")
    files = index_files(place)
    gate = Gate()
    build = docs.start_index(space="v", progress=gate, **arguments)
    assert gate.reached.wait(30)
    build.cancel()
    gate.opened.set()
    with pytest.raises(BuildCancelledError, match="of 3,000 rows"):
        build.result(60)
    assert docs.indexes == (kept,)
    assert index_files(place) == files


def test_whatever_progress_raises_ends_the_build_with_it(docs, place):
    def refuse(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        docs.build_index(space="v", kind="hnsw", progress=refuse)
    with pytest.raises(ZeroDivisionError):
        docs.start_index(space="v", kind="hnsw", progress=refuse).result(60)
    assert index_files(place) == []


def test_a_result_can_be_waited_for_a_while(docs):
    gate = Gate()
    build = docs.start_index(space="v", kind="flat", progress=gate)
    with pytest.raises(TimeoutError):
        build.result(0.01)
    gate.opened.set()
    assert build.result(60).kind == "flat"
    assert docs.start_index(space="v").result(60) is None  # so few are scanned as fast


def test_arguments_are_checked_where_the_result_is_asked_for(docs):
    with pytest.raises(NotFoundError, match="v9"):
        docs.start_index(space="v9").result(60)


def test_a_collection_dropped_meanwhile_is_named(place):
    with place.open() as store:
        docs = store.create_collection("docs")
        docs.create_space("v", dim=DIM)
        docs.upsert(ids=["a", "b"], vectors=rows(2), space="v")
        gate = Gate()
        build = docs.start_index(space="v", kind="flat", progress=gate)
        assert gate.reached.wait(30)
        with place.open() as other:
            other.drop_collection("docs")
        gate.opened.set()
        with pytest.raises(NotFoundError, match="dropped"):
            build.result(60)
