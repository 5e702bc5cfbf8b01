"""CollectionVersion: everything that can be read from one version of a collection."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from vecstore.catalog import IndexRecord, TranslatorRecord
from vecstore.encoding import Encoder
from vecstore.errors import InvalidArgumentError, InvalidVectorsError, NotFoundError
from vecstore.filters import Where
from vecstore.hits import Hits, Provenance, SearchResult
from vecstore.ids import Ids, as_ids
from vecstore.indexing import IndexFiles
from vecstore.search.cascade import CascadeAnswer, cascade
from vecstore.search.execute import PreparedPlan
from vecstore.search.plan import Execution, Plan, make_plan
from vecstore.search.prepare import prepare
from vecstore.search.scoring import Answer
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.translation import Translators

__all__ = ["CollectionVersion", "Item", "SpaceStatus", "Vectors"]

Vectors = ArrayLike | Mapping[str, ArrayLike]

MAX_K = 100_000
SCAN_ROWS = 10_000


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """An item as it is stored. Vectors by space; unit norm in cosine spaces."""

    id: str
    document: str | None
    metadata: Mapping[str, Any]
    vectors: Mapping[str, NDArray[np.float32]]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceStatus:
    """A space and how much of the collection it covers.

    Attributes
    ----------
    native : int
        Live items with a native vector in it.
    live : int
        Live items of the collection.
    """

    space: Space
    generation: int
    native: int
    live: int

    @property
    def coverage(self) -> float:
        """Share of live items with a native vector, 0.0 to 1.0."""
        return self.native / self.live if self.live else 0.0

    @property
    def dim(self) -> int:
        """Number of components."""
        return self.space.dim

    @property
    def metric(self) -> str:
        """How vectors compare."""
        return self.space.metric

    @property
    def model(self) -> str | None:
        """The embedding model."""
        return self.space.model

    @property
    def fingerprint(self) -> str:
        """Digest of the embedding function."""
        return self.space.fingerprint


@final
class CollectionVersion:
    """One version of a collection, read only. Thread-safe; never changes.

    Made by :meth:`vecstore.Collection.at`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        translators: Translators,
        indexes: IndexFiles,
        index_records: tuple[IndexRecord, ...],
    ) -> None:
        self.snapshot = snapshot
        self.index_records = index_records
        self._translators = translators
        self._indexes = indexes
        self._lock = threading.Lock()
        self._plans: dict[Any, PreparedPlan] = {}

    @property
    def version(self) -> int:
        """The version's number."""
        return self.snapshot.version

    @property
    def schema(self) -> pa.Schema:
        """The columns a filter can use: id, document and the metadata."""
        return self.snapshot.state.schema

    @property
    def spaces(self) -> dict[str, SpaceStatus]:
        """The spaces by name, oldest first, with their live coverage."""
        live = len(self.snapshot.live)
        return {
            name: SpaceStatus(
                space=record.space,
                generation=record.generation,
                native=len(self.snapshot.native(name)),
                live=live,
            )
            for name, record in self.snapshot.spaces.items()
        }

    @property
    def translators(self) -> tuple[TranslatorRecord, ...]:
        """The stored translators, oldest first."""
        return self.snapshot.state.translators

    def __len__(self) -> int:
        return len(self.snapshot.live)

    def count(self, where: Where | None = None) -> int:
        """Count live items, or those for which a filter is true."""
        return len(self.snapshot.live if where is None else self.snapshot.matching(where))

    @overload
    def get(self, ids: str, *, spaces: Sequence[str] = ()) -> Item: ...
    @overload
    def get(self, ids: Ids, *, spaces: Sequence[str] = ()) -> list[Item]: ...
    def get(self, ids: str | Ids, *, spaces: Sequence[str] = ()) -> Item | list[Item]:
        """Return one item by its id, or a list of items in the order of the ids.

        Parameters
        ----------
        ids : str or sequence of str
        spaces : sequence of str
            Spaces whose native vectors are returned too, where the item has one.

        Raises
        ------
        NotFoundError
            An id has no live item.
        """
        wanted = as_ids([ids] if isinstance(ids, str) else ids)
        row_ids = self.snapshot.find(wanted)
        if (row_ids < 0).any():
            missing = wanted[int(np.flatnonzero(row_ids < 0)[0])].as_py()
            raise NotFoundError(
                f"{(row_ids < 0).sum()} of {len(wanted)} ids have no item in version "
                f"{self.version} of collection {self.snapshot.state.collection.name!r}, such as "
                f"{missing!r}"
            )
        vectors = [self._native_vectors(space, row_ids) for space in spaces]
        rows = self.snapshot.items(row_ids, self.schema.names).to_pylist()
        items = [
            Item(
                id=row.pop("id"),
                document=row.pop("document"),
                metadata=row,
                vectors={
                    space: found[number]
                    for space, (present, found) in zip(spaces, vectors, strict=True)
                    if present[number]
                },
            )
            for number, row in enumerate(rows)
        ]
        return items[0] if isinstance(ids, str) else items

    def scan(
        self,
        *,
        spaces: Sequence[str] = (),
        where: Where | None = None,
        batch_rows: int = SCAN_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Stream all live items in the order they were written.

        Yields
        ------
        RecordBatch
            Columns id, document, the metadata, and one FixedSizeList of float32 for each
            requested space, null where an item has no native vector in it.
        """
        if batch_rows < 1:
            raise InvalidArgumentError(f"expected batch_rows >= 1, got {batch_rows}")
        for space in spaces:
            self.snapshot.space(space)
        rows = self.snapshot.live if where is None else self.snapshot.matching(where)
        row_ids = rows.to_array()
        for start in range(0, len(row_ids), batch_rows):
            part = row_ids[start : start + batch_rows]
            table = self.snapshot.items(part, self.schema.names)
            for space in spaces:
                table = table.append_column(space, self._vector_column(space, part))
            yield table.combine_chunks().to_batches()[0]

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
        execution: Execution | None = None,
        rescore_depth: int | None = None,
        allow_partial: bool = False,
    ) -> Any:
        """Search as :meth:`vecstore.Collection.search` does; a cascade commits nothing."""
        return self.search_and_embed(
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
        )[0]

    def search_and_embed(
        self,
        vectors: Vectors,
        *,
        space: str | Space | None,
        k: int | None,
        limit: int | None,
        where: Where | None,
        encoder: Encoder | None,
        depth: int | None,
        execution: Execution | None,
        rescore_depth: int | None,
        allow_partial: bool,
    ) -> tuple[Any, CascadeAnswer | None]:
        """Search, and return also what a cascade embedded, for the caller to commit."""
        k = _checked_k(k, limit)
        target, queries, single = self._queries(vectors, space)
        if (encoder is None) != (depth is None):
            raise InvalidArgumentError("a cascade needs both encoder= and depth=; got one of them")
        if depth is not None and depth < 1:
            raise InvalidArgumentError(f"expected depth >= 1, got {depth}")
        prepared = self._prepared(
            target, tuple(queries), execution, allow_partial=allow_partial, rescore=rescore_depth
        )
        allowed = None if where is None else self.snapshot.matching(where)
        provenances = [source.provenance for source in prepared.plan.sources]
        embedded = None
        if encoder is not None and depth is not None:
            embedded = cascade(
                prepared, queries, k, depth=depth, encoder=encoder, allowed=allowed
            )
            answer = embedded.answer
            provenances.insert(0, Provenance(kind="native", space=target))
        else:
            answer = prepared.search(queries, k, allowed)
        result = self._result(prepared.plan, answer, provenances, embedded)
        return (result[0] if single else result), embedded

    def explain(
        self,
        *,
        space: str | None = None,
        query_spaces: Sequence[str] | None = None,
        execution: Execution | None = None,
        allow_partial: bool = False,
    ) -> Plan:
        """Return the plan of a search; print it.

        Parameters
        ----------
        space : str, optional
            The ranking space.
        query_spaces : sequence of str, optional
            Spaces the query brings vectors for; by default the ranking space only.
        """
        names = tuple(query_spaces) if query_spaces else (self._target(space, None),)
        target = self._target(space, names)
        return self._prepared(
            target, names, execution, allow_partial=allow_partial, rescore=None
        ).plan

    # Below: from arguments to arrays

    def _result(
        self,
        plan: Plan,
        answer: Answer,
        provenances: list[Provenance],
        embedded: CascadeAnswer | None,
    ) -> SearchResult:
        return SearchResult(
            snapshot=self.snapshot,
            plan=plan,
            scores=answer.scores,
            row_ids=answer.row_ids,
            origins=answer.origins,
            provenances=provenances,
            embedded=0 if embedded is None else len(embedded.row_ids),
        )

    def _prepared(
        self,
        target: str,
        query_spaces: tuple[str, ...],
        execution: Execution | None,
        *,
        allow_partial: bool,
        rescore: int | None,
    ) -> PreparedPlan:
        """Return the plan, opened; kept for the next search of the same form."""
        key = (target, frozenset(query_spaces), execution, allow_partial, rescore)
        with self._lock:
            prepared = self._plans.get(key)
        if prepared is None:
            plan = make_plan(
                self.snapshot,
                target=target,
                query_spaces=query_spaces,
                execution=execution,
                allow_partial=allow_partial,
            )
            prepared = prepare(
                plan,
                self.snapshot,
                translators=self._translators,
                directory=self.snapshot.state.collection.directory,
                indexes=self._indexes.open(self.index_records),
                rescore_depth=rescore,
            )
            with self._lock:
                self._plans[key] = prepared
        return prepared

    def _queries(
        self, vectors: Vectors, space: str | Space | None
    ) -> tuple[str, dict[str, NDArray[np.float32]], bool]:
        """Return (ranking space, prepared queries by space, whether it is a single query)."""
        if isinstance(space, Space):
            self.snapshot.space(space.name).space.require_same(space)
            space = space.name
        if isinstance(vectors, Mapping):
            if not vectors:
                raise InvalidArgumentError("expected query vectors for at least one space, got none")
            target = self._target(space, tuple(vectors))
            given = vectors
        else:
            target = self._target(space, None)
            given = {target: vectors}
        arrays = {name: np.asarray(rows) for name, rows in given.items()}
        shapes = {array.shape[:-1] for array in arrays.values()}
        if len(shapes) != 1 or len(shapes.copy().pop()) > 1:
            raise InvalidVectorsError(
                "expected one query of shape (dim,) or a batch of shape (n, dim), the same n for "
                f"every space; got shapes {[a.shape for a in arrays.values()]}"
            )
        single = shapes == {()}
        return (
            target,
            {
                name: self.snapshot.space(name).space.prepare_queries(np.atleast_2d(array))
                for name, array in arrays.items()
            },
            single,
        )

    def _target(self, space: str | None, given: tuple[str, ...] | None) -> str:
        """Return the ranking space: as asked, the newest given, or the only one there is."""
        candidates = given if given is not None else tuple(self.snapshot.spaces)
        records = {name: self.snapshot.space(name) for name in candidates}
        if space is not None:
            self.snapshot.space(space)
            if given is not None and space not in given:
                raise InvalidArgumentError(
                    f"ranking in space {space!r} needs query vectors for it; got vectors for "
                    f"{', '.join(map(repr, given))}"
                )
            return space
        if given is not None and records:
            return max(records, key=lambda name: records[name].generation)
        if len(records) == 1:
            return next(iter(records))
        raise InvalidArgumentError(
            "say which space the query vectors belong to with space=; the collection has "
            f"{', '.join(map(repr, records)) or 'none yet, see create_space'}"
        )

    def _native_vectors(
        self, space: str, row_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which rows have a vector, and the vectors (zeros for the others)."""
        present = self.snapshot.native(space).contains(row_ids)
        vectors = np.zeros((len(row_ids), self.snapshot.space(space).space.dim), np.float32)
        vectors[present] = self.snapshot.gather(space, row_ids[present])
        return present, vectors

    def _vector_column(self, space: str, row_ids: NDArray[np.int64]) -> pa.Array:
        present, vectors = self._native_vectors(space, row_ids)
        values = pa.array(vectors.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(
            values, vectors.shape[1], mask=pa.array(~present)
        )


def _checked_k(k: int | None, limit: int | None) -> int:
    """Accept k and limit; refuse both, and what is out of range."""
    if k is not None and limit is not None:
        raise InvalidArgumentError("k and limit are two names of one argument; pass one of them")
    number = k if k is not None else limit if limit is not None else 10
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise InvalidArgumentError(f"expected k to be an integer, got {number!r}")
    if not 1 <= number <= MAX_K:
        raise InvalidArgumentError(f"expected 1 <= k <= {MAX_K:,}, got {number}")
    return int(number)


