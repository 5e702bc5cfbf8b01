"""Gaussian kernel ridge on the residual of ridge: what no affine map can express."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Self, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import JSON, Translator, TranslatorFamily
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.folds import held_out_folds
from vecstore_translators.ridge import Ridge
from vecstore_translators.statistics import PairStatistics
from vecstore_translators.tuning import best_by_retrieval
from vecstore_translators.validation import (
    Metric,
    as_vectors,
    check_at_least,
    check_metric,
    require_finite,
)

Float32Array: TypeAlias = NDArray[np.float32]

_TUNING_PAIRS = 3000
"""Bandwidth and penalty are chosen on so many pairs; they hardly move beyond."""

_TUNING_POOL = 1500
_MEDIAN_ROWS = 1000
_BLOCK_VALUES = 2**22
"""Kernel values held at once (16 MiB of float32): a block stays in cache between its passes."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class KernelTranslator(Translator):
    """F(x) = x W + b + Σᵢ exp(-γ ‖x - zᵢ‖²) aᵢ over landmarks zᵢ.

    Parameters
    ----------
    base : AffineTranslator
        x W + b.
    landmarks : array_like of shape (m, d_s)
        z; kept as a read-only float32 copy.
    coefficients : array_like of shape (m, d_t)
        a; kept as a read-only float32 copy.
    gamma : float
        γ > 0.
    hyperparameters : mapping of str to JSON
        What the family chose, for the model card.

    Notes
    -----
    One vector costs 2 m (d_s + d_t) floating-point operations and m exponentials.
    """

    kind: ClassVar[str] = "kernel"

    base: AffineTranslator
    landmarks: Float32Array
    coefficients: Float32Array
    gamma: float
    hyperparameters: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("landmarks", "coefficients"):
            copy = np.array(as_vectors(getattr(self, name), name=name), np.float32, order="C")
            require_finite(copy, name=name)
            copy.setflags(write=False)
            object.__setattr__(self, name, copy)
        expected = (self.base.source_dim, self.base.target_dim)
        if (self.landmarks.shape[1], self.coefficients.shape[1]) != expected or len(
            self.landmarks
        ) != len(self.coefficients):
            raise DimensionMismatchError(
                f"expected as many landmarks as coefficients, of dimensions {expected}, got "
                f"shapes {self.landmarks.shape} and {self.coefficients.shape}"
            )
        if not (np.isfinite(self.gamma) and self.gamma > 0):
            raise InvalidArgumentError(f"gamma: expected a finite number > 0, got {self.gamma!r}")
        frozen = MappingProxyType(dict(self.hyperparameters))
        object.__setattr__(self, "hyperparameters", frozen)

    def __repr__(self) -> str:
        return (
            f"KernelTranslator({self.source_dim} -> {self.target_dim}, "
            f"{len(self.landmarks)} landmarks)"
        )

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return self.base.source_dim

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return self.base.target_dim

    def parameters(self) -> dict[str, Float32Array]:
        """Return ``weight``, ``bias``, ``landmarks`` and ``coefficients``."""
        return {
            **self.base.parameters(),
            "landmarks": self.landmarks,
            "coefficients": self.coefficients,
        }

    def settings(self) -> dict[str, JSON]:
        """Return γ and where the map came from."""
        return {
            "gamma": self.gamma,
            "fitted_by": "kernel",
            "hyperparameters": dict(self.hyperparameters),
        }

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, Float32Array], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`parameters` and :meth:`settings`."""
        gamma, hyperparameters = settings["gamma"], settings["hyperparameters"]
        if not isinstance(gamma, float) or not isinstance(hyperparameters, Mapping):
            raise TypeError("settings: expected gamma (float) and hyperparameters (mapping)")
        base = AffineTranslator(parameters["weight"], parameters["bias"], "ridge")
        return cls(
            base, parameters["landmarks"], parameters["coefficients"], gamma, hyperparameters
        )

    def _translate_block(self, block: Float32Array, out: Float32Array) -> None:
        self.base._translate_block(block, out)
        step = max(1, _BLOCK_VALUES // len(self.landmarks))
        for start in range(0, len(block), step):
            part = slice(start, start + step)
            out[part] += gaussian(block[part], self.landmarks, self.gamma) @ self.coefficients


@final
@dataclass(frozen=True, slots=True)
class Kernel(TranslatorFamily):
    """F(x) = ridge(x) + k(x, Z) (K + λI)⁻¹ R with R the residuals of ridge on the pairs.

    The Gaussian kernel k(x, z) = exp(-‖x - z‖² / 2σ²) corrects the affine map where documents
    like x were seen. On every real pair measured it beats ridge from about a thousand pairs
    on, and by the more the less the two models are alike.

    Parameters
    ----------
    base : Ridge
        What is fitted first.
    bandwidths : tuple of float
        Candidates for σ, relative to the median distance between source vectors.
    penalties : tuple of float
        Candidates for λ > 0. The kernel is 1 at distance 0, so λ is relative to that.
    max_landmarks : int
        Up to so many pairs are all landmarks and the solution is exact. Beyond, half as many
        random pairs are, by the Nyström approximation, and a fit to n pairs costs O(n m²)
        time and O(m²) memory, a translation O(m).

    Notes
    -----
    Penalty and bandwidth are chosen together by held-out retrieval on at most 3,000 pairs.

    References
    ----------
    Saunders, Gammerman and Vovk, "Ridge regression learning algorithm in dual variables",
    1998, eq. 8 (kernel ridge); Rudi, Camoriano and Rosasco, "Less is more: Nyström
    computational regularization", 2015, eq. 4 (landmarks).
    """

    name: ClassVar[str] = "kernel"
    cost: ClassVar[float] = 10.0
    min_pairs: ClassVar[int] = 10
    recovers: ClassVar[frozenset[str]] = frozenset({"identity", "rotation", "affine"})

    base: Ridge = Ridge()  # noqa: RUF009 - a frozen value
    bandwidths: tuple[float, ...] = (0.5, 0.7, 1.0)
    penalties: tuple[float, ...] = (0.1, 0.3, 1.0)
    max_landmarks: int = 5000

    def __post_init__(self) -> None:
        for name in ("bandwidths", "penalties"):
            values = getattr(self, name)
            if not values or not all(np.isfinite(v) and v > 0 for v in values):
                raise InvalidArgumentError(
                    f"{name}: expected one or more finite numbers > 0, got {values!r}"
                )
        check_at_least(self.max_landmarks, 2, name="max_landmarks")

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> KernelTranslator:
        """Fit to pairs; see :meth:`TranslatorFamily.fit`."""
        source, target = self.check_pairs(X, Y)
        family = self.tuned(source, target, metric=metric, seed=seed)
        base = family.base.fit(source, target, metric=metric, seed=seed)
        source = source.astype(np.float32)
        residual = target.astype(np.float32) - base.translate(source)
        gamma = _gamma(source, family.bandwidths[0], seed)
        landmarks, coefficients = family._solve(source, residual, gamma, seed)
        chosen: dict[str, JSON] = {
            "bandwidth": family.bandwidths[0],
            "penalty": family.penalties[0],
            "alpha": family.base.alphas[0],
            "pairs": len(source),
        }
        return KernelTranslator(base, landmarks, coefficients, gamma, chosen)

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Choose α of the base, then σ and λ; see :meth:`TranslatorFamily.tuned`."""
        source, target = self.check_pairs(X, Y)
        base = self.base.tuned(source, target, metric=metric, seed=seed)
        choices = [(b, p) for b in self.bandwidths for p in self.penalties]
        if len(choices) == 1:
            return replace(self, base=base)
        check_metric(metric)
        rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:_TUNING_PAIRS])
        source, target = source[rows].astype(np.float32), target[rows].astype(np.float32)
        held_out = held_out_folds(len(source), folds=3, pool=_TUNING_POOL, seed=seed)
        parts = [self._path(base, source, target, held, seed) for held in held_out]
        mapped = [np.concatenate(folds) for folds in zip(*parts, strict=True)]
        native = target[np.concatenate(held_out)]
        bandwidth, penalty = choices[best_by_retrieval(native, mapped, metric=metric)]
        return replace(self, base=base, bandwidths=(bandwidth,), penalties=(penalty,))

    def _path(
        self,
        base: Ridge,
        source: Float32Array,
        target: Float32Array,
        held_out: NDArray[np.int64],
        seed: int,
    ) -> Iterator[Float32Array]:
        """Yield the held-out rows as mapped with every bandwidth and penalty in turn."""
        seen = np.setdiff1d(np.arange(len(source)), held_out)
        X, Z = source[seen], source[held_out]
        ridge = base.fit_statistics(PairStatistics.from_arrays(X, target[seen]))
        affine = ridge.translate(Z)
        residual = target[seen] - ridge.translate(X)
        for bandwidth in self.bandwidths:
            gamma = _gamma(X, bandwidth, seed)
            gram, across = gaussian(X, X, gamma), gaussian(Z, X, gamma)
            for penalty in self.penalties:
                yield affine + across @ _regularised_solution(gram, residual, penalty)

    def _solve(
        self, source: Float32Array, residual: Float32Array, gamma: float, seed: int
    ) -> tuple[Float32Array, Float32Array]:
        """Return the landmarks and their coefficients."""
        (penalty,) = self.penalties
        if len(source) <= self.max_landmarks:
            gram = gaussian(source, source, gamma)
            return source, _regularised_solution(gram, residual, penalty)
        rng = np.random.default_rng([seed, 3])
        m = self.max_landmarks // 2
        landmarks = source[np.sort(rng.permutation(len(source))[:m])]
        gram = gaussian(landmarks, landmarks, gamma).astype(np.float64)
        # (K_mn K_nm + λ K_mm) A = K_mn R; the small multiple of I settles near-copies.
        left = penalty * gram
        left.flat[:: m + 1] += 1e-6 * len(source)
        right = np.zeros((m, residual.shape[1]))
        step = max(1, _BLOCK_VALUES // m)
        for start in range(0, len(source), step):
            block = gaussian(source[start : start + step], landmarks, gamma)
            left += block.T @ block
            right += block.T @ residual[start : start + step]
        return landmarks, np.linalg.solve(left, right).astype(np.float32)


def gaussian(X: Float32Array, Z: Float32Array, gamma: float) -> Float32Array:
    """Return exp(-γ ‖x - z‖²) for all rows of X and Z, of shape (len(X), len(Z)).

    Both are moved by the mean of Z first: distances stay, cancellation shrinks.
    """
    centre = Z.mean(axis=0)
    X, Z = X - centre, Z - centre
    exponent: Float32Array = X @ Z.T
    exponent *= 2
    exponent -= np.einsum("ij,ij->i", X, X)[:, np.newaxis]
    exponent -= np.einsum("ij,ij->i", Z, Z)
    np.minimum(exponent, 0, out=exponent)
    exponent *= np.float32(gamma)
    return np.exp(exponent, out=exponent)


def _regularised_solution(
    gram: Float32Array, residual: Float32Array, penalty: float
) -> Float32Array:
    """Return (K + λI)⁻¹ R. With λ of 0.1 or so, float32 loses nothing that matters."""
    left = gram.copy()
    left.flat[:: len(gram) + 1] += np.float32(penalty)
    return np.linalg.solve(left, residual)


def _gamma(source: Float32Array, bandwidth: float, seed: int) -> float:
    """Return 1 / 2σ² with σ relative to the median distance between (sampled) rows."""
    rows = np.random.default_rng([seed, 4]).permutation(len(source))[:_MEDIAN_ROWS]
    sample = source[np.sort(rows)].astype(np.float64)
    sample -= sample.mean(axis=0)
    norms = np.einsum("ij,ij->i", sample, sample)
    squared = norms[:, np.newaxis] + norms - 2 * sample @ sample.T
    # Copies say nothing about scale; where there is nothing else, any scale will do.
    apart = squared[squared > 1e-9 * max(norms.max(), 1e-300)]
    return 1 / (2 * bandwidth**2 * float(np.median(apart))) if apart.size else 1.0
