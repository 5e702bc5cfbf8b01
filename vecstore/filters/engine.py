"""The locked-down DuckDB that parses, binds and runs predicates.

One in-memory database per process, one cursor per call: a cursor has its own temporary
catalog, so every call registers its table under the same name and threads never meet. The
database cannot reach files, the network, extensions or Python variables, cannot spill to disk,
and its configuration is locked. Every statement runs under a time limit.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vecstore.errors import InvalidArgumentError, InvalidFilterError
from vecstore.filters.columns import RESERVED

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    from vecstore.filters.predicate import Predicate

__all__ = ["MAX_EXPRESSION_DEPTH", "MEMORY_LIMIT", "TIME_LIMIT_S", "select_rows"]

TIME_LIMIT_S = 10.0
"""Seconds a filter may run before it is interrupted."""

MEMORY_LIMIT = "2GB"
"""Memory of the filter database, shared by the filters that run at one time."""

MAX_EXPRESSION_DEPTH = 400

_CONFIG: dict[str, Any] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
    "temp_directory": "",
    "memory_limit": MEMORY_LIMIT,
    "max_expression_depth": MAX_EXPRESSION_DEPTH,
}

_BATCH_ROWS = 1 << 17  # enough batches to keep the threads busy, few enough to cost nothing
_REGEX_BATCH_BYTES = 1 << 15  # DuckDB looks for an interrupt between batches only


def select_rows(
    table: pa.Table | Sequence[pa.Table],
    predicate: Predicate,
    *,
    time_limit_s: float = TIME_LIMIT_S,
) -> NDArray[np.int64]:
    """Return the ids of the rows for which a predicate is true.

    Parameters
    ----------
    table : pyarrow.Table or sequence of pyarrow.Table
        A ``row_id`` column (int64, no nulls) and the predicate's columns; others are not read.
        Several tables are one table in pieces: a column that a piece lacks is null there, and
        types are widened to a common one.
    predicate : Predicate
    time_limit_s : float, default 10
        Seconds after which the filter is interrupted.

    Returns
    -------
    ndarray of shape (m,), int64
        Row ids in ascending order. A predicate that is NULL for a row does not select it.

    Raises
    ------
    InvalidFilterError
        The predicate fails on some row, or needs too much time or memory. The message never
        quotes a stored value.
    InvalidArgumentError
        The tables lack a column that the predicate reads, or cannot be joined into one.
    """
    rows = _gather(table, predicate)
    if rows.num_rows == 0:
        return np.empty(0, dtype=np.int64)
    import duckdb  # here and below: 80 ms that a search without a filter need not wait for

    with _cursor(time_limit_s) as cursor:
        try:
            cursor.register("rows", rows.to_reader(max_chunksize=_batch_rows(rows, predicate)))
            result = cursor.execute(
                f"SELECT {RESERVED} FROM rows WHERE ({predicate.sql})", predicate.parameters
            )
            row_ids: NDArray[np.int64] = np.asarray(result.fetchnumpy()[RESERVED], dtype=np.int64)
        except duckdb.Error as error:
            # `from None`: DuckDB's own message may quote a value of any row.
            raise InvalidFilterError(_reason(error, time_limit_s)) from None
    if row_ids.size > 1 and not bool(np.all(row_ids[1:] > row_ids[:-1])):
        row_ids.sort()
    return row_ids


def syntax_tree(statement: str) -> dict[str, Any]:
    """Return DuckDB's own parse of a statement, without running it."""
    import duckdb

    with _cursor(TIME_LIMIT_S) as cursor:
        try:
            row = cursor.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
            tree: dict[str, Any] = json.loads(row[0]) if row else {}
        except duckdb.Error as error:
            raise InvalidFilterError(f"the filter cannot be parsed: {first_line(error)}") from error
        except RecursionError:
            raise InvalidFilterError(
                "the filter is nested too deeply; write a flatter one"
            ) from None
    return tree


def bound_types(expressions: Sequence[str], schema: pa.Schema) -> list[str]:
    """Return the SQL type of each expression over tables of a schema; no row is read."""
    import duckdb

    with _cursor(TIME_LIMIT_S) as cursor:
        try:
            rows = pa.Table.from_batches([], pa.schema([(RESERVED, pa.int64()), *schema]))
            cursor.register("rows", rows.to_reader())
            selected = ", ".join(f"({e}) AS e{i}" for i, e in enumerate(expressions))
            description = cursor.execute(f"SELECT {selected} FROM rows").description
        except (duckdb.Error, pa.ArrowException) as error:
            raise InvalidFilterError(f"the filter is not valid: {first_line(error)}") from error
    return [str(column[1]) for column in description or ()]


