"""Originals: the rows' own vectors where they are mapped, to score an index's candidates exactly.

A compressed index finds candidates by its codes. The store has the vectors anyway, mapped
from its segments, so they are read from there and not kept a second time inside the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.blocks import Block, BlockMetric, gather_positions
from vecstore.indexes.exact import BATCH, exact_search
from vecstore.indexes.faiss_library import load_faiss, threads
from vecstore.indexes.scattered import ScatteredRows
from vecstore.indexes.topk import MISSING, merge_top_k
from vecstore.rows import RowSet

__all__ = ["Originals"]

# Up to as many pairs, one thread is as fast as several; of as many numbers BLAS makes one product
# on the calling thread, and of more on several that it has to wake.
_FEW_PAIRS = 512
_ONE_THREAD = 8192
# Widened float16 candidates held at a time.
_GATHER_BYTES = 2**25


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """Those of some rows that stand in one block."""

    block: Block
    columns: slice | NDArray[np.int64]
    positions: NDArray[np.int64]
    nought: NDArray[np.int64]
    """A single query's number, for each."""


@final
class Originals:
    """Blocks of vectors in which candidates are looked up by row id. Thread-safe.

    Parameters
    ----------
    blocks : sequence of Block
        Row ids ascend in each block; a row id is kept in one of them at most.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = tuple(block for block in blocks if len(block))
        firsts = [int(block.row_ids[0]) for block in self._blocks]
        order = np.argsort(firsts, kind="stable")
        self._blocks = tuple(self._blocks[number] for number in order)
        self._firsts = np.array(firsts, dtype=np.int64)[order]
        lasts = np.array([int(block.row_ids[-1]) for block in self._blocks], dtype=np.int64)
        # Where the rows of the last filter stand: it is rarely asked once.
        self._last: tuple[RowSet | None, tuple[_Place, ...]] = (None, ())
        self._disjoint = bool((self._firsts[1:] > lasts[:-1]).all())

    def scores(
        self, queries: NDArray[np.float32], row_ids: NDArray[np.int64], metric: BlockMetric
    ) -> NDArray[np.float32]:
        """Return the exact scores of candidates.

        Parameters
        ----------
        queries : ndarray of shape (nq, d), float32
        row_ids : ndarray of shape (nq, m), int64
            Each query's own candidates; -1 for none.

        Returns
        -------
        ndarray of shape (nq, m), float32
            Minus infinity where ``row_ids`` is -1 or no block keeps the row.
        """
        asked = row_ids.ravel()
        scores = np.full(len(asked), -np.inf, dtype=np.float32)
        for block, pairs in self._parted(asked):
            here, positions = _held(block, asked[pairs])
            pairs = pairs[here]
            asking = pairs // row_ids.shape[1]
            scores[pairs] = _score_pairs(queries, asking, block, positions, metric)
        return scores.reshape(row_ids.shape)

    def best(
        self, queries: NDArray[np.float32], row_ids: NDArray[np.int64], k: int, metric: BlockMetric
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the k best of each query's own candidates by their exact scores.

        Parameters
        ----------
        queries : ndarray of shape (nq, d), float32, C-contiguous
        row_ids : ndarray of shape (nq, m), int64
            -1 for none. Those of rows that no block keeps are overwritten with it.

        Returns
        -------
        scores, row_ids : ndarrays of shape (nq, k)
            As :func:`~vecstore.indexes.topk.merge_top_k` gives them.
        """
        if len(queries) == 1 and self._scattered is not None:
            rows = self._scattered.gather(row_ids[0])
            if rows is not None:
                return merge_top_k(_scores_of_one(queries[0], rows, metric), row_ids, k)
        scores = self.scores(queries, row_ids, metric)
        row_ids[np.isneginf(scores)] = MISSING
        return merge_top_k(scores, row_ids, k)

    def rank_all(
        self, queries: NDArray[np.float32], k: int, rows: RowSet, metric: BlockMetric
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Score all of some rows for every query: exact search where few rows are left.

        Returns
        -------
        scores, row_ids : ndarrays of shape (nq, m)
            Candidates in no order, their exact scores; m is at least min(k, len(rows)).
        """
        if len(queries) >= BATCH:  # matrix products pay for masking every block
            blocks = [_masked(block, rows) for block in self._near(rows.to_array())]
            return exact_search(queries, blocks, k, metric=metric)
        places, n = self._placed(rows), len(queries)
        scores = np.full((n, len(rows)), -np.inf, dtype=np.float32)
        for place in places:
            if n == 1:
                asking, positions = place.nought, place.positions
            else:
                asking = np.repeat(np.arange(n), len(place.positions))
                positions = np.tile(place.positions, n)
            found = _score_pairs(queries, asking, place.block, positions, metric)
            scores[:, place.columns] = found.reshape(n, -1)
        row_ids = np.repeat(rows.members[None], n, axis=0)
        if sum(len(place.positions) for place in places) < len(rows):
            row_ids[np.isneginf(scores)] = MISSING
        return scores, row_ids

    def _placed(self, rows: RowSet) -> tuple[_Place, ...]:
        """Return where some rows stand, from the last time if they are the same."""
        last, places = self._last
        if last is not rows:
            places = tuple(self._places(rows.members))
            self._last = rows, places
        return places

    def _places(self, ascending: NDArray[np.int64]) -> Iterator[_Place]:
        for block, stretch in self._stretches(ascending):
            here, positions = _held(block, ascending[stretch])
            columns = stretch if isinstance(here, slice) else here + stretch.start
            yield _Place(block, columns, positions, np.zeros(len(positions), np.int64))

    @cached_property
    def _scattered(self) -> ScatteredRows | None:
        return ScatteredRows.of(self._blocks)

    def _parted(self, row_ids: NDArray[np.int64]) -> Iterator[tuple[Block, NDArray[np.int64]]]:
        """Yield blocks, and which of the rows they may hold, in the order of memory."""
        order = np.argsort(row_ids)
        for block, stretch in self._stretches(row_ids[order]):
            yield block, order[stretch]

    def _stretches(self, ascending: NDArray[np.int64]) -> Iterator[tuple[Block, slice]]:
        """Yield blocks, and the stretch of rows that each may hold."""
        if not self._disjoint:
            for block in self._blocks:
                yield block, slice(0, len(ascending))
            return
        cuts = [*np.searchsorted(ascending, self._firsts).tolist(), len(ascending)]
        for block, start, end in zip(self._blocks, cuts, cuts[1:], strict=False):
            if start < end:
                yield block, slice(start, end)

    def _near(self, row_ids: NDArray[np.int64]) -> Iterator[Block]:
        """Yield the blocks that can hold some of the rows."""
        if len(self._blocks) == 1 or not self._disjoint:
            yield from self._blocks
            return
        asked = row_ids[row_ids >= 0]
        for number in np.unique(np.searchsorted(self._firsts, asked, side="right") - 1):
            if number >= 0:
                yield self._blocks[number]


def _scores_of_one(
    query: NDArray[np.float32], rows: NDArray[np.float32], metric: BlockMetric
) -> NDArray[np.float32]:
    """Score gathered rows, which are used up, for a single query."""
    scores: NDArray[np.float32]
    if metric == "ip":
        scores = rows.dot(query) if rows.size <= _ONE_THREAD else np.vecdot(rows, query)
    else:
        rows -= query
        scores = np.subtract(0, np.vecdot(rows, rows))
    return scores[None]


def _score_pairs(
    queries: NDArray[np.float32],
    asking: NDArray[np.int64],
    block: Block,
    positions: NDArray[np.int64],
    metric: BlockMetric,
) -> NDArray[np.float32]:
    """Score pairs of a query and a row of a block, ndarray of shape (len(positions),)."""
    scores = np.empty(len(positions), np.float32)
    if block.vectors.dtype == np.float32:
        faiss = load_faiss()
        pointer = faiss.swig_ptr
        arrays = (pointer(a) for a in (queries, asking, block.vectors, positions, scores))
        products = metric == "ip"
        kernel = faiss.pairwise_indexed_inner_product if products else faiss.pairwise_indexed_L2sqr
        with threads(faiss, 1 if len(queries) == 1 or len(positions) <= _FEW_PAIRS else 0):
            kernel(queries.shape[1], len(positions), *arrays)
        return scores if products else np.subtract(0, scores)
    step = max(1, _GATHER_BYTES // (4 * queries.shape[1]))
    for start in range(0, len(positions), step):
        part = slice(start, start + step)
        rows, own = gather_positions(block, positions[part]), queries[asking[part]]
        if metric == "ip":
            scores[part] = np.vecdot(rows, own)
        else:
            rows -= own
            np.subtract(0, np.vecdot(rows, rows), out=scores[part])
    return scores


def _held(
    block: Block, row_ids: NDArray[np.int64]
) -> tuple[slice | NDArray[np.int64], NDArray[np.int64]]:
    """Return which of some rows a block keeps, as an index, and where in it they stand."""
    known = block.row_ids
    if known[-1] - known[0] + 1 == len(known):  # without gaps
        positions = row_ids - known[0]
        inside = positions.min(initial=0) >= 0 and positions.max(initial=0) < len(known)
        if inside and block.keep is None:
            return slice(None), positions
        kept = np.flatnonzero((positions >= 0) & (positions < len(known)))
    else:
        positions = np.minimum(np.searchsorted(known, row_ids), len(known) - 1)
        kept = np.flatnonzero(known[positions] == row_ids)
    if block.keep is not None:
        kept = kept[block.keep[positions[kept]]]
    return kept, positions[kept]


def _masked(block: Block, rows: RowSet) -> Block:
    """Return a block with only some rows kept."""
    keep = rows.contains(block.row_ids)
    if block.keep is not None:
        keep &= block.keep
    return Block(row_ids=block.row_ids, vectors=block.vectors, keep=keep, unit_norm=block.unit_norm)
