"""What the contract of an index kind is checked on: clustered rows, their true scores, masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import VecstoreError
from vecstore.indexes.base import Answer, Index
from vecstore.indexes.blocks import Block, BlockMetric
from vecstore.indexes.originals import Originals
from vecstore.indexes.parameters import ParameterValue
from vecstore.rows import RowSet

__all__ = [
    "METRICS",
    "RECALL",
    "Case",
    "IndexClass",
    "K",
    "built",
    "found_by",
    "make_case",
    "refused",
    "subset",
    "ways",
]

IndexClass = type[Index[Any]]

METRICS: tuple[BlockMetric, ...] = ("ip", "l2")
RECALL = 0.95
K = 10


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Clustered rows with scattered ids, queries near them, and the true scores."""

    metric: BlockMetric
    row_ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    scores: NDArray[np.float64]

    @property
    def blocks(self) -> list[Block]:
        """The rows in three blocks of unequal size."""
        parts = np.split(np.arange(len(self.vectors)), [100, len(self.vectors) // 2])
        return [Block(row_ids=self.row_ids[part], vectors=self.vectors[part]) for part in parts]

    @property
    def originals(self) -> Originals:
        """The vectors by which compressed kinds rank their candidates."""
        return Originals(self.blocks)

    def score_of(self, row_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the true scores of found ids, of which none may be missing."""
        columns = np.searchsorted(self.row_ids, row_ids)
        assert np.array_equal(self.row_ids[columns], row_ids), "an id that was never given"
        return np.take_along_axis(self.scores[: len(row_ids)], columns, axis=1)

    def recall(self, row_ids: NDArray[np.int64], allowed: RowSet | None = None) -> float:
        """Share of found rows that are as good as the true k-th one."""
        scores = self.scores
        if allowed is not None:
            scores = np.where(allowed.contains(self.row_ids), scores, -np.inf)
        k = row_ids.shape[1]
        worst = -np.partition(-scores, k - 1, axis=1)[:, [k - 1]]
        return float((self.score_of(row_ids) >= worst - 1e-5).mean())


def make_case(metric: BlockMetric, *, n: int = 2000, dim: int = 24, seed: int = 7) -> Case:
    """Draw a case; unit vectors for "ip", as in a cosine space."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dim))
    vectors = centres[rng.integers(40, size=n)] + 0.6 * rng.standard_normal((n, dim))
    queries = vectors[rng.choice(n, 50, replace=False)] + 0.3 * rng.standard_normal((50, dim))
    if metric == "ip":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    single = vectors.astype(np.float32), queries.astype(np.float32)
    vectors, queries = single[0].astype(np.float64), single[1].astype(np.float64)
    # Far beyond n and with gaps, so that a position taken for an id is caught.
    row_ids = np.sort(rng.choice(3_000_000, n, replace=False)) + 5_000_000
    scores = queries @ vectors.T
    if metric == "l2":
        scores = -np.square(queries[:, None, :] - vectors[None, :, :]).sum(axis=2)
    return Case(metric=metric, row_ids=row_ids, vectors=single[0], queries=single[1], scores=scores)


def built(kind: IndexClass, case: Case) -> Index[Any]:
    """Build with default parameters."""
    return kind.build(case.blocks, dim=case.vectors.shape[1], metric=case.metric)


def found_by(index: Index[Any], case: Case, n: int, k: int = K, **options: Any) -> Answer:
    """Search for the case's first n queries; compressed kinds rank by the case's vectors."""
    return index.search(case.queries[:n], k, originals=case.originals, **options)


def refused(
    error: type[VecstoreError], call: Callable[..., object], *args: Any, **options: Any
) -> None:
    """Assert that the call raises the named error, with a message."""
    message = None
    try:
        call(*args, **options)
    except error as refusal:
        message = str(refusal)
    assert message is not None, f"{error.__name__} was not raised"
    assert len(message) > 20, "a refusal must say what to do"


def subset(case: Case, share: float) -> RowSet:
    """Draw allowed rows, among ids that the index does not have."""
    rng = np.random.default_rng(11)
    chosen = rng.choice(case.row_ids, max(1, round(share * len(case.row_ids))), replace=False)
    strangers = np.setdiff1d(np.array([0, 17, 8_500_000]), case.row_ids)
    return RowSet.of(np.concatenate([chosen, strangers]))


def ways(kind: IndexClass) -> list[dict[str, ParameterValue]]:
    """List the defaults, then every choice of every search parameter that offers some."""
    ways: list[dict[str, ParameterValue]] = [{}]
    for spec in kind.specs:
        ways += [{spec.name: choice} for choice in spec.choices if spec.when == "search"]
    return ways
