"""Retention: how far back the versions of a collection can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import final

from vecstore.catalog import VersionRecord
from vecstore.errors import InvalidArgumentError

__all__ = ["ExpiryReport", "first_kept"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryReport:
    """Which versions can be read now.

    Attributes
    ----------
    first_version, version : int
        The oldest and the newest one that can be read.
    expired : int
        How many could be read before and cannot any more.
    dry_run : bool
        Nothing was done.
    """

    first_version: int
    version: int
    expired: int
    dry_run: bool = False


def first_kept(
    history: Sequence[VersionRecord],
    *,
    older_than: timedelta | None,
    keep_last: int | None,
    now: datetime | None = None,
) -> int:
    """Return the oldest version to keep.

    A version expires if every limit that is given lets it: it is not among the newest
    ``keep_last``, and it has not been the newest one within ``older_than``.

    Raises
    ------
    InvalidArgumentError
        No limit is given, or one that makes no sense.
    """
    if older_than is None and keep_last is None:
        raise InvalidArgumentError("expire needs older_than=, keep_last=, or both; got neither")
    if keep_last is not None and keep_last < 1:
        raise InvalidArgumentError(
            f"expected keep_last of at least 1 (the newest version stays), got {keep_last}"
        )
    if older_than is not None and older_than < timedelta(0):
        raise InvalidArgumentError(f"expected older_than of at least 0, got {older_than}")
    newest = history[-1].version
    first = newest
    if keep_last is not None:
        first = min(first, newest - keep_last + 1)
    if older_than is not None:
        limit = (now or datetime.now(UTC)) - older_than
        ended = pairwise(history)
        recent = (old.version for old, new in ended if new.committed_at > limit)
        first = min(first, next(recent, newest))
    return max(first, next(record.version for record in history if not record.expired))
