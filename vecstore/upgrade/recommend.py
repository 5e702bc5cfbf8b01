"""The recommendation: the best option that can be afforded, and the cheapest of equals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vecstore.upgrade.assessment import Recommendation, UpgradeOption
from vecstore.upgrade.measure import Measured
from vecstore_translators.evaluation import paired_bootstrap

__all__ = ["EQUAL", "recommend"]

EQUAL = {"ndcg": 0.005, "overlap": 0.05}
"""Options this close to the best are as good; the cheapest of them is taken.

Overlap counts every document that the new model would have put elsewhere, of which few matter: on
the debian data 0.92 of the new model's neighbours give 0.995 of its nDCG.
"""


def recommend(
    measured: Sequence[Measured],
    *,
    items: int,
    budget: float,
    metric: Literal["ndcg", "overlap"],
    k: int,
) -> Recommendation:
    """Choose one option.

    An option that cannot be told from keeping the old model is not worth a change.

    Parameters
    ----------
    budget : float
        Share of the items that may be embedded before the first query, 0.0 to 1.0.
    """
    # Comparing across spaces as they are is measured as a warning, never advised.
    candidates = [
        m
        for m in measured
        if m.option.cost.documents <= budget * items and m.option.name != "naive"
    ]
    candidates.sort(key=lambda m: _effort(m.option))
    certain = _certain(candidates)
    best = max(m.option.quality.mean for m in certain)
    chosen = next(m for m in certain if m.option.quality.mean >= best - EQUAL[metric])
    looks_best = max(candidates, key=lambda m: m.option.quality.mean).option
    doubtful = looks_best if looks_best.quality.mean > best + EQUAL[metric] else None
    options = [m.option for m in measured]
    full = _counterpart(chosen.option, options)
    retention = chosen.option.quality.mean / full.quality.mean if full.quality.mean > 0 else 1.0
    return Recommendation(
        option=chosen.option.name,
        reason=_reason(
            chosen.option, full, options,
            items=items, budget=budget, metric=metric, k=k, doubtful=doubtful,
        ),
        retention=retention,
        weight=chosen.option.weight,
    )  # fmt: skip


def _certain(candidates: Sequence[Measured]) -> list[Measured]:
    """Leave out changes that cannot be told from keeping the old model."""
    kept = [m for m in candidates if _stays(m.option)]
    if not kept:
        return list(candidates)
    old = max(kept, key=lambda m: m.option.quality.mean)
    return [
        m for m in candidates if _stays(m.option) or paired_bootstrap(m.values, old.values).low > 0
    ]


def _effort(option: UpgradeOption) -> tuple[int, float, bool]:
    """Return what orders options from the cheapest to the dearest.

    At the same cost documents are translated rather than queries: then scores are those of
    the new space, and native vectors join without being rescaled.
    """
    cost = option.cost
    return cost.documents, cost.documents_per_query, option.name.startswith("query-side")


def _stays(option: UpgradeOption) -> bool:
    return option.name.startswith("stay")


def _counterpart(chosen: UpgradeOption, options: Sequence[UpgradeOption]) -> UpgradeOption:
    """Return the full re-embed, with words if the option has them."""
    return next(
        o
        for o in options
        if o.name.startswith("re-embed") and (o.weight is None) == (chosen.weight is None)
    )


def _reason(
    chosen: UpgradeOption,
    full: UpgradeOption,
    options: Sequence[UpgradeOption],
    *,
    items: int,
    budget: float,
    metric: str,
    k: int,
    doubtful: UpgradeOption | None,
) -> str:
    measure = f"nDCG@{k}" if metric == "ndcg" else f"overlap@{k} with the new model"
    parts = [f"it reaches {chosen.quality.mean:.3f} {measure}"]
    if chosen.name != full.name:
        parts.append(f"a full re-embed {full.quality.mean:.3f}")
    stay = next((o for o in options if o.name == "stay"), None)
    if stay is not None and chosen.name != "stay":
        parts.append(f"the old model {'alone ' if _stays(chosen) else ''}{stay.quality.mean:.3f}")
    text = ", ".join(parts) + "; "
    if _stays(chosen) and doubtful is not None:
        text += (
            f"to {doubtful.title} would reach {doubtful.quality.mean:.3f}, which these queries "
            "cannot tell from it"
        )
    elif _stays(chosen):
        text += f"no other option that embeds at most {budget:.0%} of the items first beats it"
    elif chosen.cost.documents:
        first = chosen.cost.documents / max(items, 1)
        text += f"{first:.1%} of the items are embedded before the first query"
    else:
        text += "nothing is embedded before the first query"
    if chosen.cost.documents_per_query:
        text += f", and at most {chosen.cost.documents_per_query:.0f} documents for each"
    if stay is None:
        text += (
            ". The old model was not measured, for nobody knows its query vectors: pass them, or "
            "give its space an encoder"
        )
    if metric == "overlap":
        text += (
            ". Without judged queries this cannot say whether the new model is better than the "
            "old one, only how close each option comes to it"
        )
    return text
