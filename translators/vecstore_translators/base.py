"""The two interfaces of the package: a fitted translator and a family that fits one.

A :class:`Translator` exists only fitted, so "not fitted" cannot be represented; direction
(source to target) is part of its type. A :class:`TranslatorFamily` holds hyper-parameters
and nothing else. The laws stated here are what :mod:`vecstore_translators.testing` checks
over every member of the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import DimensionMismatchError, UnsupportedOperationError
from vecstore_translators.validation import Metric, Vectors, as_pairs, as_vectors, require_finite

if TYPE_CHECKING:
    from vecstore_translators.affine import AffineTranslator
    from vecstore_translators.statistics import PairStatistics

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""What a translator's settings may hold."""

BLOCK_ROWS = 16_384
"""Rows mapped at once: enough for full GEMM speed, few enough to keep temporaries small."""


class Translator(ABC):
    """A fitted, immutable map F from a source space to a target space.

    Laws
    ----
    shape
        ``translate(X)`` of shape (n, source_dim) has shape (n, target_dim), float32, for
        float16, float32 and float64 input, n = 0 included.
    determinism
        The same X gives the same bits.
    row independence
        ``translate(X)[i]`` equals ``translate(X[i:i+1])[0]`` to float32 rounding: no row's
        translation depends on its neighbours.
    immutability
        Neither X nor the translator changes; its parameters are read-only arrays.
    serialisation
        ``type(t).from_parameters(t.parameters(), t.settings())`` translates to the same bits.
    affine
        If ``t.affine`` is not None it is the same map: F(x) = x W + b, hence
        F(sx + (1-s)y) = s F(x) + (1-s) F(y).
    inverse
        If ``t.invertible``, ``t.inverse().translate(t.translate(X))`` is X to rounding;
        otherwise ``t.inverse()`` raises :class:`UnsupportedOperationError`.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """Name of the class in stored files; unique in the registry."""

    @property
    @abstractmethod
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""

    @property
    @abstractmethod
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""

    @property
    def affine(self) -> AffineTranslator | None:
        """The same map as x W + b, where it is one; None for a nonlinear map."""
        return None

    @property
    def invertible(self) -> bool:
        """Whether :meth:`inverse` exists exactly."""
        return False

    def inverse(self) -> Translator:
        """Return the exact inverse, target to source.

        Raises
        ------
        UnsupportedOperationError
            The map has no exact inverse; fit one on the pairs the other way round.
        """
        raise UnsupportedOperationError(
            f"{self!r} has no exact inverse; fit a translator on the same pairs in the other "
            "direction instead"
        )

    def translate(self, X: ArrayLike) -> NDArray[np.float32]:
        """Map source vectors to the target space.

        The raw F(x): under cosine the caller divides by its norm where that matters.

        Parameters
        ----------
        X : array_like of shape (n, source_dim), float16, float32 or float64

        Returns
        -------
        ndarray of shape (n, target_dim), float32

        Raises
        ------
        InvalidVectorsError
            Not a two-dimensional floating array.
        DimensionMismatchError
            The vectors are not `source_dim` wide.
        NonFiniteError
            NaN, infinity, or values beyond the range of float32.

        Notes
        -----
        Works in blocks of rows: beyond the result it needs memory for one block only.
        """
        X = as_vectors(X, dim=self.source_dim, name="X", finite=False)
        result = np.empty((len(X), self.target_dim), dtype=np.float32)
        with np.errstate(over="ignore"):
            for start in range(0, len(X), BLOCK_ROWS):
                stop = start + BLOCK_ROWS
                block = np.ascontiguousarray(X[start:stop], dtype=np.float32)
                require_finite(block, name="X", first_row=start)
                self._translate_block(block, result[start:stop])
        return result

    @abstractmethod
    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write F of a checked, contiguous block into `out`, every value of it."""

    @abstractmethod
    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays that define the map, read-only, by name."""

    @abstractmethod
    def settings(self) -> dict[str, JSON]:
        """Return what else defines the map or says where it came from, as JSON values."""

    @classmethod
    @abstractmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild a translator from :meth:`parameters` and :meth:`settings`.

        Raises
        ------
        VecstoreError, KeyError, TypeError or ValueError
            The parts do not make a translator of this kind.
        """


