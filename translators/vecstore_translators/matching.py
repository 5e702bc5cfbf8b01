"""Whether a batch of vectors belongs to its space, or to another one of the same dimension.

The nearest-space test compares log densities under two signatures, row by row, against how the
spaces' own vectors compare. Spaces of unrelated models lie so far apart that a change of domain
does not carry vectors from one to the other. Spaces that share a basis, a model and its
fine-tune, lie closer than domains do: there the test says no more than that a batch resembles
the other space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.signature import SpaceSignature, median
from vecstore_translators.validation import Vectors, as_vectors

__all__ = [
    "MIN_CERTAIN",
    "SAMPLE",
    "STRUCTURED",
    "BatchMatch",
    "Contrast",
    "Finding",
    "match_batch",
    "recognise",
]

Finding: TypeAlias = Literal["fits", "rescaled", "drifted", "resembles", "mixed", "belongs"]

MIN_CERTAIN = 10
"""Vectors from which on a batch can be said to belong to another space."""

SAMPLE = 128
"""Vectors of a batch that are looked at."""

STRUCTURED = 0.2
"""Structure from which on a signature has something to recognise vectors by."""

_GRAVITY: tuple[Finding, ...] = ("fits", "resembles", "mixed", "belongs")
# Nats per component between two spaces' vectors. Measured: below 1 within a basis, above 2.5
# between models; see docs/design/0011-guards.md.
_STRANGERS = 1.5
# Where between the vectors of two spaces the border lies; the rest is left for other domains.
_BORDER = 2 / 3
# How far below the other's own vectors one may fit it, in shares of the gap. Another domain of
# the other model stays within, a third model does not.
_REACH = 0.5
_MOST = 0.5
_SOME = 0.05
_FEW_ROWS = 3
_LENGTHS = 5.0


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrast:
    """How vectors of two spaces differ in their log densities, other minus own.

    Parameters
    ----------
    own, other : SpaceSignature
    border : float
        A vector whose difference lies beyond it lies with the other space,
    floor : float
        if the other's density is at least this; below, it fits neither.
    gap : float
        Between the means of the two spaces' vectors, nats per component; below zero if
        they cannot be told apart.
    separation : float
        Probability that a vector of the other space lies beyond one of the own (AUROC).
    """

    own: SpaceSignature
    other: SpaceSignature
    border: float
    floor: float
    gap: float
    separation: float

    @classmethod
    def between(cls, own: SpaceSignature, other: SpaceSignature) -> Contrast:
        """Calibrate the test on the held-out vectors of both signatures.

        Raises
        ------
        InvalidArgumentError
            The two are of different dimensions, which tell them apart without a test.
        """
        if own.dim != other.dim:
            raise InvalidArgumentError(
                f"expected two signatures of one dimension, got {own.dim} and {other.dim}"
            )
        ours = other.density_of_directions(own.held_out) - own.held_out_density
        theirs = other.held_out_density - own.density_of_directions(other.held_out)
        gap = float(theirs.mean() - ours.mean())
        below = np.searchsorted(np.sort(ours), theirs)
        return cls(
            own=own,
            other=other,
            border=float(ours.mean()) + _BORDER * gap,
            floor=float(other.held_out_density.mean()) - _REACH * gap,
            gap=gap,
            separation=float(below.mean() / len(ours)),
        )

    @property
    def distant(self) -> bool:
        """Whether the spaces lie farther apart, on average, than relatives do."""
        return self.gap >= _STRANGERS

    @property
    def strangers(self) -> bool:
        """Whether they are distant, and hardly a vector of one could be the other's."""
        return self.distant and self.separation > 0.99

    def beyond(self, vectors: ArrayLike) -> NDArray[np.bool_]:
        """Return which vectors lie with the other space, ndarray of shape (n,), bool.

        Raises
        ------
        DimensionMismatchError, InvalidVectorsError, NonFiniteError
        """
        rows = self.own.directions(vectors)
        own, other = self.own.density_of_directions(rows), self.other.density_of_directions(rows)
        return self.crosses(own, other)

    def crosses(self, own: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return what :meth:`beyond` does, of vectors whose log densities are known."""
        return np.asarray((other - own > self.border) & (other > self.floor))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMatch:
    """What a batch of vectors says about the space it is meant for.

    Parameters
    ----------
    finding : {"fits", "rescaled", "drifted", "resembles", "mixed", "belongs"}
        Nothing to say; of other lengths than the space's vectors; unlike them; more like those
        of the other space, or exactly like them; some surely those of the other space; most so.
    space : str or None
        The other space.
    share : float
        Of the vectors that lie with the other space, 0 to 1.
    drift : float
        How much worse than usual the batch fits its own space, in standard deviations of
        single vectors, at most 10; NaN where that is unknown.
    other_drift : float
        The same for the other space.
    n : int
        Vectors looked at.
    """

    finding: Finding
    space: str | None = None
    share: float = 0.0
    drift: float = float("nan")
    other_drift: float = float("nan")
    n: int


def match_batch(
    vectors: ArrayLike,
    own: SpaceSignature,
    contrasts: Mapping[str, Contrast],
    *,
    seed: int = 0,
) -> BatchMatch:
    """Hold a batch against its space and against others of the same dimension.

    Parameters
    ----------
    vectors : array_like of shape (m, d)
        At least one; of a large batch 128 are looked at.
    own : SpaceSignature
        Of the space the batch is meant for.
    contrasts : mapping of name to Contrast
        Of ``own`` against each other space.
    seed : int
        Of the sample.

    Returns
    -------
    BatchMatch
        The gravest finding. Fewer than 10 vectors never *belong* elsewhere, and vectors of two
        spaces that share a basis never do: they *resemble* at most.

    Raises
    ------
    InvalidArgumentError
        No vectors.
    DimensionMismatchError, InvalidVectorsError, NonFiniteError

    Notes
    -----
    A row lies with the other space where log p_other - log p_own is two thirds of the way from
    the mean over held-out own vectors to that over the other's, and log p_other no farther below
    what is usual there than half of that way. Drift is a lack of fit of more
    than 2 + 4 / sqrt(m) + 10 / sqrt(n) standard deviations of single vectors, for m vectors and
    a signature of n: two because the topics of one batch go together, the other terms because
    batch and signature are samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spread = np.linspace(2, 0.2, 32)
    >>> old, new = rng.normal(size=(2, 400, 32)) * spread
    >>> new = new[:, ::-1]
    >>> v1, v2 = SpaceSignature.fit(old[:300]), SpaceSignature.fit(new[:300])
    >>> match_batch(old[300:], v1, {"v2": Contrast.between(v1, v2)}).finding
    'fits'
    >>> match_batch(new[300:], v1, {"v2": Contrast.between(v1, v2)}).finding
    'belongs'
    """
    batch = _sampled(vectors, seed)
    rows = own.directions(batch)
    density = own.density_of_directions(rows)
    drift = own.lack_of_fit(density)
    found = [_compare(name, rows, density, each, drift) for name, each in contrasts.items()]
    gravest = max(found, key=_gravity, default=None)
    if gravest is not None and gravest.finding != "fits":
        return gravest
    if drift > _limit(len(batch), own.n):
        return BatchMatch(finding="drifted", drift=drift, n=len(batch))
    finding: Finding = "rescaled" if _rescaled(batch, own) else "fits"
    return BatchMatch(finding=finding, drift=drift, n=len(batch))


def recognise(
    vectors: ArrayLike, others: Mapping[str, SpaceSignature], *, seed: int = 0
) -> BatchMatch:
    """Look for a space whose own vectors a batch could be, while its own has too few to compare.

    Parameters
    ----------
    vectors : array_like of shape (m, d)
        At least one; of a large batch 128 are looked at.
    others : mapping of name to SpaceSignature
        Spaces without structure, into which anything fits, are passed over.

    Returns
    -------
    BatchMatch
        It *resembles* the space it fits best, if it fits that as well as its own vectors do
        and has at least 10 vectors; else it *fits*.

    Raises
    ------
    InvalidArgumentError
        No vectors.
    DimensionMismatchError, InvalidVectorsError, NonFiniteError
    """
    batch = _sampled(vectors, seed)
    found = BatchMatch(finding="fits", n=len(batch))
    nearest = np.inf
    for name, other in others.items():
        if len(batch) < MIN_CERTAIN or other.structure < STRUCTURED:
            continue
        lack = other.lack_of_fit(other.log_density(batch))
        if abs(lack) < min(_limit(len(batch), other.n) - 1, nearest):
            nearest = abs(lack)
            found = BatchMatch(
                finding="resembles", space=name, share=1.0, other_drift=lack, n=len(batch)
            )
    return found


def _sampled(vectors: ArrayLike, seed: int) -> Vectors:
    """Return at most as many rows as are looked at."""
    batch = as_vectors(vectors, finite=False)
    if not len(batch):
        raise InvalidArgumentError("vectors: expected at least one vector to match, got none")
    if len(batch) > SAMPLE:
        batch = batch[np.random.default_rng(seed).choice(len(batch), SAMPLE, replace=False)]
    return batch


def _compare(
    name: str,
    rows: NDArray[np.float32],
    density: NDArray[np.float32],
    contrast: Contrast,
    drift: float,
) -> BatchMatch:
    """Hold a batch against one other space."""
    other = contrast.other.density_of_directions(rows)
    beyond = contrast.crosses(density, other)
    share, n = float(beyond.mean()), len(rows)
    other_drift = contrast.other.lack_of_fit(other)
    finding: Finding = "fits"
    if contrast.strangers:
        if share > _MOST:
            finding = "belongs" if n >= MIN_CERTAIN else "resembles"
        elif share >= _SOME and np.count_nonzero(beyond) >= _FEW_ROWS:
            # Of a third model, a few vectors may cross; then the rest is at home nowhere.
            rest = contrast.own.lack_of_fit(density[~beyond])
            finding = "mixed" if rest < _limit(n, contrast.own.n) else "fits"
    elif share > _MOST and n >= MIN_CERTAIN and contrast.separation > 0.95:
        # Another domain moves vectors across this border too, but then they fit neither space.
        near = other_drift < _limit(n, contrast.other.n) - 1
        finding = "resembles" if near else "fits"
    return BatchMatch(
        finding=finding, space=name, share=share, drift=drift, other_drift=other_drift, n=n
    )


def _gravity(match: BatchMatch) -> tuple[int, float, float]:
    return _GRAVITY.index(match.finding), match.share, -match.other_drift


def _limit(batch: int, fitted: int) -> float:
    """Return the lack of fit beyond which a batch is unlike the space's vectors."""
    return 2 + 4 / float(np.sqrt(batch)) + 10 / float(np.sqrt(fitted))


def _rescaled(batch: Vectors, own: SpaceSignature) -> bool:
    """Whether lengths lie outside all that the space has, such as raw among unit vectors."""
    lengths = np.log(np.linalg.norm(batch.astype(np.float64), axis=1))
    away = abs(median(lengths) - own.length)
    return len(batch) >= MIN_CERTAIN and away > _LENGTHS * own.length_spread + 0.1
