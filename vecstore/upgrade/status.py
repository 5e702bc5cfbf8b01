"""Where an upgrade stands: generations and how searches reach every item, jobs, advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import (
    InvalidArgumentError,
    NoRouteError,
    TooFewPairsError,
    UnsupportedOperationError,
)
from vecstore.search.plan import Plan, make_plan
from vecstore.snapshot import Snapshot
from vecstore.translation import MIN_PAIRS, gather_pairs
from vecstore.upgrade.backfill_job import BackfillState
from vecstore.upgrade.demand import Demand
from vecstore.upgrade.refit import RefitAdvice, refit_advice
from vecstore.upgrade.retirement import unserved_without
from vecstore_translators import QualityPrediction, get_family, predict_quality

__all__ = ["GenerationStatus", "RouteStatus", "UpgradeStatus", "upgrade_status"]

_PREDICTED_ROWS = 50_000
_PREDICTED_PAIRS = 2_000
_FOLDS = 5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStatus:
    """A source of a search in a space, other than its native vectors.

    Attributes
    ----------
    path : tuple of str
        Spaces from the items' vectors to the ranking space.
    items : int
        That it serves.
    overlap : float or None
        Held-out neighbour overlap when a direct route was fitted.
    predicted : QualityPrediction or None
        Overlap with a full re-embed expected over the items it serves, where it was asked for
        and can be known.
    """

    path: tuple[str, ...]
    kind: str
    families: tuple[str, ...]
    items: int
    overlap: float | None
    predicted: QualityPrediction | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStatus:
    """A space in the lineage.

    Attributes
    ----------
    retired_version : int or None
        Since which version it is retired.
    native, translated, unserved : int
        Live items that a search in it serves by their own vectors, by routes, and not at all.
    demand : float or None
        Share of what searches asked for that has a native vector; None if nobody has searched.
    retirable : bool
        Whether it could be retired without leaving an item unserved.
    """

    space: str
    generation: int
    supersedes: str | None
    default: bool
    retired_version: int | None
    native: int
    translated: int
    unserved: int
    coverage: float
    demand: float | None
    routes: tuple[RouteStatus, ...]
    retirable: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeStatus:
    """Where an upgrade stands; print it.

    Attributes
    ----------
    generations : tuple of GenerationStatus
        Oldest first.
    jobs : tuple of BackfillState
        Backfills that were interrupted and can go on.
    refits : tuple of RefitAdvice
        Translators, what they were fitted on, and what there is now.
    advice : tuple of str
        What could be done next, in words.
    """

    collection: str
    version: int
    items: int
    default_space: str | None
    generations: tuple[GenerationStatus, ...]
    jobs: tuple[BackfillState, ...]
    refits: tuple[RefitAdvice, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.collection}: {self.items:,} items at version {self.version}"]
        for status in self.generations:
            what = [f"{status.coverage:7.1%} native"]
            if status.retired_version is not None:
                what = [f"retired in version {status.retired_version}"]
            elif status.translated or status.unserved:
                what.append(f"{status.translated:,} items translated")
                what += [f"{status.unserved:,} not served"] * bool(status.unserved)
            if status.demand is not None:
                what.append(f"{status.demand:.1%} of the demand native")
            what += ["default"] * status.default
            lines.append(f"  {status.space}: {', '.join(what)}")
            for route in status.routes:
                quality = "" if route.overlap is None else f", overlap {route.overlap:.3f} held out"
                if route.predicted is not None:
                    quality += f", {route.predicted.overlap} expected"
                path, families = " -> ".join(route.path), ", ".join(route.families)
                lines.append(f"    {path} by {families}, {route.items:,} items{quality}")
        for job in self.jobs:
            budget = "" if job.budget is None else f" of {job.budget:,}"
            lines.append(f"  backfill of {job.to} by {job.priority}: {job.done:,}{budget} embedded")
        lines += [f"  * {text}" for text in self.advice]
        return "\n".join(lines)


def upgrade_status(
    snapshot: Snapshot,
    *,
    demand: Demand,
    jobs: Sequence[Mapping[str, Any]],
    queries: Mapping[str, NDArray[np.float32]],
    predict: bool,
    seed: int,
) -> UpgradeStatus:
    """Describe a version; see :meth:`vecstore.Collection.upgrade_status`.

    Parameters
    ----------
    queries : dict of str to ndarray of shape (n, dim), float32
        Real queries by space, where there are some.
    """
    lineage = sorted(snapshot.state.spaces, key=lambda r: r.generation)
    active = [record.space.name for record in lineage if record.retired_version is None]
    goal = snapshot.default_space or (active[-1] if active else None)
    generations = tuple(
        _generation(snapshot, name, demand, queries, predict=predict and name == goal, seed=seed)
        for name in (record.space.name for record in lineage)
    )
    refits = refit_advice(snapshot)
    known = tuple(BackfillState.from_dict(job) for job in jobs)
    pending = tuple(job for job in known if job.to in snapshot.spaces)
    return UpgradeStatus(
        collection=snapshot.state.collection.name,
        version=snapshot.version,
        items=len(snapshot.live),
        default_space=snapshot.default_space,
        generations=generations,
        jobs=pending,
        refits=refits,
        advice=tuple(_advice(snapshot, generations, pending, refits)),
    )


def _generation(
    snapshot: Snapshot,
    name: str,
    demand: Demand,
    queries: Mapping[str, NDArray[np.float32]],
    *,
    predict: bool,
    seed: int,
) -> GenerationStatus:
    """Return one space, with the routes of a search that ranks in it."""
    retired = snapshot.retired.get(name)
    record = retired or snapshot.space(name)
    plan = None if retired else _plan(snapshot, name)
    live = len(snapshot.live)
    native = 0 if retired else len(snapshot.native(name))
    unserved = live if plan is None else len(plan.unserved)
    asked = float(demand.weights.sum())
    has = None if retired else snapshot.native(name).contains(demand.row_ids)
    return GenerationStatus(
        space=name,
        generation=record.generation,
        supersedes=record.space.supersedes,
        default=name == snapshot.default_space,
        retired_version=record.retired_version,
        native=native,
        translated=live - native - unserved,
        unserved=unserved,
        coverage=native / live if live else 0.0,
        demand=float(demand.weights[has].sum()) / asked if asked and has is not None else None,
        routes=() if plan is None else _routes(snapshot, plan, queries, predict=predict, seed=seed),
        retirable=not retired
        and name != snapshot.default_space
        and not len(unserved_without(snapshot, name)),
    )


def _plan(snapshot: Snapshot, name: str) -> Plan | None:
    try:
        return make_plan(snapshot, target=name, query_spaces=(name,), allow_partial=True)
    except NoRouteError:
        return None


def _routes(
    snapshot: Snapshot,
    plan: Plan,
    queries: Mapping[str, NDArray[np.float32]],
    *,
    predict: bool,
    seed: int,
) -> tuple[RouteStatus, ...]:
    """Return the sources of a plan that translate."""
    target = plan.target.space.name
    routes = []
    for source in plan.sources:
        if source.kind == "native":
            continue
        direct = source.kind == "forward" and len(source.route) == 1
        overlap = source.route[0].report.get("overlap") if direct else None
        predicted = None
        if predict and direct and len(source.rows) <= _PREDICTED_ROWS:
            predicted = _predicted(
                snapshot,
                source.space.space.name,
                target,
                source.route[0].family,
                source.rows.to_array(),
                queries.get(target),
                seed=seed,
            )
        routes.append(
            RouteStatus(
                path=(source.route[0].source, *(t.target for t in source.route)),
                kind=source.kind,
                families=tuple(t.family for t in source.route),
                items=len(source.rows),
                overlap=None if overlap is None else float(overlap[0]),
                predicted=predicted,
            )
        )
    return tuple(routes)


def _predicted(
    snapshot: Snapshot,
    source: str,
    target: str,
    family_name: str,
    rows: NDArray[np.int64],
    queries: NDArray[np.float32] | None,
    *,
    seed: int,
) -> QualityPrediction | None:
    """Predict the overlap with a full re-embed over translated rows, or None if unknowable."""
    metric = snapshot.space(target).space.metric
    if len(snapshot.native(source) & snapshot.native(target)) < MIN_PAIRS:
        return None
    pairs = gather_pairs(snapshot, source, target, limit=_PREDICTED_PAIRS, seed=seed)
    try:
        family = get_family(family_name).tuned(pairs.X, pairs.Y, metric=metric, seed=seed)
        return predict_quality(
            family,
            pairs.X,
            pairs.Y,
            snapshot.gather(source, rows),
            queries=queries,
            metric=metric,
            folds=_FOLDS,
            seed=seed,
        )
    except (TooFewPairsError, UnsupportedOperationError, InvalidArgumentError):
        return None


def _advice(
    snapshot: Snapshot,
    generations: Sequence[GenerationStatus],
    jobs: Sequence[BackfillState],
    refits: Sequence[RefitAdvice],
) -> list[str]:
    """Say what could be done next, most pressing first."""
    active = [status for status in generations if status.retired_version is None]
    advice = [
        f"{status.unserved:,} items are not served by searches in {status.space}: embed them, or "
        "fit a translator that leads there"
        for status in active
        if status.unserved and (status.default or len(active) == 1)
    ]
    if len(active) > 1 and snapshot.default_space is None:
        advice.append("searches must name their space: set a default with switch_space")
    newest = max(active, key=lambda s: s.generation, default=None)
    default = next((s for s in active if s.default), None)
    if newest is not None and default is not None and newest.generation > default.generation:
        state = "serves every item" if not newest.unserved else f"{newest.unserved:,} not served"
        advice.append(
            f"{newest.space} is newer than the default {default.space} and {state}: assess the "
            "upgrade, then switch_space"
        )
    advice += [
        f"a backfill of {job.to} was interrupted after {job.done:,} documents: run it again"
        for job in jobs
    ]
    advice += [
        f"{refit.source} -> {refit.target} was fitted on {refit.fitted:,} pairs and there are "
        f"{refit.pairs:,} now: refit_translators"
        for refit in refits
        if refit.due
    ]
    last = -1 if newest is None else newest.generation
    advice += [
        f"no item needs {status.space} any more: it can be retired"
        for status in active
        if status.retirable and status.generation < last
    ]
    return advice
