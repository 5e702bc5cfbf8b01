"""Reduced-rank ridge against its definition, and where fewer directions are better."""

from __future__ import annotations

import numpy as np
import pytest

from vecstore_translators import LowRank, Ridge
from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.testing import planted_pairs


@pytest.mark.parametrize("dims", [(12, 12), (9, 6), (6, 9)])
def test_the_map_is_the_best_of_its_rank_under_the_penalised_loss(dims: tuple[int, int]) -> None:
    """Among maps of rank r it minimises |XW - Y|^2 + alpha |W|^2: the SVD of augmented data."""
    pairs = planted_pairs("affine", source_dim=dims[0], target_dim=dims[1], noise=0.5)
    X, Y = (a - a.mean(0) for a in (pairs.X.astype(float), pairs.Y.astype(float)))
    alpha = 0.05 * np.sum(X**2) / dims[0]
    augmented = np.vstack([X, np.sqrt(alpha) * np.eye(dims[0])])
    ridge = np.linalg.solve(X.T @ X + alpha * np.eye(dims[0]), X.T @ Y)
    _, _, right = np.linalg.svd(augmented @ ridge, full_matrices=False)
    rank = min(dims) // 2
    expected = ridge @ right[:rank].T @ right[:rank]
    fitted = LowRank(ranks=(0.5,), alphas=(0.05,)).fit(pairs.X, pairs.Y)
    assert np.linalg.matrix_rank(fitted.weight, tol=1e-4) == rank
    np.testing.assert_allclose(fitted.weight, expected, atol=1e-4)
    np.testing.assert_allclose(
        pairs.X.mean(0) @ fitted.weight + fitted.bias, pairs.Y.mean(0), atol=1e-4
    )


def test_full_rank_is_ridge() -> None:
    pairs = planted_pairs("affine", noise=0.5)
    full = LowRank(ranks=(1.0,), alphas=(0.05,)).fit(pairs.X, pairs.Y)
    ridge = Ridge(alphas=(0.05,)).fit(pairs.X, pairs.Y)
    np.testing.assert_allclose(full.weight, ridge.weight, atol=1e-5)


def test_fewer_directions_win_where_the_planted_map_has_few() -> None:
    rng = np.random.default_rng(0)
    planted = rng.normal(size=(30, 8)) @ rng.normal(size=(8, 16)) / 5
    X, Z = rng.normal(size=(120, 30)), rng.normal(size=(500, 30))
    Y = X @ planted + rng.normal(size=(120, 16))
    low = LowRank(ranks=(0.5,), alphas=(0.05,)).fit(X, Y).translate(Z) - Z @ planted
    ridge = Ridge(alphas=(0.05,)).fit(X, Y).translate(Z) - Z @ planted
    assert np.mean(low**2) < 0.8 * np.mean(ridge**2)


def test_rank_below_half_is_refused() -> None:
    for ranks in ((0.4,), (1.2,), ()):
        with pytest.raises(InvalidArgumentError, match="ranks"):
            LowRank(ranks=ranks)
