"""Reading the state of a version: everything that it consists of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Row, Table, select

from vecstore.catalog import tables
from vecstore.catalog.records import CollectionRecord, State
from vecstore.catalog.rows import (
    Record,
    default_records,
    file_record,
    lexical_weights,
    space_record,
    translator_record,
    visible_records,
)
from vecstore.errors import NotFoundError

__all__ = ["collection_gone", "collection_row", "read_state"]


def read_state(
    connection: Connection, collection_id: str, version: int | None, since: State | None
) -> State:
    """Read a version; see :meth:`Catalog.state`."""
    current = collection_row(connection, collection_id)
    number = current.version if version is None else version
    if not isinstance(number, int) or not 0 <= number <= current.version:
        raise NotFoundError(
            f"collection {current.name!r} has versions 0 to {current.version}, got {number!r}"
        )

    if number < current.first_version:
        raise NotFoundError(
            f"version {number} of collection {current.name!r} has expired; versions "
            f"{current.first_version} to {current.version} can be read"
        )
    if since is not None and since.version < current.first_version:
        since = None  # what was removed since may be forgotten

    def visible(
        table: Table, known: Sequence[Record], to_record: Callable[[Row[Any]], Record]
    ) -> tuple[Record, ...]:
        span = (-1 if since is None else since.version, number)
        return visible_records(
            connection, table, collection_id, span, known=known, to_record=to_record
        )

    schema = connection.execute(
        select(tables.schemas.c.arrow_schema)
        .where(
            tables.schemas.c.collection_id == collection_id,
            tables.schemas.c.version <= number,
        )
        .order_by(tables.schemas.c.version.desc())
        .limit(1)
    ).scalar_one()
    return State(
        collection=CollectionRecord(id=current.id, name=current.name, directory=current.directory),
        version=number,
        schema=pa.ipc.read_schema(pa.py_buffer(schema)),
        # All of them each time: they are few, and what is known of one may change.
        spaces=visible_records(
            connection,
            tables.spaces,
            collection_id,
            (-1, number),
            known=(),
            to_record=lambda row: space_record(row, number),
        ),
        defaults=default_records(connection, collection_id, number),
        lexical_weights=lexical_weights(connection, collection_id, number),
        files=visible(tables.files, since.files if since else (), file_record),
        translators=visible(
            tables.translators, since.translators if since else (), translator_record
        ),
    )


def collection_row(connection: Connection, collection_id: str) -> Row[Any]:
    """Return a collection's own row; NotFoundError if it has been dropped."""
    table = tables.collections
    row = connection.execute(select(table).where(table.c.id == collection_id)).one_or_none()
    if row is None:
        raise collection_gone(collection_id)
    return row


def collection_gone(collection_id: str) -> NotFoundError:
    """Return what to say of a collection that is no more."""
    return NotFoundError(f"collection {collection_id} has been dropped; open another one")
