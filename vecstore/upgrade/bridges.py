"""The translators that an assessment tries: both directions, never judged on what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.rows import RowSet
from vecstore.search.prepare import MAX_REFERENCE
from vecstore.search.views import unit_rows
from vecstore.spaces import Space
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.sample import Sample, drawn_rows
from vecstore.upgrade.supply import Supply
from vecstore_translators import (
    Procrustes,
    Ridge,
    Selection,
    TranslatorFamily,
    select_translator,
)
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.offset import learned_offset

__all__ = ["ENOUGH_PAIRS", "Bridges", "build_bridges", "pair_rows"]

ENOUGH_PAIRS = 100
"""With fewer pairs than these an assessment fits on those that it made itself, kept or not."""

_MAX_PAIRS = 20_000

Vectors = NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bridges:
    """Translations of a sample's documents and of the queries.

    Attributes
    ----------
    pairs : int
        That the translators were fitted on.
    family : str
        Of the forward map.
    translated : ndarray of shape (documents, d_t), float32
        The sample's documents in the new space, each by a fit that has not seen it.
    queries : ndarray of shape (queries, d_s), float32
        The queries in the old space.
    offset : float
        Learned for the forward map; 0.0 where it cannot be.
    fit : Selection
        The forward map.
    target : Space
        Where it leads.
    reference : (ndarray of shape (m, d_s), ndarray of shape (m, d_t)), float32
        Pairs on which scores by translated queries find the new space's scale.
    """

    pairs: int
    family: str
    translated: Vectors
    queries: Vectors
    offset: float
    fit: Selection
    target: Space
    reference: tuple[Vectors, Vectors]

    def documents(self, vectors: Vectors) -> Vectors:
        """Translate other documents forward, ndarray of shape (n, d_t), float32."""
        translated = np.array(self.fit.translator.translate(vectors), dtype=np.float32)
        return _as_stored(translated, self.target)


def pair_rows(old: Supply, new: Supply, sample: NDArray[np.int64], *, kept: bool) -> RowSet:
    """Return the rows to fit on: those that a fit would have once the assessment is over.

    Where the sample can be left out at little loss it is, and stays unseen. Pairs that were
    made and not kept are used only where there are too few others.
    """
    available = old.native & new.native
    if kept:
        available = old.known & new.known
    if len(available) < ENOUGH_PAIRS:
        available = available | RowSet.of(sample)
    outside = available - RowSet.of(sample)
    return outside if len(outside) >= max(ENOUGH_PAIRS, len(available) / 2) else available


def build_bridges(
    old: Supply,
    new: Supply,
    sample: Sample,
    questions: Questions,
    *,
    kept: bool,
    families: Sequence[TranslatorFamily] | None,
    seed: int,
) -> Bridges:
    """Fit both directions and translate the sample's documents and the queries."""
    source, target = old.record.space, new.record.space
    usable = pair_rows(old, new, sample.rows, kept=kept)
    rows = drawn_rows(usable, _MAX_PAIRS, seed=seed).to_array()
    X, Y = old.gather(rows), new.gather(rows)
    real = questions.target if questions.own is None else None
    forward = select_translator(
        X, Y, families=families, metric=target.metric, queries=real, seed=seed
    )
    back = select_translator(
        Y, X, families=[Procrustes(), Ridge()], metric=source.metric, side="queries", seed=seed
    )
    translated = _unseen(forward, rows, X, Y, asked=sample.rows, vectors=sample.X, seed=seed)
    queries = np.array(back.translator.translate(questions.target), dtype=np.float32)
    if questions.own is not None:
        queries = _unseen(
            back, rows, Y, X, asked=questions.own, vectors=questions.target, seed=seed
        )
    offset = learned_offset(_tuned(forward), X, Y, real, metric=target.metric, seed=seed)
    shown = np.random.default_rng(0).permutation(len(rows))[:MAX_REFERENCE]
    return Bridges(
        pairs=len(rows),
        family=forward.family.label,
        translated=_as_stored(translated, target),
        queries=_as_stored(queries, source),
        offset=offset or 0.0,
        fit=forward,
        target=target,
        reference=(X[shown], Y[shown]),
    )


def _unseen(
    fit: Selection,
    rows: NDArray[np.int64],
    X: Vectors,
    Y: Vectors,
    *,
    asked: NDArray[np.int64],
    vectors: Vectors,
    seed: int,
) -> Vectors:
    """Translate vectors of rows; those among the pairs by a fit to the others.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64, ascending
        Of the pairs X and Y.
    asked : ndarray of shape (m,), int64
        Rows that the vectors belong to.
    """
    translated = np.array(fit.translator.translate(vectors), dtype=np.float32)
    place = np.minimum(np.searchsorted(rows, asked), len(rows) - 1)
    seen = rows[place] == asked
    if not seen.any():
        return translated
    # Beyond the pool of held-out pairs the fit to all of them has to do: it is as good as equal.
    held_out, values = cross_fit(_tuned(fit), X, Y, metric=fit.metric, seed=seed)
    at = np.full(len(rows), -1, dtype=np.int64)
    at[held_out] = np.arange(len(held_out))
    known = seen & (at[place] >= 0)
    translated[known] = values[at[place[known]]]
    return translated


def _tuned(fit: Selection) -> TranslatorFamily:
    """Return the winner with the hyper-parameters that were chosen for it."""
    return next(c.tuned for c in fit.candidates if c.family == fit.family)


def _as_stored(vectors: Vectors, space: Space) -> Vectors:
    return unit_rows(vectors) if space.normalised else vectors
