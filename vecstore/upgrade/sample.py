"""The documents that an assessment ranks: small enough to embed, hard enough to tell options apart.

A random sample would be too easy: the documents that compete with the right answer are not in
it, and every option looks alike. As TREC pools do, the sample holds what answers the queries
and what the options that embed nothing put first for them; the rest is random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.rows import RowSet
from vecstore.snapshot import Snapshot
from vecstore.upgrade.supply import Supply

__all__ = ["Sample", "chosen_rows", "drawn_rows", "gathered"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Documents with vectors in both spaces.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64, ascending
    X : ndarray of shape (n, d_s), float32
    Y : ndarray of shape (n, d_t), float32
    covered : ndarray of shape (n,), bool
        Which of them a search finds by a native vector in the target space: as many as the
        collection's coverage says. The others it finds by translation.
    characters : float
        Mean length of a document, 0.0 if there are none.
    """

    rows: NDArray[np.int64]
    X: NDArray[np.float32]
    Y: NDArray[np.float32]
    covered: NDArray[np.bool_]
    characters: float


def drawn_rows(rows: RowSet, size: int, *, seed: int) -> RowSet:
    """Return at most ``size`` of the rows, at random."""
    if len(rows) <= size:
        return rows
    chosen = np.random.default_rng(seed).choice(rows.to_array(), max(size, 0), replace=False)
    return RowSet.of(chosen)


def chosen_rows(
    corpus: RowSet,
    *,
    relevant: NDArray[np.int64] | None,
    rankings: Sequence[NDArray[np.int64]],
    already: RowSet,
    size: int,
    seed: int,
) -> NDArray[np.int64]:
    """Choose rows: all answers, then the heads of the rankings rank by rank, then any.

    Parameters
    ----------
    relevant : ndarray of shape (n, r), int64, optional
    rankings : sequence of ndarray of shape (n, depth), int64
        What each option puts first; -1 for none.
    already : RowSet
        Rows that belong to the sample whatever it is for.
    """
    answers = RowSet.of([]) if relevant is None else RowSet.of(relevant[relevant >= 0]) & corpus
    chosen = (already & corpus) | drawn_rows(answers, size - len(already), seed=seed)
    depth = max((ranking.shape[1] for ranking in rankings), default=0)
    for rank in range(depth):
        for ranking in rankings:
            rows = ranking[:, rank] if rank < ranking.shape[1] else ranking[:0, 0]
            new = (RowSet.of(rows[rows >= 0]) & corpus) - chosen
            room = size - len(chosen)
            chosen = chosen | drawn_rows(new, room, seed=seed)
            if len(new) >= room:
                return chosen.to_array()
    return (chosen | drawn_rows(corpus - chosen, size - len(chosen), seed=seed)).to_array()


def gathered(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    *,
    corpus: RowSet,
    old: Supply,
    new: Supply,
    seed: int,
) -> Sample:
    """Return the rows that have vectors in both spaces by now, with them."""
    rows = rows[old.known.contains(rows) & new.known.contains(rows)]
    documents = snapshot.items(rows, ["document"]).column("document").drop_null()
    lengths = [len(text) for text in documents.to_pylist()]
    covered = new.native.contains(rows)
    if covered.all():
        # Only documents with both vectors could be ranked: they stand for the others, too.
        share = len(new.native & corpus) / max(len(corpus), 1)
        covered = np.random.default_rng(seed).random(len(rows)) < share
    return Sample(
        rows=rows,
        X=old.gather(rows),
        Y=new.gather(rows),
        covered=covered,
        characters=float(np.mean(lengths)) if lengths else 0.0,
    )
