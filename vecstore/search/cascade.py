"""Cascade: embed only the shortlist with the new model, rank it natively, keep the vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.encoding import Encoder, require_encoder
from vecstore.errors import InvalidVectorsError
from vecstore.rows import RowSet
from vecstore.search.embedding import DocumentEmbedder
from vecstore.search.execute import PreparedPlan, Queries
from vecstore.search.hybrid import Shortlist
from vecstore.search.scoring import Answer, merge, rank_shortlist

__all__ = ["Cascade", "CascadeAnswer", "cascade"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """What a caller asks of a cascade.

    Attributes
    ----------
    depth : int
        Length of the shortlist of each query. Answers that are longer go on by translation.
    budget : int or None
        Documents that may be embedded for each query, the best of its shortlist first; those
        beyond it keep their translated scores. None for all.
    """

    encoder: Encoder
    embedder: DocumentEmbedder
    depth: int
    budget: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CascadeAnswer:
    """A natively ranked answer.

    Attributes
    ----------
    answer : Answer
        Origin 0 is native in the ranking space; the origins of what could not be embedded
        are one more than their source's number.
    embedded : int
        Documents that were given to the encoder or were being embedded for another query.
    failure : str or None
        Why the encoder gave nothing; then the answer is that of the shortlist.
    """

    answer: Answer
    embedded: int
    failure: str | None = None


def cascade(
    prepared: PreparedPlan, queries: Queries, k: int, candidates: Shortlist, wanted: Cascade
) -> CascadeAnswer:
    """Give the candidates native vectors and rank them natively.

    Items without a document cannot be embedded; they keep their translated score. So does
    everything if the encoder fails: an answer by translation is better than none.

    Raises
    ------
    SpaceMismatchError
        The encoder is not that of the ranking space.
    InvalidVectorsError
        The encoder returned something other than one finite vector per document.
    """
    snapshot, record = prepared.snapshot, prepared.plan.target
    target = record.space
    require_encoder(wanted.encoder, target)
    shortlisted = candidates.answer.row_ids
    rows = np.unique(shortlisted[shortlisted >= 0])
    native = snapshot.native(target.name)
    known = native.contains(rows)
    # Where more hits than `depth` are asked for, the shortlist is the head of the candidates.
    affordable = _affordable(shortlisted[:, : wanted.depth], native, wanted.budget)
    failure = None
    try:
        made, new = wanted.embedder.embed(snapshot, record, wanted.encoder, affordable)
    except InvalidVectorsError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model or its network does
        failure = f"encoder {wanted.encoder.name!r} failed, ranked by translation: {error}"
        made, new = affordable[:0], np.empty((0, target.dim), dtype=np.float32)
    vectors = np.zeros((len(rows), target.dim), dtype=np.float32)
    vectors[known] = snapshot.gather(target.name, rows[known])
    vectors[np.searchsorted(rows, made)] = new
    scored = RowSet.of(np.concatenate([rows[known], made]))
    answer = _ranked(prepared, queries, candidates, rows, vectors, scored, k)
    return CascadeAnswer(answer=answer, embedded=len(made), failure=failure)


def _affordable(
    shortlisted: NDArray[np.int64], native: RowSet, budget: int | None
) -> NDArray[np.int64]:
    """Return the rows to embed, ascending: each query's best ones without a native vector."""
    missing = (shortlisted >= 0) & ~native.contains(np.maximum(shortlisted, 0))
    if budget is not None:
        missing &= np.cumsum(missing, axis=1) <= budget
    return np.unique(shortlisted[missing])


def _ranked(
    prepared: PreparedPlan,
    queries: Queries,
    candidates: Shortlist,
    rows: NDArray[np.int64],
    vectors: NDArray[np.float32],
    scored: RowSet,
    k: int,
) -> Answer:
    """Rank natively what has a vector; what has none keeps its place by translated score."""
    space = prepared.plan.target.space
    found = candidates.answer
    shifted = found.origins + np.int16(1)
    if not len(scored):
        return merge([Answer(scores=found.scores, row_ids=found.row_ids, origins=shifted)], k)
    is_native = scored.contains(np.maximum(found.row_ids, 0)) & (found.row_ids >= 0)
    natives = np.where(is_native, found.row_ids, -1)
    native = Answer.of_source(
        0,
        *rank_shortlist(queries[space.name], natives, rows, vectors, space, bonus=candidates.bonus),
    )
    rest = Answer(
        scores=np.where(is_native, -np.inf, found.scores).astype(np.float32),
        row_ids=np.where(is_native, -1, found.row_ids),
        origins=shifted,
    )
    return merge([native, rest], k)
