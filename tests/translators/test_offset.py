"""The offset of a route: translated scores meet native ones on one scale."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore_translators import Ridge, TranslatorFamily, score_offset, unit_rows
from vecstore_translators.errors import TooFewPairsError
from vecstore_translators.offset import learned_offset

RIDGE = Ridge(alphas=(1e-2,))


def planted(noise, *, n=800, d=24, seed=0):
    """Pairs whose target is only partly known from the source, and queries near some targets."""
    rng = np.random.default_rng(seed)
    Y = unit_rows(rng.normal(size=(n, d)).astype(np.float32))
    X = unit_rows((Y + noise * rng.normal(size=(n, d)) / np.sqrt(d)).astype(np.float32))
    asked = rng.choice(n, 200, replace=False)
    queries = unit_rows(
        (Y[asked] + 0.5 * rng.normal(size=(200, d)) / np.sqrt(d)).astype(np.float32)
    )
    return X, Y, queries, asked


def test_an_exact_map_needs_no_offset():
    _, Y, queries, _ = planted(0.0)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))[0]
    assert score_offset(RIDGE, Y @ rotation, Y, queries) == pytest.approx(0, abs=2e-3)


def test_the_worse_the_map_the_larger_the_offset():
    offsets = [
        score_offset(RIDGE, X, Y, queries)
        for X, Y, queries, _ in (planted(noise) for noise in (0.1, 0.5, 1.0))
    ]
    assert 0 < offsets[0] < offsets[1] < offsets[2]


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.9])
def test_what_was_asked_for_ranks_higher_in_a_mixed_collection(coverage):
    X, Y, queries, asked = planted(1.0, n=3000)
    pairs = np.setdiff1d(np.arange(3000), asked)[:1000]
    translated = unit_rows(RIDGE.fit(X[pairs], Y[pairs]).translate(X))
    offset = score_offset(RIDGE, X[pairs], Y[pairs], queries)
    covered = np.random.default_rng(2).random(3000) < coverage

    def reciprocal_rank(added):
        scores = np.where(covered, queries @ Y.T, queries @ translated.T + added)
        right = scores[np.arange(len(asked)), asked][:, None]
        return float((1 / (1 + (scores > right).sum(axis=1))).mean())

    assert reciprocal_rank(offset) > reciprocal_rank(0.0)


def test_few_queries_are_refused():
    X, Y, queries, _ = planted(0.5)
    with pytest.raises(TooFewPairsError, match="at least 20 real queries, got 7"):
        score_offset(RIDGE, X, Y, queries[:7])


def test_documents_that_ask_find_a_part_of_what_queries_find():
    X, Y, queries, _ = planted(1.0, n=2000)
    asked, unasked = score_offset(RIDGE, X, Y, queries), score_offset(RIDGE, X, Y)
    assert 0 < unasked < asked


def test_no_fit_has_seen_a_document_that_asks():
    X, Y, _, _ = planted(1.0, n=200)
    seen = set()

    class Watched(TranslatorFamily):
        name, cost = "watched", 1.0

        def fit(self, X, Y, *, metric="cosine", seed=0):
            seen.update(map(bytes, np.ascontiguousarray(Y, dtype=np.float32)))
            return RIDGE.fit(X, Y, metric=metric, seed=seed)

    score_offset(Watched(), X, Y)
    assert len(seen) == 150


def test_an_exact_map_needs_none_by_documents_either():
    _, Y, _, _ = planted(0.0)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))[0]
    assert score_offset(RIDGE, Y @ rotation, Y) == pytest.approx(0, abs=2e-3)


def test_the_best_means_at_hand_are_taken():
    X, Y, queries, _ = planted(1.0)
    assert learned_offset(RIDGE, X, Y, queries) == score_offset(RIDGE, X, Y, queries)
    for too_few in (None, queries[:19]):
        assert learned_offset(RIDGE, X, Y, too_few) == score_offset(RIDGE, X, Y)
    assert learned_offset(RIDGE, X[:79], Y[:79], None) is None
    with pytest.raises(TooFewPairsError, match="at least 80 pairs"):
        score_offset(RIDGE, X[:79], Y[:79])
