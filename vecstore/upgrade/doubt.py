"""How far the translation of each row is to be trusted: the spread that orders a backfill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import NoRouteError, TooFewPairsError
from vecstore.search.plan import Source, make_plan
from vecstore.snapshot import Snapshot
from vecstore.translation import MIN_PAIRS, Translators, gather_pairs

if TYPE_CHECKING:
    from vecstore_translators import TranslationUncertainty, Translator

__all__ = ["translation_spread"]

_PAIRS = 2_000
"""Pairs that an error is learned from; more make it slower and hardly better."""

_BLOCK_ROWS = 16_384


def translation_spread(
    snapshot: Snapshot,
    target: str,
    row_ids: NDArray[np.int64],
    *,
    translators: Translators,
    seed: int,
) -> NDArray[np.float64]:
    """Return how much larger than usual the squared error of each row's translation is.

    Parameters
    ----------
    row_ids : ndarray of shape (n,), int64
        Live rows without a native vector in the target space.

    Returns
    -------
    ndarray of shape (n,), float64
        1 on average over the pairs of a route; infinite for rows that no route serves or whose
        route has too few pairs to learn an error from.

    Raises
    ------
    UnsupportedOperationError
        The target space is l2; see :class:`vecstore_translators.TranslationUncertainty`.
    """
    spread = np.full(len(row_ids), np.inf)
    try:
        plan = make_plan(snapshot, target=target, query_spaces=(target,), allow_partial=True)
    except NoRouteError:
        return spread
    for source in plan.sources:
        mine = np.flatnonzero(source.rows.contains(row_ids))
        if source.kind == "native" or not len(mine):
            continue
        learned = _learned(snapshot, source, target, translators=translators, seed=seed)
        if learned is None:
            continue
        model, translator = learned
        for start in range(0, len(mine), _BLOCK_ROWS):
            part = mine[start : start + _BLOCK_ROWS]
            vectors = snapshot.gather(source.space.space.name, row_ids[part])
            spread[part] = model.spread(vectors, translator.translate(vectors))
    return spread


def _learned(
    snapshot: Snapshot, source: Source, target: str, *, translators: Translators, seed: int
) -> tuple[TranslationUncertainty, Translator] | None:
    """Return the error of a source's route and the map it is the error of."""
    from vecstore_translators import Ridge, TranslationUncertainty, get_family

    space, metric = source.space.space.name, snapshot.space(target).space.metric
    if len(snapshot.native(space) & snapshot.native(target)) < MIN_PAIRS:
        return None
    pairs = gather_pairs(snapshot, space, target, limit=_PAIRS, seed=seed)
    direct = source.kind == "forward" and len(source.route) == 1
    families = [get_family(source.route[0].family), Ridge()] if direct else [Ridge()]
    for family in families:
        try:
            tuned = family.tuned(pairs.X, pairs.Y, metric=metric, seed=seed)
            model = TranslationUncertainty.fit(tuned, pairs.X, pairs.Y, metric=metric, seed=seed)
        except TooFewPairsError:
            continue
        if direct:
            return model, translators.open(source.route[0])
        return model, tuned.fit(pairs.X, pairs.Y, metric=metric, seed=seed)
    return None
