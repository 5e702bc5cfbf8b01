"""The default query space: switching it is one commit, and so is going back.

The history of defaults is an undo stack. A rollback brings back the default that was in effect
before the current one was set, and another rollback goes one further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from vecstore.catalog import Changes, DefaultRecord
from vecstore.errors import InvalidArgumentError, NotFoundError
from vecstore.snapshot import Snapshot

__all__ = ["SpaceSwitch", "require_not_default", "roll_back", "switch"]

Build = Callable[[Snapshot], Changes | None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSwitch:
    """A change of the default query space.

    Attributes
    ----------
    before, after : str or None
        The default before and since; None for none.
    version : int
        The version that shows it.
    """

    before: str | None
    after: str | None
    version: int


def switch(space: str) -> Build:
    """Make a space the default; nothing is committed if it is the default already."""

    def build(snapshot: Snapshot) -> Changes | None:
        record = snapshot.space(space)
        if snapshot.default_space == space:
            return None
        return Changes(
            operation=f"switch to space {space}", default=DefaultRecord(space_id=record.id)
        )

    return build


def roll_back() -> Build:
    """Bring back the default that was in effect before the current one was set.

    Raises
    ------
    InvalidArgumentError
        No default has been set, or all are rolled back.
    NotFoundError
        The space that was the default before is gone.
    """

    def build(snapshot: Snapshot) -> Changes:
        state = snapshot.state
        current = state.default_at(snapshot.version)
        if current is None:
            raise InvalidArgumentError(
                f"collection {state.collection.name!r} has no default space to roll back from; "
                "set one with switch_space"
            )
        before = state.default_at(current.version - 1)
        if before is None:
            return Changes(
                operation="roll back to no default space",
                default=DefaultRecord(space_id=None, restored_version=-1),
            )
        name = next((n for n, r in snapshot.spaces.items() if r.id == before.space_id), None)
        if name is None:
            raise NotFoundError(
                f"the default of collection {state.collection.name!r} before "
                f"{snapshot.default_space!r} was a space that has been retired or dropped; use "
                f"switch_space with one of {', '.join(map(repr, snapshot.spaces))}"
            )
        return Changes(
            operation=f"roll back to space {name}",
            default=DefaultRecord(space_id=before.space_id, restored_version=before.version),
        )

    return build


def require_not_default(snapshot: Snapshot, space: str, what: str) -> None:
    """Raise InvalidArgumentError if searches that name no space would lose theirs."""
    if snapshot.default_space == space:
        raise InvalidArgumentError(
            f"space {space!r} is the default query space and cannot be {what}; switch_space to "
            "another one first"
        )
