"""hnsw: a navigable small-world graph over the vectors, the default approximate kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import BATCH
from vecstore.indexes.faiss_body import FaissBody, faiss_metric, selector
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet

__all__ = ["HnswIndex", "scan_limit", "widened_ef"]


@final
class HnswIndex(Index[FaissBody]):
    """Hierarchical navigable small world graph over float32 vectors.

    Memory 4 d + 8 m bytes per row and a little. Scores are exact for the rows found.
    Under "ip" it is meant for unit vectors, or norms that vary little.

    Building on several threads links rows in the order the threads arrive, so two builds
    may differ in single links; ``build_threads=1`` makes them equal.

    References
    ----------
    Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs", TPAMI 2020.
    """

    kind = "hnsw"
    exact = False
    exact_scores = True
    supports_filter = True
    specs: ClassVar[tuple[ParameterSpec, ...]] = (
        ParameterSpec(
            name="m",
            default=32,
            when="build",
            minimum=2,
            maximum=256,
            summary="Links per row; more is more accurate and larger.",
        ),
        ParameterSpec(
            name="ef_construction",
            default=128,
            when="build",
            minimum=4,
            maximum=4096,
            summary="Rows looked at to place a row; more is more accurate and slower to build.",
        ),
        ParameterSpec(
            name="build_threads",
            default=0,
            when="build",
            minimum=0,
            maximum=1024,
            summary="Threads of the build: 0 all, 1 reproducible.",
        ),
        ParameterSpec(
            name="ef_search",
            default=64,
            when="search",
            minimum=1,
            maximum=1_000_000,
            summary="Rows looked at per query; more is more accurate and slower.",
        ),
        ParameterSpec(
            name="filtered_scan",
            default="auto",
            when="search",
            choices=("auto", "never"),
            summary="Scan the rows a filter leaves where that is cheaper than the graph.",
        ),
    )

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> FaissBody:
        faiss = load_faiss()
        settings = plan.parameters
        graph = faiss.IndexHNSWFlat(plan.dim, settings["m"], faiss_metric(faiss, plan))
        graph.hnsw.efConstruction = settings["ef_construction"]
        return FaissBody.fill(
            graph, blocks, plan, progress, n_threads=int(settings["build_threads"])
        )

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> FaissBody:
        return FaissBody.open(source, payload_bytes, plan, inner="IndexHNSWFlat")

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        ef = widened_ef(int(settings["ef_search"]), k, eligible=eligible, total=len(self))
        limit = scan_limit(ef, int(settings["m"]), n_queries=len(queries))
        if settings["filtered_scan"] == "auto" and eligible < min(limit, len(self)):
            return self._body.scan(queries, k, allowed)
        if allowed is None:
            return self._body.search(queries, k, _unfiltered(ef))
        faiss = load_faiss()
        search_parameters = faiss.SearchParametersHNSW(efSearch=ef, sel=selector(faiss, allowed))
        return self._body.search(queries, k, search_parameters)


@lru_cache(maxsize=256)
def _unfiltered(ef: int) -> Any:
    """Return FAISS's parameters of a search of all rows; they are only read, so threads share."""
    return load_faiss().SearchParametersHNSW(efSearch=ef)


def widened_ef(ef_search: int, k: int, *, eligible: int, total: int) -> int:
    """Return the number of rows a filtered graph search must look at.

    The graph is walked through all rows and the filter decides only which of them may be
    returned, so of ``ef`` rows looked at about ``ef · eligible / total`` count. To keep the
    recall of the unfiltered search, look at ``max(ef_search, k) · total / eligible`` rows,
    at most all. The cost grows likewise, see :func:`scan_limit`.

    Examples
    --------
    >>> widened_ef(64, 10, eligible=1_000, total=1_000)
    64
    >>> widened_ef(64, 10, eligible=100, total=10_000)
    6400
    """
    return min(total, math.ceil(max(ef_search, k) * total / eligible))


def scan_limit(ef: int, m: int, *, n_queries: int) -> int:
    """Return the number of eligible rows below which scanning them beats the graph.

    A step of the walk reads some ``2 m`` rows scattered in memory; in that time a scan reads
    about twice as many rows in sequence, or, for a batch, sixteen times as many by matrix
    product (measured: 50,000 x 384, m = 32, two cores).

    Examples
    --------
    >>> scan_limit(64, 32, n_queries=1), scan_limit(64, 32, n_queries=1000)
    (8192, 65536)
    """
    return ef * 2 * m * (2 if n_queries < BATCH else 16)
