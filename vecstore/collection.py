"""Collection: the public handle of a named set of items, its writes and its newest version."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from vecstore.catalog import (
    Catalog,
    Changes,
    CollectionRecord,
    IndexRecord,
    SpaceRecord,
    TranslatorRecord,
    VersionRecord,
)
from vecstore.encoding import Encoder
from vecstore.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    UnpairedRowsError,
)
from vecstore.filters import Where
from vecstore.fitting import MAX_PAIRS, Side, TranslatorReport, fit_pairs
from vecstore.ids import Ids, as_ids, check_unique
from vecstore.indexing import IndexFiles, build_index
from vecstore.metadata import Metadata, as_metadata
from vecstore.names import slug
from vecstore.reading import CollectionVersion, Item, SpaceStatus, Vectors
from vecstore.search.plan import Execution, Plan
from vecstore.search.views import View
from vecstore.snapshot import SegmentCache, Snapshot
from vecstore.spaces import EncodingProfile, Metric, Space, VectorType
from vecstore.storage.root import DataRoot
from vecstore.translation import Translators
from vecstore.writes import Checkpoint, OnExisting, Writer, WriteResult, rows_of_ids
from vecstore_translators import TranslatorFamily

__all__ = ["Collection"]

MAX_BATCH = 1_000_000

Documents = Sequence[str | None] | pa.Array | pa.ChunkedArray


@final
class Collection:
    """A named set of items. Made by a store; thread-safe.

    Reads see the newest committed version: this process's own commits at once, those of
    others when the catalog's files have changed (SQLite), or within ``refresh_interval``
    seconds (PostgreSQL). :meth:`refresh` looks at once.
    """

    def __init__(
        self,
        catalog: Catalog,
        root: DataRoot,
        record: CollectionRecord,
        *,
        refresh_interval: float,
    ) -> None:
        self._catalog = catalog
        self._root = root
        self._record = record
        self._refresh_interval = refresh_interval
        self._lock = threading.RLock()
        self._cache = SegmentCache(root)
        self._translators = Translators(root)
        self._indexes = IndexFiles(root)
        self._current: CollectionVersion | None = None
        self._token: tuple[int, ...] | None = None
        self._checked_at = 0.0
        self._writer = Writer(catalog, root, record, self._latest_snapshot)

    def __repr__(self) -> str:
        return f"<Collection {self.name!r} at version {self.version}>"

    # Versions

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.latest().snapshot.state.collection.name

    @property
    def version(self) -> int:
        """The newest committed version."""
        return self.latest().version

    def latest(self) -> CollectionVersion:
        """Return the newest version; it stays as it is while others commit."""
        with self._lock:
            token = self._catalog.change_token()
            age = time.monotonic() - self._checked_at
            fresh = token == self._token if token else age < self._refresh_interval
            if self._current is not None and fresh:
                return self._current
        return self.refresh()

    def refresh(self) -> CollectionVersion:
        """Look at the catalog now, and return the newest version."""
        with self._lock:
            # The token is taken first: what is committed after it shows in the next one.
            token, checked_at = self._catalog.change_token(), time.monotonic()
            version = self._catalog.version(self._record.id)
            indexes = tuple(self._catalog.indexes(self._record.id))
            current = self._current
            if current is None or current.version != version:
                state = self._catalog.state(self._record.id)
                current = self._open(Snapshot(state, self._cache), indexes)
            elif current.index_records != indexes:
                current = self._open(current.snapshot, indexes)
            self._current, self._token, self._checked_at = current, token, checked_at
            return current

    def at(self, version: int) -> CollectionVersion:
        """Return an older version, read only.

        Raises
        ------
        NotFoundError
            There is no such version.
        """
        state = self._catalog.state(self._record.id, version)
        return self._open(
            Snapshot(state, self._cache), tuple(self._catalog.indexes(self._record.id))
        )

    def versions(self) -> list[VersionRecord]:
        """Return the history: what each commit did and when, oldest first."""
        return self._catalog.versions(self._record.id)

    # Spaces

    @property
    def spaces(self) -> dict[str, SpaceStatus]:
        """The spaces by name, oldest first, with their live coverage."""
        return self.latest().spaces

    def create_space(
        self,
        name: str,
        *,
        dim: int,
        metric: Metric = "cosine",
        model: str | None = None,
        revision: str | None = None,
        dtype: VectorType = "float32",
        profile: EncodingProfile | None = None,
        supersedes: str | None = None,
    ) -> Space:
        """Create an embedding space; see :class:`vecstore.Space` for the arguments.

        Raises
        ------
        AlreadyExistsError
            The collection has a space of this name.
        NotFoundError
            ``supersedes`` names no space.
        """
        space = Space(
            name=name,
            dim=dim,
            metric=metric,
            model=model,
            revision=revision,
            dtype=dtype,
            profile=profile or EncodingProfile(),
            supersedes=supersedes,
        )
        space_id = uuid.uuid4().hex

        def build(snapshot: Snapshot) -> Changes:
            if name in snapshot.spaces:
                raise AlreadyExistsError(
                    f"collection {self._record.name!r} has a space {name!r} already "
                    f"({snapshot.spaces[name].space.describe()}); choose another name"
                )
            older = 0 if supersedes is None else snapshot.space(supersedes).generation
            record = SpaceRecord(
                id=space_id,
                space=space,
                directory=f"{slug(name)}-{space_id[:8]}",
                generation=older + 1,
            )
            return Changes(operation=f"create space {name}"[:100], add_spaces=(record,))

        self._commit(build)
        return space

    def drop_space(self, name: str) -> None:
        """Drop a space with its vectors and translators; older versions still have them."""

        def build(snapshot: Snapshot) -> Changes:
            record = snapshot.space(name)
            return Changes(
                operation=f"drop space {name}"[:100],
                remove_spaces=(record.id,),
                remove_files=tuple(f.id for f in snapshot.state.files if f.space_id == record.id),
                remove_translators=tuple(
                    t.id for t in snapshot.state.translators if name in (t.source, t.target)
                ),
            )

        self._commit(build)

    # Writes

    def upsert(
        self,
        *,
        ids: Ids,
        vectors: Vectors | None = None,
        space: str | Space | None = None,
        documents: Documents | None = None,
        metadata: Metadata | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> WriteResult:
        """Insert items, replacing whole those whose id exists, in one commit.

        An item's content and its vectors belong together: replacing an item drops its old
        vectors in every space. To attach vectors of another space to items as they are, use
        :meth:`add_vectors`. When the call returns, the rows survive a power cut.

        Parameters
        ----------
        ids : sequence of str
            Unique within the call.
        vectors : array_like of shape (n, dim), or dict of space name to such arrays, optional
            Row-aligned with ``ids``. Items may also come without vectors.
        space : str or Space, optional
            The space of ``vectors``; may be left out if the collection has only one.
        documents : sequence of str or None, optional
            Texts; needed later for a cascade or a re-embed.
        metadata : Table, dict of columns, or sequence of dict, optional
            New columns are added to the collection, existing ones keep their type.
        checkpoint : Checkpoint, optional
            State of the job that these rows belong to, committed with them.

        Raises
        ------
        InvalidArgumentError
            Ids repeat or are not acceptable.
        DimensionMismatchError, NonFiniteError, InvalidVectorsError
            The vectors do not fit the space.
        SpaceMismatchError
            ``space`` is a Space with another fingerprint than the stored one.
        UnpairedRowsError
            Arguments differ in their number of rows.
        InvalidMetadataError
            A column would have to change its type.
        """
        wanted = as_ids(ids)
        check_unique(wanted)
        _check_batch(len(wanted))
        latest = self.latest()
        prepared = {
            name: latest.snapshot.space(name).space.prepare(rows)
            for name, rows in _by_space(latest, vectors, space).items()
        }
        texts = _as_documents(documents, rows=len(wanted))
        table = as_metadata(metadata, rows=len(wanted))
        for name, rows in prepared.items():
            _require_paired(len(wanted), len(rows), f"vectors in space {name!r}")
        if not len(wanted):
            return WriteResult(version=self.version, rows=0)
        result = self._writer.upsert(
            ids=wanted, vectors=prepared, documents=texts, metadata=table, checkpoint=checkpoint
        )
        self.refresh()
        return result

    def add_vectors(
        self,
        *,
        ids: Ids,
        vectors: ArrayLike,
        space: str | Space | None = None,
        on_existing: OnExisting = "error",
        checkpoint: Checkpoint | None = None,
    ) -> WriteResult:
        """Attach vectors in a space to existing items; touches nothing else.

        Parameters
        ----------
        ids : sequence of str
            Items that exist; unique within the call.
        vectors : array_like of shape (n, dim)
        space : str or Space
        on_existing : {"error", "skip", "replace"}
            What to do with items that have a vector in the space.

        Raises
        ------
        NotFoundError
            An id has no item. Nothing is written.
        AlreadyExistsError
            An item has a vector in the space, under ``on_existing="error"``.
        """
        if on_existing not in ("error", "skip", "replace"):
            raise InvalidArgumentError(
                f"expected on_existing to be error, skip or replace, got {on_existing!r}"
            )
        wanted = as_ids(ids)
        check_unique(wanted)
        _check_batch(len(wanted))
        latest = self.latest()
        [(name, rows)] = _by_space(latest, vectors, space).items()
        prepared = latest.snapshot.space(name).space.prepare(rows)
        _require_paired(len(wanted), len(prepared), f"vectors in space {name!r}")
        result = self._writer.add_vectors(
            space=name,
            vectors=prepared,
            rows_of=rows_of_ids(wanted),
            on_existing=on_existing,
            checkpoint=checkpoint,
        )
        self.refresh()
        return result

    def delete(self, ids: Ids | None = None, *, where: Where | None = None) -> WriteResult:
        """Delete items by ids or by a filter, with their vectors in every space.

        Ids without an item are ignored; the result says how many items were deleted.
        """
        if (ids is None) == (where is None):
            raise InvalidArgumentError("delete needs either ids or where; got both or neither")
        wanted = None if ids is None else as_ids(ids)

        def rows_of(snapshot: Snapshot) -> NDArray[np.int64]:
            if wanted is None:
                assert where is not None
                return snapshot.matching(where).to_array()
            found = snapshot.find(wanted)
            return np.unique(found[found >= 0])

        result = self._writer.delete(rows_of)
        self.refresh()
        return result

    # Jobs

    def checkpoint(self, job: str) -> dict[str, Any] | None:
        """Return the state that a job's last commit left, or None."""
        return self._catalog.checkpoint(self._record.id, job)

    def clear_checkpoint(self, job: str) -> None:
        """Forget a finished job."""
        self._catalog.clear_checkpoint(self._record.id, job)

    # Reads of the newest version

    def __len__(self) -> int:
        return len(self.latest())

    def count(self, where: Where | None = None) -> int:
        """Count live items, or those for which a filter is true."""
        return self.latest().count(where)

    @overload
    def get(self, ids: str, *, spaces: Sequence[str] = ()) -> Item: ...
    @overload
    def get(self, ids: Ids, *, spaces: Sequence[str] = ()) -> list[Item]: ...
    def get(self, ids: str | Ids, *, spaces: Sequence[str] = ()) -> Item | list[Item]:
        """Return one item, or a list; see :meth:`CollectionVersion.get`."""
        return self.latest().get(ids, spaces=spaces)

    def scan(
        self,
        *,
        spaces: Sequence[str] = (),
        where: Where | None = None,
        batch_rows: int = 10_000,
    ) -> Iterator[pa.RecordBatch]:
        """Stream all live items of the newest version; see :meth:`CollectionVersion.scan`."""
        return self.latest().scan(spaces=spaces, where=where, batch_rows=batch_rows)

    def search(
        self,
        vectors: Vectors,
        *,
        space: str | Space | None = None,
        k: int | None = None,
        limit: int | None = None,
        where: Where | None = None,
        encoder: Encoder | None = None,
        depth: int | None = None,
        commit: bool = True,
        execution: Execution | None = None,
        rescore_depth: int | None = None,
        allow_partial: bool = False,
    ) -> Any:
        """Find the nearest items of the whole collection, whatever model embedded them.

        Parameters
        ----------
        vectors : array_like of shape (dim,) or (n, dim), or dict of space name to such arrays
            One query or a batch. A dictionary brings the same queries embedded by several
            models; then items without a vector in the ranking space are compared natively
            in another of these spaces where they have one.
        space : str or Space, optional
            The ranking space; by default the newest of the dictionary, or the only one.
        k, limit : int
            Hits per query, 10 by default; two names of one argument.
        where : str or dict, optional
            A predicate over id, document and metadata, as SQL or as a Mongo-style mapping.
        encoder, depth : Encoder and int, optional
            Cascade: the merged shortlist of ``depth`` items per query is embedded by the
            encoder where it has no native vector, and ranked natively.
        commit : bool
            Keep the vectors that a cascade made, as coverage of the ranking space.
        execution : {"rewrite", "fold", "rescore", "query"}, optional
            How translations run; see ``docs/concepts.md``. By default "rewrite".
        rescore_depth : int, optional
            Shortlist per query of the "rescore" execution; by default max(200, 20 k).
        allow_partial : bool
            Leave out items of related spaces that no translator joins to the ranking space,
            instead of raising.

        Returns
        -------
        Hits
            For one query: a sequence of :class:`Hit`, best first. Score: larger is better.
        SearchResult
            For a batch: a sequence of :class:`Hits`.

        Raises
        ------
        NoRouteError
            Some generation cannot be reached: no translator joins it to the ranking space.
        SpaceMismatchError
            The space or the encoder is not what the collection has under that name.
        DimensionMismatchError, NonFiniteError, InvalidFilterError, InvalidArgumentError
        """
        result, embedded = self.latest().search_and_embed(
            vectors,
            space=space,
            k=k,
            limit=limit,
            where=where,
            encoder=encoder,
            depth=depth,
            execution=execution,
            rescore_depth=rescore_depth,
            allow_partial=allow_partial,
        )
        if embedded is not None and commit and len(embedded.row_ids):
            self._keep(result.plan.target, embedded.row_ids, embedded.vectors)
        return result

    def explain(
        self,
        *,
        space: str | None = None,
        query_spaces: Sequence[str] | None = None,
        execution: Execution | None = None,
        allow_partial: bool = False,
    ) -> Plan:
        """Return the plan of a search; print it. See :meth:`CollectionVersion.explain`."""
        return self.latest().explain(
            space=space,
            query_spaces=query_spaces,
            execution=execution,
            allow_partial=allow_partial,
        )

    # Translators

    @property
    def translators(self) -> tuple[TranslatorRecord, ...]:
        """The stored translators, oldest first."""
        return self.latest().translators

    def fit_translator(
        self,
        *,
        source: str,
        target: str,
        side: Side = "documents",
        family: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None = None,
        queries: NDArray[np.float32] | None = None,
        max_pairs: int = MAX_PAIRS,
        seed: int = 0,
    ) -> TranslatorReport:
        """Fit a translator on the items that have vectors in both spaces, and store it.

        Parameters
        ----------
        source, target : str
            The direction of the map.
        side : {"documents", "queries"}
            "documents": a forward map of old documents (source) into the new space (target).
            "queries": a map of new queries (source) into the old space (target).
        family : str, TranslatorFamily or sequence of them, optional
            What to choose from by held-out retrieval; by default every registered family.
        queries : ndarray of shape (n, dim), optional
            Real query vectors by the new model; without them held-out documents ask.
        max_pairs : int
            A seeded sample is used where there are more pairs.

        Raises
        ------
        InvalidArgumentError
            Fewer than 20 items have vectors in both spaces.
        """
        fit = fit_pairs(
            self.latest().snapshot,
            source=source,
            target=target,
            side=side,
            families=family,
            queries=queries,
            max_pairs=max_pairs,
            seed=seed,
        )
        name = uuid.uuid4().hex
        folder = f"data/{self._record.directory}/translators/{name}"
        record = TranslatorRecord(
            id=name,
            source=source,
            target=target,
            family=fit.selection.family.name,
            files={
                file: self._root.write(f"{folder}/{file}", _writer_of(content))
                for file, content in fit.files.items()
            },
            report=fit.record,
        )

        def build(snapshot: Snapshot) -> Changes:
            snapshot.space(source), snapshot.space(target)
            operation = f"fit translator {source} -> {target}"[:100]
            return Changes(operation=operation, add_translators=(record,))

        self._commit(build)
        return fit.report(name, source, target)

    def drop_translator(self, translator_id: str) -> None:
        """Forget a translator; searches stop using it with this commit."""

        def build(snapshot: Snapshot) -> Changes:
            if translator_id not in {t.id for t in snapshot.state.translators}:
                raise NotFoundError(
                    f"collection {self._record.name!r} has no translator {translator_id!r}; "
                    "see collection.translators"
                )
            return Changes(operation="drop translator", remove_translators=(translator_id,))

        self._commit(build)

    # Indexes

    @property
    def indexes(self) -> tuple[IndexRecord, ...]:
        """The registered indexes."""
        return self.latest().index_records

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
        latest = self.latest()
        snapshot = latest.snapshot
        record = snapshot.space(space)
        view = View(record=record, target=record.space)
        if into is not None:
            view = self._translated_view(snapshot, record, into, execution)
        new = build_index(
            view,
            snapshot.vectors(space),
            self._cache,
            directory=self._record.directory,
            kind=kind,
            parameters=parameters or {},
            progress=progress,
        )
        replaced = tuple(
            old.id
            for old in self._catalog.indexes(self._record.id)
            if (old.space, old.translator_id, old.execution)
            == (new.space, new.translator_id, new.execution)
        )
        self._catalog.replace_index(self._record.id, new, replaced=replaced)
        self.refresh()
        return new

    def drop_index(self, index_id: str) -> None:
        """Forget an index; searches become exact."""
        self._catalog.replace_index(self._record.id, None, replaced=(index_id,))
        self.refresh()

    # Below: private

    def _open(self, snapshot: Snapshot, indexes: tuple[IndexRecord, ...]) -> CollectionVersion:
        return CollectionVersion(
            snapshot,
            translators=self._translators,
            indexes=self._indexes,
            index_records=indexes,
        )

    def _latest_snapshot(self) -> Snapshot:
        return self.refresh().snapshot

    def _commit(self, build: Callable[[Snapshot], Changes | None]) -> None:
        self._writer.commit(build)
        self.refresh()

    def _keep(
        self, target: SpaceRecord, row_ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> None:
        """Commit what a cascade embedded; rows that died meanwhile are left out."""

        def rows_of(snapshot: Snapshot) -> NDArray[np.int64]:
            return np.where(snapshot.live.contains(row_ids), row_ids, -1)

        self._writer.add_vectors(
            space=target.space.name,
            vectors=target.space.prepare(vectors),
            rows_of=rows_of,
            on_existing="skip",
        )
        self.refresh()

    def _translated_view(
        self, snapshot: Snapshot, record: SpaceRecord, into: str, execution: Execution
    ) -> View:
        from vecstore.search.plan import shortest_route

        if execution not in ("rewrite", "fold"):
            raise InvalidArgumentError(
                f"expected execution to be rewrite or fold for an index, got {execution!r}"
            )
        route = shortest_route(snapshot, record.space.name, into)
        if not route:
            raise NotFoundError(
                f"no translator joins {record.space.name!r} and {into!r}; fit one first"
            )
        translator, identity = self._translators.route(route)
        return View(
            record=record,
            target=snapshot.space(into).space,
            form=execution,
            translator=translator,
            translator_id=identity,
        )


def _by_space(
    latest: CollectionVersion, vectors: Vectors | None, space: str | Space | None
) -> dict[str, ArrayLike]:
    """Return vectors by space name; refuse what does not say whose they are."""
    if vectors is None:
        return {}
    if isinstance(vectors, Mapping):
        if space is not None:
            raise InvalidArgumentError("vectors by space name need no space=; got both")
        return dict(vectors)
    known = latest.snapshot.spaces
    if isinstance(space, Space):
        latest.snapshot.space(space.name).space.require_same(space)
        return {space.name: vectors}
    if space is None:
        if len(known) != 1:
            raise InvalidArgumentError(
                "say which space the vectors belong to with space=; the collection has "
                f"{', '.join(map(repr, known)) or 'none yet, see create_space'}"
            )
        space = next(iter(known))
    return {space: vectors}


def _as_documents(documents: Documents | None, *, rows: int) -> pa.Array:
    if documents is None:
        return pa.nulls(rows, pa.string())
    try:
        if isinstance(documents, pa.ChunkedArray):
            documents = documents.combine_chunks()
        array = (
            documents.cast(pa.string())
            if isinstance(documents, pa.Array)
            else pa.array(documents, type=pa.string())
        )
    except (pa.ArrowException, TypeError) as error:
        raise InvalidArgumentError(f"expected documents to be strings or None: {error}") from error
    _require_paired(rows, len(array), "documents")
    return array


def _require_paired(expected: int, got: int, what: str) -> None:
    if expected != got:
        raise UnpairedRowsError(
            f"expected {what} for {expected} ids, got {got}; rows must be aligned"
        )


def _check_batch(rows: int) -> None:
    if rows > MAX_BATCH:
        raise InvalidArgumentError(
            f"expected at most {MAX_BATCH:,} rows in one call, got {rows:,}; write in batches"
        )


def _writer_of(content: bytes) -> Callable[[pa.NativeFile], object]:
    return lambda sink: sink.write(content)
