"""The last queries of each space, in memory: who refits a translator can ask real questions."""

from __future__ import annotations

import threading
from collections import deque
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["RecentQueries"]

_MOST = 512


@final
class RecentQueries:
    """A bounded number of query vectors by space. Thread-safe; nothing of it is stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_space: dict[str, deque[NDArray[np.float32]]] = {}

    def add(self, space_id: str, queries: NDArray[np.float32]) -> None:
        """Remember queries, ndarray of shape (n, dim), in the place of the oldest."""
        kept = queries[-_MOST:].copy()
        with self._lock:
            self._by_space.setdefault(space_id, deque(maxlen=_MOST)).extend(kept)

    def of(self, space_id: str, *, least: int) -> NDArray[np.float32] | None:
        """Return the queries of a space, ndarray of shape (n, dim); None if there are too few."""
        with self._lock:
            known = tuple(self._by_space.get(space_id, ()))
        return np.stack(known) if len(known) >= least else None
