"""How FAISS is loaded and steered: the one door to it, so that `import vecstore` stays light."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, final

from vecstore.errors import MissingDependencyError

__all__ = ["find_faiss", "load_faiss", "matrix_kernels", "reason", "threads"]


@cache
def find_faiss() -> Any | None:
    """Return the faiss module, or None where it is not installed."""
    try:
        return import_module("faiss")
    except ImportError:
        return None


def load_faiss() -> Any:
    """Return the faiss module.

    Raises
    ------
    MissingDependencyError
        FAISS is not installed.
    """
    faiss = find_faiss()
    if faiss is None:
        raise MissingDependencyError(
            "this index kind needs FAISS, which is not installed; run "
            "`pip install 'vecstore[cpu]'`, or search without an index"
        )
    return faiss


def reason(error: BaseException) -> str:
    """Return what FAISS says in an error, without its stack of file names."""
    return str(error).strip().split("\n")[0].rpartition("Error: ")[2]


@final
class threads:  # noqa: N801 - read as a statement: `with threads(faiss, 1):`
    """Let FAISS calls of this thread use ``count`` OpenMP threads (0: leave as it is).

    OpenMP keeps the setting per calling thread, so concurrent searches do not disturb each
    other. In a forked child it is always one: the threads of the parent do not exist there,
    and OpenMP would wait for them for ever.
    """

    __slots__ = ("_before", "_count", "_faiss")

    def __init__(self, faiss: Any, count: int) -> None:
        self._faiss = faiss
        self._count = 1 if _forked else count
        self._before = 0

    def __enter__(self) -> None:
        if self._count:
            before = self._faiss.omp_get_max_threads()
            if before != self._count:
                self._before = before
                self._faiss.omp_set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        if self._before:
            self._faiss.omp_set_num_threads(self._before)


@final
class _MatrixKernels:
    """Counts the scans under way, so that the last one out restores FAISS's own setting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._before = 0

    def enter(self, faiss: Any) -> None:
        with self._lock:
            if self._active == 0:
                self._before = faiss.cvar.distance_compute_blas_threshold
                faiss.cvar.distance_compute_blas_threshold = 1
            self._active += 1

    def leave(self, faiss: Any) -> None:
        with self._lock:
            self._active -= 1
            if self._active == 0:
                faiss.cvar.distance_compute_blas_threshold = self._before


_MATRIX_KERNELS = _MatrixKernels()
_forked = False


def _after_fork() -> None:
    """Start over in a child: threads and lock holders of the parent do not exist here."""
    global _MATRIX_KERNELS, _forked
    _MATRIX_KERNELS = _MatrixKernels()
    _forked = _forked or "faiss" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def matrix_kernels(faiss: Any) -> Iterator[None]:
    """Have FAISS score by matrix products, whatever the number of queries.

    Left alone, FAISS 1.15 starts to only at ``queries * dim >= 128000``; below, it goes row
    by row, two to five times slower from some eight queries on. The threshold is global to
    the process and chooses speed, never results; it is put back after the last scan.
    """
    _MATRIX_KERNELS.enter(faiss)
    try:
        yield
    finally:
        _MATRIX_KERNELS.leave(faiss)
