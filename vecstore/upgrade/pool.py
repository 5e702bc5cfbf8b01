"""Which documents an assessment ranks: what competes for the answers, found without embedding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import NoRouteError
from vecstore.rows import RowSet
from vecstore.upgrade.bridges import ENOUGH_PAIRS
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.sample import chosen_rows, drawn_rows
from vecstore.upgrade.supply import Supply
from vecstore.version import OpenVersion
from vecstore_translators import Procrustes, Ridge

__all__ = ["pooled_rows"]

# Distractors of each kind that a query may bring into the sample.
_DEPTH = 50
# Of the sample, embedded first where there are no pairs to find competitors with.
_FIRST_SHARE = 4
_MOST_PAIRS = 5_000


def pooled_rows(
    version: OpenVersion,
    corpus: RowSet,
    questions: Questions | None,
    old: Supply,
    new: Supply,
    *,
    size: int,
    seed: int,
    progress: Callable[[str], None],
) -> NDArray[np.int64]:
    """Choose the documents to rank; may embed some of them, to know what competes.

    Parameters
    ----------
    corpus : RowSet
        The items that can be ranked.
    size : int
        At most so many are chosen.

    Returns
    -------
    ndarray of shape (n,), int64, ascending
    """
    first = RowSet.of([])
    if questions is None or len(corpus) <= size:
        return drawn_rows(corpus, size, seed=seed).to_array()
    if len(old.native & new.native) < ENOUGH_PAIRS and new.can_embed:
        first = drawn_rows(corpus, size // _FIRST_SHARE, seed=seed)
        progress(f"embed the first {len(first):,} documents")
        for supply in (old, new):
            supply.embed(first.to_array())
    return chosen_rows(
        corpus,
        relevant=questions.relevant,
        rankings=_rankings(version, corpus, questions, old, new, seed=seed),
        already=first,
        size=size,
        seed=seed,
    )


def _rankings(
    version: OpenVersion,
    corpus: RowSet,
    questions: Questions,
    old: Supply,
    new: Supply,
    *,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Return what the options that embed nothing put first over the whole corpus."""
    found = []
    asked = _translated(questions, old, new, seed=seed)
    if questions.source is not None:
        asked.append(questions.source)
    source, target = old.record.space.name, new.record.space.name
    words = version.words(questions.texts, None)
    if words is not None:
        found.append(words.index.search(words.texts, _DEPTH, allowed=corpus).row_ids)
    for space, queries in [*((source, queries) for queries in asked), (target, questions.target)]:
        with suppress(NoRouteError):  # nothing joins the spaces yet
            found.append(_best(version, space, queries, corpus))
    return found


def _translated(
    questions: Questions, old: Supply, new: Supply, *, seed: int
) -> list[NDArray[np.float32]]:
    """Return the queries in the old space, mapped back by what pairs there are.

    By ridge and by rotation: the best of theirs are what translated answers are confused with,
    whichever direction is mapped.
    """
    rows = drawn_rows(old.known & new.known, _MOST_PAIRS, seed=seed).to_array()
    if len(rows) < ENOUGH_PAIRS:
        return []
    source = old.record.space
    X, Y = old.gather(rows), new.gather(rows)
    pulled = []
    for family in (Procrustes(), Ridge()):
        fitted = family.fit(Y, X, metric=source.metric, seed=seed)
        pulled.append(np.array(fitted.translate(questions.target), dtype=np.float32))
    if source.normalised:
        pulled = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in pulled]
    return pulled


def _best(
    version: OpenVersion, space: str, queries: NDArray[np.float32], corpus: RowSet
) -> NDArray[np.int64]:
    """Return the best rows of each query, ndarray of shape (queries, 50), int64."""
    prepared = version.prepared(space, (space,), execution=None, allow_partial=True)
    return prepared.search({space: queries}, _DEPTH, corpus).row_ids
