"""hnsw: a navigable small-world graph over the vectors, the default approximate kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import InvalidArgumentError
from vecstore.indexes.base import Answer, Index, IndexPlan, Progress
from vecstore.indexes.blocks import Block, fits_float16
from vecstore.indexes.cagra import filled_on_gpu
from vecstore.indexes.exact import BATCH
from vecstore.indexes.faiss_body import FaissBody
from vecstore.indexes.faiss_gpu import DEVICE_SPEC
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.filtered import LISTS_FROM
from vecstore.indexes.graph_body import GraphBody, empty_graph
from vecstore.indexes.ivf_pq import FAST_BITS, product_lists
from vecstore.indexes.lists import MAX_LISTS, search_lists, settle_lists, widened_nprobe
from vecstore.indexes.parameters import ParameterSpec, ParameterValue
from vecstore.rows import RowSet

__all__ = ["HnswIndex", "filtered_costs", "widened_ef"]

# Candidates of the coded lists that are ranked by their vectors, per hit wanted; more of them
# where vectors of few dimensions make codes of few bits.
_REFINE = 10
_REFINE_BITS = 640
# Dimensions that share a word of the codes.
_PART = 4


@final
class HnswIndex(Index[GraphBody]):
    """Hierarchical navigable small world graph over float16 vectors.

    Memory 2 d + 8 m bytes per row, and d / 8 + 8 for the coded lists that serve filtered
    searches of large graphs. The walk is bound by the memory that it reads, so half the bytes
    make it faster too; the rows it finds are ranked by their own vectors. Vectors that float16
    cannot tell apart are kept as float32, in 4 d bytes. Under "ip" it is meant for unit vectors,
    or norms that vary little.

    A filtered search scans the eligible rows, looks them up in the coded lists, or walks the
    graph further than an unfiltered one, whichever is cheapest: see :func:`filtered_costs`.

    Building on several threads links rows in the order the threads arrive, so two builds
    may differ in single links; ``build_threads=1`` makes them equal. ``device="cuda:0"`` has a GPU
    link the rows (CAGRA), where FAISS can; searches run on the CPU.

    References
    ----------
    Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs", TPAMI 2020.
    """

    kind = "hnsw"
    exact = False
    exact_scores = False
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
        replace(
            DEVICE_SPEC,
            default="cpu",
            when="build",
            summary="Where rows are linked: cpu, or auto or cuda:N by CAGRA, where FAISS has it.",
        ),
        ParameterSpec(
            name="codec",
            default="auto",
            when="build",
            choices=("auto", "fp16", "fp32"),
            summary="How a number is kept: auto takes fp16 where that holds the vectors.",
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
            name="filter_lists",
            default="auto",
            when="build",
            choices=("auto", "never", "always"),
            summary="Carry coded lists for filtered searches: auto from 20,000 rows.",
        ),
        ParameterSpec(
            name="filter_nprobe",
            default=0,
            when="search",
            minimum=0,
            maximum=MAX_LISTS,
            summary="Of the coded lists, those looked at per filtered query; 0: a quarter.",
        ),
        ParameterSpec(
            name="filtered",
            default="auto",
            when="search",
            choices=("auto", "scan", "lists", "graph"),
            summary="How a filtered search runs; auto takes what is cheapest.",
        ),
    )

    @classmethod
    def _build(cls, blocks: Sequence[Block], plan: IndexPlan, progress: Progress) -> GraphBody:
        settings = plan.parameters
        graph = empty_graph(plan, halved=_halves(blocks, plan))
        body = filled_on_gpu(graph, str(settings["device"]), blocks, plan, progress)
        if body is None:
            n_threads = int(settings["build_threads"])
            body = FaissBody.fill(graph, blocks, plan, progress, n_threads=n_threads)
        wanted = {"auto": plan.rows >= LISTS_FROM, "always": plan.rows > 0, "never": False}
        if not wanted[str(settings["filter_lists"])]:
            return GraphBody(body, None)
        coded = replace(plan, parameters=_list_parameters(plan.rows, plan.dim))
        # The rows are in the graph: what is left counts as the last of them.
        lists = product_lists(blocks, coded, lambda _, total: progress(total, total))
        return GraphBody(body, lists)

    @classmethod
    def _open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> GraphBody:
        return GraphBody.open(source, payload_bytes, plan)

    def _decided(
        self, n_queries: int, k: int, eligible: int, settings: Mapping[str, ParameterValue]
    ) -> Mapping[str, ParameterValue]:
        way = str(settings["filtered"])
        if way == "lists" and self._body.lists is None:
            way = "scan"
        if way == "auto":
            costs = filtered_costs(
                k,
                widened_ef(int(settings["ef_search"]), k, eligible=eligible, total=len(self)),
                eligible=eligible,
                total=len(self),
                single=n_queries < BATCH,
                nlist=self._body.nlist,
                nprobe=self._nprobe(settings),
            )
            way = min(costs, key=lambda name: costs[name])
        return {**settings, "filtered": way}

    def _scan_pays(
        self, n_queries: int, eligible: int, settings: Mapping[str, ParameterValue]
    ) -> bool:
        few = super()._scan_pays(n_queries, eligible, settings)
        return few or settings["filtered"] == "scan"

    def _depth(self, k: int, eligible: int, settings: Mapping[str, ParameterValue]) -> int:
        if eligible < len(self) and settings["filtered"] == "lists":
            return min(eligible, max(_REFINE, _REFINE_BITS // self.dim) * k)
        return k if self._body.halved else 0

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        if allowed is None:
            return self._body.graph.search(queries, k, _free_walk(int(settings["ef_search"])))
        if settings["filtered"] != "lists":
            ef = widened_ef(int(settings["ef_search"]), k, eligible=eligible, total=len(self))
            walk = self._body.graph.parameters(_walk, ef, allowed)
            return self._body.graph.search(queries, k, walk)
        assert self._body.lists is not None
        looked_at = {"nlist": self._body.nlist, "nprobe": self._nprobe(settings)}
        return search_lists(
            self._body.lists,
            queries,
            k,
            allowed,
            eligible=eligible,
            total=len(self),
            settings={**looked_at, "filter_nprobe": 0},
        )

    def _nprobe(self, settings: Mapping[str, ParameterValue]) -> int:
        """Return how many coded lists a search would look at without a filter."""
        return int(settings["filter_nprobe"]) or math.ceil(self._body.nlist / 4)


def _list_parameters(rows: int, dim: int) -> dict[str, ParameterValue]:
    """Return the parameters of the coded lists that a graph carries."""
    part = next(width for width in range(_PART, 0, -1) if not dim % width)
    lists = settle_lists({"nlist": 0, "nprobe": 0}, rows)
    return {**lists, "m": dim // part, "nbits": FAST_BITS}


def _halves(blocks: Sequence[Block], plan: IndexPlan) -> bool:
    """Decide whether a graph keeps its vectors as float16, refusing to where it cannot."""
    codec = plan.parameters["codec"]
    if codec == "fp32":
        return False
    fits = fits_float16(blocks, plan.dim)
    if codec == "fp16" and not fits:
        raise InvalidArgumentError(
            "index parameter 'codec' is 'fp16', which cannot hold these vectors: their numbers "
            "exceed 65,504, or rounding would make different vectors equal; pass 'fp32', or "
            "'auto', which takes it where it must"
        )
    return fits


@lru_cache
def _free_walk(ef: int) -> Any:
    """Return the parameters of an unfiltered walk, which every query shares."""
    return _walk(load_faiss(), ef, None)


def _walk(faiss: Any, ef: int, chosen: Any) -> Any:
    return faiss.SearchParametersHNSW(efSearch=ef, sel=chosen)


def widened_ef(ef_search: int, k: int, *, eligible: int, total: int) -> int:
    """Return the number of rows a filtered graph search must look at.

    The graph is walked through all rows and the filter decides only which of them may be
    returned, so of ``ef`` rows looked at about ``ef · eligible / total`` count. To keep the
    recall of the unfiltered search, look at ``max(ef_search, k) · total / eligible`` rows,
    at most all. The cost grows likewise, see :func:`filtered_costs`.

    Examples
    --------
    >>> widened_ef(64, 10, eligible=1_000, total=1_000)
    64
    >>> widened_ef(64, 10, eligible=100, total=10_000)
    6400
    """
    return min(total, math.ceil(max(ef_search, k) * total / eligible))


@lru_cache(maxsize=1024)  # queries that share a filter ask the same
def filtered_costs(
    k: int, ef: int, *, eligible: int, total: int, single: bool, nlist: int, nprobe: int
) -> Mapping[str, float]:
    """Return what each way to a filtered answer costs per query.

    The unit is the time in which a scan reads one row, about 0.25 µs at 384 dimensions; a
    batch is scanned by matrix products, in an eighth of it. A step of the walk (``ef`` of them)
    reads the scattered neighbours of a row: 20. The lists cost 0.3 for each centre, 6 for each
    list looked at and 0.02 for each row in it, left out or not, and every candidate is read from
    its own place, 3; a single query pays 100 for the way there, and a batch half of it all, since
    its queries share the centres (docs/design/0012).

    Examples
    --------
    >>> tenth = dict(eligible=10_000, total=100_000, nlist=632, nprobe=50)
    >>> costs = filtered_costs(10, 320, single=True, **tenth)
    >>> min(costs, key=costs.get)
    'lists'
    >>> costs = filtered_costs(10, 320, single=True, **{**tenth, "eligible": 100})
    >>> min(costs, key=costs.get)
    'scan'
    """
    costs = {"scan": eligible * (1.0 if single else 1 / 8), "graph": 20.0 * ef}
    if nlist:
        visited = widened_nprobe(nprobe, nlist, eligible=eligible, total=total, coded=True)
        read = 6 * visited + 0.02 * visited / nlist * total + 0.3 * nlist
        read += 3 * _REFINE * k
        costs["lists"] = read + 100 if single else read / 2
    return costs
