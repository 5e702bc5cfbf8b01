"""Cascades in earnest: budgets, encoders that fail, queries at once, commits in the background."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vecstore
from vecstore.errors import (
    EncoderError,
    InvalidArgumentError,
    InvalidVectorsError,
    SpaceMismatchError,
    StorageError,
)

N, OLD, NEW = 200, 8, 10


class Slow:
    """An encoder that knows its vectors by heart, takes its time and counts what it is asked."""

    revision, profile = None, vecstore.EncodingProfile()
    name, dim = "new", NEW

    def __init__(self, vectors, *, seconds=0.0):
        self.vectors, self.seconds = vectors, seconds
        self.asked = []
        self._lock = threading.Lock()

    def encode_documents(self, texts):
        with self._lock:
            self.asked += texts
        time.sleep(self.seconds)
        return np.stack([self.vectors[int(text.split()[1])] for text in texts])

    def encode_queries(self, texts):
        raise AssertionError("a cascade embeds documents only")


class Broken(Slow):
    def encode_documents(self, texts):
        raise EncoderError("the endpoint is down")


@pytest.fixture
def world(store):
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((N, 6))
    old, new = latent @ rng.standard_normal((6, OLD)), latent @ rng.standard_normal((6, NEW))
    new += 0.3 * rng.standard_normal(new.shape)
    docs = store.create_collection("docs")
    docs.create_space("v1", dim=OLD, model="old")
    ids = [f"{n:03}" for n in range(N)]
    docs.upsert(ids=ids, vectors=old, documents=[f"text {n}" for n in range(N)])
    docs.create_space("v2", dim=NEW, model="new", supersedes="v1")
    docs.add_vectors(ids=ids[:60], vectors=new[:60], space="v2")
    docs.fit_translator(source="v1", target="v2", family="ridge")
    queries = (latent[rng.permutation(N)[:20]] @ rng.standard_normal((6, NEW))).astype(np.float32)
    return docs, new.astype(np.float32), queries


# Budget


@pytest.mark.parametrize("budget", [0, 1, 3, 1000])
def test_a_query_embeds_the_best_of_its_shortlist_within_its_budget(world, budget):
    docs, new, queries = world
    plain = docs.search(queries[:1], space="v2", k=20)
    missing = [hit.document for hit in plain[0] if hit.provenance.kind == "translated"]
    encoder = Slow(new)
    result = docs.search(
        queries[:1], space="v2", k=20, depth=20, budget=budget, encoder=encoder, commit=False
    )
    assert sorted(encoder.asked) == sorted(missing[:budget])
    assert result.embedded == min(budget, len(missing))
    assert set(result.ids[0]) == set(plain.ids[0])
    kinds = {hit.document: hit.provenance.kind for hit in result[0]}
    assert {text for text, kind in kinds.items() if kind == "translated"} == set(missing[budget:])


@pytest.mark.parametrize("depth", [1, 4])
def test_no_more_is_embedded_than_the_depth_where_more_hits_are_asked_for(world, depth):
    docs, new, queries = world
    plain = docs.search(queries, space="v2", k=20)
    encoder = Slow(new)
    result = docs.search(queries, space="v2", k=20, depth=depth, encoder=encoder, commit=False)
    heads = {hit.document for hits in plain for hit in list(hits)[:depth]}
    natives = {f"text {n}" for n in range(60)}
    assert set(encoder.asked) == heads - natives
    for before, after in zip(plain, result, strict=True):
        assert set(after.ids) == set(before.ids)


def test_a_budget_is_per_query(world):
    docs, new, queries = world
    encoder = Slow(new)
    docs.search(queries, space="v2", depth=30, budget=2, encoder=encoder, commit=False)
    assert 2 < len(encoder.asked) <= 2 * len(queries)


def test_a_budget_without_a_cascade_or_below_zero_is_refused(world):
    docs, new, queries = world
    with pytest.raises(InvalidArgumentError, match="depth"):
        docs.search(queries, space="v2", budget=3)
    with pytest.raises(InvalidArgumentError, match="budget"):
        docs.search(queries, space="v2", depth=5, budget=-1, encoder=Slow(new))


# Failing encoders


def test_a_failing_encoder_gives_the_translated_ranking_and_says_so(world):
    docs, new, queries = world
    plain = docs.search(queries, space="v2", k=10)
    result = docs.search(queries, space="v2", k=10, depth=10, encoder=Broken(new))
    assert result.degraded is not None
    assert "the endpoint is down" in result.degraded
    assert np.array_equal(result.ids, plain.ids)
    np.testing.assert_allclose(result.scores, plain.scores, atol=1e-6)
    assert result.embedded == 0
    assert docs.search(queries[0], space="v2", depth=10, encoder=Broken(new)).degraded
    well = docs.search(queries, space="v2", k=10, depth=10, encoder=Slow(new))
    assert well.degraded is None
    assert well.embedded > 0


def test_what_no_fallback_can_mend_is_an_error(world):
    docs, new, queries = world
    other = Slow(new)
    other.name = "another model"
    with pytest.raises(SpaceMismatchError):
        docs.search(queries, space="v2", depth=10, encoder=other)
    nan = Slow(np.full_like(new, np.nan))
    with pytest.raises(InvalidVectorsError):
        docs.search(queries, space="v2", depth=10, encoder=nan)


# Queries at once


def test_queries_at_once_embed_no_document_twice_and_all_rank_natively(world):
    docs, new, queries = world
    encoder = Slow(new, seconds=0.05)
    alone = [docs.search(q, space="v2", depth=N, encoder=Slow(new), commit=False) for q in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda q: docs.search(q, space="v2", depth=N, encoder=encoder), queries)
        )
    assert len(encoder.asked) == len(set(encoder.asked)) == N - 60
    for hits, expected in zip(found, alone, strict=True):
        assert hits.ids == expected.ids
        np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-6)
    assert docs.spaces["v2"].coverage == 1.0


def test_those_who_wait_for_a_failing_encoder_degrade_and_the_next_query_tries_again(world):
    docs, new, queries = world

    class Once(Slow):
        def encode_documents(self, texts):
            self.asked += texts
            time.sleep(0.1)
            if len(self.asked) == len(texts):
                raise EncoderError("busy")
            return super().encode_documents(texts)

    encoder = Once(new)
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda _: docs.search(queries[0], space="v2", depth=N, encoder=encoder), range(4)
            )
        )
    assert any(hits.degraded for hits in found)
    assert docs.search(queries[0], space="v2", depth=N, encoder=Slow(new)).degraded is None
    assert docs.spaces["v2"].coverage == 1.0


# Commits


def test_a_cascade_does_not_wait_for_its_commit(world, monkeypatch):
    docs, new, queries = world
    commit = docs._writer.add_vectors

    def slowly(**arguments):
        time.sleep(1.0)
        return commit(**arguments)

    monkeypatch.setattr(docs._writer, "add_vectors", slowly)
    began = time.perf_counter()
    docs.search(queries, space="v2", depth=20, encoder=Slow(new))
    assert time.perf_counter() - began < 0.9
    docs.flush()
    assert docs.spaces["v2"].native > 60


def test_many_cascades_share_commits(world):
    docs, new, queries = world
    before = docs.version
    for query in queries:
        docs.search(query, space="v2", depth=5, encoder=Slow(new))
    docs.flush()
    native = docs.spaces["v2"].native
    assert native > 60
    assert docs.version - before < len(queries) / 2


def test_a_refused_commit_fails_no_search_and_is_tried_again(world, monkeypatch):
    docs, new, queries = world
    write = type(docs._root).write_local

    def full(*_arguments):
        raise StorageError("the disk is full")

    monkeypatch.setattr(type(docs._root), "write_local", full)
    hits = docs.search(queries[0], space="v2", depth=N, encoder=Slow(new))
    assert {hit.provenance.kind for hit in hits} == {"native"}
    with pytest.raises(StorageError, match="disk is full"):
        docs.flush()
    assert docs.spaces["v2"].native == 60
    monkeypatch.setattr(type(docs._root), "write_local", write)
    again = Slow(new)
    docs.search(queries[0], space="v2", depth=N, encoder=again)
    assert again.asked == [], "what waits for the disk is not embedded a second time"
    docs.flush()
    assert docs.spaces["v2"].coverage == 1.0


def test_closing_a_store_keeps_what_its_cascades_made(world, store, tmp_path):
    docs, new, queries = world
    docs.search(queries[0], space="v2", depth=N, encoder=Slow(new))
    store.close()
    with vecstore.open(tmp_path / "store") as again:
        assert again.collection("docs").spaces["v2"].coverage == 1.0


# Least scores


@pytest.mark.parametrize("coverage", [60, N])
def test_hits_below_the_least_score_are_left_out(world, coverage):
    docs, new, queries = world
    docs.add_vectors(
        ids=[f"{n:03}" for n in range(coverage)], vectors=new[:coverage], space="v2",
        on_existing="skip",
    )  # fmt: skip
    whole = docs.search(queries, space="v2", k=50)
    cut = docs.search(queries, space="v2", k=50, min_score=0.4)
    for before, after in zip(whole, cut, strict=True):
        assert after.ids == [hit.id for hit in before if hit.score >= 0.4]
    assert docs.search(queries[0], space="v2", min_score=2.0).ids == []
    for bad in (float("nan"), "high"):
        with pytest.raises(InvalidArgumentError, match="min_score"):
            docs.search(queries, space="v2", min_score=bad)
