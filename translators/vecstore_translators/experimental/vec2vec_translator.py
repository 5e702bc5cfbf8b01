"""The map that adversarial training leaves behind: six layers, applied with numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias, cast, final

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.base import JSON, Translator
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.validation import require_finite

Rows: TypeAlias = NDArray[np.float32]

LAYERS = ("adapter", "encode", "mix", "remix", "decode", "output")
"""The six affine layers a translation passes, in order."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vec2vecTranslator(Translator):
    """F(x) = μ_t + s y, with y the unit output of six layers on the unit vector of x - μ_s.

    With h = L₂ σ(L₁ u), z = h + L₄ σ(L₃ h) and y = L₆ σ(L₅ z), normalised; σ(x) = x / (1 + e⁻ˣ).

    Parameters
    ----------
    arrays : mapping of str to ndarray
        ``<layer>.weight`` of shape (in, out) and ``<layer>.bias`` for each of `LAYERS`, and
        ``mean_source`` and ``mean_target``; kept as read-only float32 copies.
    spread : float
        s, the mean distance of target vectors from their mean.
    hyperparameters : mapping of str to JSON
    """

    kind: ClassVar[str] = "vec2vec"

    arrays: Mapping[str, NDArray[np.float32]]
    spread: float
    hyperparameters: Mapping[str, JSON]

    def __post_init__(self) -> None:
        frozen = {name: _frozen(self.arrays[name]) for name in _names()}
        widths = [frozen["mean_source"].shape]
        for layer in LAYERS:
            weight, bias = frozen[f"{layer}.weight"], frozen[f"{layer}.bias"]
            if (
                weight.ndim != 2
                or (weight.shape[0],) != widths[-1]
                or bias.shape != (weight.shape[1],)
            ):
                raise DimensionMismatchError(
                    f"{layer}: expected a weight from {widths[-1]} dimensions and a bias of its "
                    f"columns, got {weight.shape} and {bias.shape}"
                )
            widths.append(bias.shape)
        if frozen["mean_target"].shape != widths[-1] or widths[2] != widths[4]:
            raise DimensionMismatchError(
                "expected layers that end in the target space and a residual block that keeps "
                f"its width, got widths {widths} and a mean of {frozen['mean_target'].shape}"
            )
        if not (np.isfinite(self.spread) and self.spread > 0):
            raise InvalidArgumentError(f"spread: expected a positive number, got {self.spread}")
        object.__setattr__(self, "arrays", frozen)

    def __repr__(self) -> str:
        return f"Vec2vecTranslator({self.source_dim} -> {self.target_dim})"

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return len(self.arrays["mean_source"])

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return len(self.arrays["mean_target"])

    def directions(self, rows: Rows) -> Rows:
        """Return the unit directions from the target's mean, for unit directions from the source's.

        Parameters
        ----------
        rows : ndarray of shape (n, source_dim), float32

        Returns
        -------
        ndarray of shape (n, target_dim), float32
        """
        first, second, third, fourth, fifth, sixth = (self._layer(name) for name in LAYERS)
        hidden = _affine(_silu(_affine(rows, first)), second)
        hidden = hidden + _affine(_silu(_affine(hidden, third)), fourth)
        return _unit(_affine(_silu(_affine(hidden, fifth)), sixth))

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays of all layers and the two means."""
        return dict(self.arrays)

    def settings(self) -> dict[str, JSON]:
        """Return the spread and the hyper-parameters."""
        return {"spread": self.spread, "hyperparameters": dict(self.hyperparameters)}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`parameters` and :meth:`settings`."""
        spread, hyperparameters = settings["spread"], settings["hyperparameters"]
        if not isinstance(spread, float) or not isinstance(hyperparameters, Mapping):
            raise TypeError("settings: expected spread (float) and hyperparameters (mapping)")
        return cls(arrays=parameters, spread=spread, hyperparameters=hyperparameters)

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        moved = self.directions(_unit(block - self.arrays["mean_source"]))
        np.multiply(moved, np.float32(self.spread), out=out)
        out += self.arrays["mean_target"]

    def _layer(self, name: str) -> tuple[Rows, Rows]:
        return self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]


def _names() -> list[str]:
    """Return the name of every array of a translator."""
    layers = [f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")]
    return [*layers, "mean_source", "mean_target"]


def _frozen(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a read-only float32 copy of finite values."""
    copy = np.array(array, dtype=np.float32, order="C")
    require_finite(np.atleast_2d(copy), name="vec2vec parameters")
    copy.setflags(write=False)
    return copy


def _affine(rows: Rows, layer: tuple[Rows, Rows]) -> Rows:
    """Return rows through one layer."""
    return cast("Rows", rows @ layer[0] + layer[1])


def _silu(rows: Rows) -> Rows:
    """Return x / (1 + e⁻ˣ); e⁻ˣ may overflow, the quotient is then 0 as it should be."""
    with np.errstate(over="ignore"):
        return cast("Rows", rows / (1 + np.exp(-rows)))


def _unit(rows: Rows) -> Rows:
    """Return rows over their lengths; a row of zeros stays one, as the mean has no direction."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return cast("Rows", scaled / np.where(length > 0, length, 1))
