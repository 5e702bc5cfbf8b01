"""The laws of a family, one function each; all take the family alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.base import AffineFamily, Translator, TranslatorFamily
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidVectorsError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
    VecstoreError,
)
from vecstore_translators.registry import families
from vecstore_translators.statistics import PairStatistics
from vecstore_translators.testing.pairs import Planted, PlantedPairs, planted_pairs
from vecstore_translators.testing.translators import (
    TRANSLATOR_CHECKS,
    assert_close,
    refused,
)
from vecstore_translators.validation import Metric

RECOVERY = 5e-3
"""Largest relative error of a planted map: float32 pairs and the smallest penalty."""

_RECTANGULAR = ((12, 7), (7, 12))


def check_declares_itself(family: TranslatorFamily) -> None:
    """Check that name, cost and capabilities are sound, and candidates are of the family."""
    assert families().get(family.name) in (None, type(family)), "the name is taken"
    assert family.cost >= 0
    assert family.min_pairs >= 0
    assert family.recovers <= set(get_args(Planted))
    assert family.candidates()
    assert all(type(c) is type(family) for c in family.candidates())
    labels = [c.label for c in family.candidates()]
    assert len(set(labels)) == len(labels), "two candidates with one label"
    assert hash(family) == hash(dataclasses.replace(family))


def check_fits_every_metric(family: TranslatorFamily) -> None:
    """Check that under each metric the fit gives a translator of the right dimensions."""
    pairs = planted_pairs("rotation")
    for metric in get_args(Metric):
        translator = family.fit(pairs.X, pairs.Y, metric=metric)
        assert isinstance(translator, Translator)
        assert (translator.source_dim, translator.target_dim) == (12, 12)


def check_joins_different_dimensions(family: TranslatorFamily) -> None:
    """Check that rectangular pairs are fitted both ways, or refused by name."""
    for source_dim, target_dim in _RECTANGULAR:
        pairs = planted_pairs("rotation", source_dim=source_dim, target_dim=target_dim)
        if family.equal_dims_only:
            refused(DimensionMismatchError, partial(family.fit, pairs.X, pairs.Y))
            continue
        translator = family.fit(pairs.X, pairs.Y)
        assert (translator.source_dim, translator.target_dim) == (source_dim, target_dim)
        if "rotation" in family.recovers:
            assert_close(translator.translate(pairs.held_out_x), pairs.held_out_y, RECOVERY)


def check_recovers_what_it_declares(family: TranslatorFamily) -> None:
    """Check that noiseless planted maps are found, and held-out vectors land where they should."""
    for planted in sorted(family.recovers):
        pairs = planted_pairs(planted)  # type: ignore[arg-type]
        for metric in get_args(Metric):
            translator = family.fit(pairs.X, pairs.Y, metric=metric)
            assert_close(translator.translate(pairs.held_out_x), pairs.held_out_y, RECOVERY)


def check_learns_from_noisy_pairs(family: TranslatorFamily) -> None:
    """Check that with noise as well, held-out error is well below that of answering the mean."""
    for planted in sorted(family.recovers - {"identity"}):
        pairs = planted_pairs(planted, noise=0.1)  # type: ignore[arg-type]
        error = family.fit(pairs.X, pairs.Y).translate(pairs.held_out_x) - pairs.held_out_y
        spread = pairs.held_out_y - pairs.Y.mean(axis=0)
        assert np.mean(error**2) < 0.1 * np.mean(spread**2)


def check_fit_is_deterministic(family: TranslatorFamily) -> None:
    """Check that the same pairs and seed give the same parameters, bit for bit."""
    pairs = planted_pairs("rotation", noise=0.1)
    first = family.fit(pairs.X, pairs.Y, seed=3).parameters()
    again = family.fit(pairs.X, pairs.Y, seed=3).parameters()
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def check_tuning_first_changes_nothing(family: TranslatorFamily) -> None:
    """Check that fitting the tuned family is fitting the family, and tuning is idempotent."""
    pairs = planted_pairs("rotation", noise=0.1)
    tuned = family.tuned(pairs.X, pairs.Y, seed=3)
    assert type(tuned) is type(family)
    assert tuned.tuned(pairs.X, pairs.Y, seed=3) == tuned
    whole = family.fit(pairs.X, pairs.Y, seed=3).parameters()
    parts = tuned.fit(pairs.X, pairs.Y, seed=3).parameters()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    if isinstance(tuned, AffineFamily):
        tuned.fit_statistics(PairStatistics.from_arrays(pairs.X, pairs.Y))


def check_fit_leaves_its_pairs_alone(family: TranslatorFamily) -> None:
    """Check that pairs keep their values, and that changing them later changes no map."""
    pairs = planted_pairs("rotation")
    X, Y = pairs.X.copy(), pairs.Y.copy()
    translator = family.fit(X, Y)
    assert np.array_equal(X, pairs.X)
    assert np.array_equal(Y, pairs.Y)
    before = translator.translate(pairs.held_out_x)
    X[:] = 0
    Y[:] = 0
    assert np.array_equal(translator.translate(pairs.held_out_x), before)
    family.fit(pairs.X, pairs.Y)


def check_pair_dtype_does_not_matter(family: TranslatorFamily) -> None:
    """Check that float16, float32 and float64 pairs of the same values give the same map."""
    pairs = planted_pairs("rotation", noise=0.1)
    X, Y = pairs.X.astype(np.float16), pairs.Y.astype(np.float16)
    expected = family.fit(X.astype(np.float32), Y.astype(np.float32)).translate(pairs.held_out_x)
    for dtype in (np.float16, np.float64):
        fitted = family.fit(X.astype(dtype), Y.astype(dtype))
        assert_close(fitted.translate(pairs.held_out_x), expected, 1e-3)


def check_few_pairs(family: TranslatorFamily) -> None:
    """Check that fewer pairs than dimensions give a finite map; too few are refused by name."""
    pairs = planted_pairs("rotation", source_dim=30, target_dim=30, noise=0.1)
    n = max(family.min_pairs, 1)
    result = family.fit(pairs.X[:n], pairs.Y[:n]).translate(pairs.held_out_x)
    assert np.isfinite(result).all()
    if family.min_pairs > 1:
        fewer = family.min_pairs - 1
        refused(TooFewPairsError, lambda: family.fit(pairs.X[:fewer], pairs.Y[:fewer]))


def check_refuses_bad_pairs(family: TranslatorFamily) -> None:
    """Check that unpaired, non-finite and ill-shaped pairs raise the named errors."""
    pairs = planted_pairs("rotation")
    refused(UnpairedRowsError, lambda: family.fit(pairs.X, pairs.Y[:-1]))
    refused(InvalidVectorsError, lambda: family.fit(pairs.X[0], pairs.Y[0]))
    for side in (0, 1):
        broken = [pairs.X.copy(), pairs.Y.copy()]
        broken[side][5, 1] = np.nan
        refused(NonFiniteError, partial(family.fit, *broken))


def check_degenerate_pairs(family: TranslatorFamily) -> None:
    """Check that constant columns and repeated rows give a finite map or a named error."""
    pairs = planted_pairs("rotation")
    flat = pairs.X.copy()
    flat[:, 3] = 1.0
    repeated = np.repeat(pairs.X[:1], 60, axis=0), np.repeat(pairs.Y[:1], 60, axis=0)
    for X, Y in ((flat, pairs.Y), repeated):
        try:
            result = family.fit(X, Y).translate(pairs.held_out_x)
        except VecstoreError:
            continue
        assert np.isfinite(result).all()


def check_statistics_fit_agrees(family: TranslatorFamily) -> None:
    """Check that an affine family fits the same map from a stream and in memory."""
    if not isinstance(family, AffineFamily):
        return
    pairs = planted_pairs("rotation")
    parts = PairStatistics.folds_from_blocks(_blocks(pairs), folds=4)
    total = sum(parts[1:], start=parts[0])
    streamed = family.fit_statistics(total, parts).translate(pairs.held_out_x)
    assert_close(streamed, family.fit(pairs.X, pairs.Y).translate(pairs.held_out_x), RECOVERY)
    if family.min_pairs > 1:
        few = PairStatistics.from_arrays(pairs.X[:1], pairs.Y[:1])
        refused(TooFewPairsError, lambda: family.fit_statistics(few, (few, few - few)))


def check_fits_keep_the_translator_laws(family: TranslatorFamily) -> None:
    """Check that what comes out of the fit keeps every law of a translator."""
    shapes = [(12, 12)] if family.equal_dims_only else [(12, 12), *_RECTANGULAR]
    for source_dim, target_dim in shapes:
        pairs = planted_pairs("rotation", source_dim=source_dim, target_dim=target_dim, noise=0.1)
        translator = family.fit(pairs.X, pairs.Y)
        for check in TRANSLATOR_CHECKS:
            check(translator)


FAMILY_CHECKS: tuple[Callable[[TranslatorFamily], None], ...] = (
    check_declares_itself,
    check_fits_every_metric,
    check_joins_different_dimensions,
    check_recovers_what_it_declares,
    check_learns_from_noisy_pairs,
    check_fit_is_deterministic,
    check_tuning_first_changes_nothing,
    check_fit_leaves_its_pairs_alone,
    check_pair_dtype_does_not_matter,
    check_few_pairs,
    check_refuses_bad_pairs,
    check_degenerate_pairs,
    check_statistics_fit_agrees,
    check_fits_keep_the_translator_laws,
)
"""Every law of a family."""


def _blocks(
    pairs: PlantedPairs,
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return the pairs cut into uneven blocks."""
    edges = [0, 1, 90, 333, len(pairs.X)]
    return [(pairs.X[a:b], pairs.Y[a:b]) for a, b in pairwise(edges)]
