"""The gate: what says that a map found without pairs is the right one, or that none was found.

There is no truth to compare with. But what is learnt twice, from rows that have nothing in
common and from unrelated starts, is either the structure both spaces share or noise, and
noise does not repeat itself: there are far too many rotations to hit the same one twice.
How close translated rows lie to target rows is checked too, but says little by itself: wrong
maps are fitted to lie close as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeAlias, final

import numpy as np

from vecstore_translators.base import JSON
from vecstore_translators.errors import CouldNotAlignError
from vecstore_translators.evaluation import top_k
from vecstore_translators.unpaired.clusters import Floats
from vecstore_translators.validation import unit_rows

Map: TypeAlias = Callable[[Floats], Floats]

_NEIGHBOURS = 10


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for a map that was fitted without pairs. All figures: larger is better.

    Parameters
    ----------
    agreement : float
        Two fits on disjoint halves translate the same held-out rows. The share of rows whose
        translation by one fit is, among all translations by the other, nearest to its own.
    control : float
        The same share when each row is compared with the translation of another row: what
        rows without structure would reach.
    structure : float
        Mean cosine from a translated row to its nearest target rows, over that from native
        target rows to their nearest. 1 where translated rows lie as native ones do.
    unrelated : float
        The same ratio for a random rotation.
    """

    agreement: float
    control: float
    structure: float
    unrelated: float

    @property
    def closeness(self) -> float:
        """Share of the way from unrelated to native neighbourhoods."""
        return (self.structure - self.unrelated) / max(1 - self.unrelated, 1e-6)

    def passes(self, *, agreement: float, structure: float) -> bool:
        """Return whether the map may be trusted; the arguments are those of :meth:`require`."""
        return self.agreement - self.control >= agreement and self.closeness >= structure

    def require(self, *, agreement: float, structure: float) -> None:
        """Raise unless the map may be trusted.

        Parameters
        ----------
        agreement : float
            Least agreement above the control.
        structure : float
            Least `closeness`.

        Raises
        ------
        CouldNotAlignError
            The message gives the figures and what to do instead.
        """
        if self.passes(agreement=agreement, structure=structure):
            return
        raise CouldNotAlignError(
            f"could not align: expected two fits on disjoint halves to agree on at least "
            f"{agreement:.0%} of held-out rows and translated rows to lie at least {structure:.0%} "
            f"as close to target rows as native ones do, got {self.agreement - self.control:.0%} "
            f"and {self.closeness:.0%}; embed a few hundred items with both models and fit a "
            "translator to the pairs, or pass more vectors of like content"
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the figures by name."""
        return asdict(self)


def weigh(
    first: Map,
    second: Map,
    sources: Floats,
    targets: Floats,
    *,
    rng: np.random.Generator,
) -> Evidence:
    """Return what two independent maps say about each other and about the target rows.

    Parameters
    ----------
    first, second : callable, (m, d_s) to (m, d_t), float32
        Maps fitted on disjoint halves.
    sources : ndarray of shape (m, d_s), float32
        Unit rows that neither fit has seen.
    targets : ndarray of shape (n, d_t), float32
        Unit target rows that neither fit has seen.
    rng : numpy.random.Generator
    """
    ours, theirs = (_directions(fitted(sources)) for fitted in (first, second))
    nearest, _ = top_k(ours, theirs, 1)
    others = np.roll(np.arange(len(sources)), 1)
    asking, answering = targets[: len(targets) // 2], targets[len(targets) // 2 :]
    native = _closeness(asking, answering)
    dim = targets.shape[1]
    random = np.linalg.qr(rng.normal(size=(dim, dim)))[0].astype(np.float32)
    return Evidence(
        agreement=float(np.mean(nearest[:, 0] == np.arange(len(sources)))),
        control=float(np.mean(nearest[:, 0] == others)),
        structure=min(_closeness(moved, answering) for moved in (ours, theirs)) / native,
        unrelated=_closeness(ours @ random, answering) / native,
    )


def _directions(rows: Floats) -> Floats:
    """Return unit rows; a semi-orthogonal map may have sent one to nothing."""
    lost = np.abs(rows).max(axis=1, keepdims=True) == 0
    return unit_rows(rows + lost.astype(np.float32))


def _closeness(rows: Floats, targets: Floats) -> float:
    """Return the mean cosine of rows to their nearest targets."""
    _, scores = top_k(rows, targets, _NEIGHBOURS)
    return float(scores.mean())
