"""Landmarks found in each space alone: spherical k-means and the matching of two sets of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def spherical_kmeans(
    rows: Floats,
    clusters: int,
    *,
    rng: np.random.Generator,
    start: Floats | None = None,
    iterations: int = 20,
) -> Floats:
    """Return unit centroids of unit `rows` by cosine k-means.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float32
        Unit rows.
    clusters : int
        At most n.
    rng : numpy.random.Generator
        Draws the k-means++ start.
    start : ndarray of shape (clusters, d), float32, optional
        Unit centroids to start from instead.
    iterations : int

    Returns
    -------
    ndarray of shape (clusters, d), float32
        A cluster that runs empty keeps its centroid.

    References
    ----------
    Dhillon and Modha, "Concept decompositions for large sparse text data using clustering",
    2001, section 3; Arthur and Vassilvitskii, "k-means++", 2007, section 2.2 (start).
    """
    centroids = _spread_out(rows, clusters, rng) if start is None else start.copy()
    nearest = np.full(len(rows), -1)
    for _ in range(iterations):
        before, nearest = nearest, (rows @ centroids.T).argmax(axis=1)
        if np.array_equal(before, nearest):
            break
        member = np.zeros((clusters, len(rows)), dtype=np.float32)
        member[nearest, np.arange(len(rows))] = 1
        sums = member @ rows
        norms = np.linalg.norm(sums, axis=1)
        filled = norms > 0
        centroids[filled] = sums[filled] / norms[filled, np.newaxis]
    return centroids


def match_by_structure(
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    starts: int = 200,
) -> tuple[NDArray[np.int64], float]:
    """Return the permutation p of `target` that makes two similarity matrices agree best.

    Maximises Σ_ij S_ij T_p(i)p(j) over i != j, the quadratic assignment problem, by steepest
    exchange of two places from many random permutations at once.

    Parameters
    ----------
    source, target : ndarray of shape (c, c), float64
        Symmetric similarities within each set of landmarks.
    rng : numpy.random.Generator
    starts : int
        Random permutations to climb from.

    Returns
    -------
    permutation : ndarray of shape (c,), int64
        Landmark ``permutation[i]`` of the target matches landmark i of the source.
    value : float
        The sum reached. No exchange of two places would increase it.

    References
    ----------
    Koopmans and Beckmann, "Assignment problems and the location of economic activities",
    1957, eq. 1 (the problem); Burkard, Dell'Amico and Martello, "Assignment Problems", 2009,
    section 8.2.2 (pairwise exchange).
    """
    c = len(source)
    outside = ~np.eye(c, dtype=bool)
    S, T = source * outside, target * outside
    places = rng.permuted(np.tile(np.arange(c), (starts, 1)), axis=1)
    which = np.arange(starts)
    while True:
        moved = T[places[:, :, np.newaxis], places[:, np.newaxis, :]]
        product = S @ moved
        own = np.einsum("sii->si", product)
        gain = product + product.transpose(0, 2, 1) - own[:, :, np.newaxis] - own[:, np.newaxis]
        gain += 2 * S * moved
        best = np.where(outside, gain, 0).reshape(starts, -1).argmax(axis=1)
        i, j = best // c, best % c
        rising = gain[which, i, j] > 1e-9
        if not rising.any():
            break
        row, i, j = which[rising], i[rising], j[rising]
        places[row, i], places[row, j] = places[row, j], places[row, i]
    values = np.einsum("ij,sij->s", S, moved)
    winner = int(values.argmax())
    return places[winner].astype(np.int64), float(values[winner])


def _spread_out(rows: Floats, clusters: int, rng: np.random.Generator) -> Floats:
    """Return rows drawn with a chance that grows with the distance to those drawn before."""
    chosen = [int(rng.integers(len(rows)))]
    distance = np.full(len(rows), np.inf)
    for _ in range(clusters - 1):
        distance = np.minimum(distance, np.maximum(1 - rows @ rows[chosen[-1]], 0))
        total = np.cumsum(distance, dtype=np.float64)
        chosen.append(int(np.searchsorted(total, rng.random() * total[-1]).clip(0, len(rows) - 1)))
    return rows[chosen].copy()