@dataclass(frozen=True, slots=True)
class TranslatorFamily(ABC):
    """A way to fit translators: hyper-parameters, no state.

    Laws
    ----
    ``fit`` changes neither X nor Y nor the family, and gives the same translator for the
    same pairs, metric and seed. ``f.tuned(X, Y).fit(X, Y)`` is ``f.fit(X, Y)``, and tuning
    what is tuned changes nothing. A family that lists ``"rotation"`` or ``"affine"`` in
    `recovers` finds such a planted map from enough noiseless pairs.
    """

    name: ClassVar[str]
    """Key in the registry."""

    cost: ClassVar[float]
    """Relative cost of fitting and applying; among equals the cheaper family is selected."""

    min_pairs: ClassVar[int] = 2
    """Fewest pairs `fit` accepts."""

    by_default: ClassVar[bool] = True
    """Whether a selection that names no families tries this one."""

    recovers: ClassVar[frozenset[str]] = frozenset()
    """Planted maps found exactly: any of "identity", "rotation", "affine"."""

    equal_dims_only: ClassVar[bool] = False
    """Whether source and target must have the same dimension."""

    @property
    def label(self) -> str:
        """The name with the hyper-parameters that differ from the defaults.

        >>> from vecstore_translators import Procrustes
        >>> Procrustes(center=False).label
        'procrustes(center=False)'
        """
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    @classmethod
    def candidates(cls) -> tuple[Self, ...]:
        """Return the members of this family that a selection tries."""
        return (cls(),)

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Return this family with every hyper-parameter decided on the pairs.

        Its `fit` then has nothing left to choose, so that a selection tunes each candidate
        once instead of once per fold. Parameters and errors are those of :meth:`fit`.
        """
        return self

    @abstractmethod
    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Translator:
        """Fit a translator to pairs, tuning first what is still open.

        Parameters
        ----------
        X : array_like of shape (n, d_s), float16, float32 or float64
            Native source vectors.
        Y : array_like of shape (n, d_t), float16, float32 or float64
            Native target vectors of the same items, in the same order. In a cosine space
            pass unit vectors: other lengths would only act as weights.
        metric : {"cosine", "ip", "l2"}
            How the target space compares; hyper-parameters are chosen by retrieval under it.
        seed : int
            Seed of every random choice in the fit.

        Raises
        ------
        UnpairedRowsError, TooFewPairsError, InvalidVectorsError, NonFiniteError
        """

    def check_pairs(self, X: ArrayLike, Y: ArrayLike) -> tuple[Vectors, Vectors]:
        """Return the pairs as arrays, checked against what this family can fit."""
        source, target = as_pairs(X, Y, min_pairs=self.min_pairs, finite=False)
        self.check_dims(source.shape[1], target.shape[1])
        return source, target

    def check_dims(self, source_dim: int, target_dim: int) -> None:
        """Raise DimensionMismatchError unless this family joins these dimensions."""
        if self.equal_dims_only and source_dim != target_dim:
            raise DimensionMismatchError(
                f"{self.name} expects source and target of the same dimension, got "
                f"{source_dim} and {target_dim}; use another family, such as ridge"
            )


@dataclass(frozen=True, slots=True)
class AffineFamily(TranslatorFamily):
    """A family whose fit needs the pair statistics only, so it can stream.

    Law: ``fit_statistics(PairStatistics.from_arrays(X, Y))`` equals ``fit(X, Y)`` wherever
    there is no hyper-parameter left to choose.
    """

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> AffineTranslator:
        """Fit an affine translator to pairs; see :meth:`TranslatorFamily.fit`."""
        from vecstore_translators.statistics import PairStatistics

        return self.fit_statistics(PairStatistics.from_arrays(*self.check_pairs(X, Y)))

    @abstractmethod
    def fit_statistics(
        self, statistics: PairStatistics, folds: Sequence[PairStatistics] | None = None
    ) -> AffineTranslator:
        """Fit from sufficient statistics, in time and memory that do not depend on n.

        Parameters
        ----------
        statistics : PairStatistics
            Statistics of all pairs.
        folds : sequence of PairStatistics, optional
            A partition of the same pairs. Hyper-parameters with several values are chosen by
            the exact held-out squared error over these folds.

        Raises
        ------
        TooFewPairsError
            Too few pairs for the family or for its regularisation.
        InvalidArgumentError
            A hyper-parameter has to be chosen and no folds were given.
        """
