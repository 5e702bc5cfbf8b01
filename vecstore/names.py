"""Names of collections, spaces and jobs: what is accepted, and how one becomes a folder."""

from __future__ import annotations

import re
import unicodedata

from vecstore.errors import InvalidArgumentError

__all__ = ["check_name", "slug"]

MAX_NAME = 128


def check_name(name: object, *, what: str) -> str:
    """Return the name if it is acceptable.

    Any printable Unicode text of 1 to 128 characters in normal form C, without surrounding
    blanks. Names are never used as paths; see :func:`slug`.

    Raises
    ------
    InvalidArgumentError
        Says what is wrong with the name.
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(f"{what} name: expected a string, got {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidArgumentError(
            f"{what} name: expected 1 to {MAX_NAME} characters, got {len(name)}"
        )
    if not name.isprintable() or name != name.strip():
        raise InvalidArgumentError(
            f"{what} name {name!r}: expected printable characters without surrounding blanks"
        )
    if unicodedata.normalize("NFC", name) != name:
        raise InvalidArgumentError(
            f"{what} name {name!r} is not in Unicode normal form C; pass "
            "unicodedata.normalize('NFC', name)"
        )
    return name


def slug(name: str) -> str:
    """Return a readable folder name part: lower-case ASCII, no separators, never empty.

    >>> slug("../Produits d'été")
    'produits-d-ete'
    """
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:40] or "x"
