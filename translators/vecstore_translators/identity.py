"""The identity: the map for spaces that already agree, and the naive swap elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import AffineFamily
from vecstore_translators.statistics import PairStatistics


@final
@dataclass(frozen=True, slots=True)
class Identity(AffineFamily):
    """F(x) = x, for spaces of equal dimension.

    Right for two generations that share a basis (a fine-tuned model and its parent), and the
    control for all others. Never pads or cuts: other dimensions are refused.
    """

    name: ClassVar[str] = "identity"
    cost: ClassVar[float] = 0.0
    min_pairs: ClassVar[int] = 0
    recovers: ClassVar[frozenset[str]] = frozenset({"identity"})
    equal_dims_only: ClassVar[bool] = True

    def fit_statistics(
        self, statistics: PairStatistics, folds: Sequence[PairStatistics] | None = None
    ) -> AffineTranslator:
        """Return the identity of the statistics' dimension; see :class:`AffineFamily`."""
        self.check_dims(statistics.source_dim, statistics.target_dim)
        d = statistics.source_dim
        return AffineTranslator(
            np.eye(d, dtype=np.float32), np.zeros(d, dtype=np.float32), self.name
        )
