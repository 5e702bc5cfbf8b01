"""Scores of given rows, whichever source serves them: what a shortlist found by words needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecstore.search.execute import OpenSource, PreparedPlan, Queries
from vecstore.search.scoring import Answer, score_rows, score_table

__all__ = ["score_spread", "scored"]

# Rows whose scores say how far a query's scores spread.
_SAMPLE = 512


def scored(prepared: PreparedPlan, queries: Queries, row_ids: NDArray[np.int64]) -> Answer:
    """Score each query against its own rows, as a search of all rows would.

    Parameters
    ----------
    row_ids : ndarray of shape (nq, m), int64
        -1 for none.

    Returns
    -------
    Answer
        Of the same shape and order as ``row_ids``; minus infinity where no source serves a row.
    """
    target = prepared.plan.target.space
    scores = np.full(row_ids.shape, -np.inf, dtype=np.float32)
    origins = np.zeros(row_ids.shape, dtype=np.int16)
    alone = len(prepared.sources) == 1
    for number, source in enumerate(prepared.sources):
        mine = source.source.rows.contains(np.maximum(row_ids, 0)) & (row_ids >= 0)
        rows = np.unique(row_ids[mine])
        if not len(rows):
            continue
        found = score_rows(
            source.scored_queries(queries, target),
            np.where(mine, row_ids, -1),
            rows,
            source.gather(rows, target),
            source.scored_metric(target),
        )
        found = source.calibrated(found, queries, target, alone=alone)
        scores[mine] = found[mine]
        origins[mine] = number
    return Answer(scores=scores, row_ids=row_ids, origins=origins)


def score_spread(prepared: PreparedPlan, queries: Queries) -> NDArray[np.float32]:
    """Return the standard deviation of each query's scores over a sample of all rows.

    Returns
    -------
    ndarray of shape (nq,), float32
        0 where there are no rows.
    """
    target = prepared.plan.target.space
    tables = [np.empty((len(queries[target.name]), 0), dtype=np.float32)]
    alone = len(prepared.sources) == 1
    for number, source in enumerate(prepared.sources):
        vectors = prepared.kept(("sample", number), lambda s=source: _sample(prepared, s))  # type: ignore[misc]
        table = score_table(
            source.scored_queries(queries, target), vectors, source.scored_metric(target)
        )
        tables.append(source.calibrated(table, queries, target, alone=alone))
    scores = np.concatenate(tables, axis=1)
    if not scores.shape[1]:
        return np.zeros(len(scores), dtype=np.float32)
    spread: NDArray[np.float32] = scores.std(axis=1)
    return spread


def _sample(prepared: PreparedPlan, source: OpenSource) -> NDArray[np.float32]:
    """Return a seeded sample of a source's vectors, in proportion to its share of the rows."""
    served = sum(len(s.source.rows) for s in prepared.sources)
    rows = source.source.rows.to_array()
    wanted = min(len(rows), max(1, round(_SAMPLE * len(rows) / served)))
    chosen = np.sort(np.random.default_rng(0).choice(rows, wanted, replace=False))
    return source.gather(chosen, prepared.plan.target.space)
