"""One search from checked request to answer: gather, fuse, cascade, cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from vecstore.hits import Provenance
from vecstore.rows import RowSet
from vecstore.search.cascade import Cascade, cascade
from vecstore.search.execute import PreparedPlan, Queries
from vecstore.search.hybrid import Lexical, shortlist
from vecstore.search.scoring import Answer

__all__ = ["Outcome", "run"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a search found.

    Attributes
    ----------
    provenances : tuple of Provenance
        By the answer's origins.
    embedded : int
        Documents that a cascade embedded.
    degraded : str or None
        Why a cascade was not ranked natively.
    """

    answer: Answer
    provenances: tuple[Provenance, ...]
    embedded: int = 0
    degraded: str | None = None


def run(
    prepared: PreparedPlan,
    queries: Queries,
    k: int,
    *,
    allowed: RowSet | None,
    lexical: Lexical | None = None,
    wanted: Cascade | None = None,
    min_score: float | None = None,
) -> Outcome:
    """Search a prepared plan.

    Parameters
    ----------
    allowed : RowSet, optional
        Rows that pass the filter; None for all.
    lexical : Lexical, optional
        Words that join the vectors.
    wanted : Cascade, optional
        How the shortlist is embedded and ranked natively.
    min_score : float, optional
        Hits below it are left out.
    """
    sources = prepared.provenances
    if wanted is None:
        answer = shortlist(prepared, queries, k, allowed, lexical).answer
        return Outcome(answer=_cut(answer, min_score), provenances=sources)
    candidates = shortlist(prepared, queries, max(wanted.depth, k), allowed, lexical)
    found = cascade(prepared, queries, k, candidates, wanted)
    native = Provenance(kind="native", space=prepared.plan.target.space.name)
    return Outcome(
        answer=_cut(found.answer, min_score),
        provenances=(native, *sources),
        embedded=found.embedded,
        degraded=found.failure,
    )


def _cut(answer: Answer, min_score: float | None) -> Answer:
    """Leave out hits below a score."""
    if min_score is None:
        return answer
    low = answer.scores < min_score
    return Answer(
        scores=np.where(low, np.float32(-np.inf), answer.scores),
        row_ids=np.where(low, -1, answer.row_ids),
        origins=answer.origins,
    )
