"""Columns made without pandas are those that ``pyarrow.array`` makes, and so are the errors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore.errors import InvalidArgumentError
from vecstore.ids import MAX_ID_BYTES, as_ids
from vecstore.storage.columns import arrow_column, arrow_view, numpy_view, string_bytes

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(st.characters(exclude_categories=())),  # with lone surrogates
    st.binary(),
    st.dates(),
)
COLUMNS = st.one_of(
    st.lists(VALUES),
    *(st.lists(st.none() | each) for each in (st.booleans(), st.integers(-9, 9), st.floats())),
    st.lists(st.none() | st.text()),
)


def outcome(make, *arguments):
    """Return the type and the values of a column, or the kind of error."""
    try:
        column = make(*arguments)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError) as error:
        return type(error), str(error)
    column.validate(full=True)
    return column.type, repr(column.to_pylist()), column.null_count


@given(COLUMNS, st.sampled_from([None, pa.string(), pa.float64()]))
def test_a_column_of_any_values_is_the_one_that_arrow_makes(values, kind) -> None:
    assert outcome(arrow_column, values, kind) == outcome(pa.array, values, kind)
    assert outcome(arrow_column, tuple(values), kind) == outcome(pa.array, values, kind)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(7)[::2], np.arange(3, dtype=np.uint8), np.arange(3, dtype=">i8"),
        np.array([0.5, np.nan]), np.array([0.5], np.float16), np.array([], np.float32),
        np.array([True, False, True]), np.array(["a", "bü"]), np.array(["a", None], object),
        np.array(["2026-01-01"], "datetime64[D]"), np.ma.masked_array([1, 2], [False, True]),
        np.array([], "U1"), np.zeros((2, 2), bool), np.array(["x", np.nan], object), range(3),
        [np.str_("a"), "b"], [[1], None],
    ],
    ids=repr,
)  # fmt: skip
def test_a_column_of_an_array_is_the_one_that_arrow_makes(values) -> None:
    assert outcome(arrow_column, values) == outcome(pa.array, values)


@given(st.lists(st.booleans()), st.integers(0, 5), st.integers(0, 5))
def test_a_view_of_a_slice_has_its_values(flags, start, length) -> None:
    for array in (np.array(flags, bool), np.arange(len(flags)), np.ones(len(flags), np.float16)):
        sliced = arrow_view(array)[start : start + length]
        assert numpy_view(sliced).tolist() == array[start : start + length].tolist()
        chunked = pa.chunked_array([sliced, sliced], sliced.type)
        assert numpy_view(chunked).tolist() == 2 * array[start : start + length].tolist()


def test_numbers_are_not_copied() -> None:
    array = np.arange(5.0)
    assert np.shares_memory(numpy_view(arrow_view(array)), array)


def test_a_view_of_nulls_is_refused() -> None:
    with pytest.raises(ValueError, match="got int64 with 1 nulls"):
        numpy_view(pa.array([1, None]))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.integers(0, 4))
def test_the_bytes_of_strings_are_theirs(texts, start) -> None:
    ends, content = string_bytes(arrow_column(texts, pa.string())[start:])
    found = [content[low:high].tobytes().decode() for low, high in pairwise(ends)]
    assert found == texts[start:]


@pytest.mark.parametrize("bad", ["", "x\0", "\0", "ü" * (MAX_ID_BYTES // 2) + "x"])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_the_first_id_that_cannot_be_one_is_named(bad, before) -> None:
    ids = [*"abcd"[:before], bad, "ok", bad]
    with pytest.raises(InvalidArgumentError, match=f"position {before} "):
        as_ids(ids)
    with pytest.raises(InvalidArgumentError, match=f"position {before} "):
        as_ids(pa.array(["skipped\0", *ids])[1:])
    with pytest.raises(InvalidArgumentError, match=f"position {before} has none"):
        as_ids([*"abcd"[:before], None, "ok", None])
