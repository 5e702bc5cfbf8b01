"""Fitting a translator on a collection's pairs, and the report of what it will be worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.translation import gather_pairs
from vecstore_translators import (
    Interval,
    Selection,
    Translator,
    TranslatorFamily,
    dump,
    get_family,
    select_translator,
)
from vecstore_translators.calibration import ScoreCalibration

__all__ = ["Fit", "TranslatorReport", "fit_pairs"]

Side = Literal["documents", "queries"]

MAX_PAIRS = 100_000
CALIBRATION_QUERIES = 256
CALIBRATION_DOCUMENTS = 5_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorReport:
    """What was fitted and what held-out pairs say about it.

    Quality is kNN overlap: the share of the new model's own nearest neighbours that a
    search through the translator finds, on pairs the fit has not seen, with a 95 % bootstrap
    interval. Larger is better; 1.0 is a full re-embed.

    Attributes
    ----------
    id : str
        The stored translator.
    quality : Interval
        With the chosen family.
    status_quo : Interval or None
        Old queries on old documents: what keeping the old model gives.
    naive_swap : Interval or None
        New queries on old documents without a translator; None if dimensions differ.
    shuffled_pairs : Interval
        The same fit on wrongly paired rows: what chance gives.
    candidates : tuple of (str, float, float, float)
        Family, held-out overlap, its standard error, seconds; best first.
    """

    id: str
    source: str
    target: str
    side: Side
    family: str
    pairs: int
    quality: Interval
    status_quo: Interval | None
    naive_swap: Interval | None
    shuffled_pairs: Interval
    candidates: tuple[tuple[str, float, float, float], ...]
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.source} -> {self.target} ({self.side}): {self.family} on {self.pairs:,} pairs",
            f"  neighbour overlap, held out  {self.quality}",
            f"  old model kept               {self.status_quo or 'not measured'}",
            f"  naive swap                   {self.naive_swap or 'impossible, dimensions differ'}",
            f"  shuffled pairs (chance)      {self.shuffled_pairs}",
        ]
        for family, score, error, seconds in self.candidates:
            lines.append(f"    {family:<28} {score:.3f} +- {error:.3f}  {seconds:.1f} s")
        return "\n".join(lines)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A fitted translator before it is stored."""

    translator: Translator
    selection: Selection
    files: Mapping[str, bytes]
    record: Mapping[str, Any]

    def report(self, translator_id: str, source: str, target: str) -> TranslatorReport:
        """Return the report under the id the translator was stored with."""
        selection = self.selection
        return TranslatorReport(
            id=translator_id,
            source=source,
            target=target,
            side=selection.side,
            family=selection.family.label,
            pairs=selection.n_pairs,
            quality=selection.quality,
            status_quo=selection.status_quo,
            naive_swap=selection.naive_swap,
            shuffled_pairs=selection.shuffled_pairs,
            candidates=tuple(
                (c.family.label, c.score, c.standard_error, c.seconds) for c in selection.candidates
            ),
            seconds=selection.seconds,
        )


def fit_pairs(
    snapshot: Snapshot,
    *,
    source: str,
    target: str,
    side: Side,
    families: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None,
    queries: NDArray[np.float32] | None,
    max_pairs: int,
    seed: int,
) -> Fit:
    """Fit on the pairs of a snapshot; see :meth:`vecstore.Collection.fit_translator`."""
    spaces = {name: snapshot.space(name).space for name in (source, target)}
    pairs = gather_pairs(snapshot, source, target, limit=max_pairs, seed=seed)
    new = spaces[target] if side == "documents" else spaces[source]
    selection = select_translator(
        pairs.X,
        pairs.Y,
        families=_families(families),
        metric=new.metric,
        side=side,
        queries=None if queries is None else new.prepare_queries(queries),
        seed=seed,
    )
    record = {
        "pairs": selection.n_pairs,
        "side": side,
        "overlap": [selection.quality.mean, selection.quality.low, selection.quality.high],
        "fingerprints": {name: space.fingerprint for name, space in spaces.items()},
        "calibration": _calibrations(
            selection.translator, pairs.X, pairs.Y, spaces[source], spaces[target], seed
        ),
    }
    card = {
        "source": _card(spaces[source]),
        "target": _card(spaces[target]),
        "held-out pairs": {
            "pairs": selection.n_pairs,
            "neighbour overlap": selection.quality.mean,
            "low": selection.quality.low,
            "high": selection.quality.high,
            "shuffled pairs": selection.shuffled_pairs.mean,
        },
    }
    return Fit(
        translator=selection.translator,
        selection=selection,
        files=dump(selection.translator, card=card),
        record=record,
    )


def _families(
    families: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None,
) -> list[TranslatorFamily] | None:
    if families is None:
        return None
    if isinstance(families, (str, TranslatorFamily)):
        families = [families]
    return [get_family(f) if isinstance(f, str) else f for f in families]


def _card(space: Space) -> dict[str, Any]:
    return {
        "space": space.name,
        "model": space.model,
        "revision": space.revision,
        "dimensions": space.dim,
        "metric": space.metric,
        "fingerprint": space.fingerprint,
    }


def _calibrations(
    translator: Translator,
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    source: Space,
    target: Space,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Measure how scores that are not of the ranking space come to its scale.

    "source": scores in the source space, to the target's scale; "target": the reverse;
    "query": scores of mapped source queries on target documents, to the source's scale.
    """
    rng = np.random.default_rng(seed)
    documents = rng.permutation(len(X))[:CALIBRATION_DOCUMENTS]
    asked = documents[:CALIBRATION_QUERIES]
    own = np.arange(len(asked))

    def scores(q: NDArray[np.float32], d: NDArray[np.float32], space: Space) -> NDArray[np.float32]:
        table = q @ d.T
        if space.metric == "l2":
            table = 2 * table - np.square(q).sum(1)[:, None] - np.square(d).sum(1)[None, :]
        # A document is no neighbour of itself.
        keep = np.ones(table.shape, dtype=bool)
        keep[own, own] = False
        return table[keep].reshape(len(q), -1)

    in_source = scores(X[asked], X[documents], source)
    in_target = scores(Y[asked], Y[documents], target)
    mapped = translator.translate(X[asked])
    if target.normalised:
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-30)
    by_query = scores(mapped, Y[documents], target)
    fits = {
        "source": ScoreCalibration.fit(in_source, in_target),
        "target": ScoreCalibration.fit(in_target, in_source),
        "query": ScoreCalibration.fit(by_query, in_source),
    }
    return {use: {"slope": f.slope, "intercept": f.intercept} for use, f in fits.items()}
