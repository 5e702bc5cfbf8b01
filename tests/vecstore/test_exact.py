"""Exact search equals brute force in float64, by FAISS and by numpy, however rows are cut."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
    NonFiniteError,
    UnpairedRowsError,
)
from vecstore.indexes import exact
from vecstore.indexes.blocks import Block, tiles
from vecstore.indexes.exact import exact_search
from vecstore.indexes.faiss_library import find_faiss, load_faiss, matrix_kernels, threads
from vecstore.indexes.topk import TopK, merge_top_k

PATHS = [pytest.param(find_faiss(), id="faiss"), pytest.param(None, id="numpy")]


def brute_force(queries, blocks, metric):
    """Return (row_ids, scores) of every kept row, in float64 of what the block stores."""
    row_ids, scores = [], []
    left = queries.astype(np.float64)
    for block in blocks:
        right = block.vectors.astype(np.float64)
        if block.unit_norm and block.vectors.dtype == np.float16:
            right /= np.linalg.norm(right, axis=1, keepdims=True)
        keep = np.ones(len(block), bool) if block.keep is None else block.keep
        row_ids.append(block.row_ids[keep])
        score = left @ right.T
        if metric == "l2":
            score = -np.square(left[:, None] - right[None]).sum(axis=2)
        scores.append(score[:, keep])
    return np.concatenate(row_ids), np.concatenate(scores, axis=1)


def assert_answers(answer, queries, blocks, k, metric, tolerance=1e-4):
    scores, row_ids = answer
    known, truth = brute_force(queries, blocks, metric)
    filled = min(k, len(known))
    assert scores.shape == row_ids.shape == (len(queries), k)
    assert (scores.dtype, row_ids.dtype) == (np.float32, np.int64)
    assert (row_ids[:, filled:] == -1).all()
    assert np.isneginf(scores[:, filled:]).all()
    best = -np.sort(-truth, axis=1)[:, :filled]
    np.testing.assert_allclose(scores[:, :filled], best, rtol=tolerance, atol=tolerance)
    order = np.argsort(known)
    columns = order[np.searchsorted(known, row_ids[:, :filled], sorter=order)]
    assert np.array_equal(known[columns], row_ids[:, :filled])
    own = np.take_along_axis(truth, columns, axis=1)
    np.testing.assert_allclose(scores[:, :filled], own, rtol=tolerance, atol=tolerance)
    assert all(len(set(row)) == filled for row in row_ids[:, :filled].tolist())


@st.composite
def searches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim = draw(st.integers(1, 40))
    sizes = draw(st.lists(st.sampled_from([0, 1, 3, 70, 1100]), min_size=1, max_size=5))
    ids = rng.permutation(10 * sum(sizes) + 1)[: sum(sizes)].astype(np.int64)
    blocks = []
    for part in np.split(ids, np.cumsum(sizes)[:-1]):
        vectors = rng.standard_normal((len(part), dim)).astype(np.float32)
        unit = draw(st.booleans())
        if unit:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if draw(st.booleans()):
            vectors = vectors.astype(np.float16)
        share = draw(st.sampled_from([None, 0.0, 0.02, 0.5, 1.0]))
        keep = None if share is None else rng.random(len(part)) < share
        vectors.flags.writeable = False
        blocks.append(Block(row_ids=part, vectors=vectors, keep=keep, unit_norm=unit))
    queries = rng.standard_normal((draw(st.sampled_from([1, 2, 7, 8, 30])), dim))
    return queries.astype(np.float32), blocks, draw(st.sampled_from([1, 5, 120, 3000]))


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("faiss", PATHS)
@settings(max_examples=60, deadline=None)
@given(search=searches())
def test_any_cut_into_blocks_equals_brute_force(faiss, metric, search):
    queries, blocks, k = search
    answer = exact._scan(queries, blocks, k, metric, faiss)
    assert_answers(answer, queries, blocks, k, metric)


@pytest.mark.parametrize("faiss", PATHS)
@pytest.mark.parametrize("n_queries", [1, 20])
def test_tiles_beyond_one_buffer_equal_brute_force(faiss, n_queries, monkeypatch):
    monkeypatch.setattr(exact, "_FEW_BYTES", 16_000)
    monkeypatch.setattr(exact, "_BATCH_BYTES", 16_000)
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((5000, 16)).astype(np.float32)
    blocks = [
        Block(row_ids=np.arange(3000), vectors=vectors[:3000].astype(np.float16)),
        Block(row_ids=np.arange(3000, 5000), vectors=vectors[3000:], keep=rng.random(2000) < 0.4),
    ]
    queries = rng.standard_normal((n_queries, 16)).astype(np.float32)
    for metric in ("ip", "l2"):
        answer = exact._scan(queries, blocks, 500, metric, faiss)
        assert_answers(answer, queries, blocks, 500, metric)


@pytest.mark.parametrize("faiss", PATHS)
@pytest.mark.parametrize("n_queries", [1, 9])
def test_ties_come_in_order_of_row_id(faiss, n_queries):
    vectors = np.ones((6, 4), dtype=np.float32)
    blocks = [
        Block(row_ids=np.array([50, 10, 40]), vectors=vectors[:3]),
        Block(row_ids=np.array([30, 20, 60]), vectors=vectors[3:]),
    ]
    queries = np.ones((n_queries, 4), dtype=np.float32)
    _, row_ids = exact._scan(queries, blocks, 6, "ip", faiss)
    assert (row_ids == [10, 20, 30, 40, 50, 60]).all()


@pytest.mark.parametrize("faiss", PATHS)
@pytest.mark.parametrize("n_queries", [1, 12, 60])
def test_a_tie_that_crosses_the_last_place_goes_to_the_first_rows(faiss, n_queries):
    """Integers have exact scores; a few values make most of the 3,000 rows tie."""
    rng = np.random.default_rng(5)
    vectors = rng.integers(0, 3, (3000, 2)).astype(np.float32)
    queries = rng.integers(0, 3, (n_queries, 2)).astype(np.float32)
    row_ids, keep = rng.permutation(3000), rng.random(3000) < 0.7
    blocks = [
        Block(row_ids=row_ids[:1700], vectors=vectors[:1700], keep=keep[:1700]),
        Block(row_ids=row_ids[1700:], vectors=vectors[1700:]),
    ]
    for metric in ("ip", "l2"):
        known, truth = brute_force(queries, blocks, metric)
        order = np.lexsort((np.broadcast_to(known, truth.shape), -truth), axis=1)
        for k in (1, 2, 17, 150, 3000):
            scores, found = exact._scan(queries, blocks, k, metric, faiss)
            filled = min(k, len(known))
            expected = order[:, :filled]
            assert np.array_equal(found[:, :filled], known[expected]), (metric, k)
            assert np.array_equal(scores[:, :filled], np.take_along_axis(truth, expected, axis=1))


@pytest.mark.parametrize("faiss", PATHS)
def test_scores_under_l2_are_never_positive_and_zero_for_the_row_itself(faiss):
    vectors = np.random.default_rng(4).standard_normal((2000, 32)).astype(np.float32)
    block = Block(row_ids=np.arange(2000), vectors=vectors)
    for n in (1, 50):
        scores, row_ids = exact._scan(vectors[:n], [block], 1, "l2", faiss)
        assert (scores <= 0).all()
        assert np.array_equal(row_ids[:, 0], np.arange(n))
        np.testing.assert_allclose(scores[:, 0], 0, atol=1e-4)


def test_every_finite_float16_is_widened_exactly():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 1)
    block = Block(row_ids=np.arange(len(finite)), vectors=finite)
    gathered = [
        tile.vectors.copy()
        for tile in tiles([block], gather_bytes=2**14, map_rows=None, map_masked=True)
    ]
    assert np.array_equal(np.concatenate(gathered), finite.astype(np.float32))


def test_zero_rows_stay_zero_in_a_unit_norm_block():
    halves = np.array([[0, 0], [3, 4]], dtype=np.float16)
    block = Block(row_ids=np.array([1, 2]), vectors=halves, unit_norm=True)
    scores, _ = exact_search([[1.0, 0.0]], [block], 2, metric="ip")
    np.testing.assert_allclose(scores, [[0.6, 0.0]], atol=1e-6)


def test_no_rows_and_no_queries_are_sizes_like_any_other():
    scores, row_ids = exact_search(np.zeros((2, 3)), [], 4, metric="ip")
    assert (row_ids == -1).all()
    assert np.isneginf(scores).all()
    block = Block(row_ids=np.array([7]), vectors=np.ones((1, 3), np.float32))
    scores, row_ids = exact_search(np.zeros((0, 3)), [block], 4, metric="l2")
    assert scores.shape == row_ids.shape == (0, 4)


@pytest.mark.parametrize(
    ("queries", "k", "metric", "error"),
    [
        (np.ones((1, 4)), 1, "ip", DimensionMismatchError),
        (np.ones(3), 1, "ip", InvalidVectorsError),
        ([["a", "b", "c"]], 1, "ip", InvalidVectorsError),
        ([[1.0, np.nan, 0.0]], 1, "ip", NonFiniteError),
        (np.full((1, 3), 1e300), 1, "ip", NonFiniteError),
        (np.ones((1, 3)), 0, "ip", InvalidArgumentError),
        (np.ones((1, 3)), True, "ip", InvalidArgumentError),
        (np.ones((1, 3)), 2.0, "ip", InvalidArgumentError),
        (np.ones((1, 3)), 1, "cosine", InvalidArgumentError),
    ],
)
def test_wrong_arguments_are_refused(queries, k, metric, error):
    block = Block(row_ids=np.array([7]), vectors=np.ones((1, 3), np.float32))
    with pytest.raises(error):
        exact_search(queries, [block], k, metric=metric)


def test_blocks_of_different_dimensions_are_refused():
    blocks = [
        Block(row_ids=np.array([7]), vectors=np.ones((1, 3), np.float32)),
        Block(row_ids=np.array([8]), vectors=np.ones((1, 4), np.float32)),
    ]
    with pytest.raises(DimensionMismatchError):
        exact_search(np.ones((1, 3)), blocks, 1, metric="ip")


def test_malformed_blocks_are_refused():
    ids, rows = np.arange(4), np.ones((4, 3), np.float32)
    with pytest.raises(InvalidVectorsError, match="float32 or float16"):
        Block(row_ids=ids, vectors=rows.astype(np.float64))
    with pytest.raises(InvalidVectorsError, match="C-contiguous"):
        Block(row_ids=ids[:3], vectors=rows.T[:3, ::2])
    with pytest.raises(UnpairedRowsError):
        Block(row_ids=ids[:3], vectors=rows)
    with pytest.raises(UnpairedRowsError):
        Block(row_ids=ids, vectors=rows, keep=np.ones(4, np.int8))


def test_concurrent_scans_agree_and_leave_faiss_as_it_was():
    faiss = load_faiss()
    before = (faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads())
    rng = np.random.default_rng(6)
    block = Block(
        row_ids=np.arange(3000), vectors=rng.standard_normal((3000, 24)).astype(np.float32)
    )
    queries = rng.standard_normal((40, 24)).astype(np.float32)
    _, truth = exact_search(queries, [block], 5, metric="ip")
    with ThreadPoolExecutor(4) as pool:
        sizes = [1, 40, 3, 20] * 8
        found = pool.map(lambda n: exact_search(queries[:n], [block], 5, metric="ip")[1], sizes)
        for n, row_ids in zip(sizes, found, strict=True):
            assert np.array_equal(row_ids, truth[:n])
    after = (faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads())
    assert after == before


def test_kernel_settings_are_restored_when_scans_overlap_or_fail():
    faiss = load_faiss()
    before = faiss.cvar.distance_compute_blas_threshold
    with matrix_kernels(faiss):
        with pytest.raises(RuntimeError), matrix_kernels(faiss):
            raise RuntimeError
        assert faiss.cvar.distance_compute_blas_threshold == 1
    assert faiss.cvar.distance_compute_blas_threshold == before


def test_a_thread_count_holds_for_the_calling_thread_only():
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    seen = []
    with threads(faiss, 1):
        assert faiss.omp_get_max_threads() == 1
        other = threading.Thread(target=lambda: seen.append(faiss.omp_get_max_threads()))
        other.start()
        other.join()
    assert seen == [before]
    assert faiss.omp_get_max_threads() == before


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 4]),
    k=st.integers(1, 12),
    width=st.one_of(st.integers(0, 40), st.integers(100, 900)),
    distinct=st.sampled_from([6, 1000]),
)
def test_merge_ranks_by_score_then_row_id(seed, n, k, width, distinct):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, (n, width)).astype(np.float32)
    row_ids = np.array([rng.permutation(1000)[:width] for _ in range(n)], dtype=np.int64)
    best, ids = merge_top_k(scores, row_ids, k)
    for row in range(n):
        ranked = sorted(zip(-scores[row], row_ids[row], strict=True))[:k]
        wanted = [(-s, i) for s, i in ranked] + [(-np.inf, -1)] * (k - len(ranked))
        assert list(zip(best[row].tolist(), ids[row].tolist(), strict=True)) == wanted


def test_running_top_k_equals_one_merge():
    rng = np.random.default_rng(8)
    scores = rng.integers(0, 50, (3, 9000)).astype(np.float32)
    row_ids = np.tile(np.arange(9000), (3, 1))
    top = TopK(n_queries=3, k=7)
    for start in range(0, 9000, 300):
        top.add(scores[:, start : start + 300], row_ids[:, start : start + 300])
    for running, whole in zip(top.result(), merge_top_k(scores, row_ids, 7), strict=True):
        assert np.array_equal(running, whole)
