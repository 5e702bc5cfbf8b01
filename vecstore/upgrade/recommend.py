"""The recommendation: the best option that can be afforded, and the cheapest of equals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vecstore.upgrade.assessment import Recommendation, UpgradeOption

__all__ = ["EQUAL", "recommend"]

EQUAL = 0.005
"""Options this close to the best are as good; the cheapest of them is taken."""


def recommend(
    options: Sequence[UpgradeOption],
    *,
    items: int,
    budget: float,
    metric: Literal["ndcg", "overlap"],
    k: int,
) -> Recommendation:
    """Choose among options that are ordered from the cheapest to the dearest.

    Parameters
    ----------
    budget : float
        Share of the items that may be embedded before the first query, 0.0 to 1.0.
    """
    affordable = [o for o in options if o.cost.documents <= budget * items]
    # Comparing across spaces as they are is measured as a warning, never advised.
    candidates = [o for o in affordable if not o.name.startswith("naive")]
    best = max(o.quality.mean for o in candidates)
    chosen = next(o for o in candidates if o.quality.mean >= best - EQUAL)
    full = _counterpart(chosen, options)
    retention = chosen.quality.mean / full.quality.mean if full.quality.mean > 0 else 1.0
    return Recommendation(
        option=chosen.name,
        reason=_reason(chosen, full, options, items=items, budget=budget, metric=metric, k=k),
        retention=retention,
        weight=chosen.weight,
    )


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
) -> str:
    measure = f"nDCG@{k}" if metric == "ndcg" else f"overlap@{k} with the new model"
    first = chosen.cost.documents / max(items, 1)
    parts = [f"it reaches {chosen.quality.mean:.3f} {measure}"]
    if chosen.name != full.name:
        parts.append(f"a full re-embed {full.quality.mean:.3f}")
    stay = next((o for o in options if o.name == "stay"), None)
    if stay is not None and not chosen.name.startswith("stay"):
        parts.append(f"the old model {stay.quality.mean:.3f}")
    text = ", ".join(parts) + "; "
    if chosen.name.startswith("stay"):
        text += f"no other option that embeds at most {budget:.0%} of the items first beats it"
    elif chosen.cost.documents:
        text += f"{first:.1%} of the items are embedded before the first query"
    else:
        text += "nothing is embedded before the first query"
    if chosen.cost.documents_per_query:
        text += f", and at most {chosen.cost.documents_per_query:.0f} documents for each"
    if metric == "overlap":
        text += (
            ". Without judged queries this cannot say whether the new model is better than the "
            "old one, only how close each option comes to it"
        )
    return text
