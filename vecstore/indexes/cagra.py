"""CAGRA: a graph made on a GPU, and handed over as the plain HNSW graph that any FAISS opens.

FAISS has it where it was built with NVIDIA's cuVS. A GPU links the rows, the CPU adds the sparse
upper levels by which a search of the graph begins, and the file does not say where it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.gpu.device import warn_once
from vecstore.indexes.blocks import Block, tiles
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_gpu import find_gpu
from vecstore.indexes.faiss_library import load_faiss, reason, threads
from vecstore.indexes.plans import IndexPlan, Progress

__all__ = ["filled_on_gpu"]

_GATHER_BYTES = 2**24
# Fewer rows are linked on a CPU before a GPU has begun.
_LEAST_ROWS = 1024


def filled_on_gpu(
    graph: Any, device: str, blocks: Sequence[Block], plan: IndexPlan, progress: Progress
) -> FaissBody | None:
    """Fill an empty FAISS graph with the kept rows by CAGRA; None where the CPU has to.

    The rows are held in memory twice while they are linked. A named GPU that cannot do it is
    replaced by the CPU with one warning.
    """
    gpu = find_gpu(device)
    if gpu is None or plan.rows < _LEAST_ROWS:
        return None
    faiss = load_faiss()
    if not hasattr(faiss, "GpuIndexCagra"):
        if gpu.named:
            warn_once(
                f"device 'cuda:{gpu.number}' was asked for, and this FAISS has no CAGRA (the "
                "package faiss-gpu-cuvs, in place of faiss-gpu, has)"
            )
        return None
    row_ids, rows = _gathered(blocks, plan, progress)
    n_threads = int(plan.parameters["build_threads"])
    try:
        with threads(faiss, n_threads):
            outer = _filled(faiss, graph, row_ids, rows, plan, gpu.number)
    except RuntimeError as error:  # its memory is full, most often
        warn_once(f"FAISS cannot build a graph on 'cuda:{gpu.number}' ({reason(error)})")
        return None
    progress(plan.rows, plan.rows)
    return FaissBody(outer, plan)


def _gathered(
    blocks: Sequence[Block], plan: IndexPlan, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the kept rows in one matrix: a GPU links all of them at once."""
    row_ids = np.empty(plan.rows, np.int64)
    rows = np.empty((plan.rows, plan.dim), np.float32)
    done = 0
    step = max(1024, _GATHER_BYTES // (4 * plan.dim))
    for tile in tiles(blocks, gather_bytes=_GATHER_BYTES, map_rows=step, map_masked=False):
        progress(0, plan.rows)  # that it can be cancelled; nothing is linked yet
        here = slice(done, done + len(tile.row_ids))
        row_ids[here], rows[here] = tile.row_ids, tile.vectors
        done += len(tile.row_ids)
    return row_ids, rows


def _linked(faiss: Any, rows: NDArray[np.float32], plan: IndexPlan, number: int) -> Any:
    """Return FAISS's CPU form of a CAGRA graph; it has as many links at the base as an HNSW."""
    m = int(plan.parameters["m"])
    metric = faiss_metric(faiss, plan)
    config = faiss.GpuIndexCagraConfig()
    config.device = number
    config.graph_degree, config.intermediate_graph_degree = 2 * m, 4 * m
    made = faiss.GpuIndexCagra(faiss.StandardGpuResources(), plan.dim, metric, config)
    made.train(rows)
    linked = faiss.IndexHNSWCagra(plan.dim, m, metric)
    linked.hnsw.efConstruction = plan.parameters["ef_construction"]
    made.copyTo(linked)
    return linked


def _filled(
    faiss: Any,
    graph: Any,
    row_ids: NDArray[np.int64],
    rows: NDArray[np.float32],
    plan: IndexPlan,
    number: int,
) -> Any:
    """Give a graph CAGRA's links and its own form of the vectors, and let it know row ids."""
    outer = faiss.IndexIDMap(graph)  # while it is empty, as FAISS wants
    linked = _linked(faiss, rows, plan, number)
    graph.hnsw = linked.hnsw  # a copy
    del linked  # with float32 vectors of its own
    graph.storage.add(rows)
    graph.ntotal = outer.ntotal = len(row_ids)
    faiss.copy_array_to_vector(row_ids, outer.id_map)
    return outer
