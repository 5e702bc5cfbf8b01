"""Pair statistics: exact against numpy, and a group under addition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vecstore_translators import AffineTranslator, PairAccumulator, PairStatistics
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    NonFiniteError,
    TooFewPairsError,
    UnpairedRowsError,
)

MOMENTS = ("mean_x", "mean_y", "xx", "xy", "yy")


def make_pairs(
    n: int, d_s: int = 4, d_t: int = 3, *, mean: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return mean + rng.normal(size=(n, d_s)), rng.normal(size=(n, d_t)) - mean


def direct(X: NDArray[np.float64], Y: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The two-pass textbook answer."""
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    return {
        "mean_x": X.mean(axis=0),
        "mean_y": Y.mean(axis=0),
        "xx": x.T @ x,
        "xy": x.T @ y,
        "yy": y.T @ y,
    }


def assert_equal(
    actual: PairStatistics,
    expected: PairStatistics | dict[str, NDArray[np.float64]],
    tolerance: float = 1e-9,
) -> None:
    for name in MOMENTS:
        wanted = expected[name] if isinstance(expected, dict) else getattr(expected, name)
        np.testing.assert_allclose(getattr(actual, name), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_agrees_with_the_two_pass_formula(n: int, dtype: type) -> None:
    X, Y = (a.astype(dtype) for a in make_pairs(n))
    statistics = PairStatistics.from_arrays(X, Y)
    assert statistics.n == n
    assert_equal(statistics, direct(X.astype(np.float64), Y.astype(np.float64)))


def test_far_off_means_cost_no_precision() -> None:
    X, Y = make_pairs(2000, mean=1e6)
    assert_equal(PairStatistics.from_arrays(X, Y), direct(X, Y), tolerance=1e-6)
    # The textbook one-pass formula loses everything here, which is why there is a shift.
    naive = X.T @ X - len(X) * np.outer(X.mean(axis=0), X.mean(axis=0))
    assert abs(naive - direct(X, Y)["xx"]).max() > 1


def test_blocks_larger_than_the_buffer_are_cut() -> None:
    accumulator = PairAccumulator(300, 200)
    n = 2 * accumulator.block_rows + 5
    X, Y = make_pairs(n, 300, 200)
    accumulator.update(X, Y)
    assert accumulator.statistics().n == n
    assert_equal(accumulator.statistics(), direct(X, Y), tolerance=1e-7)


def test_rows_select_pairs() -> None:
    X, Y = make_pairs(30)
    rows = np.array([3, 17, 4])
    assert_equal(PairStatistics.from_arrays(X, Y, rows=rows), direct(X[rows], Y[rows]))


sizes = st.integers(1, 20)


@settings(deadline=None, max_examples=50)
@given(a=sizes, b=sizes, c=sizes, mean=st.floats(-100, 100), seed=st.integers(0, 1000))
def test_addition_is_concatenation_in_any_order_and_grouping(
    a: int, b: int, c: int, mean: float, seed: int
) -> None:
    X, Y = make_pairs(a + b + c, mean=mean, seed=seed)
    one = PairStatistics.from_arrays(X[:a], Y[:a])
    two = PairStatistics.from_arrays(X[a : a + b], Y[a : a + b])
    three = PairStatistics.from_arrays(X[a + b :], Y[a + b :])
    whole = PairStatistics.from_arrays(X, Y)
    for total in ((one + two) + three, one + (two + three), three + one + two):
        assert total.n == whole.n
        assert_equal(total, whole, tolerance=1e-8)


@settings(deadline=None, max_examples=50)
@given(a=sizes, b=sizes, mean=st.floats(-100, 100), seed=st.integers(0, 1000))
def test_subtraction_undoes_addition(a: int, b: int, mean: float, seed: int) -> None:
    X, Y = make_pairs(a + b, mean=mean, seed=seed)
    one = PairStatistics.from_arrays(X[:a], Y[:a])
    two = PairStatistics.from_arrays(X[a:], Y[a:])
    left = (one + two) - two
    assert left.n == a
    assert_equal(left, one, tolerance=1e-7)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), folds=st.integers(1, 4))
def test_a_stream_in_any_blocks_is_the_whole_and_folds_sum_to_it(
    cuts: list[int], folds: int
) -> None:
    X, Y = make_pairs(60, mean=3.0)
    edges = [0, *sorted(cuts), 60]
    blocks = [(X[a:b], Y[a:b]) for a, b in pairwise(edges)]
    assert_equal(PairStatistics.from_blocks(blocks), direct(X, Y))
    parts = PairStatistics.folds_from_blocks(blocks, folds=folds)
    assert len(parts) == folds
    total = sum(parts[1:], start=parts[0])
    assert total.n == 60
    assert_equal(total, direct(X, Y))


def test_reversed_is_the_other_direction() -> None:
    X, Y = make_pairs(20)
    backwards = PairStatistics.from_arrays(X, Y).reversed()
    assert_equal(backwards, PairStatistics.from_arrays(Y, X))


def test_uncentered_moments_are_about_zero() -> None:
    X, Y = make_pairs(20, mean=2.0)
    raw = PairStatistics.from_arrays(X, Y).uncentered()
    zeros = {"mean_x": np.zeros(4), "mean_y": np.zeros(3)}
    assert_equal(raw, {**zeros, "xx": X.T @ X, "xy": X.T @ Y, "yy": Y.T @ Y})


def test_squared_error_of_an_affine_map_is_exact_without_the_pairs() -> None:
    X, Y = make_pairs(200, mean=5.0)
    rng = np.random.default_rng(3)
    translator = AffineTranslator(rng.normal(size=(4, 3)), rng.normal(size=3))
    error = X @ translator.weight.astype(float) + translator.bias - Y
    expected = np.mean(np.sum(error**2, axis=1))
    statistics = PairStatistics.from_arrays(X, Y)
    assert statistics.mean_squared_error(translator) == pytest.approx(expected, rel=1e-10)


def test_statistics_are_read_only_and_independent_of_the_accumulator() -> None:
    X, Y = make_pairs(20)
    accumulator = PairAccumulator(4, 3)
    accumulator.update(X[:10], Y[:10])
    first = accumulator.statistics()
    accumulator.update(X[10:], Y[10:])
    assert_equal(first, direct(X[:10], Y[:10]))
    with pytest.raises(ValueError, match="read-only"):
        first.xx[0, 0] = 1


def test_wrong_pairs_are_refused_by_name() -> None:
    X, Y = make_pairs(5)
    statistics = PairStatistics.from_arrays(X, Y)
    with pytest.raises(UnpairedRowsError):
        PairStatistics.from_arrays(X, Y[:-1])
    with pytest.raises(DimensionMismatchError):
        statistics + statistics.reversed()
    with pytest.raises(InvalidArgumentError, match="subtract"):
        statistics - (statistics + statistics)
    with pytest.raises(TooFewPairsError):
        PairStatistics.from_blocks([])
    with pytest.raises(TooFewPairsError):
        (statistics - statistics).mean_squared_error(
            AffineTranslator(np.zeros((4, 3)), np.zeros(3))
        )
    with pytest.raises(DimensionMismatchError):
        PairAccumulator(4, 4).update(X, Y)
    X[3, 1] = np.inf
    with pytest.raises(NonFiniteError, match="row 3"):
        PairStatistics.from_arrays(X, Y)
