"""Which ids a job has met: 16 bytes per row, looked up a batch at a time."""

from __future__ import annotations

import functools
import secrets
from typing import final

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

__all__ = ["SeenIds"]

_Run = tuple[NDArray[np.uint64], NDArray[np.uint64]]


@final
class SeenIds:
    """The set of ids met so far, as sorted runs of 128-bit digests.

    The digests are keyed per process, so ids cannot be crafted to collide, and 128 bits make
    an accident impossible in practice (1e-20 for a billion ids). Runs of similar size are
    merged, so that n ids cost O(n log n) however many batches they come in.
    """

    __slots__ = ("_digest", "_runs")

    def __init__(self) -> None:
        self._digest = functools.partial(xxhash.xxh3_128_digest, seed=secrets.randbits(64))
        self._runs: list[_Run] = []

    def add(self, ids: pa.Array) -> NDArray[np.bool_]:
        """Take in ids in order.

        Parameters
        ----------
        ids : pyarrow.Array of string
            Nulls are never repeated.

        Returns
        -------
        ndarray of shape (n,), bool
            Which of them were met before, in an earlier call or earlier in this one.
        """
        valid = np.asarray(ids.is_valid())
        repeated = np.zeros(len(ids), np.bool_)
        repeated[valid] = self._add(ids.drop_null().cast(pa.binary()).to_pylist())
        return repeated

    def _add(self, ids: list[bytes]) -> NDArray[np.bool_]:
        digests = np.frombuffer(b"".join(map(self._digest, ids)), "<u8").reshape(-1, 2)
        high, low = digests[:, 0].astype(np.uint64), digests[:, 1].astype(np.uint64)
        order = np.lexsort((np.arange(len(ids)), low, high))
        run = (high[order], low[order])
        same = np.zeros(len(ids), np.bool_)
        same[1:] = (run[0][1:] == run[0][:-1]) & (run[1][1:] == run[1][:-1])
        for known in self._runs:
            same |= _contains(known, run)
        repeated = np.empty(len(ids), np.bool_)
        repeated[order] = same
        new = (run[0][~same], run[1][~same])
        while self._runs and len(self._runs[-1][0]) < 2 * len(new[0]):
            last = self._runs.pop()
            new = _sorted(np.concatenate([last[0], new[0]]), np.concatenate([last[1], new[1]]))
        if len(new[0]):
            self._runs.append(new)
        return repeated


def _contains(known: _Run, wanted: _Run) -> NDArray[np.bool_]:
    """Return which wanted digests are known; equal high halves are told apart by the low."""
    at = np.minimum(np.searchsorted(known[0], wanted[0]), len(known[0]) - 1)
    found: NDArray[np.bool_] = (known[0][at] == wanted[0]) & (known[1][at] == wanted[1])
    return found


def _sorted(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> _Run:
    order = np.argsort(high, kind="stable")
    return high[order], low[order]
