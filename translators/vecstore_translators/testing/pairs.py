"""Pairs with a known answer: vectors and the map they were made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Planted: TypeAlias = Literal["identity", "rotation", "affine"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlantedPairs:
    """Pairs to fit, held-out pairs to judge, and the map Y = X weight + bias (+ noise).

    Parameters
    ----------
    X, Y : ndarray of shape (n, d_s) and (n, d_t), float32
        Read-only.
    held_out_x, held_out_y : ndarray of shape (m, d_s) and (m, d_t), float32
        Without noise, read-only.
    """

    X: NDArray[np.float32]
    Y: NDArray[np.float32]
    held_out_x: NDArray[np.float32]
    held_out_y: NDArray[np.float32]


def planted_pairs(
    planted: Planted = "affine",
    *,
    n: int = 400,
    source_dim: int = 12,
    target_dim: int = 12,
    noise: float = 0.0,
    seed: int = 0,
) -> PlantedPairs:
    """Return pairs made by a hidden map, from anisotropic sources with a mean off zero.

    A rotation between different dimensions is an isometry into the larger space, or the
    projection of sources that lie in a subspace of the target's size.
    """
    rng = np.random.default_rng(seed)
    rank = min(source_dim, target_dim) if planted == "rotation" else source_dim
    latent = rng.normal(size=(n + 100, rank)) * np.linspace(1.0, 0.3, rank) + 0.2
    basis = np.linalg.qr(rng.normal(size=(source_dim, source_dim)))[0]
    X = latent @ basis[:rank]
    bias = np.zeros(target_dim)
    if planted == "identity":
        weight = np.eye(source_dim, target_dim)
    elif planted == "rotation":
        target_basis = np.linalg.qr(rng.normal(size=(target_dim, target_dim)))[0]
        weight = basis[:rank].T @ target_basis[:rank]
    else:
        weight = rng.normal(size=(source_dim, target_dim)) / np.sqrt(source_dim)
        bias = rng.normal(size=target_dim)
    Y = X @ weight + bias
    noisy = Y + noise * rng.normal(size=Y.shape)
    arrays = [a.astype(np.float32) for a in (X[:n], noisy[:n], X[n:], Y[n:])]
    for array in arrays:
        array.setflags(write=False)
    return PlantedPairs(X=arrays[0], Y=arrays[1], held_out_x=arrays[2], held_out_y=arrays[3])
