"""The catalog's schema as an ordered list of steps, each applied in one transaction.

A step never changes once a release carries it; a change of the schema is a new step at
the end of ``STEPS``. Every applied step leaves its record in the ``migrations`` table.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, func, inspect, select

from vecstore.catalog import tables
from vecstore.errors import SchemaVersionError

__all__ = ["SCHEMA_VERSION", "is_current", "migrate"]


def create_first_tables(connection: Connection) -> None:
    """Create the tables of the first schema."""
    tables.metadata.create_all(connection)


STEPS: tuple[Callable[[Connection], None], ...] = (create_first_tables,)

SCHEMA_VERSION = len(STEPS)

LOCK_KEY = 0x76656373746F7265  # "vecstore"


def is_current(connection: Connection) -> bool:
    """Say whether the catalog has the current schema.

    Raises
    ------
    SchemaVersionError
        The catalog was written by a newer vecstore, or is another program's database.
    """
    return _applied(connection) == SCHEMA_VERSION


def migrate(connection: Connection) -> None:
    """Bring the catalog to the current schema inside the caller's transaction.

    Whoever opens a new store at the same moment waits: a write to SQLite holds its lock
    already, PostgreSQL is asked for one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(LOCK_KEY)))
    applied = _applied(connection)
    for version, step in enumerate(STEPS[applied:], start=applied + 1):
        step(connection)
        connection.execute(
            tables.migrations.insert().values(
                version=version, name=step.__name__, applied_at=datetime.now(UTC)
            )
        )


def _applied(connection: Connection) -> int:
    """Return how many steps the catalog has behind it."""
    names = set(inspect(connection).get_table_names())
    if tables.migrations.name not in names:
        if names & set(tables.metadata.tables):
            raise SchemaVersionError(
                "the database has tables with vecstore's names but no record of its migrations; "
                "give vecstore a database (or schema) of its own"
            )
        return 0
    recorded = sorted(connection.execute(select(tables.migrations.c.version)).scalars())
    if recorded != list(range(1, len(recorded) + 1)):
        raise SchemaVersionError(
            f"expected migrations 1 to {len(recorded)} in the catalog, found {recorded}; "
            "restore the catalog from a backup"
        )
    if len(recorded) > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"the store has schema version {len(recorded)}, this vecstore reads up to "
            f"{SCHEMA_VERSION}; upgrade vecstore"
        )
    return len(recorded)
