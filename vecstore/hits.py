"""What a search returns: hits with scores and provenance, resolved when they are looked at.

The search itself yields arrays of scores and row ids. Ids, documents and metadata are read
from the snapshot on first use and for all hits at once, so a caller who wants only scores
pays for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.storage.columns import arrow_column, arrow_view

if TYPE_CHECKING:
    from vecstore.search.plan import Plan
    from vecstore.snapshot import Snapshot

__all__ = ["Hit", "Hits", "Provenance", "SearchResult"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a hit's score comes from.

    Attributes
    ----------
    kind : {"native", "translated"}
        Native: the item's own vector against the query's own vector, in one space.
    space : str
        The space of the item's vector.
    translators : tuple of str
        Ids of the translators on the route, first to last; empty for native hits.
    """

    kind: Literal["native", "translated"]
    space: str
    translators: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Hit:
    """One answer. Score: larger is better. Distance: smaller is better.

    The distance is ``1 - score`` under cosine, the squared Euclidean distance under l2, and
    ``-score`` under ip.
    """

    id: str
    score: float
    distance: float
    provenance: Provenance
    _row: int = field(compare=False)
    _result: SearchResult = field(compare=False)

    @property
    def document(self) -> str | None:
        """The item's text, or None."""
        return self._result._items[self._row][0]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The item's metadata columns."""
        return self._result._items[self._row][1]

    def __repr__(self) -> str:
        return (
            f"Hit(id={self.id!r}, score={self.score!r}, distance={self.distance!r}, "
            f"provenance={self.provenance!r}, document={self.document!r}, "
            f"metadata={self.metadata!r})"
        )


@final
class SearchResult(Sequence["Hits"]):
    """The answers to a batch of queries, in the order of the queries.

    Attributes
    ----------
    scores : ndarray of shape (queries, k), float32
        Descending; ``-inf`` where a query has fewer than k hits.
    plan : Plan
        How the search ran.
    embedded : int
        Documents that a cascade embedded for this search.
    degraded : str or None
        Why a cascade ranked by translation after all: what its encoder failed with.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        plan: Plan,
        scores: NDArray[np.float32],
        row_ids: NDArray[np.int64],
        provenances: Sequence[Provenance],
        *,
        origins: NDArray[np.int16] | None = None,
        embedded: int = 0,
        degraded: str | None = None,
    ) -> None:
        self.scores = scores
        self.plan = plan
        self.embedded = embedded
        self.degraded = degraded
        self._snapshot = snapshot
        self._row_ids = row_ids
        self._provenances = provenances
        self._given_origins = origins  # without any, all hits are of the first provenance

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Rows of the hits, ndarray of shape (queries, k), int64, -1 for no hit."""
        return self._row_ids

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, query: int) -> Hits: ...
    @overload
    def __getitem__(self, query: slice) -> list[Hits]: ...
    def __getitem__(self, query: int | slice) -> Hits | list[Hits]:
        if isinstance(query, slice):
            return [self[number] for number in range(*query.indices(len(self)))]
        if not -len(self) <= query < len(self):
            raise IndexError(f"the result has {len(self)} queries, got number {query}")
        return Hits(self, query % len(self))

    def __iter__(self) -> Iterator[Hits]:
        return (Hits(self, number) for number in range(len(self)))

    @cached_property
    def found(self) -> NDArray[np.bool_]:
        """Which cells hold a hit, ndarray of shape (queries, k), bool."""
        return self._row_ids >= 0

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """Ids of the hits, ndarray of shape (queries, k), object (str, or None for no hit)."""
        ids = np.full(self._row_ids.shape, None, dtype=object)
        ids[self.found] = self._snapshot.id_strings(self._row_ids[self.found])
        return ids

    def _ids_of(self, query: int) -> list[str]:
        """Return the ids of the hits of one query, best first."""
        count = self._count(query)
        if len(self) > 1 or "ids" in self.__dict__:  # a batch is resolved at once
            return self.ids[query, :count].tolist()  # type: ignore[no-any-return]
        return self._snapshot.id_strings(self._row_ids[query, :count])

    @cached_property
    def distances(self) -> NDArray[np.float32]:
        """Distances of the hits, ndarray of shape (queries, k), float32, ascending."""
        metric = self.plan.target.space.metric
        return np.float32(1) - self.scores if metric == "cosine" else -self.scores

    def provenance(self, query: int) -> list[Provenance]:
        """Return the provenance of each hit of one query."""
        count, known = self._count(query), self._provenances
        if self._given_origins is None:
            return [known[0]] * count if count else []
        return [known[origin] for origin in self._given_origins[query, :count].tolist()]

    def to_arrow(self) -> pa.Table:
        """Return a table of (query, rank, id, score, distance, provenance, space)."""
        query, rank = np.nonzero(self.found)
        origins = self._origins[self.found]
        kinds = np.array([p.kind for p in self._provenances], dtype=object)
        spaces = np.array([p.space for p in self._provenances], dtype=object)
        return pa.table(
            {
                "query": arrow_view(query),
                "rank": arrow_view(rank + 1),
                "id": arrow_column(self.ids[self.found], pa.string()),
                "score": arrow_view(self.scores[self.found]),
                "distance": arrow_view(self.distances[self.found]),
                "provenance": arrow_column(kinds[origins] if len(kinds) else [], pa.string()),
                "space": arrow_column(spaces[origins] if len(spaces) else [], pa.string()),
            }
        )

    @property
    def _origins(self) -> NDArray[np.int16]:
        """Which provenance each hit has, ndarray of shape (queries, k)."""
        given = self._given_origins
        return np.zeros(self._row_ids.shape, np.int16) if given is None else given

    def _count(self, query: int) -> int:
        """Return how many hits a query has; they come first in its row."""
        row = self._row_ids[query]
        return len(row) if row.item(-1) >= 0 else int(np.count_nonzero(row >= 0))

    @cached_property
    def _items(self) -> dict[int, tuple[str | None, dict[str, Any]]]:
        """Documents and metadata by row, read for all hits at once."""
        rows = np.unique(self._row_ids[self.found])
        columns = [name for name in self._snapshot.state.schema.names if name != "id"]
        table = self._snapshot.items(rows, columns)
        return {
            int(row): (values.pop("document"), values)
            for row, values in zip(rows, table.to_pylist(), strict=True)
        }


