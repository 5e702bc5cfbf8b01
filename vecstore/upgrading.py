"""Upgrading: what joins a collection's generations and moves it from one to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecstore import definitions
from vecstore.fitting import MAX_PAIRS, Side, TranslatorReport, fit_pairs, store_fit
from vecstore.writing import Writable
from vecstore_translators import TranslatorFamily

__all__ = ["Upgradable"]


class Upgradable(Writable):
    """What can be done about the generations of a collection."""

    def fit_translator(
        self,
        *,
        source: str,
        target: str,
        side: Side = "documents",
        family: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None = None,
        queries: NDArray[np.float32] | None = None,
        max_pairs: int = MAX_PAIRS,
        seed: int = 0,
    ) -> TranslatorReport:
        """Fit a translator on the items that have vectors in both spaces, and store it.

        Parameters
        ----------
        source, target : str
            The direction of the map.
        side : {"documents", "queries"}
            "documents": a forward map of old documents (source) into the new space (target).
            "queries": a map of new queries (source) into the old space (target).
        family : str, TranslatorFamily or sequence of them, optional
            What to choose from by held-out retrieval; by default every registered family.
        queries : ndarray of shape (n, dim), optional
            Real query vectors by the new model; without them held-out documents ask.
        max_pairs : int
            A seeded sample is used where there are more pairs.

        Raises
        ------
        InvalidArgumentError
            Fewer than 20 items have vectors in both spaces.
        """
        fit = fit_pairs(
            self.latest().snapshot,
            source=source,
            target=target,
            side=side,
            families=family,
            queries=queries,
            max_pairs=max_pairs,
            seed=seed,
        )
        record = store_fit(fit, self._root, self._record.directory)
        self._commit(definitions.add_translator(record, fit.spaces))
        return fit.report(record.id)

    def drop_translator(self, translator_id: str) -> None:
        """Forget a translator; searches stop using it with this commit."""
        self._commit(definitions.remove_translator(translator_id))
