"""Columns as the store takes them, and which rows do not qualify: all rows at once.

Each function returns its values for every row, with placeholders in the bad ones, and a list
of :class:`Fault`: some rows and the reason they share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vecstore.errors import IngestError
from vecstore.ids import MAX_ID_BYTES

__all__ = ["Fault", "as_texts", "convert", "id_column", "infer_type", "vector_column"]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_COMPONENT = rf"{_NUMBER}|(?i:^[+-]?(nan|inf|infinity)$)"
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_FLOAT16_MAX = float(np.finfo(np.float16).max)

Matrix = NDArray[np.float32]
Mask = NDArray[np.bool_]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Rows that cannot be taken, and why. The reason never contains a vector's values."""

    rows: NDArray[np.int64]
    column: str
    reason: str


def id_column(array: pa.Array, *, column: str, file: str) -> tuple[pa.Array, list[Fault]]:
    """Return ids as strings; null, empty, overlong ids and NUL in ids are faults.

    Raises
    ------
    IngestError
        The column holds neither strings nor integers.
    """
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if not (pa.types.is_integer(kind) or _is_text(kind) or pa.types.is_null(kind)):
        raise IngestError(
            f"{file}: expected ids of strings or integers in column {column!r}, got {kind}; name "
            "another column or convert it"
        )
    ids = array.cast(kind).cast(pa.string())
    lengths = np.asarray(pc.fill_null(pc.binary_length(ids), 1))
    reasons = {
        "null id": np.asarray(ids.is_null()),
        "empty id": lengths == 0,
        f"id longer than {MAX_ID_BYTES} bytes": lengths > MAX_ID_BYTES,
        "id with a NUL character": np.asarray(pc.fill_null(pc.match_substring(ids, "\0"), False)),
    }
    return ids, _faults(reasons, column)


def as_texts(array: pa.Array, *, column: str, file: str) -> pa.Array | None:
    """Return a column of text as Arrow strings; None if it is all null."""
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_null(kind):
        return None
    if not _is_text(kind):
        raise IngestError(
            f"{file}: expected text in the document column {column!r}, got {kind}; name another "
            "with mapping.document"
        )
    return array.cast(kind).cast(pa.string())


def vector_column(
    arrays: Sequence[pa.Array], *, column: str, file: str, dim: int, cosine: bool, half: bool
) -> tuple[Matrix, Mask, list[Fault]]:
    """Return vectors of a column, or of one column per component.

    Parameters
    ----------
    arrays : sequence of pyarrow.Array
        One of lists, or of text such as ``[0.1, 0.2]``; or ``dim`` of numbers or their text.
    cosine, half : bool
        The space compares directions, so zero vectors are faults; it stores float16, so
        components it cannot hold are.

    Returns
    -------
    vectors : ndarray of shape (n, dim), float32
    present : ndarray of shape (n,), bool
        Where the file holds a vector, good or bad; a null is none.
    faults : list of Fault

    Raises
    ------
    IngestError
        No row can be good: the column's fixed length is not ``dim``, or it holds no lists.
    """
    if len(arrays) == 1:
        lists, faults = _lists(arrays[0], column=column, file=file, dim=dim)
    else:
        lists, faults = _joined(arrays, column=column)
    present, lengths, flat = lists
    values = _numbers(flat)
    sizes = np.zeros(len(present), np.int64)
    sizes[present] = lengths
    fitting = present & (sizes == dim)
    rows = (values if fitting.all() else values[np.repeat(lengths == dim, lengths)]).reshape(
        -1, dim
    )
    for size in np.unique(sizes[present & ~fitting]):
        reason = f"expected {dim} dimensions, got {size}"
        faults += _faults({reason: present & (sizes == size)}, column)
    if fitting.all():
        vectors = np.ascontiguousarray(rows)
    else:
        vectors = np.zeros((len(present), dim), np.float32)
        vectors[fitting] = rows
    return vectors, present, faults + _value_faults(vectors, fitting, column, cosine, half)


def infer_type(array: pa.Array) -> pa.DataType:
    """Return the type that a column of text holds: int64, float64, bool or string.

    Numbers that would not print as they were written ("007") stay text.
    """
    values = pc.drop_null(array)
    if not len(values):
        return pa.null()
    if pc.all(pc.match_substring_regex(values, _INTEGER)).as_py():
        return pa.int64()
    leading_zero = pc.any(pc.match_substring_regex(values, r"^-?0[0-9]")).as_py()
    if not leading_zero and pc.all(pc.match_substring_regex(values, _NUMBER)).as_py():
        return pa.float64()
    if pc.all(pc.is_in(pc.ascii_lower(values), pa.array(["true", "false"]))).as_py():
        return pa.bool_()
    return pa.string()


def convert(
    array: pa.Array, kind: pa.DataType, *, column: str, inferred: bool
) -> tuple[pa.Array, list[Fault]]:
    """Cast a metadata column; values that do not fit are faults.

    A column whose integers were ``inferred`` from the first rows may turn out to hold floats.
    """
    if pa.types.is_null(kind) and inferred:
        kind = infer_type(array)
    if pa.types.is_null(kind) and array.null_count == len(array):
        return pa.nulls(len(array)), []
    wider = [pa.float64()] if inferred and pa.types.is_int64(kind) else []
    for candidate in [kind, *wider]:
        try:
            return array.cast(candidate), []
        except pa.ArrowException:
            continue
    target = (wider or [kind])[-1]
    misfit = np.zeros(len(array), np.bool_)
    for i in range(len(array)):
        try:
            array[i : i + 1].cast(target)
        except pa.ArrowException:
            misfit[i] = True
    good = pc.if_else(pa.array(misfit), pa.scalar(None, array.type), array)
    return good.cast(target), _faults({f"expected a value of type {kind}": misfit}, column)


