"""Adversarial vec2vec: a nonlinear map between spaces without pairs, learnt as a game.

Small enough for minutes on two cores, and experimental: adversarial training without pairs
is known to be unstable, and :class:`~vecstore_translators.unpaired.UnpairedAligner` did better
on everything it was measured on (benchmarks/unpaired.py). It passes the same gate, so failure
is an error and not a wrong map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore_translators.errors import InvalidArgumentError
from vecstore_translators.experimental.vec2vec_training import train
from vecstore_translators.experimental.vec2vec_translator import Vec2vecTranslator
from vecstore_translators.unpaired import Alignment
from vecstore_translators.unpaired.cloud import Cloud
from vecstore_translators.unpaired.gate import weigh
from vecstore_translators.validation import check_at_least


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialAligner:
    """Fit a :class:`Vec2vecTranslator` to two clouds that share no item.

    Each space has an adapter into, and one out of, a common latent space with a shared core.
    Discriminators try to tell translated from native vectors, and the two spaces' latents from
    each other; the translators learn to pass, to come back (cycle consistency) and to keep all
    inner products within a batch (vector space preservation). As in
    :class:`~vecstore_translators.unpaired.UnpairedAligner`, two disjoint halves are fitted and
    must agree; the first half's map is returned.

    Parameters
    ----------
    width : int
        Of the latent space and all hidden layers.
    steps, batch : int
        Training steps per half, and rows of each side per step.
    learning_rate : float
        Of the translators; the discriminators learn at half of it.
    reconstruction, cycle, preservation, latent : float
        Weights of the losses, relative to that of passing for native.
    agreement, structure : float
        The gate: see :meth:`~vecstore_translators.unpaired.Evidence.require`.

    References
    ----------
    Jha, Zhang, Shmatikov and Morris, "Harnessing the Universal Geometry of Embeddings", 2025,
    section 4 (architecture and the four losses); Mao et al., "Least squares generative
    adversarial networks", ICCV 2017, eq. 9 (the game).
    """

    width: int = 256
    steps: int = 1500
    batch: int = 256
    learning_rate: float = 1e-3
    reconstruction: float = 1.0
    cycle: float = 10.0
    preservation: float = 10.0
    latent: float = 1.0
    agreement: float = 0.5
    structure: float = 0.5

    min_rows: ClassVar[int] = 200
    """Fewest rows on each side."""

    def __post_init__(self) -> None:
        check_at_least(self.width, 2, name="width")
        check_at_least(self.steps, 1, name="steps")
        check_at_least(self.batch, 2, name="batch")
        for name in ("learning_rate", "agreement", "structure"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidArgumentError(
                    f"{name}: expected a number in (0, 1], got {getattr(self, name)}"
                )
        for name in ("reconstruction", "cycle", "preservation", "latent"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InvalidArgumentError(
                    f"{name}: expected a number of at least 0, got {getattr(self, name)}"
                )

    def fit(self, X: ArrayLike, Y: ArrayLike, *, seed: int = 0) -> Alignment[Vec2vecTranslator]:
        """Fit to two clouds.

        Parameters
        ----------
        X : array_like of shape (n, d_s), float16, float32 or float64
            Source vectors.
        Y : array_like of shape (m, d_t), float16, float32 or float64
            Target vectors of other items of the same kind.
        seed : int

        Raises
        ------
        CouldNotAlignError
            The two halves led to different maps.
        MissingDependencyError
            torch, the extra ``train``, is not installed.
        TooFewPairsError
            Fewer than `min_rows` rows on a side.
        InvalidVectorsError, NonFiniteError
        """
        rng = np.random.default_rng(seed)
        source, target = (
            Cloud.prepare(
                rows, name=name, min_rows=self.min_rows, limit=len(np.asarray(rows)), rng=rng
            )
            for rows, name in ((X, "X"), (Y, "Y"))
        )
        first, second = (
            self._translator(
                train(self, source.halves[half], target.halves[half], seed=seed + half),
                source,
                target,
            )
            for half in (0, 1)
        )
        evidence = weigh(
            first.directions, second.directions, source.held_out, target.held_out, rng=rng
        )
        evidence.require(agreement=self.agreement, structure=self.structure)
        return Alignment(translator=first, evidence=evidence)

    def _translator(
        self, layers: Mapping[str, NDArray[np.float32]], source: Cloud, target: Cloud
    ) -> Vec2vecTranslator:
        means = {"mean_source": source.mean, "mean_target": target.mean}
        arrays = {**layers, **{name: mean.astype(np.float32) for name, mean in means.items()}}
        return Vec2vecTranslator(arrays=arrays, spread=target.spread, hyperparameters=asdict(self))
