"""The translators that an assessment tries: both directions, never judged on what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.search.views import unit_rows
from vecstore.snapshot import Snapshot
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.sample import Sample
from vecstore_translators import (
    Procrustes,
    Ridge,
    TranslatorFamily,
    score_offset,
    select_translator,
)
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.offset import MIN_QUERIES

__all__ = ["Bridges", "build_bridges"]

# From here on the pairs beside the sample are enough to fit on, and the sample stays unseen.
_ENOUGH_PAIRS = 100
_MAX_PAIRS = 20_000


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
        Learned for the forward map; 0.0 without real queries.
    """

    pairs: int
    family: str
    translated: NDArray[np.float32]
    queries: NDArray[np.float32]
    offset: float


def build_bridges(
    snapshot: Snapshot,
    sample: Sample,
    questions: Questions,
    source: str,
    target: str,
    *,
    families: Sequence[TranslatorFamily] | None,
    seed: int,
) -> Bridges:
    """Fit on the pairs outside the sample if there are enough, else across folds of the sample."""
    old, new = snapshot.space(source).space, snapshot.space(target).space
    rows = (snapshot.native(source) & snapshot.native(target)).to_array()
    rows = np.setdiff1d(rows, sample.rows)
    apart = len(rows) >= _ENOUGH_PAIRS
    if len(rows) > _MAX_PAIRS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MAX_PAIRS, replace=False))
    X = snapshot.gather(source, rows) if apart else sample.X
    Y = snapshot.gather(target, rows) if apart else sample.Y
    real = questions.target if questions.own is None else None
    forward = select_translator(X, Y, families=families, metric=new.metric, queries=real, seed=seed)
    tuned = next(c.tuned for c in forward.candidates if c.family == forward.family)
    translated = np.empty_like(sample.Y)
    if apart:
        translated[:] = forward.translator.translate(sample.X)
    else:
        held_out, values = cross_fit(tuned, X, Y, metric=new.metric, seed=seed)
        # Beyond the pool of held-out pairs the fit on all of them has to do.
        translated[:] = forward.translator.translate(sample.X)
        translated[held_out] = values
    back = select_translator(
        Y, X, families=[Procrustes(), Ridge()], metric=old.metric, side="queries", seed=seed
    )
    queries = np.array(back.translator.translate(questions.target), dtype=np.float32)
    if questions.own is not None and not apart:
        # The documents that ask were among the pairs: each is mapped by a fit without it.
        tuned_back = next(c.tuned for c in back.candidates if c.family == back.family)
        held_out, values = cross_fit(tuned_back, Y, X, metric=old.metric, seed=seed)
        asking = np.full(len(sample.rows), -1)
        asking[np.searchsorted(sample.rows, questions.own)] = np.arange(len(questions))
        known = asking[held_out] >= 0
        queries[asking[held_out][known]] = values[known]
    enough = real is not None and len(real) >= MIN_QUERIES
    return Bridges(
        pairs=len(X),
        family=forward.family.label,
        translated=unit_rows(translated) if new.normalised else translated,
        queries=unit_rows(queries) if old.normalised else queries,
        offset=score_offset(tuned, X, Y, real, metric=new.metric, seed=seed)
        if enough and real is not None
        else 0.0,
    )
