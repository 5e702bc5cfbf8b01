"""The kernel family against scikit-learn, its approximation against itself, and where it wins."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge

from vecstore_translators import Kernel, KernelTranslator, Ridge, select_translator
from vecstore_translators.affine import AffineTranslator
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.testing import planted_pairs


def curved_pairs(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return pairs joined by a smooth map that no affine one can follow."""
    planted = np.random.default_rng(99)
    inner, outer = planted.normal(size=(6, 30)), planted.normal(size=(30, 10)) / 5
    X = np.random.default_rng(seed).normal(size=(n, 6))
    return X.astype(np.float32), np.tanh(X @ inner / 2).dot(outer).astype(np.float32)


def test_the_fit_equals_scikit_learns_kernel_ridge_on_the_residual() -> None:
    X, Y = curved_pairs(300)
    Z, _ = curved_pairs(50, seed=1)
    fitted = Kernel(base=Ridge(alphas=(0.1,)), bandwidths=(0.7,), penalties=(0.3,)).fit(X, Y)
    assert np.array_equal(fitted.landmarks, X)
    ridge = Ridge(alphas=(0.1,)).fit(X, Y)
    oracle = KernelRidge(kernel="rbf", alpha=0.3, gamma=fitted.gamma)
    oracle.fit(X.astype(float), (Y - ridge.translate(X)).astype(float))
    expected = ridge.translate(Z) + oracle.predict(Z.astype(float))
    np.testing.assert_allclose(fitted.translate(Z), expected, atol=1e-4)


def test_the_bandwidth_is_relative_to_the_median_distance() -> None:
    X, Y = curved_pairs(400)
    family = Kernel(base=Ridge(alphas=(0.1,)), bandwidths=(1.0,), penalties=(0.3,))
    squared = np.sum((X[:, np.newaxis] - X) ** 2, axis=2)
    median = np.median(squared[squared > 0])
    assert family.fit(X, Y).gamma == pytest.approx(1 / (2 * median), rel=1e-3)
    assert family.fit(3 * X, Y).gamma == pytest.approx(1 / (18 * median), rel=1e-3)


def test_landmarks_approach_the_exact_solution_at_bounded_size() -> None:
    X, Y = curved_pairs(1200)
    Z, truth = curved_pairs(300, seed=1)
    fixed = {"base": Ridge(alphas=(0.01,)), "bandwidths": (1.0,), "penalties": (0.1,)}
    exact = Kernel(**fixed).fit(X, Y)
    near = Kernel(**fixed, max_landmarks=1000).fit(X, Y)
    far = Kernel(**fixed, max_landmarks=40).fit(X, Y)
    assert [len(t.landmarks) for t in (exact, near, far)] == [1200, 500, 20]
    errors = [float(np.mean((t.translate(Z) - truth) ** 2)) for t in (exact, near, far)]
    assert errors[0] < errors[1] < 3 * errors[0]
    assert errors[1] < errors[2] / 2


def test_selection_takes_the_kernel_where_the_map_is_curved_and_not_where_it_is_affine() -> None:
    X, Y = curved_pairs(600)
    curved = select_translator(X, Y)
    assert curved.family.name == "kernel"
    ridge = next(c for c in curved.candidates if c.family.name == "ridge")
    assert ridge.behind_best > 3 * ridge.behind_best_error
    assert next(c for c in curved.candidates if c.family.name == "kernel").peak_bytes > 10**5
    flat = planted_pairs("affine", n=300, noise=0.1)
    assert select_translator(flat.X, flat.Y, metric="l2").family.name == "ridge"


def test_bad_hyperparameters_and_parts_are_refused() -> None:
    for wrong in ({"bandwidths": ()}, {"penalties": (0.0,)}, {"max_landmarks": 1}):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            Kernel(**wrong)
    base = AffineTranslator(np.eye(3), np.zeros(3))
    with pytest.raises(DimensionMismatchError):
        KernelTranslator(base, np.zeros((4, 3)), np.zeros((5, 3)), 1.0)
    with pytest.raises(InvalidArgumentError, match="gamma"):
        KernelTranslator(base, np.zeros((4, 3)), np.zeros((4, 3)), 0.0)
