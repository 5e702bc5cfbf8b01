"""The affine families against independent solvers, and where each one should win."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge as SklearnRidge

from vecstore_translators import (
    AffineTranslator,
    Identity,
    PairStatistics,
    Procrustes,
    Ridge,
    RidgeProcrustes,
)
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    NonFiniteError,
    TooFewPairsError,
    UnsupportedOperationError,
)
from vecstore_translators.testing import planted_pairs


def test_uncentered_procrustes_equals_scipy() -> None:
    pairs = planted_pairs("rotation", noise=0.3)
    expected, _ = orthogonal_procrustes(pairs.X.astype(float), pairs.Y.astype(float))
    fitted = Procrustes(center=False).fit(pairs.X, pairs.Y)
    np.testing.assert_allclose(fitted.weight, expected, atol=1e-5)
    assert not fitted.bias.any()


def test_centered_procrustes_equals_scipy_on_centered_pairs_and_maps_mean_to_mean() -> None:
    pairs = planted_pairs("affine", noise=0.3)
    X, Y = pairs.X.astype(float), pairs.Y.astype(float)
    expected, scale = orthogonal_procrustes(X - X.mean(0), Y - Y.mean(0))
    fitted = Procrustes().fit(X, Y)
    np.testing.assert_allclose(fitted.weight, expected, atol=1e-5)
    np.testing.assert_allclose(X.mean(0) @ fitted.weight + fitted.bias, Y.mean(0), atol=1e-5)
    scaled = Procrustes(scale=True).fit(X, Y)
    s = scale / np.sum((X - X.mean(0)) ** 2)
    np.testing.assert_allclose(scaled.weight, s * expected, atol=1e-5)


@pytest.mark.parametrize("dims", [(9, 5), (5, 9)])
def test_rectangular_procrustes_is_semi_orthogonal(dims: tuple[int, int]) -> None:
    pairs = planted_pairs("affine", source_dim=dims[0], target_dim=dims[1], noise=0.1)
    weight = Procrustes().fit(pairs.X, pairs.Y).weight
    gram = weight.T @ weight if dims[0] > dims[1] else weight @ weight.T
    np.testing.assert_allclose(gram, np.eye(min(dims)), atol=1e-5)


@pytest.mark.parametrize("dims", [(12, 12), (9, 5), (5, 9)])
@pytest.mark.parametrize("n", [8, 300])
def test_ridge_equals_scikit_learn(n: int, dims: tuple[int, int]) -> None:
    pairs = planted_pairs("affine", source_dim=dims[0], target_dim=dims[1], noise=0.3)
    X, Y = pairs.X[:n].astype(float), pairs.Y[:n].astype(float)
    relative = 0.05
    alpha = relative * np.sum((X - X.mean(0)) ** 2) / dims[0]
    oracle = SklearnRidge(alpha=alpha).fit(X, Y)
    statistics = PairStatistics.from_arrays(X, Y)
    fitted = Ridge(alphas=(relative,)).fit_statistics(statistics)
    np.testing.assert_allclose(fitted.weight, oracle.coef_.T, atol=2e-5)
    np.testing.assert_allclose(fitted.bias, oracle.intercept_, atol=2e-5)


def test_unregularised_affine_fit_equals_optimal_transport_linear_regression() -> None:
    """Between Gaussian clouds joined by a symmetric positive map, both find that map."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(2000, 4))
    root = rng.normal(size=(4, 4))
    planted = root @ root.T + np.eye(4)
    Y = X @ planted + 1.0
    weight, bias = ot.gaussian.empirical_bures_wasserstein_mapping(X, Y, reg=1e-9)
    fitted = Ridge(alphas=(0.0,)).fit(X, Y)
    np.testing.assert_allclose(fitted.weight, weight, atol=1e-4)
    np.testing.assert_allclose(fitted.bias, bias.ravel(), atol=1e-4)


def test_ridge_procrustes_solves_its_normal_equations() -> None:
    pairs = planted_pairs("affine", noise=0.3)
    X, Y = (a - a.mean(0) for a in (pairs.X.astype(float), pairs.Y.astype(float)))
    rotation, trace = orthogonal_procrustes(X, Y)
    prior = rotation * trace / np.sum(X**2)
    alpha = 0.7 * np.sum(X**2) / 12
    expected = np.linalg.solve(X.T @ X + alpha * np.eye(12), X.T @ Y + alpha * prior)
    fitted = RidgeProcrustes(alphas=(0.7,)).fit(pairs.X, pairs.Y)
    np.testing.assert_allclose(fitted.weight, expected, atol=1e-4)


