"""Automatic compaction: whoever commits many small files merges them now and then."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from vecstore.arguments import TARGET_BYTES
from vecstore.catalog import FileRecord
from vecstore.errors import VecstoreError
from vecstore.files import FileWriter
from vecstore.snapshot import Snapshot

if TYPE_CHECKING:
    from vecstore.housekeeping.compaction import Commit

__all__ = ["AutomaticCompaction"]

_log = logging.getLogger(__name__)


def _is_due(files: Sequence[FileRecord], after: int) -> bool:
    """Say whether some kind has many small files; asked after every write."""
    if len(files) < after:
        return False
    small = Counter((f.kind, f.space_id) for f in files if f.file.size < TARGET_BYTES // 2)
    return max(small.values(), default=0) >= after


@final
class AutomaticCompaction:
    """Merges small files of one collection when there are many. Thread-safe.

    Parameters
    ----------
    after : int or None
        Files of a similar size that make a merge worth while; None never merges.
    """

    def __init__(self, commit: Commit, files: FileWriter, *, after: int | None) -> None:
        self._commit = commit
        self._files = files
        self._after = after
        self._running = threading.Lock()

    def look(self, snapshot: Snapshot) -> None:
        """Compact if it is due, unless another thread does; a write never fails for it."""
        if self._after is None or not _is_due(snapshot.state.files, self._after):
            return
        if not self._running.acquire(blocking=False):
            return
        # Due once in many writes; most processes end before.
        from vecstore.housekeeping.choice import SmallFirst
        from vecstore.housekeeping.compaction import compact

        try:
            compact(self._commit, self._files, SmallFirst(files=self._after))
        except VecstoreError as error:
            _log.warning("automatic compaction is put off: %s", error)
        finally:
            self._running.release()
