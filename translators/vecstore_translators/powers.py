"""The signed power of every coordinate, as an optional step before another family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.base import JSON, Translator, TranslatorFamily
from vecstore_translators.composition import compose
from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.folds import held_out_folds
from vecstore_translators.ridge import Ridge
from vecstore_translators.tuning import best_by_retrieval
from vecstore_translators.validation import Metric, check_at_least, check_metric

_POOL = 2000
_FOLDS = 3


@final
@dataclass(frozen=True, slots=True)
class SignedPower(Translator):
    """F(x) = sign(x) |x|^p, coordinate by coordinate.

    Parameters
    ----------
    dim : int
    exponent : float
        p > 0; below 1 it evens out coordinates of very different size.

    References
    ----------
    Perronnin, Sánchez and Mensink, "Improving the Fisher kernel for large-scale image
    classification", 2010, section 3.2.
    """

    kind: ClassVar[str] = "signed_power"

    dim: int
    exponent: float

    def __post_init__(self) -> None:
        check_at_least(self.dim, 1, name="dim")
        _check_exponent(self.exponent)

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return self.dim

    @property
    def target_dim(self) -> int:
        """The same."""
        return self.dim

    @property
    def invertible(self) -> bool:
        """Always."""
        return True

    def inverse(self) -> SignedPower:
        """Return the signed power with exponent 1/p."""
        return SignedPower(self.dim, 1 / self.exponent)

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return nothing: the settings say it all."""
        return {}

    def settings(self) -> dict[str, JSON]:
        """Return dimension and exponent."""
        return {"dim": self.dim, "exponent": self.exponent}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`settings`."""
        dim, exponent = settings["dim"], settings["exponent"]
        if parameters or not isinstance(dim, int) or not isinstance(exponent, int | float):
            raise TypeError("expected a dimension, an exponent and no parameters")
        return cls(dim, exponent)

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        np.abs(block, out=out)
        np.power(out, np.float32(self.exponent), out=out)
        np.copysign(out, block, out=out)


@final
@dataclass(frozen=True, slots=True)
class Powered(TranslatorFamily):
    """Another family, fitted to sign(x) |x|^p with p chosen by held-out retrieval.

    Parameters
    ----------
    family : TranslatorFamily
        What follows the power.
    exponents : tuple of float
        Candidates for p; 1 leaves vectors as they are.
    """

    name: ClassVar[str] = "powered"
    cost: ClassVar[float] = 3.0
    min_pairs: ClassVar[int] = 15
    by_default: ClassVar[bool] = False
    recovers: ClassVar[frozenset[str]] = frozenset({"identity", "rotation", "affine"})

    family: TranslatorFamily = Ridge()  # noqa: RUF009 - a frozen value
    exponents: tuple[float, ...] = (0.5, 0.75, 1.0)

    def __post_init__(self) -> None:
        if not self.exponents:
            raise InvalidArgumentError("exponents: expected at least one, got none")
        for exponent in self.exponents:
            _check_exponent(exponent)

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Translator:
        """Fit to pairs; see :meth:`TranslatorFamily.fit`."""
        source, target = self.check_pairs(X, Y)
        tuned = self.tuned(source, target, metric=metric, seed=seed)
        power = SignedPower(source.shape[1], tuned.exponents[0])
        after = tuned.family.fit(power.translate(source), target, metric=metric, seed=seed)
        return after if power.exponent == 1 else compose(power, after)

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Tune the family after each power, then choose one; see :class:`TranslatorFamily`."""
        source, target = self.check_pairs(X, Y)
        self.family.check_dims(source.shape[1], target.shape[1])
        check_metric(metric)
        powers = [SignedPower(source.shape[1], exponent) for exponent in self.exponents]
        raised = [power.translate(source) for power in powers]
        families = [self.family.tuned(x, target, metric=metric, seed=seed) for x in raised]
        best = 0
        if len(powers) > 1:
            held_out = held_out_folds(len(source), folds=_FOLDS, pool=_POOL, seed=seed)
            learn = [np.setdiff1d(np.arange(len(source)), rows) for rows in held_out]
            mapped = []
            for family, x in zip(families, raised, strict=True):
                parts = []
                for seen, rows in zip(learn, held_out, strict=True):
                    after = family.fit(x[seen], target[seen], metric=metric, seed=seed)
                    parts.append(after.translate(x[rows]))
                mapped.append(np.concatenate(parts))
            best = best_by_retrieval(target[np.concatenate(held_out)], mapped, metric=metric)
        return replace(self, family=families[best], exponents=(self.exponents[best],))


def _check_exponent(exponent: float) -> None:
    """Raise InvalidArgumentError unless the exponent is finite and positive."""
    if not (np.isfinite(exponent) and exponent > 0):
        raise InvalidArgumentError(f"exponent: expected a finite number > 0, got {exponent!r}")
