"""sq: every number of a vector in eight bits or sixteen, scanned in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block, sample_rows
from vecstore.indexes.faiss_body import FaissBody, faiss_metric, selector
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.lists import REFINE_SPEC, SEED, TRAINING_ROWS
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet

__all__ = ["SqIndex"]


@final
class SqIndex(Index[FaissBody]):
    """Scalar-quantised vectors, all of them scanned.

    Memory d bytes per row as int8 (each dimension's range in 256 steps), 2 d as fp16.
    Candidates are ranked by their own vectors, ``refine_factor`` times k of them: recall is
    that of exact search but for what the codes round away.
    """

    kind = "sq"
    exact = False
    exact_scores = False
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (
        ParameterSpec(
            name="codec",
            default="int8",
            when="build",
            choices=("int8", "fp16"),
            summary="How a number is kept.",
        ),
        ParameterSpec(
            name="refine_factor",
            default=4,
            when="search",
            minimum=REFINE_SPEC.minimum,
            maximum=REFINE_SPEC.maximum,
            summary=REFINE_SPEC.summary,
        ),
    )

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        quantizers = faiss.ScalarQuantizer
        codec = {"int8": quantizers.QT_8bit, "fp16": quantizers.QT_fp16}
        codes = faiss.IndexScalarQuantizer(
            plan.dim, codec[str(plan.parameters["codec"])], faiss_metric(faiss, plan)
        )
        sample = sample_rows(blocks, TRAINING_ROWS, plan.dim, seed=SEED)
        if len(sample):
            codes.train(sample)
        return FaissBody.fill(codes, blocks, plan, progress)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        return FaissBody.open(source, payload_bytes, plan, inner=("IndexScalarQuantizer",))

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        faiss: Any = load_faiss()
        chosen = selector(faiss, allowed)
        parameters = None if chosen is None else faiss.SearchParameters(sel=chosen)
        return self._body.search(queries, k, parameters)
