"""SpaceSignature: a planted Gaussian is found, and what moves vectors moves their density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage

from vecstore_translators.errors import (
    DimensionMismatchError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
)
from vecstore_translators.signature import (
    MIN_ROWS,
    SpaceSignature,
    _held_out,
    _inverse_factor,
    _shrinkage,
    median,
)
from vecstore_translators.validation import unit_rows

DIM = 24


def planted(rows: int, *, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Return vectors of a space with a mean and with preferred directions."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, dim)) * np.linspace(1, 0.1, dim) + 0.3).astype(np.float32)


def rotation(dim: int = DIM) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(9).normal(size=(dim, dim)))[0]


def test_density_is_that_of_the_gaussian_with_the_shrunk_moments() -> None:
    sample, asked = planted(400), planted(50, seed=1)
    signature = SpaceSignature.fit(sample)
    rows = unit_rows(sample)[~_held_out(np.arange(400))].astype(np.float64)
    centred = rows - rows.mean(axis=0)
    covariance = centred.T @ centred / len(rows)
    shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
    spherical = np.trace(covariance) / DIM * np.eye(DIM)
    oracle = multivariate_normal(
        rows.mean(axis=0), (1 - shrinkage) * covariance + shrinkage * spherical
    ).logpdf(unit_rows(asked))
    found = DIM * signature.log_density(asked) - DIM / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(found, oracle, atol=0.05)


@pytest.mark.parametrize("rows", [40, 400])
def test_shrinkage_is_ledoit_and_wolfs(rows: int) -> None:
    centred = planted(rows) - planted(rows).mean(axis=0)
    covariance = (centred.T @ centred / rows).astype(np.float64)
    oracle = max(ledoit_wolf_shrinkage(centred, assume_centered=True), 1e-3)
    assert _shrinkage(centred, covariance) == pytest.approx(oracle, rel=1e-3)


@pytest.mark.parametrize("rows", [MIN_ROWS, 60, 1000])
def test_new_vectors_of_the_space_fit_as_held_out_ones_did(rows: int) -> None:
    signature = SpaceSignature.fit(planted(rows))
    lacks = [
        signature.lack_of_fit(signature.log_density(planted(300, seed=seed)))
        for seed in range(1, 9)
    ]
    # The error of a mean over the sample is in units of the spread of one vector.
    assert abs(np.mean(lacks)) < 4 / np.sqrt(rows) + 0.05


@pytest.mark.parametrize(
    "move",
    [
        lambda X: X @ rotation(),
        lambda X: X[:, ::-1],
        lambda X: X[:, np.random.default_rng(3).permutation(DIM)],
        lambda X: -X,
        lambda X: np.random.default_rng(3).normal(size=X.shape),
    ],
    ids=["rotation", "reversal", "permutation", "sign", "random"],
)
def test_what_keeps_lengths_and_angles_but_not_the_basis_is_seen(move) -> None:
    signature = SpaceSignature.fit(planted(500))
    moved = signature.log_density(move(planted(200, seed=1)))
    assert signature.lack_of_fit(moved) > 2.5
    assert abs(signature.lack_of_fit(signature.log_density(planted(200, seed=1)))) < 0.3


def test_scale_and_precision_change_nothing_but_the_length() -> None:
    sample = planted(300)
    one, ten = SpaceSignature.fit(sample), SpaceSignature.fit(10 * sample)
    half = SpaceSignature.fit(sample.astype(np.float16))
    asked = planted(50, seed=1)
    for other in (ten, half):
        np.testing.assert_allclose(other.log_density(asked), one.log_density(asked), atol=5e-3)
    assert ten.length == pytest.approx(one.length + np.log(10))
    assert ten.length_spread == pytest.approx(one.length_spread, abs=1e-5)


def test_structure_is_nil_for_random_directions_and_grows_with_preference() -> None:
    rng = np.random.default_rng(0)
    none = SpaceSignature.fit(rng.normal(size=(500, DIM)))
    assert abs(none.structure) < 0.05
    assert SpaceSignature.fit(planted(500)).structure > 0.3


def test_wide_vectors_are_looked_at_in_256_components() -> None:
    wide = planted(100, dim=1000)
    signature = SpaceSignature.fit(wide)
    assert signature.whitening.shape == (256, 256)
    assert signature.components[[0, -1]].tolist() == [0, 999]
    asked = planted(100, seed=1, dim=1000)
    own, moved = signature.log_density(asked), signature.log_density(asked[:, ::-1])
    assert abs(signature.lack_of_fit(own)) < 0.5
    assert signature.lack_of_fit(moved) > 1


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8, 1000, 1 << 20])
def test_about_a_quarter_of_the_items_is_held_out_the_same_ones_for_everybody(step: int) -> None:
    items = step * np.arange(800)
    held = _held_out(items)
    assert 0.15 < held.mean() < 0.35
    order = np.random.default_rng(0).permutation(800)[:300]
    np.testing.assert_array_equal(_held_out(items[order]), held[order])
    sample = planted(800)
    signature = SpaceSignature.fit(sample[order], items=items[order])
    kept = sample[order][held[order]][:256]
    np.testing.assert_allclose(signature.held_out, signature.directions(kept), atol=1e-6)
    np.testing.assert_array_equal(signature.held_out_density, signature.log_density(kept))


def test_the_same_vectors_make_the_same_signature_and_it_cannot_be_changed() -> None:
    one, again = SpaceSignature.fit(planted(100)), SpaceSignature.fit(planted(100))
    np.testing.assert_array_equal(one.whitening, again.whitening)
    np.testing.assert_array_equal(one.held_out_density, again.held_out_density)
    with pytest.raises(ValueError, match="read-only"):
        one.mean[0] = 1


def test_a_space_of_one_point_or_of_constant_components_has_a_signature() -> None:
    point = np.tile(planted(1), (50, 1))
    signature = SpaceSignature.fit(point)
    assert np.isfinite(signature.log_density(planted(10))).all()
    assert signature.lack_of_fit(signature.log_density(point)) < 0.1
    assert signature.lack_of_fit(signature.log_density(planted(10, seed=1))) > 5


def test_what_cannot_be_learned_from_or_asked_is_refused_by_name() -> None:
    with pytest.raises(TooFewPairsError, match="at least 32 vectors"):
        SpaceSignature.fit(planted(MIN_ROWS - 1))
    with pytest.raises(NonFiniteError):
        SpaceSignature.fit(np.full((50, 4), np.nan, dtype=np.float32))
    with pytest.raises(UnpairedRowsError, match="one item for each of 50"):
        SpaceSignature.fit(planted(50), items=np.arange(49))
    with pytest.raises(NonFiniteError, match="zero vector"):
        SpaceSignature.fit(np.zeros((50, 4), dtype=np.float32))
    with pytest.raises(DimensionMismatchError):
        SpaceSignature.fit(planted(50)).log_density(planted(5, dim=3))


@pytest.mark.parametrize("size", [1, 32, 33, 64, 101, 256])
def test_the_inverse_factor_is_lapacks(size):
    sample = np.random.default_rng(size).standard_normal((2 * size, size))
    matrix = sample.T @ sample + np.eye(size)
    expected = np.linalg.inv(np.linalg.cholesky(matrix))
    np.testing.assert_allclose(_inverse_factor(matrix), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_median_is_numpys(count):
    values = np.random.default_rng(count).standard_normal(count)
    assert median(values) == np.median(values)
