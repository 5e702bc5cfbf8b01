"""ListIndex: what the kinds that are nothing but inverted lists have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vecstore.indexes.base import Answer, Index
from vecstore.indexes.faiss_body import FaissBody, MakeParameters
from vecstore.indexes.lists import (
    plain_parameters,
    scan_beats_lists,
    search_lists,
    settle_lists,
)
from vecstore.indexes.parameters import ParameterValue
from vecstore.rows import RowSet

__all__ = ["ListIndex"]


class ListIndex(Index[FaissBody]):
    """Inverted lists of vectors, or of codes where its scores are not exact."""

    exact = False
    supports_filter = True

    @classmethod
    def _settle(
        cls, parameters: Mapping[str, ParameterValue], rows: int, dim: int
    ) -> Mapping[str, ParameterValue]:
        return settle_lists(parameters, rows)

    def _scan_pays(
        self, n_queries: int, eligible: int, settings: Mapping[str, ParameterValue]
    ) -> bool:
        if super()._scan_pays(n_queries, eligible, settings):
            return True
        return not self.exact_scores and scan_beats_lists(eligible, settings, n_queries=n_queries)

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: RowSet | None,
        eligible: int,
        settings: Mapping[str, ParameterValue],
    ) -> Answer:
        return search_lists(
            self._body,
            queries,
            k,
            allowed,
            eligible=eligible,
            total=len(self),
            settings=settings,
            search_parameters=self._faiss_parameters(settings),
            coded=not self.exact_scores,
            device=str(settings["device"]) if "device" in settings else None,
        )

    def _faiss_parameters(self, settings: Mapping[str, ParameterValue]) -> MakeParameters:
        """Return what makes FAISS's parameters of a search."""
        return plain_parameters
