"""Compatibility of model versions: the matrix M(i/j), its averages, and what users lose.

M(i/j) is the quality of queries by version i over documents of version j. Version i is
compatible with j if asking with it beats what j reached on its own documents: M(i/j) > M(j/j).
An average hides who got worse, so negative flips count the queries that used to be answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError
from vecstore_translators.evaluation.metrics import ndcg_at_k, recall_at_k
from vecstore_translators.evaluation.ranking import top_k
from vecstore_translators.validation import Metric

Measure: TypeAlias = Callable[[ArrayLike, ArrayLike, int], NDArray[np.float64]]
"""A metric (ranking, relevant, k) -> one value per query, such as :func:`ndcg_at_k`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompatibilityMatrix:
    """Quality of every version's queries over its own and every earlier version's documents.

    Parameters
    ----------
    values : ndarray of shape (T, T), float64
        ``values[i, j]`` = M(i/j) for j <= i, both from 0, oldest first; NaN above the diagonal.
        Read-only. Larger is better.

    References
    ----------
    Biondi, Pernici, Bruni and Del Bimbo, "CoReS: Compatible representations via stationarity",
    IEEE TPAMI 2023 (compatibility matrix, AC and average accuracy); the criterion
    M(i/j) > M(j/j) is Shen et al., "Towards backward-compatible representation learning",
    CVPR 2020.

    Examples
    --------
    >>> matrix = CompatibilityMatrix(values=[[0.4, np.nan], [0.5, 0.7]])
    >>> matrix.average_compatibility, round(matrix.average_quality, 3)
    (1.0, 0.533)
    """

    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 2 or values.shape[0] != values.shape[1] or not len(values):
            raise InvalidArgumentError(
                f"values: expected one row and one column per version, got shape {values.shape}"
            )
        values[np.triu_indices(len(values), 1)] = np.nan
        if np.isnan(values[np.tril_indices(len(values))]).any():
            raise InvalidArgumentError(
                "values: expected a number on and below the diagonal, got NaN there"
            )
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def compatible(self) -> NDArray[np.bool_]:
        """Whether M(i/j) > M(j/j), for j < i; False elsewhere. Of shape (T, T)."""
        with np.errstate(invalid="ignore"):
            better = self.values > np.diagonal(self.values)
        return np.tril(better, -1)

    @property
    def average_compatibility(self) -> float:
        """AC = 2 / (T (T - 1)) Σ_{j<i} 1[M(i/j) > M(j/j)], in [0, 1]; NaN for one version."""
        pairs = len(self.values) * (len(self.values) - 1) // 2
        return float(self.compatible.sum() / pairs) if pairs else float("nan")

    @property
    def average_quality(self) -> float:
        """Mean of M on and below the diagonal: 2 / (T (T + 1)) Σ_{j<=i} M(i/j)."""
        return float(self.values[np.tril_indices(len(self.values))].mean())


def compatibility_matrix(
    queries: Sequence[Sequence[ArrayLike]],
    documents: Sequence[ArrayLike],
    relevant: ArrayLike,
    k: int = 10,
    *,
    measure: Measure = ndcg_at_k,
    metric: Metric = "cosine",
) -> CompatibilityMatrix:
    """Return M(i/j) by exact search of every version's queries over every earlier gallery.

    Parameters
    ----------
    queries : sequence of sequences of array_like of shape (q, d_j)
        ``queries[i][j]``, j <= i: queries of version i in the space of version j, through
        whatever joins the two: nothing where the versions are trained to be compatible, a
        query-side translator, or, for a forward map, see Notes. ``queries[i][i]`` is native.
    documents : sequence of array_like of shape (n, d_j)
        Native documents of every version, oldest first, the same items in the same order.
    relevant : array_like of shape (q,) or (q, r), integer
        Judged rows of each query, padded with -1.
    k : int
    measure : callable
        One value per query, larger is better.
    metric : {"cosine", "ip", "l2"}

    Raises
    ------
    UnpairedRowsError
        Not one list of queries per version, with one entry for it and every earlier version.

    Notes
    -----
    Forward maps carry documents instead, so that each pair (i, j) has its own gallery: fill
    ``values`` of :class:`CompatibilityMatrix` directly.
    """
    versions = len(documents)
    if len(queries) != versions or any(len(row) < i + 1 for i, row in enumerate(queries)):
        raise UnpairedRowsError(
            f"queries: expected for each of {versions} versions its queries in its own and every "
            f"earlier space, got {[len(row) for row in queries]} entries"
        )
    values = np.full((versions, versions), np.nan)
    for i, row in enumerate(queries):
        for j in range(i + 1):
            ranking, _ = top_k(row[j], documents[j], k, metric=metric)
            values[i, j] = measure(ranking, relevant, k).mean()
    return CompatibilityMatrix(values=values)


def negative_flips(
    ranking: ArrayLike, old_ranking: ArrayLike, relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Return 1 for each query that the old ranking answered and the new one does not.

    A query is answered if a relevant document is among the first k. The mean is the negative
    flip rate (NFR); with the rankings swapped it is the rate of positive flips.

    Parameters
    ----------
    ranking, old_ranking : array_like of shape (q, m), integer
        After and before the change, over the same documents.
    relevant : array_like of shape (q,) or (q, r), integer
    k : int

    Returns
    -------
    ndarray of shape (q,), float64, 0 or 1; smaller is better

    Raises
    ------
    UnpairedRowsError
        The rankings and the judgements are not of the same queries.

    References
    ----------
    Yan et al., "Positive-congruent training: towards regression-free model updates", CVPR
    2021, eq. 1 (NFR), with "correct" as success at k.

    Examples
    --------
    >>> negative_flips([[3, 4], [5, 6]], [[1, 2], [5, 7]], [1, 5], k=2).tolist()
    [1.0, 0.0]
    """
    before = recall_at_k(old_ranking, relevant, k) > 0
    after = recall_at_k(ranking, relevant, k) > 0
    return np.asarray(before & ~after, dtype=np.float64)
