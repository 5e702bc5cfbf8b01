"""Retiring a space: it stays in the lineage, and its vectors leave the collection.

Its files leave the version's list of files, so that older versions still have them until they
expire, and compaction may then remove them. No search ranks in a retired space and nothing is
written to it. Chains of translators through it still hold: they are maps, and need no vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from vecstore.catalog import Changes, SpaceRecord
from vecstore.errors import InvalidArgumentError, NoRouteError
from vecstore.rows import RowSet
from vecstore.search.plan import make_plan
from vecstore.snapshot import Snapshot
from vecstore.upgrade.defaults import require_not_default

__all__ = ["Retirement", "retire", "unserved_without"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """What retiring a space did.

    Attributes
    ----------
    space : str
    vectors : int
        Native vectors of live items that the collection no longer has.
    unserved : int
        Items that no search reaches any more; 0 unless it was forced.
    bytes : int
        Of the vector files, for compaction to reclaim once no version needs them.
    translators : tuple of str
        Those that led nowhere without the space and were dropped.
    version : int
    """

    space: str
    vectors: int
    unserved: int
    bytes: int
    translators: tuple[str, ...]
    version: int


def retire(
    name: str, *, force: bool, done: Callable[[Retirement], None]
) -> Callable[[Snapshot], Changes]:
    """Retire a space in one commit.

    Parameters
    ----------
    done : callable
        Told what the commit does; the version is the one that it makes.

    Raises
    ------
    InvalidArgumentError
        It is the default space; or items would not be served any more, without ``force``.
    """

    def build(snapshot: Snapshot) -> Changes:
        record = snapshot.space(name)
        require_not_default(snapshot, name, "retired")
        unserved = unserved_without(snapshot, name)
        if len(unserved) and not force:
            raise InvalidArgumentError(
                f"retiring space {name!r} would leave {len(unserved):,} of {len(snapshot.live):,} "
                "items unserved: it has their only native vector, or the only one that a route "
                "leads from. Backfill a newer space or fit a translator first, or force it"
            )
        files = [f for f in snapshot.state.files if f.space_id == record.id]
        translators = _dead_ends(snapshot, name)
        done(
            Retirement(
                space=name,
                vectors=len(snapshot.native(name)),
                unserved=len(unserved),
                bytes=sum(f.file.size for f in files),
                translators=translators,
                version=snapshot.version + 1,
            )
        )
        return Changes(
            operation=f"retire space {name}",
            retire_spaces=(record.id,),
            remove_files=tuple(f.id for f in files),
            remove_translators=translators,
        )

    return build


def unserved_without(snapshot: Snapshot, name: str) -> RowSet:
    """Return the live items that a search would lose with a space's vectors.

    These are the items whose only native vector it holds, and those that a search in the default
    space (without one: in the newest of the others) reaches only through it.
    """
    without = _without(snapshot, name)
    kept = RowSet.of([])
    for other in without.spaces:
        kept = kept | without.native(other)
    lost = snapshot.native(name) - kept
    target = snapshot.default_space or _newest(without)
    if target is None:
        return lost
    return lost | (_served(snapshot, target) - _served(without, target))


def _without(snapshot: Snapshot, name: str) -> Snapshot:
    """Return the snapshot as it would be."""
    record = snapshot.space(name)
    dead = _dead_ends(snapshot, name)
    state = snapshot.state
    retired: SpaceRecord = replace(record, retired_version=snapshot.version + 1)
    return Snapshot(
        replace(
            state,
            spaces=tuple(retired if s.id == record.id else s for s in state.spaces),
            files=tuple(f for f in state.files if f.space_id != record.id),
            translators=tuple(t for t in state.translators if t.id not in dead),
        ),
        snapshot.cache,
    )


def _served(snapshot: Snapshot, target: str) -> RowSet:
    """Return the rows that a search in a space reaches."""
    try:
        plan = make_plan(snapshot, target=target, query_spaces=(target,), allow_partial=True)
    except NoRouteError:
        return RowSet.of([])
    return snapshot.live - plan.unserved


def _newest(snapshot: Snapshot) -> str | None:
    newest = max(snapshot.spaces.values(), key=lambda r: r.generation, default=None)
    return None if newest is None else newest.space.name


def _dead_ends(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    """Return the translators that end or start in a space, unless they join others through it."""
    known = snapshot.state.translators
    into = [t for t in known if t.target == name]
    out = [t for t in known if t.source == name]
    joins = any(i.source != o.target for i in into for o in out)
    return () if joins else tuple(t.id for t in (*into, *out))