def check_constants(expressions: Sequence[str], parameters: Sequence[Any] = ()) -> None:
    """Evaluate constant expressions and refuse those that fail; they read no row."""
    import duckdb

    with _cursor(TIME_LIMIT_S) as cursor:
        try:
            # IS NULL: the value itself may have no Python form (times with a zone need pytz).
            selected = ", ".join(f"({e}) IS NULL" for e in expressions)
            cursor.execute(f"SELECT {selected}", parameters).fetchone()
        except duckdb.Error as error:
            raise InvalidFilterError(f"the filter is not valid: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the kind DuckDB puts before it."""
    line = str(error).strip().split("\n", 1)[0]
    kind, separator, rest = line.partition(" Error: ")
    return rest if separator and len(kind) < 30 else line


def _gather(table: pa.Table | Sequence[pa.Table], predicate: Predicate) -> pa.Table:
    """Return the columns a predicate needs, of all pieces, as one table; copies no values."""
    pieces = [table] if isinstance(table, pa.Table) else list(table)
    if not pieces:
        return pa.table({RESERVED: pa.nulls(0, pa.int64())})
    wanted = [RESERVED, *sorted(predicate.columns)]
    for name in wanted:
        if not any(name in piece.column_names for piece in pieces) or (
            name == RESERVED and not all(name in piece.column_names for piece in pieces)
        ):
            raise InvalidArgumentError(
                f"the table has no column {name!r}, which the filter reads; pass {wanted}"
            )
    chosen = [p.select([n for n in wanted if n in p.column_names]) for p in pieces]
    if len(chosen) == 1:
        return chosen[0]
    try:
        return pa.concat_tables(chosen, promote_options="permissive").select(wanted)
    except pa.ArrowException as error:
        raise InvalidArgumentError(
            f"the tables cannot be filtered as one: {error}; cast them to one schema"
        ) from error


def _batch_rows(rows: pa.Table, predicate: Predicate) -> int:
    """Return how many rows to hand over at once: few where one row may take long."""
    if "regexp_" not in predicate.sql:
        return _BATCH_ROWS
    row_bytes = max(1, int(rows.nbytes) // int(rows.num_rows))
    return max(1, min(2048, _REGEX_BATCH_BYTES // row_bytes))


def _reason(error: duckdb.Error, time_limit_s: float) -> str:
    """Say why a predicate failed, without a stored value."""
    import duckdb

    if isinstance(error, duckdb.InterruptException):
        return (
            f"the filter did not finish within {time_limit_s:g} s and was stopped; "
            "write one that does less per row"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"the filter needs more than {MEMORY_LIMIT} of memory; write a smaller one"
    if isinstance(error, (duckdb.InternalException, duckdb.FatalException)):
        _forget()  # such an error leaves the whole database unusable
        return "the filter made the query engine fail; write it another way"
    return (
        f"the filter failed on some row ({type(error).__name__}): a value could not be converted "
        "or computed; guard it with TRY_CAST(... AS ...) or TRY(...), which give NULL instead"
    )


# --- the database of this process -------------------------------------------------------------

_lock = threading.Lock()
_database: duckdb.DuckDBPyConnection | None = None


@contextmanager
def _cursor(time_limit_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a fresh cursor whose work is interrupted when the time limit has passed."""
    with _lock:
        cursor = _open().cursor()
    timer = threading.Timer(time_limit_s, _interrupt, [cursor])
    timer.daemon = True
    timer.start()
    try:
        yield cursor
    finally:
        timer.cancel()
        cursor.close()


def _interrupt(cursor: duckdb.DuckDBPyConnection) -> None:
    import duckdb

    # The query may end, and the cursor be closed, at this very moment.
    with suppress(duckdb.Error):
        cursor.interrupt()


def _open() -> duckdb.DuckDBPyConnection:
    global _database
    if _database is None:
        import duckdb

        database = duckdb.connect(":memory:", config=_CONFIG)
        # GLOBAL, since every cursor is a session of its own. Timestamps mean the same on every
        # machine, and x // 0 is NULL rather than an error.
        database.execute("SET GLOBAL TimeZone = 'UTC'")
        database.execute("SET GLOBAL error_on_division_by_zero = false")
        database.execute("SET lock_configuration = true")
        _database = database
    return _database


def _forget() -> None:
    """Drop the database; the next filter opens a new one."""
    global _database
    with _lock:
        _database = None


def _forget_after_fork() -> None:
    """Leave the parent's database alone: its threads do not exist in the child."""
    global _lock, _database
    _lock = threading.Lock()
    if _database is not None:
        _inherited.append(_database)  # closing it here would wait for those threads
    _database = None


_inherited: list[duckdb.DuckDBPyConnection] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
