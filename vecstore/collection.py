"""Collection: the public handle of a named set of items, what can be done with it.

Its verbs stand where they belong: reading, writing, upgrading and migrating each in a module of
their own; here are its versions, its files and its indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, final

from vecstore.arguments import DOCTOR_GRACE, TARGET_BYTES
from vecstore.catalog import IndexRecord, VersionRecord
from vecstore.migrating import Migratable
from vecstore.reading import CollectionVersion
from vecstore.search.plan import Execution

if TYPE_CHECKING:
    # Imported by the verbs that need them: opening a store and searching it does not.
    from vecstore.building import IndexBuild
    from vecstore.doctor import DoctorReport
    from vecstore.housekeeping.compaction import CompactionReport
    from vecstore.housekeeping.retention import ExpiryReport
    from vecstore.housekeeping.segments import SegmentStatus
    from vecstore.tuning.questions import GivenQueries

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
        """Commit what cascades have embedded and write what searches asked for, and return then.

        Both are done in the background as well, and when a store is closed.

        Raises
        ------
        StorageError, CommitConflictError
            The vectors cannot be committed. They are kept for another try.
        """
        self._catalog.require_own_process()
        self._notes.flush()
        self._coverage.flush()

    def _stop(self) -> None:
        """Do nothing more in the background; the store calls it before it closes the catalog."""
        self._notes.stop()

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
            There is no such version, or it has expired.
        """
        return CollectionVersion(self._latest.at(version))

    def versions(self) -> list[VersionRecord]:
        """Return the history: what each commit did and when, oldest first."""
        return self._catalog.versions(self._record.id)

    # Housekeeping

    @property
    def segments(self) -> tuple[SegmentStatus, ...]:
        """The files of the newest version, by kind: how many, how large, how much is dead."""
        from vecstore.housekeeping.segments import segment_status

        return segment_status(self.latest().snapshot)

    def compact(
        self,
        *,
        target_bytes: int = TARGET_BYTES,
        dead_share: float = 0.2,
        dry_run: bool = False,
    ) -> CompactionReport:
        """Rewrite small files into few large ones, without the rows that are dead.

        A commit like any other: items, vectors and row ids stay, indexes stay valid, older
        versions can be read. Others may write meanwhile. The old files are deleted by
        :meth:`Store.gc <vecstore.Store.gc>` once the versions that have them have expired.

        Parameters
        ----------
        target_bytes : int
            Size of the files to make, which are put together in memory one at a time. Files
            of half of it are left alone.
        dead_share : float
            From this share of dead rows on, larger files are rewritten too, 0 to 1.
        dry_run : bool
            Only say what would be rewritten.

        Raises
        ------
        InvalidArgumentError
            A limit is outside its domain.
        """
        from vecstore.housekeeping.choice import Everything
        from vecstore.housekeeping.compaction import compact, planned

        choice = Everything(target_bytes=target_bytes, dead_share=dead_share)
        if dry_run:
            return planned(self.latest().snapshot, choice)
        self._coverage.settle()
        return compact(self._writer.commit, self._writer.files, choice)

    def expire(
        self,
        *,
        older_than: timedelta | None = None,
        keep_last: int | None = None,
        dry_run: bool = False,
    ) -> ExpiryReport:
        """Let old versions be read no more, so that ``gc`` can delete what only they have.

        Parameters
        ----------
        older_than : timedelta, optional
            Versions that have been the newest one within this time stay.
        keep_last : int, optional
            So many of the newest versions stay. With both limits, what either keeps stays.
        dry_run : bool
            Only say what would expire.

        Raises
        ------
        InvalidArgumentError
            No limit is given, or one that makes no sense.
        """
        from vecstore.housekeeping.retention import ExpiryReport, first_kept

        history = self.versions()
        first = first_kept(history, older_than=older_than, keep_last=keep_last)
        if not dry_run:
            self._catalog.expire(self._record.id, first)
        return ExpiryReport(
            first_version=first,
            version=history[-1].version,
            expired=sum(not v.expired and v.version < first for v in history),
            dry_run=dry_run,
        )

    # Indexes

    def build_index(
        self,
        *,
        space: str,
        kind: str = "auto",
        into: str | None = None,
        execution: Execution = "rewrite",
        parameters: Mapping[str, Any] | None = None,
        recall: float | None = None,
        memory_limit: int | None = None,
        queries: GivenQueries | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IndexRecord | None:
        """Build an index over a space's vectors, replacing the one over the same view.

        By default only where it pays: below the measured number of rows from which an index
        answers faster, search stays exact, and nothing is built or replaced.

        Searches and writes go on meanwhile; the index is used from the moment it is registered,
        in one transaction. Rows written during the build are searched exactly.

        Parameters
        ----------
        space : str
            Whose vectors are indexed.
        kind : str
            "auto" chooses kind and parameters by rows, dimension, memory and recall, and measures
            what it chose; or a registered kind, such as "hnsw" or "flat", which is built at
            any size.
        into : str, optional
            Index the vectors as translated into this space, in the form that ``execution``
            ("rewrite" or "fold") searches.
        parameters : dict, optional
            Of the kind; unknown ones are refused by name.
        recall : float, optional
            Recall at 10 against exact search to be reached, 0.95 for "auto". Given for another
            kind, its search parameters are tuned to it. What was reached is in the record's
            ``report``, with its interval, the origin of the queries and the speed-up; where the
            target was not reached, the best is built and ``report["reached"]`` is False.
        memory_limit : int, optional
            Bytes that an index chosen by "auto" may take.
        queries : array_like of shape (n, dim), or dict of space name to such arrays, optional
            Queries to tune on, a sample of those that will come; those of other spaces are
            translated. Without them the last queries of this process ask, if it has seen a
            hundred different ones, else documents, translated ones where a route exists.
        progress : callable, optional
            Called with rows done and rows in all; what it raises cancels the build.

        Returns
        -------
        IndexRecord or None
            None where "auto" found that exact search answers as fast.

        Raises
        ------
        InvalidArgumentError
            An argument is outside its domain, or no index fits the memory limit.
        NoRouteError
            No translator joins the space to ``into``.
        NotFoundError
            The collection was dropped meanwhile.
        """
        from vecstore.indexing import build_index, index_view, is_worth_an_index, register_index
        from vecstore.tuning.auto import checked_target
        from vecstore.tuning.questions import coming_questions

        target, given = checked_target(kind, recall, memory_limit, queries), parameters or {}
        snapshot, translators = self.latest().snapshot, self._latest.translators
        view = index_view(snapshot, space, into=into, execution=execution, translators=translators)
        questions = None
        if target is not None:
            recent = partial(self._notes.recent, least=1)
            questions = coming_questions(snapshot, view, queries, translators, recent=recent)
        if not is_worth_an_index(view, snapshot, kind, given):
            return None
        new = build_index(
            view,
            snapshot,
            kind=kind,
            parameters=given,
            progress=progress,
            target=target,
            questions=questions,
        )
        register_index(self._catalog, self._record.id, new)
        self.refresh()
        return new

    def start_index(
        self,
        *,
        space: str,
        kind: str = "auto",
        into: str | None = None,
        execution: Execution = "rewrite",
        parameters: Mapping[str, Any] | None = None,
        recall: float | None = None,
        memory_limit: int | None = None,
        queries: GivenQueries | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IndexBuild:
        """Build an index in the background; takes and raises what :meth:`build_index` does.

        Returns
        -------
        IndexBuild
            With ``progress``, ``cancel()`` and ``result()``. Keep the store open until it is
            done.
        """
        from vecstore.building import IndexBuild

        def build(step: Callable[[int, int], None]) -> IndexRecord | None:
            return self.build_index(
                space=space,
                kind=kind,
                into=into,
                execution=execution,
                parameters=parameters,
                recall=recall,
                memory_limit=memory_limit,
                queries=queries,
                progress=step,
            )

        return IndexBuild(build, progress)

    def update_indexes(
        self,
        *,
        since: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> tuple[IndexRecord, ...]:
        """Build the indexes that are due, over the spaces' own vectors; ingest jobs end with it.

        Due is a space without an index from the size on from which one answers faster, and one
        whose index leaves so many rows out that they alone are of that size. An index of a kind
        that somebody named is built again as that kind, to its recall if it had a target; any
        other as :meth:`build_index` does by default.

        Parameters
        ----------
        since : int, optional
            A version: only spaces that were written to after it; by default all.
        progress : callable, optional
            Called with the space, rows done and rows in all; what it raises cancels the build
            that is under way.

        Returns
        -------
        tuple of IndexRecord
            What was built; each is in use from the moment it is done.
        """
        from vecstore.tuning.due import due_indexes

        made = []
        after = -1 if since is None else since
        for order in due_indexes(self.latest().snapshot, self.indexes, since=after):
            built = self.build_index(
                space=order.space,
                kind=order.kind,
                parameters=order.parameters,
                recall=order.recall,
                memory_limit=order.memory_limit,
                progress=None if progress is None else partial(progress, order.space),
            )
            if built is not None:
                made.append(built)
        return tuple(made)

    def drop_index(self, index_id: str) -> None:
        """Forget an index; searches of its view become exact.

        Raises
        ------
        NotFoundError
            There is no such index.
        """
        from vecstore.indexing import forget_index

        forget_index(self._catalog, self._record.id, index_id)
        self.refresh()

    # Health

    def doctor(self, *, repair: bool = False, grace: timedelta = DOCTOR_GRACE) -> DoctorReport:
        """Examine the collection: what is stored against what the catalog says.

        Reads every file of every version, and compares size, checksum, rows and row ids; opens
        translators, indexes and caches; measures the recall of indexes of native vectors on a
        sample; looks for vectors of one space in another, and for files that no version refers
        to. It changes nothing by itself.

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
        from vecstore.doctor import examine_collection

        report = examine_collection(
            self._catalog, self._root, self._record, repair=repair, grace=grace
        )
        self.refresh()
        return report
