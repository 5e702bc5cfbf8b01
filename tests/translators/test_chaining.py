"""Chains of fits: planted hops are recovered, and losses add up to what the chain loses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vecstore_translators import Procrustes, Ridge
from vecstore_translators.affine import AffineTranslator
from vecstore_translators.chaining import fit_chain, measure_chain
from vecstore_translators.composition import identity
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    UnpairedRowsError,
)
from vecstore_translators.evaluation import overlap_at_k, top_k

FAMILIES = (Procrustes(), Ridge(alphas=(0.01,)))


def generations(noise: tuple[float, float]) -> list[NDArray[np.float64]]:
    """Three models of 10, 12 and 12 dimensions of the same 900 items, oldest first."""
    rng = np.random.default_rng(0)
    newest = rng.normal(size=(900, 12))
    middle = (newest + noise[1] * rng.normal(size=(900, 12))) @ np.linalg.qr(
        rng.normal(size=(12, 12))
    )[0]
    oldest = middle[:, :10] + noise[0] * rng.normal(size=(900, 10))
    return [oldest, middle, newest]


def test_chain_of_hops_with_disjoint_pairs_finds_the_planted_route() -> None:
    _, v2, v3 = generations((0.0, 0.0))
    v1 = v2 @ np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0]
    fit = fit_chain([(v1[:300], v2[:300]), (v2[300:600], v3[300:600])], families=FAMILIES)
    assert isinstance(fit.translator, AffineTranslator)
    assert len(fit.hops) == 2
    ranking, _ = top_k(v3[600:650], fit.translator.translate(v1[600:]), 10)
    native, _ = top_k(v3[600:650], v3[600:], 10)
    assert overlap_at_k(ranking, native).mean() > 0.9


def test_losses_of_the_hops_add_up_and_the_bad_hop_is_named() -> None:
    spaces = generations((0.1, 0.8))
    fit = fit_chain(
        [(spaces[0][:300], spaces[1][:300]), (spaces[1][300:600], spaces[2][300:600])],
        families=FAMILIES,
    )
    held_out = [space[600:] for space in spaces]
    loss = measure_chain([s.translator for s in fit.hops], held_out, spaces[2][600:700])
    assert sum(hop.mean for hop in loss.hops) == pytest.approx(1 - loss.overlap.mean)
    assert loss.hops[1].mean > loss.hops[0].mean > 0
    ranking, _ = top_k(spaces[2][600:700], fit.translator.translate(held_out[0]), 10)
    native, _ = top_k(spaces[2][600:700], held_out[2], 10)
    assert loss.overlap.mean == pytest.approx(overlap_at_k(ranking, native).mean(), abs=1e-3)


def test_a_chain_of_identities_loses_nothing() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4))
    loss = measure_chain([identity(4), identity(4)], [vectors] * 3, vectors[:10])
    assert loss.overlap.mean == 1
    assert [hop.mean for hop in loss.hops] == [0, 0]


def test_a_direct_fit_is_no_worse_than_the_chain_where_it_has_as_many_pairs() -> None:
    spaces = generations((0.5, 0.5))
    fit = fit_chain(
        [(spaces[0][:300], spaces[1][:300]), (spaces[1][300:600], spaces[2][300:600])],
        families=FAMILIES,
    )
    direct = Ridge(alphas=(0.01,)).fit(spaces[0][:300], spaces[2][:300])
    ends = [spaces[0][600:], spaces[2][600:]]
    chained = measure_chain([fit.translator], ends, spaces[2][600:700]).overlap
    assert measure_chain([direct], ends, spaces[2][600:700]).overlap.mean > chained.mean - 0.02


def test_hops_and_spaces_that_do_not_join_are_refused() -> None:
    v1, v2, v3 = (space[:60] for space in generations((0.1, 0.1)))
    with pytest.raises(InvalidArgumentError, match="at least one hop"):
        fit_chain([])
    with pytest.raises(DimensionMismatchError, match="next hop"):
        fit_chain([(v1, v2), (v1, v3)], families=FAMILIES)
    with pytest.raises(UnpairedRowsError, match="3 spaces for 2 hops"):
        measure_chain([identity(12), identity(12)], [v2, v3], v3)
    with pytest.raises(UnpairedRowsError, match="same items"):
        measure_chain([identity(12)], [v2, v3[:40]], v3)
