"""DeviceRows: rows kept on a device in half precision, and an exact search over them.

A scan is bound by memory: half the bytes are twice the speed. It proposes a few candidates more
than wanted, which are scored again in float32. How far half precision can be off was measured
when the rows were taken in, so whether a row that was not proposed could belong into the answer
is known: where it could, the query is asked again for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vecstore.gpu.device import full_precision, load_torch
from vecstore.indexes.blocks import Block, BlockMetric
from vecstore.indexes.exact import exact_search
from vecstore.indexes.topk import merge_top_k
from vecstore.rows import RowSet

__all__ = ["DeviceRows", "Precision"]

Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]

# Candidates beyond k; a clustered corpus of unit vectors has some tens of rows within what half
# precision cannot tell apart.
_SPARE = 54
# Beyond this width a plain float32 scan of the whole is the cheaper way to certainty.
_WIDEST = 4096
# Scores in flight at a time, and the rows gathered for rescoring.
_TILE_BYTES = {"cpu": 2**25, "cuda": 2**30}
_QUERIES = 1024
# Below this share of rows that pass a mask, they are gathered instead of the others masked.
_SELECTIVE = 0.25
# Scores whose maximum stands for them while the best are selected.
_GROUP = 64
# Queries for which the host is done with a small step before a device has begun it.
_FEW = 4

Answer = tuple[NDArray[np.float32], NDArray[np.int64]]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """Queries on their way over a device's rows.

    Attributes
    ----------
    host : ndarray of shape (nq, d), float32
    exact, short : tensors of shape (nq, d)
        On the device: as they came, and scaled and rounded as the rows are.
    scale : tensor of shape (nq, 1), float32
        What scores of ``short`` are multiplied by.
    error : ndarray of shape (nq,), float32
        How much more a row's score can be than it is found to be; under "l2", less the square of
        the query.
    """

    host: NDArray[np.float32]
    exact: Any
    short: Any
    scale: Any
    error: NDArray[np.float32]


@final
class DeviceRows:
    """Immutable rows on one device. Searching is thread-safe.

    Parameters
    ----------
    row_ids : ndarray of shape (n,), int64
    vectors : ndarray of shape (n, d), float32
        On the host; candidates are scored again from these.
    metric : {"ip", "l2"}
    device : str
        "cpu" or "cuda:N".
    precision : {"float32", "float16", "bfloat16"}
        Of the copy on the device: 4, 2 or 2 bytes a component.

    Attributes
    ----------
    scale : float
        A power of two that components are divided by, so that float16 can hold them.
    rounding : float
        Greatest length of what rounding took from a row.
    longest : float
        Length of the longest row.
    """

    def __init__(
        self,
        row_ids: NDArray[np.int64],
        vectors: NDArray[np.float32],
        *,
        metric: BlockMetric,
        device: str,
        precision: Precision,
    ) -> None:
        torch = load_torch()
        self._torch = torch
        self._block = Block(row_ids=row_ids, vectors=vectors)
        self._metric = metric
        self._device = torch.device(device)
        self._tile = _TILE_BYTES[self._device.type]
        self._ids = torch.as_tensor(row_ids.copy(), device=self._device)
        self.scale = 1.0
        if precision != "float32":
            # The largest component in [1, 2): float16 keeps all its bits from 2^-14 to 2^16.
            largest = max((float(np.abs(p).max()) for p in _parts(vectors, 2**16)), default=1.0)
            self.scale = 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0
        self._rows = torch.empty(
            vectors.shape, dtype=getattr(torch, precision), device=self._device
        )
        self._squares = torch.empty(len(vectors), dtype=torch.float32, device=self._device)
        self.rounding = self.longest = 0.0
        self._full = self._room_for_all(vectors)
        start = 0
        for part in _parts(vectors, max(1, self._tile // (4 * max(vectors.shape[1], 1)))):
            full = torch.from_numpy(np.array(part, dtype=np.float32)).to(self._device)
            short = (full / self.scale).to(self._rows.dtype)
            self._rows[start : start + len(part)] = short
            if self._full is not None and self._full is not self._rows:
                self._full[start : start + len(part)] = full
            squares = (full * full).sum(dim=1)
            self._squares[start : start + len(part)] = squares
            lost = (full - short.to(torch.float32) * self.scale).norm(dim=1).max()
            self.rounding = max(self.rounding, float(lost))
            self.longest = max(self.longest, float(squares.max()) ** 0.5)
            start += len(part)

    def __len__(self) -> int:
        return len(self._block)

    def _room_for_all(self, vectors: NDArray[np.float32]) -> Any | None:
        """Return memory for the float32 rows too, where a GPU has it to spare.

        Candidates are then rescored where they are found: over 10 M rows of 768 dimensions a
        batch of 1,024 would else wait longer for the host to gather them than for the scan.
        """
        if self._device.type != "cuda":
            return None
        if self._rows.dtype == self._torch.float32:
            return self._rows
        free, _ = self._torch.cuda.mem_get_info(self._device)
        if 2 * vectors.size * 4 > free:
            return None
        return self._torch.empty(vectors.shape, dtype=self._torch.float32, device=self._device)

    def search(self, queries: NDArray[np.float32], k: int, allowed: RowSet | None) -> Answer:
        """Return each query's k best rows, exactly.

        Parameters
        ----------
        queries : ndarray of shape (nq, d), float32
        k : int
        allowed : RowSet, optional
            Rows that may be found; None for all.

        Returns
        -------
        scores : ndarray of shape (nq, k), float32
            Descending; larger is better. Computed in float32.
        row_ids : ndarray of shape (nq, k), int64
            Ties by ascending row id; -1 with minus infinity where there are not k rows.
        """
        scores = np.full((len(queries), k), -np.inf, np.float32)
        row_ids = np.full((len(queries), k), -1, np.int64)
        eligible, mask, places = self._eligible(allowed)
        if not eligible:
            return scores, row_ids
        for start in range(0, len(queries), _QUERIES):
            left = np.arange(start, min(start + _QUERIES, len(queries)))
            width = min(eligible, max(2 * k, k + _SPARE))
            # More candidates, until no row that was left out can belong into the answer.
            while len(left):
                if width < eligible and width > max(_WIDEST, 2 * k):
                    scores[left], row_ids[left] = self._scan_host(queries[left], k, allowed)
                    break
                asked = self._asked(queries[left])
                positions, bound = self._candidates(asked, width, mask, places)
                best, ids = self._ranked(asked, positions, k)
                certain = (bound < best[:, -1]) if width < eligible else np.ones(len(left), bool)
                sure, filled = left[certain], best.shape[1]
                scores[sure, :filled], row_ids[sure, :filled] = best[certain], ids[certain]
                left = left[~certain]
                width = min(eligible, 4 * width)
        return scores, row_ids

    def _eligible(self, allowed: RowSet | None) -> tuple[int, Any | None, Any | None]:
        """Return how many rows may be found, and their mask or, where they are few, positions."""
        if allowed is None:
            return len(self), None, None
        torch = self._torch
        bits = torch.as_tensor(allowed.bits.copy(), device=self._device)
        if not len(bits):
            return 0, None, None
        byte = self._ids >> 3
        inside = byte < len(bits)
        taken = bits[torch.where(inside, byte, 0)]
        mask = ((taken >> (self._ids & 7).to(torch.uint8)) & 1).bool() & inside
        places = mask.nonzero()[:, 0]
        if len(places) < _SELECTIVE * len(self):
            return len(places), None, places
        return len(places), mask, None

    def _asked(self, queries: NDArray[np.float32]) -> _Asked:
        """Round queries as the rows are rounded, and bound what that takes from their scores.

        A few queries are done on the host: for them the device would wait longer for each step
        than it works.
        """
        torch = self._torch
        place = self._device if len(queries) > _FEW else torch.device("cpu")
        exact = torch.from_numpy(queries).to(place)
        # A query's own scale: its length does not change what is near.
        lengths = exact.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        unit = exact / lengths
        short = unit.to(self._rows.dtype)
        lost = (unit - short.to(torch.float32)).norm(dim=1) * lengths[:, 0]
        norms = exact.norm(dim=1)
        # What rounding took on either side, and sums of d products in whatever order.
        error = norms * self.rounding + lost * (self.longest + self.rounding)
        error = error + queries.shape[1] * 2.0**-23 * norms * self.longest
        if self._metric == "l2":
            sums = queries.shape[1] * 2.0**-23 * (self.longest + norms) ** 2
            error = 2 * error - norms**2 + sums
        return _Asked(
            host=queries,
            exact=exact.to(self._device),
            short=short.to(self._device),
            scale=lengths.to(self._device) * self.scale,
            error=error.cpu().numpy(),
        )

    def _candidates(
        self, asked: _Asked, width: int, mask: Any | None, places: Any | None
    ) -> tuple[Any, NDArray[np.float32]]:
        """Return positions, (nq, width), and an upper bound of the score of every other row."""
        torch = self._torch
        best: Any = None
        found: Any = None
        n, nq = len(self) if places is None else len(places), len(asked.host)
        step = max(256, self._tile // (4 * nq))
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            chosen: Any = part if places is None else places[part]
            with full_precision(torch):
                scores = self._product(asked.short, self._rows[chosen])
            if self._metric == "l2":
                scores.mul_(2 * asked.scale).sub_(self._squares[chosen])
            if mask is not None:
                scores.masked_fill_(~mask[part], -torch.inf)
            scores, order = self._largest(scores, width)
            if places is not None:
                order = chosen[order]
            elif start:
                order = order + start
            if best is None:
                best, found = scores, order
                continue
            scores, order = torch.cat([best, scores], dim=1), torch.cat([found, order], dim=1)
            best, kept = scores.topk(min(width, scores.shape[1]), dim=1)
            found = order.gather(1, kept)
        last = best[:, -1:] if self._metric == "l2" else best[:, -1:] * asked.scale
        return found, last[:, 0].cpu().numpy() + asked.error

    def _product(self, queries: Any, rows: Any) -> Any:
        """Multiply with float32 sums; tensor cores do that for halves, a CPU has to widen."""
        torch = self._torch
        if rows.dtype == torch.float32:
            return queries @ rows.T
        if self._device.type == "cpu":
            return queries.to(torch.float32) @ rows.to(torch.float32).T
        return torch.mm(queries, rows.T, out_dtype=torch.float32)

    def _largest(self, scores: Any, width: int) -> tuple[Any, Any]:
        """Return the ``width`` largest of each row, (nq, width), and where they stand.

        The largest scores stand in the groups of the largest maxima, as many groups as scores are
        wanted: one pass for the maxima, and the selection proper reads a fraction of the scores.
        """
        nq, n = scores.shape
        groups = n // _GROUP
        if groups <= 2 * width:
            return scores.topk(min(width, n), dim=1)  # type: ignore[no-any-return]
        arange, whole = self._torch.arange, groups * _GROUP
        # A group's members lie apart, so that neighbouring threads read neighbouring scores.
        peaks = scores[:, :whole].view(nq, _GROUP, groups).amax(dim=1)
        chosen = peaks.topk(width, dim=1, sorted=False).indices
        members = arange(0, whole, groups, device=self._device)
        places = (chosen[:, :, None] + members).flatten(1)
        if whole < n:
            rest = arange(whole, n, device=self._device).expand(nq, -1)
            places = self._torch.cat([places, rest], dim=1)
        largest, order = scores.gather(1, places).topk(width, dim=1)
        return largest, places.gather(1, order)

    def _ranked(
        self, asked: _Asked, positions: Any, k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Rank candidates by their float32 scores, equal ones by ascending row id."""
        values = self._rescored(asked, positions)
        if len(asked.host) <= _FEW:
            ids = self._block.row_ids[positions.cpu().numpy()]
            return merge_top_k(values.cpu().numpy(), ids, min(k, ids.shape[1]))
        ids, order = self._ids[positions].sort(dim=1)
        values, ranked = values.gather(1, order).sort(dim=1, descending=True, stable=True)
        ids = ids.gather(1, ranked[:, :k])
        return values[:, :k].cpu().numpy(), ids.cpu().numpy()

    def _rescored(self, asked: _Asked, positions: Any) -> Any:
        """Return the float32 scores of each query's candidates, on the device."""
        dim, width = asked.host.shape[1], positions.shape[1]
        step = max(1, self._tile // (4 * width * max(dim, 1)))
        parts = [slice(start, start + step) for start in range(0, len(positions), step)]
        if self._full is not None:
            kept = [self._scores(asked.exact[p], self._full[positions[p]]) for p in parts]
            return kept[0] if len(kept) == 1 else self._torch.cat(kept)
        where = positions.cpu().numpy()
        scores = np.empty(where.shape, np.float32)
        for part in parts:
            rows = self._block.vectors[where[part]]
            if self._metric == "ip":
                scores[part] = np.matmul(rows, asked.host[part, :, None])[..., 0]
            else:
                rows = rows - asked.host[part, None, :]
                scores[part] = -np.einsum("qwd,qwd->qw", rows, rows)
        return self._torch.from_numpy(scores).to(self._device)

    def _scores(self, queries: Any, rows: Any) -> Any:
        """Score rows of shape (nq, w, d), one list for each query."""
        if self._metric == "l2":
            return -(rows - queries[:, None, :]).square().sum(dim=2)
        with full_precision(self._torch):
            return self._torch.bmm(rows, queries[:, :, None])[..., 0]

    def _scan_host(self, queries: NDArray[np.float32], k: int, allowed: RowSet | None) -> Answer:
        """Scan in float32, for queries that half precision cannot settle."""
        keep = None if allowed is None else allowed.contains(self._block.row_ids)
        block = Block(row_ids=self._block.row_ids, vectors=self._block.vectors, keep=keep)
        return exact_search(queries, [block], k, metric=self._metric)


def _parts(vectors: NDArray[np.float32], rows: int) -> Iterator[NDArray[np.float32]]:
    """Yield consecutive rows."""
    for start in range(0, len(vectors), rows):
        yield vectors[start : start + rows]
