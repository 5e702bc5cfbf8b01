"""Basis transformation: its laws, on planted pairs and on the dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecstore_translators import AffineTranslator, BasisTransformation, PairStatistics, Procrustes
from vecstore_translators.errors import (
    DimensionMismatchError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
)
from vecstore_translators.serialization import dump, load
from vecstore_translators.testing import planted_pairs

DIMS = [(7, 12), (12, 12), (1, 5)]


def gram(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(float) @ vectors.astype(float).T


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("dims", DIMS)
def test_rotation_is_orthonormal_and_new_inner_products_are_kept(dims, center) -> None:
    pairs = planted_pairs("affine", source_dim=dims[0], target_dim=dims[1], noise=0.5)
    basis = BasisTransformation.fit(pairs.X, pairs.Y, center=center)
    np.testing.assert_allclose(basis.new.weight @ basis.new.weight.T, np.eye(dims[1]), atol=1e-5)
    assert not basis.new.bias.any()
    np.testing.assert_allclose(
        gram(basis.new.translate(pairs.held_out_y)), gram(pairs.held_out_y), rtol=1e-5, atol=1e-4
    )
    back = basis.new.inverse().translate(basis.new.translate(pairs.held_out_y))
    np.testing.assert_allclose(back, pairs.held_out_y, atol=1e-4)


@pytest.mark.parametrize("dims", DIMS)
def test_old_vectors_are_zero_padded_and_with_centering_only_shifted(dims) -> None:
    pairs = planted_pairs("affine", source_dim=dims[0], target_dim=dims[1], noise=0.5)
    plain = BasisTransformation.fit(pairs.X, pairs.Y, center=False).old.translate(pairs.X)
    assert np.array_equal(plain[:, : dims[0]], pairs.X)
    assert not plain[:, dims[0] :].any()
    centered = BasisTransformation.fit(pairs.X, pairs.Y).old.translate(pairs.X)
    np.testing.assert_allclose(
        centered - plain, np.tile(centered[0] - plain[0], (400, 1)), atol=1e-5
    )


def test_a_planted_old_space_is_found_inside_the_new_one() -> None:
    """The old model sees a rotated part of the new one; nothing else agrees with it."""
    pairs = planted_pairs("rotation", source_dim=7, target_dim=12)
    outside = np.linalg.svd(np.linalg.lstsq(pairs.X, pairs.Y, rcond=None)[0])[2][7:]
    rest = 0.3 * np.random.default_rng(5).normal(size=(400, 5))
    known = np.hstack([pairs.X, np.ones((400, 1))])
    rest -= known @ np.linalg.lstsq(known, rest, rcond=None)[0]
    Y = pairs.Y + rest @ outside
    for center in (True, False):
        basis = BasisTransformation.fit(pairs.X, Y, center=center)
        together = basis.new.translate(Y)
        np.testing.assert_allclose(together[:, :7], pairs.X, atol=5e-3)
        old = basis.old.translate(pairs.held_out_x)
        np.testing.assert_allclose(old[:, :7], pairs.held_out_x, atol=5e-3)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("dims", DIMS)
def test_old_then_back_to_the_new_space_is_the_procrustes_map(dims, center) -> None:
    pairs = planted_pairs("affine", source_dim=dims[0], target_dim=dims[1], noise=0.5)
    basis = BasisTransformation.fit(pairs.X, pairs.Y, center=center)
    expected = Procrustes(center=center).fit(pairs.X, pairs.Y).translate(pairs.held_out_x)
    through = basis.new.inverse().translate(basis.old.translate(pairs.held_out_x))
    np.testing.assert_allclose(through, expected, atol=1e-4)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_other_rotation_brings_the_pairs_closer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, 5))
    basis = BasisTransformation.fit(X, Y, center=False)
    old = basis.old.translate(X)
    best = np.sum((basis.new.translate(Y) - old) ** 2)
    other = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    step = np.linalg.qr(basis.new.weight + 0.05 * rng.normal(size=(5, 5)))[0]
    step *= np.sign(np.sum(step * basis.new.weight, axis=0))
    for rotation in (other, step):
        assert best <= np.sum((Y @ rotation - old) ** 2) + 1e-3


def test_remaining_axes_come_widest_first_and_fits_repeat() -> None:
    pairs = planted_pairs("affine", source_dim=4, target_dim=12, noise=0.5)
    first = BasisTransformation.fit(pairs.X, pairs.Y)
    again = BasisTransformation.fit_statistics(PairStatistics.from_arrays(pairs.X, pairs.Y))
    assert np.array_equal(first.new.weight, again.new.weight)
    spread = first.new.translate(pairs.Y)[:, 4:].var(axis=0)
    assert (np.diff(spread) <= 1e-6).all()


def test_both_parts_survive_storage() -> None:
    pairs = planted_pairs("affine", source_dim=7, target_dim=12, noise=0.5)
    basis = BasisTransformation.fit(pairs.X, pairs.Y)
    old, new = load(dump(basis.old)), load(dump(basis.new))
    assert isinstance(old, AffineTranslator)
    assert isinstance(new, AffineTranslator)
    again = BasisTransformation(old=old, new=new)
    assert np.array_equal(again.new.weight, basis.new.weight)
    assert np.array_equal(again.old.bias, basis.old.bias)


def test_what_cannot_be_fitted_is_refused_by_name() -> None:
    pairs = planted_pairs("affine", source_dim=12, target_dim=7)
    with pytest.raises(DimensionMismatchError, match="wider"):
        BasisTransformation.fit(pairs.X, pairs.Y)
    with pytest.raises(UnpairedRowsError):
        BasisTransformation.fit(pairs.Y, pairs.X[:-1])
    with pytest.raises(TooFewPairsError):
        BasisTransformation.fit(pairs.Y[:1], pairs.X[:1])
    with pytest.raises(TooFewPairsError):
        BasisTransformation.fit_statistics(PairStatistics.from_arrays(pairs.Y[:1], pairs.X[:1]))
    broken = pairs.X.copy()
    broken[3, 1] = np.nan
    with pytest.raises(NonFiniteError):
        BasisTransformation.fit(pairs.Y, broken)
    stretched = AffineTranslator(np.diag([1.0, 2.0]), np.zeros(2))
    with pytest.raises(DimensionMismatchError, match="orthonormal"):
        BasisTransformation(old=stretched, new=stretched)
