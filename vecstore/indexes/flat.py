"""flat: all vectors in one contiguous array, searched exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import exact_search
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.library import load_faiss
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet

__all__ = ["FlatIndex"]


@final
class FlatIndex(Index[FaissBody]):
    """A float32 copy of the rows, scanned in full.

    Exact; memory 4 d bytes per row. It serves collections of many small or float16 files,
    and gives the registry its exact member. FAISS's ``IndexFlat`` holds the vectors and
    :func:`~vecstore.indexes.exact.exact_search` scans them, because FAISS's own masked
    search of a batch is ten times slower.
    """

    kind = "flat"
    exact = True
    exact_scores = True
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = ()

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        empty = faiss.IndexFlat(plan.dim, faiss_metric(faiss, plan))
        return FaissBody.fill(empty, blocks, plan, progress)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        inner = "IndexFlatIP" if plan.metric == "ip" else "IndexFlatL2"
        return FaissBody.open(source, payload_bytes, plan, inner=inner)

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        row_ids = self._body.row_ids
        pointer = self._body.inner.get_xb()
        vectors = load_faiss().rev_swig_ptr(pointer, len(self) * self.dim)
        block = Block(
            row_ids=row_ids,
            vectors=vectors.reshape(len(self), self.dim),
            keep=None if allowed is None else allowed.contains(row_ids),
        )
        return exact_search(queries, [block], k, metric=self.metric)
