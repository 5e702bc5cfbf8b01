"""Migrating: what moves a collection from one generation of models to the next, step by step."""

from __future__ import annotations

from collections.abc import Callable

from vecstore.catalog import Changes
from vecstore.snapshot import Snapshot
from vecstore.upgrade.defaults import SpaceSwitch, roll_back, switch
from vecstore.upgrade.retirement import Retirement, retire
from vecstore.upgrading import Upgradable

__all__ = ["Migratable"]


class Migratable(Upgradable):
    """How a collection gets from an old generation to a new one, and back."""

    # The default query space

    def switch_space(self, space: str) -> SpaceSwitch:
        """Let searches that name no space rank in this one from now on.

        One commit: every reader sees the default before it or the one after it. Older versions
        keep theirs.

        Raises
        ------
        NotFoundError
            There is no such space, or it is retired.
        """
        return self._set_default(switch(space))

    def rollback_space(self) -> SpaceSwitch:
        """Bring back the default that was in effect before the current one; one commit.

        Called again, it goes one further back.

        Raises
        ------
        InvalidArgumentError
            There is none to roll back from.
        NotFoundError
            The space that was the default before is retired or dropped.
        """
        return self._set_default(roll_back())

    def _set_default(self, build: Callable[[Snapshot], Changes | None]) -> SpaceSwitch:
        before: list[str | None] = []

        def remembered(snapshot: Snapshot) -> Changes | None:
            before.append(snapshot.default_space)
            return build(snapshot)

        version = self._writer.commit(remembered)
        return SpaceSwitch(
            before=before[-1],
            after=self._latest.at(version).snapshot.default_space,
            version=version,
        )

    # The end of a generation

    def retire_space(self, name: str, *, force: bool = False) -> Retirement:
        """Take a space out of use: no search ranks in it, and its vectors leave the collection.

        The space stays in the lineage, under its name, and older versions keep its vectors;
        compaction reclaims them when no version needs them. To forget the space as well, drop it.

        Parameters
        ----------
        force : bool
            Retire it although items would not be served any more.

        Raises
        ------
        InvalidArgumentError
            It is the default space; or items would not be served any more: says how many.
        """
        told: list[Retirement] = []
        self._commit(retire(name, force=force, done=told.append))
        gone = tuple(i.id for i in self._catalog.indexes(self._record.id) if i.space == name)
        if gone:
            self._catalog.replace_index(self._record.id, None, replaced=gone)
            self.refresh()
        return told[-1]
