"""What is particular to the compressed and the partitioned kinds, and to ranking by originals."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore.errors import InvalidArgumentError, UnsupportedOperationError
from vecstore.indexes import factory
from vecstore.indexes.blocks import Block, sample_rows
from vecstore.indexes.faiss_body import FaissBody
from vecstore.indexes.lists import settle_lists, widened_nprobe
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index
from vecstore.indexes.topk import merge_top_k
from vecstore.rows import RowSet


def rows(n, dim=16, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def block(n=2000, dim=16, **options):
    return Block(row_ids=np.arange(n) + 500, vectors=rows(n, dim), **options)


# Originals


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_originals_score_each_row_by_the_one_block_that_keeps_it(metric, dtype):
    vectors = rows(120).astype(dtype)
    keep = np.random.default_rng(3).random(60) < 0.5
    gapped = np.arange(60) * 3 + 10
    blocks = [
        Block(row_ids=gapped, vectors=vectors[:60], keep=keep),
        Block(row_ids=gapped, vectors=vectors[60:], keep=~keep),  # the others were replaced
    ]
    queries = rows(4, seed=9)
    asked = np.random.default_rng(1).choice(np.append(gapped, [-1, 11, 9_999]), (4, 30))
    scores = Originals(blocks).scores(queries, asked, metric)
    lives = np.where(keep[:, None], vectors[:60], vectors[60:]).astype(np.float64)
    for query, ids, found in zip(queries, asked, scores, strict=True):
        for row_id, score in zip(ids, found, strict=True):
            place = np.flatnonzero(gapped == row_id)
            if not len(place):
                assert np.isneginf(score)
                continue
            row = lives[place[0]]
            true = query @ row if metric == "ip" else -np.square(query - row).sum()
            assert score == pytest.approx(true, abs=1e-5)


def test_originals_of_many_disjoint_files_agree_with_one():
    vectors = rows(300)
    parts = np.array_split(np.arange(300), 17)
    many = Originals([Block(row_ids=part, vectors=vectors[part]) for part in reversed(parts)])
    one = Originals([Block(row_ids=np.arange(300), vectors=vectors)])
    queries = rows(3, seed=4)
    asked = np.random.default_rng(2).integers(-1, 310, (3, 40))
    assert np.array_equal(many.scores(queries, asked, "l2"), one.scores(queries, asked, "l2"))


def _whole(ids):
    return [(ids, None)]


def _files(ids):
    return [(part, None) for part in reversed(np.array_split(ids, 11))]


def _replaced(ids):
    keep = np.random.default_rng(5).random(len(ids)) < 0.5
    return [(ids, keep), (ids, ~keep)]


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("parts", [_whole, _files, _replaced])
def test_the_best_of_one_query_s_candidates_are_those_it_has_in_a_batch(parts, gaps, dtype, metric):
    ids = np.arange(300) * 2 + 1 + (np.arange(300) // 60) * 5 if gaps else np.arange(300) + 50
    vectors = rows(300).astype(dtype)
    originals = Originals([
        Block(row_ids=part, vectors=vectors[np.isin(ids, part)], keep=keep, unit_norm=True)
        for part, keep in parts(ids)
    ])  # fmt: skip
    queries = rows(6, seed=8)
    strangers = [-1, 0, int(ids[0]) - 1, int(ids[-1]) + 1, 10**9, *([2, 4] if gaps else [])]
    for k in (1, 10, 30, 35):
        asked = np.stack([np.random.default_rng(i).choice(ids, 30, False) for i in range(6)])
        for place, stranger in enumerate([None, *strangers]):
            if stranger is not None:
                asked[:, place] = stranger
            scores, found = originals.best(queries, asked.copy(), k, metric)
            for row in range(6):
                one = slice(row, row + 1)
                alone = originals.best(queries[one], asked[one].copy(), k, metric)
                assert np.array_equal(alone[1], found[one])
                np.testing.assert_allclose(alone[0], scores[one], rtol=1e-5, atol=1e-6)
            assert set(found.ravel().tolist()) <= {-1, *ids.tolist()}
            assert ((found >= 0).sum(axis=1) == min(k, 30 - place)).all()


def test_candidates_of_files_of_two_dtypes_are_scored():
    vectors = rows(40)
    originals = Originals([
        Block(row_ids=np.arange(20), vectors=vectors[:20]),
        Block(row_ids=np.arange(20, 40), vectors=vectors[20:].astype(np.float16)),
    ])  # fmt: skip
    scores, found = originals.best(vectors[:1], np.arange(40)[None], 40, "ip")
    np.testing.assert_allclose(scores[0], vectors[found[0]] @ vectors[0], atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("n", [1, 3, 20])
def test_rank_all_of_many_files_agrees_with_one(n, dtype):
    vectors = rows(300).astype(dtype)
    row_ids = np.cumsum(1 + (np.arange(300) % 7 == 0)) + 100  # gaps inside files and between them
    keep = np.random.default_rng(5).random(300) < 0.7
    parts = np.array_split(np.arange(300), 17)
    files = [Block(row_ids=row_ids[p], vectors=vectors[p], keep=keep[p]) for p in reversed(parts)]
    one = Block(row_ids=row_ids, vectors=vectors, keep=keep)
    asked = RowSet.of(np.random.default_rng(6).choice(600, 200, replace=False))  # many of no file
    queries = rows(n, seed=7)

    def best(originals):
        scores, found = merge_top_k(*originals.rank_all(queries, 150, asked, "l2"), 150)
        return scores, found

    scores, found = best(Originals(files))
    expected = np.intersect1d(row_ids[keep], asked.to_array())
    assert sorted(found[0][found[0] >= 0].tolist()) == expected.tolist()
    np.testing.assert_array_equal(found, best(Originals([one]))[1])
    np.testing.assert_allclose(scores, best(Originals([one]))[0], rtol=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_rank_all_of_one_filter_after_another_mixes_nothing_up(n):
    vectors, queries = rows(300), rows(n, seed=8)
    parts = np.array_split(np.arange(300), 5)
    originals = Originals([Block(row_ids=part, vectors=vectors[part]) for part in parts])
    filters = [RowSet.of(np.arange(first, 300, 7)) for first in (0, 1, 150)]
    for some in (*filters, *reversed(filters)):
        scores, found = originals.rank_all(queries, 5, some, "ip")
        assert (found == some.to_array()).all()
        np.testing.assert_allclose(scores, queries @ vectors[found[0]].T, atol=1e-5)


@pytest.mark.parametrize("n", [1, 20])
def test_rank_all_covers_every_row_asked_for(n):
    originals = Originals([block()])
    some = RowSet.of(np.arange(500, 2500, 19))
    scores, found = originals.rank_all(rows(n, seed=6), len(some), some, "ip")
    for ids in found:
        assert set(ids.tolist()) == set(some.to_array().tolist())
    best = np.argmax(scores[0])
    truth = rows(n, seed=6)[0] @ rows(2000)[some.to_array() - 500].T
    assert found[0, best] == some.to_array()[np.argmax(truth)]


def test_sample_rows_takes_kept_rows_once():
    keep = np.arange(2000) % 2 == 0
    sample = sample_rows([block(keep=keep), block(0)], 700, 16, seed=1)
    kept = {row.tobytes() for row in rows(2000)[keep]}
    seen = [row.tobytes() for row in sample]
    assert len(set(seen)) == 700
    assert set(seen) <= kept
    assert len(sample_rows([block(keep=keep)], 5000, 16, seed=1)) == 1000


# Lists


def test_few_rows_get_few_lists_and_short_codes():
    made = get_index("ivf_pq").build(
        [block(100)], dim=16, metric="l2", parameters={"nlist": 4096, "nbits": 8, "nprobe": 4096}
    )
    assert made.parameters["nlist"] == 12
    assert made.parameters["nprobe"] == 12
    assert made.parameters["nbits"] == 6  # 64 words of 100 rows
    one = get_index("ivf_pq").build([block(1)], dim=16, metric="l2")
    assert one.search(rows(2), 3)[1][:, 0].tolist() == [500, 500]


def test_product_codes_must_divide_the_dimensions():
    with pytest.raises(InvalidArgumentError, match="divide the 16 dimensions, got 5"):
        get_index("ivf_pq").build([block(50)], dim=16, metric="l2", parameters={"m": 5})


@pytest.mark.parametrize("kind", ["ivf_flat", "ivf_pq", "ivf_rabitq", "sq", "binary"])
def test_builds_of_the_same_rows_are_equal(kind):
    builds = [get_index(kind).build([block()], dim=16, metric="ip").to_bytes() for _ in range(2)]
    assert builds[0] == builds[1]


@pytest.mark.parametrize("kind", ["ivf_flat", "ivf_pq", "ivf_rabitq"])
def test_training_can_be_cancelled_before_any_row_is_added(kind):
    calls = []

    def cancel(done, total):
        calls.append(done)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_index(kind).build([block()], dim=16, metric="ip", progress=cancel)
    assert calls == [0, 0, 0]


def test_a_filter_never_makes_a_search_visit_fewer_lists():
    for eligible in (1, 10, 1000, 50_000, 100_000):
        assert 8 <= widened_nprobe(8, 300, eligible=eligible, total=100_000) <= 300
    assert widened_nprobe(8, 300, eligible=100_000, total=100_000) == 8


def test_automatic_lists_grow_with_the_root_of_the_rows():
    assert settle_lists({"nlist": 0, "nprobe": 0}, 0) == {"nlist": 1, "nprobe": 1}
    assert settle_lists({"nlist": 0, "nprobe": 0}, 1_000_000)["nlist"] == 2000


def test_sparse_lists_still_fill_every_place():
    index = get_index("ivf_flat").build(
        [block()], dim=16, metric="ip", parameters={"nlist": 200, "nprobe": 1}
    )
    _, found = index.search(rows(20, seed=8), 60)
    assert (found >= 0).all()


# Codes


def test_more_bits_lose_less():
    data, queries = block(2000, 32), rows(50, 32, seed=5)
    truth = np.argsort(-(queries @ data.vectors.T), axis=1)[:, :10] + 500
    shares = []
    for bits in (64, 1024):
        index = get_index("binary").build(
            [data], dim=32, metric="ip", parameters={"bits": bits, "refine_factor": 3}
        )
        _, found = index.search(queries, 10, originals=Originals([data]))
        shares.append(
            np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]) / 10
        )
    assert shares[0] + 0.1 < shares[1]


def test_compressed_kinds_are_smaller_than_the_vectors():
    data = block(2000, 384)
    sizes = {
        kind: len(get_index(kind).build([data], dim=384, metric="ip").to_bytes()) / 2000
        for kind in ("flat", "sq", "ivf_pq", "ivf_rabitq", "binary")
    }
    assert sizes["sq"] < sizes["flat"] / 3
    # The centres, and the rotation, weigh on so few rows.
    assert max(sizes["ivf_pq"], sizes["ivf_rabitq"], sizes["binary"]) < sizes["flat"]


# Factory strings


@pytest.mark.parametrize("spec", ["PCA14,Flat", "IVF16,SQ8", "HNSW8,Flat", "IVF8,PQ8x4fs"])
def test_factory_strings_build_and_find(spec):
    data = block()
    index = get_index("factory").build(
        [data], dim=16, metric="ip", parameters={"spec": spec, "refine_factor": 40}
    )
    scores, found = index.search(data.vectors[:20], 1, originals=Originals([data]))
    assert found[:, 0].tolist() == data.row_ids[:20].tolist()
    assert scores[:, 0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "spec", ["", "nonsense", "IVF,Flat", "PQ5", "IVF8,Flat,RFlat", "IDMap,Flat"]
)
def test_unusable_factory_strings_are_refused_when_built(spec):
    with pytest.raises(InvalidArgumentError, match="spec"):
        get_index("factory").build([block(300)], dim=16, metric="ip", parameters={"spec": spec})


def test_a_factory_string_that_needs_more_rows_says_so():
    with pytest.raises(InvalidArgumentError, match="on 20 rows"):
        get_index("factory").build(
            [block(20)], dim=16, metric="ip", parameters={"spec": "IVF64,Flat"}
        )


@pytest.mark.parametrize("spec", ["LSH", "NSG16"])
def test_what_cannot_be_filtered_is_refused(spec):
    with pytest.raises(UnsupportedOperationError, match="filter"):
        get_index("factory").build([block(300)], dim=16, metric="l2", parameters={"spec": spec})


def test_what_ignores_a_filter_is_refused(monkeypatch):
    search = FaissBody.search
    monkeypatch.setattr(FaissBody, "search", lambda self, q, k, _: search(self, q, 3, None))
    with pytest.raises(UnsupportedOperationError, match="ignores filters"):
        get_index("factory").build([block(300)], dim=16, metric="l2", parameters={"spec": "Flat"})
    assert factory.FactoryIndex.supports_filter
