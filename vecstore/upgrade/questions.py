"""The queries of an assessment: judged ones where there are any, else documents in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, embed_queries
from vecstore.errors import InvalidArgumentError, UnpairedRowsError
from vecstore.ids import as_ids
from vecstore.snapshot import Snapshot

__all__ = ["Judgements", "Queries", "Questions", "asked_questions"]

Queries: TypeAlias = Sequence[str] | Mapping[str, ArrayLike]
"""Texts; or vectors by space, with the texts under "text" where they are known."""

Judgements: TypeAlias = Sequence[str | Sequence[str] | Mapping[str, float]]
"""For each query the id of what answers it, several ids, or gains by id."""

TEXT = "text"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Questions:
    """Queries as both models embedded them.

    Attributes
    ----------
    source : ndarray of shape (n, d_s), float32, or None
        None where nobody can embed them with the old model.
    target : ndarray of shape (n, d_t), float32
    texts : tuple of str or None
    relevant, gains : ndarray of shape (n, r), int64 and float64, or None
        Rows that answer each query, padded with -1; None without judgements.
    own : ndarray of shape (n,), int64, or None
        The rows whose documents ask; left out of their own answers.
    """

    source: NDArray[np.float32] | None
    target: NDArray[np.float32]
    texts: tuple[str, ...] | None = None
    relevant: NDArray[np.int64] | None = None
    gains: NDArray[np.float64] | None = None
    own: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def description(self) -> str:
        """What they are, in words."""
        if self.own is not None:
            return "held-out documents in the place of queries"
        return "real queries without judgements" if self.relevant is None else "judged queries"

    def some(self, *, most: int, answers: int, seed: int) -> Questions:
        """Return at most ``most`` queries, drawn at random, with at most so many answers."""
        order = np.random.default_rng(seed).permutation(len(self))[:most]
        if self.relevant is not None:
            count = np.cumsum((self.relevant[order] >= 0).sum(axis=1))
            order = order[: max(int(np.searchsorted(count, answers, side="right")), 1)]
        return self.take(np.sort(order))

    def answered(self, rows: NDArray[np.int64]) -> Questions:
        """Return the queries that one of the rows answers; all, without judgements."""
        if self.relevant is None:
            return self
        return self.take(np.flatnonzero(np.isin(self.relevant, rows).any(axis=1)))

    def take(self, rows: NDArray[np.int64]) -> Questions:
        """Return some of the queries."""
        return replace(
            self,
            source=None if self.source is None else self.source[rows],
            target=self.target[rows],
            texts=None if self.texts is None else tuple(self.texts[row] for row in rows),
            relevant=None if self.relevant is None else self.relevant[rows],
            gains=None if self.gains is None else self.gains[rows],
            own=None if self.own is None else self.own[rows],
        )


def asked_questions(
    snapshot: Snapshot,
    queries: Queries,
    qrels: Judgements | None,
    *,
    source: SpaceRecord,
    target: SpaceRecord,
    encoder_of: Callable[[SpaceRecord], Encoder | None],
) -> Questions:
    """Check queries that the caller has, and embed texts.

    Raises
    ------
    InvalidArgumentError
        There are no vectors of the new model and no encoder for texts, or no judged query has
        a live answer.
    UnpairedRowsError
        Vectors, texts and judgements differ in number.
    """
    given = dict(queries) if isinstance(queries, Mapping) else {TEXT: queries}
    texts = given.pop(TEXT, None)
    known = None if texts is None else tuple(str(text) for text in np.asarray(texts, dtype=object))
    vectors = {
        record.space.name: _vectors(record, given.get(record.space.name), known, encoder_of)
        for record in (source, target)
    }
    new, old = vectors[target.space.name], vectors[source.space.name]
    if new is None:
        raise InvalidArgumentError(
            f"expected queries as {target.space.name!r} embeds them, or texts and an encoder of "
            f"that space; got {', '.join(map(repr, queries)) or 'neither'}"
            if isinstance(queries, Mapping)
            else f"texts need an encoder of space {target.space.name!r}; bind one with use_encoder"
        )
    for what, other in (("old vectors", old), ("texts", known), ("judgements", qrels)):
        if other is not None and len(other) != len(new):
            raise UnpairedRowsError(f"expected {len(new)} {what}, one per query, got {len(other)}")
    if not len(new):
        raise InvalidArgumentError(
            "expected at least one query, got none; without queries= documents ask"
        )
    questions = Questions(source=old, target=new, texts=known)
    return questions if qrels is None else _judged(snapshot, questions, qrels)


def _vectors(
    record: SpaceRecord,
    given: ArrayLike | None,
    texts: tuple[str, ...] | None,
    encoder_of: Callable[[SpaceRecord], Encoder | None],
) -> NDArray[np.float32] | None:
    if given is not None:
        return record.space.prepare_queries(given)
    encoder = None if texts is None else encoder_of(record)
    if encoder is None or texts is None:
        return None
    return embed_queries(encoder, record.space, texts)


def _judged(snapshot: Snapshot, questions: Questions, qrels: Judgements) -> Questions:
    """Attach judgements; queries whose answers have no live item are left out."""
    gains = [_as_gains(judged) for judged in qrels]
    ids = sorted({item for judged in gains for item in judged})
    rows = dict(zip(ids, snapshot.find(as_ids(ids)).tolist(), strict=True)) if ids else {}
    found = [
        {rows[item]: gain for item, gain in judged.items() if rows[item] >= 0 and gain > 0}
        for judged in gains
    ]
    width = max((len(judged) for judged in found), default=0)
    if not width:
        raise InvalidArgumentError(
            f"none of the {len(ids)} ids in qrels has a live item; pass the ids of this collection"
        )
    relevant = np.full((len(found), width), -1, dtype=np.int64)
    weight = np.zeros((len(found), width))
    for number, judged in enumerate(found):
        relevant[number, : len(judged)] = list(judged)
        weight[number, : len(judged)] = list(judged.values())
    answered = np.flatnonzero((relevant >= 0).any(axis=1))
    return replace(questions, relevant=relevant, gains=weight).take(answered)


def _as_gains(judged: str | Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    if isinstance(judged, str):
        return {judged: 1.0}
    if isinstance(judged, Mapping):
        return {str(item): float(gain) for item, gain in judged.items()}
    return {str(item): 1.0 for item in judged}
