"""Migrating: what moves a collection from one generation of models to the next, step by step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecstore.catalog import Catalog, Changes, CollectionRecord, SpaceRecord
from vecstore.encoders import Encoders
from vecstore.encoding import Encoder
from vecstore.errors import NotFoundError, VecstoreError
from vecstore.snapshot import Snapshot
from vecstore.storage.root import DataRoot
from vecstore.upgrade.background import BackgroundRefits
from vecstore.upgrading import Upgradable

if TYPE_CHECKING:
    # Imported by the verbs, with all of fitting: a search needs none of it.
    from vecstore.upgrade.backfill_job import BackfillProgress, BackfillReport
    from vecstore.upgrade.defaults import SpaceSwitch
    from vecstore.upgrade.priorities import Priority
    from vecstore.upgrade.refit import Refit, RefitAdvice
    from vecstore.upgrade.retirement import Retirement
    from vecstore.upgrade.status import UpgradeStatus

__all__ = ["Migratable"]

_log = logging.getLogger(__name__)


class Migratable(Upgradable):
    """How a collection gets from an old generation to a new one, and back."""

    def __init__(
        self,
        catalog: Catalog,
        root: DataRoot,
        record: CollectionRecord,
        *,
        encoders: Encoders,
        refresh_interval: float,
        compact_after: int | None,
        keep_queries: bool,
        refit: bool,
    ) -> None:
        super().__init__(
            catalog,
            root,
            record,
            encoders=encoders,
            refresh_interval=refresh_interval,
            compact_after=compact_after,
            keep_queries=keep_queries,
        )
        self._tried: dict[str, int] = {}
        self._refits = BackgroundRefits(
            lambda: refit and bool(self._due()), lambda: self._refit_all(self._due())
        )

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
        from vecstore.upgrade.defaults import switch

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
        from vecstore.upgrade.defaults import roll_back

        return self._set_default(roll_back())

    def _set_default(self, build: Callable[[Snapshot], Changes | None]) -> SpaceSwitch:
        from vecstore.upgrade.defaults import SpaceSwitch

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
        refit: bool = True,
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
        refit : bool
            Fit translators again when their pairs have doubled, after the commit that did it; see
            :meth:`refit_translators`.

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
        from vecstore.upgrade.backfill import Backfill
        from vecstore.upgrade.backfill_job import BackfillRequest, BackfillState
        from vecstore.upgrade.claims import Claims
        from vecstore.upgrade.priorities import backfill_order

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
            demand=self._notes.demand(),
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
            committed=lambda: self._refit_all(self._due()) if refit else 0,
        ).run()
        if report.finished:
            self.clear_checkpoint(job)
        return report

    # Refits and status

    def refit_translators(
        self,
        *,
        target: str | None = None,
        force: bool = False,
        queries: NDArray[np.float32] | None = None,
        seed: int = 0,
    ) -> list[Refit]:
        """Fit translators again where coverage has grown enough to help.

        A refit is due when the pairs (native vectors of the same items in both spaces, never
        translated ones) are twice those of the fit. The new fit takes the old one's place, in
        one commit, if on pairs that neither has seen it is no worse. It chooses from the families
        that the old one was chosen from; indexes over the old translation are built again.
        Backfills and, in the background, cascades do this by themselves from 200 new pairs on.

        Parameters
        ----------
        target : str, optional
            Only translators into this space.
        force : bool
            Also where no refit is due.
        queries : ndarray of shape (n, dim), optional
            Real queries of the target space, to choose by and to learn the offset from; by
            default the last ones that this process has searched for, if they are at least 20.

        Returns
        -------
        list of Refit
            One for each translator that was tried; print them.
        """
        from vecstore.upgrade.refit import refit_advice

        snapshot = self._settled().snapshot
        if target is not None:
            snapshot.space(target)
        chosen = [a for a in refit_advice(snapshot, target=target) if a.due or force]
        return [self._refit(snapshot, each, queries=queries, seed=seed) for each in chosen]

    def upgrade_status(self, *, predict: bool = True, seed: int = 0) -> UpgradeStatus:
        """Return where the upgrade stands: coverage, routes, pending jobs, and what to do next.

        Parameters
        ----------
        predict : bool
            Predict what the translations into the default space (or the newest) are worth over
            the items they serve, up to 50,000. That takes some seconds.
        """
        from vecstore.upgrade.backfill_job import JOB_PREFIX
        from vecstore.upgrade.status import upgrade_status
        from vecstore_translators.offset import MIN_QUERIES

        snapshot = self._settled().snapshot
        found = {n: self._notes.recent(r.id, least=MIN_QUERIES) for n, r in snapshot.spaces.items()}
        return upgrade_status(
            snapshot,
            demand=self._notes.demand(),
            jobs=tuple(self._catalog.checkpoints(self._record.id, JOB_PREFIX).values()),
            queries={name: asked for name, asked in found.items() if asked is not None},
            predict=predict,
            seed=seed,
        )

    def _due(self) -> list[RefitAdvice]:
        """Return the refits that should happen by themselves.

        What a refit did not improve is tried again when its pairs have doubled once more.
        """
        from vecstore.upgrade.refit import GROWTH, LEAST_NEW, refit_advice

        due = []
        for each in refit_advice(self._latest.get().snapshot):
            tried = max(each.fitted, self._tried.get(each.id, 0))
            if each.due and each.pairs >= max(GROWTH * tried, tried + LEAST_NEW):
                due.append(each)
        return due

    def _keep(
        self, record: SpaceRecord, row_ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> None:
        super()._keep(record, row_ids, vectors)
        self._refits.consider()

    def _refit_all(self, advice: list[RefitAdvice]) -> int:
        """Fit again what is due; a fit that fails costs nothing but a warning. Return how many."""
        kept = 0
        for each in advice:
            try:
                tried = self._refit(self._latest.get().snapshot, each, queries=None, seed=0)
                kept += tried.id is not None
            except VecstoreError as error:
                _log.warning("translator %s was not fitted again: %s", each.id, error)
        return kept

    def _refit(
        self,
        snapshot: Snapshot,
        advice: RefitAdvice,
        *,
        queries: NDArray[np.float32] | None,
        seed: int,
    ) -> Refit:
        from vecstore.fitting import store_fit
        from vecstore.upgrade.refit import replacement, try_refit
        from vecstore.upgrade.reindex import rebuild_indexes
        from vecstore_translators.offset import MIN_QUERIES

        if queries is None and advice.side == "documents":
            queries = self._notes.recent(snapshot.space(advice.target).id, least=MIN_QUERIES)
        [old] = [t for t in snapshot.state.translators if t.id == advice.id]
        opened = self._latest.translators.open(old)
        refit, fit = try_refit(snapshot, advice, old, opened, queries=queries, seed=seed)
        if not refit.is_no_worse:
            self._tried[old.id] = advice.pairs
            return refit
        record = store_fit(fit, self._root, self._record.directory)
        self._commit(replacement(record, old.id, fit.spaces))
        rebuild_indexes(
            self._catalog,
            self._record.id,
            self._latest.refresh().snapshot,
            self._latest.translators,
            replaced=old.id,
            target=old.target,
        )
        self.refresh()
        return replace(refit, id=record.id)

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
        from vecstore.upgrade.retirement import retire

        told: list[Retirement] = []
        self._commit(retire(name, force=force, done=told.append))
        gone = tuple(i.id for i in self._catalog.indexes(self._record.id) if i.space == name)
        if gone:
            self._catalog.replace_index(self._record.id, None, replaced=gone)
            self.refresh()
        self._notes.forget_spaces()
        return told[-1]
