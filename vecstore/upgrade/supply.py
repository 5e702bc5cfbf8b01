"""Vectors of a sample in one space: native ones, and those that an encoder makes on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoding import BATCH, Encoder, embed_documents
from vecstore.rows import RowSet
from vecstore.snapshot import Snapshot
from vecstore.storage.columns import numpy_view

__all__ = ["Keep", "Supply"]

Keep: TypeAlias = Callable[[SpaceRecord, NDArray[np.int64], NDArray[np.float32]], None]
"""Commits vectors of rows, ascending, as soon as they are made."""


@final
class Supply:
    """Gives rows vectors of a space; what it embeds is kept at once, for it was paid for.

    Parameters
    ----------
    encoder : Encoder, optional
        Without one only native vectors are to be had.
    keep : callable, optional
        None forgets what is embedded.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        record: SpaceRecord,
        *,
        encoder: Encoder | None,
        keep: Keep | None,
    ) -> None:
        self._snapshot = snapshot
        self._encoder = encoder
        self._keep = keep
        self.record = record
        self.native = snapshot.native(record.space.name)
        self.made = RowSet.of([])
        self._rows = np.empty(0, dtype=np.int64)
        self._vectors = np.empty((0, record.space.dim), dtype=np.float32)
        self._seconds = 0.0

    @property
    def can_embed(self) -> bool:
        """Whether rows without a native vector can get one."""
        return self._encoder is not None

    @property
    def known(self) -> RowSet:
        """The rows that have a vector by now."""
        return self.native | self.made

    @property
    def per_second(self) -> float | None:
        """Documents that the encoder embeds in a second; None if it was not asked."""
        return len(self._rows) / max(self._seconds, 1e-9) if len(self._rows) else None

    def embed(self, rows: NDArray[np.int64]) -> None:
        """Embed those of the rows that lack a vector and have a document."""
        if self._encoder is None:
            return
        missing = rows[~self.known.contains(rows)]
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            documents = self._snapshot.items(part, ["document"]).column("document")
            part = part[numpy_view(documents.is_valid())]
            if not len(part):
                continue
            began = time.perf_counter()
            made = embed_documents(
                self._encoder, self.record.space, documents.drop_null().to_pylist()
            )
            self._seconds += time.perf_counter() - began
            if self._keep is not None:
                self._keep(self.record, part, made)
            self._rows = np.concatenate([self._rows, part])
            self._vectors = np.concatenate([self._vectors, made])
            self.made |= RowSet.of(part)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of rows that are all known, ndarray of shape (n, dim), float32."""
        vectors = np.empty((len(rows), self.record.space.dim), dtype=np.float32)
        native = self.native.contains(rows)
        vectors[native] = self._snapshot.gather(self.record.space.name, rows[native])
        order = np.argsort(self._rows)
        places = np.searchsorted(self._rows[order], rows[~native])
        vectors[~native] = self._vectors[order[places]]
        return vectors
