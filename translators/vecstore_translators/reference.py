"""Distance to the pairs: how far a vector lies from what a translator has seen.

A bounded sample of the pairs' source vectors stands for all of them, so the cost per vector is
the same for five hundred pairs and for a million. Uncertainty and drift both read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import TooFewPairsError
from vecstore_translators.validation import (
    Metric,
    as_vectors,
    check_at_least,
    check_metric,
    require_finite,
    unit_rows,
)

SIZE = 2000
NEIGHBOURS = 5

_BLOCK_SCORES = 2**23
"""Scores held at once (32 MiB of float32)."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairReference:
    """A sample of the source vectors that a translator was fitted on.

    Parameters
    ----------
    vectors : ndarray of shape (m, d_s), float32
        Unit length under cosine.
    own_distances : ndarray of shape (m,), float32
        Distance of each sampled vector to the others: what is normal within the pairs.
    metric : {"cosine", "ip", "l2"}
    neighbours : int
        Nearest sampled vectors that a distance is averaged over.

    References
    ----------
    Distance to the nearest training vectors as a sign that a prediction is not to be trusted:
    Sun, Ming, Zhu and Li, "Out-of-distribution detection with deep nearest neighbors", ICML
    2022, there the k-th distance of unit vectors; a mean of the first k is less noisy.
    """

    vectors: NDArray[np.float32]
    own_distances: NDArray[np.float32]
    metric: Metric
    neighbours: int

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        *,
        metric: Metric = "cosine",
        size: int = SIZE,
        neighbours: int = NEIGHBOURS,
        seed: int = 0,
    ) -> Self:
        """Sample the pairs' source vectors and measure what distance is normal among them.

        Parameters
        ----------
        X : array_like of shape (n, d_s)
            Source vectors of the pairs, more than `neighbours` of them.
        metric : {"cosine", "ip", "l2"}
        size : int
            Vectors kept; time per measured vector grows with it, and no memory but theirs.
        neighbours : int
        seed : int

        Raises
        ------
        TooFewPairsError
            No more pairs than `neighbours`.
        """
        check_metric(metric)
        check_at_least(neighbours, 1, name="neighbours")
        check_at_least(size, neighbours + 1, name="size")
        source = as_vectors(X, name="X", finite=False)
        if len(source) <= neighbours:
            raise TooFewPairsError(
                f"expected more than {neighbours} pairs to measure distances from, got "
                f"{len(source)}"
            )
        rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:size])
        sample = source[rows].astype(np.float32)
        require_finite(sample, name="X")
        vectors = unit_rows(sample) if metric == "cosine" else sample
        own = _mean_distances(vectors, vectors, metric, neighbours, leave_out_self=True)
        for array in (vectors, own):
            array.setflags(write=False)
        return cls(vectors=vectors, own_distances=own, metric=metric, neighbours=neighbours)

    def distances(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return each vector's mean distance to its nearest sampled pairs.

        Parameters
        ----------
        X : array_like of shape (n, d_s)

        Returns
        -------
        ndarray of shape (n,), float32
            1 - cosine under cosine, Euclidean distance otherwise; smaller is nearer. In time
            O(n m d_s) and, beyond the result, memory for one block.

        Raises
        ------
        DimensionMismatchError, InvalidVectorsError, NonFiniteError
        """
        source = as_vectors(X, dim=self.vectors.shape[1], name="X", finite=False)
        result = np.empty(len(source), dtype=np.float32)
        step = max(1, _BLOCK_SCORES // len(self.vectors))
        for start in range(0, len(source), step):
            block = source[start : start + step].astype(np.float32)
            require_finite(block, name="X", first_row=start)
            if self.metric == "cosine":
                block = unit_rows(block)
            result[start : start + step] = _mean_distances(
                block, self.vectors, self.metric, self.neighbours
            )
        return result


def _mean_distances(
    block: NDArray[np.float32],
    vectors: NDArray[np.float32],
    metric: Metric,
    neighbours: int,
    *,
    leave_out_self: bool = False,
) -> NDArray[np.float32]:
    """Return the mean distance of every row to its nearest vectors."""
    distances = block @ vectors.T
    distances *= -1 if metric == "cosine" else -2
    if metric == "cosine":
        distances += 1
    else:
        distances += np.einsum("ij,ij->i", vectors, vectors)
        distances += np.einsum("ij,ij->i", block, block)[:, np.newaxis]
    if leave_out_self:
        np.fill_diagonal(distances, np.inf)
    nearest = np.partition(distances, neighbours - 1, axis=1)[:, :neighbours]
    np.maximum(nearest, 0, out=nearest)  # rounding puts duplicates a little below zero
    if metric != "cosine":
        np.sqrt(nearest, out=nearest)
    mean: NDArray[np.float32] = nearest.mean(axis=1, dtype=np.float32)
    return mean
