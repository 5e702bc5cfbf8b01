"""Collection: the public handle of a named set of items, what can be done with it.

Its verbs stand where they belong: reading, writing, upgrading and migrating each in a module of
their own; here are its versions and its indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, final

from vecstore.catalog import IndexRecord, VersionRecord
from vecstore.doctor import GRACE, DoctorReport, examine_collection
from vecstore.indexing import build_index, forget_index, index_view, register_index
from vecstore.migrating import Migratable
from vecstore.reading import CollectionVersion
from vecstore.search.plan import Execution

__all__ = ["Collection"]


@final
class Collection(Migratable):
    """A named set of items. Made by a store; thread-safe.

    Reads see the newest committed version: this process's own commits at once, those of
    others when the catalog's files have changed (SQLite), or within ``refresh_interval``
    seconds (PostgreSQL). :meth:`refresh` looks at once.
    """

    def __repr__(self) -> str:
        return f"<Collection {self.name!r} at version {self.version}>"

    def flush(self) -> None:
        """Commit what cascades have embedded, and return when that is done.

        Cascades commit their vectors in the background; a store does this when it is closed.

        Raises
        ------
        StorageError, CommitConflictError
            The vectors cannot be committed. They are kept for another try.
        """
        self._coverage.flush()

    # Versions

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._version().snapshot.state.collection.name

    def at(self, version: int) -> CollectionVersion:
        """Return an older version, read only.

        Raises
        ------
        NotFoundError
            There is no such version.
        """
        return CollectionVersion(self._latest.at(version))

    def versions(self) -> list[VersionRecord]:
        """Return the history: what each commit did and when, oldest first."""
        return self._catalog.versions(self._record.id)

    # Indexes

    def build_index(
        self,
        *,
        space: str,
        kind: str = "hnsw",
        into: str | None = None,
        execution: Execution = "rewrite",
        parameters: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IndexRecord:
        """Build an index over a space's vectors, replacing the one over the same view.

        Parameters
        ----------
        space : str
            Whose vectors are indexed.
        kind : str
            A registered kind, such as "hnsw" or "flat".
        into : str, optional
            Index the vectors as translated into this space, in the form that ``execution``
            ("rewrite" or "fold") searches.
        parameters : dict, optional
            Of the kind; unknown ones are refused by name.
        progress : callable, optional
            Called with rows done and rows in all.
        """
        snapshot = self.latest().snapshot
        view = index_view(
            snapshot, space, into=into, execution=execution, translators=self._latest.translators
        )
        new = build_index(view, snapshot, kind=kind, parameters=parameters or {}, progress=progress)
        register_index(self._catalog, self._record.id, new)
        self.refresh()
        return new

    def drop_index(self, index_id: str) -> None:
        """Forget an index; searches of its view become exact.

        Raises
        ------
        NotFoundError
            There is no such index.
        """
        forget_index(self._catalog, self._record.id, index_id)
        self.refresh()

    # Health

    def doctor(self, *, repair: bool = False, grace: timedelta = GRACE) -> DoctorReport:
        """Examine the collection: what is stored against what the catalog says.

        Reads every file of every version, and compares size, checksum, rows and row ids; opens
        translators, indexes and caches; measures the recall of indexes of native vectors on a
        sample; looks for files that no version refers to. It changes nothing by itself.

        Parameters
        ----------
        repair : bool
            Do what loses nothing: build broken indexes again, remove damaged caches, and files
            that no version refers to.
        grace : timedelta
            How old such files must be; younger ones may belong to a write that is under way.

        Returns
        -------
        DoctorReport
            ``healthy`` says whether anything but wasted space is left to be done.
        """
        report = examine_collection(
            self._catalog, self._root, self._record, repair=repair, grace=grace
        )
        self.refresh()
        return report
