"""Execution of a plan: gather per source, score in the ranking space, merge by score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.hits import Provenance
from vecstore.indexes.base import Index
from vecstore.indexes.blocks import gather_rows
from vecstore.indexes.exact import Block, checked_queries, exact_search
from vecstore.indexes.originals import Originals
from vecstore.rows import RowSet
from vecstore.search.plan import Plan, Source
from vecstore.search.scoring import Answer, merge, rank_shortlist, score_table
from vecstore.search.views import View, unit_rows
from vecstore.snapshot import Snapshot
from vecstore.spaces import KernelMetric, Space
from vecstore_translators import Translator
from vecstore_translators.calibration import ScoreCalibration

__all__ = ["OpenSource", "PreparedPlan", "Queries", "Reference", "masked", "transposed"]

T = TypeVar("T")

RESCORE_FACTOR = 20
MIN_RESCORE_DEPTH = 200

Queries = Mapping[str, NDArray[np.float32]]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Items with native vectors in a source's space and in the ranking space, row-aligned.

    Attributes
    ----------
    own : ndarray of shape (m, d_s), float32
    wanted : ndarray of shape (m, d_t), float32
    """

    own: NDArray[np.float32]
    wanted: NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenSource:
    """A source of a plan, ready to be searched.

    Attributes
    ----------
    view : View
        The form in which its vectors are searched.
    blocks : tuple of Block
        Exactly the source's rows.
    index : Index or None
        Finds ``indexed``, a part of the source's rows, faster.
    originals : Originals or None
        Scores what the index finds.
    unindexed : tuple of Block
        The rest of them.
    translator : Translator or None
        The route as one map.
    shortlister : Translator or None
        A query-side map that may replace the transposed map in a rescored shortlist.
    reference : Reference or None
        Brings the scores to the scale of the ranking space, where they are not on it.
    offset : float
        Learned for the route; added to its scores.
    """

    source: Source
    view: View
    blocks: tuple[Block, ...]
    index: Index[Any] | None = None
    originals: Originals | None = None
    indexed: RowSet
    unindexed: tuple[Block, ...] = ()
    translator: Translator | None = None
    shortlister: Translator | None = None
    reference: Reference | None = None
    offset: float = 0.0

    def search(self, queries: Queries, k: int, allowed: RowSet | None) -> Found:
        """Return the k best rows of this source by the score of its view."""
        return self.nearest(self.view.queries(self._own_queries(queries)), k, allowed)

    def calibrated(
        self, scores: NDArray[np.float32], queries: Queries, target: Space, *, alone: bool
    ) -> NDArray[np.float32]:
        """Bring this source's scores to the scale of the ranking space.

        A route's learned offset is always added, so that a score means the same before,
        during and after a migration. Scores of another kind are left as they are where no
        other source is there to be compared with.
        """
        if self.offset:
            scores = scores + np.float32(self.offset)
        if self.reference is None or alone:
            return scores
        metric = self.source.space.space.kernel_metric
        own = score_table(self._own_queries(queries), self.reference.own, metric)
        wanted = score_table(queries[target.name], self.reference.wanted, target.kernel_metric)
        return ScoreCalibration.fit(own, wanted)(scores)

    def scored_queries(self, queries: Queries, target: Space) -> NDArray[np.float32]:
        """Return the queries in the form that :meth:`gather` gives vectors in."""
        if self.source.execution == "rescore":
            return queries[target.name]
        return self.view.queries(self._own_queries(queries))

    def scored_metric(self, target: Space) -> KernelMetric:
        """Return the kernel that compares the two."""
        return target.kernel_metric if self.source.execution == "rescore" else self.view.metric

    def gather(self, row_ids: NDArray[np.int64], target: Space) -> NDArray[np.float32]:
        """Return the vectors by which some of this source's rows are scored.

        Parameters
        ----------
        row_ids : ndarray of shape (n,), int64
        """
        vectors = gather_rows(self.blocks, row_ids, self.view.dim)
        if self.source.execution == "rescore":
            assert self.translator is not None
            vectors = self.translator.translate(vectors)
            return unit_rows(vectors) if target.normalised else vectors
        return vectors

    def _own_queries(self, queries: Queries) -> NDArray[np.float32]:
        own = queries[self.source.query_space]
        return self.mapped_queries(own, self.translator) if self.source.kind == "query" else own

    def mapped_queries(
        self, queries: NDArray[np.float32], translator: Translator | None
    ) -> NDArray[np.float32]:
        """Map queries of the ranking space into the space of the documents."""
        assert translator is not None
        mapped = checked_queries(translator.translate(queries), None)
        return unit_rows(mapped) if self.view.target.normalised else mapped

    def nearest(self, queries: NDArray[np.float32], k: int, allowed: RowSet | None) -> Found:
        """Search the view: indexed rows by the index, the others exactly.

        Parameters
        ----------
        queries : ndarray of shape (nq, d), float32, C-contiguous
            Finite.
        """
        if self.index is None:
            return self._scan(self.blocks, queries, k, allowed)
        indexed = self.indexed if allowed is None else allowed.within(self.indexed)
        # A mask that excludes nothing would only slow the index down.
        mask = indexed if len(indexed) < len(self.index) else None
        found = self.index.nearest(queries, k, allowed=mask, originals=self.originals)
        if not self.unindexed:
            return found
        rest = Answer.of_source(1, *self._scan(self.unindexed, queries, k, allowed))
        merged = merge([Answer.of_source(0, *found), rest], k)
        return merged.scores, merged.row_ids

    def _scan(
        self,
        blocks: Sequence[Block],
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
    ) -> Found:
        """Search blocks exactly, under the filter."""
        if allowed is not None:
            blocks = masked(blocks, lambda row_ids: allowed.contains(row_ids))
        return exact_search(queries, blocks, k, metric=self.view.metric)


