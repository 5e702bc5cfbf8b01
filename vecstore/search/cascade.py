"""Cascade: embed only the shortlist with the new model, rank it natively, keep the vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.encoding import Encoder, embed_documents, require_encoder
from vecstore.rows import RowSet
from vecstore.search.execute import PreparedPlan
from vecstore.search.scoring import Answer, merge, rank_shortlist
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space

__all__ = ["CascadeAnswer", "cascade"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CascadeAnswer:
    """A natively ranked answer and what had to be embedded for it.

    Attributes
    ----------
    answer : Answer
        Origin 0 is native in the ranking space; the origins of what could not be embedded
        are one more than their source's number.
    row_ids : ndarray of shape (m,), int64, ascending
        Rows that were embedded.
    vectors : ndarray of shape (m, dim), float32
        Their new native vectors, as the ranking space prepares them.
    """

    answer: Answer
    row_ids: NDArray[np.int64]
    vectors: NDArray[np.float32]


def cascade(
    prepared: PreparedPlan,
    queries: Mapping[str, NDArray[np.float32]],
    k: int,
    *,
    depth: int,
    encoder: Encoder,
    allowed: RowSet | None,
) -> CascadeAnswer:
    """Shortlist ``depth`` rows per query, give all of them native vectors, rank natively.

    Items without a document cannot be embedded; they keep their translated score.
    """
    snapshot, target = prepared.snapshot, prepared.plan.target.space
    require_encoder(encoder, target)
    shortlist = prepared.search(queries, max(depth, k), allowed)
    rows = np.unique(shortlist.row_ids[shortlist.row_ids >= 0])
    native = snapshot.native(target.name).contains(rows)
    missing, documents = _with_documents(snapshot, rows[~native])
    new = embed_documents(encoder, target, documents)

    vectors = np.zeros((len(rows), target.dim), dtype=np.float32)
    vectors[native] = snapshot.gather(target.name, rows[native])
    vectors[np.searchsorted(rows, missing)] = new
    scored = RowSet.of(np.concatenate([rows[native], missing]))
    answer = _ranked(shortlist, queries[target.name], rows, vectors, scored, k, target)
    return CascadeAnswer(answer=answer, row_ids=missing, vectors=new)


def _with_documents(
    snapshot: Snapshot, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the rows that have a document, and the documents."""
    documents = snapshot.items(rows, ["document"]).column("document")
    present = np.asarray(documents.is_valid().to_numpy(), dtype=bool)
    return rows[present], documents.drop_null().to_pylist()


def _ranked(
    shortlist: Answer,
    queries: NDArray[np.float32],
    rows: NDArray[np.int64],
    vectors: NDArray[np.float32],
    scored: RowSet,
    k: int,
    space: Space,
) -> Answer:
    """Rank natively what has a vector; what has none keeps its place by translated score."""
    shifted = shortlist.origins + np.int16(1)
    translated = Answer(scores=shortlist.scores, row_ids=shortlist.row_ids, origins=shifted)
    if not len(scored):
        return merge([translated], k)
    is_native = scored.contains(np.maximum(shortlist.row_ids, 0)) & (shortlist.row_ids >= 0)
    natives = np.where(is_native, shortlist.row_ids, -1)
    native = Answer.of_source(0, *rank_shortlist(queries, natives, rows, vectors, space))
    rest = Answer(
        scores=np.where(is_native, -np.inf, shortlist.scores).astype(np.float32),
        row_ids=np.where(is_native, -1, shortlist.row_ids),
        origins=shifted,
    )
    return merge([native, rest], k)
