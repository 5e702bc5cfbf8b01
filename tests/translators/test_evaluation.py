"""Metrics against ir-measures, ranking against a full sort, intervals by coverage."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vecstore_translators.errors import InvalidArgumentError, NonFiniteError, UnpairedRowsError
from vecstore_translators.evaluation import (
    bootstrap_interval,
    mrr,
    ndcg_at_k,
    overlap_at_k,
    paired_bootstrap,
    recall_at_k,
    top_k,
)
from vecstore_translators.validation import Metric

K = 5


@pytest.fixture(scope="module")
def judged() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rankings, ragged judgements padded with -1, and graded gains."""
    rng = np.random.default_rng(0)
    ranking = np.array([rng.permutation(30)[:8] for _ in range(40)])
    relevant = np.array([rng.permutation(30)[:6] for _ in range(40)])
    relevant[np.arange(6) >= rng.integers(1, 7, size=40)[:, np.newaxis]] = -1
    return ranking, relevant, rng.integers(1, 4, size=relevant.shape)


def as_dicts(
    ranking: NDArray[np.int64], relevant: NDArray[np.int64], gains: NDArray[np.int64]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    qrels = {
        str(q): {str(d): int(g) for d, g in zip(row, gain, strict=True) if d >= 0}
        for q, (row, gain) in enumerate(zip(relevant, gains, strict=True))
    }
    run = {
        str(q): {str(d): 1.0 / (1 + i) for i, d in enumerate(row)} for q, row in enumerate(ranking)
    }
    return qrels, run


def test_metrics_equal_ir_measures(judged: tuple[NDArray[np.int64], ...]) -> None:
    ranking, relevant, gains = judged
    qrels, run = as_dicts(ranking, relevant, gains)
    mine = {
        ir_measures.R @ K: recall_at_k(ranking, relevant, K),
        ir_measures.nDCG @ K: ndcg_at_k(ranking, relevant, K, gains=gains),
        ir_measures.RR @ K: mrr(ranking, relevant, K),
        ir_measures.RR: mrr(ranking, relevant),
    }
    for result in ir_measures.iter_calc(list(mine), qrels, run):
        value = mine[result.measure][int(result.query_id)]
        assert value == pytest.approx(result.value, abs=1e-9), result
    assert all(0 < values.mean() < 1 for values in mine.values())


def test_overlap_counts_common_neighbours_whatever_their_order() -> None:
    native = [[1, 2, 3, 4], [5, 6, 7, 8]]
    found = [[4, 3, 9, 1], [0, 1, 2, 3]]
    assert overlap_at_k(found, native, 4).tolist() == [0.75, 0.0]
    assert overlap_at_k(found, native, 2).tolist() == [0.0, 0.0]
    assert overlap_at_k(native, native, 3).tolist() == [1.0, 1.0]


def test_padding_and_queries_without_judgements_score_zero() -> None:
    ranking = [[3, -1, -1], [-1, -1, -1], [2, 1, 0]]
    relevant = [[3, -1], [4, 5], [-1, -1]]
    assert recall_at_k(ranking, relevant, 3).tolist() == [1.0, 0.0, 0.0]
    assert ndcg_at_k(ranking, relevant, 3).tolist() == [1.0, 0.0, 0.0]
    assert mrr(ranking, relevant).tolist() == [1.0, 0.0, 0.0]


def test_bad_judgements_are_refused() -> None:
    with pytest.raises(UnpairedRowsError):
        recall_at_k([[1, 2]], [1, 2], 2)
    with pytest.raises(InvalidArgumentError, match="integer"):
        recall_at_k([[1.0, 2.0]], [1], 2)
    with pytest.raises(InvalidArgumentError, match="k"):
        mrr([[1]], [1], 0)
    with pytest.raises(UnpairedRowsError):
        ndcg_at_k([[1]], [1], gains=[[1, 2]])


def brute_force(
    queries: NDArray[np.float32], documents: NDArray[np.float32], metric: str
) -> NDArray[np.float64]:
    q, d = queries.astype(float), documents.astype(float)
    if metric == "l2":
        return -np.sum((q[:, None] - d[None]) ** 2, axis=2)
    if metric == "cosine":
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
        d = d / np.linalg.norm(d, axis=1, keepdims=True)
    return q @ d.T


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("k", [1, 7, 200])
def test_top_k_equals_a_full_sort(metric: Metric, k: int) -> None:
    rng = np.random.default_rng(2)
    queries = rng.normal(size=(30, 8)).astype(np.float32)
    documents = rng.normal(size=(150, 8)).astype(np.float32)
    rows, scores = top_k(queries, documents, k, metric=metric)
    expected = brute_force(queries, documents, metric)
    order = np.argsort(-expected, axis=1)[:, :k]
    assert np.array_equal(rows, order)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, axis=1), atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=30), k=st.integers(1, 31))
def test_ties_are_broken_by_ascending_row(values: list[int], k: int) -> None:
    documents = np.array(values, dtype=np.float32)[:, np.newaxis]
    rows, _ = top_k(np.ones((1, 1), dtype=np.float32), documents, k, metric="ip")
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert rows[0].tolist() == expected


def test_top_k_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    queries, documents = rng.normal(size=(30, 8)), rng.normal(size=(40, 8))
    whole, _ = top_k(queries, documents, 5)
    monkeypatch.setattr("vecstore_translators.evaluation.ranking._BLOCK_SCORES", 100)
    blocked, _ = top_k(queries, documents, 5)
    assert np.array_equal(whole, blocked)


def test_zero_vectors_have_no_cosine() -> None:
    with pytest.raises(NonFiniteError, match="row 1"):
        top_k(np.ones((1, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]), 1)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = bootstrap_interval(
            rng.exponential(size=80), confidence=0.9, resamples=400, seed=trial
        )
        covered += interval.low <= 1.0 <= interval.high
    assert 0.82 <= covered / 200 <= 0.96


def test_pairing_sharpens_the_difference() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=300)
    better, worse = hard + 0.02 + 0.01 * rng.normal(size=300), hard
    paired = paired_bootstrap(better, worse)
    assert 0.015 < paired.low < paired.mean < paired.high < 0.025
    unpaired = bootstrap_interval(better)
    assert unpaired.high - unpaired.low > 5 * (paired.high - paired.low)
    assert paired == paired_bootstrap(better, worse)


def test_bootstrap_refuses_nothing_and_nan() -> None:
    for values in ([], [np.nan], [[1.0]]):
        with pytest.raises(InvalidArgumentError):
            bootstrap_interval(values)
    with pytest.raises(UnpairedRowsError):
        paired_bootstrap([1.0], [1.0, 2.0])
    with pytest.raises(InvalidArgumentError, match="confidence"):
        bootstrap_interval([1.0], confidence=1.0)
