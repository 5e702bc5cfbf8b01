"""Embedding models as the store sees them: the protocol, the guard, and texts made vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vecstore.errors import SpaceMismatchError, UnpairedRowsError
from vecstore.spaces import EncodingProfile, Space

__all__ = ["Encoder", "embed_documents", "embed_queries", "require_encoder"]

# Bounds what an encoder holds at a time; encoders split further as their model likes it.
BATCH = 1024


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns texts into vectors of one space.

    An attribute ``address``, a ``scheme:name`` under which an encoder registry opens the same
    encoder again, is welcome; a space remembers it. Several threads may encode at a time.

    Attributes
    ----------
    name : str
        Of the model. Compared with the space's model: another model is refused.
    revision : str or None
        Compared with the space's revision where both are given.
    dim : int
        Dimension of the vectors.
    profile : EncodingProfile
        Prompts, pooling and token limit; compared with the space's.
    """

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def revision(self) -> str | None:
        """Revision of the model, if it has one."""

    @property
    def dim(self) -> int:
        """Dimension of its vectors."""

    @property
    def profile(self) -> EncodingProfile:
        """How it encodes: prompts, pooling, token limit."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return ndarray of shape (len(texts), dim), float32."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return ndarray of shape (len(texts), dim), float32."""


def require_encoder(encoder: Encoder, space: Space) -> None:
    """Raise SpaceMismatchError unless the encoder makes vectors of the space.

    Model, dimension and prompts must agree; revision, pooling and token limit where both the
    space and the encoder declare them.
    """
    space.require_model(encoder.name, encoder.revision)
    if encoder.dim != space.dim:
        raise SpaceMismatchError(
            f"space {space.name!r} holds {space.describe()}, but encoder {encoder.name!r} gives "
            f"{encoder.dim} dimensions; pass the encoder of this space"
        )
    for field in fields(EncodingProfile):
        ours, theirs = getattr(space.profile, field.name), getattr(encoder.profile, field.name)
        if ours != theirs and None not in (ours, theirs):
            raise SpaceMismatchError(
                f"space {space.name!r} was made with {field.name}={ours!r}, but encoder "
                f"{encoder.name!r} has {field.name}={theirs!r}: the same model, another embedding "
                "function. Set the encoder up as the space was, or create a space for it"
            )


def embed_documents(encoder: Encoder, space: Space, texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed documents in batches.

    Returns
    -------
    ndarray of shape (len(texts), dim), float32, unit norm under cosine

    Raises
    ------
    SpaceMismatchError
        The encoder is not the space's.
    UnpairedRowsError
        It returned another number of vectors than it got texts.
    """
    return _embed(encoder, space, texts, encoder.encode_documents)


def embed_queries(encoder: Encoder, space: Space, texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed queries as :func:`embed_documents` does documents."""
    return _embed(encoder, space, texts, encoder.encode_queries)


def _embed(
    encoder: Encoder,
    space: Space,
    texts: Sequence[str],
    encode: Callable[[Sequence[str]], ArrayLike],
) -> NDArray[np.float32]:
    require_encoder(encoder, space)
    parts: list[NDArray[Any]] = [np.empty((0, space.dim), dtype=np.float32)]
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        vectors = space.prepare_queries(encode(batch))
        if len(vectors) != len(batch):
            raise UnpairedRowsError(
                f"encoder {encoder.name!r}: expected {len(batch)} vectors, got {len(vectors)}"
            )
        parts.append(vectors)
    return np.concatenate(parts)
