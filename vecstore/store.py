"""Store: a catalog plus a data root, and the collections in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection as Several
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from vecstore.arguments import COMPACT_AFTER, DOCTOR_GRACE, GC_GRACE
from vecstore.catalog import Catalog, CollectionRecord
from vecstore.collection import Collection
from vecstore.encoders import Encoders, OpenEncoder
from vecstore.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from vecstore.names import check_name
from vecstore.places import located
from vecstore.storage.root import open_root
from vecstore.upgrade.recent import keeps_queries

if TYPE_CHECKING:
    # Imported by the verbs that need them: opening a store does not.
    from vecstore.backup import BackupReport
    from vecstore.doctor import DoctorReport
    from vecstore.housekeeping.garbage import GarbageReport

__all__ = ["Store", "open"]


def open(
    place: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    create: bool = True,
    refresh_interval: float = 0.5,
    encoders: OpenEncoder | None = None,
    refit: bool = True,
    cache: str | os.PathLike[str] | None = None,
    compact_after: int | None = COMPACT_AFTER,
    keep_queries: bool | None = None,
) -> Store:
    """Open a store.

    Parameters
    ----------
    place : path or str
        A folder, which then holds catalog and data; or the SQLAlchemy URL of a database for
        the catalog (``postgresql+psycopg://...``), with ``data``.
    data : path or str, optional
        The data root: a folder, or the URL of an object store, such as
        ``s3://bucket/prefix?region=eu-central-1``; needed with a URL, by default the folder
        itself.
    create : bool
        Create the store if it does not exist; otherwise raise.
    refresh_interval : float
        Seconds for which a PostgreSQL catalog is not asked again for news of other writers.
    encoders : callable, optional
        Opens an encoder by the address that a space remembers, when texts are to be embedded
        for it: ``vecstore_ingest.open_encoder``, or any ``address -> Encoder``.
    refit : bool
        Fit translators again in the background when cascades have doubled their pairs; see
        ``Collection.refit_translators``.
    cache : path, optional
        Local folder for what is read of an object store, up to 16 GiB; by default one below
        ``XDG_CACHE_HOME`` or ``~/.cache``. Processes may share it.
    compact_after : int, optional
        After a write that leaves this many small files of a similar size, they are merged, in
        a commit of its own; None leaves that to :meth:`Collection.compact`.
    keep_queries : bool, optional
        Keep the vectors of a space's last 512 queries beside its data, so that indexes are tuned on
        them in other processes too; False keeps none, and removes those that are there. By
        default as the environment variable ``VECSTORE_KEEP_QUERIES`` says, 0 or 1; without it,
        they are kept.

    Raises
    ------
    NotFoundError
        There is no store, with ``create=False``.
    SchemaVersionError
        The store was written by a newer vecstore.
    StorageError
        The folder or the database cannot be used.

    Examples
    --------
    >>> import tempfile, vecstore
    >>> with vecstore.open(tempfile.mkdtemp()) as store:
    ...     docs = store.create_collection("products")
    ...     _ = docs.create_space("v1", dim=3)
    ...     _ = docs.upsert(ids=["a", "b"], vectors=[[1, 0, 0], [0, 1, 0]])
    ...     docs.search([0.9, 0.1, 0], k=1).ids
    ['a']
    """
    options: dict[str, Any] = {
        "refresh_interval": refresh_interval,
        "encoders": encoders,
        "cache": cache,
        "compact_after": compact_after,
        "keep_queries": keep_queries,
        "refit": refit,
    }
    where = located(place, data)
    if not create and not where.exists:
        raise NotFoundError(
            f"there is no vecstore store at {where.folder}; run `vecstore init` first"
        )
    where.prepare()
    return Store(where.url, where.data, **options)


@final
class Store:
    """Collections in one catalog and data root. A context manager; thread-safe.

    A store belongs to the process that opened it. A forked child that uses it gets
    UnsupportedOperationError, and may open the store again for itself.
    """

    def __init__(
        self,
        url: str,
        data: str | os.PathLike[str],
        *,
        refresh_interval: float = 0.5,
        encoders: OpenEncoder | None = None,
        refit: bool = True,
        cache: str | os.PathLike[str] | None = None,
        compact_after: int | None = COMPACT_AFTER,
        keep_queries: bool | None = None,
    ) -> None:
        if compact_after is not None and compact_after < 2:
            raise InvalidArgumentError(
                f"expected compact_after of at least 2, or None, got {compact_after}"
            )
        self._compact_after = compact_after
        self._keep_queries = keeps_queries(keep_queries)
        self._root = open_root(data, cache=cache)
        self._catalog = Catalog(url)
        self._refresh_interval = refresh_interval
        self._refit = refit
        self._encoders = Encoders(encoders)
        self._lock = threading.Lock()
        self._open: dict[str, Collection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush its collections, close the catalog and the encoders that the store opened.

        Committed data needs no closing to be safe. In a forked child nothing is done: all of
        it is the parent's.
        """
        if self._catalog.inherited:
            return
        with self._lock:
            opened = tuple(self._open.values())
        try:
            for collection in opened:
                collection.flush()
        finally:
            self._close()

    def _close(self) -> None:
        with self._lock:
            opened = tuple(self._open.values())
        for collection in opened:
            collection._stop()
        self._encoders.close()
        self._catalog.close()

    def __repr__(self) -> str:
        return f"<Store {self._catalog.location}>"

    def collections(self) -> list[str]:
        """Return the names of all collections, sorted."""
        return [record.name for record in self._catalog.collections()]

    def create_collection(self, name: str, *, exist_ok: bool = False) -> Collection:
        """Create a collection.

        Raises
        ------
        AlreadyExistsError
            The name is taken, unless ``exist_ok``.
        """
        check_name(name, what="collection")
        try:
            return self._handle(self._catalog.create_collection(name))
        except AlreadyExistsError:
            if not exist_ok:
                raise
            return self.collection(name)

    def collection(self, name: str) -> Collection:
        """Return a collection.

        Raises
        ------
        NotFoundError
            Names the collections there are.
        """
        records = {record.name: record for record in self._catalog.collections()}
        if name not in records:
            raise NotFoundError(
                f"there is no collection {name!r}; the store has "
                f"{', '.join(map(repr, records)) or 'none yet, see create_collection'}"
            )
        return self._handle(records[name])

    def rename_collection(self, name: str, new_name: str) -> Collection:
        """Give a collection another name and return it."""
        check_name(new_name, what="collection")
        self._catalog.rename_collection(self._record(name).id, new_name)
        collection = self.collection(new_name)
        collection.refresh()
        return collection

    def drop_collection(self, name: str) -> None:
        """Drop a collection with all its versions and files; this cannot be undone."""
        record = self._record(name)
        self._catalog.drop_collection(record.id)
        with self._lock:
            dropped = self._open.pop(record.id, None)
        if dropped is not None:
            dropped._stop()
        self._root.remove_tree(f"data/{record.directory}")

    def doctor(self, *, repair: bool = False, grace: timedelta = DOCTOR_GRACE) -> DoctorReport:
        """Examine the catalog and all collections; see :meth:`Collection.doctor`.

        Finds files of dropped collections, too, which a killed drop leaves behind.
        """
        from vecstore.doctor import examine_store

        report = examine_store(self._catalog, self._root, repair=repair, grace=grace)
        with self._lock:
            opened = tuple(self._open.values())
        for collection in opened:
            collection.refresh()
        return report

    def gc(self, *, grace: timedelta = GC_GRACE, dry_run: bool = False) -> GarbageReport:
        """Delete the files that no readable version of any collection has.

        Those are the files of versions that have expired, files that a crash left behind, and
        caches made from what is gone. Files of other programs are left alone.

        Parameters
        ----------
        grace : timedelta
            Files stay that were written, and those of versions that expired, within this
            time: a writer may be about to commit them, a reader about to open them.
        dry_run : bool
            Only say what would be deleted.

        Raises
        ------
        InvalidArgumentError
            ``grace`` is negative.
        StorageError
            A file cannot be deleted; a later call goes on.
        """
        from vecstore.housekeeping.garbage import collect_garbage

        return collect_garbage(self._catalog, self._root, grace=grace, dry_run=dry_run)

    def backup(
        self,
        place: str | os.PathLike[str],
        *,
        collections: Several[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> BackupReport:
        """Copy a consistent snapshot of the store, while others write; see :func:`restore`.

        All that is committed when the call begins is in the backup, with every version that
        can be read, and of later commits nothing or all up to one. Files are verified as they
        are copied. What is at the place already and whole is not copied again, what only the
        backup before had is removed, and until the new one is complete the old one can be
        restored. One backup at a time may go to a place.

        Files of versions that expire meanwhile stay for the grace period of :meth:`gc`, an
        hour by default; if copying takes longer and one is gone, the backup fails, and can be
        run again.

        Parameters
        ----------
        place : path or str
            A folder, or the URL of an object store; the backup lies in ``vecstore-backup``
            below it.
        collections : collection of str, optional
            Names; by default all.
        cache : path, optional
            Local folder for what is read of an object store at ``place``, as for :func:`open`.

        Raises
        ------
        NotFoundError
            There is no such collection.
        AlreadyExistsError
            The backup at the place is another store's, or has collections that this one would
            leave out.
        CorruptFileError
            A file is damaged or gone.
        StorageError
            A place refused; what was copied serves the next call.
        """
        from vecstore.backup import back_up

        return back_up(self._catalog, self._root, place, collections=collections, cache=cache)

    def _record(self, name: str) -> CollectionRecord:
        return self.collection(name)._record

    def _handle(self, record: CollectionRecord) -> Collection:
        """Return the one handle of a collection, which its caches belong to."""
        with self._lock:
            if record.id not in self._open:
                self._open[record.id] = Collection(
                    self._catalog,
                    self._root,
                    record,
                    encoders=self._encoders,
                    refresh_interval=self._refresh_interval,
                    refit=self._refit,
                    compact_after=self._compact_after,
                    keep_queries=self._keep_queries,
                )
            return self._open[record.id]
