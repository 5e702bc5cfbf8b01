"""Exact search over blocks: the answer every index is measured against, and the default.

Two ways to scan, because FAISS has two kernels. Few queries go row by row over the mapped
memory with the mask inside (FAISS's selector), which is bound by memory bandwidth and needs
no copy. Batches are matrix products; a selector would switch those off (measured: ten times
slower), so masked rows are gathered into a reused buffer instead. Without FAISS, numpy
does the same by matrix products alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    InvalidVectorsError,
    NonFiniteError,
)
from vecstore.indexes.blocks import Block, BlockMetric, Tile, block_dim, tiles
from vecstore.indexes.faiss_library import find_faiss, matrix_kernels, threads
from vecstore.indexes.topk import MISSING, TopK, merge_top_k

__all__ = ["BATCH", "Block", "checked_k", "checked_queries", "exact_search"]

# From this many queries on, a matrix product beats scanning row by row (crossover measured
# at 8 for 200,000 x 384 on two cores, FAISS 1.15).
BATCH = 8
# Gathered rows: for few queries a buffer that stays in the cache, for batches one that is
# large enough to hide the cost of a kernel call.
_FEW_BYTES = 2**20
_BATCH_BYTES = 2**25
# Below this share of kept rows, naming the rows is faster than testing a bit for each.
_SELECTIVE = 1 / 8
# Candidates held at a time while ties are settled.
_WIDE = 2**22

Answer = tuple[NDArray[np.float32], NDArray[np.int64]]


def exact_search(
    queries: ArrayLike, blocks: Sequence[Block], k: int, *, metric: BlockMetric
) -> Answer:
    """Return each query's k best rows by a full scan.

    Parameters
    ----------
    queries : array_like of shape (nq, d)
        Converted to float32.
    blocks : sequence of Block
        The rows to scan. A row id should occur once.
    k : int
        At least 1; may exceed the number of rows.
    metric : {"ip", "l2"}
        The inner product, or minus the squared Euclidean distance. For cosine, pass unit
        vectors and "ip".

    Returns
    -------
    scores : ndarray of shape (nq, k), float32
        Descending; larger is better. Float32 accuracy: under "l2", batches go through
        ``‖q‖² + ‖x‖² − 2 q·x``, so errors are relative to the norms, not to the distance.
    row_ids : ndarray of shape (nq, k), int64
        Ties by ascending row id. Places that no row fills are -1 with score minus infinity.

    Raises
    ------
    InvalidArgumentError
        ``k`` or ``metric`` is outside its domain.
    InvalidVectorsError
        Queries are not a matrix of numbers, have another dimension than the blocks, or
        contain NaN or infinity.

    Examples
    --------
    >>> rows = np.eye(3, dtype=np.float32)
    >>> block = Block(row_ids=np.array([10, 20, 30]), vectors=rows)
    >>> scores, ids = exact_search([[0.0, 2.0, 1.0]], [block], 2, metric="ip")
    >>> scores.tolist(), ids.tolist()
    ([[2.0, 1.0]], [[20, 30]])
    """
    return _scan(queries, blocks, k, metric, find_faiss())


def checked_queries(queries: ArrayLike, dim: int | None) -> NDArray[np.float32]:
    """Return queries as a finite, C-contiguous float32 matrix.

    Raises
    ------
    InvalidVectorsError
        Not a matrix of numbers (or its subclasses: wrong dimension, not finite).
    """
    if isinstance(queries, np.ndarray) and queries.dtype == np.float32:
        rows = np.ascontiguousarray(queries)
    else:
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
                rows = np.ascontiguousarray(queries, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidVectorsError(
                f"queries must be numbers in an array of shape (n, d): {error}"
            ) from error
    if np.ndim(queries) != 2:
        raise InvalidVectorsError(
            f"queries must have shape (n, d), got {np.shape(queries)}; "
            "pass a single query as q[None, :]"
        )
    if dim is not None and rows.shape[1] != dim:
        raise DimensionMismatchError(
            f"expected queries of {dim} dimensions, got {rows.shape[1]}; "
            "embed them with the model of the space that is searched"
        )
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise NonFiniteError(
            f"query {bad} contains NaN or infinity (as float32); remove or repair it"
        )
    return rows


def checked_k(k: object) -> int:
    """Return k if it is a positive integer.

    Raises
    ------
    InvalidArgumentError
        It is not.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InvalidArgumentError(f"k must be an integer of at least 1, got {k!r}")
    return int(k)