def _faults(reasons: Mapping[str, Mask], column: str) -> list[Fault]:
    """Return a fault for every reason that some rows have."""
    return [
        Fault(rows=np.flatnonzero(mask), column=column, reason=reason)
        for reason, mask in reasons.items()
        if mask.any()
    ]


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


_Lists = tuple[Mask, NDArray[np.int64], pa.Array]


def _lists(array: pa.Array, *, column: str, file: str, dim: int) -> tuple[_Lists, list[Fault]]:
    """Return which rows hold a list, the lengths of those, and their elements end to end."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.cast(kind.value_type), kind.value_type
    present = np.asarray(array.is_valid())
    held = array.drop_null()
    if pa.types.is_null(kind):
        return (present, np.zeros(0, np.int64), pa.array([], pa.float32())), []
    if _is_text(kind):
        return _text_lists(held, present, column)
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    fixed = pa.types.is_fixed_size_list(kind)
    if fixed and kind.list_size != dim:
        raise IngestError(
            f"{file}: expected vectors of {dim} dimensions in column {column!r}, got "
            f"{kind.list_size}; choose another column or space"
        )
    inner = kind.value_type if nested or fixed else None
    if inner is None or not (
        pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_null(inner)
    ):
        raise IngestError(
            f"{file}: expected lists of numbers in column {column!r}, got {kind}; choose another "
            "column with mapping.vectors"
        )
    lengths = np.asarray(pc.list_value_length(held)).astype(np.int64)
    return (present, lengths, held.flatten()), []


def _text_lists(held: pa.Array, present: Mask, column: str) -> tuple[_Lists, list[Fault]]:
    """Split texts like ``[1, 2]`` into the texts of their numbers."""
    texts = pc.utf8_trim_whitespace(held.cast(pa.large_string()))
    bracketed = np.asarray(pc.and_(pc.starts_with(texts, "["), pc.ends_with(texts, "]")))
    inner = pc.if_else(pa.array(bracketed), pc.utf8_slice_codeunits(texts, 1, -1), "")
    parts = pc.split_pattern(inner, ",")
    lengths = np.asarray(pc.list_value_length(parts)).astype(np.int64)
    flat, unreadable = _readable(pc.utf8_trim_whitespace(parts.flatten()))
    owner = np.repeat(np.arange(len(held)), lengths)
    broken = ~bracketed
    broken[owner[unreadable]] = True
    # A broken row has no dimensions to speak of: it is reported once, as unparsable.
    lengths_of_good = np.where(broken, 0, lengths)
    flat = flat.filter(pa.array(~broken[owner]))
    mask = np.zeros(len(present), np.bool_)
    mask[present] = broken
    faults = _faults({"expected a JSON array of numbers": mask}, column)
    return (present, lengths_of_good, flat), faults


def _joined(arrays: Sequence[pa.Array], *, column: str) -> tuple[_Lists, list[Fault]]:
    """Return numbered columns as lists; a row with no component at all holds no vector."""
    valid: Mask = np.stack([np.asarray(a.is_valid()) for a in arrays], axis=1)
    present: Mask = np.any(valid, axis=1)
    broken: Mask = present & ~np.all(valid, axis=1)
    components = []
    for array in arrays:
        if _is_text(array.type):
            flat, unreadable = _readable(pc.utf8_trim_whitespace(pc.fill_null(array, "0")))
            broken |= unreadable
            components.append(_numbers(flat))
        else:
            components.append(_numbers(array))
    table = np.stack(components, axis=1)[present]
    table[broken[present]] = 1.0
    faults = _faults({"expected a number in every numbered column": broken}, column)
    lengths = np.full(len(table), len(arrays), np.int64)
    return (present, lengths, pa.array(table.reshape(-1))), faults


def _readable(texts: pa.Array) -> tuple[pa.Array, Mask]:
    """Return texts as float32, and which of them are not numbers."""
    try:
        return texts.cast(pa.float32()), np.zeros(len(texts), np.bool_)
    except pa.ArrowException:
        pass
    good = pc.match_substring_regex(texts, _COMPONENT)
    return pc.if_else(good, texts, "0").cast(pa.float32()), ~np.asarray(good)


def _numbers(flat: pa.Array) -> Matrix:
    """Return numbers as float32, with NaN for null."""
    if flat.null_count:
        flat = flat.cast(pa.float64()).fill_null(float("nan"))
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)


def _value_faults(
    vectors: Matrix, fitting: Mask, column: str, cosine: bool, half: bool
) -> list[Fault]:
    """Find vectors that no space, or not this one, can hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
        doubtful = ~(np.isfinite(squares) & (squares > 1e-30))
        exact = vectors[doubtful].astype(np.float64)
    finite, zero, large = fitting.copy(), np.zeros_like(fitting), np.zeros_like(fitting)
    finite[doubtful] = np.isfinite(exact).all(axis=1)
    zero[doubtful] = ~exact.any(axis=1)
    if half:
        large = finite & (np.abs(vectors).max(axis=1, initial=0.0) > _FLOAT16_MAX)
    reasons = {
        "a NaN, infinite or missing component": fitting & ~finite,
        "a zero vector, which has no direction under cosine": fitting & zero & np.bool_(cosine),
        f"a component beyond {_FLOAT16_MAX:g}, the limit of float16": fitting & large,
    }
    return _faults(reasons, column)
