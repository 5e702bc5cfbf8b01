"""Judging a translation by what it retrieves: exact ranking, metrics and intervals.

Rankings are computed exactly, in blocks, by numpy alone; metrics return one value per query
so that any two methods can be compared pairwise by bootstrap.
"""

from vecstore_translators.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    paired_bootstrap,
)
from vecstore_translators.evaluation.metrics import mrr, ndcg_at_k, overlap_at_k, recall_at_k
from vecstore_translators.evaluation.ranking import top_k

__all__ = [
    "Interval",
    "bootstrap_interval",
    "mrr",
    "ndcg_at_k",
    "overlap_at_k",
    "paired_bootstrap",
    "recall_at_k",
    "top_k",
]
