"""Small samples for a report: how scores translate, and where documents lie in both spaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.upgrade.assessment import Pictures
from vecstore.upgrade.sample import Sample
from vecstore.upgrade.simulation import Tables

__all__ = ["drawn"]

_DOCUMENTS = 300
_SCORES = 400

Points = list[tuple[float, float]]


def drawn(
    sample: Sample,
    translated: NDArray[np.float32],
    tables: Tables,
    *,
    seed: int,
) -> Pictures:
    """Draw documents on principal axes, and scores of the same query and document both ways."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(sample.rows))[:_DOCUMENTS]
    query = rng.integers(0, len(tables.native.inside), _SCORES)
    # Half of the scores from the top, where rankings are decided.
    best = np.argsort(-tables.native.inside[query], axis=1)[
        np.arange(_SCORES), rng.integers(0, 10, _SCORES) % tables.native.inside.shape[1]
    ]
    any_document = rng.integers(0, tables.native.inside.shape[1], _SCORES)
    document = np.where(np.arange(_SCORES) % 2 == 0, best, any_document)
    new_axes = _axes(sample.Y)
    return Pictures(
        translated_scores=_rounded(tables.translated[query, document]),
        native_scores=_rounded(tables.native.inside[query, document]),
        old=_points(sample.X[rows], _axes(sample.X)),
        new=_points(sample.Y[rows], new_axes),
        translated=_points(translated[rows], new_axes),
    )


def _axes(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the first two principal axes, each (d,) and (2, d)."""
    mean = vectors.mean(axis=0)
    axes = np.linalg.svd(vectors - mean, full_matrices=False)[2][:2]
    if len(axes) < 2:
        axes = np.vstack([axes, np.zeros_like(axes)])[:2]
    return mean, axes


def _points(
    vectors: NDArray[np.float32], frame: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> Points:
    mean, axes = frame
    return [(round(float(x), 4), round(float(y), 4)) for x, y in (vectors - mean) @ axes.T]


def _rounded(values: NDArray[np.float32]) -> list[float]:
    return [round(float(value), 4) for value in values]
