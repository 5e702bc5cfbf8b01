"""Assessment of an upgrade: every option measured on the user's documents and queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from vecstore.catalog import VersionRecord
from vecstore.errors import InvalidArgumentError
from vecstore.rows import RowSet
from vecstore.translation import MIN_PAIRS
from vecstore.upgrade.assessment import UpgradeAssessment
from vecstore.upgrade.bridges import build_bridges, pair_rows
from vecstore.upgrade.history import coverage_history
from vecstore.upgrade.measure import Prices, measured_options
from vecstore.upgrade.pictures import drawn
from vecstore.upgrade.pool import pooled_rows
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.recommend import recommend
from vecstore.upgrade.sample import Sample, gathered
from vecstore.upgrade.simulation import Judge
from vecstore.upgrade.supply import Keep, Supply
from vecstore.upgrade.tables import all_tables
from vecstore.version import OpenVersion
from vecstore_translators import TranslatorFamily

__all__ = ["AssessmentPlan", "assess"]

_MAX_QUERIES = 1_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentPlan:
    """What a caller asks of an assessment; see :meth:`vecstore.Collection.assess_upgrade`.

    Attributes
    ----------
    corpus : RowSet
        The items that are searched.
    sample : int
        Documents that are ranked, at most.
    """

    corpus: RowSet
    k: int
    depths: tuple[int, ...]
    sample: int
    budget: float
    price: float | None
    families: Sequence[TranslatorFamily] | None
    seed: int


def assess(
    version: OpenVersion,
    plan: AssessmentPlan,
    questions: Questions | None,
    old: Supply,
    new: Supply,
    *,
    keep: Keep | None,
    versions: Sequence[VersionRecord],
    progress: Callable[[str], None],
) -> UpgradeAssessment:
    """Measure every option.

    Raises
    ------
    InvalidArgumentError
        There are too few pairs and no encoder to make more, or no judged query has an answer
        that could be ranked.
    """
    began = time.perf_counter()
    snapshot = version.snapshot
    source, target = old.record.space, new.record.space
    # Without an encoder only documents that have a vector already can be ranked.
    corpus = plan.corpus
    for supply in (old, new):
        corpus = corpus if supply.can_embed else corpus & supply.native
    if questions is not None:
        questions = questions.some(
            most=min(_MAX_QUERIES, max(plan.sample // 4, 1)), answers=plan.sample // 2,
            seed=plan.seed,
        )  # fmt: skip
    progress("choose the documents")
    rows = pooled_rows(
        version, corpus, questions, old, new, size=plan.sample, seed=plan.seed, progress=progress
    )
    progress(f"embed what is missing of {len(rows):,} documents")
    for supply in (old, new):
        supply.embed(rows)
    sample = gathered(snapshot, rows, corpus=plan.corpus, old=old, new=new, seed=plan.seed)
    questions = _asking(questions, sample, seed=plan.seed)
    kept = keep is not None
    pairs = pair_rows(old, new, sample.rows, kept=kept)
    if len(pairs) < MIN_PAIRS:
        raise InvalidArgumentError(
            f"expected at least {MIN_PAIRS} documents with vectors in both {source.name!r} and "
            f"{target.name!r}, found {len(pairs)}; attach pairs with add_vectors, or give "
            f"{target.name!r} an encoder that embeds a sample of the stored documents"
        )
    progress(f"fit the translators on {len(pairs):,} pairs")
    bridges = build_bridges(
        old, new, sample, questions, kept=kept, families=plan.families, seed=plan.seed
    )
    progress("measure the options")
    tables = all_tables(version, plan.corpus, sample, questions, bridges, old, new, seed=plan.seed)
    items = len(plan.corpus)
    covered = new.known if kept else new.native
    prices = Prices(
        missing=items - len(covered & plan.corpus),
        pairs_missing=len(pairs - (old.known & covered)),
        characters=sample.characters,
        per_second=new.per_second,
        price=plan.price,
    )
    measured = measured_options(
        tables,
        Judge(questions, sample.rows, tables.native.inside, k=plan.k),
        prices,
        # Without documents there is nothing that a cascade could embed.
        depths=plan.depths if sample.characters else (),
        seed=plan.seed,
    )
    metric: Literal["ndcg", "overlap"] = "overlap" if questions.relevant is None else "ndcg"
    return UpgradeAssessment(
        collection=snapshot.state.collection.name,
        version=snapshot.version,
        source=source.name,
        target=target.name,
        metric=metric,
        k=plan.k,
        asked=questions.description,
        items=items,
        pairs=bridges.pairs,
        sample=len(sample.rows),
        embedded=len(old.made) + len(new.made),
        queries=len(questions),
        family=bridges.family,
        options=tuple(m.option for m in measured),
        recommendation=recommend(
            measured, items=items, budget=plan.budget, metric=metric, k=plan.k
        ),
        pictures=drawn(sample, bridges.translated, tables, seed=plan.seed),
        coverage=coverage_history(snapshot, (source.name, target.name), versions),
        seconds=time.perf_counter() - began,
    )


def _asking(questions: Questions | None, sample: Sample, *, seed: int) -> Questions:
    """Return the queries that the sample can answer; without any, documents ask."""
    if questions is None:
        chosen = np.random.default_rng(seed).permutation(len(sample.rows))[:_MAX_QUERIES]
        return Questions(source=sample.X[chosen], target=sample.Y[chosen], own=sample.rows[chosen])
    answered = questions.answered(sample.rows)
    if not len(answered):
        raise InvalidArgumentError(
            f"none of the {len(questions)} judged queries has an answer with vectors in both "
            "spaces, and nothing can embed the answers; give the spaces encoders, attach vectors "
            "of the answers with add_vectors, or leave qrels= out"
        )
    return answered
