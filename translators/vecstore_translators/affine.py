"""The affine translator F(x) = x W + b: one GEMM with the bias added in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.base import JSON, Translator
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.validation import as_vectors, require_finite

_SIMILARITY_TOLERANCE = 1e-4
"""How far W Wᵀ may be from a multiple of I, relative, for Wᵀ to count as the exact inverse."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class AffineTranslator(Translator):
    """F(x) = x W + b.

    Parameters
    ----------
    weight : array_like of shape (d_s, d_t)
        W; kept as a read-only float32 copy.
    bias : array_like of shape (d_t,)
        b; kept as a read-only float32 copy.
    fitted_by : str
        Name of the family that fitted the map, or how it came about.
    hyperparameters : mapping of str to JSON
        What that family chose, for the model card.

    Examples
    --------
    >>> import numpy as np
    >>> double = AffineTranslator(2 * np.eye(2), np.ones(2))
    >>> double.translate(np.array([[1.0, 2.0]])).tolist()
    [[3.0, 5.0]]
    >>> double.inverse().translate(np.array([[3.0, 5.0]])).tolist()
    [[1.0, 2.0]]
    """

    kind: ClassVar[str] = "affine"

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    fitted_by: str = "affine"
    hyperparameters: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weight = _frozen(as_vectors(self.weight, name="weight"))
        bias = _frozen(as_vectors(np.atleast_2d(self.bias), name="bias"))
        if bias.shape != (1, weight.shape[1]):
            raise DimensionMismatchError(
                f"bias: expected {weight.shape[1]} values, one per column of the weight, "
                f"got shape {np.shape(self.bias)}"
            )
        if not isinstance(self.fitted_by, str):
            raise InvalidArgumentError(f"fitted_by: expected a name, got {self.fitted_by!r}")
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias[0])
        frozen = MappingProxyType(dict(self.hyperparameters))
        object.__setattr__(self, "hyperparameters", frozen)

    def __repr__(self) -> str:
        return f"AffineTranslator({self.source_dim} -> {self.target_dim}, {self.fitted_by!r})"

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return int(self.weight.shape[0])

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return int(self.weight.shape[1])

    @property
    def affine(self) -> AffineTranslator:
        """The map itself."""
        return self

    @property
    def invertible(self) -> bool:
        """Whether W is square and a rotation or reflection times a scale."""
        return self._squared_scale() is not None

    def inverse(self) -> AffineTranslator:
        """Return the exact inverse y -> (y - b) Wᵀ / s², for W = s R with R orthogonal.

        Raises
        ------
        UnsupportedOperationError
            W is not square and orthogonal up to a scale.
        """
        squared_scale = self._squared_scale()
        if squared_scale is None:
            Translator.inverse(self)  # raises, by name
            raise AssertionError("unreachable")
        weight = self.weight.T.astype(np.float64) / squared_scale
        return AffineTranslator(
            weight=weight,  # type: ignore[arg-type]
            bias=-(self.bias @ weight),  # type: ignore[arg-type]
            fitted_by=f"inverse of {self.fitted_by}",
            hyperparameters=self.hyperparameters,
        )

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return ``weight`` and ``bias``."""
        return {"weight": self.weight, "bias": self.bias}

    def settings(self) -> dict[str, JSON]:
        """Return where the map came from."""
        return {"fitted_by": self.fitted_by, "hyperparameters": dict(self.hyperparameters)}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`parameters` and :meth:`settings`."""
        hyperparameters = settings["hyperparameters"]
        fitted_by = settings["fitted_by"]
        if not isinstance(hyperparameters, Mapping) or not isinstance(fitted_by, str):
            raise TypeError("settings: expected fitted_by (str) and hyperparameters (mapping)")
        return cls(parameters["weight"], parameters["bias"], fitted_by, hyperparameters)

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        np.matmul(block, self.weight, out=out)
        if self.bias.any():
            out += self.bias

    def _squared_scale(self) -> float | None:
        """Return s² if W Wᵀ = s² I to tolerance, else None."""
        if self.source_dim != self.target_dim:
            return None
        gram = self.weight @ self.weight.T
        squared_scale = float(np.trace(gram, dtype=np.float64)) / self.source_dim
        if squared_scale <= 0:
            return None
        gram -= np.float32(squared_scale) * np.eye(self.source_dim, dtype=np.float32)
        return squared_scale if abs(gram).max() <= _SIMILARITY_TOLERANCE * squared_scale else None


def _frozen(array: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return a read-only float32 copy; what overflows float32 is refused."""
    with np.errstate(over="ignore"):
        copy = np.array(array, dtype=np.float32, order="C")
    require_finite(copy, name="affine parameters")
    copy.setflags(write=False)
    return copy
