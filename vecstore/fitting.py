"""Fitting a translator on a collection's pairs, and the report of what it will be worth."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore.catalog import TranslatorRecord
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore.storage.root import DataRoot
from vecstore.translation import Pairs, gather_pairs

if TYPE_CHECKING:
    from vecstore_translators import Interval, Selection, TranslatorFamily

__all__ = ["Fit", "TranslatorReport", "as_families", "fit_pairs", "store_fit"]

Side = Literal["documents", "queries"]


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

    spaces: tuple[Space, Space]
    selection: Selection
    files: Mapping[str, bytes]
    measured: Mapping[str, Any]

    @property
    def tuned(self) -> TranslatorFamily:
        """The chosen family with its hyper-parameters."""
        chosen = self.selection
        return next(c.tuned for c in chosen.candidates if c.family == chosen.family)

    def report(self, translator_id: str) -> TranslatorReport:
        """Return the report under the id the translator was stored with."""
        selection = self.selection
        return TranslatorReport(
            id=translator_id,
            source=self.spaces[0].name,
            target=self.spaces[1].name,
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
    from vecstore_translators import dump, select_translator  # a search needs none of it

    spaces = snapshot.space(source).space, snapshot.space(target).space
    pairs = gather_pairs(snapshot, source, target, limit=max_pairs, seed=seed)
    new = spaces[1] if side == "documents" else spaces[0]
    selection = select_translator(
        pairs.X,
        pairs.Y,
        families=as_families(families),
        metric=new.metric,
        side=side,
        queries=None if queries is None else new.prepare_queries(queries),
        seed=seed,
    )
    measured = {
        "pairs": selection.n_pairs,
        "side": side,
        "asked": _names(families),
        "offset": _offset(selection, pairs, queries, new, seed=seed),
        "overlap": [selection.quality.mean, selection.quality.low, selection.quality.high],
        "fingerprints": [space.fingerprint for space in spaces],
    }
    card = {
        "source": _card(spaces[0]),
        "target": _card(spaces[1]),
        "held-out pairs": {
            "pairs": selection.n_pairs,
            "neighbour overlap": selection.quality.mean,
            "low": selection.quality.low,
            "high": selection.quality.high,
            "shuffled pairs": selection.shuffled_pairs.mean,
        },
    }
    return Fit(
        spaces=spaces,
        selection=selection,
        files=dump(selection.translator, card=card),
        measured=measured,
    )


def store_fit(fit: Fit, root: DataRoot, directory: str) -> TranslatorRecord:
    """Write a fitted translator's files and return the record to commit."""
    name = uuid.uuid4().hex
    folder = f"data/{directory}/translators/{name}"
    return TranslatorRecord(
        id=name,
        source=fit.spaces[0].name,
        target=fit.spaces[1].name,
        family=fit.selection.family.name,
        files={
            file: root.write(f"{folder}/{file}", _writer_of(content))
            for file, content in fit.files.items()
        },
        report=fit.measured,
    )


def _writer_of(content: bytes) -> Callable[[pa.NativeFile], object]:
    return lambda sink: sink.write(content)


def as_families(
    families: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None,
) -> list[TranslatorFamily] | None:
    """Return families by name or as they are; None means those that take part by default."""
    from vecstore_translators import TranslatorFamily, get_family

    if families is None:
        return None
    if isinstance(families, (str, TranslatorFamily)):
        families = [families]
    return [get_family(f) if isinstance(f, str) else f for f in families]


def _names(
    families: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None,
) -> list[str] | None:
    """Return what the caller let it choose from, for the next fit; None for everything."""
    known = as_families(families)
    return None if known is None else [family.name for family in known]


def _offset(
    selection: Selection,
    pairs: Pairs,
    queries: NDArray[np.float32] | None,
    new: Space,
    *,
    seed: int,
) -> float | None:
    """Learn the offset of a forward map; None for other maps and from too few pairs."""
    from vecstore_translators.offset import learned_offset

    if selection.side != "documents":
        return None
    tuned = next(c.tuned for c in selection.candidates if c.family == selection.family)
    asked = None if queries is None else new.prepare_queries(queries)
    return learned_offset(tuned, pairs.X, pairs.Y, asked, metric=new.metric, seed=seed)


def _card(space: Space) -> dict[str, Any]:
    return {
        "space": space.name,
        "model": space.model,
        "revision": space.revision,
        "dimensions": space.dim,
        "metric": space.metric,
        "fingerprint": space.fingerprint,
    }
