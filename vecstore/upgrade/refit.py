"""Refits: a translator is fitted again when it could learn from many more pairs.

Pairs are native vectors of the same items in two spaces, never translated ones. The new fit takes
the place of the old one only if it is no worse on pairs that neither has seen: those that came
after the old fit, translated by fits of the new family to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.arguments import MAX_PAIRS
from vecstore.catalog import Changes, TranslatorRecord
from vecstore.errors import InvalidArgumentError
from vecstore.fitting import Fit, Side, fit_pairs
from vecstore.search.scoring import score_table
from vecstore.search.views import unit_rows
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.translation import Pairs, gather_pairs
from vecstore_translators import Interval, Translator
from vecstore_translators.crossfit import cross_fit
from vecstore_translators.evaluation import overlap_at_k, paired_bootstrap

__all__ = [
    "GROWTH",
    "LEAST_NEW",
    "Refit",
    "RefitAdvice",
    "refit_advice",
    "replacement",
    "try_refit",
]

GROWTH = 2.0
"""Pairs now over pairs at the fit from which on a refit is due. From 250 to 5,000 pairs every
doubling adds 0.04 to 0.09 nDCG (benchmarks/translators.py); and by doubling all refits together
cost no more than twice the last one."""

LEAST_NEW = 200
"""New pairs before a refit happens by itself."""

_NOISE = 0.005
"""Overlap by which two fits of one quality differ; what is worse by less counts as no worse."""

_K = 10
_POOL = 2_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RefitAdvice:
    """What a stored translator was fitted on and what there is now.

    Attributes
    ----------
    fitted, pairs : int
        Pairs it was fitted on, and pairs now.
    due : bool
        Whether that is enough to fit it again.
    """

    id: str
    source: str
    target: str
    side: Side
    fitted: int
    pairs: int
    due: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """A translator that was fitted again.

    Attributes
    ----------
    replaced : str
        The old translator.
    id : str or None
        The new one in its place; None if the old one was kept.
    fitted, pairs : int
        Pairs of the old fit and of the new one.
    family : str
        Of the new fit.
    before, after : float or None
        Neighbour overlap of both on pairs that neither has seen; None if there are too few.
    gain : Interval or None
        The paired difference.
    """

    replaced: str
    id: str | None
    source: str
    target: str
    side: Side
    fitted: int
    pairs: int
    family: str
    before: float | None
    after: float | None
    gain: Interval | None

    @property
    def is_no_worse(self) -> bool:
        """Whether the new fit may take the old one's place; False where nothing can tell."""
        return self.gain is not None and self.gain.mean >= -_NOISE

    def __str__(self) -> str:
        path = f"{self.source} -> {self.target}"
        grown = f"{self.fitted:,} -> {self.pairs:,} pairs"
        if self.before is None or self.after is None:
            return f"{path}: kept as it is, too few new pairs to judge a refit on ({grown})"
        judged = f"overlap {self.before:.3f} -> {self.after:.3f} on unseen pairs, {grown}"
        if self.id is None:
            return f"{path}: kept as it is; a refit has {judged}"
        return f"{path}: fitted again, {self.family}; {judged}"


def refit_advice(snapshot: Snapshot, *, target: str | None = None) -> tuple[RefitAdvice, ...]:
    """Return what could be fitted again: the newest translator of each direction and side."""
    newest: dict[tuple[str, str, str], TranslatorRecord] = {}
    for record in snapshot.state.translators:
        known = {record.source, record.target} <= snapshot.spaces.keys()
        if known and target in (None, record.target):
            newest[record.source, record.target, record.report.get("side", "documents")] = record
    advice = []
    for (source, end, side), record in newest.items():
        pairs = len(snapshot.native(source) & snapshot.native(end))
        fitted = int(record.report.get("pairs", 0))
        advice.append(
            RefitAdvice(
                id=record.id,
                source=source,
                target=end,
                side="queries" if side == "queries" else "documents",
                fitted=fitted,
                pairs=pairs,
                due=min(pairs, MAX_PAIRS) >= max(GROWTH * fitted, fitted + 1),
            )
        )
    return tuple(advice)


