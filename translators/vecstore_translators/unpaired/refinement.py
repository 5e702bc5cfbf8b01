"""From a rough start to an orthogonal map: match each row to its neighbours, solve, repeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.unpaired.clusters import Floats, match_by_structure, spherical_kmeans
from vecstore_translators.validation import unit_rows

_CLIMBS = 100
"""Random permutations the matching of one start climbs from."""


def rough_map(
    A: Floats, B: Floats, *, landmarks: int, starts: int, neighbours: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the orthogonal map that relative representations suggest.

    Each start finds landmarks in both spaces by k-means and matches them by structure. The
    better half of the starts describes every row by its similarities to their landmarks; rows
    with like descriptions are matched, and Procrustes does the rest.

    Parameters
    ----------
    A : ndarray of shape (n, d_s), float32
        Unit rows of the source.
    B : ndarray of shape (m, d_t), float32
        Unit rows of the target; no item in common with A is assumed.
    landmarks, starts, neighbours : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (d_s, d_t), float64
        Orthogonal, or semi-orthogonal between different dimensions.

    References
    ----------
    Dar, "mini-vec2vec: Scaling Universal Geometry Alignment with Linear Transformations",
    2025, algorithm 2; Moschella et al., "Relative representations enable zero-shot latent
    space communication", ICLR 2023, eq. 3.
    """
    found: list[tuple[float, Floats, Floats]] = []
    for _ in range(starts):
        own = spherical_kmeans(A, landmarks, rng=rng)
        other = spherical_kmeans(B, landmarks, rng=rng)
        source, target = _similarities(own), _similarities(other)
        places, _ = match_by_structure(source, target, rng=rng, starts=_CLIMBS)
        matched = target[np.ix_(places, places)]
        upper = np.triu_indices(landmarks, 1)
        likeness = float(np.corrcoef(source[upper], matched[upper])[0, 1])
        found.append((likeness, A @ own.T, B @ other[places].T))
    found.sort(key=lambda start: -start[0])
    kept = found[: max(1, (starts + 1) // 2)]
    source_rows = _standardised([own for _, own, _ in kept])
    target_rows = _standardised([other for _, _, other in kept])
    return procrustes(A, _mean_of_nearest(source_rows, target_rows, B, neighbours))


def refine(
    W: NDArray[np.float64],
    A: Floats,
    B: Floats,
    *,
    schedule: tuple[int, ...],
    settled: float = 0.0,
) -> NDArray[np.float64]:
    """Return the map after one round of matching and Procrustes per entry of `schedule`.

    Parameters
    ----------
    W : ndarray of shape (d_s, d_t), float64
    A, B : ndarray of shape (n, d_s) and (m, d_t), float32
        Unit rows.
    schedule : tuple of int
        Neighbours averaged in each round: many while the map is rough, fewer later.
    settled : float
        Stop early once a round turns the rows of A by less: one minus the mean cosine.

    References
    ----------
    Dar 2025, algorithm 3, here in both directions at once; Besl and McKay, "A method for
    registration of 3-D shapes", 1992, section IV (iterated closest points).
    """
    for k in schedule:
        rotation = W.astype(np.float32)
        forth = _mean_of_nearest(A @ rotation, B, B, k)
        back = _mean_of_nearest(B @ rotation.T, A, A, k)
        W = procrustes(np.vstack([A, back]), np.vstack([forth, B]))
        turned = unit_rows(A @ rotation), unit_rows(A @ W.astype(np.float32))
        if 1 - np.einsum("ij,ij->", *turned) / len(A) < settled:
            break
    return W


def procrustes(A: Floats, B: Floats) -> NDArray[np.float64]:
    """Return the (semi-)orthogonal map of least squared error from the rows of A to those of B."""
    left, _, right = np.linalg.svd(A.T.astype(np.float64) @ B, full_matrices=False)
    rotation: NDArray[np.float64] = left @ right
    return rotation


def _similarities(landmarks: Floats) -> NDArray[np.float64]:
    """Return the cosines among unit landmarks."""
    rows = landmarks.astype(np.float64)
    similarities: NDArray[np.float64] = rows @ rows.T
    return similarities


def _standardised(parts: list[Floats]) -> Floats:
    """Return the similarities side by side, centred per landmark, as unit rows."""
    rows = np.hstack(parts)
    return unit_rows(rows - rows.mean(axis=0))


def _mean_of_nearest(queries: Floats, keys: Floats, values: Floats, k: int) -> Floats:
    """Return, per query, the direction of the mean of the values of its k nearest keys."""
    scores = queries @ keys.T
    k = min(k, len(keys))
    nearest = np.argpartition(scores, len(keys) - k, axis=1)[:, len(keys) - k :]
    member = np.zeros_like(scores)
    np.put_along_axis(member, nearest, 1, axis=1)
    return unit_rows(member @ values)
