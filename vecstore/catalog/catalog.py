"""Catalog: reads a version's state, and commits changes with a compare-and-swap."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, final

import pyarrow as pa
from sqlalchemy import Row, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from vecstore.catalog import migrations, tables
from vecstore.catalog.claims import ClaimTable
from vecstore.catalog.demand import DemandTable
from vecstore.catalog.engine import Database, retried
from vecstore.catalog.portable import PortableTables
from vecstore.catalog.records import (
    Changes,
    CollectionRecord,
    History,
    IndexRecord,
    State,
    Sweep,
    VersionRecord,
)
from vecstore.catalog.retention import expire, refuse_collected, sweep
from vecstore.catalog.rows import (
    Record,
    committed_by,
    file_record,
    index_records,
    record_schema,
    record_version,
    space_record,
    translator_record,
    write_changes,
)
from vecstore.catalog.states import collection_gone, collection_row, read_state
from vecstore.catalog.watch import ChangeToken
from vecstore.errors import AlreadyExistsError, CommitConflictError
from vecstore.names import slug

__all__ = ["Catalog"]

FIRST_SCHEMA = pa.schema([("id", pa.string()), ("document", pa.string())])


@final
class Catalog:
    """The catalog of one store. Thread-safe; every method is one transaction.

    A transaction that the database gave up is tried again; each has the same effect if the
    lost attempt was committed after all.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.claims = ClaimTable(self._database)
        self.demand = DemandTable(self._database)
        self.portable = PortableTables(self._database)
        try:
            self._migrate()
        except BaseException:
            self._database.close()
            raise

    @retried
    def _migrate(self) -> None:
        with self._database.read() as connection:
            current = migrations.is_current(connection)
        if not current:
            with self._database.write() as connection:
                migrations.migrate(connection)

    @property
    def location(self) -> str:
        """The database URL without its password."""
        return self._database.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    @property
    def inherited(self) -> bool:
        """Whether this process is a forked child of the one that opened the catalog."""
        return self._database.inherited

    def require_own_process(self) -> None:
        """Raise UnsupportedOperationError in a forked child; takes no lock."""
        self._database.require_own_process()

    def change_token(self) -> ChangeToken | None:
        """Return a value that changes with every commit, read without SQL, or None.

        Refuses a forked child, as :meth:`require_own_process` does.
        """
        return self._database.change_token()

    # Collections

    @retried
    def collections(self) -> list[CollectionRecord]:
        """Return all collections by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(tables.collections).order_by(tables.collections.c.name)
            )
            return [CollectionRecord(id=r.id, name=r.name, directory=r.directory) for r in rows]

    def create_collection(self, name: str) -> CollectionRecord:
        """Create an empty collection at version 0."""
        record = CollectionRecord(
            id=uuid.uuid4().hex, name=name, directory=f"{slug(name)}-{uuid.uuid4().hex[:8]}"
        )
        with self._name_taken(name):
            self._insert_collection(record)
        return record

    @retried
    def _insert_collection(self, record: CollectionRecord) -> None:
        table = tables.collections
        with self._database.write() as connection:
            if connection.execute(select(table.c.id).where(table.c.id == record.id)).first():
                return
            start = {"version": 0, "first_version": 0, "next_row_id": 0}
            connection.execute(insert(table).values(**asdict(record), **start))
            record_schema(connection, record.id, 0, FIRST_SCHEMA)
            record_version(connection, record.id, 0, "create collection", 0)

    @retried
    def rename_collection(self, collection_id: str, name: str) -> None:
        """Give a collection another name; its files stay where they are.

        A commit like any other, so that everyone who has the collection open learns of it.
        """
        table = tables.collections
        with self._name_taken(name), self._database.write() as connection:
            version = connection.execute(
                update(table)
                .where(table.c.id == collection_id)
                .values(name=name, version=table.c.version + 1)
                .returning(table.c.version)
            ).scalar_one_or_none()
            if version is None:
                raise collection_gone(collection_id)
            record_version(connection, collection_id, version, f"rename to {name}", 0)

    @retried
    def drop_collection(self, collection_id: str) -> None:
        """Forget a collection with all its versions."""
        with self._database.write() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                if "collection_id" in table.c:
                    connection.execute(delete(table).where(table.c.collection_id == collection_id))
            connection.execute(
                delete(tables.collections).where(tables.collections.c.id == collection_id)
            )

    # Versions

    @retried
    def state(
        self, collection_id: str, version: int | None = None, *, since: State | None = None
    ) -> State:
        """Read everything a version consists of; the newest one by default.

        With ``since``, an older state, only what changed after it is read, so that a writer
        of many small commits does not read its own history again each time.

        Raises
        ------
        NotFoundError
            The collection or the version does not exist.
        """
        with self._database.read() as connection:
            return read_state(connection, collection_id, version, since)

    @retried
    def newest(
        self, collection_id: str, *, known: State | None = None
    ) -> tuple[State, tuple[IndexRecord, ...]]:
        """Read the newest version, ``known`` itself if it is that, and the registered indexes."""
        with self._database.read() as connection:
            state = known
            if state is None or collection_row(connection, collection_id).version != state.version:
                state = read_state(connection, collection_id, None, known)
            return state, index_records(connection, collection_id)

    @retried
    def versions(self, collection_id: str) -> list[VersionRecord]:
        """Return the history, oldest first."""
        table = tables.versions
        with self._database.read() as connection:
            first = collection_row(connection, collection_id).first_version
            rows = connection.execute(
                select(table)
                .where(table.c.collection_id == collection_id)
                .order_by(table.c.version)
            )
            return [
                VersionRecord(
                    version=row.version,
                    # SQLite drops the zone; everything is written in UTC.
                    committed_at=row.committed_at.replace(tzinfo=UTC),
                    operation=row.operation,
                    rows=row.rows,
                    expired=row.version < first,
                )
                for row in rows
            ]

    @retried
    def history(self, collection_id: str) -> History:
        """Return what all versions of a collection consist of, removed records included."""
        with self._database.read() as connection:

            def every(table: Table, to_record: Callable[[Row[Any]], Record]) -> tuple[Record, ...]:
                rows = connection.execute(
                    select(table).where(table.c.collection_id == collection_id)
                )
                return tuple(map(to_record, rows))

            current = collection_row(connection, collection_id)
            return History(
                next_row_id=current.next_row_id,
                spaces=every(tables.spaces, lambda row: space_record(row, current.version)),
                files=every(tables.files, file_record),
                translators=every(tables.translators, translator_record),
            )

    def damage(self) -> list[str]:
        """Return what the database itself finds wrong with its file; nothing for a server's."""
        return self._database.damage()

    @retried
    def reserve_row_ids(self, collection_id: str, count: int) -> int:
        """Reserve ``count`` consecutive row ids for ever and return the first."""
        table = tables.collections
        with self._database.write(sign=False) as connection:
            end = connection.execute(
                update(table)
                .where(table.c.id == collection_id)
                .values(next_row_id=table.c.next_row_id + count)
                .returning(table.c.next_row_id)
            ).scalar_one_or_none()
            if end is None:
                raise collection_gone(collection_id)
            return int(end) - count

    def commit(self, collection_id: str, base_version: int, changes: Changes) -> int:
        """Make ``changes`` the next version if ``base_version`` is still the newest.

        Raises
        ------
        CommitConflictError
            Another writer was first. Nothing of the changes is visible.
        """
        return self._commit(collection_id, base_version, changes, uuid.uuid4().hex)

    @retried
    def _commit(self, collection_id: str, base_version: int, changes: Changes, token: str) -> int:
        """Commit once, however often it is tried: the token tells our own version from others'."""
        version = base_version + 1
        table = tables.collections
        with self._database.write() as connection:
            swapped = connection.execute(
                update(table)
                .where(table.c.id == collection_id, table.c.version == base_version)
                .values(version=version)
            )
            if swapped.rowcount == 0:
                if committed_by(connection, collection_id, version) == token:
                    return version
                current = collection_row(connection, collection_id)
                raise CommitConflictError(
                    f"collection {current.name!r}: expected version {base_version}, found "
                    f"{current.version}; another writer committed first. Retry"
                )
            refuse_collected(connection, collection_id, changes.paths)
            write_changes(connection, collection_id, version, changes, token)
        return version

    @retried
    def expire(self, collection_id: str, first_version: int) -> None:
        """Let versions below ``first_version`` be read no more."""
        with self._database.write() as connection:
            expire(connection, collection_id, first_version)

    @retried
    def sweep(
        self,
        collection_id: str,
        *,
        expired_before: datetime,
        orphans: Iterable[str],
        forget: bool,
    ) -> Sweep:
        """Return what can be deleted, forgetting it if told so; see :func:`retention.sweep`."""
        with self._database.write() as connection:
            return sweep(
                connection,
                collection_id,
                expired_before=expired_before,
                orphans=orphans,
                forget=forget,
            )

    # Checkpoints of jobs

    @retried
    def checkpoint(self, collection_id: str, job: str) -> dict[str, Any] | None:
        """Return the state that the job's last commit left, or None."""
        table = tables.checkpoints
        with self._database.read() as connection:
            state = connection.execute(
                select(table.c.state).where(
                    table.c.collection_id == collection_id, table.c.job == job
                )
            ).scalar_one_or_none()
            return None if state is None else dict(state)

    @retried
    def checkpoints(self, collection_id: str, prefix: str) -> dict[str, dict[str, Any]]:
        """Return the states of the jobs whose names begin so, by name."""
        table = tables.checkpoints
        with self._database.read() as connection:
            rows = connection.execute(
                select(table)
                .where(table.c.collection_id == collection_id, table.c.job.startswith(prefix))
                .order_by(table.c.job)
            )
            return {row.job: dict(row.state) for row in rows}

    @retried
    def clear_checkpoint(self, collection_id: str, job: str) -> None:
        """Forget a job."""
        table = tables.checkpoints
        with self._database.write() as connection:
            connection.execute(
                delete(table).where(table.c.collection_id == collection_id, table.c.job == job)
            )

    # Indexes are caches: they belong to no version

    @retried
    def indexes(self, collection_id: str) -> list[IndexRecord]:
        """Return the registered indexes."""
        with self._database.read() as connection:
            return list(index_records(connection, collection_id))

    @retried
    def replace_index(
        self, collection_id: str, record: IndexRecord | None, *, replaced: tuple[str, ...] = ()
    ) -> None:
        """Register an index and forget those it replaces, in one step.

        Raises
        ------
        NotFoundError
            The collection has been dropped, perhaps while the index was being built.
        """
        table = tables.indexes
        with self._database.write() as connection:
            collection_row(connection, collection_id)
            gone = (*replaced, *([record.id] if record is not None else []))
            connection.execute(delete(table).where(table.c.id.in_(gone)))
            if record is not None:
                values = asdict(record)
                file = values.pop("file")
                connection.execute(
                    insert(table).values(collection_id=collection_id, **values, **file)
                )

    def _name_taken(self, name: str) -> _NameTaken:
        return _NameTaken(name)


class _NameTaken:
    """Turns a violated unique name into AlreadyExistsError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and isinstance(error.__cause__, IntegrityError):
            raise AlreadyExistsError(
                f"a collection named {self._name!r} exists; choose another name or drop it first"
            ) from error
