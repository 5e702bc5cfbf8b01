"""Translators of a collection: pairs gathered, fits stored, routes opened.

The mathematics is in :mod:`vecstore_translators`; here rows and spaces become arrays, and
a fitted map becomes files and a record with its direction.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import TranslatorRecord
from vecstore.errors import InvalidArgumentError
from vecstore.snapshot import Snapshot
from vecstore.storage.root import DataRoot
from vecstore_translators import Translator

__all__ = ["Pairs", "Translators", "gather_pairs"]

MIN_PAIRS = 20


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Row-aligned native vectors of the same items in two spaces.

    Attributes
    ----------
    row_ids : ndarray of shape (n,), int64
    X : ndarray of shape (n, d_s), float32
        Source vectors, unit norm where the space is cosine.
    Y : ndarray of shape (n, d_t), float32
        Target vectors.
    """

    row_ids: NDArray[np.int64]
    X: NDArray[np.float32]
    Y: NDArray[np.float32]


def gather_pairs(snapshot: Snapshot, source: str, target: str, *, limit: int, seed: int) -> Pairs:
    """Return the pairs of two spaces; a seeded sample if there are more than ``limit``.

    Raises
    ------
    InvalidArgumentError
        Source and target are one space, or fewer than 20 items have vectors in both.
    """
    if source == target:
        raise InvalidArgumentError(f"expected two different spaces, got {source!r} twice")
    rows = (snapshot.native(source) & snapshot.native(target)).to_array()
    if len(rows) < MIN_PAIRS:
        raise InvalidArgumentError(
            f"expected at least {MIN_PAIRS} items with vectors in both {source!r} and "
            f"{target!r}, found {len(rows)}; attach more with add_vectors (500 is a good start)"
        )
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    return Pairs(row_ids=rows, X=snapshot.gather(source, rows), Y=snapshot.gather(target, rows))


@final
class Translators:
    """Opens the stored translators of one collection; each is read once. Thread-safe."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._open: dict[str, Translator] = {}

    def open(self, record: TranslatorRecord) -> Translator:
        """Return the fitted map of a record.

        Raises
        ------
        CorruptFileError
            A file does not match its checksum or is not a translator.
        """
        with self._lock:
            translator = self._open.get(record.id)
        if translator is None:
            # Verified by checksum here, parsed only then.
            files = {name: self._root.map(f).to_pybytes() for name, f in record.files.items()}
            from vecstore_translators import (
                load,
            )  # knows every kind, which a native search needs not

            translator = load(files)
            with self._lock:
                self._open[record.id] = translator
        return translator

    def route(self, records: tuple[TranslatorRecord, ...]) -> tuple[Translator, str]:
        """Return a route as one map and its identity."""
        translators = [self.open(record) for record in records]
        identity = "+".join(record.id for record in records)
        from vecstore_translators.composition import compose  # most searches need no route

        return compose(*translators), identity
