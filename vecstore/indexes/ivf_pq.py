"""ivf_pq: product-quantised residuals in lists around trained centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from vecstore.errors import InvalidArgumentError
from vecstore.indexes.base import IndexPlan, Progress
from vecstore.indexes.blocks import Block, sample_rows
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_gpu import DEVICE_SPEC
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.list_index import ListIndex
from vecstore.indexes.lists import (
    LIST_SPECS,
    REFINE_SPEC,
    SEED,
    settle_lists,
    trained_quantizer,
    training_rows,
)
from vecstore.indexes.parameters import ParameterSpec, ParameterValue

__all__ = ["FAST_BITS", "FAST_LISTS", "IvfPqIndex", "product_lists"]

# Training looks at this many rows per code word, in this many rounds; FAISS's own 256 and 25
# take ten times as long.
_ROWS_PER_WORD = 64
_ROUNDS = 10
FAST_BITS = 4
"""Bits of a word that FAISS looks up in registers, 32 rows at a time."""

FAST_LISTS = "IndexIVFPQFastScan"


@final
class IvfPqIndex(ListIndex):
    """Inverted lists of product codes: m parts of a vector, each one of 2^nbits words.

    Memory m nbits / 8 + 8 bytes per row. Candidates found by the codes are ranked by their
    own vectors, ``refine_factor`` times k of them. Words of four bits are looked up in
    registers: 4 times as fast at the same memory as words of eight, and trained in a
    25th of the time (measured: 12,000 x 384). With too few rows to train 2^nbits words, the
    codes get fewer bits. A GPU searches words of eight bits only, for m of 1 to 4, 8, 12, 16, 20,
    24, 28, 32, 40, 48, 56, 64 and 96; other codes stay on the CPU.

    References
    ----------
    Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011.
    André, Kermarrec and Le Scouarnec, "Cache locality is not enough: High-performance nearest
    neighbor search with product quantization fast scan", VLDB 2015.
    """

    kind = "ivf_pq"
    exact_scores = False
    specs: ClassVar[tuple[ParameterSpec, ...]] = (
        *LIST_SPECS,
        ParameterSpec(
            name="m",
            default=0,
            when="build",
            minimum=0,
            maximum=4096,
            summary="Parts of a vector, a divisor of its dimension: 0 makes parts of nbits / 2.",
        ),
        ParameterSpec(
            name="nbits",
            default=4,
            when="build",
            minimum=1,
            maximum=12,
            summary="Bits per part; more is more accurate and larger.",
        ),
        REFINE_SPEC,
        DEVICE_SPEC,
    )

    @classmethod
    def _settle(
        cls, parameters: Mapping[str, ParameterValue], rows: int, dim: int
    ) -> Mapping[str, ParameterValue]:
        widest = max(1, int(parameters["nbits"]) // 2)
        m = int(parameters["m"]) or next(
            dim // width for width in range(widest, 0, -1) if not dim % width
        )
        if dim % m:
            raise InvalidArgumentError(
                f"index parameter 'm' must divide the {dim} dimensions, got {m}; 0 chooses one"
            )
        trainable = max(1, rows.bit_length() - 1)  # 2^nbits words need as many rows
        nbits = min(int(parameters["nbits"]), trainable)
        return {**settle_lists(parameters, rows), "m": m, "nbits": nbits}

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        return product_lists(blocks, plan, progress)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        inner = FAST_LISTS if plan.parameters["nbits"] == FAST_BITS else "IndexIVFPQ"
        return FaissBody.open(source, payload_bytes, plan, inner=(inner,))


def product_lists(blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
    """Train lists and the words of product codes, and fill them; nlist, m and nbits are set."""
    faiss = load_faiss()
    nlist, m, nbits = (int(plan.parameters[name]) for name in ("nlist", "m", "nbits"))
    wanted = max(training_rows(nlist), _ROWS_PER_WORD * 2**nbits)
    sample = sample_rows(blocks, wanted, plan.dim, seed=SEED)
    quantizer = trained_quantizer(sample, plan, progress)
    metric = faiss_metric(faiss, plan)
    make = faiss.IndexIVFPQFastScan if nbits == FAST_BITS else faiss.IndexIVFPQ
    lists = make(quantizer, plan.dim, nlist, m, nbits, metric)
    lists.pq.cp.niter = _ROUNDS
    lists.pq.cp.max_points_per_centroid = _ROWS_PER_WORD
    lists.pq.cp.min_points_per_centroid = 1
    if len(sample) >= 2**nbits:
        lists.train(sample)
    elif len(sample):  # a single row: one word, of which there must be two
        lists.train(np.repeat(sample, 2**nbits, axis=0))
    return FaissBody.fill(lists, blocks, plan, progress)
