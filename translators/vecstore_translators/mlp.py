"""A small network on top of ridge, trained to rank as the target model does.

PyTorch is needed to train, and is loaded then; the fitted map is numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import JSON, Translator, TranslatorFamily
from vecstore_translators.errors import (
    DimensionMismatchError,
    InvalidArgumentError,
    MissingDependencyError,
)
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

_BATCH = 512
"""Pairs per step: each is ranked against the others, so smaller lists teach less."""

_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 1e-2
_DROPOUT = 0.1
_TEMPERATURE = 0.05
_POOL = 1000


@final
@dataclass(frozen=True, slots=True, eq=False)
class MlpTranslator(Translator):
    """F(x) = x W + b + relu(x U + c) V.

    Parameters
    ----------
    base : AffineTranslator
        x W + b.
    hidden, offset : array_like of shape (d_s, h) and (h,)
        U and c; kept as read-only float32 copies.
    output : array_like of shape (h, d_t)
        V; likewise.
    hyperparameters : mapping of str to JSON
        What the family chose, for the model card.
    """

    kind: ClassVar[str] = "mlp"

    base: AffineTranslator
    hidden: Float32Array
    offset: Float32Array
    output: Float32Array
    hyperparameters: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("hidden", "offset", "output"):
            given = as_vectors(np.atleast_2d(getattr(self, name)), name=name)
            copy = np.array(given, dtype=np.float32, order="C")
            require_finite(copy, name=name)
            copy.setflags(write=False)
            object.__setattr__(self, name, copy[0] if name == "offset" else copy)
        width = len(self.offset)
        expected = (self.base.source_dim, width), (width, self.base.target_dim)
        if (self.hidden.shape, self.output.shape) != expected:
            raise DimensionMismatchError(
                f"expected layers of shapes {expected}, got {self.hidden.shape} and "
                f"{self.output.shape}"
            )
        frozen = MappingProxyType(dict(self.hyperparameters))
        object.__setattr__(self, "hyperparameters", frozen)

    def __repr__(self) -> str:
        width = len(self.offset)
        return f"MlpTranslator({self.source_dim} -> {self.target_dim}, {width} hidden units)"

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return self.base.source_dim

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return self.base.target_dim

    def parameters(self) -> dict[str, Float32Array]:
        """Return ``weight``, ``bias``, ``hidden``, ``offset`` and ``output``."""
        layers = {"hidden": self.hidden, "offset": self.offset, "output": self.output}
        return {**self.base.parameters(), **layers}

    def settings(self) -> dict[str, JSON]:
        """Return where the map came from."""
        return {"fitted_by": self.kind, "hyperparameters": dict(self.hyperparameters)}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, Float32Array], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`parameters` and :meth:`settings`."""
        hyperparameters = settings["hyperparameters"]
        if not isinstance(hyperparameters, Mapping):
            raise TypeError("settings: expected hyperparameters (mapping)")
        base = AffineTranslator(parameters["weight"], parameters["bias"], "ridge")
        hidden, offset, output = (parameters[name] for name in ("hidden", "offset", "output"))
        return cls(base, hidden, offset, output, hyperparameters)

    def _translate_block(self, block: Float32Array, out: Float32Array) -> None:
        self.base._translate_block(block, out)
        activation = block @ self.hidden
        activation += self.offset
        np.maximum(activation, 0, out=activation)
        out += activation @ self.output


