"""Purity: how many of a space's committed vectors are those of another space, and in which files.

What the guard does not let in may be there already, from before or with guard="off". A space
that is mixed has a blurred signature, so vectors that look like another's are set aside before
the space is learned, and again with what that shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore.guards.guard import alike
from vecstore.guards.signatures import directed
from vecstore.snapshot import Snapshot
from vecstore_translators.matching import STRUCTURED, Contrast
from vecstore_translators.signature import MIN_ROWS, SpaceSignature

__all__ = ["FilePurity", "SpacePurity", "purity"]

_ROWS_PER_FILE = 256
_LEARNED = 1024
_ROUNDS = 3
# Of the other space's own vectors these fit it worst; some may be strays themselves.
_UNUSUAL = 0.25
_FEW = 0.5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FilePurity:
    """A vector file in which vectors of another space were found.

    Attributes
    ----------
    path : str
        Below the data root.
    other : str
        The space they are of.
    rows : int
        Live vectors of the file.
    share : float
        Of them that are the other's, estimated on at most 256, 0 to 1.
    """

    path: str
    other: str
    rows: int
    share: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SpacePurity:
    """What was found in one space.

    Attributes
    ----------
    space : str
    rows : int
        Live vectors.
    looked_at : int
        How many of them were held against other spaces; 0 where there is none to compare with
        or there are too few vectors.
    strays : mapping of str to float
        Share of the space's vectors that are those of another space, by its name, estimated.
    files : tuple of FilePurity
        Where they are, worst first.
    resembles : str or None
        A space that this one cannot be told from: a relative, or the same vectors twice.
    """

    space: str
    rows: int
    looked_at: int = 0
    strays: Mapping[str, float] = field(default_factory=dict)
    files: tuple[FilePurity, ...] = ()
    resembles: str | None = None

    @property
    def pure(self) -> bool:
        """Whether no vector of another space was found."""
        return not self.strays


def purity(snapshot: Snapshot) -> tuple[SpacePurity, ...]:
    """Look in each space for vectors of another space of the same dimension.

    Reads at most 256 vectors of each file. Spaces of one model in two forms, and relatives that
    share a basis, are not told apart; the latter are named.

    Returns
    -------
    tuple of SpacePurity
        One for each space, in the order of their creation.
    """
    looks = {name: _Look(snapshot, name) for name in snapshot.spaces}
    rivals = [
        (looks[one], looks[two])
        for one, two in permutations(snapshot.spaces, 2)
        if _comparable(snapshot, one, two) and looks[one].enough and looks[two].enough
    ]
    for _ in range(_ROUNDS):
        for own, other in rivals:
            own.set_aside(other)
    return tuple(
        look.result([other for own, other in rivals if own is look]) for look in looks.values()
    )


def _comparable(snapshot: Snapshot, one: str, two: str) -> bool:
    own, other = snapshot.space(one).space, snapshot.space(two).space
    return own.dim == other.dim and not alike(own, other)


@final
class _Look:
    """A sample of a space's vectors, file by file, and which of them are known to be strays."""

    def __init__(self, snapshot: Snapshot, name: str) -> None:
        self.name = name
        rng = np.random.default_rng(0)
        self._files: list[tuple[str, int]] = []
        self._rows = 0
        parts, file_of = [np.empty((0, snapshot.space(name).space.dim), np.float32)], []
        row_ids = [np.empty(0, np.int64)]
        for live in snapshot.vectors(name):
            here = np.arange(len(live.segment)) if live.keep is None else live.keep.nonzero()[0]
            self._rows += len(here)
            taken = np.sort(rng.choice(here, min(len(here), _ROWS_PER_FILE), replace=False))
            vectors = np.asarray(live.segment.vectors[taken], dtype=np.float32)
            good = directed(vectors)
            parts.append(vectors[good])
            row_ids.append(live.segment.row_ids[taken[good]])
            file_of += [len(self._files)] * int(good.sum())
            self._files.append((live.record.file.path, len(here)))
        self._vectors, self._row_ids = np.concatenate(parts), np.concatenate(row_ids)
        self._file_of = np.array(file_of, dtype=np.int64)
        self._strays: dict[str, NDArray[np.bool_]] = {}
        self._resembled: set[str] = set()
        self._fit()

    @property
    def enough(self) -> bool:
        """Whether there are vectors enough to learn the space from."""
        return len(self._vectors) >= MIN_ROWS

    def set_aside(self, other: _Look) -> None:
        """Mark the vectors that are the other's, and learn this space from the rest."""
        if self._signature is None or other._signature is None:
            return
        theirs = other._signature
        usual = np.quantile(theirs.held_out_density, _UNUSUAL)
        rest = ~self._marked(but=other.name)
        core = rest & (theirs.log_density(self._vectors) < usual)
        likely = core.sum() < _FEW * rest.sum() and theirs.structure >= STRUCTURED
        for _ in range(_ROUNDS):
            if core.sum() < MIN_ROWS:
                break
            contrast = Contrast.between(self._learned(core), theirs)
            if not contrast.distant:
                break
            beyond = contrast.beyond(self._vectors)
            core = rest & ~beyond
        else:
            self._strays[other.name] = beyond
            self._resembled.discard(other.name)
            self._fit()
            return
        if likely:
            self._resembled.add(other.name)

    def result(self, others: list[_Look]) -> SpacePurity:
        """Return what was found."""
        weights = self._weights()
        strays, files = {}, []
        for other in others:
            name, marked = other.name, self._strays.get(other.name)
            if marked is None or not marked.any() or not self._strangers(other):
                continue
            strays[name] = float(weights[marked].sum())
            for number, (path, rows) in enumerate(self._files):
                here = self._file_of == number
                if marked[here].any():
                    share = float(marked[here].mean())
                    files.append(FilePurity(path=path, other=name, rows=rows, share=share))
        return SpacePurity(
            space=self.name,
            rows=self._rows,
            looked_at=len(self._vectors) if others else 0,
            strays=strays,
            files=tuple(sorted(files, key=lambda file: -file.share)),
            resembles=min(self._resembled, default=None),
        )

    def _strangers(self, other: _Look) -> bool:
        """Whether what is left of both, strays set aside, is told apart for certain."""
        own, theirs = self._signature, other._signature
        return own is not None and theirs is not None and Contrast.between(own, theirs).strangers

    def _marked(self, *, but: str | None = None) -> NDArray[np.bool_]:
        """Return which vectors are known to be strays, of any space or of any but one."""
        marked = np.zeros(len(self._vectors), dtype=bool)
        for name, found in self._strays.items():
            if name != but:
                marked |= found
        return marked

    def _fit(self) -> None:
        rest = ~self._marked()
        self._signature = self._learned(rest) if rest.sum() >= MIN_ROWS else None

    def _learned(self, chosen: NDArray[np.bool_]) -> SpaceSignature:
        taken = np.flatnonzero(chosen)
        if len(taken) > _LEARNED:
            taken = np.random.default_rng(0).choice(taken, _LEARNED, replace=False)
        return SpaceSignature.fit(self._vectors[taken], items=self._row_ids[taken])

    def _weights(self) -> NDArray[np.float64]:
        """Return the share of the space's vectors for which each one looked at stands."""
        looked = np.bincount(self._file_of, minlength=len(self._files))
        rows = np.array([rows for _, rows in self._files], dtype=np.float64)
        weights = (rows / np.maximum(looked, 1))[self._file_of]
        return np.asarray(weights / weights.sum(), dtype=np.float64)
