"""Guard: the one place that every write of vectors passes, whoever writes.

Fingerprints compare what is declared; this compares what the vectors look like. What surely
belongs to another space is refused, what is merely odd is said once.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import SpaceRecord
from vecstore.errors import InvalidArgumentError, SpaceMismatchError
from vecstore.guards.copies import Copies, find_copies
from vecstore.guards.signatures import Signatures, directed
from vecstore.snapshot import Snapshot
from vecstore.spaces import Space
from vecstore_translators.matching import MIN_CERTAIN, SAMPLE, BatchMatch, match_batch, recognise

__all__ = ["Guard", "Guarding", "SuspiciousVectorsWarning", "alike"]

Guarding: TypeAlias = Literal["refuse", "warn", "off"]
Tell: TypeAlias = Callable[[str], object]


class SuspiciousVectorsWarning(UserWarning):
    """Vectors that were written look unlike their space, or like another one."""


@final
class Guard:
    """Holds vectors against the spaces of a collection before they are written. Thread-safe."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._lock = threading.Lock()
        self._said: set[tuple[Any, ...]] = set()

    def check(
        self,
        snapshot: Snapshot,
        record: SpaceRecord,
        vectors: NDArray[Any],
        *,
        guarding: Guarding,
        row_ids: NDArray[np.int64] | None = None,
        tell: Tell | None = None,
    ) -> None:
        """Refuse vectors that belong to another space; speak of those that look odd.

        Parameters
        ----------
        vectors : ndarray of shape (n, dim)
            As the space prepared them; 128 are looked at.
        guarding : {"refuse", "warn", "off"}
        row_ids : ndarray of shape (n,), int64, optional
            Rows of items that exist, below 0 where there is none: their vectors in other spaces
            are compared, too.
        tell : callable, optional
            Takes what is odd; by default a SuspiciousVectorsWarning is issued.

        Raises
        ------
        SpaceMismatchError
            They belong to another space, under "refuse".
        InvalidArgumentError
            ``guarding`` is none of the three.
        """
        if guarding not in get_args(Guarding):
            raise InvalidArgumentError(
                f"expected guard to be one of {', '.join(get_args(Guarding))}, got {guarding!r}"
            )
        if guarding == "off":
            return
        if len(vectors) > SAMPLE:
            taken = np.random.default_rng(0).choice(len(vectors), SAMPLE, replace=False)
            vectors, row_ids = vectors[taken], None if row_ids is None else row_ids[taken]
        good = directed(vectors)
        if not good.any():
            return
        batch = np.asarray(vectors[good], dtype=np.float32)
        others = {
            name: other
            for name, other in snapshot.spaces.items()
            if other.id != record.id
            and other.space.dim == record.space.dim
            and not alike(other.space, record.space)
        }
        if row_ids is not None and others:
            copies = find_copies(snapshot, others.values(), row_ids[good], batch)
            if copies is not None:
                certain = copies.compared >= MIN_CERTAIN
                said = _of_copies(record.space, copies)
                self._speak(certain, said, record, copies.space, guarding=guarding, tell=tell)
                return
        own = self._signatures.of(snapshot, record)
        if own is None:
            known = {name: self._signatures.of(snapshot, r) for name, r in others.items()}
            match = recognise(batch, {name: s for name, s in known.items() if s is not None})
        else:
            made = {n: self._signatures.contrast(snapshot, record, r) for n, r in others.items()}
            match = match_batch(batch, own, {n: c for n, c in made.items() if c is not None})
        if match.finding != "fits":
            said = _SAYINGS[match.finding](record.space, match)
            certain = match.finding == "belongs"
            self._speak(
                certain, said, record, match.finding, match.space, own and own.n,
                guarding=guarding, tell=tell,
            )  # fmt: skip

    def _speak(
        self,
        certain: bool,
        said: str,
        record: SpaceRecord,
        *about: Any,
        guarding: Guarding,
        tell: Tell | None,
    ) -> None:
        """Refuse what is certain; say the rest, but not with every batch of a long job."""
        if certain and guarding == "refuse":
            raise SpaceMismatchError(
                f"{said}. Nothing was written. Embed with the model of {record.space.name!r}, "
                f"{record.space.describe()}, or name the space that the vectors are of; if they "
                "are right and it is the stored ones that are wrong, pass guard='off'"
            )
        with self._lock:
            known = (record.id, *about) in self._said
            self._said.add((record.id, *about))
        if not known:
            (tell or _warn)(f"{said}. They are written all the same; guard='off' silences this")


def alike(one: Space, two: Space) -> bool:
    """Whether two spaces are declared to hold the output of one model, in another form."""
    return one.model is not None and (one.model, one.revision, one.profile) == (
        two.model,
        two.revision,
        two.profile,
    )


def _of_copies(space: Space, copies: Copies) -> str:
    return (
        f"vectors for space {space.name!r} are copies of those in space {copies.space!r}: "
        f"{copies.equal} of the {copies.compared} items looked at have the same vector there "
        "(cosine above 0.9999)"
    )


def _belongs(space: Space, match: BatchMatch) -> str:
    return (
        f"vectors for space {space.name!r} are those of space {match.space!r}: {_lie(match)}, "
        f"with a fit of {match.drift:.1f} standard deviations below what is usual in "
        f"{space.name!r} and of {match.other_drift:.1f} in {match.space!r}"
    )


def _resembles(space: Space, match: BatchMatch) -> str:
    # With NaN there are no vectors to compare with yet.
    own = f", in {space.name!r} {match.drift:.1f}" if match.drift == match.drift else ""
    return (
        f"vectors for space {space.name!r} look like those of space {match.space!r}: "
        f"{_lie(match)}; their fit is {match.other_drift:.1f} standard deviations below what is "
        f"usual there{own}. Close relatives and small batches cannot be told apart for certain; "
        "check which model they come from"
    )


def _mixed(space: Space, match: BatchMatch) -> str:
    return (
        f"some vectors for space {space.name!r} are those of space {match.space!r}: "
        f"{_lie(match)}; check whether two models were mixed"
    )


def _drifted(space: Space, match: BatchMatch) -> str:
    return (
        f"vectors for space {space.name!r} are unlike those it has: their fit is "
        f"{match.drift:.1f} standard deviations below what is usual, over {match.n} looked at. "
        "Texts of another kind or language do that, and so does another model; check which it is"
    )


def _rescaled(space: Space, match: BatchMatch) -> str:
    return (
        f"vectors for space {space.name!r} have other lengths than all it has, over {match.n} "
        f"looked at; under {space.metric!r} length counts, so check whether one side is normalised"
    )


def _lie(match: BatchMatch) -> str:
    return f"{round(match.share * match.n)} of {match.n} looked at lie with {match.space!r}"


_SAYINGS: Mapping[str, Callable[[Space, BatchMatch], str]] = {
    "belongs": _belongs,
    "mixed": _mixed,
    "resembles": _resembles,
    "drifted": _drifted,
    "rescaled": _rescaled,
}


def _warn(said: str) -> None:
    """Warn at the line that called the library."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0].startswith("vecstore"):
        level, frame = level + 1, frame.f_back
    warnings.warn(said, SuspiciousVectorsWarning, stacklevel=level)
