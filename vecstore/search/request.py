"""What a caller asks of a search, as checked values: ranking space, query arrays, k."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, embed_queries
from vecstore.errors import InvalidArgumentError, InvalidVectorsError, UnpairedRowsError
from vecstore.inputs import Vectors, require_space
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space

__all__ = [
    "MAX_K",
    "QueryVectors",
    "check_answer",
    "checked_budget",
    "checked_count",
    "checked_depth",
    "checked_lexical",
    "checked_min_score",
    "checked_rescore_depth",
    "ranking_space",
]

MAX_K = 100_000
MAX_ANSWER = 50_000_000
"""Hits, or candidates of a cascade, of one call: more would be gigabytes at once."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryVectors:
    """The queries of one search.

    Attributes
    ----------
    target : str
        The ranking space.
    by_space : dict of str to ndarray of shape (n, dim), float32
        The same n queries, as each space prepares them; the target is among them.
    single : bool
        Whether the caller passed one query and not a batch.
    texts : tuple of n str, or None
        The queries in words, where the caller passed them.
    """

    target: str
    by_space: Mapping[str, NDArray[np.float32]]
    single: bool
    texts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.by_space[self.target])

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        vectors: Vectors | None,
        space: str | Space | None,
        *,
        text: str | Sequence[str] | None = None,
        encoder_of: Callable[[SpaceRecord], Encoder],
    ) -> QueryVectors:
        """Check query vectors against the spaces of a snapshot, or embed texts.

        Parameters
        ----------
        encoder_of : callable
            Gives the encoder of a space; asked where there are texts and no vectors.

        Raises
        ------
        InvalidVectorsError, DimensionMismatchError, NonFiniteError
            The vectors do not fit their spaces, or the spaces get different numbers of them.
        UnpairedRowsError
            There are vectors and texts, but not as many of these as of those.
        InvalidArgumentError
            The ranking space is ambiguous or has no query vectors; or there are no queries.
        """
        asked = None if space is None else require_space(snapshot, space)
        texts = None if text is None else checked_texts(text)
        if vectors is None:
            if texts is None:
                raise InvalidArgumentError("expected query vectors or text=; got neither")
            record = snapshot.space(ranking_space(snapshot, asked, None))
            return cls(
                target=record.space.name,
                by_space={
                    record.space.name: embed_queries(encoder_of(record), record.space, texts)
                },
                single=isinstance(text, str),
                texts=texts,
            )
        if isinstance(vectors, Mapping):
            target = ranking_space(snapshot, asked, tuple(vectors))
            given = dict(vectors)
        else:
            target = ranking_space(snapshot, asked, None)
            given = {target: vectors}
        try:
            arrays = {name: np.asarray(rows) for name, rows in given.items()}
        except ValueError as error:  # ragged nested lists
            raise InvalidVectorsError(f"expected rectangular query vectors: {error}") from error
        shapes = {array.shape[:-1] if array.ndim else None for array in arrays.values()}
        leading = shapes.pop() if len(shapes) == 1 else None
        if leading is None or len(leading) > 1:
            raise InvalidVectorsError(
                "expected one query of shape (dim,) or a batch of shape (n, dim), the same n for "
                f"every space; got shapes {[array.shape for array in arrays.values()]}"
            )
        single = leading == ()
        n = 1 if single else leading[0]
        if texts is not None and (len(texts), isinstance(text, str)) != (n, single):
            raise UnpairedRowsError(
                f"expected text= for the same queries as the vectors, got "
                f"{'one text' if isinstance(text, str) else f'a list of {len(texts)} texts'} for "
                f"{'one vector' if single else f'a batch of {n} vectors'}"
            )
        return cls(
            target=target,
            by_space={
                name: snapshot.space(name).space.prepare_queries(array[None] if single else array)
                for name, array in arrays.items()
            },
            single=single,
            texts=texts,
        )


