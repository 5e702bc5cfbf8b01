"""Choosing a translator by what it retrieves on pairs it has not seen.

Every candidate is fitted on the same folds and judged by the same held-out queries. Among
those that cannot be told from the best, the cheapest wins; it is then fitted on all pairs.
The result carries what an honest report needs: the old model kept, the naive swap, and the
same method fitted on shuffled pairs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import Translator, TranslatorFamily
from vecstore_translators.errors import (
    InvalidArgumentError,
    TooFewPairsError,
)
from vecstore_translators.evaluation import (
    Interval,
    bootstrap_interval,
    paired_bootstrap,
)
from vecstore_translators.memory import traced_peak
from vecstore_translators.registry import families as registered_families
from vecstore_translators.trial import Side, Trial
from vecstore_translators.validation import (
    Metric,
    as_pairs,
    check_at_least,
    check_metric,
    require_finite,
    unit_rows,
)

MIN_PAIRS = 20
"""With fewer pairs no held-out figure means anything."""

_CLEARLY_ABOVE_CHANCE = 0.05


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """How one family did on held-out pairs.

    Parameters
    ----------
    family : TranslatorFamily
    score : float
        Mean held-out overlap@k; larger is better.
    standard_error : float
        Of that mean, over queries.
    behind_best : float
        Mean paired difference to the best candidate's score, >= 0 up to ties.
    behind_best_error : float
        Standard error of that difference: what the one-standard-error rule compares with.
    tuned : TranslatorFamily
        The family with the hyper-parameters chosen for it.
    seconds : float
        Time to tune it, and to fit and judge it on all folds.
    peak_bytes : int
        Most memory that held at once, beyond the pairs themselves.
    """

    family: TranslatorFamily
    score: float
    standard_error: float
    behind_best: float
    behind_best_error: float
    tuned: TranslatorFamily
    seconds: float
    peak_bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selected translator and the evidence for it.

    All scores are overlap@k on held-out pairs: the share of a query's k nearest documents
    under the target model that the method finds too. Larger is better.

    Parameters
    ----------
    translator : Translator
        The winner, fitted on all pairs.
    family : TranslatorFamily
        The family that won.
    candidates : tuple of Candidate
        Every family tried, best first.
    skipped : tuple of str
        Families that cannot fit these pairs, with the reason.
    quality : Interval
        Score of the winner.
    status_quo : Interval or None
        Score of keeping the source model: source queries over source documents. None where
        queries were given without their source vectors.
    gain : Interval or None
        Paired gain of the winner over the status quo.
    naive_swap : Interval or None
        Score of comparing across the spaces without a translator; None if dimensions differ.
    shuffled_pairs : Interval
        Score of the winner fitted and judged on wrongly paired rows: what chance reaches.
    side : {"documents", "queries"}
        What the translator is applied to.
    metric : {"cosine", "ip", "l2"}
    k : int
    n_pairs, n_documents, n_queries : int
        Pairs given; held-out documents ranked; queries that ranked them.
    seconds : float
        Time of the whole selection.
    """

    translator: Translator
    family: TranslatorFamily
    candidates: tuple[Candidate, ...]
    skipped: tuple[str, ...]
    quality: Interval
    status_quo: Interval | None
    gain: Interval | None
    naive_swap: Interval | None
    shuffled_pairs: Interval
    side: Side
    metric: Metric
    k: int
    n_pairs: int
    n_documents: int
    n_queries: int
    seconds: float

    @property
    def aligned(self) -> bool:
        """Whether the winner found more than chance.

        Its interval must lie above that of shuffled pairs by a twentieth of the way to a
        perfect score: the best of several candidates on noise is a little above chance.
        """
        chance = self.shuffled_pairs.high
        return self.quality.low > chance + _CLEARLY_ABOVE_CHANCE * (1 - chance)


