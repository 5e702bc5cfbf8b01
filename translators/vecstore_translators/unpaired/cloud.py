"""One side of an unpaired fit: where its vectors lie, and which of them each part may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import InvalidArgumentError, TooFewPairsError
from vecstore_translators.unpaired.clusters import Floats
from vecstore_translators.validation import Vectors, as_vectors, unit_rows

_HELD_OUT = 0.1
"""Share of the rows that no fit sees, so that the gate can ask about them."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cloud:
    """Vectors of one space, centred and normalised.

    Parameters
    ----------
    mean : ndarray of shape (d,), float64
        What was subtracted.
    spread : float
        Mean distance of the vectors from it.
    rows : ndarray of shape (n, d), float32
        Unit rows for fits.
    halves : pair of ndarray of shape (n / 2, d), float32
        The same rows, split at random.
    held_out : ndarray of shape (m, d), float32
        Unit rows that are in neither half.
    """

    mean: NDArray[np.float64]
    spread: float
    rows: Floats
    halves: tuple[Floats, Floats]
    held_out: Floats

    @classmethod
    def prepare(
        cls, vectors: ArrayLike, *, name: str, min_rows: int, limit: int, rng: np.random.Generator
    ) -> Self:
        """Draw at most `limit` rows and split them.

        Raises
        ------
        TooFewPairsError
            Fewer than `min_rows` rows.
        InvalidArgumentError
            All vectors are the same.
        InvalidVectorsError, NonFiniteError
        """
        given: Vectors = as_vectors(vectors, name=name)
        if len(given) < min_rows:
            raise TooFewPairsError(
                f"{name}: expected at least {min_rows} vectors to align without pairs, "
                f"got {len(given)}; pass more, or fit a translator to pairs"
            )
        chosen = given[rng.permutation(len(given))[:limit]].astype(np.float32)
        mean = chosen.mean(axis=0, dtype=np.float64)
        centred = chosen - mean.astype(np.float32)
        norms = np.linalg.norm(centred, axis=1)
        if not norms.any():
            raise InvalidArgumentError(
                f"{name}: expected vectors that differ, got one vector {len(given)} times"
            )
        unit = unit_rows(centred[norms > 0])
        held = int(_HELD_OUT * len(unit))
        rows = unit[held:]
        half = len(rows) // 2
        return cls(
            mean=mean,
            spread=float(norms.mean()),
            rows=rows,
            halves=(rows[:half], rows[half:]),
            held_out=unit[:held],
        )
