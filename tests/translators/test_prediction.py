"""Predicted quality against what a planted corpus then reaches."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vecstore_translators import Procrustes, Ridge
from vecstore_translators.errors import (
    InvalidArgumentError,
    TooFewPairsError,
    UnsupportedOperationError,
)
from vecstore_translators.evaluation import overlap_at_k, top_k
from vecstore_translators.prediction import predict_quality
from vecstore_translators.validation import unit_rows

FAMILY = Ridge(alphas=(0.03,))


def models(
    seed: int, noise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Vectors of 6,300 items by an old and a new model, and queries by the new one."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(6300, 20)) * np.geomspace(1, 0.3, 20)
    X = latent @ rng.normal(size=(20, 24)) + noise * rng.normal(size=(6300, 24))
    mix = rng.normal(size=(20, 20))
    asked = rng.normal(size=(200, 20)) * np.geomspace(1, 0.3, 20)
    return X, latent @ mix, asked @ mix


def achieved(X, Y, asked, pairs: slice, corpus: slice) -> float:
    translated = FAMILY.fit(X[pairs], Y[pairs]).translate(X[corpus])
    ranking, _ = top_k(asked, translated, 10)
    native, _ = top_k(asked, Y[corpus], 10)
    return float(overlap_at_k(ranking, native).mean())


@pytest.mark.parametrize(("seed", "noise"), [(0, 0.5), (1, 1.0), (2, 2.0)])
def test_prediction_foresees_the_loss_from_a_small_pool_to_a_large_corpus(
    seed: int, noise: float
) -> None:
    X, Y, asked = models(seed, noise)
    pairs, corpus = slice(6000, 6300), slice(0, 6000)
    prediction = predict_quality(FAMILY, X[pairs], Y[pairs], X[corpus], queries=asked)
    reached = achieved(X, Y, asked, pairs, corpus)
    # The pool says something else altogether; the prediction closes most of the gap.
    gap = prediction.held_out - reached
    assert gap > 0.15
    assert abs(prediction.overlap.mean - reached) < 0.6 * gap
    assert prediction.overlap.low < reached < prediction.overlap.high
    assert (prediction.n_pool, prediction.n_documents, prediction.n_queries) == (300, 6000, 200)
    assert "6,000 documents" in str(prediction)


def test_documents_ask_where_no_queries_are_given() -> None:
    X, Y, _ = models(0, 1.0)
    pairs, corpus = slice(5800, 6300), slice(0, 5800)
    prediction = predict_quality(FAMILY, X[pairs], Y[pairs], X[corpus])
    reached = achieved(X, Y, Y[pairs], pairs, corpus)
    assert prediction.overlap.low < reached < prediction.overlap.high
    assert prediction.n_queries == 500


def test_a_perfect_translation_is_predicted_to_be_perfect() -> None:
    rng = np.random.default_rng(0)
    X = unit_rows(rng.normal(size=(900, 10)))
    rotation, _ = np.linalg.qr(rng.normal(size=(10, 10)))
    prediction = predict_quality(Procrustes(), X[:200], X[:200] @ rotation, X[200:])
    assert prediction.overlap.mean > 0.99


def test_the_interval_is_wider_the_farther_it_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y, asked = models(0, 1.0)
    monkeypatch.setattr("vecstore_translators.prediction._BLOCK_ROWS", 700)
    near, far = (
        predict_quality(FAMILY, X[:300], Y[:300], X[300:end], queries=asked, confidence=c)
        for end, c in ((700, 0.95), (6000, 0.95))
    )
    sure = predict_quality(FAMILY, X[:300], Y[:300], X[300:700], queries=asked, confidence=0.5)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    widths = [logit(p.overlap.high) - logit(p.overlap.low) for p in (sure, near, far)]
    assert widths == sorted(widths)


def test_blocks_do_not_change_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y, asked = models(0, 1.0)
    whole = predict_quality(FAMILY, X[:200], Y[:200], X[200:2000], queries=asked[:50])
    monkeypatch.setattr("vecstore_translators.prediction._BLOCK_ROWS", 333)
    blocked = predict_quality(FAMILY, X[:200], Y[:200], X[200:2000], queries=asked[:50])
    assert blocked.overlap.mean == pytest.approx(whole.overlap.mean, abs=1e-5)


def test_what_cannot_be_predicted_is_refused() -> None:
    X, Y, asked = models(0, 1.0)
    with pytest.raises(TooFewPairsError, match="22"):
        predict_quality(FAMILY, X[:21], Y[:21], X[100:300])
    with pytest.raises(InvalidArgumentError, match="documents"):
        predict_quality(FAMILY, X[:60], Y[:60], X[100:110])
    with pytest.raises(InvalidArgumentError, match="queries"):
        predict_quality(FAMILY, X[:60], Y[:60], X[100:200], queries=asked[:0])
    with pytest.raises(InvalidArgumentError, match="confidence"):
        predict_quality(FAMILY, X[:60], Y[:60], X[100:200], confidence=1.0)
    with pytest.raises(UnsupportedOperationError, match="l2"):
        predict_quality(FAMILY, X[:60], Y[:60], X[100:200], metric="l2")
