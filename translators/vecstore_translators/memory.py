"""Measuring the memory a piece of work holds at its peak."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def traced_peak() -> Iterator[Callable[[], int]]:
    """Trace what the block allocates; the yielded function then tells its peak, in bytes.

    Counts what Python and numpy allocate, not what other libraries (torch, BLAS) do for
    themselves. A trace that is running already goes on; only its peak is reset.

    Examples
    --------
    >>> with traced_peak() as peak:
    ...     block = bytearray(10**6)
    >>> 1_000_000 <= peak() < 1_200_000
    True
    """
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    used = 0
    try:
        yield lambda: used
    finally:
        used = max(tracemalloc.get_traced_memory()[1] - before, 0)
        if not running:
            tracemalloc.stop()
