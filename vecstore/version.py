"""OpenVersion: one version of a collection with everything a search of it keeps open."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, final

from vecstore.catalog import IndexRecord
from vecstore.encoders import Encoders
from vecstore.errors import VecstoreError
from vecstore.index_files import IndexFiles
from vecstore.lexical import DEFAULT_LANGUAGE, LexicalCache
from vecstore.search.execute import PreparedPlan
from vecstore.search.hybrid import DEFAULT_WEIGHT, Lexical
from vecstore.search.plain import PlainSearch
from vecstore.search.plan import Execution, make_plan
from vecstore.search.prepare import prepare
from vecstore.search.request import checked_lexical, ranking_space
from vecstore.snapshot import Snapshot
from vecstore.translation import Translators

__all__ = ["OpenVersion"]


@final
class OpenVersion:
    """A snapshot and its prepared plans. Thread-safe.

    A plan is prepared once for each form of search (spaces and execution) and then serves
    every query of that form: no SQL, no file opening, no planning on the way.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        translators: Translators,
        index_files: IndexFiles,
        indexes: tuple[IndexRecord, ...],
        encoders: Encoders,
        lexical: LexicalCache,
    ) -> None:
        self.snapshot = snapshot
        self.indexes = indexes
        self.encoders = encoders
        self._translators = translators
        self._index_files = index_files
        self._lexical = lexical
        self._lock = threading.Lock()
        self._plans: dict[Any, PreparedPlan] = {}
        self._plain: dict[object, PlainSearch | None] = {}

    def words(
        self, texts: Sequence[str] | None, weight: float | None, *, space: str | None = None
    ) -> Lexical | None:
        """Return what makes words count in a search of this version; None if they do not.

        The weight is the caller's, or that chosen for the ranking space, or the default.
        """
        if texts is None and weight is None:
            return None
        default = DEFAULT_WEIGHT
        if space is not None:
            weights = self.snapshot.state.lexical_weights
            default = weights.get(self.snapshot.space(space).id, default)
        weight = checked_lexical(weight, default=default)
        if texts is None or not weight:
            return None
        index = self._lexical.of(self.snapshot, language=DEFAULT_LANGUAGE)
        return Lexical(index=index, texts=texts, weight=weight)

    def prepared(
        self,
        target: str,
        query_spaces: Sequence[str],
        *,
        execution: Execution | None,
        rescore_depth: int | None = None,
        allow_partial: bool = False,
    ) -> PreparedPlan:
        """Return the plan for a form of search, opened."""
        key = (target, frozenset(query_spaces), execution, rescore_depth, allow_partial)
        with self._lock:
            prepared = self._plans.get(key)
        if prepared is None:
            plan = make_plan(
                self.snapshot,
                target=target,
                query_spaces=query_spaces,
                execution=execution,
                allow_partial=allow_partial,
            )
            prepared = prepare(
                plan,
                self.snapshot,
                translators=self._translators,
                indexes=self._index_files.open(self.indexes),
                rescore_depth=rescore_depth,
            )
            with self._lock:
                self._plans[key] = prepared
        return prepared

    def plain(self, space: object) -> PlainSearch | None:
        """Return the plain search of a space; None where there is none, or it is refused.

        Parameters
        ----------
        space : str or None
            As a search takes it; None for the space that a search ranks in by default.
        """
        try:
            return self._plain[space]
        except (KeyError, TypeError):  # not asked yet, or nothing that names a space
            pass
        if space is not None and not isinstance(space, str):
            return None
        try:
            target = ranking_space(self.snapshot, space, None)
            found = PlainSearch.of(self.prepared(target, (target,), execution=None))
        except VecstoreError:
            return None  # the general way says why, once it has looked at the query
        self._plain[space] = found
        return found
