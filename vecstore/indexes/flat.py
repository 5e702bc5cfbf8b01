"""flat: all vectors in one contiguous array, searched exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_library import load_faiss
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
        return self._body.scan(queries, k, allowed)
