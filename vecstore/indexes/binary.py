"""binary: sign bits of random projections, compared by counting those that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block, sample_rows
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_library import load_faiss, threads
from vecstore.indexes.lists import REFINE_SPEC, SEED
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet

__all__ = ["BinaryIndex"]

# Medians of projections settle with few rows.
_TRAINING_ROWS = 16_384
_LEAST_BITS = 256


@final
class BinaryIndex(Index[FaissBody]):
    """A shortlist by sign bits, all of them scanned, ranked by the vectors themselves.

    A bit says on which side of the rows' median a random projection of the vector lies. Memory
    bits / 8 + 8 bytes per row. It is meant for unit vectors, whose angle the bits
    estimate: under "l2" rows of very different norms are found badly. Without ``originals`` a
    score is minus the number of differing bits.

    References
    ----------
    Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002.
    """

    kind = "binary"
    exact = False
    exact_scores = False
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (
        ParameterSpec(
            name="bits",
            default=0,
            when="build",
            minimum=0,
            maximum=65_536,
            summary="Bits per row, rounded up to 64: 0 takes the dimension, at least 256.",
        ),
        ParameterSpec(
            name="refine_factor",
            default=20,
            when="search",
            minimum=REFINE_SPEC.minimum,
            maximum=REFINE_SPEC.maximum,
            summary=REFINE_SPEC.summary,
        ),
    )

    @classmethod
    def _settle(
        cls, parameters: Mapping[str, ParameterValue], rows: int, dim: int
    ) -> Mapping[str, ParameterValue]:
        bits = int(parameters["bits"]) or max(dim, _LEAST_BITS)
        return {**parameters, "bits": -(-bits // 64) * 64}

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        signs = faiss.IndexLSH(plan.dim, int(plan.parameters["bits"]), True, True)
        signs.metric_type = faiss_metric(faiss, plan)
        sample = sample_rows(blocks, _TRAINING_ROWS, plan.dim, seed=SEED)
        if len(sample):
            signs.train(sample)
        return FaissBody.fill(signs, blocks, plan, progress)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        return FaissBody.open(source, payload_bytes, plan, inner=("IndexLSH",))

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        faiss = load_faiss()
        signs = self._body.core
        asked = signs.sa_encode(queries)
        row_ids, codes = self._body.row_ids, self._codes(asked.shape[1])
        if allowed is not None:
            kept = np.flatnonzero(allowed.contains(row_ids))
            row_ids, codes = row_ids[kept], codes[kept]
        with threads(faiss, 1 if len(queries) == 1 else 0):
            differing, places = faiss.knn_hamming(asked, codes, k)
        return np.negative(differing, dtype=np.float32), row_ids[places]

    def _codes(self, width: int) -> NDArray[np.uint8]:
        """Return the bits of all rows where they lie, ndarray of shape (n, width), uint8."""
        faiss, codes = load_faiss(), self._body.core.codes
        flat: NDArray[np.uint8] = faiss.rev_swig_ptr(codes.data(), codes.size())
        return flat.reshape(len(self), width)
