"""Fit a map between two spaces that share no item: starts, refinement, and the gate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Generic, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import Translator
from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.unpaired.cloud import Cloud
from vecstore_translators.unpaired.clusters import Floats
from vecstore_translators.unpaired.gate import Evidence, Map, weigh
from vecstore_translators.unpaired.refinement import refine, rough_map
from vecstore_translators.validation import check_at_least, unit_rows

Found_co = TypeVar("Found_co", bound=Translator, covariant=True)

_SCREEN = (20,) * 8
_COARSE = (20,) * 8
_WIDEN = (10,) * 4
_FINE = (10,) * 30
_SETTLED = 1e-3
_SCREENED = 2
"""Restarts are told apart on one row in so many; only the best is refined on all."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment(Generic[Found_co]):
    """A map found without pairs, and what speaks for it.

    Parameters
    ----------
    translator : Translator
    evidence : Evidence
    """

    translator: Found_co
    evidence: Evidence


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UnpairedAligner:
    """Fit F from source vectors and target vectors of *different* items of the same kind.

    Both clouds are centred and normalised. In the leading principal axes of each, k-means
    finds landmarks, and the landmarks are matched by their similarities among themselves
    (quadratic assignment). Rows are matched through the landmarks, Procrustes gives a rough
    rotation, and rounds of nearest-neighbour matching refine it in ever more axes. All of it
    runs on two disjoint halves, and only if these agree is a map returned, refined on all
    rows from there.

    Parameters
    ----------
    landmarks : int
        Clusters per start.
    starts : int
        K-means runs per rough map.
    restarts : int
        Rough maps per half; the one whose rows come closest to the target rows is kept.
    attempts : int
        How often both halves are fitted anew while no two maps agree.
    axes : tuple of int
        Principal axes of each stage of the refinement, before the last one in all of them.
    sample : int
        Rows per side of the coarse stages; the last stage uses twice as many.
    agreement, structure : float
        The gate: see :meth:`~vecstore_translators.unpaired.Evidence.require`.

    Laws
    ----
    The same arrays and seed give the same map. Vectors that share no structure are refused.

    Notes
    -----
    Needs models that arrange like texts alike, such as one model and its fine-tuned
    successor, and a few thousand vectors on each side. It is no substitute for pairs: a few
    hundred give a better map wherever they can be had.

    References
    ----------
    Dar, "mini-vec2vec: Scaling Universal Geometry Alignment with Linear Transformations",
    2025, algorithms 1 to 3; Hoshen and Wolf, "Non-adversarial unsupervised word translation",
    EMNLP 2018, section 3 (restarts in leading principal axes, the best by reconstruction).
    """

    landmarks: int = 20
    starts: int = 30
    restarts: int = 6
    attempts: int = 3
    axes: tuple[int, ...] = (32, 96)
    sample: int = 2000
    agreement: float = 0.5
    structure: float = 0.5

    def __post_init__(self) -> None:
        for name in ("starts", "restarts", "attempts"):
            check_at_least(getattr(self, name), 1, name=name)
        check_at_least(self.landmarks, 3, name="landmarks")
        check_at_least(self.sample, 10 * self.landmarks, name="sample")
        if not self.axes or any(axes < 2 for axes in self.axes):
            raise InvalidArgumentError(f"axes: expected numbers of at least 2, got {self.axes}")
        for name in ("agreement", "structure"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidArgumentError(
                    f"{name}: expected a share in (0, 1], got {getattr(self, name)}; a gate that "
                    "lets everything pass would return wrong maps"
                )

    @property
    def min_rows(self) -> int:
        """Fewest rows on each side: ten per landmark in each half."""
        return 25 * self.landmarks

    def fit(self, X: ArrayLike, Y: ArrayLike, *, seed: int = 0) -> Alignment[AffineTranslator]:
        """Fit to two clouds.

        Parameters
        ----------
        X : array_like of shape (n, d_s), float16, float32 or float64
            Source vectors.
        Y : array_like of shape (m, d_t), float16, float32 or float64
            Target vectors. Rows of X and Y do not correspond, and need share no item.
        seed : int

        Returns
        -------
        Alignment
            Its translator is F(x) = s (x - μ_s) R + μ_t with R (semi-)orthogonal.

        Raises
        ------
        CouldNotAlignError
            No map was found that two independent fits agree on.
        TooFewPairsError
            Fewer than `min_rows` rows on a side.
        InvalidVectorsError, NonFiniteError
        """
        rng = np.random.default_rng(seed)
        source, target = (
            Cloud.prepare(rows, name=name, min_rows=self.min_rows, limit=5 * self.sample, rng=rng)
            for rows, name in ((X, "X"), (Y, "Y"))
        )
        start, evidence = self._agreed(source, target, rng)
        evidence.require(agreement=self.agreement, structure=self.structure)
        many = 2 * self.sample
        rotation = refine(
            start, source.rows[:many], target.rows[:many], schedule=_FINE, settled=_SETTLED
        )
        return Alignment(translator=self._translator(rotation, source, target), evidence=evidence)

    def _agreed(
        self, source: Cloud, target: Cloud, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], Evidence]:
        """Return the map of the first half that one of the second agrees with most.

        An attempt may fail on one half only, so each map is weighed against all of the other.
        """
        tried: tuple[list[NDArray[np.float64]], ...] = ([], [])
        best: tuple[NDArray[np.float64], Evidence] | None = None
        for attempt in range(self.attempts):
            for half in (0, 1):
                tried[half].append(self._fit_half(source.halves[half], target.halves[half], rng))
            for i, j in product(range(attempt + 1), repeat=2):
                if max(i, j) < attempt:
                    continue
                found = weigh(
                    _applying(tried[0][i]),
                    _applying(tried[1][j]),
                    source.held_out,
                    target.held_out,
                    rng=rng,
                )
                if best is None or found.agreement > best[1].agreement:
                    best = tried[0][i], found
            if best and best[1].passes(agreement=self.agreement, structure=self.structure):
                break
        assert best is not None
        return best

    def _fit_half(self, A: Floats, B: Floats, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the best of several maps between two clouds."""
        few, *more = (min(axes, A.shape[1], B.shape[1]) for axes in self.axes)
        source, target = _principal_axes(A, few), _principal_axes(B, few)
        a, b = unit_rows(A[: self.sample] @ source), unit_rows(B[: self.sample] @ target)
        few_a, few_b = a[: len(a) // _SCREENED], b[: len(b) // _SCREENED]
        best, chosen = -np.inf, np.zeros((few, few))
        for _ in range(self.restarts):
            rough = rough_map(
                a, b, landmarks=self.landmarks, starts=self.starts, neighbours=30, rng=rng
            )
            tried = refine(rough, few_a, few_b, schedule=_SCREEN)
            closeness = _closeness(few_a @ tried.astype(np.float32), few_b)
            if closeness > best:
                best, chosen = closeness, tried
        W = refine(chosen, a, b, schedule=_COARSE)
        W = _lifted(source, W, target)
        for axes in more:
            source, target = _principal_axes(A, axes), _principal_axes(B, axes)
            a, b = unit_rows(A[: self.sample] @ source), unit_rows(B[: self.sample] @ target)
            inside = refine(_lifted(source.T, W, target.T), a, b, schedule=_WIDEN)
            W = _lifted(source, inside, target)
        return refine(W, A[: self.sample], B[: self.sample], schedule=_WIDEN)

    def _translator(
        self, rotation: NDArray[np.float64], source: Cloud, target: Cloud
    ) -> AffineTranslator:
        """Return the map of raw vectors: what centring and scaling undo included."""
        weight = rotation * (target.spread / source.spread)
        settings = {**asdict(self), "axes": list(self.axes)}
        return AffineTranslator(
            weight.astype(np.float32),
            (target.mean - source.mean @ weight).astype(np.float32),
            "unpaired",
            settings,
        )


def _applying(W: NDArray[np.float64]) -> Map:
    """Return a linear map as the function of rows that the gate asks for."""
    rotation = W.astype(np.float32)
    return lambda rows: rows @ rotation


def _principal_axes(rows: Floats, axes: int) -> Floats:
    """Return the leading principal axes of centred rows, as columns."""
    _, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    return vectors[:, ::-1][:, :axes].astype(np.float32)


def _lifted(source: Floats, W: NDArray[np.float64], target: Floats) -> NDArray[np.float64]:
    """Return a map between two sets of axes as a map between the spaces they lie in."""
    lifted: NDArray[np.float64] = source.astype(np.float64) @ W @ target.T
    return lifted


def _closeness(rows: Floats, targets: Floats) -> float:
    """Return the mean cosine of unit rows to their ten nearest targets."""
    scores = rows @ targets.T
    return float(np.partition(scores, -10, axis=1)[:, -10:].mean())
