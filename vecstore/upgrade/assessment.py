"""What an assessment says: the options, what each is worth and costs, and one recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

if TYPE_CHECKING:
    from vecstore_translators import Interval

__all__ = [
    "Cost",
    "CoveragePoint",
    "OptionName",
    "Pictures",
    "Recommendation",
    "UpgradeAssessment",
    "UpgradeOption",
]

OptionName: TypeAlias = str
"""stay, naive, query-side, forward, cascade@<depth> or re-embed; "+lexical" where words join."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an option embeds with the new model.

    Attributes
    ----------
    documents : int
        Before the first query is answered, beyond those that have a native vector already.
    documents_per_query : float
        While nothing of a query's shortlist has a native vector yet; falls as coverage grows.
    tokens : int
        Of ``documents``, estimated at four characters a token.
    seconds : float or None
        For ``documents``, at the rate the encoder had in the assessment; None if none ran.
    price : float or None
        For ``tokens``, in the unit of the price that was given.
    """

    documents: int
    documents_per_query: float = 0.0
    tokens: int = 0
    seconds: float | None = None
    price: float | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeOption:
    """One way to live with two models.

    Attributes
    ----------
    title : str
        For people.
    quality : Interval
        Mean over the queries of the assessment's metric, with its 95 % interval.
    gain : Interval or None
        Paired difference to staying with the old model; None for that option itself.
    weight : float or None
        Of words, chosen on held-out queries; None if no words join the vectors.
    """

    name: OptionName
    title: str
    quality: Interval
    gain: Interval | None
    cost: Cost
    weight: float | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The one option to take, and why.

    Attributes
    ----------
    retention : float
        Its quality as a share of the full re-embed's, words included where they are.
    weight : float or None
        The weight of words it needs, ``lexical=`` in searches; None if it has no words.
    """

    option: OptionName
    reason: str
    retention: float
    weight: float | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePoint:
    """How many items had a native vector in a space after a commit."""

    at: datetime
    version: int
    space: str
    native: int
    items: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Small samples for a report; every list has one entry per sampled document or pair.

    Attributes
    ----------
    translated_scores, native_scores : list of float
        Scores of the same query and document by translation (offset included) and natively.
    old, new, translated : list of (float, float)
        The same documents on the first two principal axes of the old space, of the new space,
        and, as translated, on the same axes of the new space.
    """

    translated_scores: list[float] = field(default_factory=list)
    native_scores: list[float] = field(default_factory=list)
    old: list[tuple[float, float]] = field(default_factory=list)
    new: list[tuple[float, float]] = field(default_factory=list)
    translated: list[tuple[float, float]] = field(default_factory=list)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeAssessment:
    """What an upgrade from one space to another would bring, measured on the user's data.

    Attributes
    ----------
    metric : {"ndcg", "overlap"}
        nDCG@k of judged queries; or, without judgements, overlap@k with the new model's own
        answer, which cannot say whether the new model is better.
    asked : str
        What the queries were, in words.
    items, pairs, sample, queries : int
        Items that are searched; pairs the translators were fitted on; documents that were
        ranked; queries.
    embedded : int
        Documents that were embedded to find this out. Where they were kept, no option has to
        embed them again.
    options : tuple of UpgradeOption
        In the order of their costs.
    coverage : tuple of CoveragePoint
        History of both spaces.
    """

    collection: str
    version: int
    source: str
    target: str
    metric: Literal["ndcg", "overlap"]
    k: int
    asked: str
    items: int
    pairs: int
    sample: int
    queries: int
    family: str
    options: tuple[UpgradeOption, ...]
    recommendation: Recommendation
    coverage: tuple[CoveragePoint, ...] = ()
    pictures: Pictures = field(default_factory=Pictures)
    seconds: float = 0.0
    embedded: int = 0

    def option(self, name: OptionName) -> UpgradeOption:
        """Return an option by its name; KeyError if it was not measured."""
        return {option.name: option for option in self.options}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        values: dict[str, Any] = _json(asdict(self))
        return values

    def __str__(self) -> str:
        measure = "nDCG" if self.metric == "ndcg" else "overlap with the new model's"
        lines = [
            f"{self.source} -> {self.target} in {self.collection}: {self.items:,} items, "
            f"{self.pairs:,} pairs; {measure}@{self.k} of {self.queries:,} queries "
            f"({self.asked}) over {self.sample:,} documents",
            f"  {'option':<36} {'quality':<24} {'embedded first':>14} {'per query':>9}",
        ]
        for option in self.options:
            marked = ">" if option.name == self.recommendation.option else " "
            share = option.cost.documents / max(self.items, 1)
            lines.append(
                f"{marked} {option.title:<36} {option.quality!s:<24} {share:>14.1%} "
                f"{option.cost.documents_per_query:>9.1f}"
            )
        lines.append(f"recommended: {self.option(self.recommendation.option).title}")
        lines.append(f"  {self.recommendation.reason}")
        return "\n".join(lines)


def _json(value: Any) -> Any:
    """Turn nested values into what JSON knows."""
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
