"""Collection: the public handle of a named set of items, what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.catalog import (
    Catalog,
    Changes,
    CollectionRecord,
    IndexRecord,
    VersionRecord,
)
from vecstore.definitions import add_space, add_translator, remove_space, remove_translator
from vecstore.errors import InvalidArgumentError, NotFoundError
from vecstore.filters import Where
from vecstore.fitting import MAX_PAIRS, Side, TranslatorReport, fit_pairs, store_fit
from vecstore.ids import Ids, as_ids
from vecstore.indexing import build_index, index_view
from vecstore.inputs import Documents, Vectors, checked_rows
from vecstore.latest import LatestVersion
from vecstore.metadata import Metadata
from vecstore.reading import CollectionVersion, Readable
from vecstore.search.cascade import CascadeAnswer
from vecstore.search.plan import Execution
from vecstore.snapshot import Snapshot
from vecstore.spaces import EncodingProfile, Metric, Space, VectorType
from vecstore.storage.root import DataRoot
from vecstore.version import OpenVersion
from vecstore.writes import Checkpoint, OnExisting, Writer, WriteResult, rows_of_ids
from vecstore_translators import TranslatorFamily

__all__ = ["Collection"]


@final
class Collection(Readable):
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
        self._latest = LatestVersion(catalog, root, record, refresh_interval=refresh_interval)
        self._writer = Writer(catalog, root, record, lambda: self.refresh().snapshot)

    def __repr__(self) -> str:
        return f"<Collection {self.name!r} at version {self.version}>"

    # Versions

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._version().snapshot.state.collection.name

    def latest(self) -> CollectionVersion:
        """Return the newest version; it stays as it is while others commit."""
        return CollectionVersion(self._latest.get())

    def refresh(self) -> CollectionVersion:
        """Look at the catalog now, and return the newest version."""
        return CollectionVersion(self._latest.refresh())

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

    # Spaces

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
        self._commit(add_space(space))
        return space

    def drop_space(self, name: str) -> None:
        """Drop a space with its vectors and translators; older versions still have them."""
        self._commit(remove_space(name))

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
        rows = checked_rows(
            self.latest().snapshot,
            ids=ids,
            vectors=vectors,
            space=space,
            documents=documents,
            metadata=metadata,
        )
        return self._refreshed(self._writer.upsert(rows, checkpoint))

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
        rows = checked_rows(self.latest().snapshot, ids=ids, vectors=vectors, space=space)
        if len(rows.vectors) != 1:
            raise InvalidArgumentError(
                f"expected vectors of one space, got {len(rows.vectors)}; call add_vectors for each"
            )
        [(name, prepared)] = rows.vectors.items()
        result = self._writer.add_vectors(
            space=rows.spaces[name],
            vectors=prepared,
            rows_of=rows_of_ids(rows.ids),
            on_existing=on_existing,
            checkpoint=checkpoint,
        )
        return self._refreshed(result)

    def delete(self, ids: Ids | None = None, *, where: Where | None = None) -> WriteResult:
        """Delete items by ids or by a filter, with their vectors in every space.

        Ids without an item are ignored; the result says how many items were deleted.
        """
        if (ids is None) == (where is None):
            raise InvalidArgumentError("delete needs either ids or where; got both or neither")
        if where is not None and not where:
            raise InvalidArgumentError(
                "an empty filter would delete every item; pass where='true' if that is meant"
            )
        wanted = None if ids is None else as_ids(ids)

        def rows_of(snapshot: Snapshot) -> NDArray[np.int64]:
            if wanted is None:
                assert where is not None
                return snapshot.matching(where).to_array()
            found = snapshot.find(wanted)
            return np.unique(found[found >= 0])

        return self._refreshed(self._writer.delete(rows_of))

    # Jobs

    def checkpoint(self, job: str) -> dict[str, Any] | None:
        """Return the state that a job's last commit left, or None."""
        return self._catalog.checkpoint(self._record.id, job)

    def clear_checkpoint(self, job: str) -> None:
        """Forget a finished job."""
        self._catalog.clear_checkpoint(self._record.id, job)

    # Translators

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
        record = store_fit(fit, self._root, self._record.directory)
        self._commit(add_translator(record, fit.spaces))
        return fit.report(record.id)

    def drop_translator(self, translator_id: str) -> None:
        """Forget a translator; searches stop using it with this commit."""
        self._commit(remove_translator(translator_id))

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
        known = self._catalog.indexes(self._record.id)
        replaced = tuple(old.id for old in known if old.view == new.view)
        self._catalog.replace_index(self._record.id, new, replaced=replaced)
        self.refresh()
        return new

    def drop_index(self, index_id: str) -> None:
        """Forget an index; searches of its view become exact.

        Raises
        ------
        NotFoundError
            There is no such index.
        """
        known = [record.id for record in self._catalog.indexes(self._record.id)]
        if index_id not in known:
            raise NotFoundError(
                f"collection {self.name!r} has no index {index_id!r}; it has "
                f"{', '.join(known) or 'none'}"
            )
        self._catalog.replace_index(self._record.id, None, replaced=(index_id,))
        self.refresh()

    def _commit(self, build: Callable[[Snapshot], Changes]) -> None:
        self._writer.commit(build)
        self.refresh()

    def _refreshed(self, result: WriteResult) -> WriteResult:
        """Let this process see its own commit before the caller goes on."""
        self.refresh()
        return result

    def _version(self) -> OpenVersion:
        return self._latest.get()

    def _keep(self, target: Space, embedded: CascadeAnswer) -> None:
        """Commit what a cascade embedded; rows that died meanwhile are left out."""

        def rows_of(snapshot: Snapshot) -> NDArray[np.int64]:
            return np.where(snapshot.live.contains(embedded.row_ids), embedded.row_ids, -1)

        self._writer.add_vectors(
            space=target,
            vectors=target.prepare(embedded.vectors),
            rows_of=rows_of,
            on_existing="skip",
        )
        self.refresh()
