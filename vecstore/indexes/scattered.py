"""ScatteredRows: rows of many mapped files, gathered as if they lay in one array.

numpy gathers rows of one array in one call, and those of forty files in forty. So the files are
seen through one window: an array over all addresses from the first file to the last, of which
nothing is ever read but rows of the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from vecstore.indexes.blocks import Block, widen

__all__ = ["ScatteredRows"]

_Places = NDArray[np.int64]


@final
class ScatteredRows:
    """Blocks of vectors of one dtype, from which a few rows are read by their ids. Thread-safe.

    Parameters
    ----------
    blocks : sequence of Block
        None of them empty; of one dtype and dimension. A row id is kept in one of them at most.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = tuple(sorted(blocks, key=lambda block: int(block.row_ids[0])))
        lowest = min(self._blocks, key=lambda block: _address(block))
        step = lowest.vectors.itemsize
        self._dim = lowest.vectors.shape[1]
        starts = [(_address(block) - _address(lowest)) // step for block in self._blocks]
        self._starts = np.array(starts, np.int64)
        ends = [
            start + block.vectors.size for start, block in zip(starts, self._blocks, strict=True)
        ]
        shape = (max(ends) - self._dim + 1, self._dim)
        self._window: NDArray[Any] = as_strided(
            lowest.vectors, shape, (step, step), writeable=False
        )
        self._firsts = np.array([block.row_ids[0] for block in self._blocks])
        lasts = np.array([block.row_ids[-1] for block in self._blocks])
        self._first, self._last = int(self._firsts[0]), int(lasts[-1])
        # Whether where a row lies follows from its id.
        self._gapless = bool(
            all(block.keep is None for block in self._blocks)
            and (lasts - self._firsts + 1 == [len(block) for block in self._blocks]).all()
            and (self._firsts[1:] == lasts[:-1] + 1).all()
        )
        # Where a row of id 0 of each file would begin, after one for rows before the first.
        self._bases = np.append(0, self._starts - self._firsts * self._dim)
        self._unit_norm = lowest.unit_norm

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Self | None:
        """Return the rows of the blocks; None where one window cannot show them."""
        alike = {(block.vectors.dtype, block.unit_norm) for block in blocks}
        if len(alike) != 1:
            return None
        aligned = {_address(block) % block.vectors.itemsize for block in blocks}
        return cls(blocks) if len(aligned) == 1 else None

    def gather(self, row_ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the vectors of some rows, in new memory; None if any of them is not kept.

        Parameters
        ----------
        row_ids : ndarray of shape (m,), int64

        Returns
        -------
        ndarray of shape (m, d), float32, or None
        """
        # After a search its caches are cold, and every numpy function costs a microsecond. Of the
        # few numbers here, lists tell as much for less.
        if self._gapless:
            ids = row_ids.tolist()
            if min(ids) < self._first or max(ids) > self._last:
                return None
            if len(self._blocks) == 1:
                rows = self._blocks[0].vectors.take(row_ids - self._first, axis=0)
            else:
                number = self._firsts.searchsorted(row_ids, "right")
                rows = self._window[self._bases.take(number) + row_ids * self._dim]
        else:
            known, starts = self._directory
            found = known.searchsorted(row_ids)
            if known.take(found, mode="clip").tolist() != row_ids.tolist():
                return None
            rows = self._window[starts.take(found)]
        return rows if rows.dtype == np.float32 else widen(rows, unit_norm=self._unit_norm)

    @cached_property
    def _directory(self) -> tuple[NDArray[np.int64], _Places]:
        """The ids that are kept, ascending, and where their rows begin."""
        ids, places = [], []
        for start, block in zip(self._starts, self._blocks, strict=True):
            kept = slice(None) if block.keep is None else np.flatnonzero(block.keep)
            ids.append(block.row_ids[kept])
            places.append((start + np.arange(len(block)) * self._dim)[kept])
        known, starts = np.concatenate(ids), np.concatenate(places)
        if (known[1:] > known[:-1]).all():
            return known, starts
        order = np.argsort(known, kind="stable")
        return known[order], starts[order]


def _address(block: Block) -> int:
    """Return where a block's vectors begin in memory."""
    return int(block.vectors.__array_interface__["data"][0])
