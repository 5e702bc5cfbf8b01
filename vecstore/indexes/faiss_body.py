"""FaissBody: a FAISS index that speaks row ids; the part that every FAISS kind holds.

FAISS's exceptions, selectors, files and signs (distances smaller, similarities larger) end
here. Ids live in the inverted lists of an IVF index, else in an ``IndexIDMap``, which
translates them inside the search. Either way a mask over row ids goes in as it is: a
``RowSet`` is byte for byte FAISS's bitmap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import CorruptFileError, StorageError
from vecstore.indexes.base import Answer, IndexPlan, Progress
from vecstore.indexes.blocks import Block, tiles
from vecstore.indexes.exact import exact_search
from vecstore.indexes.faiss_gpu import Gpu, GpuCopies
from vecstore.indexes.faiss_library import load_faiss, threads
from vecstore.rows import RowSet

__all__ = ["FaissBody", "MakeParameters", "faiss_metric", "selector"]

MakeParameters: TypeAlias = Callable[[Any, int, Any], Any]
"""Called with faiss, how far to look and FAISS's selector of rows; returns search parameters."""

# Rows handed to FAISS at once: large enough for its threads, small enough for progress,
# cancellation and memory.
_BUILD_BYTES = 2**24


@final
class FaissBody:
    """A FAISS index that knows row ids, immutable from here on."""

    def __init__(self, index: Any, plan: IndexPlan) -> None:
        self._index = index
        self._plan = plan
        self._last: tuple[object, object, object, Any] = (None, None, None, None)

    @classmethod
    def fill(
        cls,
        inner: Any,
        blocks: Sequence[Block],
        plan: IndexPlan,
        progress: Progress,
        *,
        n_threads: int = 0,
    ) -> Self:
        """Add every kept row to an empty (trained) FAISS index."""
        faiss = load_faiss()
        index = inner if _lists(faiss, inner) is not None else faiss.IndexIDMap(inner)
        done = 0
        progress(done, plan.rows)
        with threads(faiss, n_threads):
            for tile in tiles(
                blocks, gather_bytes=_BUILD_BYTES, map_rows=_build_rows(plan), map_masked=False
            ):
                index.add_with_ids(tile.vectors, tile.row_ids)
                done += len(tile.row_ids)
                progress(done, plan.rows)
        return cls(index, plan)

    @classmethod
    def open(
        cls, source: Path | bytes, payload_bytes: int, plan: IndexPlan, *, inner: Sequence[str] = ()
    ) -> Self:
        """Open a payload whose checksum has been verified; ``inner`` names the FAISS class.

        One of several names, where the kind has several; without any, every class is accepted.

        Raises
        ------
        CorruptFileError
            FAISS cannot read it, or it is not what the plan says.
        """
        faiss = load_faiss()
        try:
            if isinstance(source, bytes):
                data = np.frombuffer(source, dtype=np.uint8, count=payload_bytes)
                index = faiss.deserialize_index(data)
            else:
                index = _read(faiss, source)
        except (RuntimeError, MemoryError) as error:
            raise CorruptFileError(
                f"FAISS cannot read the index ({_first_line(error)}); delete it and build again"
            ) from error
        found = (index.d, index.metric_type, index.ntotal)
        wanted = (plan.dim, faiss_metric(faiss, plan), plan.rows)
        outer, core = type(index).__name__, type(_core(faiss, index)).__name__
        known = outer == "IndexIDMap" or _lists(faiss, index) is not None
        if found != wanted or not known or (inner and core not in inner):
            raise CorruptFileError(
                f"expected a FAISS index of {' or '.join(inner)} with (dimensions, metric, rows) "
                f"{wanted}, got {outer} of {core} with {found}; delete it and build again"
            )
        return cls(index, plan)

    @cached_property
    def core(self) -> Any:
        """The FAISS index inside maps of ids and transformations of vectors."""
        return _core(load_faiss(), self._index)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """The float32 vectors inside, without a copy, ndarray of shape (n, d).

        Only of kinds that keep them: a flat FAISS index, or one whose storage is flat.
        """
        faiss, inner = load_faiss(), self.core
        flat = faiss.downcast_index(getattr(inner, "storage", inner))
        n, dim = self._plan.rows, self._plan.dim
        rows: NDArray[np.float32] = faiss.rev_swig_ptr(flat.get_xb(), n * dim)
        return rows.reshape(n, dim)

    def scan(self, queries: NDArray[np.float32], k: int, allowed: RowSet | None) -> Answer:
        """Search the :attr:`vectors` exactly."""
        keep = None if allowed is None else allowed.contains(self.row_ids)
        block = Block(row_ids=self.row_ids, vectors=self.vectors, keep=keep)
        return exact_search(queries, [block], k, metric=self._plan.metric)

    @cached_property
    def row_ids(self) -> NDArray[np.int64]:
        """The ids by FAISS's positions or lists, ndarray of shape (n,), int64."""
        faiss = load_faiss()
        lists = _lists(faiss, self._index)
        if lists is None:
            row_ids: NDArray[np.int64] = faiss.vector_to_array(self._index.id_map)
            return row_ids
        parts = [np.empty(0, dtype=np.int64)]
        for number in range(lists.nlist):
            size = lists.list_size(number)
            if size:
                parts.append(faiss.rev_swig_ptr(lists.get_ids(number), size).copy())
        return np.concatenate(parts)

    def parameters(self, make: MakeParameters, effort: int, allowed: RowSet | None) -> Any:
        """Return FAISS's search parameters, those of the last search where they are the same.

        Made anew for every query they would take a tenth of it.

        Parameters
        ----------
        make : MakeParameters
        effort : int
        allowed : RowSet or None
        """
        maker, tried, rows, made = self._last
        if maker is not make or tried != effort or rows is not allowed:
            faiss = load_faiss()
            made = make(faiss, effort, selector(faiss, allowed))
            self._last = make, effort, allowed, made
        return made

    def search(self, queries: NDArray[np.float32], k: int, search_parameters: Any) -> Answer:
        """Search by FAISS and return scores (larger is better) and row ids.

        FAISS's own method of that name checks and converts once more what is checked here.

        Parameters
        ----------
        queries : ndarray of shape (nq, d), float32, C-contiguous
        """
        faiss, n = load_faiss(), len(queries)
        scores, row_ids = np.empty((n, k), np.float32), np.empty((n, k), np.int64)
        pointer = faiss.swig_ptr
        arrays = pointer(queries), k, pointer(scores), pointer(row_ids)
        with threads(faiss, 1 if n == 1 else 0):
            self._index.search_c(n, *arrays, search_parameters)
        if self._plan.metric == "l2":
            np.subtract(0, scores, out=scores)
        if n > 1 or row_ids[0, -1] < 0:  # FAISS puts what is missing last
            scores[row_ids < 0] = -np.inf
        return scores, row_ids

    def propose(
        self, gpu: Gpu, queries: NDArray[np.float32], k: int, search_parameters: Any = None
    ) -> Answer | None:
        """Search on a GPU; None where the CPU has to answer.

        Returns
        -------
        scores : ndarray of shape (nq, k), float32
        labels : ndarray of shape (nq, k), int64
            Row ids where they are kept in lists, else positions.
        """
        found = self._copies.search(gpu, queries, k, search_parameters)
        if found is None:
            return None
        values, labels = found
        scores = values if self._plan.metric == "ip" else np.subtract(0, values)
        scores[labels < 0] = -np.inf
        return scores, labels

    @cached_property
    def _copies(self) -> GpuCopies:
        return GpuCopies(self.core)

    def to_bytes(self) -> bytes:
        """Serialise to FAISS's own format."""
        return bytes(load_faiss().serialize_index(self._index))

    def write(self, path: Path) -> None:
        """Write FAISS's own format.

        Raises
        ------
        StorageError
            FAISS could not write.
        """
        try:
            load_faiss().write_index(self._index, str(path))
        except RuntimeError as error:
            raise StorageError(f"cannot write index file {path}: {_first_line(error)}") from error


