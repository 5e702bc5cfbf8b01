"""A convex combination of maps, its weights learned on held-out retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import JSON, Translator, TranslatorFamily
from vecstore_translators.errors import DimensionMismatchError, InvalidArgumentError
from vecstore_translators.folds import held_out_folds
from vecstore_translators.kernel import Kernel
from vecstore_translators.parts import parts_from, parts_parameters, parts_settings
from vecstore_translators.ridge_procrustes import RidgeProcrustes
from vecstore_translators.tuning import best_by_retrieval, overlaps
from vecstore_translators.validation import Metric, Vectors, check_metric

_ROUNDS = 10
_POOL = 1500
_SINGLE_SPLIT_PAIRS = 2000
_SUM_TOLERANCE = 1e-6


@final
@dataclass(frozen=True, slots=True, eq=False)
class EnsembleTranslator(Translator):
    """F(x) = Σ wᵢ Fᵢ(x) with wᵢ > 0 and Σ wᵢ = 1.

    Parameters
    ----------
    parts : tuple of Translator
        At least one; all between the same dimensions.
    weights : tuple of float
        One per part.
    """

    kind: ClassVar[str] = "ensemble"

    parts: tuple[Translator, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        parts, weights = tuple(self.parts), tuple(float(w) for w in self.weights)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "weights", weights)
        if not parts or len(parts) != len(weights):
            raise InvalidArgumentError(
                f"expected one weight per part, got {len(weights)} for {len(parts)} parts"
            )
        if not min(weights) > 0 or not abs(sum(weights) - 1) <= _SUM_TOLERANCE:
            raise InvalidArgumentError(
                f"weights: expected positive numbers that sum to 1, got {weights}"
            )
        shapes = {(part.source_dim, part.target_dim) for part in parts}
        if len(shapes) > 1:
            raise DimensionMismatchError(
                f"parts: expected maps between the same dimensions, got {sorted(shapes)}"
            )

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return self.parts[0].source_dim

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return self.parts[0].target_dim

    @property
    def affine(self) -> AffineTranslator | None:
        """The combination as one matrix, if every part is affine."""
        maps = [part.affine for part in self.parts]
        if any(part is None for part in maps):
            return None
        pairs = [(w, part) for w, part in zip(self.weights, maps, strict=True) if part is not None]
        weight = sum(w * part.weight.astype(np.float64) for w, part in pairs)
        bias = sum(w * part.bias.astype(np.float64) for w, part in pairs)
        return AffineTranslator(weight, bias, self.kind)  # type: ignore[arg-type]

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return the parameters of part i under ``i.name``."""
        return parts_parameters(self.parts)

    def settings(self) -> dict[str, JSON]:
        """Return the weights, and kind and settings of every part."""
        return {"weights": list(self.weights), "parts": parts_settings(self.parts)}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`parameters` and :meth:`settings`."""
        weights = settings["weights"]
        if not isinstance(weights, list | tuple):
            raise TypeError("settings: expected a list of weights")
        return cls(parts_from(parameters, settings["parts"]), tuple(weights))

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        out[:] = 0
        term = np.empty_like(out)
        for weight, part in zip(self.weights, self.parts, strict=True):
            part._translate_block(block, term)
            term *= np.float32(weight)
            out += term


@final
@dataclass(frozen=True, slots=True)
class Ensemble(TranslatorFamily):
    """The convex combination of several families' maps that retrieves best.

    Maps that are wrong in different ways are less wrong on average: it pays where members of
    a different kind are about equally good, such as ``(Kernel(), Mlp())``.

    Parameters
    ----------
    members : tuple of TranslatorFamily
        Families to combine; those given weight 0 are left out of the translator.
    weights : tuple of float
        Fixed weights, one per member; learned if empty.

    Notes
    -----
    Members are tuned alone. Then they are fitted without some held-out pairs, and starting
    from the best, members are added one at a time with replacement, always the one whose
    addition retrieves best; weights are thus multiples of one over the number of additions.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models",
    2004, section 2.
    """

    name: ClassVar[str] = "ensemble"
    cost: ClassVar[float] = 20.0
    min_pairs: ClassVar[int] = 15
    by_default: ClassVar[bool] = False
    recovers: ClassVar[frozenset[str]] = frozenset({"identity", "rotation", "affine"})

    members: tuple[TranslatorFamily, ...] = (RidgeProcrustes(), Kernel())
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.members:
            raise InvalidArgumentError("members: expected at least one family, got none")
        weights = self.weights
        valid = len(weights) == len(self.members) and min(weights, default=-1) >= 0
        if weights and not (valid and abs(sum(weights) - 1) <= _SUM_TOLERANCE):
            raise InvalidArgumentError(
                f"weights: expected {len(self.members)} numbers >= 0 that sum to 1, or none, "
                f"got {weights!r}"
            )

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> EnsembleTranslator:
        """Fit every member with a weight to all pairs; see :meth:`TranslatorFamily.fit`."""
        source, target = self.check_pairs(X, Y)
        family = self.tuned(source, target, metric=metric, seed=seed)
        used = [(m, w) for m, w in zip(family.members, family.weights, strict=True) if w > 0]
        return EnsembleTranslator(
            tuple(m.fit(source, target, metric=metric, seed=seed) for m, _ in used),
            tuple(w for _, w in used),
        )

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Tune the members, then learn their weights; see :meth:`TranslatorFamily.tuned`."""
        source, target = self.check_pairs(X, Y)
        for member in self.members:
            member.check_dims(source.shape[1], target.shape[1])
        check_metric(metric)
        members = tuple(m.tuned(source, target, metric=metric, seed=seed) for m in self.members)
        if self.weights:
            return replace(self, members=members)
        # With thousands of pairs one split tells enough, and members may be slow to fit.
        single = len(source) >= _SINGLE_SPLIT_PAIRS
        pool = min(_POOL, len(source) // 4) if single else _POOL
        held_out = held_out_folds(len(source), folds=1 if single else 3, pool=pool, seed=seed)
        mapped: list[list[Vectors]] = [[] for _ in members]
        for rows in held_out:
            seen = np.setdiff1d(np.arange(len(source)), rows)
            for member, parts in zip(members, mapped, strict=True):
                fitted = member.fit(source[seen], target[seen], metric=metric, seed=seed)
                parts.append(fitted.translate(source[rows]))
        native = target[np.concatenate(held_out)]
        weights = _learned_weights(native, [np.concatenate(parts) for parts in mapped], metric)
        return replace(self, members=members, weights=weights)


def _learned_weights(
    native: Vectors, mapped: Sequence[Vectors], metric: Metric
) -> tuple[float, ...]:
    """Return weights found by adding members greedily; of equals the fewest additions."""
    counts = [0] * len(mapped)
    total = np.zeros_like(mapped[0])
    best, best_score = tuple(counts), -1.0
    for _ in range(_ROUNDS):
        sums = [total + part for part in mapped]
        chosen = best_by_retrieval(native, sums, metric=metric)
        total = sums[chosen]
        counts[chosen] += 1
        (scores,) = overlaps(native, [total], metric=metric)
        if scores.mean() > best_score:
            best, best_score = tuple(counts), float(scores.mean())
    return tuple(count / sum(best) for count in best)
