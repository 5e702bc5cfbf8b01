"""The questions that decide between candidates: who is held out, who asks, what is true.

One trial is prepared per selection and every candidate answers it, so that their scores can
be compared query by query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import AffineFamily, Translator, TranslatorFamily
from vecstore_translators.errors import InvalidArgumentError, UnpairedRowsError
from vecstore_translators.evaluation import overlap_at_k, top_k
from vecstore_translators.folds import held_out_folds
from vecstore_translators.statistics import PairStatistics
from vecstore_translators.validation import Metric, Vectors, as_vectors

Side: TypeAlias = Literal["documents", "queries"]
"""What a translator is applied to: old documents, or new queries."""

_POOL = 2000
_QUERIES = 1000
_TRAINING_ROWS = 100_000
_SHUFFLED_ROWS = 2000


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """The held-out questions all candidates answer: who is held out, who asks, what is true."""

    source: Vectors
    target: Vectors
    metric: Metric
    side: Side
    held_out: tuple[NDArray[np.int64], ...]
    pool: NDArray[np.int64]
    training: NDArray[np.int64]
    statistics: tuple[PairStatistics, ...]
    """Of the training rows without each fold: all that affine candidates need."""
    queries: Vectors
    """By the new model; one per question."""
    asking: NDArray[np.int64] | None
    """Places in the pool of the documents that serve as queries; None if queries were given."""
    old_queries: Vectors | None
    truth: NDArray[np.int64]
    k: int
    seed: int

    @classmethod
    def prepare(
        cls,
        source: Vectors,
        target: Vectors,
        metric: Metric,
        side: Side,
        queries: ArrayLike | None,
        source_queries: ArrayLike | None,
        *,
        k: int,
        folds: int,
        seed: int,
    ) -> Trial:
        """Draw the folds and rank the native truth."""
        held_out = held_out_folds(len(source), folds=folds, pool=_POOL, seed=seed)
        pool = np.concatenate(held_out)
        rng = np.random.default_rng([seed, 1])
        training = np.sort(rng.permutation(len(source))[: _TRAINING_ROWS + len(pool)])
        whole = PairStatistics.from_arrays(source, target, rows=training)
        seen = [np.intersect1d(training, rows, assume_unique=True) for rows in held_out]
        statistics = tuple(
            whole - PairStatistics.from_arrays(source, target, rows=rows) for rows in seen
        )
        old, new = (source, target) if side == "documents" else (target, source)
        old_queries: Vectors | None
        if queries is None:
            if source_queries is not None:
                raise InvalidArgumentError("source_queries: expected together with queries")
            asking = np.arange(0, len(pool), max(1, -(-len(pool) // _QUERIES)))
            asked, old_queries = new[pool[asking]], old[pool[asking]]
        else:
            asking = None
            asked = as_vectors(queries, dim=new.shape[1], name="queries")
            old_queries = None
            if source_queries is not None:
                old_queries = as_vectors(source_queries, dim=old.shape[1], name="source_queries")
                if len(old_queries) != len(asked):
                    raise UnpairedRowsError(
                        f"expected one source query per query, got {len(old_queries)} and "
                        f"{len(asked)}"
                    )
            if len(asked) == 0:
                raise InvalidArgumentError("queries: expected at least one, got none")
        truth, _ = top_k(asked, new[pool], k, metric=metric)
        return cls(
            source=source,
            target=target,
            metric=metric,
            side=side,
            held_out=held_out,
            pool=pool,
            training=training,
            statistics=statistics,
            queries=asked,
            asking=asking,
            old_queries=old_queries,
            truth=truth,
            k=k,
            seed=seed,
        )

    @property
    def fewest_training_pairs(self) -> int:
        """Pairs left for the smallest fit of any fold."""
        return min(
            len(self.training) - int(np.isin(self.training, rows).sum()) for rows in self.held_out
        )

    def score(self, family: TranslatorFamily) -> NDArray[np.float64]:
        """Return the overlap@k of every question, each answered without having seen it."""
        mapped: list[NDArray[np.float32]] = []
        answers: list[NDArray[np.float64]] = []
        for fold, rows in enumerate(self.held_out):
            translator = self._fit_without(family, fold)
            mapped.append(translator.translate(self.source[rows]))
            if self.side == "queries" and self.asking is None:
                answers.append(self._overlap(translator.translate(self.queries), self.native))
        if self.side == "documents":
            return self._overlap(self.queries, np.concatenate(mapped))
        if self.asking is None:
            # Given queries belong to no fold, so every fold's map answers all of them.
            return np.mean(answers, axis=0)  # type: ignore[no-any-return]
        return self._overlap(np.concatenate(mapped)[self.asking], self.native)

    def tuned(self, family: TranslatorFamily) -> TranslatorFamily:
        """Return the family with every hyper-parameter chosen on the training rows.

        Once for all folds: choosing anew within each costs folds times as much, and one choice
        among few, made by held-out retrieval itself, hardly flatters the scores.
        """
        return family.tuned(
            self.source[self.training],
            self.target[self.training],
            metric=self.metric,
            seed=self.seed,
        )

    def _fit_without(self, family: TranslatorFamily, fold: int) -> Translator:
        """Return the tuned family's fit to all training rows but those of one fold."""
        if isinstance(family, AffineFamily):
            return family.fit_statistics(self.statistics[fold])
        learn = np.setdiff1d(self.training, self.held_out[fold], assume_unique=True)
        return family.fit(
            self.source[learn], self.target[learn], metric=self.metric, seed=self.seed
        )

    @property
    def native(self) -> Vectors:
        """Native target vectors of the pool."""
        return self.target[self.pool]

    def shuffled(self, family: TranslatorFamily) -> NDArray[np.float64]:
        """Return the overlap of a fit to wrongly paired rows, judged on wrong rows too.

        One fit serves: with wrong pairs there is nothing about a held-out row to have seen.
        Judging wrong rows makes the control hold for families that do not use the pairs.
        """
        rng = np.random.default_rng([self.seed, 2])
        rows = np.sort(rng.permutation(self.training)[:_SHUFFLED_ROWS])
        translator = family.fit(
            self.source[rows],
            self.target[rng.permutation(rows)],
            metric=self.metric,
            seed=self.seed,
        )
        if self.side == "documents":
            documents = translator.translate(self.source[rng.permutation(self.pool)])
            return self._overlap(self.queries, documents)
        return self._overlap(translator.translate(rng.permutation(self.queries)), self.native)

    def status_quo(self) -> NDArray[np.float64] | None:
        """Return the overlap of the old model's own answers with the new model's."""
        if self.old_queries is None:
            return None
        old = self.source if self.side == "documents" else self.target
        return self._overlap(self.old_queries, old[self.pool])

    def naive_swap(self) -> NDArray[np.float64] | None:
        """Return the overlap of new queries over old documents as they are, if that runs."""
        if self.source.shape[1] != self.target.shape[1]:
            return None
        old = self.source if self.side == "documents" else self.target
        return self._overlap(self.queries, old[self.pool])

    def _overlap(self, queries: Vectors, documents: Vectors) -> NDArray[np.float64]:
        ranking, _ = top_k(queries, documents, self.k, metric=self.metric)
        return overlap_at_k(ranking, self.truth, self.k)
