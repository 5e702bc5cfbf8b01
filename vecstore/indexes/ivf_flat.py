"""ivf_flat: float32 vectors parted into lists around trained centres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, final

from vecstore.indexes.base import IndexPlan, Progress
from vecstore.indexes.blocks import Block, sample_rows
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_gpu import DEVICE_SPEC
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.list_index import ListIndex
from vecstore.indexes.lists import (
    LIST_SPECS,
    SEED,
    trained_quantizer,
    training_rows,
)
from vecstore.indexes.parameters import ParameterSpec

__all__ = ["IvfFlatIndex"]


@final
class IvfFlatIndex(ListIndex):
    """Inverted lists of float32 vectors; a search scans the lists nearest to the query.

    Memory 4 d + 8 bytes per row. Scores are exact for the rows found. Quick to build, and a
    filter makes it faster: rows that it leaves out cost a bit test.

    References
    ----------
    Sivic and Zisserman, "Video Google", ICCV 2003.
    """

    kind = "ivf_flat"
    exact_scores = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (*LIST_SPECS, DEVICE_SPEC)

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        nlist = int(plan.parameters["nlist"])
        sample = sample_rows(blocks, training_rows(nlist), plan.dim, seed=SEED)
        quantizer = trained_quantizer(sample, plan, progress)
        lists = faiss.IndexIVFFlat(quantizer, plan.dim, nlist, faiss_metric(faiss, plan))
        if len(sample):
            lists.train(sample)
        return FaissBody.fill(lists, blocks, plan, progress)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        return FaissBody.open(source, payload_bytes, plan, inner=("IndexIVFFlat",))
