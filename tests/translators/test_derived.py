"""Prefixes, powers, sign codes and CSLS against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore_translators import Powered, Ridge, SignedPower, Translator, Truncation, unit_rows
from vecstore_translators.binary import hamming_top_k, shortlist_top_k, sign_codes
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
)
from vecstore_translators.evaluation import recall_at_k, top_k
from vecstore_translators.scoring import csls_top_k, hubness
from vecstore_translators.testing import TRANSLATOR_CHECKS, planted_pairs


@pytest.mark.parametrize("check", TRANSLATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "translator",
    [Truncation(9, 4), Truncation(5, 5), Truncation(9, 4, renormalise=False), SignedPower(7, 0.5)],
    ids=repr,
)
def test_translators_without_a_fit_keep_the_law(
    translator: Translator, check: Callable[[Translator], None]
) -> None:
    check(translator)


def test_a_truncated_vector_is_its_unit_prefix_and_truncations_compose() -> None:
    X = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)
    cut = Truncation(12, 5).translate(X)
    np.testing.assert_allclose(cut, unit_rows(X[:, :5]), atol=1e-6)
    twice = Truncation(8, 5).translate(Truncation(12, 8).translate(X))
    np.testing.assert_allclose(twice, cut, atol=1e-6)
    assert not Truncation(12, 5).translate(np.zeros((1, 12))).any()
    with pytest.raises(DimensionMismatchError, match="at most"):
        Truncation(5, 6)


def test_the_power_that_was_planted_is_found() -> None:
    """Sources are signed squares of what an affine map would take."""
    pairs = planted_pairs("affine", n=400, noise=0.02)
    X, Z = (np.sign(a) * a**2 for a in (pairs.X, pairs.held_out_x))
    tuned = Powered(exponents=(0.5, 0.75, 1.0)).tuned(X, pairs.Y)
    assert tuned.exponents == (0.5,)
    errors = [
        np.mean((family.fit(X, pairs.Y).translate(Z) - pairs.held_out_y) ** 2)
        for family in (Powered(), Ridge())
    ]
    assert errors[0] < errors[1] / 10
    for wrong in ((), (0.0,), (-1.0,)):
        with pytest.raises(InvalidArgumentError, match="exponent"):
            Powered(exponents=wrong)


@given(st.integers(1, 130), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_hamming_ranking_equals_counting_signs(dim: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    documents, queries = rng.normal(size=(n, dim)), rng.normal(size=(3, dim))
    centre = rng.normal(size=dim) / 4
    codes = sign_codes(documents, centre=centre)
    rows, distances = hamming_top_k(sign_codes(queries, centre=centre), codes, 5)
    expected = ((queries > centre)[:, np.newaxis] != (documents > centre)).sum(axis=2)
    order = np.argsort(expected, axis=1, kind="stable")[:, :5]
    assert np.array_equal(rows, order)
    assert np.array_equal(distances, np.take_along_axis(expected, order, axis=1))


def test_a_shortlist_converges_to_exact_search_with_depth() -> None:
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(800, 64)) + 0.7
    queries = documents[:50] + 0.5 * rng.normal(size=(50, 64))
    centre = documents.mean(axis=0)
    codes = sign_codes(documents, centre=centre)
    exact, scores = top_k(queries, documents, 10)
    recalls = []
    for depth in (20, 200, 800):
        rows, own = shortlist_top_k(queries, documents, codes, 10, depth=depth, centre=centre)
        recalls.append(recall_at_k(rows, exact).mean())
    assert recalls[0] < recalls[1] < recalls[2] == 1
    assert recalls[1] > 0.9
    assert np.array_equal(rows, exact)
    np.testing.assert_allclose(own, scores, atol=1e-5)


def test_csls_equals_its_definition_and_demotes_a_hub() -> None:
    rng = np.random.default_rng(1)
    documents, queries = unit_rows(rng.normal(size=(40, 6))), unit_rows(rng.normal(size=(30, 6)))
    cosine = queries @ documents.T
    r = np.sort(cosine, axis=0)[-10:].mean(axis=0)
    np.testing.assert_allclose(hubness(documents, queries), r, atol=1e-6)
    rows, scores = csls_top_k(queries, documents, 5, document_hubness=r)
    expected = 2 * cosine - r
    assert np.array_equal(rows, np.argsort(-expected, axis=1, kind="stable")[:, :5])
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :5], atol=1e-5)
    plain, _ = csls_top_k(queries, documents, 5, document_hubness=r, weight=0.0)
    assert np.array_equal(plain, top_k(queries, documents, 5)[0])
    hub = np.vstack([documents, queries.mean(axis=0)])
    with_hub = hubness(hub, queries)
    cos_rank = np.count_nonzero(top_k(queries, hub, 5)[0] == 40)
    csls_rank = np.count_nonzero(csls_top_k(queries, hub, 5, document_hubness=with_hub)[0] == 40)
    assert csls_rank <= cos_rank


def test_wrong_codes_are_refused() -> None:
    codes = sign_codes(np.ones((3, 70)))
    assert codes.shape == (3, 2)
    with pytest.raises(DimensionMismatchError):
        hamming_top_k(codes, codes[:, :1], 2)
    with pytest.raises(InvalidVectorsError, match="sign_codes"):
        hamming_top_k(codes.astype(np.int64), codes, 2)
    with pytest.raises(InvalidVectorsError, match="one per document"):
        shortlist_top_k(np.ones((1, 70)), np.ones((4, 70)), codes, 2)
    with pytest.raises(DimensionMismatchError, match="centre"):
        sign_codes(np.ones((3, 70)), centre=np.ones(3))
    with pytest.raises(DimensionMismatchError, match="hubness"):
        csls_top_k(np.ones((1, 2)), np.ones((4, 2)), 2, document_hubness=np.ones(3))
