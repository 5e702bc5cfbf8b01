"""Which encoder embeds for which space, in this process: bound by hand or opened by address."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias, final

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, require_encoder
from vecstore.errors import UnsupportedOperationError

__all__ = ["Encoders", "OpenEncoder"]

OpenEncoder: TypeAlias = Callable[[str], Encoder]


@final
class Encoders:
    """The encoders of a store. Thread-safe.

    Parameters
    ----------
    open_encoder : callable, optional
        Opens the encoder of an address, ``scheme:name``. An address is opened once, when it is
        first needed, and serves every space that has it.
    """

    def __init__(self, open_encoder: OpenEncoder | None = None) -> None:
        self._open_encoder = open_encoder
        self._opening = threading.Lock()
        self._bound: dict[str, Encoder] = {}
        self._opened: dict[str, Encoder] = {}

    def bind(self, record: SpaceRecord, encoder: Encoder) -> None:
        """Let an encoder embed for a space; it wins over the space's address.

        Raises
        ------
        SpaceMismatchError
            It makes other vectors than the space holds.
        """
        require_encoder(encoder, record.space)
        self._bound[record.id] = encoder

    def declared(self, record: SpaceRecord) -> bool:
        """Whether the space has an encoder: one is bound, or it remembers an address."""
        return record.id in self._bound or record.space.encoder is not None

    def of(self, record: SpaceRecord) -> Encoder:
        """Return the encoder of a space.

        Raises
        ------
        UnsupportedOperationError
            None is bound, and none can be opened by address.
        SpaceMismatchError
            What the address opens makes other vectors than the space holds.
        """
        bound = self._bound.get(record.id)
        if bound is not None:
            return bound
        space = record.space
        if space.encoder is None:
            raise UnsupportedOperationError(
                f"embedding texts for space {space.name!r} needs an encoder, and none is bound; "
                f"bind one with collection.use_encoder({space.name!r}, encoder), or pass vectors"
            )
        if self._open_encoder is None:
            raise UnsupportedOperationError(
                f"space {space.name!r} is embedded by {space.encoder!r}, but the store was opened "
                "without a way to open encoders; pass encoders=vecstore_ingest.open_encoder to "
                f"vecstore.open, or bind one with collection.use_encoder({space.name!r}, encoder)"
            )
        encoder = self._opened.get(space.encoder)
        if encoder is None:
            with self._opening:
                encoder = self._opened.get(space.encoder)
                if encoder is None:
                    encoder = self._opened[space.encoder] = self._open_encoder(space.encoder)
        require_encoder(encoder, space)
        return encoder

    def close(self) -> None:
        """Close the encoders that were opened by address, where they can be closed."""
        with self._opening:
            for encoder in self._opened.values():
                close = getattr(encoder, "close", None)
                if close is not None:
                    close()
            self._opened.clear()
