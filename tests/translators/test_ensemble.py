"""Ensembles: a convex combination is what it says, and its weights find the better members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from vecstore_translators import (
    Ensemble,
    EnsembleTranslator,
    Kernel,
    Procrustes,
    Ridge,
    TranslatorFamily,
    dump,
    load,
)
from vecstore_translators.affine import AffineTranslator
from vecstore_translators.composition import compose
from vecstore_translators.errors import (
    CorruptFileError,
    DimensionMismatchError,
    InvalidArgumentError,
)
from vecstore_translators.testing import planted_pairs


def test_the_combination_is_the_weighted_sum_and_affine_if_its_parts_are() -> None:
    pairs = planted_pairs("affine", noise=0.1)
    parts = (Procrustes().fit(pairs.X, pairs.Y), Ridge(alphas=(0.1,)).fit(pairs.X, pairs.Y))
    ensemble = EnsembleTranslator(parts, (0.3, 0.7))
    Z = pairs.held_out_x
    expected = 0.3 * parts[0].translate(Z) + 0.7 * parts[1].translate(Z)
    np.testing.assert_allclose(ensemble.translate(Z), expected, atol=1e-5)
    assert ensemble.affine is not None
    curved = Kernel(bandwidths=(1.0,), penalties=(0.3,)).fit(pairs.X, pairs.Y)
    assert EnsembleTranslator((parts[0], curved), (0.5, 0.5)).affine is None


def test_nested_parts_come_back_from_files() -> None:
    pairs = planted_pairs("affine", noise=0.1)
    kernel = Kernel(bandwidths=(1.0,), penalties=(0.3,)).fit(pairs.X, pairs.Y)
    ridge = Ridge(alphas=(0.1,)).fit(pairs.X, pairs.Y)
    inner = EnsembleTranslator((ridge, kernel), (0.25, 0.75))
    back = Procrustes().fit(pairs.Y, pairs.X)
    outer = EnsembleTranslator((compose(inner, back), compose(ridge, back)), (0.5, 0.5))
    files = dump(outer)
    Z = pairs.held_out_x
    assert np.array_equal(load(files).translate(Z), outer.translate(Z))
    with pytest.raises(ValueError, match="more"):
        EnsembleTranslator.from_parameters(
            {**outer.parameters(), "7.weight": ridge.weight}, outer.settings()
        )
    payload = files["model.safetensors"]
    with pytest.raises(CorruptFileError):
        load({**files, "model.safetensors": payload[:-1] + bytes([payload[-1] ^ 1])})


def test_a_useless_member_gets_no_weight_and_is_left_out() -> None:
    pairs = planted_pairs("affine", n=300, noise=0.05)
    useless = Ridge(alphas=(1e7,))
    family = Ensemble(members=(useless, Ridge())).tuned(pairs.X, pairs.Y)
    assert family.weights == (0.0, 1.0)
    assert len(family.fit(pairs.X, pairs.Y).parts) == 1


def test_two_half_blind_members_share_the_weight() -> None:
    """Each member sees one half of the source; together they see all of it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10))
    left, right = np.zeros((10, 10)), np.zeros((10, 10))
    left[:5, :5], right[5:, 5:] = np.eye(5), np.eye(5)

    members = (_Fixed(left), _Fixed(right))
    weights = Ensemble(members=members).tuned(X, X).weights
    assert min(weights) >= 0.4


def test_bad_weights_and_parts_are_refused() -> None:
    flat, tall = AffineTranslator(np.eye(3), np.zeros(3)), AffineTranslator(np.eye(4), np.zeros(4))
    with pytest.raises(DimensionMismatchError):
        EnsembleTranslator((flat, tall), (0.5, 0.5))
    for weights in ((1.0,), (0.6, 0.6), (1.0, 0.0), (np.nan, 1.0)):
        with pytest.raises(InvalidArgumentError, match="weight"):
            EnsembleTranslator((flat, flat), weights)
    with pytest.raises(InvalidArgumentError, match="weights"):
        Ensemble(weights=(1.0,))
    with pytest.raises(InvalidArgumentError, match="members"):
        Ensemble(members=())


@dataclass(frozen=True, slots=True, eq=False)
class _Fixed(TranslatorFamily):
    """A family that always answers with one matrix."""

    name: ClassVar[str] = "fixed"
    cost: ClassVar[float] = 0.0

    weight: NDArray[np.float64]

    def fit(self, X, Y, *, metric="cosine", seed=0):
        return AffineTranslator(self.weight, np.zeros(len(self.weight)))
