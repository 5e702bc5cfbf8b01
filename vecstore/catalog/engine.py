"""Connections: SQLite set up for durability, PostgreSQL as it is, errors mapped at the border."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from vecstore.catalog.watch import ChangeToken, Watch
from vecstore.errors import (
    CorruptFileError,
    InvalidArgumentError,
    MissingDependencyError,
    StorageError,
    UnsupportedOperationError,
    VecstoreError,
)
from vecstore.storage.failpoints import Failpoint, reach

__all__ = ["Database", "retried"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ATTEMPTS = 6
FIRST_PAUSE_S = 0.05

BUSY_TIMEOUT_S = 30.0

_process = os.getpid()
"""The process that this is; asked by every query, and asking the system takes as long as a hit."""


def _forked() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_forked)


@final
class Database:
    """A pool of connections to the catalog's database.

    SQLite runs in WAL mode with ``synchronous=FULL``: readers never block the writer, and a
    commit that returned survives a power cut.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = make_url(url)
            backend = self.url.get_backend_name()
            if backend not in ("sqlite", "postgresql"):
                raise ArgumentError(f"unsupported database {backend}")
            self.is_sqlite = backend == "sqlite"
            arguments = {"timeout": BUSY_TIMEOUT_S} if self.is_sqlite else {}
            if self.url.drivername == "postgresql":
                self.url = self.url.set(drivername="postgresql+psycopg")
            if isinstance(password := self.url.query.get("password"), str):
                # libpq's second place for a password, which SQLAlchemy would not hide.
                self.url = self.url.difference_update_query(["password"]).set(password=password)
            self._engine: Engine = create_engine(self.url, connect_args=arguments)
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            raise InvalidArgumentError(
                "expected a SQLAlchemy URL of SQLite or PostgreSQL, such as "
                "'postgresql+psycopg://host/database'"
            ) from error
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"the database driver {error.name!r} is not installed; "
                "pip install 'vecstore[postgres]'"
            ) from error
        self._process = _process
        database = self.url.database if self.is_sqlite else None
        self._watch = Watch(database) if database else None
        if self.is_sqlite:
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @property
    def inherited(self) -> bool:
        """Whether this process is a forked child of the one that opened the database."""
        return _process != self._process

    def require_own_process(self) -> None:
        """Refuse a forked child: connections, and locks that were held, do not survive a fork.

        Raises
        ------
        UnsupportedOperationError
            This process is not the one that opened the database.
        """
        if self.inherited:
            raise UnsupportedOperationError(
                f"expected the store to be used by process {self._process}, which opened it; got "
                f"its forked child {_process}, where connections and locks are not valid. Open "
                "the store again in the child with vecstore.open, or start workers by the "
                "'spawn' method of multiprocessing"
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: everything inside sees one state of the catalog.

        Raises
        ------
        CorruptFileError
            A value is not of the form in which it was written.
        """
        try:
            with self._transaction(write=False) as connection:
                yield connection
        except VecstoreError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            place = self.url.render_as_string(hide_password=True)
            raise CorruptFileError(
                f"catalog {place} has a record that cannot be read ({error}); restore the catalog "
                "from a backup"
            ) from error

    @contextmanager
    def write(self, *, sign: bool = True) -> Iterator[Connection]:
        """Open a write transaction; it is durable when the block has been left.

        Without a sign nobody looks at the catalog at once: for what no reader asks for.
        """
        with self._transaction(write=True, sign=sign) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, write: bool, sign: bool = False) -> Iterator[Connection]:
        self.require_own_process()
        isolation = (
            "SERIALIZABLE" if self.is_sqlite else "READ COMMITTED" if write else "REPEATABLE READ"
        )
        try:
            with self._engine.connect() as raw:
                connection = raw.execution_options(
                    vecstore_write=write,
                    **({} if self.is_sqlite else {"isolation_level": isolation}),
                )
                if write:
                    reach(Failpoint.SQL_BEGIN, self.url.database)
                with connection.begin():
                    yield connection
                    if write:
                        reach(Failpoint.SQL_COMMIT, self.url.database)
            if write:
                if sign and self._watch is not None:
                    self._watch.sign()
                reach(Failpoint.SQL_COMMITTED, self.url.database)
        except (SQLAlchemyError, OSError) as error:
            raise _mapped(error, self.url) from error

    def change_token(self) -> ChangeToken | None:
        """Return a cheap value that changes with every commit of any process; None of a server.

        Refuses a forked child, as :meth:`require_own_process` does.
        """
        if _process != self._process:
            self.require_own_process()
        return None if self._watch is None else self._watch.token()

    def damage(self) -> list[str]:
        """Return what SQLite finds wrong with its file, a line each; a server keeps its own."""
        if not self.is_sqlite:
            return []
        found: list[str] = []
        try:
            with self.read() as connection:
                for check in ("integrity_check", "foreign_key_check"):
                    rows = connection.exec_driver_sql(f"PRAGMA {check}").all()
                    found += [" ".join(map(str, row)) for row in rows if tuple(row) != ("ok",)]
        except CorruptFileError as error:
            found.append(str(error))
        return found

    def close(self) -> None:
        """Close all connections; in a forked child, where they are the parent's, leave them."""
        self._engine.dispose(close=not self.inherited)


def retried(transaction: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a transaction again when the database gave way, after pauses of 0.05 to 0.8 seconds.

    It must be one whose effect is the same if the lost attempt was committed after all.
    """

    @wraps(transaction)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        for attempt in range(ATTEMPTS - 1):
            try:
                return transaction(*args, **kwargs)
            except TransientError:
                # Not all at once: whoever met in a deadlock would meet again.
                time.sleep(FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1))
        return transaction(*args, **kwargs)

    return run


def _configure_sqlite(connection: Any, _record: object) -> None:
    """Set up one SQLite connection; transactions are begun explicitly by :func:`_begin_sqlite`."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start of a write, so that it waits instead of failing later."""
    write = connection.get_execution_options().get("vecstore_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@final
class TransientError(StorageError):
    """The database gave way: a deadlock, a lost connection, a restart. The same again may pass."""


# SQLSTATE: serialisation failure, deadlock, and the ends of a connection.
_TRANSIENT_STATES = ("40001", "40P01", "57P01", "57P02", "57P03", "08")
# What SQLite says of a file that is damaged or no database (SQLITE_CORRUPT, SQLITE_NOTADB).
_DAMAGED = ("malformed", "file is not a database")


def _mapped(error: SQLAlchemyError | OSError, url: URL) -> StorageError | CorruptFileError:
    """Describe a database error without the SQL, its parameters or the password."""
    place = url.render_as_string(hide_password=True)
    if not isinstance(error, DBAPIError):
        cause = error.strerror if isinstance(error, OSError) else type(error).__name__
        kind = TransientError if isinstance(error, ConnectionError) else StorageError
        return kind(f"catalog {place}: {cause}; nothing was committed")
    cause = str(error.orig).strip()
    if url.get_backend_name() == "sqlite" and any(sign in cause for sign in _DAMAGED):
        return CorruptFileError(
            f"catalog {url.database}: {cause}; restore the file from a backup, or what can be read "
            "of it with `sqlite3 catalog.db .recover`, then run `vecstore doctor`"
        )
    state = getattr(error.orig, "sqlstate", None) or ""
    lost = error.connection_invalidated or isinstance(error.orig, ConnectionError)
    if lost or state.startswith(_TRANSIENT_STATES):
        return TransientError(
            f"catalog {place}: {cause}; it was tried {ATTEMPTS} times. Retry when the database "
            "answers again"
        )
    return StorageError(f"catalog {place}: {cause}; nothing was committed")
