"""The options as lines of a table: quality with interval, gain against staying, cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.upgrade.assessment import Cost, UpgradeOption
from vecstore.upgrade.sample import Sample
from vecstore.upgrade.simulation import Judge, Tables, cascaded, tuned_words, with_words
from vecstore_translators.evaluation import bootstrap_interval, paired_bootstrap

__all__ = ["measured_options"]

_CHARACTERS_PER_TOKEN = 4

Values = NDArray[np.float64]


def measured_options(
    tables: Tables,
    judge: Judge,
    k: int,
    *,
    depths: tuple[int, ...],
    missing: int,
    pairs_missing: int,
    sample: Sample,
    price: float | None,
    can_embed: bool,
    seed: int,
) -> tuple[UpgradeOption, ...]:
    """Judge every option; in the order of their costs.

    Parameters
    ----------
    missing : int
        Items without a native vector: what a full re-embed embeds.
    pairs_missing : int
        Documents that had to be embedded for the pairs of the fit.
    price : float, optional
        Of a million tokens.
    can_embed : bool
        Without an encoder there is no cascade.
    """
    costs = _Costs(sample, price)
    bridge, full = costs.of(pairs_missing), costs.of(missing)
    table: list[tuple[str, str, NDArray[np.float32] | None, Cost]] = [
        ("stay", "keep the old model", tables.stay, costs.of(0)),
        ("naive", "naive swap", tables.naive, costs.of(0)),
        ("query-side", "translate the query", tables.query, bridge),
        ("forward", "translate the documents", tables.forward, bridge),
    ]
    lines: list[tuple[str, str, Values, Cost, float | None]] = []
    forward_weight = None
    for name, title, scores, cost in table:
        if scores is None:
            continue
        lines.append((name, title, judge(scores), cost, None))
        if tables.words is not None and name in ("stay", "forward"):
            values, weight = tuned_words(scores, tables.words, judge)
            forward_weight = weight if name == "forward" else forward_weight
            lines.append((f"{name}+lexical", f"{title}, and words", values, cost, weight))
    native_words = None
    if tables.words is not None:
        values, native_weight = tuned_words(tables.native, tables.words, judge)
        native_words = (values, native_weight)
    for depth in depths if can_embed else ():
        lines.extend(
            _cascades(tables, judge, max(depth, k), costs.of(pairs_missing, depth), forward_weight)
        )
    lines.append(("re-embed", "re-embed everything", judge(tables.native), full, None))
    if native_words is not None:
        lines.append(
            ("re-embed+lexical", "re-embed everything, and words", native_words[0], full,
             native_words[1])
        )  # fmt: skip
    stay = next((values for name, _, values, _, _ in lines if name == "stay"), None)
    return tuple(
        UpgradeOption(
            name=name,
            title=title,
            quality=bootstrap_interval(values, seed=seed),
            gain=None if stay is None or name == "stay" else paired_bootstrap(values, stay),
            cost=cost,
            weight=weight,
        )
        for name, title, values, cost, weight in lines
    )


def _cascades(
    tables: Tables, judge: Judge, depth: int, cost: Cost, weight: float | None
) -> Iterator[tuple[str, str, Values, Cost, float | None]]:
    """Yield a cascade without and with words; one weight for shortlist and ranking alike."""
    title = f"translate, cascade of {depth}"
    plain = cascaded(tables.forward, tables.native, depth)
    yield f"cascade@{depth}", title, judge(plain), cost, None
    if tables.words is None or weight is None:
        return
    short = with_words(tables.forward, tables.words, weight)
    final = with_words(tables.native, tables.words, weight)
    both = cascaded(short, final, depth)
    yield f"cascade@{depth}+lexical", f"{title}, and words", judge(both), cost, weight


@final
class _Costs:
    """Turns a number of documents into tokens, seconds and a price."""

    def __init__(self, sample: Sample, price: float | None) -> None:
        self._characters = sample.characters
        self._rate = sample.documents_per_second
        self._price = price

    def of(self, documents: int, per_query: float = 0.0) -> Cost:
        tokens = round(documents * self._characters / _CHARACTERS_PER_TOKEN)
        return Cost(
            documents=documents,
            documents_per_query=float(per_query),
            tokens=tokens,
            seconds=None if self._rate is None else documents / self._rate,
            price=None if self._price is None else tokens / 1e6 * self._price,
        )
