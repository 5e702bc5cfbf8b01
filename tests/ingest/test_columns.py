"""Vectors and ids out of columns, against numpy, with every kind of bad row named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vecstore.errors import IngestError
from vecstore_ingest.columns import Fault, convert, id_column, infer_type, vector_column

DIM = 3


def _vectors(*arrays: pa.Array, **options: Any) -> tuple[Any, Any, dict[int, str]]:
    settings = {"column": "v", "file": "f", "dim": DIM, "cosine": False, "half": False} | options
    values, present, faults = vector_column(arrays, **settings)
    return values, present, _by_row(faults)


def _by_row(faults: list[Fault]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for fault in faults:
        for row in fault.rows.tolist():
            reasons.setdefault(row, fault.reason)
    return reasons


def _fixed(rows: Any, kind: pa.DataType) -> pa.Array:
    return pa.array(rows, pa.list_(kind, DIM))


MATRIX = np.array([[1, 2, 3], [0.5, -0.25, 8], [4, 0, 1]], np.float32)

AS_COLUMNS = {
    "fixed float16": (_fixed(MATRIX.astype(np.float16).tolist(), pa.float16()),),
    "fixed float32": (_fixed(MATRIX.tolist(), pa.float32()),),
    "fixed float64": (_fixed(MATRIX.tolist(), pa.float64()),),
    "list float64": (pa.array(MATRIX.tolist(), pa.list_(pa.float64())),),
    "large list": (pa.array(MATRIX.tolist(), pa.large_list(pa.float32())),),
    "text": (pa.array([str(row) for row in MATRIX.tolist()]),),
    "numbered": tuple(pa.array(MATRIX[:, i]) for i in range(DIM)),
    "numbered text": tuple(pa.array([f" {x} " for x in MATRIX[:, i]]) for i in range(DIM)),
}


@pytest.mark.parametrize("form", AS_COLUMNS)
def test_every_form_gives_the_same_matrix(form: str) -> None:
    values, present, reasons = _vectors(*AS_COLUMNS[form])
    np.testing.assert_array_equal(values, MATRIX)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert present.all()
    assert reasons == {}


@pytest.mark.parametrize("form", AS_COLUMNS)
def test_a_slice_of_a_column_is_read_from_its_offset(form: str) -> None:
    values, _, _ = _vectors(*(array[1:] for array in AS_COLUMNS[form]))
    np.testing.assert_array_equal(values, MATRIX[1:])


@pytest.mark.parametrize("form", AS_COLUMNS)
def test_nulls_are_absent_vectors(form: str) -> None:
    with_null = [
        pa.concat_arrays([array[:1], pa.nulls(1, array.type), array[1:]])
        for array in AS_COLUMNS[form]
    ]
    values, present, reasons = _vectors(*with_null)
    assert present.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(values[[0, 2, 3]], MATRIX)
    assert reasons == {}


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(DIM)), elements=st.floats(width=32))
)
def test_rows_with_nan_or_infinity_are_found_by_any_form(matrix: Any) -> None:
    expected = set(np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist())
    texts = pa.array([str(row) for row in matrix.tolist()], pa.string())
    for column in (_fixed(matrix.tolist(), pa.float32()), texts):
        values, _, reasons = _vectors(column)
        assert set(reasons) == expected
        good = sorted(set(range(len(matrix))) - expected)
        np.testing.assert_array_equal(values[good], matrix[good])


@given(
    st.lists(
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.floats(-9, 9)), max_size=5)),
        max_size=8,
    )
)
def test_ragged_lists_are_sorted_out_row_by_row(lists: list[list[float | None] | None]) -> None:
    values, present, reasons = _vectors(pa.array(lists, pa.list_(pa.float64())))
    for i, row in enumerate(lists):
        assert present[i] == (row is not None)
        if row is None:
            assert i not in reasons
        elif len(row) != DIM:
            assert reasons[i] == f"expected {DIM} dimensions, got {len(row)}"
        elif None in row:
            assert reasons[i] == "a NaN, infinite or missing component"
        else:
            assert i not in reasons
            np.testing.assert_array_equal(values[i], np.array(row, np.float32))


def test_values_beyond_float32_are_infinite() -> None:
    _, _, reasons = _vectors(_fixed([[1e300, 0, 0], [1, 2, 3]], pa.float64()))
    assert reasons == {0: "a NaN, infinite or missing component"}


def test_large_but_finite_vectors_pass() -> None:
    values, _, reasons = _vectors(_fixed([[3e38, 3e38, 3e38]], pa.float32()), cosine=True)
    assert reasons == {}
    assert np.isfinite(values).all()


def test_zero_vectors_are_bad_under_cosine_only() -> None:
    column = _fixed([[0, 0, 0], [0, 1e-40, 0], [-0.0, 0, 0]], pa.float32())
    assert _vectors(column)[2] == {}
    assert set(_vectors(column, cosine=True)[2]) == {0, 2}


def test_float16_spaces_refuse_what_they_cannot_hold() -> None:
    column = _fixed([[65504, 0, 0], [-65600, 0, 0]], pa.float32())
    assert set(_vectors(column, half=True)[2]) == {1}


@pytest.mark.parametrize(
    "text", ["", "1, 2, 3", "[1, 2, x]", "[1, 2, 3", "[[1, 2, 3]]", "[1, 2, 0x3]", "{}", "[1,,3]"]
)
def test_text_that_is_no_array_is_bad(text: str) -> None:
    values, _, reasons = _vectors(pa.array(["[1, 2, 3]", text, "[4, 5, 6]"]))
    assert reasons == {1: "expected a JSON array of numbers"}
    np.testing.assert_array_equal(values[[0, 2]], [[1, 2, 3], [4, 5, 6]])


def test_numbered_columns_need_every_number() -> None:
    columns = [pa.array(c) for c in (["1", "x", None], ["2", "5", None], ["3", "6", None])]
    values, present, reasons = _vectors(*columns)
    assert reasons == {1: "expected a number in every numbered column"}
    assert present.tolist() == [True, True, False]
    np.testing.assert_array_equal(values[0], [1, 2, 3])


def test_columns_in_which_no_row_can_be_good_are_refused_whole() -> None:
    for column in (
        pa.array([[1.0] * 4], pa.list_(pa.float32(), 4)),
        pa.array([1.5]),
        pa.array([["x"]]),
    ):
        with pytest.raises(IngestError, match="column 'v'"):
            _vectors(column)


def test_ids_are_strings_and_the_bad_ones_named() -> None:
    ids = pa.array(["a", None, "", "x" * 1025, "n\0", "é" * 512])
    _, faults = id_column(ids, column="id", file="f")
    assert _by_row(faults) == {
        1: "null id",
        2: "empty id",
        3: "id longer than 1024 bytes",
        4: "id with a NUL character",
    }


@pytest.mark.parametrize(
    "array",
    [
        pa.array([7, 8]),
        pa.array(["7", "8"]).dictionary_encode(),
        pa.array(["7", "8"], pa.large_string()),
    ],
)
def test_integers_and_every_kind_of_string_serve_as_ids(array: pa.Array) -> None:
    ids, faults = id_column(array, column="id", file="f")
    assert ids.to_pylist() == ["7", "8"]
    assert ids.type == pa.string()
    assert faults == []


def test_floats_do_not_serve_as_ids() -> None:
    with pytest.raises(IngestError, match="strings or integers"):
        id_column(pa.array([1.5]), column="id", file="f")


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20", None], pa.int64()),
        (["007", "8"], pa.string()),
        (["1", "2.5e3"], pa.float64()),
        (["True", "false"], pa.bool_()),
        (["2020-01-01", "x"], pa.string()),
        ([None, None], pa.null()),
        (["12345678901234567890"], pa.float64()),
    ],
)
def test_types_of_text_are_found_without_losing_how_it_was_written(
    texts: list[str | None], kind: pa.DataType
) -> None:
    assert infer_type(pa.array(texts, pa.string())) == kind


def test_values_of_another_type_are_bad() -> None:
    column, faults = convert(pa.array(["1", "n/a", "3"]), pa.int64(), column="n", inferred=True)
    assert _by_row(faults) == {1: "expected a value of type int64"}
    assert column.to_pylist() == [1, None, 3]


def test_inferred_integers_widen_to_floats_but_declared_ones_do_not() -> None:
    texts = pa.array(["1", "2.5"])
    widened, faults = convert(texts, pa.int64(), column="n", inferred=True)
    assert widened.to_pylist() == [1.0, 2.5]
    assert faults == []
    _, faults = convert(texts, pa.int64(), column="n", inferred=False)
    assert set(_by_row(faults)) == {1}
