"""Distance to the pairs against brute force; drift that was planted, and none where none is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import betabinom, mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from vecstore_translators.drift import _beta_binomial_tail, measure_drift
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    NonFiniteError,
    TooFewPairsError,
)
from vecstore_translators.reference import PairReference
from vecstore_translators.validation import Metric


def domain(n: int, seed: int, shift: float = 0.0) -> NDArray[np.float32]:
    """Vectors of a low-dimensional domain; `shift` moves them towards another."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(99).normal(size=(6, 24))
    other = np.random.default_rng(98).normal(size=24)
    noise = 0.3 * rng.normal(size=(n, 24))
    return (rng.normal(size=(n, 6)) @ basis + noise + shift * other).astype(np.float32)


@pytest.mark.parametrize(("metric", "name"), [("cosine", "cosine"), ("l2", "euclidean")])
def test_distances_equal_scikit_learn(metric: Metric, name: str) -> None:
    pairs, batch = domain(300, 0), domain(90, 1)
    reference = PairReference.fit(pairs, metric=metric, neighbours=4)
    tree = NearestNeighbors(n_neighbors=4, metric=name, algorithm="brute").fit(pairs)
    expected = tree.kneighbors(batch)[0].mean(axis=1)
    np.testing.assert_allclose(reference.distances(batch), expected, rtol=1e-3, atol=1e-5)
    # Without a query, scikit-learn leaves each vector out of its own neighbours.
    own = tree.kneighbors()[0].mean(axis=1)
    np.testing.assert_allclose(reference.own_distances, own, rtol=1e-3, atol=1e-5)


def test_distances_are_the_same_in_blocks_and_for_stored_types(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = domain(90, 1).astype(np.float16)
    reference = PairReference.fit(domain(300, 0))
    whole = reference.distances(batch)
    monkeypatch.setattr("vecstore_translators.reference._BLOCK_SCORES", 300 * 7)
    np.testing.assert_allclose(reference.distances(batch.astype(np.float64)), whole, atol=1e-6)


def test_the_sample_of_pairs_is_bounded_and_seeded() -> None:
    pairs = domain(500, 0)
    reference = PairReference.fit(pairs, size=100, seed=3)
    assert reference.vectors.shape == (100, 24)
    assert np.array_equal(PairReference.fit(pairs, size=100, seed=3).vectors, reference.vectors)
    assert not reference.vectors.flags.writeable


def test_duplicates_lie_at_distance_zero() -> None:
    pairs = np.repeat(domain(10, 0), 8, axis=0)
    for metric in ("cosine", "l2"):
        reference = PairReference.fit(pairs, metric=metric)
        assert reference.own_distances.min() >= 0
        assert reference.own_distances.max() < 0.02 * np.linalg.norm(pairs, axis=1).max()


@pytest.mark.parametrize("n", [1, 7, 400])
def test_tail_equals_scipy(n: int) -> None:
    for count in {0, 1, n // 3, n}:
        expected = betabinom(n, 12, 240).pmf(np.arange(count, n + 1)).sum()
        assert _beta_binomial_tail(count, n, 12, 240) == pytest.approx(expected, rel=1e-6)


def test_batches_of_the_same_domain_alarm_as_rarely_as_promised() -> None:
    reference = PairReference.fit(domain(400, 0))
    reports = [measure_drift(reference, domain(100, seed)) for seed in range(1, 81)]
    assert sum(report.drifted for report in reports) == 0
    # The p-value is itself calibrated over draws of the pairs too.
    small = [
        measure_drift(PairReference.fit(domain(120, 2 * s)), domain(80, 2 * s + 1)).p_value < 0.1
        for s in range(200, 300)
    ]
    assert np.mean(small) < 0.18


def test_a_planted_domain_is_caught_and_more_surely_the_farther_it_is() -> None:
    reference = PairReference.fit(domain(400, 0))
    reports = [measure_drift(reference, domain(200, 7, shift)) for shift in (0.0, 0.5, 1.0, 3.0)]
    assert [report.drifted for report in reports][0::3] == [False, True]
    assert reports[2].drifted
    shares = [report.share_far for report in reports]
    assert shares == sorted(shares)
    assert reports[3].separation > 0.99
    assert "another domain" in str(reports[3])
    assert "no sign" in str(reports[0])


def test_separation_is_the_mann_whitney_statistic() -> None:
    reference, batch = PairReference.fit(domain(300, 0)), domain(80, 5, 0.4)
    report = measure_drift(reference, batch)
    u = mannwhitneyu(reference.distances(batch), reference.own_distances).statistic
    assert report.separation == pytest.approx(u / (80 * 300), abs=1e-9)


def test_a_small_drift_of_a_large_batch_is_no_warning() -> None:
    reference = PairReference.fit(domain(2000, 0))
    report = measure_drift(reference, domain(20_000, 1, 0.12))
    assert report.n == 4096
    assert not report.drifted


def test_one_vector_never_warns_and_none_are_refused() -> None:
    reference = PairReference.fit(domain(300, 0))
    assert not measure_drift(reference, domain(1, 1, 50.0)).drifted
    with pytest.raises(InvalidArgumentError, match="at least one"):
        measure_drift(reference, domain(0, 1))


def test_bad_input_is_refused() -> None:
    with pytest.raises(TooFewPairsError):
        PairReference.fit(domain(5, 0))
    reference = PairReference.fit(domain(50, 0))
    with pytest.raises(DimensionMismatchError):
        reference.distances(np.ones((2, 3), dtype=np.float32))
    broken = domain(4, 0)
    broken[2, 0] = np.nan
    with pytest.raises(NonFiniteError, match="row 2"):
        reference.distances(broken)
