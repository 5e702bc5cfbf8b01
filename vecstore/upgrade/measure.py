"""The options as lines of a table: quality with interval, gain against staying, cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

from vecstore.upgrade.assessment import Cost, UpgradeOption
from vecstore.upgrade.simulation import (
    Judge,
    Table,
    Tables,
    Values,
    cascaded,
    tuned,
)
from vecstore_translators.evaluation import bootstrap_interval, paired_bootstrap

__all__ = ["Measured", "Prices", "measured_options"]

_CHARACTERS_PER_TOKEN = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What embedding documents costs.

    Attributes
    ----------
    missing : int
        Items without a native vector: what a full re-embed embeds.
    pairs_missing : int
        Documents that have to be embedded for the pairs of the fit.
    characters : float
        Mean length of a document.
    per_second : float or None
        Documents that the encoder embeds.
    price : float or None
        Of a million tokens.
    """

    missing: int
    pairs_missing: int
    characters: float
    per_second: float | None
    price: float | None

    def of(self, documents: int, per_query: float = 0.0) -> Cost:
        """Return the cost of so many documents, and of so many more for each query."""
        tokens = round(documents * self.characters / _CHARACTERS_PER_TOKEN)
        return Cost(
            documents=documents,
            documents_per_query=float(per_query),
            tokens=tokens,
            seconds=None if self.per_second is None else documents / self.per_second,
            price=None if self.price is None else tokens / 1e6 * self.price,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """An option and its metric for each query, ndarray of shape (queries,), float64."""

    option: UpgradeOption
    values: Values


def measured_options(
    tables: Tables,
    judge: Judge,
    prices: Prices,
    *,
    depths: tuple[int, ...],
    seed: int,
) -> tuple[Measured, ...]:
    """Judge every option; in the order of their costs.

    Parameters
    ----------
    depths : tuple of int
        Of the cascades; empty where nothing can be embedded.
    """
    nothing, bridge = prices.of(0), prices.of(prices.pairs_missing)
    lines = [
        *_lines("stay", "keep the old model", tables.stay, tables, judge, nothing),
        *_lines("naive", "naive swap", tables.naive, tables, judge, nothing, words=False),
        *_lines("query-side", "translate the query", tables.query, tables, judge, bridge),
        *_lines("forward", "translate the documents", tables.forward, tables, judge, bridge),
    ]
    for depth in depths:
        cost = prices.of(prices.pairs_missing, depth)
        lines.extend(_cascades(tables, judge, depth, cost))
    full = prices.of(prices.missing)
    lines.extend(_lines("re-embed", "re-embed everything", tables.native, tables, judge, full))
    stay = next((values for name, _, values, _, _ in lines if name == "stay"), None)
    return tuple(
        Measured(
            option=UpgradeOption(
                name=name,
                title=title,
                quality=bootstrap_interval(values, seed=seed),
                gain=None
                if stay is None or name == "stay"
                else paired_bootstrap(values, stay, seed=seed),
                cost=cost,
                weight=weight,
            ),
            values=values,
        )
        for name, title, values, cost, weight in lines
    )


_Line = tuple[str, str, Values, Cost, float | None]


def _lines(
    name: str,
    title: str,
    table: Table | None,
    tables: Tables,
    judge: Judge,
    cost: Cost,
    *,
    words: bool = True,
) -> Iterator[_Line]:
    """Yield an option without and with words, where it can be measured."""
    if table is None:
        return
    yield name, title, judge(table.inside), cost, None
    if words and tables.words is not None:
        texts = tables.words
        yield _with_words(name, title, lambda weight: judge(table.lifted(texts, weight)), cost)


def _cascades(tables: Tables, judge: Judge, depth: int, cost: Cost) -> Iterator[_Line]:
    """Yield a cascade without and with words."""
    name, title = f"cascade@{depth}", f"translate, cascade of {depth}"
    yield name, title, judge(cascaded(tables, depth)), cost, None
    if tables.words is not None:
        yield _with_words(name, title, lambda weight: judge(cascaded(tables, depth, weight)), cost)


def _with_words(name: str, title: str, judged: Callable[[float], Values], cost: Cost) -> _Line:
    values, weight = tuned(judged)
    return f"{name}+lexical", f"{title}, and words", values, cost, weight