def faiss_metric(faiss: Any, plan: IndexPlan) -> int:
    """Return FAISS's number of the plan's metric."""
    return int(faiss.METRIC_INNER_PRODUCT if plan.metric == "ip" else faiss.METRIC_L2)


def selector(faiss: Any, allowed: RowSet | None) -> Any:
    """Return the FAISS selector of a set of row ids, None for all."""
    return None if allowed is None else faiss.IDSelectorBitmap(allowed.bits)


def _core(faiss: Any, index: Any) -> Any:
    """Return the index under an ``IndexIDMap`` and an ``IndexPreTransform``."""
    index = faiss.downcast_index(index)
    while isinstance(index, faiss.IndexIDMap | faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def _lists(faiss: Any, index: Any) -> Any | None:
    """Return the inverted lists of an index that keeps row ids in them, else None."""
    if isinstance(index, faiss.IndexIDMap):
        return None
    core = _core(faiss, index)
    return core.invlists if isinstance(core, faiss.IndexIVF) else None


def _build_rows(plan: IndexPlan) -> int:
    """Rows per call of a build."""
    return max(1024, _BUILD_BYTES // (4 * plan.dim))


def _read(faiss: Any, path: Path) -> Any:
    """Read a FAISS file, mapped without a copy where this FAISS can."""
    flag = getattr(faiss, "IO_FLAG_MMAP_IFC", 0)
    try:
        return faiss.read_index(str(path), flag)
    except RuntimeError:
        if not flag:
            raise
        return faiss.read_index(str(path))


def _first_line(error: BaseException) -> str:
    """Return the message without FAISS's stack of file names."""
    return str(error).strip().split("\n")[0]
