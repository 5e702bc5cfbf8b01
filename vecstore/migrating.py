"""Migrating: what moves a collection from one generation of models to the next, step by step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from vecstore.catalog import Changes
from vecstore.encoding import Encoder
from vecstore.errors import NotFoundError
from vecstore.snapshot import Snapshot
from vecstore.upgrade.backfill import Backfill
from vecstore.upgrade.backfill_job import (
    BackfillProgress,
    BackfillReport,
    BackfillRequest,
    BackfillState,
)
from vecstore.upgrade.claims import Claims
from vecstore.upgrade.defaults import SpaceSwitch, roll_back, switch
from vecstore.upgrade.priorities import Priority, backfill_order
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

    # Backfill

    def backfill(
        self,
        *,
        to: str,
        budget: int | None = None,
        priority: Priority = "demand",
        encoder: Encoder | None = None,
        batch: int = 256,
        rate: float | None = None,
        progress: Callable[[BackfillProgress], None] | None = None,
        stop: Callable[[], bool] | None = None,
        resume: bool = True,
        seed: int = 0,
    ) -> BackfillReport:
        """Embed stored documents that lack a native vector in a space, the most wanted first.

        Each batch is one commit, with the state of the job in it: a job that was stopped or
        killed goes on where its last commit ended when the same call is made again, and a job
        that has ended forgets where it was. Several jobs may run at a time; what one of them is
        embedding the others leave alone. Items without a document are counted and left.

        Parameters
        ----------
        to : str
            The space that gets the vectors.
        budget : int, optional
            Documents to embed at most, over all runs of the job; by default all that lack one.
        priority : {"demand", "uncertainty", "demand*uncertainty", "random", "oldest"}
            "demand": what searches have returned, weighted by rank, in every process; see
            ``docs/concepts.md``. "uncertainty": what its translation says least about; items
            that no search can reach come first. The order is worked out when the job begins.
        encoder : Encoder, optional
            Of the space; by default that of :meth:`use_encoder`, or of its address.
        batch : int
            Documents per commit.
        rate : float, optional
            Documents per second at most.
        progress : callable, optional
            Called with a :class:`BackfillProgress` after each commit.
        stop : callable, optional
            Asked before each batch; if it returns true, the job ends there and can go on later.
        resume : bool
            If false, forget an interrupted run of this job and begin anew.

        Raises
        ------
        NotFoundError
            There is no such space, or it is retired.
        UnsupportedOperationError
            The space has no encoder here; or the priority needs uncertainty and the space is l2.
        SpaceMismatchError
            The encoder is not the space's.
        EncoderError
            The encoder failed; what was embedded before stays, and the job can go on.
        InvalidArgumentError
            An option is outside its domain.
        """
        request = BackfillRequest(
            to=to, budget=budget, priority=priority, batch=batch, rate=rate, seed=seed
        )
        snapshot = self._settled().snapshot
        record = snapshot.space(to)
        job = request.job(record)
        if not resume:
            self.clear_checkpoint(job)
        saved = self.checkpoint(job)
        fresh = BackfillState(
            base=snapshot.version, done=0, to=to, priority=priority, budget=budget
        )
        state = fresh if saved is None else BackfillState.from_dict(saved)
        if saved is not None:
            with suppress(NotFoundError):  # that version may have expired
                snapshot = self._latest.at(state.base).snapshot
        order = backfill_order(
            snapshot,
            to,
            priority=priority,
            demand=self._demand.read(),
            translators=self._latest.translators,
            seed=seed,
        )
        report = Backfill(
            request,
            record,
            self._encoders.of(record) if encoder is None else encoder,
            order=order,
            state=state,
            latest=lambda: self._latest.refresh().snapshot,
            writer=self._writer,
            claims=Claims(self._catalog.claims, self._record.id, record.id),
            progress=progress,
            stop=stop or (lambda: False),
            committed=lambda: 0,
        ).run()
        if report.finished:
            self.clear_checkpoint(job)
        return report

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
