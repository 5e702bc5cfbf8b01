"""SpaceStatus: a space and how much of the collection it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vecstore.spaces import Space

__all__ = ["SpaceStatus"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceStatus:
    """A space and how much of the collection it covers.

    Attributes
    ----------
    native : int
        Live items with a native vector in it.
    live : int
        Live items of the collection.
    default : bool
        Whether searches rank in it if they do not say otherwise.
    """

    space: Space
    generation: int
    native: int
    live: int
    default: bool = False

    @property
    def coverage(self) -> float:
        """Share of live items with a native vector, 0.0 to 1.0."""
        return self.native / self.live if self.live else 0.0

    @property
    def dim(self) -> int:
        """Number of components."""
        return self.space.dim

    @property
    def metric(self) -> str:
        """How vectors compare."""
        return self.space.metric

    @property
    def model(self) -> str | None:
        """The embedding model."""
        return self.space.model

    @property
    def fingerprint(self) -> str:
        """Digest of the embedding function."""
        return self.space.fingerprint
