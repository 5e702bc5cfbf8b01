"""Index: the interface that every acceleration structure keeps to when it is searched.

Arguments are checked here, so that a kind's own file is only what is particular to it.
Capabilities are declared as class attributes and refused by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import UnsupportedOperationError
from vecstore.indexes.exact import checked_k, checked_queries
from vecstore.indexes.filtered import FEW_ROWS, SCORE_ALL, widened
from vecstore.indexes.originals import Originals
from vecstore.indexes.parameters import ParameterValue, resolve_parameters
from vecstore.indexes.plans import Answer, BodyT, IndexBody, IndexPlan, Progress
from vecstore.indexes.stored import StoredIndex
from vecstore.indexes.topk import MISSING, merge_top_k
from vecstore.rows import RowSet

__all__ = ["Answer", "Index", "IndexBody", "IndexPlan", "Progress"]


class Index(StoredIndex[BodyT]):
    """An immutable structure that finds near rows. Searching is thread-safe.

    Attributes
    ----------
    exact : bool
        Whether it always returns the true nearest rows.
    exact_scores : bool
        Whether it holds the vectors it was built from, so that its scores are theirs. Other
        kinds find candidates by compressed codes, and give the vectors' scores where
        ``search`` is handed the :class:`Originals`.
    supports_filter : bool
        Whether ``allowed`` is honoured inside the search.
    """

    exact: ClassVar[bool]
    exact_scores: ClassVar[bool]
    supports_filter: ClassVar[bool]

    @final
    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        allowed: RowSet | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        originals: Originals | None = None,
    ) -> Answer:
        """Return each query's k best rows.

        Parameters
        ----------
        queries : array_like of shape (nq, d)
            Converted to float32.
        k : int
        allowed : RowSet, optional
            Only these rows are found; applied inside the search, not to its result.
        parameters : mapping, optional
            Search parameters that override the index's own, for this search.
        originals : Originals, optional
            The vectors of the rows, by which kinds without :attr:`exact_scores` rank
            ``refine_factor`` times k candidates, or, where a filter leaves few rows, all of
            them. Without, their scores are approximate.

        Returns
        -------
        scores : ndarray of shape (nq, k), float32
            Descending; larger is better; under "l2", minus the squared distance.
        row_ids : ndarray of shape (nq, k), int64
            Ties by ascending row id among those found. Places that no row fills are -1 with
            score minus infinity.

        Raises
        ------
        InvalidArgumentError
            ``k`` or a parameter is outside its domain.
        InvalidVectorsError
            Queries of another dimension, or not finite.
        UnsupportedOperationError
            ``allowed`` was given to a kind without :attr:`supports_filter`.
        """
        k = checked_k(k)
        rows = checked_queries(queries, self.dim)
        if allowed is not None:
            if not self.supports_filter:
                raise UnsupportedOperationError(
                    f"index kind {self.kind!r} has no filtered search (supports_filter is False); "
                    "search exactly, or build another kind"
                )
            allowed = allowed.within(self._members)
        settings = self._tuned(parameters) if parameters else None
        return self.nearest(rows, k, allowed=allowed, originals=originals, settings=settings)

    @final
    def nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allowed: RowSet | None = None,
        originals: Originals | None = None,
        settings: Mapping[str, ParameterValue] | None = None,
    ) -> Answer:
        """Do what :meth:`search` does, for a caller who has checked the arguments.

        Parameters
        ----------
        queries : ndarray of shape (nq, d), float32, C-contiguous
            Finite.
        k : int
            At least 1.
        allowed : RowSet, optional
            Of rows that the index covers; for a kind that supports filters.
        originals : Originals, optional
        settings : mapping, optional
            Every parameter's value; the index's own by default.
        """
        total, settings = len(self), settings or self.parameters
        eligible = total if allowed is None else len(allowed)
        if not eligible or not len(queries):
            empty = (len(queries), k)
            return np.full(empty, -np.inf, np.float32), np.full(empty, MISSING, np.int64)
        places = min(k, eligible)
        if eligible == total:
            allowed = None  # a mask that excludes nothing would only slow the search down
        else:
            settings = self._decided(len(queries), places, eligible, settings)
        if originals is None:
            return merge_top_k(*self._search(queries, places, allowed, eligible, settings), k)
        depth = self._depth(places, eligible, settings)
        scan = allowed is not None and self._scan_pays(len(queries), eligible, settings)
        if scan or eligible <= SCORE_ALL * depth:
            chosen = self._members if allowed is None else allowed
            return merge_top_k(*originals.rank_all(queries, k, chosen, self.metric), k)
        found = self._search(queries, depth or places, allowed, eligible, settings)
        return (
            originals.best(queries, found[1], k, self.metric) if depth else merge_top_k(*found, k)
        )

    @final
    def tuned(self, parameters: Mapping[str, ParameterValue]) -> Self:
        """Return this index with other defaults for its search parameters.

        Raises
        ------
        InvalidArgumentError
            A parameter is not one of a search, or outside its domain.
        """
        return type(self)(
            replace(self._plan, parameters=MappingProxyType(self._tuned(parameters))), self._body
        )

    def _tuned(self, parameters: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """Return all parameters, some search parameters replaced."""
        settings = dict(self.parameters)
        if parameters:
            tunable = tuple(spec for spec in self.specs if spec.when == "search")
            resolved = resolve_parameters(
                tunable, parameters, owner=f"a search of index kind {self.kind!r}"
            )
            settings.update({name: resolved[name] for name in parameters})
        return settings

    @cached_property
    def _members(self) -> RowSet:
        """The covered ids as a set, to count those that a filter leaves."""
        return RowSet.of(self._body.row_ids)

    def _decided(
        self, n_queries: int, k: int, eligible: int, settings: Mapping[str, ParameterValue]
    ) -> Mapping[str, ParameterValue]:
        """Return the settings of a filtered search with what depends on it decided."""
        return settings

    def _scan_pays(
        self, n_queries: int, eligible: int, settings: Mapping[str, ParameterValue]
    ) -> bool:
        """Return whether ranking all rows that a filter leaves is about as fast as searching.

        Asked under a filter only: an unfiltered search takes one way, alone as in the batches by
        which it is tuned.
        """
        return eligible <= FEW_ROWS

    def _depth(self, k: int, eligible: int, settings: Mapping[str, ParameterValue]) -> int:
        """Return how many candidates to rank by their own vectors; 0 if their scores are exact."""
        if self.exact_scores:
            return 0
        depth = widened(k * int(settings["refine_factor"]), eligible=eligible, total=len(self))
        return min(depth, eligible)

    @abstractmethod
    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        """Search; arguments are checked, at least one row is eligible, k at most all."""
