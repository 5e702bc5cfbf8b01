"""flat: all vectors in one contiguous array, searched exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_gpu import DEVICE_SPEC, LEAST_SHARE, WIDEST, Gpu, find_gpu, lengthened
from vecstore.indexes.faiss_library import load_faiss, threads
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.indexes.topk import MISSING, merge_top_k
from vecstore.rows import RowSet

__all__ = ["FlatIndex"]

# Candidates beyond k: rows that float32 sums in another order may rank otherwise.
_SPARE = 54


@final
class FlatIndex(Index[FaissBody]):
    """A float32 copy of the rows, scanned in full.

    Exact; memory 4 d bytes per row. It serves collections of many small or float16 files,
    and gives the registry its exact member. FAISS's ``IndexFlat`` holds the vectors and
    :func:`~vecstore.indexes.exact.exact_search` scans them, because FAISS's own masked
    search of a batch is ten times slower.

    On a GPU FAISS's own index proposes, and the vectors here rank; queries for which it may have
    missed a row are scanned here, so that it is exact wherever it runs. ``gpu_flat`` reads half
    the bytes there, and masks do not send it back to the CPU.
    """

    kind = "flat"
    exact = True
    exact_scores = True
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (DEVICE_SPEC,)

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        empty = faiss.IndexFlat(plan.dim, faiss_metric(faiss, plan))
        return FaissBody.fill(empty, blocks, plan, progress)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        inner = "IndexFlatIP" if plan.metric == "ip" else "IndexFlatL2"
        return FaissBody.open(source, payload_bytes, plan, inner=(inner,))

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        gpu = find_gpu(str(settings["device"]))
        found = None if gpu is None else self._proposed(gpu, queries, k, allowed, eligible)
        return self._body.scan(queries, k, allowed) if found is None else found

    def _proposed(
        self,
        gpu: Gpu,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
    ) -> Answer | None:
        """Rank what a GPU proposes, and more of it where that is not enough; None for the CPU."""
        total = len(self)
        if eligible < LEAST_SHARE * total:
            return None
        scores = np.empty((len(queries), k), np.float32)
        row_ids = np.empty((len(queries), k), np.int64)
        left = np.arange(len(queries))
        for width in (lengthened(k, eligible=eligible, total=total) + _SPARE, WIDEST):
            found = self._body.propose(gpu, queries[left], min(width, total))
            if found is None:
                return None
            best, ids, certain = self._ranked(queries[left], *found, k, allowed)
            scores[left], row_ids[left] = best, ids
            left = left[~certain]
            if not len(left):
                return scores, row_ids
        scores[left], row_ids[left] = self._body.scan(queries[left], k, allowed)
        return scores, row_ids

    def _ranked(
        self,
        queries: NDArray[np.float32],
        proposed: NDArray[np.float32],
        positions: NDArray[np.int64],
        k: int,
        allowed: RowSet | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """Rank rows by their vectors, and say for which queries no other row can be better."""
        scores = self._scores(queries, positions)
        row_ids = self._body.row_ids[positions]
        certain: NDArray[np.bool_] = positions.min(axis=1) >= 0
        gone = positions < 0
        if allowed is not None:
            gone |= ~allowed.contains(row_ids)
        scores[gone], row_ids[gone] = -np.inf, MISSING
        scores, row_ids = merge_top_k(scores, row_ids, k)
        if positions.shape[1] < len(self):
            certain &= proposed[:, -1] + self._rounding(queries) < scores[:, -1]
        return scores, row_ids, certain

    def _scores(
        self, queries: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score rows where they lie; FAISS leaves out those at -1."""
        faiss = load_faiss()
        scores = np.empty(positions.shape, dtype=np.float32)
        positions = np.ascontiguousarray(positions)
        arrays = map(faiss.swig_ptr, (scores, queries, self._body.vectors, positions))
        products = self.metric == "ip"
        kernel = faiss.fvec_inner_products_by_idx if products else faiss.fvec_L2sqr_by_idx
        with threads(faiss, 1 if len(queries) == 1 else 0):
            kernel(*arrays, self.dim, *positions.shape)
        return scores if products else np.subtract(0, scores)

    def _rounding(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bound what float32 sums of d products, in whatever order, are off by, twice."""
        lengths = np.linalg.norm(queries, axis=1)
        size = lengths * self._longest if self.metric == "ip" else (lengths + self._longest) ** 2
        error: NDArray[np.float32] = self.dim * 2.0**-22 * size
        return error

    @cached_property
    def _longest(self) -> float:
        """Length of the longest row."""
        vectors = self._body.vectors
        return float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max()))