def select_translator(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    families: Iterable[TranslatorFamily] | None = None,
    metric: Metric = "cosine",
    side: Side = "documents",
    queries: ArrayLike | None = None,
    source_queries: ArrayLike | None = None,
    k: int = 10,
    folds: int = 5,
    seed: int = 0,
) -> Selection:
    """Fit the best translator for pairs, judged by held-out retrieval.

    Parameters
    ----------
    X : array_like of shape (n, d_s), float16, float32 or float64
        Native source vectors; 20 pairs at least, some hundreds to be useful.
    Y : array_like of shape (n, d_t), float16, float32 or float64
        Native target vectors of the same items, in the same order.
    families : iterable of TranslatorFamily, optional
        Candidates; by default the members of the registry that are fast to fit, which leaves
        out what trains a network.
    metric : {"cosine", "ip", "l2"}
        How vectors compare, in both spaces.
    side : {"documents", "queries"}
        What will be translated. "documents": a forward map, X of the old model into Y of the
        new one; queries are native in the target space. "queries": the map carries queries
        of the new model (X) onto native documents of the old one (Y).
    queries : array_like of shape (q, d), optional
        Real query vectors by the new model (d = d_t for "documents", d_s for "queries").
        Without them held-out documents are the queries.
    source_queries : array_like of shape (q, d_s), optional
        For "documents" only: the same queries by the old model, for the status quo.
    k : int
        Neighbours counted.
    folds : int
        Held-out folds, at least 2.
    seed : int

    Returns
    -------
    Selection

    Raises
    ------
    TooFewPairsError
        Fewer than 20 pairs.
    UnpairedRowsError, InvalidVectorsError, NonFiniteError
        X and Y are not pairs of finite vectors, or hold zero vectors under cosine.
    InvalidArgumentError
        No candidate can fit these pairs.

    Notes
    -----
    Each candidate's hyper-parameters are chosen once, by held-out retrieval. Then each held-out
    document is mapped by a fit that has not seen it, all of them form one pool, and queries
    rank that pool (Stone, "Cross-validatory choice", 1974). Candidates within one
    standard error of the best, of the *paired* difference, count as equal (Breiman et al.,
    "Classification and Regression Trees", 1984, section 3.4.3, there unpaired). Beyond 2,000
    pairs a random 2,000 are held out; beyond 100,000 candidates are compared on fits to a
    random 100,000 and the winner is fitted on all.
    """
    began = time.perf_counter()
    check_metric(metric)
    if side not in ("documents", "queries"):
        raise InvalidArgumentError(f"side: expected 'documents' or 'queries', got {side!r}")
    check_at_least(k, 1, name="k")
    check_at_least(folds, 2, name="folds")
    source, target = as_pairs(X, Y, min_pairs=1, finite=False)
    if len(source) < MIN_PAIRS:
        raise TooFewPairsError(
            f"expected at least {MIN_PAIRS} pairs to judge a translator on, got {len(source)}; "
            "embed more items with both models, some hundreds to be useful"
        )
    if metric == "cosine" and side == "documents":
        # Only directions count in the target space; other lengths would weight the pairs.
        require_finite(target, name="Y")
        target = unit_rows(target)
    trial = Trial.prepare(
        source, target, metric, side, queries, source_queries, k=k, folds=folds, seed=seed
    )
    fitting, skipped = _able(families, trial)
    answers = [_answer(trial, family) for family in fitting]
    candidates = _compared(answers)
    winner = _cheapest_of_equals(candidates)
    own = answers[fitting.index(winner.family)].scores
    status_quo = trial.status_quo()
    swapped = trial.naive_swap()
    return Selection(
        translator=winner.tuned.fit(source, target, metric=metric, seed=seed),
        family=winner.family,
        candidates=candidates,
        skipped=skipped,
        quality=bootstrap_interval(own, seed=seed),
        status_quo=None if status_quo is None else bootstrap_interval(status_quo, seed=seed),
        gain=None if status_quo is None else paired_bootstrap(own, status_quo, seed=seed),
        naive_swap=None if swapped is None else bootstrap_interval(swapped, seed=seed),
        shuffled_pairs=bootstrap_interval(trial.shuffled(winner.tuned), seed=seed),
        side=side,
        metric=metric,
        k=k,
        n_pairs=len(source),
        n_documents=len(trial.pool),
        n_queries=len(trial.queries),
        seconds=time.perf_counter() - began,
    )


def _able(
    families: Iterable[TranslatorFamily] | None, trial: Trial
) -> tuple[list[TranslatorFamily], tuple[str, ...]]:
    """Return the candidates that can fit these pairs, and why the others cannot."""
    if families is None:
        families = [
            candidate
            for family in registered_families().values()
            if family.by_default
            for candidate in family.candidates()
        ]
    able: list[TranslatorFamily] = []
    skipped: list[str] = []
    available = trial.fewest_training_pairs
    for family in families:
        try:
            family.check_dims(trial.source.shape[1], trial.target.shape[1])
        except ValueError as error:
            skipped.append(str(error))
            continue
        if available < family.min_pairs:
            skipped.append(
                f"{family.label} needs {family.min_pairs} pairs, a fold leaves {available}"
            )
        elif family not in able:
            able.append(family)
    if not able:
        raise InvalidArgumentError(
            "families: expected one that can fit these pairs, got none: "
            + ("; ".join(skipped) or "no families were given")
        )
    return able, tuple(skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What one family scored on every question, and what that cost."""

    family: TranslatorFamily
    tuned: TranslatorFamily
    scores: NDArray[np.float64]
    seconds: float
    peak_bytes: int


def _answer(trial: Trial, family: TranslatorFamily) -> _Answer:
    """Tune a family, put it on trial and measure both."""
    began = time.perf_counter()
    with traced_peak() as peak:
        tuned = trial.tuned(family)
        scores = trial.score(tuned)
    return _Answer(
        family=family,
        tuned=tuned,
        scores=scores,
        seconds=time.perf_counter() - began,
        peak_bytes=peak(),
    )


def _compared(answers: list[_Answer]) -> tuple[Candidate, ...]:
    """Return the table of candidates, best first."""
    best = max((answer.scores for answer in answers), key=lambda values: float(values.mean()))
    rows = [
        Candidate(
            family=answer.family,
            score=float(answer.scores.mean()),
            standard_error=_standard_error(answer.scores),
            behind_best=float((best - answer.scores).mean()),
            behind_best_error=_standard_error(best - answer.scores),
            tuned=answer.tuned,
            seconds=answer.seconds,
            peak_bytes=answer.peak_bytes,
        )
        for answer in answers
    ]
    return tuple(sorted(rows, key=lambda row: (-row.score, row.family.cost, row.family.label)))


def _cheapest_of_equals(candidates: tuple[Candidate, ...]) -> Candidate:
    """Return the cheapest candidate within one standard error of the best; then the best."""
    equals = [row for row in candidates if row.behind_best <= row.behind_best_error]
    return min(equals, key=lambda row: (row.family.cost, -row.score))


def _standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean over queries."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
