"""IndexBuild: an index that is being built in the background, while searches and writes go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import final

from vecstore.catalog import IndexRecord
from vecstore.errors import BuildCancelledError

__all__ = ["IndexBuild"]

Progress = Callable[[int, int], None]


@final
class IndexBuild:
    """The handle of a build under way. Thread-safe.

    Searches use the index from the moment it is registered, which is one transaction; until
    then, and after a failure or a cancellation, they go on as before, and nothing is left
    behind.

    Made by :meth:`vecstore.Collection.start_index`.
    """

    def __init__(
        self, build: Callable[[Progress], IndexRecord | None], progress: Progress | None = None
    ) -> None:
        self._tell = progress
        self._cancelled = threading.Event()
        self._progress = (0, 0)
        worker = ThreadPoolExecutor(1, thread_name_prefix="vecstore-index")
        self._future = worker.submit(build, self._step)
        worker.shutdown(wait=False)

    @property
    def progress(self) -> tuple[int, int]:
        """Rows done and rows in all; (0, 0) before the first are read."""
        return self._progress

    @property
    def done(self) -> bool:
        """Whether it has ended: built, failed or cancelled."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask it to stop at its next step; ``result`` raises when it has."""
        self._cancelled.set()

    def result(self, timeout: float | None = None) -> IndexRecord | None:
        """Wait for the end and return the registered index; None where none was to be built.

        Raises
        ------
        TimeoutError
            It goes on after ``timeout`` seconds.
        BuildCancelledError
            It was cancelled before the index was registered.
        VecstoreError
            What the build raised.
        """
        return self._future.result(timeout)

    def _step(self, done: int, total: int) -> None:
        """Note how far the build is, and stop it where that was asked for."""
        self._progress = (done, total)
        if self._tell is not None:
            self._tell(done, total)
        if self._cancelled.is_set():
            raise BuildCancelledError(
                f"the build was cancelled after {done:,} of {total:,} rows; searches go on as "
                "before it, and nothing of it was kept"
            )
