"""The protocol of an embedding model, as the cascade sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns texts into vectors of one space.

    Attributes
    ----------
    model : str
        Compared with the space's model: another model is refused.
    revision : str or None
        Compared with the space's revision where both are given.
    dim : int
        Dimension of the vectors.
    """

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def revision(self) -> str | None:
        """Revision of the model, if it has one."""

    @property
    def dim(self) -> int:
        """Dimension of its vectors."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return ndarray of shape (len(texts), dim), float32."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return ndarray of shape (len(texts), dim), float32."""