@final
@dataclass(frozen=True, slots=True)
class Mlp(TranslatorFamily):
    """F(x) = ridge(x) + V relu(U x + c), trained so that F(x) is found as y is.

    The affine part is ridge and stays; V starts at zero, so training starts from ridge and
    stops where held-out retrieval is best, possibly at once. Each step takes a batch of
    pairs, and for every target vector y of it compares the distribution of y over the native
    batch, softmax(y·Yᵀ / τ), with that over the translated one, softmax(y·F(X)ᵀ / τ). Training
    time does not depend on the number of pairs.

    Needs PyTorch to fit (``pip install 'vecstore[train]'``); a CUDA device is used if there
    is one. On the CPU the same pairs, seed and number of threads give the same map.

    Parameters
    ----------
    base : Ridge
        What is fitted first.
    width : int
        Hidden units.
    steps : int
        Length of the learning-rate schedule; the most batches trained on.
    stops : tuple of int
        Numbers of batches after which training may stop, 0 for ridge itself. One value is
        used as it is; among several, held-out retrieval decides.

    References
    ----------
    Cao, Qin, Liu, Tsai and Li, "Learning to rank: from pairwise approach to listwise
    approach", 2007, eq. 4 (cross entropy between two distributions over a list); Loshchilov
    and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2 (the optimiser).
    """

    name: ClassVar[str] = "mlp"
    cost: ClassVar[float] = 8.0
    min_pairs: ClassVar[int] = 10
    by_default: ClassVar[bool] = False

    base: Ridge = Ridge()  # noqa: RUF009 - a frozen value
    width: int = 1024
    steps: int = 120
    stops: tuple[int, ...] = (0, 40, 80, 120)

    def __post_init__(self) -> None:
        check_at_least(self.width, 1, name="width")
        check_at_least(self.steps, 1, name="steps")
        ascending = tuple(sorted(set(self.stops))) == self.stops
        if (
            not self.stops
            or not ascending
            or not 0 <= self.stops[0] <= self.stops[-1] <= self.steps
        ):
            raise InvalidArgumentError(
                f"stops: expected ascending numbers from 0 to steps ({self.steps}), got "
                f"{self.stops!r}"
            )

    def fit(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> MlpTranslator:
        """Fit to pairs; see :meth:`TranslatorFamily.fit`.

        Raises
        ------
        MissingDependencyError
            PyTorch is not installed.
        """
        source, target = self.check_pairs(X, Y)
        family = self.tuned(source, target, metric=metric, seed=seed)
        (fitted,) = family._stages(source, target, seed)
        return fitted

    def tuned(
        self, X: ArrayLike, Y: ArrayLike, *, metric: Metric = "cosine", seed: int = 0
    ) -> Self:
        """Choose α of the base, then when to stop; see :meth:`TranslatorFamily.tuned`."""
        source, target = self.check_pairs(X, Y)
        check_metric(metric)
        tuned = replace(self, base=self.base.tuned(source, target, metric=metric, seed=seed))
        if len(self.stops) == 1:
            return tuned
        pool = max(2, min(_POOL, len(source) // 4))
        (held_out,) = held_out_folds(len(source), folds=1, pool=pool, seed=seed)
        seen = np.setdiff1d(np.arange(len(source)), held_out)
        stages = tuned._stages(source[seen], target[seen], seed)
        mapped = [stage.translate(source[held_out]) for stage in stages]
        best = best_by_retrieval(target[held_out], mapped, metric=metric)
        return replace(tuned, stops=(self.stops[best],))

    def _stages(
        self, source: NDArray[Any], target: NDArray[Any], seed: int
    ) -> Iterator[MlpTranslator]:
        """Yield the map after each number of batches."""
        base = self.base.fit_statistics(PairStatistics.from_arrays(source, target))
        X, Y = source.astype(np.float32), target.astype(np.float32)
        chosen: dict[str, JSON] = {"alpha": self.base.alphas[0], "pairs": len(X)}
        # The network sees centred sources of unit variance; that scaling is folded into U, c.
        mean = X.mean(axis=0)
        scale = max(float((X - mean).std()), 1e-12)
        layers = _train((X - mean) / scale, Y, base.translate(X), self, seed)
        for stop, (hidden, offset, output) in zip(self.stops, layers, strict=True):
            hidden = hidden / scale
            yield MlpTranslator(
                base, hidden, offset - mean @ hidden, output, {**chosen, "batches": stop}
            )


def _train(
    X: Float32Array, Y: Float32Array, skip: Float32Array, family: Mlp, seed: int
) -> Iterator[tuple[Float32Array, Float32Array, Float32Array]]:
    """Yield the layers U, c and V at each stop of the training."""
    torch = _torch()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / np.sqrt(X.shape[1])

    def drawn(*shape: int) -> Any:
        return ((2 * torch.rand(*shape, generator=generator) - 1) * bound).to(device)

    layers = [drawn(X.shape[1], family.width), drawn(family.width)]
    layers.append(torch.zeros(family.width, Y.shape[1], device=device))
    for layer in layers:
        layer.requires_grad_()
    x, y, base = (torch.from_numpy(array).to(device) for array in (X, Y, skip))
    # Lists are compared by direction; the lengths of Y still matter to the fit of the base.
    y = torch.nn.functional.normalize(y, dim=1)
    optimiser = torch.optim.AdamW(layers, lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    batch = min(_BATCH, len(X))
    order = torch.empty(0, dtype=torch.long)
    for step in range(family.stops[-1] + 1):
        if step in family.stops:
            hidden, offset, output = (layer.detach().cpu().numpy().copy() for layer in layers)
            yield hidden, offset, output
        if step == family.stops[-1]:
            break
        if len(order) < batch:
            order = torch.randperm(len(X), generator=generator)
        rows, order = order[:batch], order[batch:]
        kept = torch.rand(batch, family.width, generator=generator) >= _DROPOUT
        rows = rows.to(device)
        activation = torch.relu(x[rows] @ layers[0] + layers[1]) * kept.to(device) / (1 - _DROPOUT)
        loss = _loss(torch, base[rows] + activation @ layers[2], y[rows])
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * _schedule(step, family.steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _loss(torch: Any, mapped: Any, native: Any) -> Any:
    """Return the KL divergence between neighbour distributions, plus one minus the cosine."""
    mapped = torch.nn.functional.normalize(mapped, dim=1)
    wanted = torch.log_softmax(native @ native.T / _TEMPERATURE, dim=1)
    found = torch.log_softmax(native @ mapped.T / _TEMPERATURE, dim=1)
    divergence = (wanted.exp() * (wanted - found)).sum(dim=1).mean()
    return divergence + (1 - (mapped * native).sum(dim=1)).mean()


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: a short rise, then half a cosine down to zero."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))


def _torch() -> Any:
    """Return PyTorch, loaded now."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "mlp: expected PyTorch to train with, got none; pip install 'vecstore[train]'"
        ) from error
    return torch
