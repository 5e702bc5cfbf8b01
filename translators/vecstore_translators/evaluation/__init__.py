"""Judging a translation by what it retrieves: exact ranking, metrics and intervals.

Rankings are computed exactly, in blocks, by numpy alone; metrics return one value per query
so that any two methods can be compared pairwise by bootstrap.
"""

from vecstore_translators.evaluation.compatibility import (
    CompatibilityMatrix,
    compatibility_matrix,
    negative_flips,
)
from vecstore_translators.evaluation.controls import naive_swap, old_model_kept, shuffled_pairs
from vecstore_translators.evaluation.discrimination import auroc
from vecstore_translators.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    paired_bootstrap,
)
from vecstore_translators.evaluation.metrics import mrr, ndcg_at_k, overlap_at_k, recall_at_k
from vecstore_translators.evaluation.ranking import top_k
from vecstore_translators.evaluation.ratio import RecallRatio, recall_ratio

__all__ = [
    "CompatibilityMatrix",
    "Interval",
    "RecallRatio",
    "auroc",
    "bootstrap_interval",
    "compatibility_matrix",
    "mrr",
    "naive_swap",
    "ndcg_at_k",
    "negative_flips",
    "old_model_kept",
    "overlap_at_k",
    "paired_bootstrap",
    "recall_at_k",
    "recall_ratio",
    "shuffled_pairs",
    "top_k",
]
