"""GraphBody: a graph for free searches, and coded lists beside it for filtered ones.

A graph walks through all rows, whatever the filter: with a tenth of them eligible it has to look
at ten times as many. Inverted lists skip what a filter leaves out for a bit test. So a large
graph carries short codes of its rows in lists, a tenth of its memory, by which a filtered search
finds candidates; the store's own vectors rank them.

Payload: the graph's bytes first, so that FAISS maps them; the lists' bytes; the size of these,
8 bytes little endian.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError
from vecstore.indexes.faiss_body import FaissBody, faiss_metric
from vecstore.indexes.faiss_library import load_faiss
from vecstore.indexes.ivf_pq import FAST_LISTS
from vecstore.indexes.plans import IndexPlan

__all__ = ["GraphBody", "empty_graph"]

HALVED, WHOLE = "IndexHNSWSQ", "IndexHNSWFlat"
# FAISS's classes by codec. Of the first, only 16 bits per number are ever built.
_CLASSES = {"auto": (HALVED, WHOLE), "fp16": (HALVED,), "fp32": (WHOLE,)}
_SIZE = 8


@final
class GraphBody:
    """A FAISS graph and, where it has them, its coded lists.

    Attributes
    ----------
    graph : FaissBody
    lists : FaissBody or None
    """

    def __init__(self, graph: FaissBody, lists: FaissBody | None) -> None:
        self.graph = graph
        self.lists = lists

    @classmethod
    def open(cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan) -> Self:
        """Open a verified payload; see :meth:`FaissBody.open`.

        Raises
        ------
        CorruptFileError
            The payload is not that of a graph with the plan's rows.
        """
        place = payload_bytes - _SIZE
        size = int.from_bytes(_part(source, place, _SIZE), "little") if place >= 0 else 0
        if size > place:
            raise CorruptFileError(
                f"a graph of {payload_bytes:,} bytes claims lists of {size:,}; delete the index "
                "and build it again"
            )
        end = payload_bytes - _SIZE - size
        graph = FaissBody.open(source, end, plan, inner=_CLASSES[str(plan.parameters["codec"])])
        if not size:
            return cls(graph, None)
        return cls(graph, FaissBody.open(_part(source, end, size), size, plan, inner=(FAST_LISTS,)))

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """The ids in the graph."""
        return self.graph.row_ids

    @cached_property
    def halved(self) -> bool:
        """Whether the graph keeps its vectors as float16, so that its scores are approximate."""
        return type(self.graph.core).__name__ == HALVED

    @cached_property
    def nlist(self) -> int:
        """The number of lists, 0 without."""
        return 0 if self.lists is None else int(self.lists.core.nlist)

    def to_bytes(self) -> bytes:
        """Serialise."""
        return self.graph.to_bytes() + self._tail()

    def write(self, path: Path) -> None:
        """Serialise to a file.

        Raises
        ------
        StorageError
            FAISS could not write.
        """
        self.graph.write(path)
        with path.open("ab") as file:
            file.write(self._tail())

    def _tail(self) -> bytes:
        lists = b"" if self.lists is None else self.lists.to_bytes()
        return lists + len(lists).to_bytes(_SIZE, "little")


def empty_graph(plan: IndexPlan, *, halved: bool) -> Any:
    """Return a FAISS graph without rows, over float16 or float32 vectors."""
    faiss = load_faiss()
    m, metric = int(plan.parameters["m"]), faiss_metric(faiss, plan)
    if halved:
        graph = faiss.IndexHNSWSQ(plan.dim, faiss.ScalarQuantizer.QT_fp16, m, metric)
    else:
        graph = faiss.IndexHNSWFlat(plan.dim, m, metric)
    graph.hnsw.efConstruction = plan.parameters["ef_construction"]
    return graph


def _part(source: Path | bytes, start: int, size: int) -> bytes:
    """Read some bytes of a file or of memory."""
    if isinstance(source, bytes):
        return source[start : start + size]
    with source.open("rb") as file:
        file.seek(start)
        return file.read(size)
