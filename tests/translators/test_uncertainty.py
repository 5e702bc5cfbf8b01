"""Standard errors against planted Gaussian residuals; doubts against how often hits are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from vecstore_translators import Ridge
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.errors import (
    InvalidArgumentError,
    TooFewPairsError,
    UnpairedRowsError,
    UnsupportedOperationError,
)
from vecstore_translators.evaluation import auroc, top_k
from vecstore_translators.reference import PairReference
from vecstore_translators.uncertainty import TranslationUncertainty, _normal_cdf

DIM = 16


def planted(
    n: int, seed: int, *, growing: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """X, F(x) and y = F(x) + e, with e of a known covariance, or growing away from the pairs."""
    rng = np.random.default_rng(seed)
    X = rng.standard_t(4, size=(n, DIM)) if growing else rng.normal(size=(n, DIM))
    weight = np.random.default_rng(50).normal(size=(DIM, DIM)) / 4
    factor = np.random.default_rng(51).normal(size=(DIM, DIM)) * np.geomspace(1, 0.05, DIM) / 6
    error = rng.normal(size=(n, DIM)) @ factor.T
    if growing:
        error *= np.linalg.norm(X, axis=1, keepdims=True) / 4
    return X, X @ weight, X @ weight + error


def test_standard_error_is_that_of_planted_gaussian_residuals() -> None:
    X, mapped, Y = planted(4000, 0)
    model = TranslationUncertainty.from_held_out(
        mapped, Y, X, reference=PairReference.fit(X, metric="ip"), metric="ip"
    )
    factor = np.random.default_rng(51).normal(size=(DIM, DIM)) * np.geomspace(1, 0.05, DIM) / 6
    queries = np.random.default_rng(1).normal(size=(30, DIM))
    expected = np.sqrt(np.einsum("ij,jk,ik->i", queries, factor @ factor.T, queries))
    np.testing.assert_allclose(
        model.standard_error(queries, np.ones((30, 1)))[:, 0], expected, rtol=0.05
    )
    # Nothing about an item tells its error here, so every item has about the average spread.
    new_x, new_mapped, new_y = planted(1000, 2)
    h = model.spread(new_x, new_mapped)
    assert 0.8 < np.quantile(h, 0.05) < np.quantile(h, 0.95) < 1.2
    z = (queries @ (new_y - new_mapped).T) / model.standard_error(queries, np.tile(h, (30, 1)))
    assert np.mean(np.abs(z) < 1.96) == pytest.approx(0.95, abs=0.01)


def test_spread_finds_residuals_that_grow_away_from_the_pairs() -> None:
    X, mapped, Y = planted(3000, 0, growing=True)
    model = TranslationUncertainty.from_held_out(
        mapped, Y, X, reference=PairReference.fit(X, metric="ip"), metric="ip"
    )
    new_x, new_mapped, new_y = planted(2000, 3, growing=True)
    h = model.spread(new_x, new_mapped)
    sizes = np.sum((new_y - new_mapped) ** 2, axis=1)
    order = np.argsort(h)
    for part in np.array_split(order, 4):
        ratio = sizes[part].mean() / (h[part].mean() * np.trace(model.covariance))
        assert 0.6 < ratio < 1.7
    assert sizes[order[-500:]].mean() > 4 * sizes[order[:500]].mean()


def retrieval(seed: int = 0) -> tuple[TranslationUncertainty, dict[str, NDArray[np.float64]]]:
    """A cosine corpus whose translation is a noisy copy, with queries near documents."""
    rng = np.random.default_rng(seed)
    dim, n = 24, 3000
    Y = rng.normal(size=(n, dim)) * np.geomspace(1, 0.3, dim)
    X = np.hstack([Y[:, :14], rng.normal(size=(n, 6))]) + 0.1 * rng.normal(size=(n, 20))
    queries = Y[:200] + 0.4 * rng.normal(size=(200, dim)) * np.geomspace(1, 0.3, dim)
    family = Ridge(alphas=(0.01,))
    pairs, corpus = slice(2000, n), slice(0, 2000)
    model = TranslationUncertainty.fit(family, X[pairs], Y[pairs])
    mapped = family.fit(X[pairs], Y[pairs]).translate(X[corpus])
    rows, scores = top_k(queries, mapped, 100)
    native, _ = top_k(queries, Y[corpus], 10)
    return model, {
        "queries": queries,
        "scores": scores,
        "spread": model.spread(X[corpus], mapped)[rows],
        "wrong": ~(rows[:, :10, np.newaxis] == native[:, np.newaxis]).any(axis=2),
    }


def test_doubts_tell_wrong_hits_from_right_ones_and_how_many_there_are() -> None:
    model, found = retrieval()
    doubts = model.doubts(found["queries"], found["scores"], found["spread"])
    wrong = found["wrong"]
    assert doubts.wrong.shape == wrong.shape == doubts.standard_error.shape
    assert auroc(doubts.wrong, wrong) > 0.72
    assert auroc(doubts.wrong, wrong) > auroc(-found["scores"][:, :10], wrong) + 0.02
    assert doubts.wrong.mean() == pytest.approx(wrong.mean(), abs=0.05)
    assert doubts.expected_overlap.mean() == pytest.approx(1 - wrong.mean(), abs=0.05)
    # A query that expects little overlap has little.
    order = np.argsort(doubts.expected_overlap)
    right = 1 - wrong.mean(axis=1)
    assert right[order[:60]].mean() < right[order[-60:]].mean() - 0.1
    # Calibrated within the answer as well: certain hits are right more often.
    low, high = doubts.wrong < 0.4, doubts.wrong > 0.6
    assert wrong[low].mean() < 0.45 < 0.55 < wrong[high].mean()


def test_without_error_no_hit_is_doubtful() -> None:
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(300, 8))
    model = TranslationUncertainty.from_held_out(
        Y, Y, Y, reference=PairReference.fit(Y, metric="ip"), metric="ip"
    )
    rows, scores = top_k(Y[:20], Y, 50, metric="ip")
    doubts = model.doubts(Y[:20], scores, model.spread(Y, Y)[rows])
    assert doubts.wrong.max() < 1e-6
    assert doubts.expected_overlap.min() > 1 - 1e-6


def test_cross_fit_translates_every_pair_by_a_fit_that_has_not_seen_it() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 50))
    Y = rng.normal(size=(60, 50))
    # With as many dimensions as pairs, a fit that had seen a pair would reproduce it.
    rows, mapped = cross_fit(Ridge(alphas=(1e-5,)), X, Y)
    assert sorted(rows.tolist()) == list(range(60))
    assert np.mean((mapped - Y[rows]) ** 2) > 0.5 * np.var(Y)
    again = cross_fit(Ridge(alphas=(1e-5,)), X, Y)
    assert np.array_equal(mapped, again[1])


def test_normal_distribution_equals_scipy() -> None:
    z = np.linspace(-9, 9, 400)
    np.testing.assert_allclose(_normal_cdf(z), norm.cdf(z), atol=1e-7)


def test_auroc_equals_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    doubts, wrong = rng.integers(0, 6, size=(40, 5)), rng.random((40, 5)) < 0.3
    assert auroc(doubts, wrong) == pytest.approx(roc_auc_score(wrong.ravel(), doubts.ravel()))
    with pytest.raises(InvalidArgumentError, match="wrong and right"):
        auroc([0.1, 0.2], [True, True])
    with pytest.raises(UnpairedRowsError):
        auroc([0.1], [True, False])


def test_what_cannot_be_known_is_refused() -> None:
    X, mapped, Y = planted(100, 0)
    with pytest.raises(UnsupportedOperationError, match="l2"):
        TranslationUncertainty.from_held_out(
            mapped, Y, X, reference=PairReference.fit(X, metric="l2"), metric="l2"
        )
    reference = PairReference.fit(X, metric="ip")
    with pytest.raises(TooFewPairsError, match="20"):
        TranslationUncertainty.from_held_out(
            mapped[:19], Y[:19], X[:19], reference=reference, metric="ip"
        )
    model = TranslationUncertainty.from_held_out(mapped, Y, X, reference=reference, metric="ip")
    with pytest.raises(InvalidArgumentError, match="deeper"):
        model.doubts(Y[:2], np.ones((2, 10)), np.ones((2, 10)))
    with pytest.raises(UnpairedRowsError, match="scores"):
        model.doubts(Y[:2], np.ones((2, 11)), np.ones((2, 12)))
    with pytest.raises(UnpairedRowsError, match="spread"):
        model.standard_error(Y[:2], np.ones((3, 12)))
