"""Checks of what can be made again, indexes and translated vectors, and of what nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from vecstore.catalog import IndexRecord
from vecstore.doctor.case import Case
from vecstore.doctor.report import Diagnosis
from vecstore.errors import (
    InvalidArgumentError,
    MissingDependencyError,
    NoRouteError,
    NotFoundError,
    UnsupportedOperationError,
    VecstoreError,
)
from vecstore.indexes.base import Index
from vecstore.indexes.blocks import Block
from vecstore.indexes.exact import exact_search
from vecstore.indexes.originals import Originals
from vecstore.indexes.registry import get_index
from vecstore.indexing import build_index, forget_index, index_view, register_index
from vecstore.lexical.seal import is_sealed, locked
from vecstore.rows import RowSet
from vecstore.search.plan import Execution
from vecstore.search.views import is_whole_cache

__all__ = [
    "LEAST_RECALL",
    "check_caches",
    "check_indexes",
    "check_orphans",
    "check_recall",
    "check_words",
]

LEAST_RECALL = 0.9
_QUERIES, _K, _SEED = 64, 10, 0
_CACHES = ("translated", "lexical", "signatures", "queries")


def check_indexes(case: Case) -> Iterator[Diagnosis]:
    """Open every index and compare it with its record and with the collection."""
    for record in case.indexes:
        useless = _of_no_use(case, record)
        if useless is not None:
            case.damaged.add(record.file.path)
            found = case.diagnosis("notice", "indexes", record.file.path, useless, "drop it")
            yield replace(found, cure=partial(_forget, case, record))
            continue
        wrong, remedy = _wrong(case, record), "search is exact without it; build it again"
        if wrong is None:
            continue
        case.damaged.add(record.file.path)
        found = case.diagnosis("warning", "indexes", record.file.path, wrong, remedy)
        yield replace(found, cure=partial(_rebuild, case, record))


def _of_no_use(case: Case, record: IndexRecord) -> str | None:
    """Return why the newest version cannot use an index; None if it can."""
    if record.space_id not in {space.id for space in case.snapshot.spaces.values()}:
        return f"it was built over a space {record.space!r} that is gone"
    if record.translator_id is not None:
        known = {t.id for t in case.snapshot.state.translators}
        gone = set(record.translator_id.split("+")) - known
        if gone:
            return f"it was built over a translator {min(gone)} that is gone"
    return None


def _wrong(case: Case, record: IndexRecord) -> str | None:
    """Return what is wrong with an index; None if nothing is."""
    try:
        index = _open(case, record)
    except MissingDependencyError as error:
        return f"it cannot be examined: {error}"
    except VecstoreError as error:
        return str(error)
    if len(index) != record.rows:
        return f"expected {record.rows} rows, found {len(index)}"
    if len(index) and int(index.row_ids[-1]) >= case.history.next_row_id:
        return f"it names row {index.row_ids[-1]}, which was never given out"
    return None


def _open(case: Case, record: IndexRecord) -> Index[Any]:
    path = case.root.local_path(record.file)
    case.read[record.file.path] = record.file.size
    return get_index(record.kind).read(path, check=True)


def _forget(case: Case, record: IndexRecord) -> None:
    forget_index(case.catalog, case.record.id, record.id)
    case.root.remove(record.file.path)


def _rebuild(case: Case, record: IndexRecord) -> None:
    """Build an index again as it was; forget it where that cannot be done any more."""
    execution: Execution = "fold" if record.execution == "fold" else "rewrite"
    last = None if record.translator_id is None else record.translator_id.split("+")[-1]
    targets = {t.id: t.target for t in case.snapshot.state.translators}
    try:
        view = index_view(
            case.snapshot,
            record.space,
            into=None if last is None else targets.get(last, ""),
            execution=execution,
            translators=case.translators,
        )
        new = build_index(
            view,
            case.snapshot,
            kind=record.kind,
            parameters=record.parameters,
            progress=None,
        )
    except (NotFoundError, NoRouteError, InvalidArgumentError, UnsupportedOperationError):
        _forget(case, record)
    else:
        # The same parameters over the same rows: what tuning measured of them still holds.
        register_index(case.catalog, case.record.id, replace(new, report=record.report))
        case.root.remove(record.file.path)


def check_recall(case: Case) -> Iterator[Diagnosis]:
    """Compare indexes of native vectors with exact search, on a sample of the vectors."""
    if not case.whole(*case.snapshot.state.files):
        return
    for record in case.indexes:
        if record.execution is not None or record.file.path in case.damaged:
            continue
        recall = _recall(case, record, _open(case, record))
        if recall is not None and recall < LEAST_RECALL:
            found = case.diagnosis(
                "warning",
                "recall",
                record.file.path,
                f"recall@{_K} on a sample is {recall:.3f}, expected at least {LEAST_RECALL}",
                "build the index again; if that does not help, with larger parameters",
            )
            yield replace(found, cure=partial(_rebuild, case, record))


def _recall(case: Case, record: IndexRecord, index: Index[Any]) -> float | None:
    """Return the share of true neighbours that an index finds among the rows that it serves."""
    live = case.snapshot.vectors(record.space)
    held = RowSet.of(index.row_ids)
    blocks = []
    for vectors in live:
        keep = held.contains(vectors.segment.row_ids)
        if vectors.keep is not None:
            keep &= vectors.keep
        written = np.zeros(len(keep), dtype=np.int64)
        written[slice(None) if vectors.keep is None else vectors.keep] = vectors.live_versions
        keep &= written <= record.version
        segment = vectors.segment
        unit = case.snapshot.space(record.space).space.normalised
        blocks.append(
            Block(row_ids=segment.row_ids, vectors=segment.vectors, keep=keep, unit_norm=unit)
        )
    rows = np.concatenate([np.empty(0, np.int64), *(b.row_ids[b.keep] for b in blocks)])
    if not len(rows) or (not index.supports_filter and len(rows) < len(index)):
        return None
    sample = np.random.default_rng(_SEED).choice(rows, min(_QUERIES, len(rows)), replace=False)
    queries = case.snapshot.gather(record.space, np.sort(sample))
    allowed = RowSet.of(rows) if index.supports_filter else None
    found = index.search(queries, _K, allowed=allowed, originals=Originals(blocks))[1]
    truth = exact_search(queries, blocks, _K, metric=index.metric)[1]
    hits = sum(len(np.intersect1d(f[f >= 0], t[t >= 0])) for f, t in zip(found, truth, strict=True))
    return hits / int((truth >= 0).sum())


def check_caches(case: Case) -> Iterator[Diagnosis]:
    """Verify translated vectors; those of translators and files that are gone are of no use."""
    files = {f.id: f for f in case.history.files}
    translators = {t.id for t in case.history.translators}
    for found in case.root.found(f"{case.folder}/translated"):
        folder, _, name = found.path.rpartition("/")
        route, _, form = folder.rpartition("/")[2].rpartition("-")
        whole, _, _ = name.rpartition(".")
        if found.is_temporary:
            continue
        if whole not in files or not translators.issuperset(route.split("+")):
            wrong, remedy = "it was made for a translator or a file that is gone", "remove it"
            diagnosis = case.diagnosis("notice", "caches", found.path, wrong, remedy)
        elif not is_whole_cache(
            case.root.map_cache(found.path), source=files[whole], translator_id=route, form=form
        ):
            wrong, remedy = "its content is not what was written", "the next search makes it anew"
            diagnosis = case.diagnosis("warning", "caches", found.path, wrong, remedy)
        else:
            case.read[found.path] = found.size
            continue
        yield replace(diagnosis, cure=_remove(case, found.path))


def check_words(case: Case) -> Iterator[Diagnosis]:
    """Compare the indexes of words with their seals."""
    above = case.root.cache_folder(f"{case.folder}/lexical")
    if above is None or not above.is_dir():
        return
    for folder in sorted(above.iterdir()):
        if folder.name.endswith(".lock"):
            continue
        path = f"{case.folder}/lexical/{folder.name}"
        with locked(folder):
            whole = is_sealed(folder, set())
        if not whole:
            found = case.diagnosis(
                "warning",
                "words",
                path,
                "it is not what was written last",
                "the next search for words makes it anew",
            )
            yield replace(found, cure=partial(case.root.remove_tree, path))


def check_orphans(case: Case, grace: timedelta) -> Iterator[Diagnosis]:
    """Find files that no version refers to, older than a grace period.

    Younger ones may belong to a write that is under way.
    """
    known = case.registered()
    before = datetime.now(UTC) - grace
    for found in case.root.found(case.folder):
        inside = found.path.removeprefix(f"{case.folder}/").partition("/")[0]
        if found.path in known or (inside in _CACHES and not found.is_temporary):
            continue
        if found.modified < before:
            what = "a write did not finish it" if found.is_temporary else "no version refers to it"
            diagnosis = case.diagnosis(
                "notice", "orphans", found.path, f"{what}; {found.size} bytes", "remove it"
            )
            remove = case.root.remove if found.is_temporary else partial(_collect, case)
            yield replace(diagnosis, cure=partial(remove, found.path))


def _collect(case: Case, path: str) -> None:
    """Delete a file that nobody registered, and see to it that nobody can from now on."""
    never = datetime.fromtimestamp(0, UTC)
    swept = case.catalog.sweep(case.record.id, expired_before=never, orphans=[path], forget=True)
    if path in swept.paths:
        case.root.remove(path)


def _remove(case: Case, path: str) -> Callable[[], object]:
    return partial(case.root.remove, path)
