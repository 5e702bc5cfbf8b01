"""What a caller asks of a search, as checked values: ranking space, query arrays, k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.encoding import Encoder
from vecstore.errors import InvalidArgumentError, InvalidVectorsError
from vecstore.inputs import Vectors, require_space
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space

__all__ = [
    "MAX_K",
    "QueryVectors",
    "checked_count",
    "checked_depth",
    "checked_rescore_depth",
    "ranking_space",
]

MAX_K = 100_000


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
    """

    target: str
    by_space: Mapping[str, NDArray[np.float32]]
    single: bool

    @classmethod
    def of(cls, snapshot: Snapshot, vectors: Vectors, space: str | Space | None) -> QueryVectors:
        """Check query vectors against the spaces of a snapshot.

        Raises
        ------
        InvalidVectorsError, DimensionMismatchError, NonFiniteError
            The vectors do not fit their spaces, or the spaces get different numbers of them.
        InvalidArgumentError
            The ranking space is ambiguous or has no query vectors.
        """
        asked = None if space is None else require_space(snapshot, space)
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
        leading = {array.shape[:-1] for array in arrays.values() if array.ndim}
        if len(leading) != 1 or max(array.ndim for array in arrays.values()) > 2:
            raise InvalidVectorsError(
                "expected one query of shape (dim,) or a batch of shape (n, dim), the same n for "
                f"every space; got shapes {[array.shape for array in arrays.values()]}"
            )
        return cls(
            target=target,
            by_space={
                name: snapshot.space(name).space.prepare_queries(np.atleast_2d(array))
                for name, array in arrays.items()
            },
            single=leading == {()},
        )


def ranking_space(snapshot: Snapshot, asked: str | None, given: Sequence[str] | None) -> str:
    """Return the space to rank in: as asked, the newest of those given, or the only one."""
    candidates = tuple(snapshot.spaces) if given is None else tuple(given)
    records = {name: snapshot.space(name) for name in candidates}
    if asked is not None:
        if snapshot.space(asked).space.name not in records:
            raise InvalidArgumentError(
                f"ranking in space {asked!r} needs query vectors for it; got vectors for "
                f"{', '.join(map(repr, records)) or 'no space'}"
            )
        return asked
    if given is not None and records:
        return max(records, key=lambda name: records[name].generation)
    if len(records) == 1:
        return next(iter(records))
    raise InvalidArgumentError(
        "say which space the query vectors belong to with space=; the collection has "
        f"{', '.join(map(repr, snapshot.spaces)) or 'none yet, see create_space'}"
    )


def checked_count(k: int | None, limit: int | None) -> int:
    """Return the number of hits wanted: k or limit, by default 10."""
    if k is not None and limit is not None:
        raise InvalidArgumentError("k and limit are two names of one argument; pass one of them")
    return _positive(k if k is not None else limit if limit is not None else 10, "k")


def checked_depth(encoder: Encoder | None, depth: int | None) -> int:
    """Return the depth of a cascade, 0 without one."""
    if (encoder is None) != (depth is None):
        raise InvalidArgumentError("a cascade needs both encoder= and depth=; got one of them")
    return 0 if depth is None else _positive(depth, "depth")


def checked_rescore_depth(depth: int | None) -> int | None:
    """Return the depth of a rescored shortlist, None for the default."""
    return None if depth is None else _positive(depth, "rescore_depth")


def _positive(number: object, what: str) -> int:
    """Return a count between 1 and MAX_K."""
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise InvalidArgumentError(f"expected {what} to be an integer, got {number!r}")
    if not 1 <= number <= MAX_K:
        raise InvalidArgumentError(f"expected 1 <= {what} <= {MAX_K:,}, got {number}")
    return int(number)
