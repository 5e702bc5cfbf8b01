"""Preparation: open what a plan needs once, so that searching it again costs the search alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vecstore.catalog import IndexRecord
from vecstore.errors import UnsupportedOperationError
from vecstore.indexes.base import Index
from vecstore.indexes.exact import Block
from vecstore.indexes.originals import Originals
from vecstore.rows import RowSet
from vecstore.search.execute import OpenSource, PreparedPlan, Reference, masked
from vecstore.search.plan import Plan, Source, shortest_route
from vecstore.search.views import View
from vecstore.snapshot import LiveVectors, Snapshot
from vecstore.spaces import Space
from vecstore.translation import Translators
from vecstore.tuning.advice import would_speed_up
from vecstore_translators import Translator

__all__ = ["OpenIndex", "prepare", "source_view"]

# Fewer shared items say nothing about a scale; more than these only cost time.
MIN_REFERENCE = 20
MAX_REFERENCE = 1024

OpenIndex = tuple[IndexRecord, Index[Any]]


def prepare(
    plan: Plan,
    snapshot: Snapshot,
    *,
    translators: Translators,
    indexes: Sequence[OpenIndex] = (),
    rescore_depth: int | None = None,
) -> PreparedPlan:
    """Map the files, open the translators and choose the indexes of every source.

    Parameters
    ----------
    indexes : sequence of (IndexRecord, Index)
        Open indexes of the collection.
    rescore_depth : int, optional
        Shortlist of the "rescore" execution; by default max(200, 20 k).
    """
    opened = []
    for number, source in enumerate(plan.sources):
        translator, identity = translators.route(source.route) if source.route else (None, None)
        view = source_view(source, plan.target.space, translator, identity)
        live = snapshot.vectors(source.space.space.name)
        best = _best_index(view, live, snapshot.version, indexes)
        blocks = _blocks(source, view, live, snapshot)
        covered = _covered_rows(best, live, source.rows)
        if best is not None and len(covered):
            plan.indexes[number] = f"{best[0].kind} over {len(covered):,} rows"
        elif (gain := would_speed_up(len(source.rows), view.dim)) is not None:
            plan.speedups[number] = gain
        opened.append(
            OpenSource(
                source=source,
                view=view,
                blocks=blocks,
                index=best[1] if best is not None and len(covered) else None,
                originals=Originals(blocks) if len(covered) else None,
                indexed=covered,
                unindexed=_unindexed(blocks, covered),
                translator=translator,
                shortlister=_shortlister(source, plan, translator, snapshot, translators),
                reference=_reference(source, plan.target.space.name, snapshot),
                offset=source.offset,
            )
        )
    return PreparedPlan(plan, snapshot, opened, rescore_depth=rescore_depth)


def source_view(
    source: Source, target: Space, translator: Translator | None, identity: str | None
) -> View:
    """Return the form in which a source's vectors are searched."""
    if source.execution == "rewrite" or source.execution == "fold":
        return View(
            record=source.space,
            target=target,
            form=source.execution,
            translator=translator,
            translator_id=identity,
        )
    return View(record=source.space, target=source.space.space)


def _blocks(
    source: Source, view: View, live: Sequence[LiveVectors], snapshot: Snapshot
) -> tuple[Block, ...]:
    """Return the source's rows as blocks; files without any of them are left out."""
    directory = snapshot.state.collection.directory
    whole = len(source.rows) == len(snapshot.native(source.space.space.name))
    blocks = []
    for vectors in live:
        if not (whole or source.rows.contains(vectors.live_row_ids).any()):
            continue  # spares translating a file that other sources serve
        blocks.append(
            Block(
                row_ids=vectors.segment.row_ids,
                vectors=view.vectors(vectors, snapshot.cache, directory),
                keep=vectors.keep,
                unit_norm=view.unit_norm,
            )
        )
    return tuple(blocks if whole else masked(blocks, source.rows.contains))


def _best_index(
    view: View, live: Sequence[LiveVectors], version: int, indexes: Sequence[OpenIndex]
) -> OpenIndex | None:
    """Return the index over this view that covers the most of its rows."""
    form = None if view.form == "native" else view.form
    wanted = (view.record.space.name, view.translator_id, form)
    best, most = None, 0
    for record, index in indexes:
        # In a version older than the index a row may have had another vector.
        old = record.version > version
        if record.view != wanted or record.space_id != view.record.id or old:
            continue
        rows = sum(int((v.live_versions <= record.version).sum()) for v in live)
        if rows > most:
            best, most = (record, index), rows
    return best


def _covered_rows(best: OpenIndex | None, live: Sequence[LiveVectors], rows: RowSet) -> RowSet:
    """Return the source's rows that the index holds with the vector that lives.

    A vector that was replaced since was written later than the index covers; a row that was
    dead when the index was built is not inside, although an older version may show it. Which
    file a vector is in does not matter, so an index outlives compaction.
    """
    if best is None:
        return RowSet.of([])
    parts = [v.live_row_ids[v.live_versions <= best[0].version] for v in live]
    return RowSet.of(np.concatenate(parts)) & RowSet.of(best[1].row_ids) & rows


def _unindexed(blocks: tuple[Block, ...], covered: RowSet) -> tuple[Block, ...]:
    return tuple(masked(blocks, lambda row_ids: ~covered.contains(row_ids)))


def _shortlister(
    source: Source,
    plan: Plan,
    translator: Translator | None,
    snapshot: Snapshot,
    translators: Translators,
) -> Translator | None:
    """Return the query-side map of a rescored source: a fitted one if there is one."""
    if source.execution != "rescore":
        return None
    target = plan.target.space.name
    route = shortest_route(snapshot, target, source.space.space.name)
    if route:
        return translators.route(route)[0]
    transposable = source.space.space.metric == plan.target.space.metric
    if translator is None or translator.affine is None or not transposable:
        raise UnsupportedOperationError(
            f"execution='rescore' shortlists by a query-side map, and {translator!r} cannot be "
            f"transposed into one; call fit_translator(source={target!r}, "
            f"target={source.space.space.name!r}, side='queries'), or use execution='rewrite'"
        )
    return None


def _reference(source: Source, target: str, snapshot: Snapshot) -> Reference | None:
    """Return items native in both spaces, on which foreign scores find the target's scale.

    Forward-mapped scores are on that scale already.
    """
    name = source.space.space.name
    if source.kind == "forward" or name == target:
        return None
    rows = (snapshot.native(name) & snapshot.native(target)).to_array()
    if len(rows) < MIN_REFERENCE:
        return None
    if len(rows) > MAX_REFERENCE:
        rows = np.sort(np.random.default_rng(0).choice(rows, MAX_REFERENCE, replace=False))
    return Reference(own=snapshot.gather(name, rows), wanted=snapshot.gather(target, rows))
