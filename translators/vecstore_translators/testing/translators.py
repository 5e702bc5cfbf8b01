"""The laws of a fitted translator, one function each; all take the translator alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.base import BLOCK_ROWS, Translator
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidVectorsError,
    NonFiniteError,
    UnsupportedOperationError,
)
from vecstore_translators.registry import translator_kinds
from vecstore_translators.serialization import dump, load

_RELATIVE = 2e-5
"""Tolerance of float32 sums over some hundred terms, relative to the largest value."""


def check_shape_and_dtype(translator: Translator) -> None:
    """Check that (n, source_dim) becomes (n, target_dim), float32, from every floating type."""
    for n in (0, 1, 7):
        for dtype in (np.float16, np.float32, np.float64):
            result = translator.translate(_sources(translator, n).astype(dtype))
            assert result.shape == (n, translator.target_dim), result.shape
            assert result.dtype == np.float32, result.dtype
            assert np.isfinite(result).all()


def check_dtype_does_not_matter(translator: Translator) -> None:
    """Check that the same values in another floating type have the same translation."""
    X = _sources(translator, 9).astype(np.float16)
    expected = translator.translate(X.astype(np.float32))
    for dtype in (np.float16, np.float64):
        assert_close(translator.translate(X.astype(dtype)), expected)


def check_deterministic(translator: Translator) -> None:
    """Check that the same input gives the same bits."""
    X = _sources(translator, 50)
    assert np.array_equal(translator.translate(X), translator.translate(X))


def check_rows_independent(translator: Translator) -> None:
    """Check that a row's translation depends on no other row, also across blocks."""
    X = _sources(translator, BLOCK_ROWS + 3)
    whole = translator.translate(X)
    for i in (0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 2):
        assert_close(translator.translate(X[i : i + 1])[0], whole[i])


def check_memory_layout_does_not_matter(translator: Translator) -> None:
    """Check that strided and transposed views translate like contiguous copies."""
    X = _sources(translator, 20)
    assert_close(translator.translate(X[::2]), translator.translate(X)[::2])
    assert_close(translator.translate(np.asfortranarray(X)), translator.translate(X))


def check_input_unchanged(translator: Translator) -> None:
    """Check that the input may be read-only and keeps its values."""
    X = _sources(translator, 5)
    before = X.copy()
    X.setflags(write=False)
    result = translator.translate(X)
    assert np.array_equal(X, before)
    assert not np.shares_memory(result, X)


def check_immutable(translator: Translator) -> None:
    """Check that parameters cannot be written, attributes cannot be set."""
    for name, array in translator.parameters().items():
        assert not array.flags.writeable, f"parameter {name} can be written"
    refused((AttributeError, TypeError), lambda: setattr(translator, "source_dim", 3))


def check_refuses_bad_input(translator: Translator) -> None:
    """Check that wrong dimension, shape, type or values raise the named errors."""
    X = _sources(translator, 4)
    wide = np.zeros((2, translator.source_dim + 1), dtype=np.float32)
    refused(DimensionMismatchError, lambda: translator.translate(wide))
    refused(InvalidVectorsError, lambda: translator.translate(X[0]))
    refused(InvalidVectorsError, lambda: translator.translate(X.astype(np.int64)))
    for bad in (np.nan, np.inf, -np.inf):
        broken = X.copy()
        broken[2, -1] = bad
        for dtype in (np.float16, np.float32, np.float64):
            error = refused(NonFiniteError, partial(translator.translate, broken.astype(dtype)))
            assert "row 2" in str(error), error


def check_parameters_rebuild_it(translator: Translator) -> None:
    """Check that from_parameters(parameters(), settings()) is the same map, bit for bit."""
    X = _sources(translator, 30)
    again = type(translator).from_parameters(translator.parameters(), translator.settings())
    assert np.array_equal(again.translate(X), translator.translate(X))


def check_files_rebuild_it(translator: Translator) -> None:
    """Check that load(dump(t)) is the same map, bit for bit, and its kind is registered."""
    assert translator_kinds()[translator.kind] is type(translator)
    X = _sources(translator, 30)
    again = load(dump(translator, card={"pairs": 3, "held_out": {"overlap@10": 0.5}}))
    assert type(again) is type(translator)
    assert np.array_equal(again.translate(X), translator.translate(X))
    assert again.settings() == translator.settings()


def check_affine_view_agrees(translator: Translator) -> None:
    """Check that an affine view is the same map and keeps affine combinations."""
    affine = translator.affine
    if affine is None:
        return
    X, Z = np.split(_sources(translator, 40), 2)
    assert_close(affine.translate(X), translator.translate(X))
    assert_close(translator.translate(X), X @ affine.weight + affine.bias)
    mixed = translator.translate(0.3 * X + 0.7 * Z)
    assert_close(mixed, 0.3 * translator.translate(X) + 0.7 * translator.translate(Z), 1e-4)


def check_inverse(translator: Translator) -> None:
    """Check that the inverse undoes the map both ways, or is refused by name."""
    if not translator.invertible:
        refused(UnsupportedOperationError, translator.inverse)
        return
    inverse = translator.inverse()
    assert (inverse.source_dim, inverse.target_dim) == (
        translator.target_dim,
        translator.source_dim,
    )
    X = _sources(translator, 30)
    assert_close(inverse.translate(translator.translate(X)), X, 1e-3)
    Z = _sources(inverse, 30)
    assert_close(translator.translate(inverse.translate(Z)), Z, 1e-3)


TRANSLATOR_CHECKS: tuple[Callable[[Translator], None], ...] = (
    check_shape_and_dtype,
    check_dtype_does_not_matter,
    check_deterministic,
    check_rows_independent,
    check_memory_layout_does_not_matter,
    check_input_unchanged,
    check_immutable,
    check_refuses_bad_input,
    check_parameters_rebuild_it,
    check_files_rebuild_it,
    check_affine_view_agrees,
    check_inverse,
)
"""Every law of a fitted translator."""


def assert_close(actual: NDArray[Any], expected: NDArray[Any], relative: float = _RELATIVE) -> None:
    """Assert equality to a tolerance relative to the largest expected value."""
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    worst = float(np.abs(np.asarray(actual) - expected).max(initial=0.0))
    assert worst <= relative * scale, f"differs by {worst:.3g} where values reach {scale:.3g}"


def refused(
    error: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]
) -> Exception:
    """Assert that `call` raises `error`, and return what it raised."""
    try:
        result = call()
    except error as raised:
        return raised
    raise AssertionError(f"expected {error}, got {result!r}")


def _sources(translator: Translator, n: int) -> NDArray[np.float32]:
    """Return n random vectors of the source dimension."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, translator.source_dim)).astype(np.float32)