@final
class PreparedPlan:
    """A plan with its files mapped and translators opened; searching it touches no catalog."""

    def __init__(
        self,
        plan: Plan,
        snapshot: Snapshot,
        sources: Sequence[OpenSource],
        *,
        rescore_depth: int | None,
    ) -> None:
        self.plan = plan
        self.snapshot = snapshot
        self.sources = tuple(sources)
        self._rescore_depth = rescore_depth
        self._kept: dict[Any, Any] = {}

    @cached_property
    def provenances(self) -> tuple[Provenance, ...]:
        """What the hits of each source say about themselves."""
        return tuple(source.source.provenance for source in self.sources)

    @cached_property
    def served(self) -> RowSet:
        """The rows of all sources."""
        return reduce(or_, (s.source.rows for s in self.sources), RowSet.of([]))

    def kept(self, key: object, make: Callable[[], T]) -> T:
        """Return what was made under a key, making it once; for what searches derive of a plan."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]  # type: ignore[no-any-return]

    def search(self, queries: Queries, k: int, allowed: RowSet | None) -> Answer:
        """Return the k best rows over all sources.

        Parameters
        ----------
        queries : dict of str to ndarray of shape (nq, dim), float32
            By space, as the spaces prepare them.
        allowed : RowSet, optional
            Rows that pass the filter; None for all.
        """
        answers = []
        for number, source in enumerate(self.sources):
            if source.source.execution == "rescore":
                scores, row_ids = self._rescored(source, queries, k, allowed)
            else:
                scores, row_ids = source.search(queries, k, allowed)
            alone = len(self.sources) == 1
            scores = source.calibrated(scores, queries, self.plan.target.space, alone=alone)
            answers.append(Answer.of_source(number, scores, row_ids))
        return merge(answers or [_nothing(queries, k)], k)

    def _rescored(
        self, source: OpenSource, queries: Queries, k: int, allowed: RowSet | None
    ) -> Found:
        """Shortlist from the untouched source space, then score the shortlist by the map."""
        target = self.plan.target.space
        own = queries[target.name]
        depth = max(self._rescore_depth or max(MIN_RESCORE_DEPTH, RESCORE_FACTOR * k), k)
        if source.shortlister is not None:
            pulled = source.mapped_queries(own, source.shortlister)
        else:
            assert source.translator is not None
            pulled = transposed(source.translator, own, source.view)
        _, shortlist = source.nearest(pulled, depth, allowed)
        rows = np.unique(shortlist[shortlist >= 0])
        if not len(rows):
            nothing = _nothing(queries, k)
            return nothing.scores, nothing.row_ids
        translated = source.gather(rows, target)
        scores, row_ids = rank_shortlist(own, shortlist, rows, translated, target)
        return scores[:, :k], row_ids[:, :k]


def masked(
    blocks: Sequence[Block], member: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> list[Block]:
    """Return blocks with only the rows that are members; blocks without any are left out."""
    kept = []
    for block in blocks:
        keep = member(block.row_ids)
        if block.keep is not None:
            keep &= block.keep
        if keep.any():
            kept.append(replace(block, keep=None if keep.all() else keep))
    return kept


def _nothing(queries: Queries, k: int) -> Answer:
    shape = (len(next(iter(queries.values()))), k)
    return Answer.of_source(0, np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64))


def transposed(
    translator: Translator, queries: NDArray[np.float32], view: View
) -> NDArray[np.float32]:
    """Pull queries of the ranking space back to the documents' space by the affine map itself.

    For F(x) = xW + b the score is ((Wq).x + q.b) nu(x): Wq alone orders the documents as well
    as ignoring nu allows. Under l2 the nearest x solves xW + b = q in the least squares sense.
    """
    affine = translator.affine
    assert affine is not None
    if view.target.metric == "l2":
        pulled = np.linalg.lstsq(affine.weight.T, (queries - affine.bias).T, rcond=None)[0].T
    else:
        pulled = queries @ affine.weight.T
    pulled = checked_queries(pulled, None)
    return unit_rows(pulled) if view.target.normalised else pulled
