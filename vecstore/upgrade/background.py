"""Refits in the background, when cascades have grown the coverage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import final

from vecstore.errors import VecstoreError

__all__ = ["BackgroundRefits"]

_log = logging.getLogger(__name__)


@final
class BackgroundRefits:
    """Runs one refit at a time, in a thread that nobody waits for. Thread-safe.

    A refit that is cut off, by the end of the process, has changed nothing.

    Parameters
    ----------
    due : callable
        Says whether something is to be fitted again; cheap.
    refit : callable
        Fits it.
    """

    def __init__(self, due: Callable[[], bool], refit: Callable[[], object]) -> None:
        self._due = due
        self._refit = refit
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def consider(self) -> None:
        """Start a refit if one is due and none is running; returns at once."""
        with self._lock:
            if self._thread is not None or not self._due():
                return
            self._thread = threading.Thread(target=self._run, name="vecstore-refit", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait for a refit that is running."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        try:
            self._refit()
        except VecstoreError as error:
            _log.warning("a translator was not fitted again: %s", error)
        finally:
            with self._lock:
                self._thread = None
