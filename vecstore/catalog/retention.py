"""What the catalog still needs: how far back versions can be read, and which files they have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, select, update

from vecstore.catalog import tables
from vecstore.catalog.records import Sweep
from vecstore.catalog.rows import MOST_PARAMETERS
from vecstore.errors import StorageError

__all__ = ["expire", "gone", "refuse_collected", "sweep"]


def expire(connection: Connection, collection_id: str, first_version: int) -> None:
    """Let versions below ``first_version`` be read no more."""
    here = tables.collections.c.id == collection_id
    moved = connection.execute(
        update(tables.collections)
        .where(here, tables.collections.c.first_version < first_version)
        .values(first_version=first_version)
    )
    if moved.rowcount:
        connection.execute(
            insert(tables.expirations).values(
                collection_id=collection_id,
                first_version=first_version,
                expired_at=datetime.now(UTC),
            )
        )


def sweep(
    connection: Connection,
    collection_id: str,
    *,
    expired_before: datetime,
    orphans: Iterable[str],
    forget: bool,
) -> Sweep:
    """Return what a collection's readable versions, and those expired since, still need.

    Parameters
    ----------
    expired_before : datetime
        Versions that expired later still need their files.
    orphans : iterable of str
        Paths of old files that were found; those that nobody registered are returned.
    forget : bool
        Take what is needed no more out of the tables, and keep writers from committing orphans.
    """
    # Every commit of the collection changes this row, so none comes between here and the end.
    locked = select(tables.collections).where(tables.collections.c.id == collection_id)
    connection.execute(locked.with_for_update())
    table = tables.expirations
    horizon = connection.execute(
        select(func.max(table.c.first_version)).where(
            table.c.collection_id == collection_id, table.c.expired_at <= expired_before
        )
    ).scalar_one()
    removed = _removed(connection, collection_id, horizon or 0)
    file_ids, translator_ids, needed = _needed(connection, collection_id, horizon or 0)
    unknown = [path for path in orphans if path not in needed and path not in removed]
    if forget:
        for part in (tables.files, tables.translators, tables.spaces):
            connection.execute(delete(part).where(gone(part, collection_id, horizon or 0)))
        new = set(unknown) - _collected(connection, collection_id, unknown)
        if new:
            rows = [{"collection_id": collection_id, "path": path} for path in sorted(new)]
            connection.execute(insert(tables.collected), rows)
    return Sweep(
        paths=(*removed, *unknown),
        file_ids=frozenset(file_ids),
        translator_ids=frozenset(translator_ids),
    )


def refuse_collected(connection: Connection, collection_id: str, paths: Iterable[str]) -> None:
    """Refuse a commit of files that were deleted because nobody had committed them for long.

    Raises
    ------
    StorageError
        One of them was.
    """
    gone = _collected(connection, collection_id, list(paths))
    if gone:
        raise StorageError(
            f"{len(gone)} files of this write, such as {min(gone)}, were collected as garbage "
            "before it was committed: it took longer than the grace period of gc. Nothing was "
            "committed; write again, and give gc a longer grace"
        )


def _needed(
    connection: Connection, collection_id: str, horizon: int
) -> tuple[set[str], set[str], set[str]]:
    """Return the ids of needed files and translators, and every path that is needed."""
    file_ids, translator_ids, paths = set(), set(), set()
    table = tables.files
    here = table.c.collection_id == collection_id
    columns = select(table.c.id, table.c.path)
    for row in connection.execute(columns.where(here, ~gone(table, collection_id, horizon))):
        file_ids.add(row.id)
        paths.add(row.path)
    table = tables.translators
    here = table.c.collection_id == collection_id
    columns = select(table.c.id, table.c.files)
    for row in connection.execute(columns.where(here, ~gone(table, collection_id, horizon))):
        translator_ids.add(row.id)
        paths.update(file["path"] for file in row.files.values())
    table = tables.indexes
    paths.update(
        connection.execute(
            select(table.c.path).where(table.c.collection_id == collection_id)
        ).scalars()
    )
    return file_ids, translator_ids, paths


def _removed(connection: Connection, collection_id: str, horizon: int) -> list[str]:
    """Return the paths of files that no version from the horizon on has."""
    table = tables.files
    paths = connection.execute(
        select(table.c.path).where(gone(table, collection_id, horizon)).order_by(table.c.path)
    )
    removed = list(paths.scalars())
    table = tables.translators
    for files in connection.execute(
        select(table.c.files).where(gone(table, collection_id, horizon))
    ).scalars():
        removed += [file["path"] for file in files.values()]
    return removed


def gone(table: Table, collection_id: str, horizon: int) -> ColumnElement[bool]:
    """Match what was removed in a version that is not newer than the horizon."""
    removed = func.coalesce(table.c.removed_version, horizon + 1)
    return and_(table.c.collection_id == collection_id, removed <= horizon)


def _collected(connection: Connection, collection_id: str, paths: list[str]) -> set[str]:
    table = tables.collected
    found: set[str] = set()
    for start in range(0, len(paths), MOST_PARAMETERS):
        part = paths[start : start + MOST_PARAMETERS]
        found.update(
            connection.execute(
                select(table.c.path).where(
                    table.c.collection_id == collection_id, table.c.path.in_(part)
                )
            ).scalars()
        )
    return found