@final
class Hits(Sequence[Hit]):
    """The hits of one query, best first."""

    def __init__(self, result: SearchResult, query: int) -> None:
        self._result = result
        self._query = query

    def __len__(self) -> int:
        return self._result._count(self._query)

    @overload
    def __getitem__(self, rank: int) -> Hit: ...
    @overload
    def __getitem__(self, rank: slice) -> list[Hit]: ...
    def __getitem__(self, rank: int | slice) -> Hit | list[Hit]:
        try:
            return self._all[rank]
        except IndexError:
            raise IndexError(f"the query has {len(self)} hits, got number {rank}") from None

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._all)

    @cached_property
    def _all(self) -> list[Hit]:
        """All hits, made at once: their columns are read once and not once for each."""
        result, query = self._result, self._query
        columns = zip(
            self.ids,
            self.scores.tolist(),
            self.distances.tolist(),
            result.provenance(query),
            result._row_ids[query, : len(self)].tolist(),
            strict=True,
        )
        return [
            Hit(
                id=item_id,
                score=score,
                distance=distance,
                provenance=provenance,
                _row=row,
                _result=result,
            )
            for item_id, score, distance, provenance, row in columns
        ]

    @property
    def ids(self) -> list[str]:
        """Ids, best first."""
        return self._result._ids_of(self._query)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores, ndarray of shape (hits,), float32, descending."""
        return self._result.scores[self._query, : len(self)]

    @property
    def distances(self) -> NDArray[np.float32]:
        """Distances, ndarray of shape (hits,), float32, ascending."""
        return self._result.distances[self._query, : len(self)]

    @property
    def plan(self) -> Plan:
        """How the search ran."""
        return self._result.plan

    @property
    def embedded(self) -> int:
        """Documents that a cascade embedded for this search."""
        return self._result.embedded

    @property
    def degraded(self) -> str | None:
        """Why a cascade ranked by translation after all, or None."""
        return self._result.degraded

    def __repr__(self) -> str:
        return f"Hits({len(self)} of query {self._query})"