def _scan(
    queries: ArrayLike, blocks: Sequence[Block], k: int, metric: BlockMetric, faiss: Any | None
) -> Answer:
    """Scan with FAISS, or with numpy where ``faiss`` is None."""
    if metric not in ("ip", "l2"):
        raise InvalidArgumentError(
            f"metric must be 'ip' or 'l2', got {metric!r}; cosine is 'ip' over unit vectors"
        )
    k = checked_k(k)
    rows = checked_queries(queries, blocks[0].vectors.shape[1] if blocks else None)
    block_dim(blocks, rows.shape[1])
    n_queries = len(rows)
    top = TopK(n_queries=n_queries, k=k)
    if n_queries == 0:
        return top.result()
    few = n_queries < BATCH
    gather = _FEW_BYTES if few else _BATCH_BYTES
    if faiss is None:
        mapped = max(64, gather // (4 * n_queries))
        for tile in tiles(blocks, gather_bytes=gather, map_rows=mapped, map_masked=False):
            _add(top, tile, *_numpy_kernel(rows, tile, k, metric))
        return top.result()
    with threads(faiss, 0), nullcontext() if few else matrix_kernels(faiss):
        # A call's fixed cost grows with the queries, and with it the block worth a call.
        source = tiles(
            blocks,
            gather_bytes=gather,
            map_rows=None,
            map_masked=few,
            map_from=min(8192, max(1024, 8 * n_queries)),
        )
        for tile in source:
            selector = _selector(faiss, tile) if few else None
            _add(top, tile, *_faiss_kernel(faiss, rows, tile, k, metric, selector))
    return top.result()


def _add(top: TopK, tile: Tile, scores: NDArray[np.float32], positions: NDArray[np.int64]) -> None:
    """Turn positions in the tile into row ids and hand them on."""
    missing = positions < 0
    row_ids = tile.row_ids[positions]
    if missing.any():
        row_ids[missing] = MISSING
        scores[missing] = -np.inf
    top.add(scores, row_ids)


def _selector(faiss: Any, tile: Tile) -> Any:
    """Return a FAISS selector; any selector keeps FAISS on its row-by-row kernel.

    That kernel runs one query on the calling thread alone, which for a single query is
    three times as fast as the parallel one (measured).
    """
    if tile.keep is None:
        return _everything(faiss)
    positions = np.flatnonzero(tile.keep)
    if len(positions) <= _SELECTIVE * len(tile.keep):
        return faiss.IDSelectorArray(positions)
    return faiss.IDSelectorBitmap(np.packbits(tile.keep, bitorder="little"))


@cache
def _everything(faiss: Any) -> Any:
    """Return the selector of all rows, made once: it has no state."""
    return faiss.IDSelectorAll()


def _faiss_kernel(
    faiss: Any,
    queries: NDArray[np.float32],
    tile: Tile,
    k: int,
    metric: BlockMetric,
    selector: Any,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return each query's best k, with ties at the k-th place settled by row id.

    FAISS keeps any of the rows that share the k-th score. One row more than wanted shows where
    that happened, and those queries are asked again until all of these rows are in.
    """
    n = len(tile.vectors)
    scores, positions = _knn(faiss, queries, tile, min(k + 1, n), metric, selector)
    if n <= k:
        return scores, positions
    cut = np.flatnonzero((scores[:, k] == scores[:, k - 1]) & (positions[:, k] >= 0))
    scores, positions = scores[:, :k], positions[:, :k]
    width = k + 1
    while len(cut):
        width = min(4 * width, n)
        part = cut[: max(1, _WIDE // width)]
        wide, found = _knn(faiss, queries[part], tile, width, metric, selector)
        settled = (wide[:, -1] < wide[:, k - 1]) | (found[:, -1] < 0) | (width == n)
        order = np.lexsort((tile.row_ids[found], -wide), axis=1)[settled, :k]
        scores[part[settled]] = np.take_along_axis(wide[settled], order, axis=1)
        positions[part[settled]] = np.take_along_axis(found[settled], order, axis=1)
        cut = np.setdiff1d(cut, part[settled])
    return scores, positions


def _knn(
    faiss: Any,
    queries: NDArray[np.float32],
    tile: Tile,
    k: int,
    metric: BlockMetric,
    selector: Any,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Run FAISS's kernel on the tile's own memory; k is at most the tile's rows."""
    n, dim = tile.vectors.shape
    scores = np.empty((len(queries), k), dtype=np.float32)
    positions = np.empty((len(queries), k), dtype=np.int64)
    pointer = faiss.swig_ptr
    sizes = (dim, len(queries), n, k)
    inputs = (pointer(queries), pointer(tile.vectors))
    outputs = (pointer(scores), pointer(positions))
    if metric == "ip":
        faiss.knn_inner_product(*inputs, *sizes, *outputs, selector)
    else:
        faiss.knn_L2sqr(*inputs, *sizes, *outputs, None, selector)
        np.subtract(0, scores, out=scores)
    return scores, positions


def _numpy_kernel(
    queries: NDArray[np.float32], tile: Tile, k: int, metric: BlockMetric
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Score by one matrix product and keep each query's best k."""
    scores = queries @ tile.vectors.T
    if metric == "l2":
        scores *= 2
        scores -= np.einsum("ij,ij->i", tile.vectors, tile.vectors)
        scores -= np.einsum("ij,ij->i", queries, queries)[:, None]
        np.minimum(scores, 0, out=scores)
    n = scores.shape[1]
    # Ranked by row id among equals; the places in this order are then the tile's positions.
    order = np.argsort(tile.row_ids, kind="stable")
    places = np.broadcast_to(np.arange(n), scores.shape)
    best, found = merge_top_k(scores[:, order], places, min(k, n))
    return best, order[found]
