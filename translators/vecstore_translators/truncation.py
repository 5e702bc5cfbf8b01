"""Matryoshka prefixes: a space derived from another by keeping its first dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from vecstore_translators.affine import AffineTranslator
from vecstore_translators.base import JSON, Translator
from vecstore_translators.errors import DimensionMismatchError
from vecstore_translators.validation import check_at_least


@final
@dataclass(frozen=True, slots=True)
class Truncation(Translator):
    """F(x) = x₁..d / ‖x₁..d‖: the prefix of x, scaled to unit length.

    For models trained so that prefixes of their vectors are embeddings themselves. The
    prefix space is exact for new and old rows of the model alike, with no pairs to fit.

    Parameters
    ----------
    full_dim : int
        Dimension of the space that is cut.
    dim : int
        Dimensions kept, at most `full_dim`.
    renormalise : bool
        Scale to unit length, as cosine spaces need; without it F is affine. A prefix of
        zeros has no direction and stays zero.

    References
    ----------
    Kusupati et al., "Matryoshka representation learning", 2022, section 3.

    Examples
    --------
    >>> Truncation(4, 2).translate(np.array([[0.3, 0.4, 0.5, 0.7]])).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """

    kind: ClassVar[str] = "truncation"

    full_dim: int
    dim: int
    renormalise: bool = True

    def __post_init__(self) -> None:
        check_at_least(self.dim, 1, name="dim")
        check_at_least(self.full_dim, 1, name="full_dim")
        if self.dim > self.full_dim:
            raise DimensionMismatchError(
                f"dim: expected at most the {self.full_dim} dimensions there are, got {self.dim}"
            )

    @property
    def source_dim(self) -> int:
        """Dimension of the vectors that go in."""
        return self.full_dim

    @property
    def target_dim(self) -> int:
        """Dimension of the vectors that come out."""
        return self.dim

    @property
    def affine(self) -> AffineTranslator | None:
        """The prefix alone is affine; scaling it to unit length is not."""
        if self.renormalise:
            return None
        return AffineTranslator(
            np.eye(self.full_dim, self.dim, dtype=np.float32),
            np.zeros(self.dim, dtype=np.float32),
            self.kind,
        )

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return nothing: the dimensions say it all."""
        return {}

    def settings(self) -> dict[str, JSON]:
        """Return the dimensions and whether the length is restored."""
        return {"full_dim": self.full_dim, "dim": self.dim, "renormalise": self.renormalise}

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, NDArray[np.float32]], settings: Mapping[str, JSON]
    ) -> Self:
        """Rebuild from :meth:`settings`."""
        full_dim, dim = settings["full_dim"], settings["dim"]
        if parameters or not isinstance(full_dim, int) or not isinstance(dim, int):
            raise TypeError("expected two dimensions and no parameters")
        return cls(full_dim, dim, bool(settings["renormalise"]))

    def _translate_block(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        out[:] = block[:, : self.dim]
        if self.renormalise:
            norms = np.sqrt(np.einsum("ij,ij->i", out, out))[:, np.newaxis]
            np.divide(out, norms, out=out, where=norms > 0)
