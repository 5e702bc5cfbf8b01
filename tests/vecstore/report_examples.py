"""Assessments made by hand, with the figures of one that was measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from vecstore.upgrade.assessment import (
    Cost,
    CoveragePoint,
    Pictures,
    Recommendation,
    UpgradeAssessment,
    UpgradeOption,
)
from vecstore_translators import Interval

ITEMS, PAIRS = 7_000, 500
WEIGHT = 6.0
# name, title, nDCG@10, documents before the first query, documents for each query
FIGURES = [
    ("stay", "keep the old model", 0.478, 0, 0),
    ("stay+lexical", "keep the old model, and words", 0.812, 0, 0),
    ("naive", "naive swap", 0.003, 0, 0),
    ("query-side", "translate the query", 0.240, PAIRS, 0),
    ("forward", "translate the documents", 0.250, PAIRS, 0),
    ("forward+lexical", "translate the documents, and words", 0.830, PAIRS, 0),
    ("cascade@20", "translate, cascade of 20", 0.440, PAIRS, 20),
    ("cascade@20+lexical", "translate, cascade of 20, and words", 0.867, PAIRS, 20),
    ("cascade@50", "translate, cascade of 50", 0.560, PAIRS, 50),
    ("cascade@50+lexical", "translate, cascade of 50, and words", 0.874, PAIRS, 50),
    ("re-embed", "re-embed everything", 0.789, ITEMS, 0),
    ("re-embed+lexical", "re-embed everything, and words", 0.877, ITEMS, 0),
]


def interval(mean: float, half: float = 0.017) -> Interval:
    return Interval(mean=mean, low=mean - min(half, abs(mean)), high=mean + half, confidence=0.95)


def options(
    *, price: float | None = 0.02, items: int = ITEMS, pairs: int = PAIRS
) -> tuple[UpgradeOption, ...]:
    """Return the options of a collection of that size that still has to embed so many pairs."""
    costs = {0: 0, PAIRS: pairs, ITEMS: items}
    return tuple(
        UpgradeOption(
            name=name,
            title=title,
            quality=interval(quality),
            gain=None if name == "stay" else interval(quality - 0.478, 0.015),
            cost=Cost(
                documents=documents,
                documents_per_query=float(per_query),
                tokens=documents * 92,
                seconds=documents / 61,
                price=None if price is None else documents * 92 / 1e6 * price,
            ),
            weight=WEIGHT if name.endswith("+lexical") else None,
        )
        for name, title, quality, documents, per_query in (
            (*figure[:3], costs[figure[3]], figure[4]) for figure in FIGURES
        )
    )


def pictures(n: int = 300, scores: int = 400) -> Pictures:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 2)) * (0.28, 0.2)
    group = rng.integers(0, 5, n)
    new = centres[group] + rng.normal(size=(n, 2)) * 0.06
    old = (rng.normal(size=(5, 2)) * 0.8)[group] + rng.normal(size=(n, 2)) * 0.3
    translated = 0.8 * new + rng.normal(size=(n, 2)) * 0.05
    native = np.where(
        np.arange(scores) % 2 == 0, rng.beta(9, 5, scores), rng.normal(0.05, 0.08, scores)
    )
    by_translation = 0.12 + 0.75 * native + rng.normal(size=scores) * 0.07

    def points(values: np.ndarray) -> list[tuple[float, float]]:
        return [(round(float(x), 4), round(float(y), 4)) for x, y in values]

    return Pictures(
        translated_scores=[round(float(v), 4) for v in by_translation],
        native_scores=[round(float(v), 4) for v in native],
        old=points(old),
        new=points(new),
        translated=points(translated),
    )


def coverage(source: str, target: str) -> tuple[CoveragePoint, ...]:
    start = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    history = [
        (0, source, 2_600), (6, source, 5_100), (13, source, ITEMS),
        (34, target, 500), (37, target, 640), (40, target, 1_120), (44, target, 1_390),
    ]  # fmt: skip
    return tuple(
        CoveragePoint(
            at=start + timedelta(days=day), version=i + 1, space=space, native=native, items=ITEMS
        )
        for i, (day, space, native) in enumerate(history)
    )


def assessment(
    *,
    recommended: str = "cascade@50+lexical",
    collection: str = "debian",
    source: str = "ft200",
    target: str = "minilm",
    **changes: Any,
) -> UpgradeAssessment:
    found = changes.pop("options", None) or options()
    chosen = next(option for option in found if option.name == recommended)
    values: dict[str, Any] = {
        "collection": collection,
        "version": 7,
        "source": source,
        "target": target,
        "metric": "ndcg",
        "k": 10,
        "asked": "your queries with their judgements",
        "items": ITEMS,
        "pairs": PAIRS,
        "sample": 2_000,
        "queries": 750,
        "family": "ridge",
        "options": found,
        "recommendation": Recommendation(
            option=recommended,
            reason="it reaches 0.874 nDCG@10, a full re-embed 0.877, the old model 0.478; "
            "7.1% of the items are embedded before the first query, and at most 50 documents "
            "for each",
            retention=chosen.quality.mean / 0.877,
            weight=chosen.weight,
        ),
        "coverage": coverage(source, target),
        "pictures": pictures(),
        "seconds": 41.7,
    }
    return UpgradeAssessment(**(values | changes))
