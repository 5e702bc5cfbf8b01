"""Indexes of a collection: built over a view and stored as caches; `index_files` opens them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from vecstore.catalog import Catalog, IndexRecord
from vecstore.errors import (
    InvalidArgumentError,
    NoRouteError,
    NotFoundError,
)
from vecstore.indexes.exact import Block
from vecstore.indexes.registry import get_index
from vecstore.search.plan import Execution, shortest_route
from vecstore.search.views import View
from vecstore.snapshot import Snapshot
from vecstore.translation import Translators
from vecstore.tuning.advice import expected_speedup
from vecstore.tuning.auto import AUTO, Target, require_no_parameters, tuned_index
from vecstore.tuning.questions import Questions

__all__ = ["build_index", "forget_index", "index_view", "is_worth_an_index", "register_index"]

Progress = Callable[[int, int], None]


def index_view(
    snapshot: Snapshot,
    space: str,
    *,
    into: str | None,
    execution: Execution,
    translators: Translators,
) -> View:
    """Return the view an index is to be built over: native, or translated into a space.

    Raises
    ------
    NoRouteError
        No translator joins the space to ``into``.
    """
    record = snapshot.space(space)
    if into is None:
        return View(record=record, target=record.space)
    if execution != "rewrite" and execution != "fold":
        raise InvalidArgumentError(
            f"expected execution to be rewrite or fold for an index, got {execution!r}"
        )
    route = shortest_route(snapshot, space, snapshot.space(into).space.name)
    if not route:
        raise NoRouteError(
            f"no translator joins {space!r} and {into!r}; call "
            f"fit_translator(source={space!r}, target={into!r}) first"
        )
    translator, identity = translators.route(route)
    return View(
        record=record,
        target=snapshot.space(into).space,
        form=execution,
        translator=translator,
        translator_id=identity,
    )


def build_index(
    view: View,
    snapshot: Snapshot,
    *,
    kind: str,
    parameters: Mapping[str, Any],
    progress: Progress | None,
    target: Target | None = None,
    questions: Questions | None = None,
) -> IndexRecord:
    """Build an index over all live rows of a view and write it.

    The record says up to which version; vectors committed while it was being built, or later,
    are searched exactly. With a target and questions it is tuned on these, and the record says
    what was measured.
    """
    if kind != AUTO:
        get_index(kind)  # refuses an unknown one before vectors are translated
    blocks = _blocks(view, snapshot)
    report: Mapping[str, Any] = {}
    if target is None or questions is None:
        index = get_index(kind).build(
            blocks, dim=view.dim, metric=view.metric, parameters=parameters, progress=progress
        )
    else:
        tuned = tuned_index(
            kind,
            blocks,
            questions,
            target,
            dim=view.dim,
            metric=view.metric,
            parameters=parameters,
            progress=progress or _silent,
        )
        index, report = tuned.index, tuned.report
    if progress is not None:
        progress(len(index), len(index))  # the last moment to cancel
    name = uuid.uuid4().hex
    directory = snapshot.state.collection.directory
    file = snapshot.cache.root.write_local(f"data/{directory}/indexes/{name}.faiss", index.write)
    return IndexRecord(
        id=name,
        space=view.record.space.name,
        translator_id=view.translator_id,
        execution=None if view.form == "native" else view.form,
        kind=index.kind,
        parameters=dict(index.parameters),
        file=file,
        rows=len(index),
        space_id=view.record.id,
        version=snapshot.vectors_changed(view.record.space.name),
        report=report,
    )


def is_worth_an_index(
    view: View, snapshot: Snapshot, kind: str, parameters: Mapping[str, Any]
) -> bool:
    """Return whether there is to be an index: always, unless "auto" finds a scan as fast.

    Raises
    ------
    InvalidArgumentError
        "auto" was given parameters; it chooses them, of whatever size the view is.
    """
    if kind != AUTO:
        return True
    require_no_parameters(parameters)
    return expected_speedup(len(snapshot.native(view.record.space.name)), view.dim) >= 1


def _blocks(view: View, snapshot: Snapshot) -> list[Block]:
    """Return all live rows of a view."""
    directory = snapshot.state.collection.directory
    return [
        Block(
            row_ids=vectors.segment.row_ids,
            vectors=view.vectors(vectors, snapshot.cache, directory),
            keep=vectors.keep,
            unit_norm=view.unit_norm,
        )
        for vectors in snapshot.vectors(view.record.space.name)
    ]


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""


def register_index(catalog: Catalog, collection_id: str, new: IndexRecord) -> None:
    """Register an index in the place of the one over the same view."""
    known = catalog.indexes(collection_id)
    replaced = tuple(old.id for old in known if old.view == new.view)
    catalog.replace_index(collection_id, new, replaced=replaced)


def forget_index(catalog: Catalog, collection_id: str, index_id: str) -> None:
    """Take an index out of the catalog; NotFoundError names those there are."""
    known = [record.id for record in catalog.indexes(collection_id)]
    if index_id not in known:
        raise NotFoundError(
            f"the collection has no index {index_id!r}; it has {', '.join(known) or 'none'}"
        )
    catalog.replace_index(collection_id, None, replaced=(index_id,))
