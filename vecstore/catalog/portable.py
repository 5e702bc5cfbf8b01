"""The catalog's rows as values of JSON: out of one database, into another of either kind."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, final

from sqlalchemy import Column, Connection, DateTime, LargeBinary, Table, insert, not_, select

from vecstore.catalog import tables
from vecstore.catalog.engine import Database, retried
from vecstore.catalog.migrations import SCHEMA_VERSION
from vecstore.catalog.retention import gone
from vecstore.errors import AlreadyExistsError, NotFoundError

__all__ = ["LEFT_OUT", "SCHEMA_VERSION", "PortableTables", "Rows"]

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by table; bytes are base64, times ISO 8601 in UTC."""

_COPIED = (
    tables.collections,
    tables.versions,
    tables.schemas,
    tables.spaces,
    tables.default_spaces,
    tables.lexical_weights,
    tables.files,
    tables.translators,
    tables.indexes,
    tables.checkpoints,
    tables.demand,
)
# What belongs to the place: its schema, its files that wait for gc, and its running jobs.
LEFT_OUT = frozenset({"migrations", "expirations", "collected", "claims"})


@final
class PortableTables:
    """Reads everything that versions which have not expired consist of, and writes it elsewhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retried
    def read(self, names: Collection[str] | None = None) -> tuple[Rows, frozenset[str]]:
        """Read the rows of some collections, or of all, as they are at one moment.

        Returns
        -------
        tuple of Rows and frozenset of str
            The rows, and the ids of all collections of the store.

        Raises
        ------
        NotFoundError
            There is no collection of a name.
        """
        table = tables.collections
        with self._database.read() as connection:
            there = connection.execute(select(table).order_by(table.c.name)).all()
            missing = set(names or ()) - {row.name for row in there}
            if missing:
                raise NotFoundError(
                    f"there is no collection {', '.join(map(repr, sorted(missing)))}; the store "
                    f"has {', '.join(repr(row.name) for row in there) or 'none'}"
                )
            rows: dict[str, list[dict[str, Any]]] = {part.name: [] for part in _COPIED}
            for row in there:
                if names is None or row.name in names:
                    for part in _COPIED:
                        rows[part.name] += _rows(connection, part, row.id, row.first_version)
        return rows, frozenset(row.id for row in there)

    @retried
    def write(self, rows: Rows) -> None:
        """Fill a catalog without collections, in one transaction.

        Raises
        ------
        AlreadyExistsError
            The catalog has a collection.
        """
        with self._database.write() as connection:
            _require_none(connection)
            for table in _COPIED:
                values = [
                    {c.name: _from_portable(c, row[c.name]) for c in table.c}
                    for row in rows[table.name]
                ]
                if values:
                    connection.execute(insert(table), values)

    @retried
    def require_none(self) -> None:
        """Raise AlreadyExistsError if the catalog has a collection."""
        with self._database.read() as connection:
            _require_none(connection)


def _rows(
    connection: Connection, table: Table, collection_id: str, first_version: int
) -> list[dict[str, Any]]:
    own = table.c.id if table is tables.collections else table.c.collection_id
    query = select(table).where(own == collection_id)
    if "removed_version" in table.c:
        query = query.where(not_(gone(table, collection_id, first_version)))
    return [
        {column.name: _portable(column, row._mapping[column.name]) for column in table.c}
        for row in connection.execute(query.order_by(*list(table.c)[:2]))
    ]


def _require_none(connection: Connection) -> None:
    names = connection.execute(select(tables.collections.c.name)).scalars().all()
    if names:
        raise AlreadyExistsError(
            f"expected a place without a store, found one with {len(names)} collections, such as "
            f"{min(names)!r}; restore into another place"
        )


def _portable(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, LargeBinary):
        return base64.b64encode(value).decode("ascii")
    if isinstance(column.type, DateTime):
        # SQLite drops the zone; everything is written in UTC.
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat()
    return value


def _from_portable(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(value)
    if isinstance(column.type, DateTime):
        return datetime.fromisoformat(value)
    return value
