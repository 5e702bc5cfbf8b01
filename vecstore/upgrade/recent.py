"""The last queries of each space, in memory: who refits a translator can ask real questions."""

from __future__ import annotations

import threading
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
        self._rings: dict[str, _Ring] = {}

    def add(self, space_id: str, queries: NDArray[np.float32]) -> None:
        """Remember queries, ndarray of shape (n, dim), in the place of the oldest."""
        with self._lock:
            ring = self._rings.get(space_id)
            if ring is None:
                ring = self._rings[space_id] = _Ring(queries.shape[1])
            ring.add(queries[-_MOST:])

    def of(self, space_id: str, *, least: int) -> NDArray[np.float32] | None:
        """Return the queries of a space, ndarray of shape (n, dim); None if there are too few."""
        with self._lock:
            ring = self._rings.get(space_id)
            known = min(ring.added, _MOST) if ring is not None else 0
            return ring.rows[:known].copy() if ring is not None and known >= least else None


@final
class _Ring:
    """The last rows added, in no order."""

    def __init__(self, dim: int) -> None:
        self.rows = np.empty((_MOST, dim), np.float32)
        self.added = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take in at most as many rows as there are places."""
        start = self.added % _MOST
        split = min(len(rows), _MOST - start)
        self.rows[start : start + split] = rows[:split]
        if split < len(rows):
            self.rows[: len(rows) - split] = rows[split:]
        self.added += len(rows)
