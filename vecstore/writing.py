"""Writing: what changes a collection's spaces and rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore import definitions
from vecstore.catalog import Catalog, Changes, CollectionRecord, SpaceRecord
from vecstore.coverage import CoverageWriter, commit_coverage
from vecstore.encoders import Encoders
from vecstore.encoding import Encoder
from vecstore.errors import InvalidArgumentError
from vecstore.filters import Where
from vecstore.ids import Ids
from vecstore.inputs import Documents, Vectors, checked_rows, require_space, with_embedded
from vecstore.latest import LatestVersion
from vecstore.metadata import Metadata
from vecstore.reading import CollectionVersion, Readable
from vecstore.search.embedding import DirectEmbedder, DocumentEmbedder, SharedEmbedder
from vecstore.snapshot import Snapshot
from vecstore.spaces import EncodingProfile, Metric, Space, VectorType
from vecstore.storage.root import DataRoot
from vecstore.upgrade.demand import DemandCounter
from vecstore.upgrade.notes import SearchNotes
from vecstore.upgrade.recent import RecentQueries
from vecstore.version import OpenVersion
from vecstore.writes import (
    Checkpoint,
    OnExisting,
    Writer,
    WriteResult,
    rows_of_ids,
    rows_to_delete,
)

if TYPE_CHECKING:
    from vecstore.guards import Guard, Guarding

__all__ = ["Writable"]


class Writable(Readable):
    """What can be done with a collection's spaces and rows."""

    def __init__(
        self,
        catalog: Catalog,
        root: DataRoot,
        record: CollectionRecord,
        *,
        encoders: Encoders,
        refresh_interval: float,
        compact_after: int | None,
        keep_queries: bool,
    ) -> None:
        self._catalog = catalog
        self._root = root
        self._record = record
        self._encoders = encoders
        self._latest = LatestVersion(
            catalog, root, record, encoders=encoders, refresh_interval=refresh_interval
        )
        self._shared_embedder = SharedEmbedder(lambda *made: self._coverage.add(*made))
        self._coverage = CoverageWriter(self._keep, self._shared_embedder.forget)
        demand = DemandCounter(
            catalog.demand, record.id, live=lambda: self._latest.refresh().snapshot.live
        )
        recent = RecentQueries(root, f"data/{record.directory}/queries", kept=keep_queries)
        self._notes = SearchNotes(demand, recent, spaces=self._space_ids)
        self._writer = Writer(
            catalog,
            root,
            record,
            self._latest,
            lambda: self._guard,
            compact_after=compact_after,
        )

    @cached_property
    def _guard(self) -> Guard:
        from vecstore.guards import Guard, Signatures  # only who writes needs them

        return Guard(Signatures(self._root, f"data/{self._record.directory}/signatures"))

    def latest(self) -> CollectionVersion:
        """Return the newest version; it stays as it is while others commit."""
        return CollectionVersion(self._settled())

    def refresh(self) -> CollectionVersion:
        """Look at the catalog now, and return the newest version."""
        return CollectionVersion(self._latest.refresh())

    # Spaces

    def create_space(
        self,
        name: str,
        *,
        dim: int | None = None,
        metric: Metric = "cosine",
        model: str | None = None,
        revision: str | None = None,
        dtype: VectorType = "float32",
        profile: EncodingProfile | None = None,
        supersedes: str | None = None,
        encoder: Encoder | None = None,
    ) -> Space:
        """Create an embedding space; see :class:`vecstore.Space` for the arguments.

        Parameters
        ----------
        encoder : Encoder, optional
            Embeds texts for the space from now on, as :meth:`use_encoder` has it. What it says
            of itself (dim, model, revision, profile, address) need not be said again.

        Raises
        ------
        SpaceMismatchError
            The encoder contradicts another argument.
        AlreadyExistsError
            The collection has a space of this name.
        NotFoundError
            ``supersedes`` names no space.
        """
        space = definitions.declared_space(
            name,
            encoder=encoder,
            dim=dim,
            metric=metric,
            model=model,
            revision=revision,
            dtype=dtype,
            profile=profile,
            supersedes=supersedes,
        )
        self._commit(definitions.add_space(space))
        if encoder is not None:
            self.use_encoder(space, encoder)
        return space

    def use_encoder(self, space: str | Space, encoder: Encoder) -> None:
        """Let an encoder embed texts for a space, in this process.

        It serves ``search(text=...)``, ``search(..., depth=...)`` and ``upsert`` of documents,
        and wins over the one that the space's address names.

        Raises
        ------
        SpaceMismatchError
            It makes other vectors than the space holds; says what differs.
        """
        snapshot = self.latest().snapshot
        self._encoders.bind(snapshot.space(require_space(snapshot, space)), encoder)

    def drop_space(self, name: str) -> None:
        """Drop a space with its vectors and translators; older versions still have them."""
        self._commit(definitions.remove_space(name))
        self._notes.forget_spaces()

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
        guard: Guarding = "refuse",
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
            Row-aligned with ``ids``. If left out, ``documents`` are embedded by the encoder of
            ``space``, or else of the newest generation if that has one; ``{}`` means none.
        space : str or Space, optional
            The space of ``vectors``; may be left out if the collection has only one.
        documents : sequence of str or None, optional
            Texts; needed later for a cascade or a re-embed.
        metadata : Table, dict of columns, or sequence of dict, optional
            New columns are added to the collection, existing ones keep their type.
        checkpoint : Checkpoint, optional
            State of the job that these rows belong to, committed with them.
        guard : {"refuse", "warn", "off"}
            What to do with vectors that look like those of another space of the same dimension:
            refuse those that surely are, and issue a SuspiciousVectorsWarning for what is odd;
            only warn; or not look.

        Raises
        ------
        InvalidArgumentError
            Ids repeat or are not acceptable.
        DimensionMismatchError, NonFiniteError, InvalidVectorsError
            The vectors do not fit the space.
        SpaceMismatchError
            ``space`` is a Space with another fingerprint than the stored one, or the vectors
            are those of another space.
        UnpairedRowsError
            Arguments differ in their number of rows.
        InvalidMetadataError
            A column would have to change its type.
        UnsupportedOperationError
            Documents are to be embedded for a space that has no encoder here.
        """
        snapshot = self.latest().snapshot
        rows = checked_rows(
            snapshot,
            ids=ids,
            vectors=vectors,
            space=space,
            documents=documents,
            metadata=metadata,
        )
        if vectors is None and documents is not None:
            rows = with_embedded(rows, snapshot, space, self._encoders)
        return self._writer.upsert(rows, checkpoint, guard=guard)

    def add_vectors(
        self,
        *,
        ids: Ids,
        vectors: ArrayLike,
        space: str | Space | None = None,
        on_existing: OnExisting = "error",
        checkpoint: Checkpoint | None = None,
        guard: Guarding = "refuse",
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
        guard : {"refuse", "warn", "off"}
            As in :meth:`upsert`; also compares with the items' own vectors in other spaces.

        Raises
        ------
        NotFoundError
            An id has no item. Nothing is written.
        AlreadyExistsError
            An item has a vector in the space, under ``on_existing="error"``.
        SpaceMismatchError
            The vectors are those of another space.
        """
        rows = checked_rows(self.latest().snapshot, ids=ids, vectors=vectors, space=space)
        if len(rows.vectors) != 1:
            raise InvalidArgumentError(
                f"expected vectors of one space, got {len(rows.vectors)}; call add_vectors for each"
            )
        [(name, prepared)] = rows.vectors.items()
        return self._writer.add_vectors(
            space=rows.spaces[name],
            vectors=prepared,
            rows_of=rows_of_ids(rows.ids),
            on_existing=on_existing,
            checkpoint=checkpoint,
            guard=guard,
        )

    def delete(self, ids: Ids | None = None, *, where: Where | None = None) -> WriteResult:
        """Delete items by ids or by a filter, with their vectors in every space.

        Ids without an item are ignored; the result says how many items were deleted.
        """
        return self._writer.delete(rows_to_delete(ids, where))

    # Jobs

    def checkpoint(self, job: str) -> dict[str, Any] | None:
        """Return the state that a job's last commit left, or None."""
        return self._catalog.checkpoint(self._record.id, job)

    def clear_checkpoint(self, job: str) -> None:
        """Forget a finished job."""
        self._catalog.clear_checkpoint(self._record.id, job)

    def _commit(self, build: Callable[[Snapshot], Changes]) -> None:
        self._writer.commit(build)

    def _version(self) -> OpenVersion:
        return self._latest.get()

    def _settled(self) -> OpenVersion:
        self._catalog.require_own_process()  # before waiting for a thread that a fork lost
        self._coverage.settle()
        return self._latest.get()

    def _space_ids(self) -> frozenset[str]:
        """Return the ids of the spaces that can be searched now."""
        return frozenset(r.id for r in self._latest.refresh().snapshot.spaces.values())

    def _embedder(self, *, commit: bool) -> DocumentEmbedder:
        return self._shared_embedder if commit else DirectEmbedder()

    def _note(
        self, space_id: str, queries: NDArray[np.float32], row_ids: NDArray[np.int64]
    ) -> None:
        self._notes.add(space_id, queries, row_ids)

    def _keep(
        self, record: SpaceRecord, row_ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> None:
        commit_coverage(self._writer, record, row_ids, vectors)
        self._latest.refresh()
