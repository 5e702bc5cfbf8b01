"""The algebra of translators: identity, composition and inverse.

Affine maps fold into one matrix, so a route of any length costs a single GEMM; what is not
affine stays a :class:`Chain`. Laws, to float32 rounding: ``compose(identity(d), F)`` and
``compose(F, identity(d))`` are F; grouping does not matter; the inverse of a composition is the
composition of the inverses in reverse order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import JSON, Translator
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.parts import parts_from, parts_parameters, parts_settings
from vecstore_translators.validation import check_at_least

_NAME = "composition"


def identity(dim: int) -> AffineTranslator:
    """Return F(x) = x, the neutral element of :func:`compose`.

    Parameters
    ----------
    dim : int

    Raises
    ------
    InvalidArgumentError
        `dim` is below 1.
    """
    check_at_least(dim, 1, name="dim")
    return AffineTranslator(
        np.eye(dim, dtype=np.float32), np.zeros(dim, dtype=np.float32), "identity"
    )


def compose(first: Translator, *rest: Translator) -> Translator:
    """Return the map that applies `first`, then every one of `rest` in order.

    Parameters
    ----------
    first, *rest : Translator
        Each must start where the one before ends.

    Returns
    -------
    Translator
        One :class:`AffineTranslator` if all parts are affine, else a :class:`Chain` in which
        neighbouring affine parts are folded and identities left out. A single translator is
        returned as it is.

    Raises
    ------
    DimensionMismatchError
        A part does not take the dimension that the part before gives.

    Notes
    -----
    (x W₁ + b₁) W₂ + b₂ = x (W₁ W₂) + (b₁ W₂ + b₂), folded in float64. No vector is scaled to
    unit length between the parts: each is applied to exactly what the one before returns.

    Examples
    --------
    >>> double = AffineTranslator(2 * np.eye(1), np.zeros(1))
    >>> shift = AffineTranslator(np.eye(1), np.ones(1))
    >>> compose(double, shift).translate(np.array([[3.0]])).tolist()
    [[7.0]]
    >>> compose(shift, double).inverse().translate(np.array([[8.0]])).tolist()
    [[3.0]]
    """
    parts = _flat((first, *rest))
    _check_joined(parts)
    runs: list[list[Translator]] = []
    for part in parts:
        if _is_identity(part):
            continue
        if runs and part.affine is not None and runs[-1][-1].affine is not None:
            runs[-1].append(part)
        else:
            runs.append([part])
    # What is left without identities; if that is nothing, all parts were the same identity.
    folded = [_folded(run) for run in runs] or [parts[0]]
    return folded[0] if len(folded) == 1 else Chain(tuple(folded))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chain(Translator):
    """Translators applied one after the other; :func:`compose` makes it where it is needed.

    Parameters
    ----------
    parts : tuple of Translator
        At least two; each starts where the one before ends.

    Raises
    ------
    InvalidArgumentError
        Fewer than two parts.
    DimensionMismatchError
        Neighbours do not join.
    """

    kind: ClassVar[str] = "chain"

    parts: tuple[Translator, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if len(self.parts) < 2:
            raise InvalidArgumentError(
                f"parts: expected at least two translators to chain, got {len(self.parts)}"
            )
        _check_joined(self.parts)

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return self.parts[0].source_dim

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return self.parts[-1].target_dim

    @property
    def affine(self) -> AffineTranslator | None:
        """All parts as one matrix, if every part is affine."""
        if any(part.affine is None for part in self.parts):
            return None
        return _folded(self.parts).affine

    @property
    def invertible(self) -> bool:
        """Whether every part is."""
        return all(part.invertible for part in self.parts)

    def inverse(self) -> Translator:
        """Return the inverses of the parts, composed in reverse order.

        Raises
        ------
        UnsupportedOperationError
            A part has no exact inverse.
        """
        return compose(*(part.inverse() for part in reversed(self.parts)))

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return the parameters of part i under ``i.name``."""
        return parts_parameters(self.parts)

    def settings(self) -> dict[str, JSON]:
        """Return kind and settings of every part."""
        return {"parts": parts_settings(self.parts)}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`parameters` and :meth:`settings`."""
        return cls(parts_from(parameters, settings["parts"]))

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        for part in self.parts[:-1]:
            step = np.empty((len(block), part.target_dim), dtype=np.float32)
            part._translate_block(block, step)
            block = step
        self.parts[-1]._translate_block(block, out)


def _flat(parts: tuple[Translator, ...]) -> tuple[Translator, ...]:
    """Return the parts with chains taken apart."""
    return tuple(
        inner
        for part in parts
        for inner in (_flat(part.parts) if isinstance(part, Chain) else (part,))
    )


def _check_joined(parts: tuple[Translator, ...]) -> None:
    """Raise DimensionMismatchError unless each part starts where the one before ends."""
    for i, (before, after) in enumerate(pairwise(parts)):
        if before.target_dim != after.source_dim:
            raise DimensionMismatchError(
                f"expected part {i + 1} to take the {before.target_dim} dimensions that part {i} "
                f"gives, got {after!r}; parts are applied from left to right"
            )


def _is_identity(part: Translator) -> bool:
    """Return whether the part is exactly F(x) = x."""
    if not isinstance(part, AffineTranslator) or part.source_dim != part.target_dim:
        return False
    # The diagonal answers almost always, without a matrix to compare with.
    if not (np.diagonal(part.weight) == 1).all() or part.bias.any():
        return False
    return bool(np.count_nonzero(part.weight) == part.source_dim)


def _folded(parts: list[Translator] | tuple[Translator, ...]) -> Translator:
    """Return neighbouring affine parts as one map; a single part of any kind as it is."""
    if len(parts) == 1:
        return parts[0]
    maps = [part.affine for part in parts if part.affine is not None]
    weight, bias = maps[0].weight.astype(np.float64), maps[0].bias.astype(np.float64)
    for each in maps[1:]:
        weight, bias = weight @ each.weight, bias @ each.weight + each.bias
    return AffineTranslator(
        weight,  # type: ignore[arg-type]
        bias,  # type: ignore[arg-type]
        _NAME,
        {"parts": [name for each in maps for name in _names(each)]},
    )


def _names(part: AffineTranslator) -> list[str]:
    """Return which families a part came from, in order of application."""
    parts = part.hyperparameters.get("parts")
    if part.fitted_by == _NAME and isinstance(parts, list | tuple):
        return [str(name) for name in parts]
    return [part.fitted_by]