def test_ridge_procrustes_runs_from_ridge_to_scaled_procrustes() -> None:
    pairs = planted_pairs("affine", noise=0.3)
    loose = RidgeProcrustes(alphas=(1e-8,)).fit(pairs.X, pairs.Y)
    ridge = Ridge(alphas=(1e-8,)).fit(pairs.X, pairs.Y)
    np.testing.assert_allclose(loose.weight, ridge.weight, atol=1e-4)
    tight = RidgeProcrustes(alphas=(1e8,)).fit(pairs.X, pairs.Y)
    rotation = Procrustes(scale=True).fit(pairs.X, pairs.Y)
    np.testing.assert_allclose(tight.weight, rotation.weight, atol=1e-4)


def test_shrinking_towards_the_rotation_pays_with_few_pairs() -> None:
    pairs = planted_pairs("rotation", n=20, source_dim=40, target_dim=40, noise=0.02)
    errors = {}
    for family in (Ridge(), RidgeProcrustes()):
        moved = family.fit(pairs.X, pairs.Y).translate(pairs.held_out_x)
        errors[family.name] = np.mean((moved - pairs.held_out_y) ** 2)
    assert errors["ridge_procrustes"] < errors["ridge"]


def test_alpha_by_statistics_is_the_least_exact_held_out_error() -> None:
    pairs = planted_pairs("affine", n=60, noise=1.0)
    blocks = [(pairs.X[i : i + 10], pairs.Y[i : i + 10]) for i in range(0, 60, 10)]
    folds = [PairStatistics.from_blocks([block]) for block in blocks]
    total = sum(folds[1:], start=folds[0])
    alphas = (1e-3, 0.1, 1.0, 10.0, 100.0)
    errors = []
    for alpha in alphas:
        squared = 0.0
        for held_out in range(6):
            X = np.concatenate([b[0] for i, b in enumerate(blocks) if i != held_out])
            Y = np.concatenate([b[1] for i, b in enumerate(blocks) if i != held_out])
            moved = Ridge(alphas=(alpha,)).fit(X, Y).translate(blocks[held_out][0])
            squared += float(np.sum((moved - blocks[held_out][1]) ** 2))
        errors.append(squared)
    chosen = Ridge(alphas=alphas).fit_statistics(total, folds).hyperparameters["alpha"]
    assert chosen == alphas[int(np.argmin(errors))]
    assert chosen not in (alphas[0], alphas[-1])


def test_a_choice_without_folds_or_with_wrong_folds_is_refused() -> None:
    pairs = planted_pairs()
    statistics = PairStatistics.from_arrays(pairs.X, pairs.Y)
    with pytest.raises(InvalidArgumentError, match="folds"):
        Ridge().fit_statistics(statistics)
    with pytest.raises(InvalidArgumentError, match="sum"):
        Ridge().fit_statistics(statistics, (statistics, statistics))


def test_unregularised_fit_with_too_few_pairs_is_refused() -> None:
    pairs = planted_pairs(n=12)
    with pytest.raises(TooFewPairsError, match="unregularised"):
        Ridge(alphas=(0.0,)).fit(pairs.X, pairs.Y)


def test_identity_never_pads_or_cuts() -> None:
    pairs = planted_pairs(source_dim=5, target_dim=6)
    with pytest.raises(DimensionMismatchError, match="5 and 6"):
        Identity().fit(pairs.X, pairs.Y)


def test_only_similarities_have_an_inverse() -> None:
    pairs = planted_pairs("rotation", noise=0.1)
    assert Procrustes().fit(pairs.X, pairs.Y).invertible
    assert Procrustes(scale=True).fit(pairs.X, pairs.Y).invertible
    ridge = Ridge().fit(pairs.X, pairs.Y)
    assert not ridge.invertible
    with pytest.raises(UnsupportedOperationError, match="other"):
        ridge.inverse()
    assert not AffineTranslator(np.zeros((3, 3)), np.zeros(3)).invertible


def test_affine_parameters_are_checked_copied_and_frozen() -> None:
    weight, bias = np.eye(3), np.zeros(3)
    translator = AffineTranslator(weight, bias)
    weight[:] = 5
    assert translator.weight[0, 0] == 1
    with pytest.raises(DimensionMismatchError):
        AffineTranslator(weight, np.zeros(2))
    with pytest.raises(NonFiniteError):
        AffineTranslator(np.full((2, 2), np.nan), np.zeros(2))
    with pytest.raises(NonFiniteError):
        AffineTranslator(np.full((2, 2), 1e300), np.zeros(2))
    with pytest.raises(InvalidArgumentError):
        AffineTranslator(weight, bias, fitted_by=3)  # type: ignore[arg-type]
