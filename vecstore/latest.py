"""LatestVersion: the newest version of a collection, kept fresh without SQL per query."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, final

from vecstore.catalog import Catalog, CollectionRecord, IndexRecord, State
from vecstore.catalog.watch import ChangeToken
from vecstore.encoders import Encoders
from vecstore.index_files import IndexFiles
from vecstore.lexical import LexicalCache
from vecstore.segment_cache import SegmentCache
from vecstore.snapshot import Snapshot
from vecstore.storage.root import DataRoot
from vecstore.translation import Translators
from vecstore.version import OpenVersion

__all__ = ["LatestVersion"]


@final
class LatestVersion:
    """Opens versions of one collection and knows which is the newest. Thread-safe.

    What versions have in common is shared: mapped files, opened translators and indexes.
    """

    def __init__(
        self,
        catalog: Catalog,
        root: DataRoot,
        record: CollectionRecord,
        *,
        encoders: Encoders,
        refresh_interval: float,
    ) -> None:
        self.encoders = encoders
        self.cache = SegmentCache(root)
        self.translators = Translators(root)
        self._index_files = IndexFiles(root)
        self._lexical = LexicalCache(root.cache_folder(f"data/{record.directory}/lexical"))
        self._catalog = catalog
        self._id = record.id
        self._refresh_interval = refresh_interval
        self._lock = threading.RLock()
        self._known: _Known | None = None

    def get(self) -> OpenVersion:
        """Return the newest version as far as a look at the clock or a file can tell.

        A query that finds nothing new waits for nobody: what is known is read at once, and
        replaced as a whole.
        """
        token = self._catalog.change_token()  # refuses a fork, which may have left a lock taken
        known = self._known
        if known is not None and self._is_fresh(known, token):
            return known.version
        with self._lock:
            known = self._known
            if known is not None and self._is_fresh(known, self._catalog.change_token()):
                return known.version  # somebody asked while this thread waited
            return self.refresh()

    def for_writing(self) -> OpenVersion:
        """Return the newest version, asking the catalog unless a file tells that it is known."""
        return self.refresh() if self._catalog.change_token() is None else self.get()

    def refresh(self, made: State | None = None) -> OpenVersion:
        """Ask the catalog and return the newest version.

        ``made`` is what a commit of this process has made: read only if it is not the newest.
        """
        self._catalog.require_own_process()
        with self._lock:
            # The token is taken first: what is committed after it shows in the next one.
            token, checked_at = self._catalog.change_token(), time.monotonic()
            version = None if self._known is None else self._known.version
            known = None if version is None else version.snapshot.state
            state, indexes = self._catalog.newest(self._id, known=made or known)
            if version is None or state is not known:
                version = self._open(Snapshot(state, self.cache), indexes)
            elif version.indexes != indexes:
                version = self._open(version.snapshot, indexes)
            self.cache.retain({file.id for file in version.snapshot.state.files})
            self._known = _Known(version, token, checked_at)
            return version

    def _is_fresh(self, known: _Known, token: ChangeToken | None) -> bool:
        """Whether nothing has been committed since, or, where no file tells, not long ago."""
        if token is None:
            return time.monotonic() - known.checked_at < self._refresh_interval
        return token == known.token

    def at(self, number: int) -> OpenVersion:
        """Open a version by its number."""
        snapshot = Snapshot(self._catalog.state(self._id, number), self.cache)
        return self._open(snapshot, tuple(self._catalog.indexes(self._id)))

    def _open(self, snapshot: Snapshot, indexes: tuple[IndexRecord, ...]) -> OpenVersion:
        return OpenVersion(
            snapshot,
            translators=self.translators,
            index_files=self._index_files,
            indexes=indexes,
            encoders=self.encoders,
            lexical=self._lexical,
        )


class _Known(NamedTuple):
    """The newest version that is known, and what tells whether there is a newer one."""

    version: OpenVersion
    token: ChangeToken | None
    checked_at: float
