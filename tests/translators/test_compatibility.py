"""Recall ratios, compatibility, flips and controls, against ir-measures and by hand."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from numpy.typing import NDArray

from vecstore_translators import Identity, Procrustes
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    UnpairedRowsError,
)
from vecstore_translators.evaluation import (
    CompatibilityMatrix,
    compatibility_matrix,
    naive_swap,
    ndcg_at_k,
    negative_flips,
    old_model_kept,
    overlap_at_k,
    recall_at_k,
    recall_ratio,
    shuffled_pairs,
    top_k,
)

K = 5


@pytest.fixture(scope="module")
def answered() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Two rankings of 60 documents for 50 queries, the second better, and judgements."""
    rng = np.random.default_rng(0)
    relevant = np.array([rng.permutation(60)[:3] for _ in range(50)])
    rankings = []
    for lift in (1.0, 1.8):
        scores = rng.normal(size=(50, 60))
        np.put_along_axis(scores, relevant, rng.normal(lift, 1, size=relevant.shape), axis=1)
        rankings.append(np.argsort(-scores, axis=1)[:, :12])
    return rankings[0], rankings[1], relevant


def qrels_and_run(
    ranking: NDArray[np.int64], relevant: NDArray[np.int64]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    qrels = {str(q): {str(d): 1 for d in row} for q, row in enumerate(relevant)}
    run = {
        str(q): {str(d): 1.0 / (1 + i) for i, d in enumerate(row)} for q, row in enumerate(ranking)
    }
    return qrels, run


def test_overlap_equals_precision_with_the_native_neighbours_as_judgements(
    answered: tuple[NDArray[np.int64], ...],
) -> None:
    ranking, native, _ = answered
    qrels, run = qrels_and_run(ranking, native[:, :K])
    (expected,) = ir_measures.calc_aggregate([ir_measures.P @ K], qrels, run).values()
    assert overlap_at_k(ranking, native, K).mean() == pytest.approx(expected)


def test_recall_ratio_divides_the_recalls_that_ir_measures_finds(
    answered: tuple[NDArray[np.int64], ...],
) -> None:
    ranking, native, relevant = answered
    recalls = []
    for found in (ranking, native):
        qrels, run = qrels_and_run(found, relevant)
        recalls.extend(ir_measures.calc_aggregate([ir_measures.R @ K], qrels, run).values())
    arr = recall_ratio(ranking, native, relevant, K)
    assert arr.ground_truth == "judgements"
    assert (arr.recall, arr.native_recall) == pytest.approx(tuple(recalls))
    assert arr.ratio.mean == pytest.approx(recalls[0] / recalls[1])
    assert arr.ratio.low < arr.ratio.mean < arr.ratio.high
    assert "judgements" in str(arr)


def test_recall_ratio_by_native_neighbours_is_the_overlap(
    answered: tuple[NDArray[np.int64], ...],
) -> None:
    ranking, native, _ = answered
    arr = recall_ratio(ranking, native, k=K)
    assert arr.ground_truth == "native neighbours"
    assert arr.native_recall == 1
    assert arr.ratio.mean == pytest.approx(overlap_at_k(ranking, native, K).mean())
    assert recall_ratio(native, native, k=K).ratio.low == 1


def test_recall_ratio_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    # Ranking answers a query with probability .4, the re-embed with .8, independently.
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        found, native = (np.where(rng.random(150) < p, 0, 1)[:, np.newaxis] for p in (0.4, 0.8))
        ratio = recall_ratio(
            found, native, np.zeros(150, dtype=int), 1, confidence=0.9, resamples=300, seed=trial
        ).ratio
        covered += ratio.low <= 0.5 <= ratio.high
    assert 0.82 <= covered / 200 <= 0.96


def test_recall_ratio_refuses_what_has_no_ratio() -> None:
    with pytest.raises(InvalidArgumentError, match="nothing to take a share of"):
        recall_ratio([[1]], [[2]], [3], 1)
    with pytest.raises(UnpairedRowsError):
        recall_ratio([[1], [2]], [[2]], k=1)
    with pytest.raises(InvalidArgumentError, match="confidence"):
        recall_ratio([[1]], [[1]], k=1, confidence=1.0)


def test_average_compatibility_counts_the_pairs_that_improve() -> None:
    # Biondi et al.: of the three pairs j < i, (1, 0) and (2, 1) improve and (2, 0) does not.
    matrix = CompatibilityMatrix(
        values=np.array([[0.5, 9.0, 9.0], [0.6, 0.55, 9.0], [0.4, 0.7, 0.9]])
    )
    assert matrix.compatible.tolist() == [
        [False, False, False],
        [True, False, False],
        [False, True, False],
    ]
    assert matrix.average_compatibility == pytest.approx(2 / 3)
    assert matrix.average_quality == pytest.approx((0.5 + 0.6 + 0.55 + 0.4 + 0.7 + 0.9) / 6)
    assert np.isnan(matrix.values[0, 1])
    assert np.isnan(CompatibilityMatrix(values=np.array([[0.5]])).average_compatibility)
    for bad in (np.ones((2, 3)), np.empty((0, 0)), np.array([[1.0, 1.0], [np.nan, 1.0]])):
        with pytest.raises(InvalidArgumentError, match="values"):
            CompatibilityMatrix(values=bad)


def test_compatibility_matrix_searches_each_gallery_with_each_later_version() -> None:
    rng = np.random.default_rng(3)
    items = rng.normal(size=(80, 16))
    relevant = np.arange(30)

    def version(noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        documents = items + noise * rng.normal(size=items.shape)
        return items[:30] + noise * rng.normal(size=(30, 16)), documents

    versions = [version(1.2), version(0.8), version(0.2)]
    queries = [[asked] * (i + 1) for i, (asked, _) in enumerate(versions)]
    documents = [held for _, held in versions]
    matrix = compatibility_matrix(queries, documents, relevant, K)
    ranking, _ = top_k(versions[2][0], documents[1], K)
    assert matrix.values[2, 1] == pytest.approx(ndcg_at_k(ranking, relevant, K).mean())
    assert matrix.compatible.tolist()[2] == [True, True, False]
    by_recall = compatibility_matrix(queries, documents, relevant, K, measure=recall_at_k)
    assert by_recall.values[2, 1] == pytest.approx(recall_at_k(ranking, relevant, K).mean())
    with pytest.raises(UnpairedRowsError, match="earlier space"):
        compatibility_matrix([q[:1] for q in queries], documents, relevant, K)


def test_negative_flips_are_answers_lost_and_balance_with_answers_gained(
    answered: tuple[NDArray[np.int64], ...],
) -> None:
    old, new, relevant = answered
    lost, gained = negative_flips(new, old, relevant, K), negative_flips(old, new, relevant, K)
    success = []
    for ranking in (old, new):
        qrels, run = qrels_and_run(ranking, relevant)
        values = {
            int(r.query_id): r.value
            for r in ir_measures.iter_calc([ir_measures.Success @ K], qrels, run)
        }
        success.append(np.array([values[q] for q in range(len(old))]))
    assert np.array_equal(lost, (success[0] == 1) & (success[1] == 0))
    assert gained.mean() - lost.mean() == pytest.approx((success[1] - success[0]).mean())
    assert lost.sum() > 0
    with pytest.raises(UnpairedRowsError):
        negative_flips(new[:3], old, relevant, K)


def test_controls_bracket_a_translator_that_works() -> None:
    rng = np.random.default_rng(4)
    new = rng.normal(size=(500, 12))
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    old = (new + 0.3 * rng.normal(size=new.shape)) @ rotation
    truth, _ = top_k(new[:80], new[:300], K)
    translator = Procrustes().fit(old[300:], new[300:])
    translated, _ = top_k(new[:80], translator.translate(old[:300]), K)
    kept = old_model_kept(old[:80], old[:300], K)
    swapped = naive_swap(new[:80], old[:300], K)
    chance = shuffled_pairs(Procrustes(), old[300:], new[300:], new[:80], old[:300], K)
    scores = [overlap_at_k(r, truth, K).mean() for r in (translated, kept, swapped, chance)]
    assert scores[0] > 0.5
    assert scores[1] > 0.3
    assert max(scores[2:]) < 0.1


def test_shuffled_pairs_is_chance_even_for_a_family_that_ignores_its_pairs() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(200, 6))
    truth, _ = top_k(vectors[:60], vectors, K)
    chance = shuffled_pairs(Identity(), vectors, vectors, vectors[:60], vectors, K)
    assert overlap_at_k(chance, truth, K).mean() < 0.15


def test_a_naive_swap_across_dimensions_is_refused() -> None:
    with pytest.raises(DimensionMismatchError, match="one dimension"):
        naive_swap(np.ones((2, 3)), np.ones((4, 2)))
