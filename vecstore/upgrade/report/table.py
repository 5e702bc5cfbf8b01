"""The table of options: every figure as text, and only columns that say something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vecstore.upgrade.assessment import UpgradeAssessment

__all__ = ["Row", "duration", "rows", "short", "shown_columns"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One option. Empty texts are shown as a dash."""

    series: str
    title: str
    recommended: bool
    quality: str
    interval: str
    gain: str
    gain_interval: str
    documents: str
    share: str
    per_query: str
    tokens: str
    seconds: str
    price: str


def rows(assessment: UpgradeAssessment) -> list[Row]:
    """Return a row for each option, in the assessment's order: from the cheapest."""
    found = []
    for option in assessment.options:
        gain, cost = option.gain, option.cost
        found.append(
            Row(
                series=option.name,
                title=option.title[:1].upper() + option.title[1:],
                recommended=option.name == assessment.recommendation.option,
                quality=f"{option.quality.mean:.3f}",
                interval=f"{option.quality.low:.3f}–{option.quality.high:.3f}",
                gain="" if gain is None else _signed(gain.mean),
                gain_interval=""
                if gain is None
                else f"{_signed(gain.low)} to {_signed(gain.high)}",
                documents=f"{cost.documents:,}",
                share=f"{cost.documents / max(assessment.items, 1):.1%}",
                per_query=f"{cost.documents_per_query:,.0f}" if cost.documents_per_query else "",
                tokens=short(cost.tokens) if cost.tokens else "",
                seconds=duration(cost.seconds) if cost.documents and cost.seconds else "",
                price=""
                if cost.price is None or not cost.documents
                else f"{cost.price:,.2f}"
                if cost.price >= 0.01
                else "< 0.01",
            )
        )
    return found


def shown_columns(table: list[Row]) -> frozenset[str]:
    """Return the optional columns that at least one row has a figure for."""
    optional = ("gain", "per_query", "tokens", "seconds", "price")
    return frozenset(name for name in optional if any(getattr(row, name) for row in table))


def short(count: int) -> str:
    """Return a count with three significant digits.

    >>> short(950), short(48_211), short(12_340_000)
    ('950', '48.2 k', '12.3 M')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def duration(seconds: float) -> str:
    """Return a time that a person would say.

    >>> duration(0.4), duration(42), duration(400), duration(9000), duration(400_000)
    ('< 1 s', '42 s', '6.7 min', '2.5 h', '4.6 d')
    """
    if seconds < 1:
        return "< 1 s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
