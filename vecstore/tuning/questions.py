"""The queries that an index is tuned on: those that will come, as far as they are known.

Recall depends on the queries. Those translated from another model lie outside the distribution
of the documents that they are compared with, and an index tuned on documents promises them
more than it keeps. So given queries are taken first, then those that a space was asked lately in
this process; else documents ask, those of other models through the route that their queries will
take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import InvalidArgumentError
from vecstore.search.execute import transposed
from vecstore.search.plan import shortest_route
from vecstore.search.views import View, unit_rows
from vecstore.snapshot import Snapshot
from vecstore.translation import Translators

__all__ = ["GivenQueries", "Questions", "RecentOf", "coming_questions"]

GivenQueries: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
"""Vectors of the space that is ranked in, or vectors by space; others are translated."""

RecentOf: TypeAlias = Callable[[str], NDArray[np.float32] | None]
"""From the id of a space to queries that it was asked."""

SAMPLE = 400
LEAST_RECENT = 100
"""Different recent queries of a space from which they are asked instead of its documents."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Questions:
    """Queries in the form that a view is searched with.

    Attributes
    ----------
    vectors : ndarray of shape (n, d), float32
        In random order.
    own : ndarray of shape (n,), int64
        The row of the document that asks, which is no answer to itself; -1 for queries.
    origin : str
        What they are, in words.
    """

    vectors: NDArray[np.float32]
    own: NDArray[np.int64]
    origin: str

    def __len__(self) -> int:
        return len(self.vectors)


def coming_questions(
    snapshot: Snapshot,
    view: View,
    given: GivenQueries | None,
    translators: Translators,
    *,
    recent: RecentOf | None = None,
    seed: int = 0,
) -> Questions:
    """Return the queries given, or recent ones, or documents in their place; none without rows.

    Parameters
    ----------
    recent : callable, optional
        Gives the queries a space was asked lately, ndarray of shape (n, dim), or None.

    Raises
    ------
    InvalidArgumentError
        Queries of a space that no translator joins to the index's, or no queries at all.
    DimensionMismatchError, NonFiniteError
        The vectors do not fit their space.
    """
    rng = np.random.default_rng(seed)
    parts, phrases = (
        _known(snapshot, view, translators, recent or (lambda _: None), rng)
        if given is None
        else _given(snapshot, view, given, translators)
    )
    vectors = np.concatenate([np.empty((0, view.dim), np.float32), *(part for part, _ in parts)])
    own = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in parts)])
    chosen = rng.permutation(len(vectors))[: max(SAMPLE, 0)]
    return Questions(vectors=vectors[chosen], own=own[chosen], origin=" and ".join(phrases))


_Part = tuple[NDArray[np.float32], NDArray[np.int64]]


def _given(
    snapshot: Snapshot, view: View, given: GivenQueries, translators: Translators
) -> tuple[list[_Part], list[str]]:
    """Take the caller's queries, each space's in the form the view is searched with."""
    target = view.target.name
    by_space = dict(given) if isinstance(given, Mapping) else {target: given}
    parts: list[_Part] = []
    phrases = []
    for name, rows in by_space.items():
        record = snapshot.space(name)
        queries = record.space.prepare_queries(np.atleast_2d(np.asarray(rows)))
        phrase = f"{len(queries):,} given queries"
        if name != target:
            mapped = _translated(snapshot, view, name, queries, translators)
            if mapped is None:
                raise InvalidArgumentError(
                    f"queries of space {name!r} do not search this index: no translator of one "
                    f"step or more joins {name!r} and {target!r}; leave them out, or fit one"
                )
            queries, phrase = mapped, f"{phrase} of {name!r}, translated"
        parts.append((view.queries(queries), np.full(len(queries), -1, np.int64)))
        phrases.append(phrase)
    if not sum(len(queries) for queries, _ in parts):
        raise InvalidArgumentError("expected at least one query to tune on, got none")
    return parts, phrases


def _known(
    snapshot: Snapshot,
    view: View,
    translators: Translators,
    recent: RecentOf,
    rng: np.random.Generator,
) -> tuple[list[_Part], list[str]]:
    """Let recent queries ask, or documents that have native vectors where queries come from."""
    target = view.target.name
    parts: list[_Part] = []
    phrases = []
    queries, own, phrase = _asking(snapshot, target, recent, rng)
    if len(queries):
        parts.append((view.queries(queries), own))
        phrases.append(phrase)
    elif view.form != "native":  # nobody has been embedded by the new model yet
        rows = _sample(snapshot, view.record.space.name, SAMPLE, rng)
        assert view.translator is not None
        queries = view.translator.translate(snapshot.gather(view.record.space.name, rows))
        queries = unit_rows(queries) if view.target.normalised else queries
        parts.append((view.queries(queries), rows))
        phrases.append(f"translated documents of {view.record.space.name!r} as queries")
    if view.form == "native":
        for name in snapshot.spaces:
            if name == target:
                continue
            queries, own, phrase = _asking(snapshot, name, recent, rng)
            mapped = None
            if len(queries):
                mapped = _translated(snapshot, view, name, queries, translators)
            if mapped is not None:
                parts.append((view.queries(mapped), own))
                phrases.append(f"{phrase}, translated")
    return parts, phrases


def _asking(
    snapshot: Snapshot, space: str, recent: RecentOf, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64], str]:
    """Return what a space is likely to be asked, the rows of documents that ask, and a phrase."""
    known = recent(snapshot.space(space).id)
    if known is not None:
        known = np.unique(known, axis=0)  # one query asked again and again is one query
        if len(known) >= LEAST_RECENT:
            chosen = rng.permutation(len(known))[:SAMPLE]
            none = np.full(len(chosen), -1, np.int64)
            return known[chosen], none, f"{len(chosen):,} recent queries of {space!r}"
    rows = _sample(snapshot, space, SAMPLE, rng)
    return snapshot.gather(space, rows), rows, f"documents of {space!r} in the place of queries"


def _sample(
    snapshot: Snapshot, space: str, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    rows = snapshot.native(space).to_array()
    return rows if len(rows) <= count else np.sort(rng.choice(rows, count, replace=False))


def _translated(
    snapshot: Snapshot,
    view: View,
    name: str,
    queries: NDArray[np.float32],
    translators: Translators,
) -> NDArray[np.float32] | None:
    """Bring queries of another space to a native view's, as a search would; None if none does."""
    if view.form != "native":
        return None
    target = view.target
    route = shortest_route(snapshot, name, target.name)
    if route:
        mapped = translators.route(route)[0].translate(queries)
        return unit_rows(mapped) if target.normalised else mapped
    route = shortest_route(snapshot, target.name, name)
    if not route or snapshot.space(name).space.metric != target.metric:
        return None
    forward = translators.route(route)[0]  # a rescored search shortlists by its transpose
    return None if forward.affine is None else transposed(forward, queries, view)
