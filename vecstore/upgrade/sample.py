"""The documents that an assessment ranks: small enough to embed, hard enough to tell options apart.

A random sample would be too easy: the documents that compete with the right answer are not in
it, and every option looks alike. As TREC pools do, the sample holds what answers the queries
and what the options without embedding put first for them; the rest is random.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, embed_documents
from vecstore.rows import RowSet
from vecstore.snapshot import Snapshot

__all__ = ["Sample", "chosen_rows", "embedded_sample"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Documents with native vectors in both spaces.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64, ascending
    X : ndarray of shape (n, d_s), float32
    Y : ndarray of shape (n, d_t), float32
    embedded : ndarray of shape (m,), int64
        Those that the encoder embedded just now.
    characters : float
        Mean length of a document, 0.0 if there are none.
    documents_per_second : float or None
        Of the encoder, None if it was not asked.
    """

    rows: NDArray[np.int64]
    X: NDArray[np.float32]
    Y: NDArray[np.float32]
    embedded: NDArray[np.int64]
    characters: float
    documents_per_second: float | None


def chosen_rows(
    corpus: RowSet,
    *,
    relevant: NDArray[np.int64] | None,
    rankings: Sequence[NDArray[np.int64]],
    size: int,
    seed: int,
) -> NDArray[np.int64]:
    """Choose rows: all answers, then the heads of the rankings rank by rank, then any.

    Parameters
    ----------
    relevant : ndarray of shape (n, r), int64, optional
    rankings : sequence of ndarray of shape (n, depth), int64
        What each option puts first; -1 for none.
    """
    chosen = RowSet.of([]) if relevant is None else RowSet.of(relevant[relevant >= 0]) & corpus
    depth = max((ranking.shape[1] for ranking in rankings), default=0)
    for rank in range(depth):
        for ranking in rankings:
            rows = ranking[:, rank] if rank < ranking.shape[1] else ranking[:0, 0]
            more = chosen | (RowSet.of(rows[rows >= 0]) & corpus)
            if len(more) > size:
                return chosen.to_array()
            chosen = more
    rest = (corpus - chosen).to_array()
    missing = min(max(size - len(chosen), 0), len(rest))
    random = np.random.default_rng(seed).choice(rest, missing, replace=False)
    return (chosen | RowSet.of(random)).to_array()


def embedded_sample(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    *,
    source: str,
    target: SpaceRecord,
    encoder: Encoder | None,
) -> Sample:
    """Give rows native vectors in the target space; rows that cannot get one are left out."""
    native = snapshot.native(target.space.name).contains(rows)
    documents = snapshot.items(rows, ["document"]).column("document")
    lengths = [len(text) for text in documents.drop_null().to_pylist()]
    embeddable = ~native & np.asarray(documents.is_valid().to_numpy(), dtype=bool)
    if encoder is None:
        embeddable[:] = False
    missing, rate = rows[embeddable], None
    new = np.empty((0, target.space.dim), dtype=np.float32)
    if encoder is not None and len(missing):
        texts = documents.filter(embeddable).to_pylist()
        began = time.perf_counter()
        new = embed_documents(encoder, target.space, texts)
        rate = len(missing) / max(time.perf_counter() - began, 1e-9)
    kept = native | embeddable
    Y = np.empty((len(rows), target.space.dim), dtype=np.float32)
    Y[native] = snapshot.gather(target.space.name, rows[native])
    Y[embeddable] = new
    return Sample(
        rows=rows[kept],
        X=snapshot.gather(source, rows[kept]),
        Y=Y[kept],
        embedded=missing,
        characters=float(np.mean(lengths)) if lengths else 0.0,
        documents_per_second=rate,
    )
