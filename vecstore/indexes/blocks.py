"""Block: consecutive rows of one mapped file, and the tiles that kernels read them in.

A scan wants few, large, contiguous float32 matrices; a collection is many files, some of
them float16, with a mask over each. :func:`tiles` stands between the two: it hands out the
mapped memory itself where it can, and otherwise gathers the kept rows of as many blocks as
fit into one reused buffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import DimensionMismatchError, InvalidVectorsError, UnpairedRowsError

__all__ = [
    "Block",
    "BlockMetric",
    "Tile",
    "block_dim",
    "fits_float16",
    "gather_positions",
    "gather_rows",
    "sample_rows",
    "tiles",
    "widen",
]

BlockMetric = Literal["ip", "l2"]
"""What a kernel computes. Cosine is ``ip`` over unit vectors."""

# What rounding to float16 may change, as a share of a row's length and of the rows' spread; it is
# 2^-12 or so of numbers in float16's range, and up to 2^-25 of those below it.
_HALF_ERROR = 2.0**-9
_HALF_UNDERFLOW = 2.0**-25
_HALF_SAMPLE = 4096
_HALF_BYTES = 2**22

# Memory of a gather that is over, 32 MiB at most, for the next.
_spare: deque[NDArray[np.float32]] = deque(maxlen=1)

# Moves an exponent from float16's bias (15) to float32's (127).
_HALF_TO_SINGLE = np.float32(2.0**112)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of one space that lie together in memory, usually in a mapped file.

    Parameters
    ----------
    row_ids : ndarray of shape (n,), int64
        The rows' ids, non-negative; ascending as a rule, which nothing relies on.
    vectors : ndarray of shape (n, d), float32 or float16, C-contiguous
        Usually a read-only memory map; never written to.
    keep : ndarray of shape (n,), bool, optional
        The rows that take part, by position. None means all.
    unit_norm : bool, default False
        The vectors have unit length, so float16 rows are scaled back to it after widening.

    Raises
    ------
    InvalidVectorsError
        Wrong shape, dtype or memory layout.
    UnpairedRowsError
        ``row_ids`` or ``keep`` is not as long as ``vectors``.
    """

    row_ids: NDArray[np.int64]
    vectors: NDArray[Any]
    keep: NDArray[np.bool_] | None = None
    unit_norm: bool = False

    def __post_init__(self) -> None:
        vectors = self.vectors
        if vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float16):
            raise InvalidVectorsError(
                "a block's vectors must be a (n, d) array of float32 or float16, got shape "
                f"{vectors.shape} of {vectors.dtype}; convert them with numpy.asarray"
            )
        if not vectors.flags.c_contiguous:
            raise InvalidVectorsError(
                "a block's vectors must be C-contiguous, got strides "
                f"{vectors.strides}; pass numpy.ascontiguousarray(vectors)"
            )
        if self.row_ids.shape != (len(vectors),) or self.row_ids.dtype != np.int64:
            raise UnpairedRowsError(
                f"a block of {len(vectors)} vectors needs {len(vectors)} int64 row ids, got "
                f"shape {self.row_ids.shape} of {self.row_ids.dtype}"
            )
        if self.keep is not None and (
            self.keep.shape != (len(vectors),) or self.keep.dtype != np.bool_
        ):
            raise UnpairedRowsError(
                f"a block of {len(vectors)} vectors needs a bool mask of that length, got "
                f"shape {self.keep.shape} of {self.keep.dtype}"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def kept(self) -> int:
        """Number of rows that take part."""
        return len(self) if self.keep is None else int(np.count_nonzero(self.keep))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A contiguous float32 matrix for one kernel call; its memory is reused by the next.

    ``keep`` is None unless the tile is a whole mapped block with a mask.
    """

    row_ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    keep: NDArray[np.bool_] | None = None


def block_dim(blocks: Sequence[Block], expected: int) -> int:
    """Return ``expected`` after checking that every block has that dimension.

    Raises
    ------
    DimensionMismatchError
        A block has another one.
    """
    for block in blocks:
        if block.vectors.shape[1] != expected:
            raise DimensionMismatchError(
                f"expected vectors of {expected} dimensions, but a block of {len(block)} rows "
                f"has {block.vectors.shape[1]}; queries and blocks must come from one space"
            )
    return expected


def tiles(
    blocks: Sequence[Block],
    *,
    gather_bytes: int,
    map_rows: int | None,
    map_masked: bool,
    map_from: int = 1024,
) -> Iterator[Tile]:
    """Yield every kept row once, in tiles.

    Parameters
    ----------
    blocks : sequence of Block
    gather_bytes : int
        Size of the buffer for rows that must be copied: float16, masked, or of blocks too
        small for a call of their own.
    map_rows : int or None
        Float32 blocks are handed out as they lie, in slices of at most this many rows
        (None: whole).
    map_masked : bool
        The kernel applies masks itself, so masked (and small) float32 blocks are handed out
        as they lie too, mask included.
    map_from : int, default 1024
        Blocks of fewer rows are gathered into larger tiles, unless ``map_masked``: a kernel
        call costs more than the copy.

    Yields
    ------
    Tile
        Valid until the next one is asked for.
    """
    blocks = [block for block in blocks if block.kept]
    if not blocks:
        return
    dim = blocks[0].vectors.shape[1]
    capacity = max(64, gather_bytes // (4 * max(dim, 1)))
    capacity = min(capacity, sum(block.kept for block in blocks))
    memory: NDArray[np.float32] | None = None
    filled = 0
    try:
        for block in blocks:
            whole = block.kept == len(block)
            if block.vectors.dtype == np.float32 and (
                map_masked or (whole and len(block) >= map_from)
            ):
                yield from _mapped(block, None if whole else block.keep, map_rows)
                continue
            if memory is None:
                memory = _taken(capacity * dim)
                buffer = memory[: capacity * dim].reshape(capacity, dim)
                ids = np.empty(capacity, dtype=np.int64)
            positions = None if whole or block.keep is None else np.flatnonzero(block.keep)
            start, total = 0, block.kept
            while start < total:
                step = min(total - start, capacity - filled)
                rows = slice(start, start + step) if positions is None else positions[start:][:step]
                target = buffer[filled : filled + step]
                _gather(block, rows, target)
                ids[filled : filled + step] = block.row_ids[rows]
                filled += step
                start += step
                if filled == capacity:
                    yield Tile(row_ids=ids, vectors=buffer)
                    filled = 0
        if filled:
            yield Tile(row_ids=ids[:filled], vectors=buffer[:filled])
    finally:
        if memory is not None:
            _spare.append(memory)


def _taken(numbers: int) -> NDArray[np.float32]:
    """Return memory for so many numbers at least, the last search's where that is enough.

    Fresh pages cost more than what is copied into them: a tenth of an exact search of a batch.
    """
    try:
        spare = _spare.pop()
    except IndexError:
        spare = None
    return np.empty(numbers, np.float32) if spare is None or len(spare) < numbers else spare


def gather_rows(
    blocks: Sequence[Block], row_ids: NDArray[np.int64], dim: int
) -> NDArray[np.float32]:
    """Return the vectors of named rows, which must be kept in blocks of ascending row ids.

    Parameters
    ----------
    row_ids : ndarray of shape (n,), int64

    Returns
    -------
    ndarray of shape (n, dim), float32
        Zeros for rows that no block keeps.
    """
    gathered = np.zeros((len(row_ids), dim), dtype=np.float32)
    for block in blocks:
        if not len(block):
            continue
        position = np.minimum(np.searchsorted(block.row_ids, row_ids), len(block) - 1)
        here = block.row_ids[position] == row_ids
        if block.keep is not None:
            here &= block.keep[position]
        wanted = np.flatnonzero(here)
        if len(wanted):
            found = np.empty((len(wanted), dim), dtype=np.float32)
            _gather(block, position[wanted], found)
            gathered[wanted] = found
    return gathered


def gather_positions(block: Block, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the vectors at some positions of a block, ndarray of shape (n, d), float32."""
    gathered = np.empty((len(positions), block.vectors.shape[1]), dtype=np.float32)
    _gather(block, positions, gathered)
    return gathered


def sample_rows(blocks: Sequence[Block], count: int, dim: int, *, seed: int) -> NDArray[np.float32]:
    """Return the vectors of a random sample of the kept rows, without repeats.

    Returns
    -------
    ndarray of shape (min(count, kept rows), dim), float32
    """
    ends = np.cumsum([0, *(block.kept for block in blocks)])
    total = int(ends[-1])
    if count < total:
        chosen = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    else:
        chosen = np.arange(total)
    parts = [np.empty((0, dim), dtype=np.float32)]
    for number, block in enumerate(blocks):
        first, end = np.searchsorted(chosen, ends[number : number + 2])
        positions = chosen[first:end] - ends[number]
        if block.keep is not None:
            positions = np.flatnonzero(block.keep)[positions]
        parts.append(gather_positions(block, positions))
    return np.concatenate(parts)


def fits_float16(blocks: Sequence[Block], dim: int) -> bool:
    """Return whether float16 holds the kept rows well enough to tell them apart.

    It does not where a number overflows, where a row is so short that its numbers underflow, or
    where the rows lie so far from the origin that rounding drowns the differences between them.
    """
    shortest = dim * (_HALF_UNDERFLOW / _HALF_ERROR) ** 2
    single = [block for block in blocks if block.vectors.dtype == np.float32]
    for tile in tiles(single, gather_bytes=_HALF_BYTES, map_rows=2048, map_masked=False):
        if max(tile.vectors.max(), -tile.vectors.min()) > np.finfo(np.float16).max:
            return False
        squares = np.einsum("ij,ij->i", tile.vectors, tile.vectors)
        if ((squares > 0) & (squares < shortest)).any():
            return False
    rows = sample_rows(blocks, _HALF_SAMPLE, dim, seed=0).astype(np.float64)
    lost = np.square(rows.astype(np.float16) - rows).sum()
    spread = np.square(rows - rows.mean(axis=0)).sum() if len(rows) else 0
    return bool(lost == 0 or lost <= _HALF_ERROR**2 * spread)


def _mapped(block: Block, keep: NDArray[np.bool_] | None, rows: int | None) -> Iterator[Tile]:
    """Yield a float32 block's own memory, in slices of at most ``rows``."""
    step = len(block) if rows is None else rows
    for start in range(0, len(block), step):
        part = slice(start, start + step)
        yield Tile(
            row_ids=block.row_ids[part],
            vectors=block.vectors[part],
            keep=None if keep is None else keep[part],
        )


def _gather(block: Block, rows: slice | NDArray[np.int64], target: NDArray[np.float32]) -> None:
    """Copy the named rows into ``target`` as float32."""
    if block.vectors.dtype == np.float32:
        if isinstance(rows, slice):
            target[:] = block.vectors[rows]
        else:  # positions are valid by construction; "clip" only avoids take's own buffer
            np.take(block.vectors, rows, axis=0, out=target, mode="clip")
        return
    widen(block.vectors[rows], unit_norm=block.unit_norm, target=target)


def widen(
    halves: NDArray[np.float16], *, unit_norm: bool, target: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Widen rows of finite float16 to float32: shift the fields, then correct the exponent's bias.

    Exact for every finite value, and over four times as fast as numpy's cast, which goes
    number by number. Rows of unit length are scaled back to it.
    """
    target = np.empty(halves.shape, np.float32) if target is None else target
    bits = target.view(np.int32)
    np.left_shift(halves.view(np.int16), 13, out=bits, dtype=np.int32, casting="unsafe")
    np.bitwise_and(bits, np.int32(-0x70002000), out=bits)  # 0x8fffe000: sign, and the 15 bits
    np.multiply(target, _HALF_TO_SINGLE, out=target)
    if unit_norm:
        norms = np.sqrt(np.einsum("ij,ij->i", target, target))
        target /= np.where(norms > 0, norms, 1)[:, None]
    return target