def try_refit(
    snapshot: Snapshot,
    advice: RefitAdvice,
    old: TranslatorRecord,
    translator: Translator,
    *,
    queries: NDArray[np.float32] | None,
    seed: int,
) -> tuple[Refit, Fit]:
    """Fit again and hold the fit against the old one; nothing is stored.

    Parameters
    ----------
    translator : Translator
        The old one, opened.
    queries : ndarray of shape (n, dim), optional
        Real queries of the new model.
    """
    fit = fit_pairs(
        snapshot,
        source=advice.source,
        target=advice.target,
        side=advice.side,
        families=old.report.get("asked"),
        queries=queries,
        max_pairs=MAX_PAIRS,
        seed=seed,
    )
    pairs = gather_pairs(snapshot, advice.source, advice.target, limit=MAX_PAIRS, seed=seed)
    values = _held_out(snapshot, fit, pairs, old, translator, advice.side, queries, seed=seed)
    refit = Refit(
        replaced=old.id,
        id=None,
        source=advice.source,
        target=advice.target,
        side=advice.side,
        fitted=advice.fitted,
        pairs=len(pairs.row_ids),
        family=fit.selection.family.label,
        before=None if values is None else float(values[0].mean()),
        after=None if values is None else float(values[1].mean()),
        gain=None if values is None else paired_bootstrap(values[1], values[0], seed=seed),
    )
    return refit, fit


def replacement(
    record: TranslatorRecord, replaced: str, spaces: tuple[Space, Space]
) -> Callable[[Snapshot], Changes]:
    """Put a translator in the place of another, in one commit.

    Raises
    ------
    InvalidArgumentError
        The other one is gone: somebody else replaced or dropped it.
    """

    def build(snapshot: Snapshot) -> Changes:
        for space in spaces:
            snapshot.space(space.name).space.require_same(space)
        if replaced not in {t.id for t in snapshot.state.translators}:
            raise InvalidArgumentError(
                f"translator {replaced!r} was replaced or dropped while it was fitted again; "
                "nothing was changed"
            )
        return Changes(
            operation=f"refit translator {record.source} -> {record.target}",
            add_translators=(record,),
            remove_translators=(replaced,),
        )

    return build


def _held_out(
    snapshot: Snapshot,
    fit: Fit,
    pairs: Pairs,
    old: TranslatorRecord,
    translator: Translator,
    side: Side,
    queries: NDArray[np.float32] | None,
    *,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the overlap of each query by the old map and by the new one; None for too few."""
    source, target = fit.spaces
    metric = target.metric if side == "documents" else source.metric
    rows, translated = cross_fit(fit.tuned, pairs.X, pairs.Y, metric=metric, seed=seed)
    unseen = ~_known_at(snapshot, old, pairs.row_ids[rows])
    chosen = np.flatnonzero(unseen)[:_POOL]  # held-out folds come in random order
    if len(chosen) < 2 * _K + 2:
        return None
    rows = rows[chosen]
    X, Y = pairs.X[rows], pairs.Y[rows]
    maps = (translator.translate(X), translated[chosen])
    real = queries if side == "documents" else None
    asked = (Y if real is None else target.prepare_queries(real)) if side == "documents" else X
    native = Y if side == "documents" else X
    new = target if side == "documents" else source
    truth = _nearest(asked, native, new, own=real is None)
    values = []
    for mapped in maps:
        moved = unit_rows(np.array(mapped)) if target.normalised else mapped
        found = (
            _nearest(asked, moved, target, own=real is None)
            if side == "documents"
            else _nearest(moved, Y, target, own=True)
        )
        values.append(overlap_at_k(found, truth, _K))
    return values[0], values[1]


def _known_at(
    snapshot: Snapshot, old: TranslatorRecord, row_ids: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which pairs were there when a translator was stored, and may have been fitted on."""
    known = np.ones(len(row_ids), dtype=bool)
    for space in (old.source, old.target):
        for vectors in snapshot.vectors(space):
            late = vectors.live_row_ids[vectors.live_versions > old.added_version]
            known &= ~np.isin(row_ids, late)
    return known


def _nearest(
    queries: NDArray[np.float32], documents: NDArray[np.float32], space: Space, *, own: bool
) -> NDArray[np.int64]:
    """Return the k nearest documents of each query; ``own``: query i is document i, left out."""
    scores = score_table(queries, documents, space.kernel_metric)
    if own:
        np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :_K]
