"""Addresses of encoders: ``scheme:name?option=value``, what a space remembers of its encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final
from urllib.parse import parse_qsl, quote, urlencode

from vecstore.errors import InvalidArgumentError

__all__ = ["Address", "check_scheme"]

_SCHEME = re.compile(r"[a-z][a-z0-9-]*")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A parsed address. Options are text; whoever opens the encoder knows their types.

    Examples
    --------
    >>> address = Address.parse("openai:text-embedding-3-small?dimensions=256")
    >>> address.scheme, address.name, address.options
    ('openai', 'text-embedding-3-small', {'dimensions': '256'})
    >>> str(address)
    'openai:text-embedding-3-small?dimensions=256'
    """

    scheme: str
    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises
        ------
        InvalidArgumentError
            It has no scheme or no name, or an option twice or without a value.
        """
        scheme, colon, rest = text.partition(":")
        name, mark, query = rest.partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(mark))
        except ValueError:
            pairs = []
        options = dict(pairs)
        if not colon or not name or not _SCHEME.fullmatch(scheme) or len(options) < len(pairs):
            raise InvalidArgumentError(
                f"expected an encoder as scheme:name, or scheme:name?option=value, got {text!r}"
            )
        if mark and not pairs:
            raise InvalidArgumentError(
                f"expected option=value&option=value after the ? of an encoder, got {query!r}"
            )
        return cls(scheme=scheme, name=name, options=options)

    @classmethod
    def of(cls, scheme: str, name: str, options: Mapping[str, Any]) -> Self:
        """Return the address of an encoder; options that are None or empty are left out."""
        given = {key: value for key, value in options.items() if value not in (None, "")}
        return cls(scheme=scheme, name=name, options={k: _text(v) for k, v in given.items()})

    def __str__(self) -> str:
        query = urlencode(self.options, quote_via=quote, safe="/:")
        return f"{self.scheme}:{self.name}{'?' if query else ''}{query}"


def check_scheme(scheme: str) -> None:
    """Raise InvalidArgumentError unless a scheme can be part of an address."""
    if not _SCHEME.fullmatch(scheme):
        raise InvalidArgumentError(
            f"expected a scheme of lower-case letters, digits and -, got {scheme!r}"
        )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