def ranking_space(snapshot: Snapshot, asked: str | None, given: Sequence[str] | None) -> str:
    """Return the space to rank in: as asked, else the default, the newest given, or the only one.

    The default counts where the query has a vector for it.
    """
    records = snapshot.spaces if given is None else {name: snapshot.space(name) for name in given}
    if asked is not None:
        if snapshot.space(asked).space.name not in records:
            raise InvalidArgumentError(
                f"ranking in space {asked!r} needs query vectors for it; got vectors for "
                f"{', '.join(map(repr, records)) or 'no space'}"
            )
        return asked
    if snapshot.default_space in records:
        return snapshot.default_space
    if given is not None and records:
        return max(records, key=lambda name: records[name].generation)
    if len(records) == 1:
        return next(iter(records))
    raise InvalidArgumentError(
        "say which space the query vectors belong to with space=, or set a default with "
        "switch_space; the collection has "
        f"{', '.join(map(repr, snapshot.spaces)) or 'none yet, see create_space'}"
    )


def checked_count(k: int | None, limit: int | None) -> int:
    """Return the number of hits wanted: k or limit, by default 10."""
    if k is not None and limit is not None:
        raise InvalidArgumentError("k and limit are two names of one argument; pass one of them")
    return _positive(k if k is not None else limit if limit is not None else 10, "k")


def check_answer(queries: int, k: int) -> None:
    """Refuse a batch whose answer would not fit into memory.

    Raises
    ------
    InvalidArgumentError
        More than 50 million hits in one call.
    """
    if queries * k > MAX_ANSWER:
        raise InvalidArgumentError(
            f"expected at most {MAX_ANSWER:,} hits in one call, got {queries:,} queries with "
            f"{k:,} each; split the batch into several calls"
        )


def checked_depth(depth: int | None, *, unused: bool) -> int | None:
    """Return the depth of a cascade, None without one.

    ``unused`` says that without a depth the encoder that was passed has nothing to do.
    """
    if depth is None and unused:
        raise InvalidArgumentError(
            "encoder= has nothing to embed: the queries are vectors, and without depth= there is "
            "no cascade; pass depth= too, or leave both out"
        )
    return None if depth is None else _positive(depth, "depth")


def checked_texts(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return queries in words as a tuple."""
    texts = (text,) if isinstance(text, str) else tuple(text)
    for number, each in enumerate(texts):
        if not isinstance(each, str):
            raise InvalidArgumentError(
                f"expected text= to be a string or a sequence of strings; number {number} is "
                f"{each!r}"
            )
    return texts


def checked_rescore_depth(depth: int | None) -> int | None:
    """Return the depth of a rescored shortlist, None for the default."""
    return None if depth is None else _positive(depth, "rescore_depth")


def checked_budget(budget: int | None, depth: int | None) -> int | None:
    """Return how many documents a cascade may embed for each query, None for all."""
    if budget is None:
        return None
    if depth is None:
        raise InvalidArgumentError("budget= limits a cascade; pass depth= too")
    if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 0:
        raise InvalidArgumentError(f"expected budget to be an integer >= 0, got {budget!r}")
    return int(budget)


def checked_lexical(weight: float | None, *, default: float) -> float:
    """Return the weight of words, 0.0 for none."""
    return default if weight is None else _finite(weight, "lexical", least=0.0)


def checked_min_score(score: float | None) -> float | None:
    """Return the least score of a hit."""
    return None if score is None else _finite(score, "min_score")


def _finite(number: object, what: str, *, least: float = -math.inf) -> float:
    """Return a real number that is neither NaN nor too small."""
    real = isinstance(number, (int, float, np.integer, np.floating))
    if not real or isinstance(number, bool) or not math.isfinite(number) or number < least:  # type: ignore[arg-type, operator]
        bound = "" if least == -math.inf else f" >= {least:g}"
        raise InvalidArgumentError(f"expected {what} to be a finite number{bound}, got {number!r}")
    return float(number)  # type: ignore[arg-type]


def _positive(number: object, what: str) -> int:
    """Return a count between 1 and MAX_K."""
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise InvalidArgumentError(f"expected {what} to be an integer, got {number!r}")
    if not 1 <= number <= MAX_K:
        raise InvalidArgumentError(f"expected 1 <= {what} <= {MAX_K:,}, got {number}")
    return int(number)
