"""Rows of the catalog's tables and the values they stand for, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa
from sqlalchemy import Connection, Row, Table, and_, delete, insert, or_, select, update

from vecstore.catalog import tables
from vecstore.catalog.records import (
    Changes,
    DefaultRecord,
    FileRecord,
    IndexRecord,
    SpaceRecord,
    TranslatorRecord,
)
from vecstore.spaces import EncodingProfile, Space
from vecstore.storage.root import StoredFile

__all__ = [
    "Record",
    "committed_by",
    "default_records",
    "file_record",
    "index_records",
    "lexical_weights",
    "record_schema",
    "record_version",
    "space_record",
    "translator_record",
    "visible_records",
    "write_changes",
]


MOST_PARAMETERS = 500  # of one statement; databases have limits

Record = TypeVar("Record", bound=SpaceRecord | FileRecord | TranslatorRecord)


def visible_records(
    connection: Connection,
    table: Table,
    collection_id: str,
    span: tuple[int, int],
    *,
    known: Sequence[Record],
    to_record: Callable[[Row[Any]], Record],
) -> tuple[Record, ...]:
    """Return the records of the later version of a span, oldest first.

    ``known`` are those of the earlier version (-1 and none for a first read); only what was
    removed or added in between is read.
    """
    earlier, later = span
    columns = table.c
    here = columns.collection_id == collection_id
    gone: set[str] = set()
    if known:
        removed = and_(columns.removed_version > earlier, columns.removed_version <= later)
        gone = set(connection.execute(select(columns.id).where(here, removed)).scalars())
    visible = and_(
        columns.added_version > earlier,
        columns.added_version <= later,
        or_(columns.removed_version.is_(None), columns.removed_version > later),
    )
    order = [columns[name] for name in ("added_version", "position") if name in columns]
    added = connection.execute(select(table).where(here, visible).order_by(*order))
    return (*(record for record in known if record.id not in gone), *map(to_record, added))


def write_changes(
    connection: Connection, collection_id: str, version: int, changes: Changes, token: str
) -> None:
    """Write the rows of one commit, and the token by which its writer knows it again."""
    common: dict[str, Any] = {"collection_id": collection_id, "added_version": version}
    if changes.add_files:
        connection.execute(
            insert(tables.files),
            [
                {
                    "id": f.id,
                    "kind": f.kind,
                    "space_id": f.space_id,
                    "rows": f.rows,
                    "min_row_id": f.min_row_id,
                    "max_row_id": f.max_row_id,
                    "position": position,
                    **asdict(f.file),
                    **common,
                }
                for position, f in enumerate(changes.add_files)
            ],
        )
    for record in changes.add_spaces:
        values = asdict(record.space)
        connection.execute(
            insert(tables.spaces).values(
                id=record.id,
                directory=record.directory,
                generation=record.generation,
                fingerprint=record.space.fingerprint,
                **values,
                **common,
            )
        )
    for translator in changes.add_translators:
        values = asdict(translator)
        values.pop("added_version")
        connection.execute(insert(tables.translators).values(**values, **common))
    for table, gone in (
        (tables.files, changes.remove_files),
        (tables.spaces, changes.remove_spaces),
        (tables.translators, changes.remove_translators),
    ):
        for start in range(0, len(gone), MOST_PARAMETERS):
            part = gone[start : start + MOST_PARAMETERS]
            connection.execute(
                update(table).where(table.c.id.in_(part)).values(removed_version=version)
            )
    if changes.retire_spaces:
        retired = tables.spaces.c.id.in_(changes.retire_spaces)
        connection.execute(update(tables.spaces).where(retired).values(retired_version=version))
    if changes.default is not None:
        values = asdict(changes.default) | {"version": version, "collection_id": collection_id}
        connection.execute(insert(tables.default_spaces).values(**values))
    if changes.lexical_weight is not None:
        space_id, weight = changes.lexical_weight
        connection.execute(
            insert(tables.lexical_weights).values(
                collection_id=collection_id, version=version, space_id=space_id, weight=weight
            )
        )
    if changes.schema is not None:
        record_schema(connection, collection_id, version, changes.schema)
    if changes.checkpoint is not None:
        job, state = changes.checkpoint
        where = and_(
            tables.checkpoints.c.collection_id == collection_id, tables.checkpoints.c.job == job
        )
        connection.execute(delete(tables.checkpoints).where(where))
        connection.execute(
            insert(tables.checkpoints).values(
                collection_id=collection_id, job=job, state=dict(state)
            )
        )
    record_version(connection, collection_id, version, changes.operation, changes.rows, token=token)


def record_schema(
    connection: Connection, collection_id: str, version: int, schema: pa.Schema
) -> None:
    """Write the schema that a version introduces."""
    connection.execute(
        insert(tables.schemas).values(
            collection_id=collection_id,
            version=version,
            arrow_schema=schema.serialize().to_pybytes(),
        )
    )


def record_version(
    connection: Connection,
    collection_id: str,
    version: int,
    operation: str,
    rows: int,
    *,
    token: str | None = None,
) -> None:
    """Write the history entry of a commit."""
    connection.execute(
        insert(tables.versions).values(
            collection_id=collection_id,
            version=version,
            committed_at=datetime.now(UTC),
            operation=operation,
            rows=rows,
            token=token,
        )
    )


def committed_by(connection: Connection, collection_id: str, version: int) -> str | None:
    """Return the token of the commit that made a version."""
    table = tables.versions
    return connection.execute(
        select(table.c.token).where(
            table.c.collection_id == collection_id, table.c.version == version
        )
    ).scalar_one_or_none()


def _stored_file(row: Row[Any] | Mapping[str, Any]) -> StoredFile:
    values = row if isinstance(row, Mapping) else row._mapping
    return StoredFile(path=values["path"], size=values["size"], checksum=values["checksum"])


def default_records(
    connection: Connection, collection_id: str, version: int
) -> tuple[DefaultRecord, ...]:
    """Return the commits up to a version that set the default space, oldest first."""
    table = tables.default_spaces
    rows = connection.execute(
        select(table)
        .where(table.c.collection_id == collection_id, table.c.version <= version)
        .order_by(table.c.version)
    )
    return tuple(
        DefaultRecord(
            version=row.version, space_id=row.space_id, restored_version=row.restored_version
        )
        for row in rows
    )


def lexical_weights(connection: Connection, collection_id: str, version: int) -> dict[str, float]:
    """Return the weight of words that each space has at a version, where one was chosen."""
    table = tables.lexical_weights
    rows = connection.execute(
        select(table.c.space_id, table.c.weight)
        .where(table.c.collection_id == collection_id, table.c.version <= version)
        .order_by(table.c.version)
    )
    return {row.space_id: row.weight for row in rows}


def space_record(row: Row[Any], version: int) -> SpaceRecord:
    """Read a space as a version shows it."""
    space = Space(
        name=row.name,
        dim=row.dim,
        metric=row.metric,
        model=row.model,
        revision=row.revision,
        dtype=row.dtype,
        profile=EncodingProfile(**row.profile),
        supersedes=row.supersedes,
        encoder=row.encoder,
    )
    retired = row.retired_version
    return SpaceRecord(
        id=row.id,
        space=space,
        directory=row.directory,
        generation=row.generation,
        retired_version=None if retired is None or retired > version else retired,
    )


def file_record(row: Row[Any]) -> FileRecord:
    """Read a file."""
    return FileRecord(
        id=row.id,
        kind=row.kind,
        file=_stored_file(row),
        rows=row.rows,
        min_row_id=row.min_row_id,
        max_row_id=row.max_row_id,
        space_id=row.space_id,
        added_version=row.added_version,
    )


def translator_record(row: Row[Any]) -> TranslatorRecord:
    """Read a translator."""
    return TranslatorRecord(
        id=row.id,
        source=row.source,
        target=row.target,
        family=row.family,
        files={name: _stored_file(file) for name, file in row.files.items()},
        report=row.report,
        added_version=row.added_version,
    )


def index_records(connection: Connection, collection_id: str) -> tuple[IndexRecord, ...]:
    """Return the registered indexes of a collection."""
    table = tables.indexes
    rows = connection.execute(select(table).where(table.c.collection_id == collection_id))
    return tuple(map(_index_record, rows))


def _index_record(row: Row[Any]) -> IndexRecord:
    return IndexRecord(
        id=row.id,
        space=row.space,
        translator_id=row.translator_id,
        execution=row.execution,
        kind=row.kind,
        parameters=row.parameters,
        file=_stored_file(row),
        rows=row.rows,
        space_id=row.space_id,
        version=row.version,
        report=row.report,
    )
