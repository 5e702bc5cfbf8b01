"""What searches asked and found: set down in one step while a query waits, sorted out later.

Demand is counted from what was found, and translators and indexes learn from what was asked. A
query pays for a copy of a few bytes; the rest is done by a timer, by who reads, and by every
hundredth query.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Set
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import VecstoreError
from vecstore.upgrade.demand import Demand, DemandCounter
from vecstore.upgrade.recent import RecentQueries

__all__ = ["SearchNotes"]

T = TypeVar("T", bound=np.generic)

_log = logging.getLogger(__name__)

_FLUSH_S = 30.0
# So many notes of single queries are kept, and of so many hits at most.
_MOST_NOTES = 128
_MOST_HITS = 1024


@final
class SearchNotes:
    """Takes note of the searches of one collection. Thread-safe.

    Parameters
    ----------
    demand, recent
        Learn from what was found and from what was asked.
    spaces : callable
        Returns the ids of the spaces there are now.
    """

    def __init__(
        self, demand: DemandCounter, recent: RecentQueries, *, spaces: Callable[[], Set[str]]
    ) -> None:
        self._demand = demand
        self._recent = recent
        self._spaces = spaces
        # Bytes and not arrays: they are copies, and a queue of them is added to without a lock.
        self._notes: deque[tuple[str, bytes, bytes]] = deque()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._timer: threading.Timer | None = None
        self._stopped = False

    def add(self, space_id: str, queries: NDArray[np.float32], row_ids: NDArray[np.int64]) -> None:
        """Take note of a search.

        Parameters
        ----------
        queries : ndarray of shape (n, dim), float32
        row_ids : ndarray of shape (n, k), int64
        """
        notes = self._notes
        if len(row_ids) == 1 and row_ids.size <= _MOST_HITS:
            notes.append((space_id, queries.tobytes(), row_ids.tobytes()))
        else:
            self._recent.add(space_id, queries)
            self._demand.count(row_ids)
        if self._timer is None or len(notes) >= _MOST_NOTES:
            self._settle()
            self._wake()

    def demand(self) -> Demand:
        """Return the demand of all processes, this one's newest included."""
        self._settle()
        return self._demand.read()

    def recent(self, space_id: str, *, least: int) -> NDArray[np.float32] | None:
        """Return the last queries of a space, (n, dim); None if there are fewer than ``least``.

        Those that other processes have kept stand in for what this one was not asked.
        """
        self._settle()
        return self._recent.of(space_id, least=least)

    def flush(self) -> None:
        """Write what was counted, and a sample of what was asked.

        Demand that cannot be written is kept for another try.
        """
        with self._flushing:
            self._flush()

    def forget_spaces(self) -> None:
        """Forget what spaces were asked that are gone."""
        self._settle()
        self._recent.keep_only(self._spaces())

    def stop(self) -> None:
        """Write nothing by itself from here on: the catalog is about to be closed."""
        with self._flushing, self._lock:
            self._stopped = True
            self._cancel()

    def _settle(self) -> None:
        """Hand the notes on to who learns from them."""
        asked: dict[str, list[bytes]] = defaultdict(list)
        found: dict[int, list[bytes]] = defaultdict(list)
        notes = self._notes
        for _ in range(len(notes)):
            try:
                space_id, query, row_ids = notes.popleft()
            except IndexError:  # another thread took it
                break
            asked[space_id].append(query)
            found[len(row_ids)].append(row_ids)
        for space_id, queries in asked.items():
            self._recent.add(space_id, _matrix(queries, np.float32))
        for searches in found.values():
            self._demand.count(_matrix(searches, np.int64))

    def _flush(self) -> None:
        """Flush; the caller holds the lock of flushes."""
        with self._lock:
            self._cancel()
        self._settle()
        self._demand.flush()
        try:
            self._recent.save(self._spaces)
        except VecstoreError as error:
            _log.info("recent queries are not kept: %s", error)

    def _wake(self) -> None:
        """See to it that all is written after a while."""
        with self._lock:
            if self._timer is None and not self._stopped:
                self._timer = self._flush_later()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush_later(self) -> threading.Timer:
        """Flush after a while, and so more likely between two rushes of queries than inside one."""
        this = weakref.ref(self)  # a store that nobody uses any more must not be kept for this

        def flush() -> None:
            if (notes := this()) is not None:
                with notes._flushing:
                    if not notes._stopped:
                        notes._flush()

        timer = threading.Timer(_FLUSH_S, flush)
        timer.name, timer.daemon = "vecstore-notes", True
        timer.start()
        return timer


def _matrix(rows: list[bytes], kind: type[T]) -> NDArray[T]:
    """Return rows of one length as a matrix, read-only."""
    return np.frombuffer(b"".join(rows), kind).reshape(len(rows), -1)
