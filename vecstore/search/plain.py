"""The plainest search: one query, one index that holds all there is to rank, at most a filter.

Most queries of a service are of this kind, and the index answers them in a few dozen
microseconds: a plan that is looked through again for each would cost a good part of that. What
such a search needs is picked out of its plan once; everything else takes the general way, which
gives the same answer.
"""

from __future__ import annotations

from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore.hits import SearchResult
from vecstore.indexes.base import Index
from vecstore.indexes.originals import Originals
from vecstore.rows import RowSet
from vecstore.search.execute import OpenSource, PreparedPlan
from vecstore.spaces import Space

__all__ = ["PlainSearch"]


@final
class PlainSearch:
    """A prepared plan of which one index is all. Thread-safe.

    Attributes
    ----------
    space : Space
        Where the query is embedded and ranked.
    space_id : str
    """

    __slots__ = (
        "_index", "_originals", "_plan", "_provenances", "_rows", "_snapshot", "space", "space_id",
    )  # fmt: skip

    def __init__(
        self, prepared: PreparedPlan, index: Index[Any], originals: Originals | None
    ) -> None:
        self.space: Space = prepared.plan.target.space
        self.space_id = prepared.plan.target.id
        self._snapshot = prepared.snapshot
        self._plan = prepared.plan
        self._provenances = prepared.provenances
        self._index = index
        self._originals = originals
        # Rows of a filter are live ones: where all of those are indexed, nothing is to be left out.
        rows = prepared.sources[0].indexed
        self._rows = None if len(rows) == len(prepared.snapshot.live) else rows

    @classmethod
    def of(cls, prepared: PreparedPlan) -> Self | None:
        """Return the plain form of a plan; None where a search is more than asking an index."""
        if len(prepared.sources) != 1:
            return None
        [source] = prepared.sources
        if source.index is None or not source.index.supports_filter or not _is_all(source):
            return None
        return cls(prepared, source.index, source.originals)

    def search(
        self, query: NDArray[np.float32], k: int, allowed: RowSet | None = None
    ) -> SearchResult:
        """Search.

        Parameters
        ----------
        query : ndarray of shape (1, dim), float32
            As :meth:`Space.takes <vecstore.Space.takes>` returns it.
        allowed : RowSet, optional
            Live rows that pass a filter; None for all.
        """
        if allowed is not None and self._rows is not None:
            allowed = allowed.within(self._rows)
        scores, row_ids = self._index.nearest(query, k, allowed=allowed, originals=self._originals)
        return self.result(scores, row_ids)

    def result(self, scores: NDArray[np.float32], row_ids: NDArray[np.int64]) -> SearchResult:
        """Return what an index found as the answer to the query."""
        return SearchResult(self._snapshot, self._plan, scores, row_ids, self._provenances)


def _is_all(source: OpenSource) -> bool:
    """Whether the index holds the vectors of all rows, and no others, and scores them natively."""
    assert source.index is not None
    native = source.source.kind == "native" and source.view.form == "native"
    moved = source.offset != 0.0 or source.reference is not None
    return (
        native and not moved and not source.unindexed and len(source.indexed) == len(source.index)
    )
