"""Encoders of one's own, by import path: ``python:package.module:factory``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vecstore import Encoder, EncodingProfile
from vecstore.errors import InvalidArgumentError, NotFoundError
from vecstore_ingest.encoders.address import Address

__all__ = ["ImportedEncoder"]

_PROTOCOL = ("name", "revision", "dim", "profile", "encode_documents", "encode_queries")


@final
class ImportedEncoder:
    """An encoder that lives in an importable module, with an address to find it again.

    Parameters
    ----------
    path : str
        ``package.module:name`` of an encoder, or of a class or function that returns one.
    **arguments
        For the class or function. Only by hand: an address names what is called, and whoever
        wrote it into a catalog must not choose the arguments. Such an encoder has no address.

    Raises
    ------
    NotFoundError
        There is no such module, or nothing of that name in it.
    InvalidArgumentError
        What is there is no encoder; says what it lacks.
    """

    def __init__(self, path: str, /, **arguments: Any) -> None:
        module, colon, name = path.partition(":")
        if not (module and colon and name):
            raise InvalidArgumentError(
                f"expected an import path as package.module:name, got {path!r}"
            )
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise NotFoundError(
                f"cannot import {name!r} from {module!r}: {error}; install what provides it, or "
                "add its folder to PYTHONPATH"
            ) from error
        if isinstance(found, type) or not hasattr(found, "encode_documents"):
            found = found(**arguments) if callable(found) else found
        elif arguments:
            raise InvalidArgumentError(f"{path} is an encoder already and takes no arguments")
        lacking = [name for name in _PROTOCOL if not hasattr(found, name)]
        if lacking:
            raise InvalidArgumentError(
                f"expected {path} to be or return an encoder, got {type(found).__name__}, which "
                f"lacks {', '.join(lacking)}"
            )
        self._encoder: Encoder = found
        self._address = None if arguments else str(Address(scheme="python", name=path))

    def __repr__(self) -> str:
        return f"<ImportedEncoder {self._encoder!r}>"

    @property
    def address(self) -> str | None:
        """Where a registry finds it again."""
        return self._address

    @property
    def name(self) -> str:
        """Its model's name."""
        return self._encoder.name

    @property
    def revision(self) -> str | None:
        """Its model's revision."""
        return self._encoder.revision

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._encoder.dim

    @property
    def profile(self) -> EncodingProfile:
        """How it encodes."""
        return self._encoder.profile

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return ndarray of shape (len(texts), dim), float32."""
        return self._encoder.encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return ndarray of shape (len(texts), dim), float32."""
        return self._encoder.encode_queries(texts)
