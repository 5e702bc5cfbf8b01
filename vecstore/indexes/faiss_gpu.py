"""FAISS's GPU indexes: copies of flat and inverted-list indexes on GPUs, and when to ask them.

The file is that of the CPU, so that an index opens anywhere; a copy on a GPU is made when the
index is first searched there. A GPU answers or it does not: what it cannot do is left to the CPU,
which has the whole index. That is, by rule and in silence: more than 2,048 candidates or lists,
masks that leave less than half of the rows, product codes of other than 8 bits. FAISS's own GPU
kernels ignore selectors without a word (1.15.1), so none is ever handed to them: what a mask takes
out is taken out of a longer answer.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore.gpu.device import DEVICE_PATTERN, choose_device, driver_found, warn_once
from vecstore.indexes.faiss_library import find_faiss, load_faiss, reason
from vecstore.indexes.parameters import ParameterSpec

__all__ = [
    "DEVICE_SPEC",
    "LEAST_SHARE",
    "WIDEST",
    "Gpu",
    "GpuCopies",
    "faiss_gpu_count",
    "find_gpu",
    "lengthened",
]

DEVICE_SPEC = ParameterSpec(
    name="device",
    default="auto",
    when="search",
    pattern=DEVICE_PATTERN,
    summary="auto, cpu or cuda:N; auto is VECSTORE_DEVICE, the first GPU FAISS sees, or the CPU.",
)

WIDEST = 2048
"""Most candidates, and most lists, that FAISS selects on a GPU (its getMaxKSelection)."""
LEAST_SHARE = 0.5
"""Share of the rows that a mask must leave for a GPU to be asked."""
# Candidates in hand for what a mask takes out, and for ties.
_SPARE = 54
# Bits of the only product codes that FAISS searches on a GPU, and the parts from which their tables
# fit a block's 48 KiB in half precision only.
_CODE_BITS = 8
_FULL_PARTS = 48
# For each copy. FAISS would take 1.5 GiB, and pin 256 MiB of the host; beyond, it allocates.
_TEMPORARY_BYTES = 2**28

_count: int | None = None


def faiss_gpu_count() -> int:
    """Return the number of GPUs that FAISS can use.

    The first look is kept. Nothing else of FAISS's GPU side may be called before it: some builds
    end the process where there is no GPU. Without a driver FAISS is not even asked.
    """
    global _count
    if _count is None:
        probe = getattr(find_faiss(), "get_num_gpus", None) if driver_found() else None
        _count = 0 if probe is None else int(probe())
    return _count


def _after_fork() -> None:
    """Leave GPUs alone in a child of a process that used them: CUDA does not survive a fork."""
    global _count
    _count = 0 if _count else _count


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that is there, and whether it was asked for by name."""

    number: int
    named: bool


def find_gpu(device: str) -> Gpu | None:
    """Return the GPU on which FAISS searches for ``device``; None for the CPU.

    A named GPU that FAISS does not see is replaced by the CPU with one warning.

    Raises
    ------
    InvalidArgumentError
        ``device`` is not "auto", "cpu", "cuda" or "cuda:N".
    """
    count = faiss_gpu_count()
    if not count and device in ("auto", "cpu"):  # where there is no GPU, searches end here
        return None
    place = choose_device(device, count, "FAISS")
    if place == "cpu":
        return None
    return Gpu(number=int(place.removeprefix("cuda:")), named=device != "auto")


def lengthened(k: int, *, eligible: int, total: int) -> int:
    """Return how many candidates to ask for, so that k are left of a mask.

    Examples
    --------
    >>> lengthened(10, eligible=1000, total=1000), lengthened(10, eligible=900, total=1000)
    (10, 66)
    """
    if eligible == total:
        return k
    return max(k, min(total, WIDEST, -(-k * total // eligible) + _SPARE))


@final
class GpuCopies:
    """Copies of one FAISS index on GPUs, each made when it is first searched.

    Thread-safe: FAISS's GPU indexes take one search at a time, so each copy has a lock, and
    resources of its own, that one may be dropped while another is searched.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._made: dict[int, _Copy | None] = {}

    def search(
        self, gpu: Gpu, queries: NDArray[np.float32], k: int, search_parameters: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Return FAISS's values and labels, or None where the CPU has to answer."""
        if max(k, getattr(search_parameters, "nprobe", 1)) > WIDEST:
            return None
        if self._obstacle:
            if gpu.named:
                warn_once(f"device 'cuda:{gpu.number}' was asked for, and {self._obstacle}")
            return None
        try:
            with self._lock:
                if gpu.number not in self._made:
                    self._made[gpu.number] = _Copy(self._index, gpu.number)
                copy = self._made[gpu.number]
            return None if copy is None else copy.search(queries, k, search_parameters)
        except RuntimeError as error:  # its memory is full, most often
            self._made[gpu.number] = None
            warn_once(f"FAISS cannot search on 'cuda:{gpu.number}' ({reason(error)})")
            return None

    @cached_property
    def _obstacle(self) -> str:
        """Why no GPU can search this index; empty if one can."""
        faiss, index = load_faiss(), self._index
        if isinstance(index, faiss.IndexIVFPQ) and index.pq.nbits == _CODE_BITS:
            return ""
        if isinstance(index, faiss.IndexFlat | faiss.IndexIVFFlat):
            return ""
        return "FAISS searches product codes on GPUs that have 8 bits (nbits=8)"


@final
class _Copy:
    """A FAISS index on one GPU, searched by one thread at a time."""

    def __init__(self, index: Any, number: int) -> None:
        faiss = load_faiss()
        self._lock = threading.Lock()
        self._resources = faiss.StandardGpuResources()
        self._resources.setTempMemory(_TEMPORARY_BYTES)
        self._resources.setPinnedMemory(0)
        options = faiss.GpuClonerOptions()
        options.use_cuvs = False  # other kernels, with other limits
        # Vectors stay float32; of product codes only the tables of distances are halved.
        coded = isinstance(index, faiss.IndexIVFPQ)
        options.useFloat16 = coded and index.pq.M > _FULL_PARTS
        self._index = faiss.index_cpu_to_gpu(self._resources, number, index, options)

    def search(
        self, queries: NDArray[np.float32], k: int, search_parameters: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Search; values are FAISS's: larger or smaller is better, by its metric."""
        with self._lock:
            values, labels = self._index.search(queries, k, params=search_parameters)
        return values, labels
