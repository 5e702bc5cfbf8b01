"""Assessment of an upgrade: every option measured on the user's documents and queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import VersionRecord
from vecstore.encoding import Encoder
from vecstore.errors import InvalidArgumentError, NoRouteError
from vecstore.rows import RowSet
from vecstore.search.scoring import score_table
from vecstore.translation import MIN_PAIRS
from vecstore.upgrade.assessment import UpgradeAssessment
from vecstore.upgrade.bridges import Bridges, build_bridges
from vecstore.upgrade.history import coverage_history
from vecstore.upgrade.measure import measured_options
from vecstore.upgrade.pictures import drawn
from vecstore.upgrade.questions import Questions
from vecstore.upgrade.recommend import recommend
from vecstore.upgrade.sample import Sample, chosen_rows, embedded_sample
from vecstore.upgrade.simulation import Judge, Tables
from vecstore.version import OpenVersion
from vecstore_translators import TranslatorFamily

__all__ = ["AssessmentPlan", "assess"]

# Distractors of each kind that a query may bring into the sample.
_POOL_DEPTH = 50
_MAX_QUERIES = 1_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentPlan:
    """What a caller asks of an assessment; see :meth:`vecstore.Collection.assess_upgrade`."""

    source: str
    target: str
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
    *,
    encoder: Encoder | None,
    versions: Sequence[VersionRecord],
    busy: Callable[[str], None],
) -> tuple[UpgradeAssessment, Sample]:
    """Measure every option; return also the sample, whose new vectors were paid for.

    Raises
    ------
    InvalidArgumentError
        There are too few pairs, and no encoder to make more.
    """
    began = time.perf_counter()
    snapshot = version.snapshot
    busy("choose the documents")
    corpus = snapshot.native(plan.source) & plan.corpus
    questions = None if questions is None else _some(questions, plan)
    rows = _rows(version, plan, corpus, questions, may_embed=encoder is not None)
    busy(f"embed what is missing of {len(rows):,} documents")
    sample = embedded_sample(
        snapshot, rows, source=plan.source, target=snapshot.space(plan.target), encoder=encoder
    )
    if len(sample.rows) < MIN_PAIRS:
        raise InvalidArgumentError(
            f"expected at least {MIN_PAIRS} documents with vectors in both {plan.source!r} and "
            f"{plan.target!r}, found {len(sample.rows)}; attach pairs with add_vectors, or give "
            f"{plan.target!r} an encoder that embeds a sample of the stored documents"
        )
    if questions is None:
        chosen = np.random.default_rng(plan.seed).permutation(len(sample.rows))[:_MAX_QUERIES]
        questions = Questions(
            source=sample.X[chosen], target=sample.Y[chosen], own=sample.rows[chosen]
        )
    busy("fit the translators")
    bridges = build_bridges(
        snapshot, sample, questions, plan.source, plan.target, families=plan.families,
        seed=plan.seed,
    )  # fmt: skip
    busy("measure the options")
    tables = _tables(version, plan, sample, questions, bridges)
    judge = Judge(questions, sample.rows, tables.native, k=plan.k)
    items = len(plan.corpus)
    native = len(snapshot.native(plan.target) & plan.corpus)
    options = measured_options(
        tables,
        judge,
        plan.k,
        depths=plan.depths,
        missing=items - native,
        pairs_missing=max(0, bridges.pairs - len(snapshot.native(plan.target))),
        sample=sample,
        price=plan.price,
        can_embed=encoder is not None,
        seed=plan.seed,
    )
    metric: Literal["ndcg", "overlap"] = "overlap" if questions.relevant is None else "ndcg"
    assessment = UpgradeAssessment(
        collection=snapshot.state.collection.name,
        version=snapshot.version,
        source=plan.source,
        target=plan.target,
        metric=metric,
        k=plan.k,
        asked=questions.description,
        items=items,
        pairs=bridges.pairs,
        sample=len(sample.rows),
        queries=len(questions),
        family=bridges.family,
        options=options,
        recommendation=recommend(options, items=items, budget=plan.budget, metric=metric, k=plan.k),
        pictures=drawn(sample, bridges.translated, tables, offset=bridges.offset, seed=plan.seed),
        coverage=coverage_history(snapshot, (plan.source, plan.target), versions),
        seconds=time.perf_counter() - began,
    )
    return assessment, sample


def _some(questions: Questions, plan: AssessmentPlan) -> Questions:
    """Return as many queries as the sample has room for, with some of their competitors."""
    most = min(_MAX_QUERIES, max(plan.sample // 2, 1))
    if len(questions) <= most:
        return questions
    chosen = np.random.default_rng(plan.seed).choice(len(questions), most, replace=False)
    return questions.take(np.sort(chosen))


def _rows(
    version: OpenVersion,
    plan: AssessmentPlan,
    corpus: RowSet,
    questions: Questions | None,
    *,
    may_embed: bool,
) -> NDArray[np.int64]:
    """Choose the documents to rank: without an encoder, those that have both vectors."""
    if not may_embed:
        corpus = corpus & version.snapshot.native(plan.target)
    relevant = None if questions is None else questions.relevant
    return chosen_rows(
        corpus,
        relevant=relevant,
        rankings=[] if questions is None else _rankings(version, plan, corpus, questions),
        size=plan.sample,
        seed=plan.seed,
    )


def _rankings(
    version: OpenVersion, plan: AssessmentPlan, corpus: RowSet, questions: Questions
) -> list[NDArray[np.int64]]:
    """Return what the options that embed nothing put first over the whole corpus."""
    found = []
    if questions.source is not None:
        prepared = version.prepared(plan.source, (plan.source,), execution=None, allow_partial=True)
        found.append(prepared.search({plan.source: questions.source}, _POOL_DEPTH, corpus).row_ids)
    if questions.texts is not None:
        words = version.words(questions.texts, None)
        if words is not None:
            found.append(words.index.search(words.texts, _POOL_DEPTH, allowed=corpus).row_ids)
    try:
        prepared = version.prepared(plan.target, (plan.target,), execution=None, allow_partial=True)
        found.append(prepared.search({plan.target: questions.target}, _POOL_DEPTH, corpus).row_ids)
    except NoRouteError:
        pass  # nothing joins the spaces yet
    return found


def _tables(
    version: OpenVersion,
    plan: AssessmentPlan,
    sample: Sample,
    questions: Questions,
    bridges: Bridges,
) -> Tables:
    """Score every query against every document of the sample, in every way."""
    snapshot = version.snapshot
    old, new = snapshot.space(plan.source).space, snapshot.space(plan.target).space
    words = None
    if questions.texts is not None and (found := version.words(questions.texts, None)):
        best = found.index.search(questions.texts, 1, allowed=snapshot.live).best
        rows = np.broadcast_to(sample.rows, (len(questions), len(sample.rows)))
        words = found.index.score(questions.texts, rows)
        words /= np.maximum(best, np.float32(1e-9))[:, None]
    return Tables(
        native=score_table(questions.target, sample.Y, new.kernel_metric),
        forward=score_table(questions.target, bridges.translated, new.kernel_metric),
        query=score_table(bridges.queries, sample.X, old.kernel_metric),
        stay=None
        if questions.source is None
        else score_table(questions.source, sample.X, old.kernel_metric),
        naive=None
        if old.dim != new.dim
        else score_table(questions.target, sample.X, old.kernel_metric),
        words=words,
    )
